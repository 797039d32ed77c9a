//! Whatever arrives, moves or goes in whatever order, analysed and summed up meanwhile or not: what was
//! found in a range of calls is what a count over the analyses of its calls says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;
use voxray::domain::analysis::InterruptionCounts;
use voxray::domain::analytics::{Dimensions, Window};
use voxray::domain::found::{CauseKey, CauseSums};
use voxray::domain::many::{Cause, Causes, Conduct};
use voxray::services::analysis;
use voxray::store::{Scope, rollups};

use crate::support::TestServer;

const CALLS: usize = 60;
const ROUNDS: usize = 7;

fn any<'a>(random: &mut StdRng, words: &[&'a str]) -> Option<&'a str> {
    words.get(random.random_range(0..=words.len())).copied()
}

/// A moment of the days before, often in one of a few hours.
fn moment(random: &mut StdRng) -> String {
    let hour = if random.random_bool(0.6) {
        8
    } else {
        random.random_range(0..24)
    };
    let (day, minute) = (random.random_range(4..=10), random.random_range(0..60));
    format!("2025-06-{day:02}T{hour:02}:{minute:02}:30Z")
}

/// One of a few calls, as its source tells it this time: where it began and what was slow in it changes.
fn call(random: &mut StdRng, n: usize) -> Value {
    let started_at = moment(random);
    let (tts_ms, llm_ms) = (random.random_range(1..3000), random.random_range(1..3000));
    let talks_on_ms = random.random_range(1..2500);
    let first = 2000 + llm_ms + tts_ms;
    let providers = json!({"stt": any(random, &["deepgram"]), "llm": any(random, &["openai", "mistral"]), "tts": any(random, &["cartesia"])});
    let mut call = json!({
        "at": format!("2025-06-11T{:02}:{:02}:00Z", random.random_range(0..11), random.random_range(0..60)),
        "session": {"sessionId": format!("call-{n}"), "startedAt": started_at, "endedAt": started_at, "status": "completed",
            "agentId": any(random, &["ann", "bob"]), "channel": any(random, &["web"]), "campaign": any(random, &["june"]),
            "workflow": {"id": any(random, &["w1"])}, "providers": providers},
        "turns": [
            {"index": 0, "speaker": "user", "text": "I want a table", "startMs": 0, "endMs": 2000},
            {"index": 1, "speaker": "agent", "text": "For how many people would that be", "startMs": first, "endMs": first + 5000,
                "llmMs": llm_ms, "ttsMs": tts_ms, "sttMs": 90, "models": {"llm": any(random, &["small", "large"])}}
        ]
    });
    if random.random_bool(0.5) {
        call["turns"][1]["interrupted"] = json!(true);
        let user = json!({"index": 2, "speaker": "user", "text": "No, wait a moment please",
            "startMs": first + 5000 - talks_on_ms, "endMs": first + 6000});
        call["turns"].as_array_mut().expect("turns").push(user);
    }
    call
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    started_at: DateTime<Utc>,
    agent_key: Option<String>,
    channel: Option<String>,
    campaign: Option<String>,
    workflow_id: Option<String>,
    agent_turns: i32,
    score: Option<f64>,
    interruptions: Option<String>,
    causes: Option<Vec<u8>>,
}

#[derive(Clone, FromRow)]
struct Issue {
    session_id: Uuid,
    r#type: String,
    stage: String,
    provider: String,
    severity: String,
    occurrences: i32,
    impact_ms: i64,
}

struct State {
    calls: Vec<Row>,
    issues: BTreeMap<Uuid, Vec<Issue>>,
}

impl State {
    /// What a call cost in all, as its analysis says; where that was not kept, the sum of its issues.
    fn lost_ms(&self, call: &Row) -> i64 {
        match &call.causes {
            Some(bytes) => {
                let causes = CauseSums::from_bytes(bytes).expect("sums");
                causes.of(&CauseKey::All).impact_ms
            }
            None => self.issues[&call.id].iter().map(|i| i.impact_ms).sum(),
        }
    }

    async fn load(connection: &mut PgConnection, tenant: Uuid) -> Self {
        let calls = sqlx::query_as(
            "select s.id, s.started_at, s.agent_key, s.channel, s.campaign, s.workflow_id, a.agent_turns, a.score, a.interruptions, a.causes
               from session_analyses a join sessions s on s.tenant_id = a.tenant_id and s.id = a.session_id where a.tenant_id = $1",
        )
        .bind(tenant)
        .fetch_all(&mut *connection)
        .await
        .expect("calls");
        let rows: Vec<Issue> = sqlx::query_as("select * from session_issues where tenant_id = $1")
            .bind(tenant)
            .fetch_all(connection)
            .await
            .expect("issues");
        let mut issues: BTreeMap<Uuid, Vec<Issue>> = BTreeMap::new();
        for row in rows {
            issues.entry(row.session_id).or_default().push(row);
        }
        Self { calls, issues }
    }

    fn of(&self, window: Window, dimensions: &Dimensions) -> Vec<&Row> {
        let fits = |asked: &Option<String>, is: &Option<String>| asked.is_none() || asked == is;
        let calls = self.calls.iter().filter(|call| {
            (window.from..window.to).contains(&call.started_at)
                && fits(&dimensions.agent_key, &call.agent_key)
                && fits(&dimensions.workflow, &call.workflow_id)
                && fits(&dimensions.channel, &call.channel)
                && fits(&dimensions.campaign, &call.campaign)
        });
        calls.collect()
    }

    /// The issues of these calls that are grouped under the same thing.
    fn group(&self, calls: &[&Row], key: impl Fn(&Row, &Issue) -> Option<Cause>) -> Vec<Cause> {
        let mut groups: Vec<(Cause, BTreeSet<Uuid>, BTreeSet<Uuid>)> = Vec::new();
        for call in calls {
            for issue in self.issues.get(&call.id).into_iter().flatten() {
                let Some(key) = key(call, issue) else {
                    continue;
                };
                let is_same = |known: &Cause| {
                    (&known.kind, &known.stage, &known.provider, &known.agent_key)
                        == (&key.kind, &key.stage, &key.provider, &key.agent_key)
                };
                let at = groups.iter().position(|(known, _, _)| is_same(known));
                let at = at.unwrap_or_else(|| {
                    groups.push((key.clone(), BTreeSet::new(), BTreeSet::new()));
                    groups.len() - 1
                });
                let (sum, all, critical) = &mut groups[at];
                sum.occurrences += i64::from(issue.occurrences);
                sum.impact_ms += issue.impact_ms;
                all.insert(call.id);
                if issue.severity == "critical" {
                    critical.insert(call.id);
                }
            }
        }
        let counted = |(sum, all, critical): (Cause, BTreeSet<Uuid>, BTreeSet<Uuid>)| Cause {
            calls: all.len() as i64,
            critical_calls: critical.len() as i64,
            ..sum
        };
        groups.into_iter().map(counted).collect()
    }

    /// Calls with issues that are grouped under the same thing, with what each lost in all.
    fn whole(&self, calls: &[&Row], key: impl Fn(&Row) -> Cause) -> Vec<Cause> {
        let mut groups = self.group(calls, |call, _| Some(key(call)));
        for group in &mut groups {
            let own = calls
                .iter()
                .filter(|call| key(call).agent_key == group.agent_key);
            let own: Vec<&&Row> = own
                .filter(|call| self.issues.contains_key(&call.id))
                .collect();
            let lost_ms: i64 = own.iter().map(|call| self.lost_ms(call)).sum();
            assert!(lost_ms <= group.impact_ms, "no silence counts twice");
            group.impact_ms = lost_ms;
        }
        groups
    }

    fn causes(&self, window: Window, dimensions: &Dimensions) -> Causes {
        let calls = self.of(window, dimensions);
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        let mut causes = Causes {
            calls: calls.len() as i64,
            all: self
                .whole(&calls, |_| Cause::default())
                .pop()
                .unwrap_or_default(),
            by_type: self.group(&calls, |_, issue| {
                Some(Cause {
                    kind: Some(issue.r#type.clone()),
                    ..Cause::default()
                })
            }),
            by_stage: self.group(&calls, |_, issue| {
                Some(Cause {
                    stage: named(&issue.stage),
                    ..Cause::default()
                })
            }),
            by_provider: self.group(&calls, |_, issue| {
                let (provider, stage) = (Some(named(&issue.provider)?), named(&issue.stage));
                Some(Cause {
                    provider,
                    stage,
                    ..Cause::default()
                })
            }),
            by_agent: self.whole(&calls, |call| Cause {
                agent_key: call.agent_key.clone(),
                ..Cause::default()
            }),
        };
        causes.sort();
        causes
    }

    fn conduct(&self, window: Window, agent_key: Option<&str>) -> Conduct {
        let dimensions = Dimensions {
            agent_key: agent_key.map(str::to_owned),
            ..Dimensions::default()
        };
        let calls = self.of(window, &dimensions);
        let mut counts = InterruptionCounts::default();
        for text in calls.iter().filter_map(|call| call.interruptions.as_ref()) {
            counts.merge(&serde_json::from_str(text).expect("counts"));
        }
        counts.sessions = calls.len() as u64;
        counts.agent_turns = calls.iter().map(|call| call.agent_turns as u64).sum();
        let scores: Vec<f64> = calls.iter().filter_map(|call| call.score).collect();
        Conduct {
            counts,
            scored: scores.len() as u64,
            score: (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64),
        }
    }
}

fn question(random: &mut StdRng) -> (Window, Dimensions) {
    let (a, b) = (moment(random), moment(random));
    let (from, mut to) = if a < b { (a, b) } else { (b, a) };
    if from == to {
        to = "2025-06-11T00:00:00Z".to_owned();
    }
    let window = Window {
        from: from.parse().expect("a time"),
        to: to.parse().expect("a time"),
    };
    let is_filtered = random.random_bool(0.4);
    let mut maybe = |words: &[&str], often: bool| {
        let word = any(random, words).filter(|_| often);
        word.map(str::to_owned)
    };
    let dimensions = Dimensions {
        agent_key: maybe(&["ann", "bob"], true),
        workflow: maybe(&["w1"], is_filtered),
        channel: maybe(&["web"], is_filtered),
        campaign: maybe(&["june"], is_filtered),
    };
    (window, dimensions)
}

async fn compare(scope: &Scope, state: &State, random: &mut StdRng) {
    let (window, dimensions) = question(random);
    let causes = analysis::causes(scope, window, &dimensions)
        .await
        .expect("causes");
    assert_eq!(
        causes,
        state.causes(window, &dimensions),
        "{window:?} {dimensions:?}"
    );
    let agent = dimensions.agent_key.as_deref();
    let (all, parts) = analysis::quality(scope, window, agent)
        .await
        .expect("quality");
    for one in std::iter::once(&all).chain(&parts) {
        let counted = if std::ptr::eq(one, &all) {
            state.conduct(window, agent)
        } else if let Some(agent) = &one.agent_key {
            state.conduct(window, Some(agent))
        } else {
            continue;
        };
        assert_eq!(one.conduct.counts, counted.counts, "{window:?} {agent:?}");
        assert_eq!(one.conduct.scored, counted.scored);
        let difference = one.conduct.score.unwrap_or(-1.0) - counted.score.unwrap_or(-1.0);
        assert!(difference.abs() < 1e-6, "{difference}");
    }
}

#[tokio::test]
async fn sums_of_what_was_found_say_what_its_calls_say() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let other = server.tenant("other").await.ingestor().await;
    let ingestor = acme.ingestor().await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let mut connection = server.connect().await;
    let mut random = StdRng::seed_from_u64(20_250_612);
    let mut found = 0;
    for round in 0..ROUNDS {
        let mut numbers: Vec<usize> = (0..CALLS).collect();
        numbers.shuffle(&mut random);
        numbers.truncate(CALLS / 2);
        let calls: Vec<Value> = numbers.iter().map(|n| call(&mut random, *n)).collect();
        for calls in calls.chunks(7) {
            let body = json!({ "calls": calls });
            ingestor.post("/v1/ingest/calls", &body).await.status(200);
        }
        let theirs = json!({ "calls": calls[..5] });
        other.post("/v1/ingest/calls", &theirs).await.status(200);
        if round % 3 == 2 {
            forget(&mut connection, acme.id.0, random.random_range(0..CALLS)).await;
        }
        if round % 4 != 1 {
            server.analysed().await;
        }
        if round % 3 > 0 {
            let drained = rollups::drain(&server.app.store, server.clock.now()).await;
            assert!(drained.expect("a store"), "nobody else keeps these rollups");
        }
        if round % 2 == 0 {
            // As what was kept before the sums of single calls were, of which nobody knows what they lost in all.
            let older = "with older as (
                    update session_analyses set causes = null, conduct = null where tenant_id = $1 and agent_turns % 2 = 1
                    returning tenant_id, call_started_at
                ) insert into dirty_hour (tenant_id, hour, of_analysis)
                  select distinct tenant_id, date_trunc('hour', call_started_at, 'UTC'), true from older";
            let older = sqlx::query(older).bind(acme.id.0).execute(&mut connection);
            older.await.expect("done");
        }
        let state = State::load(&mut connection, acme.id.0).await;
        found += state.issues.len();
        for _ in 0..12 {
            compare(&scope, &state, &mut random).await;
        }
        stages_are_the_same_by_call_and_by_sum(&server, &scope, &mut connection).await;
    }
    assert!(
        found > CALLS,
        "{found} calls with issues are too few to tell"
    );
    assert_eq!(rollups::verify(&scope).await.expect("a store"), []);
}

/// A call goes for good, with the mark that goes with it.
async fn forget(connection: &mut PgConnection, tenant: Uuid, n: usize) {
    let gone = sqlx::query(
        "with gone as (
            delete from sessions where tenant_id = $1 and id = (
                select id from sessions where tenant_id = $1 order by id offset $2 limit 1)
            returning tenant_id, started_at
        ) insert into dirty_hour (tenant_id, hour) select tenant_id, date_trunc('hour', started_at, 'UTC') from gone",
    );
    gone.bind(tenant)
        .bind(n as i64 % 20)
        .execute(connection)
        .await
        .expect("gone");
}

/// Read from calls and read from sums, what is usual is the same.
async fn stages_are_the_same_by_call_and_by_sum(
    server: &TestServer,
    scope: &Scope,
    connection: &mut PgConnection,
) {
    let window = Window {
        from: "2025-06-04T00:00:00Z".parse().expect("a time"),
        to: "2025-06-10T22:00:00Z".parse().expect("a time"),
    };
    let summed = voxray::store::analysis::stages(scope, window, Some("ann"))
        .await
        .expect("sums");
    assert!(!summed.entries().is_empty());
    assert!(summed.entries().iter().any(|entry| entry.model == "large"));
    sqlx::query(
        "insert into dirty_hour (tenant_id, hour, of_analysis)
         select distinct tenant_id, date_trunc('hour', started_at, 'UTC'), true from sessions where tenant_id = $1",
    )
    .bind(scope.tenant().0)
    .execute(connection)
    .await
    .expect("marked");
    let by_call = voxray::store::analysis::stages(scope, window, Some("ann"))
        .await
        .expect("calls");
    assert_eq!(by_call, summed);
    let drained = rollups::drain(&server.app.store, server.clock.now()).await;
    assert!(drained.expect("a store"));
    let again = voxray::store::analysis::stages(scope, window, Some("ann"))
        .await
        .expect("sums");
    assert_eq!(again, summed);
}
