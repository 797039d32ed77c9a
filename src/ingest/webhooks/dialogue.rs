//! What the reports of several vendors have in common: turns in the order of time, what is between them, and
//! latencies that are told in a list of their own.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::lens;
use super::lens::Form;
use crate::domain::event::{Event, Kind, SessionRef};
use crate::domain::fields::OFFSET_MAX_MS;
use crate::domain::ids::{Claim, ClaimKind, TenantId, is_call_sid};
use crate::domain::items;
use crate::domain::items::OCCURRED_AT;
use crate::domain::json;
use crate::domain::ledger::TURNS_MAX;
use crate::domain::turn::UNTIMED;

/// What a vendor calls the session, and what a carrier does: a session and the names that show.
pub struct Names {
    pub session: Option<SessionRef>,
    pub external_ids: Vec<Value>,
    pub call_sid: Option<String>,
    pub stream_sid: Option<String>,
}

impl Names {
    pub fn new(
        tenant: TenantId,
        own: Option<Claim>,
        call_sid: Option<String>,
        stream_sid: Option<String>,
    ) -> Self {
        let call_sid = call_sid.filter(|sid| is_call_sid(sid));
        let of = |kind, value: &Option<String>| value.as_ref().map(|v| Claim::new(kind, v.clone()));
        let claims: Vec<Claim> = own
            .into_iter()
            .chain(of(ClaimKind::CallSid, &call_sid))
            .chain(of(ClaimKind::StreamSid, &stream_sid))
            .filter(Claim::is_sound)
            .collect();
        let external_ids = claims
            .iter()
            .map(|claim| json!({"kind": claim.kind.as_str(), "id": claim.value}));
        Self {
            external_ids: external_ids.collect(),
            session: SessionRef::claimed(tenant, claims),
            call_sid,
            stream_sid,
        }
    }

    pub fn write(&self, form: &mut Form) {
        form.set("callSid", self.call_sid.as_deref())
            .set("streamId", self.stream_sid.as_deref())
            .set("externalIds", Some(self.external_ids.clone()));
    }
}

/// Turns and tool calls as a transcript has them, one after the other.
#[derive(Default)]
pub struct Dialogue {
    turns: Vec<Turn>,
    tools: Vec<Tool>,
}

struct Turn {
    is_agent: bool,
    start_ms: Option<f64>,
    form: Form,
}

struct Tool {
    id: String,
    /// Turns that stand before it; none where it ran outside of the conversation.
    after: Option<usize>,
    form: Form,
}

impl Dialogue {
    pub fn turn(
        &mut self,
        is_agent: bool,
        (start_ms, end_ms): (Option<f64>, Option<f64>),
        mut form: Form,
    ) {
        let start_ms = start_ms.filter(|ms| (0.0..=OFFSET_MAX_MS).contains(ms));
        let end_ms = end_ms.filter(|end| start_ms.is_some_and(|start| *end >= start));
        form.set("speaker", Some(if is_agent { "agent" } else { "user" }))
            .set("startMs", start_ms.map(lens::ms))
            .set("endMs", end_ms.map(lens::ms));
        self.turns.push(Turn {
            is_agent,
            start_ms,
            form,
        });
    }

    /// A sign of listening (`mhm`), which takes nobody's turn and answers nothing: it stands with the turn that it was
    /// said in.
    pub fn backchannel(
        &mut self,
        is_agent: bool,
        (start_ms, end_ms): (Option<f64>, Option<f64>),
        said: &str,
    ) {
        let Some(turn) = self.turns.last_mut() else {
            let mut form = Form::default();
            form.set("text", Some(said));
            return self.turn(is_agent, (start_ms, end_ms), form);
        };
        let mut sign = Form::default();
        sign.set("speaker", Some(if is_agent { "agent" } else { "user" }))
            .set("text", Some(said))
            .set("startMs", start_ms.map(lens::ms))
            .set("endMs", end_ms.map(lens::ms));
        let metadata = turn.form.0.entry("metadata").or_insert_with(|| json!({}));
        match metadata
            .get_mut("backchannels")
            .and_then(Value::as_array_mut)
        {
            Some(signs) => signs.push(Value::Object(sign.0)),
            None => metadata["backchannels"] = json!([sign.0]),
        }
    }

    /// A tool call, or more about one: what is told of it later is added.
    pub fn tool(&mut self, id: &str, form: Form) {
        self.tool_at(Some(self.turns.len()), id, form);
    }

    /// The same, of one that ran before the conversation or after it.
    pub fn tool_outside(&mut self, id: &str, form: Form) {
        self.tool_at(None, id, form);
    }

    fn tool_at(&mut self, after: Option<usize>, id: &str, form: Form) {
        match self.tools.iter_mut().find(|tool| tool.id == id) {
            Some(tool) => tool.form.0.extend(form.0),
            None => self.tools.push(Tool {
                id: id.to_owned(),
                after,
                form,
            }),
        }
    }

    /// When the tool call with this id began, in ms, if it is known.
    pub fn tool_start_ms(&self, id: &str) -> Option<f64> {
        let tool = self.tools.iter().find(|tool| tool.id == id)?;
        tool.form.0.get("startMs")?.as_f64()
    }

    /// The agent's turns that answer a user's: what stands directly before them is the user's.
    pub fn answers(&self) -> Vec<usize> {
        let is_answer = |at: &usize| {
            let before = at.checked_sub(1).and_then(|before| self.turns.get(before));
            self.turns[*at].is_agent && before.is_some_and(|turn| !turn.is_agent)
        };
        (0..self.turns.len()).filter(is_answer).collect()
    }

    pub fn agent_turns(&self) -> Vec<usize> {
        let all = 0..self.turns.len();
        all.filter(|at| self.turns[*at].is_agent).collect()
    }

    /// Which turns a list of so many measurements is about: the answers, or all of the agent's turns; if
    /// it is as long as neither, nobody can tell.
    pub fn measured_turns(&self, count: usize) -> Option<Vec<usize>> {
        [self.answers(), self.agent_turns()]
            .into_iter()
            .find(|turns| count > 0 && turns.len() == count)
    }

    /// Adds to what a turn says.
    pub fn form(&mut self, at: usize) -> Option<&mut Form> {
        self.turns.get_mut(at).map(|turn| &mut turn.form)
    }

    /// Sorts what was told out of order. To be called before turns are numbered or counted.
    pub fn sort(&mut self) {
        // A turn without a time stays behind the one it stood behind.
        let mut last_ms = 0.0;
        let mut keys = Vec::new();
        for turn in &self.turns {
            last_ms = turn.start_ms.unwrap_or(last_ms);
            keys.push(last_ms);
        }
        if keys.is_sorted() {
            return;
        }
        let mut order: Vec<usize> = (0..self.turns.len()).collect();
        order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
        let mut turns: Vec<Option<Turn>> = self.turns.drain(..).map(Some).collect();
        self.turns = order.iter().filter_map(|at| turns[*at].take()).collect();
        for tool in &mut self.tools {
            let Some(before) = tool.after.and_then(|after| after.checked_sub(1)) else {
                continue;
            };
            let now_at = order.iter().position(|at| *at == before);
            tool.after = now_at.map(|at| at + 1).or(tool.after);
        }
    }

    /// Gives turns of which nobody knows when they were said a place, and no more than that: behind the one that they
    /// stand behind, before the next. Where no turn has a time their order says it all.
    fn place(&mut self) {
        let starts: Vec<Option<f64>> = self.turns.iter().map(|turn| turn.start_ms).collect();
        if starts.iter().all(Option::is_none) {
            return;
        }
        let (mut last_ms, mut behind_ms) = (0.0, 0.0);
        for (at, turn) in self.turns.iter_mut().enumerate() {
            if let Some(start_ms) = turn.start_ms {
                let end_ms = turn.form.0.get("endMs").and_then(Value::as_f64);
                (last_ms, behind_ms) = (start_ms, end_ms.unwrap_or(start_ms));
                continue;
            }
            let next_ms = starts[at..].iter().flatten().next();
            let is_free = next_ms.is_none_or(|next| behind_ms < *next);
            let place_ms = if is_free { behind_ms } else { last_ms };
            turn.form.set("startMs", Some(lens::ms(place_ms)));
            let metadata = turn.form.0.entry("metadata").or_insert_with(|| json!({}));
            metadata[UNTIMED] = json!(true);
        }
    }

    /// Leaves out what is beyond the turns that a session may hold: a call that is longer is told up to there, and not
    /// lost. To be called once all is measured. Answers how many turns were left out, if any.
    pub fn cut(&mut self) -> Option<usize> {
        let kept = TURNS_MAX as usize;
        let left_out = self.turns.len().checked_sub(kept).filter(|n| *n > 0)?;
        self.turns.truncate(kept);
        self.tools
            .retain(|tool| tool.after.is_none_or(|after| after <= kept));
        Some(left_out)
    }

    /// Turns numbered from 0, tool calls, each in the turn of the agent that it belongs to, what the user cut off, and
    /// as errors the tools that failed. `start` is where offsets begin.
    pub fn events(
        mut self,
        start: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Vec<Event> {
        self.place();
        let agents: Vec<bool> = self.turns.iter().map(|turn| turn.is_agent).collect();
        let owner = |after: usize| {
            // Said while it ran, else said once it was known.
            let before = after.checked_sub(1).filter(|before| agents[*before]);
            let behind = (after..agents.len()).find(|at| agents[*at]);
            before.or(behind).or(after.checked_sub(1))
        };
        let (mut tools, mut failures) = (Vec::new(), Vec::new());
        for tool in self.tools {
            let mut form = tool.form;
            form.set("callId", Some(tool.id.as_str()))
                .set("turn", tool.after.and_then(owner));
            if let Some(failure) = failure_of_tool(&form, start) {
                let id = format!("error/tool/{}", tool.id);
                failures.extend(lens::event(Kind::Error, id, at, failure, now));
            }
            let id = format!("tool/{}", tool.id);
            tools.extend(lens::event(Kind::ToolCall, id, at, form, now));
        }
        let cut_off = interruptions(&self.turns);
        let cut_off = cut_off.into_iter().filter_map(|(turn, form)| {
            let id = format!("interruption/{turn}");
            lens::event(Kind::Interruption, id, at, form, now)
        });
        let cut_off: Vec<Event> = cut_off.collect();
        let turns = self
            .turns
            .into_iter()
            .enumerate()
            .filter_map(|(index, turn)| {
                let mut form = turn.form;
                form.set("index", Some(index));
                lens::event(Kind::Turn, format!("turn/{index}"), at, form, now)
            });
        turns.chain(tools).chain(cut_off).chain(failures).collect()
    }
}

/// A tool call that failed, as an error: when its end is known, else its start.
fn failure_of_tool(call: &Form, start: Option<DateTime<Utc>>) -> Option<Form> {
    let mut failure = Form(items::error_of_tool(&call.0)?);
    let said = |name: &str| call.0.get(name);
    let at_ms = said("endMs").or_else(|| said("startMs"));
    let length = TimeDelta::try_milliseconds(at_ms.and_then(Value::as_i64).unwrap_or_default());
    let at = start.zip(length.filter(|_| at_ms.is_some()));
    failure
        .set("turn", said("turn").cloned())
        .set("atMs", at_ms.cloned())
        .time(
            OCCURRED_AT,
            at.and_then(|(start, length)| start.checked_add_signed(length)),
        );
    Some(failure)
}

/// The agent's turns that are said to have been interrupted: not before the user is heard next, which is all that is
/// known of when.
fn interruptions(turns: &[Turn]) -> Vec<(usize, Form)> {
    let is_cut_off =
        |turn: &Turn| turn.is_agent && turn.form.0.get("interrupted") == Some(&Value::Bool(true));
    let cut_off = turns
        .iter()
        .enumerate()
        .filter(|(_, turn)| is_cut_off(turn));
    let told = cut_off.map(|(place, _)| {
        let next = turns.get(place + 1).filter(|turn| !turn.is_agent);
        let mut form = Form::default();
        form.set("turn", Some(place))
            .set("atMs", next.and_then(|turn| turn.start_ms).map(lens::ms))
            .set("source", Some("user"))
            .set("estimated", Some(true));
        (place, form)
    });
    told.collect()
}

/// Why a call went wrong, as an error of its own.
pub struct Failure<'a> {
    pub id: &'a str,
    pub service: &'static str,
    pub code: Option<&'a str>,
    pub message: &'a str,
    pub occurred_at: Option<DateTime<Utc>>,
}

impl Failure<'_> {
    pub fn event(self, at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Event> {
        let message: String = self.message.chars().take(10_000).collect();
        let mut form = Form::default();
        form.set("service", Some(self.service))
            .set("level", Some("error"))
            .set("code", self.code)
            .set("message", Some(message))
            .time(OCCURRED_AT, self.occurred_at);
        lens::event(Kind::Error, self.id, at, form, now)
    }
}

/// JSON that is written as a text, else the text.
pub fn parsed(text: &str) -> Value {
    json::unpacked(text).unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(turns: &[(bool, f64)]) -> Dialogue {
        let mut dialogue = Dialogue::default();
        for (is_agent, start_ms) in turns {
            dialogue.turn(*is_agent, (Some(*start_ms), None), Form::default());
        }
        dialogue
    }

    #[test]
    fn turns_are_in_the_order_of_time_and_tools_stay_with_theirs() {
        let mut dialogue = dialogue(&[(true, 0.0), (false, 5000.0)]);
        dialogue.tool("t", Form::default());
        dialogue.turn(true, (Some(9000.0), Some(8000.0)), Form::default());
        dialogue.turn(false, (Some(2000.0), None), Form::default());
        dialogue.sort();
        let now = DateTime::UNIX_EPOCH;
        let events = dialogue.events(None, now, now);
        let starts: Vec<&Value> = events
            .iter()
            .filter_map(|e| e.fields.get("startMs"))
            .collect();
        assert_eq!(starts, [0, 2000, 5000, 9000]);
        assert_eq!(events[3].fields.get("endMs"), None);
        assert_eq!(events[4].fields["turn"], 3);
    }

    #[test]
    fn a_tool_that_failed_is_an_error_when_it_ended() {
        let mut dialogue = dialogue(&[(false, 0.0), (true, 5000.0)]);
        let mut form = Form::default();
        form.set("name", Some("find"))
            .set("startMs", Some(2000))
            .set("endMs", Some(2500))
            .set("error", Some("no such order"));
        dialogue.tool("t", form);
        let mut good = Form::default();
        good.set("name", Some("find")).set("result", Some(1));
        dialogue.tool("u", good);
        let start = DateTime::UNIX_EPOCH;
        let events = dialogue.events(Some(start), start, start + TimeDelta::minutes(1));
        let errors: Vec<&Event> = events.iter().filter(|e| e.kind == Kind::Error).collect();
        let [error] = errors[..] else {
            panic!("{events:?}")
        };
        assert_eq!(error.id, "error/tool/t");
        assert_eq!(
            Value::Object(error.fields.fields().clone()),
            json!({"service": "tool", "level": "error", "code": "tool_error", "message": "no such order", "turn": 1,
                   "atMs": 2500, "occurredAt": "1970-01-01T00:00:02.500Z", "details": {"tool": "find"}})
        );
    }

    #[test]
    fn a_call_with_more_turns_than_may_be_is_told_up_to_there() {
        let turns: Vec<(bool, f64)> = (0..2002).map(|n| (n % 2 == 0, f64::from(n))).collect();
        let mut long = dialogue(&turns[..2000]);
        long.tool("early", Form::default());
        assert_eq!(long.cut(), None);
        for (is_agent, start_ms) in &turns[2000..] {
            long.turn(*is_agent, (Some(*start_ms), None), Form::default());
        }
        long.tool("late", Form::default());
        assert_eq!(long.cut(), Some(2));
        let events = long.events(None, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let of = |kind| events.iter().filter(|e| e.kind == kind).collect::<Vec<_>>();
        assert_eq!(of(Kind::Turn).len(), 2000);
        let [tool] = of(Kind::ToolCall)[..] else {
            panic!("{events:?}")
        };
        assert_eq!(tool.fields["turn"], 1999);
    }

    #[test]
    fn a_sign_of_listening_is_no_turn_and_stands_with_the_one_it_was_said_in() {
        let mut dialogue = dialogue(&[(false, 2000.0)]);
        dialogue.backchannel(true, (Some(4100.0), Some(4400.0)), "uh-huh");
        dialogue.turn(false, (Some(4600.0), None), Form::default());
        dialogue.turn(true, (Some(6500.0), None), Form::default());
        assert_eq!(dialogue.measured_turns(1), Some(vec![2]));
        let events = dialogue.events(None, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        assert_eq!(events.len(), 3);
        let said = json!({"backchannels": [{"speaker": "agent", "text": "uh-huh", "startMs": 4100, "endMs": 4400}]});
        assert_eq!(events[0].fields["metadata"], said);
    }

    #[test]
    fn a_tool_outside_of_the_conversation_is_of_no_turn() {
        let mut dialogue = dialogue(&[(true, 0.0), (false, 5000.0)]);
        let mut form = Form::default();
        form.set("error", Some("away"));
        dialogue.tool_outside("t", form);
        let events = dialogue.events(None, DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let [.., tool, failure] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((tool.kind, failure.kind), (Kind::ToolCall, Kind::Error));
        assert_eq!(
            (tool.fields.get("turn"), failure.fields.get("turn")),
            (None, None)
        );
    }

    #[test]
    fn measurements_are_of_answers_or_of_all_or_of_nobody_knows_which() {
        let dialogue = dialogue(&[(true, 0.0), (false, 1.0), (true, 2.0), (true, 3.0)]);
        assert_eq!(dialogue.measured_turns(1), Some(vec![2]));
        assert_eq!(dialogue.measured_turns(3), Some(vec![0, 2, 3]));
        assert_eq!(dialogue.measured_turns(2), None);
        assert_eq!(dialogue.measured_turns(0), None);
    }
}
