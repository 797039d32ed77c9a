//! Answers to a user, out of which traces are made for calls that nobody traced.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::answer::Answer;
use crate::domain::ids::SessionId;
use crate::domain::items::ToolCall;
use crate::domain::turn::{Speaker, Turn};
use crate::store::columns::json;
use crate::store::columns::object;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

/// How many answers a session has; its turns are bounded, and so is this.
pub async fn count_answers(scope: &Scope, session: SessionId) -> Result<i64> {
    read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from turns where tenant_id = $1 and session_id = $2 and answers_user"#,
            scope.tenant.0,
            session.0,
        )
        .fetch_one(&scope.pool)
    })
    .await
}

/// A session's answers, the last first.
pub async fn answers(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: SessionId,
    skip: i64,
    limit: i64,
) -> Result<Vec<Answer>> {
    select(scope, content, session, None, skip, limit).await
}

/// One answer.
pub async fn answer(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: SessionId,
    turn: i32,
) -> Result<Option<Answer>> {
    Ok(select(scope, content, session, Some(turn), 0, 1)
        .await?
        .pop())
}

struct Row {
    session_started_at: DateTime<Utc>,
    question: Option<String>,
    index: i32,
    text: Option<String>,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
    stt_ms: Option<f64>,
    endpointing_ms: Option<f64>,
    llm_ms: Option<f64>,
    llm_total_ms: Option<f64>,
    tts_ms: Option<f64>,
    tts_total_ms: Option<f64>,
    latency_ms: Option<f64>,
    confidence: Option<f64>,
    interrupted: bool,
    failed: bool,
    cancelled: bool,
    extra: String,
    tokens: i64,
    prompt_tokens: i64,
}

async fn select(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: SessionId,
    turn: Option<i32>,
    skip: i64,
    limit: i64,
) -> Result<Vec<Answer>> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select s.started_at as session_started_at, question.text as "question?", t.index, t.text,
                      t.start_ms, t.end_ms, t.stt_ms, t.endpointing_ms, t.llm_ms, t.llm_total_ms, t.tts_ms,
                      t.tts_total_ms, t.latency_ms, t.confidence, t.interrupted, t.failed, t.cancelled, t.extra, t.tokens,
                      t.prompt_tokens
                 from sessions s
                 join (select *
                         from turns
                        where tenant_id = $1
                          and session_id = $2
                          and answers_user
                          and ($3::integer is null or index = $3)
                        order by coalesce(start_ms, 2147483647) desc, coalesce(end_ms, 2147483647) desc, index desc
                       offset $4
                        limit $5) t on t.tenant_id = s.tenant_id and t.session_id = s.id
                 left join lateral (
                      select q.text
                        from turns q
                       where q.tenant_id = t.tenant_id and q.session_id = t.session_id
                         and (coalesce(q.start_ms, 2147483647), coalesce(q.end_ms, 2147483647), q.index)
                             < (coalesce(t.start_ms, 2147483647), coalesce(t.end_ms, 2147483647), t.index)
                       order by coalesce(q.start_ms, 2147483647) desc, coalesce(q.end_ms, 2147483647) desc, q.index desc
                       limit 1) question on true
                where s.tenant_id = $1
                  and s.id = $2
                order by coalesce(t.start_ms, 2147483647) desc, coalesce(t.end_ms, 2147483647) desc, t.index desc"#,
            scope.tenant.0,
            session.0,
            turn,
            skip,
            limit,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let mut tools = tools(scope, session, &rows).await?;
    rows.into_iter()
        .map(|row| {
            let (own, others) = tools
                .drain(..)
                .partition(|tool| tool.turn == Some(row.index));
            tools = others;
            let mut answer = row.into_answer(session, own)?;
            if content.is_none() {
                withhold(&mut answer);
            }
            Ok(answer)
        })
        .collect()
}

async fn tools(scope: &Scope, session: SessionId, rows: &[Row]) -> Result<Vec<ToolCall>> {
    let turns: Vec<i32> = rows.iter().map(|row| row.index).collect();
    let session: Uuid = session.0;
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select id, turn, name, arguments, result, error, start_ms, end_ms
               from tool_calls
              where tenant_id = $1
                and session_id = $2
                and turn = any ($3)
              order by start_ms, id",
            scope.tenant.0,
            session,
            &turns,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ToolCall {
                id: row.id,
                turn: row.turn,
                name: row.name,
                arguments: json("tool_calls.arguments", row.arguments)?,
                result: json("tool_calls.result", row.result)?,
                error: json("tool_calls.error", row.error)?,
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                extra: serde_json::Map::new(),
                result_withheld: false,
                error_withheld: false,
            })
        })
        .collect()
}

impl Row {
    fn into_answer(self, session: SessionId, tools: Vec<ToolCall>) -> Result<Answer> {
        Ok(Answer {
            session,
            session_started_at: self.session_started_at,
            question: self.question,
            tools,
            turn: Turn {
                index: self.index,
                speaker: Speaker::Agent,
                text: self.text,
                start_ms: self.start_ms,
                end_ms: self.end_ms,
                stt_ms: self.stt_ms,
                endpointing_ms: self.endpointing_ms,
                llm_ms: self.llm_ms,
                llm_total_ms: self.llm_total_ms,
                tts_ms: self.tts_ms,
                tts_total_ms: self.tts_total_ms,
                latency_ms: self.latency_ms,
                latency_source: None,
                answers_user: true,
                confidence: self.confidence,
                interrupted: self.interrupted,
                failed: self.failed,
                cancelled: self.cancelled,
                extra: object("turns.extra", &self.extra)
                    .map_err(|_| unreadable("turns.extra", self.index))?,
                tokens: self.tokens,
                prompt_tokens: self.prompt_tokens,
            },
        })
    }
}

/// Leaves out what was said. That something failed is no content; how it said so is.
fn withhold(answer: &mut Answer) {
    answer.question = None;
    answer.turn.text = None;
    answer.turn.extra.remove("sttText");
    for list in ["llmCalls", "ttsCalls"] {
        let calls = answer.turn.extra.get_mut(list);
        let calls = calls.and_then(serde_json::Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            if let Some(error) = call.get_mut("error")
                && !error.is_null()
                && *error != serde_json::Value::Bool(false)
            {
                *error = serde_json::Value::Bool(true);
            }
        }
    }
    for tool in &mut answer.tools {
        tool.error = tool.failed().then_some(serde_json::Value::Bool(true));
        (tool.arguments, tool.result) = (None, None);
    }
}
