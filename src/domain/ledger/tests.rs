use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::event::Bound;

fn event(kind: Kind, id: &str, at: &str, fields: Value) -> Event {
    Event {
        kind,
        id: id.to_owned(),
        at: at.parse().unwrap(),
        fields: fields.as_object().cloned().unwrap().into(),
    }
}

fn report(minute: u32, events: Vec<Event>) -> Submission {
    Submission::Report(
        Source::Call,
        Report {
            at: format!("2026-01-01T00:{minute:02}:00Z").parse().ok(),
            hash: i64::from(minute),
            events,
        },
    )
}

fn turns(indexes: std::ops::Range<i32>) -> Vec<Event> {
    let turn = |index| {
        event(
            Kind::Turn,
            &format!("turns/{index}"),
            "2026-01-01T00:00:00Z",
            json!({"index": index}),
        )
    };
    indexes.map(turn).collect()
}

#[test]
fn a_correction_is_judged_by_the_room_it_leaves() {
    let mut ledger = Ledger::default();
    let now = DateTime::UNIX_EPOCH;
    let mut submit = |minute, events| ledger.submit(report(minute, events), now);
    assert_eq!(submit(1, turns(1..2001)), Outcome::Accepted);
    assert_eq!(submit(2, turns(0..2001)), Outcome::Full(Bound::Turns));
    assert_eq!(submit(3, turns(0..2000)), Outcome::Accepted);
    assert_eq!(ledger.whereabouts.len(), 2001, "all turns and the report");
}

#[test]
fn a_report_counts_itself() {
    let room = Room(Held {
        facts: 3,
        ..Room::default().0
    });
    let now = DateTime::UNIX_EPOCH;
    let mut ledger = Ledger::new(Vec::new(), None, room);
    let full = ledger.submit(report(1, turns(0..3)), now);
    assert_eq!(full, Outcome::Full(Bound::Facts));
    assert_eq!(
        ledger.submit(report(1, turns(0..2)), now),
        Outcome::Accepted
    );
    assert_eq!(ledger.more().facts, 3);
}

fn session(n: usize, note: &str) -> Submission {
    Submission::Event(
        Source::Event,
        event(
            Kind::Session,
            &n.to_string(),
            "2026-01-01T00:00:00Z",
            json!({"summary": note}),
        ),
    )
}

#[test]
fn so_much_is_said_of_one_thing_and_no_more() {
    let mut ledger = Ledger::default();
    let now = DateTime::UNIX_EPOCH;
    for n in 0..ENTITY_FACTS_MAX {
        assert_eq!(ledger.submit(session(n, ""), now), Outcome::Accepted);
    }
    let full = Outcome::Full(Bound::EntityFacts);
    assert_eq!(ledger.submit(session(ENTITY_FACTS_MAX, ""), now), full);
    let silence = Submission::Silence("2026-01-02T00:00:00Z".parse().unwrap());
    assert_eq!(ledger.submit(silence, now), Outcome::Accepted);
}

#[test]
fn a_full_session_takes_corrections_and_its_end() {
    let now = DateTime::UNIX_EPOCH;
    let error = |id: &str, text: &str| {
        Submission::Event(
            Source::Event,
            event(
                Kind::Error,
                id,
                "2026-01-01T00:00:00Z",
                json!({"message": text}),
            ),
        )
    };
    let mut first = Ledger::default();
    first.submit(error("a", "long enough"), now);
    let held = first.more();
    assert!(held.fact_bytes > 0 && held.span_bytes == 0);
    let known: Vec<Fact> = first.written().map(|(.., fact)| fact.clone()).collect();
    let room = Room(Held::default());
    let mut full = Ledger::new(known, first.activity(), room);
    assert_eq!(
        full.submit(error("b", ""), now),
        Outcome::Full(Bound::Facts)
    );
    assert_eq!(full.submit(session(1, "over"), now), Outcome::Accepted);
    let mut shorter = event(
        Kind::Error,
        "a",
        "2026-01-01T00:00:01Z",
        json!({"message": ""}),
    );
    assert_eq!(
        full.submit(Submission::Event(Source::Event, shorter.clone()), now),
        Outcome::Accepted
    );
    shorter.at += TimeDelta::seconds(1);
    shorter.fields = json!({"message": "longer than it was ".repeat(9)})
        .as_object()
        .cloned()
        .unwrap()
        .into();
    assert_eq!(
        full.submit(Submission::Event(Source::Event, shorter), now),
        Outcome::Full(Bound::FactBytes)
    );
}

#[test]
fn an_error_made_of_a_tool_call_counts_where_the_call_does() {
    let said = |source, kind, id: &str, fields: Value| {
        into_fact(event(kind, id, "2026-01-01T00:00:00Z", fields), source)
    };
    let of_source = |source: Source| {
        let failed = json!({"message": "no", "service": "tool", "code": "tool_error"});
        [
            said(source, Kind::Turn, "t", json!({"index": 0})),
            said(source, Kind::Error, "tool", failed),
            said(
                source,
                Kind::Error,
                "llm",
                json!({"message": "no", "service": "llm"}),
            ),
        ]
    };
    let counted = |sources: &[Source]| -> Vec<(Source, String)> {
        let facts: Vec<Fact> = sources
            .iter()
            .flat_map(|source| of_source(*source))
            .collect();
        let ledger = Ledger::rebuilt(facts, None);
        let errors = ledger.touched().filter(|entity| entity.kind == Kind::Error);
        let facts = errors.flat_map(|entity| ledger.facts_of(entity));
        let of_tools = facts.filter(|fact| fact.id == "tool");
        of_tools
            .map(|fact| (fact.source, fact.id.clone()))
            .collect()
    };
    let tool = |source| (source, "tool".to_owned());
    use Source::{Call, LivekitReport, Trace, Vapi};
    assert_eq!(counted(&[LivekitReport]), [tool(LivekitReport)]);
    assert_eq!(counted(&[LivekitReport, Trace]), [tool(Trace)]);
    assert_eq!(counted(&[Vapi, LivekitReport, Trace]), [tool(Trace)]);
    // What native ingest says itself is no such error, and it makes none of its tool calls.
    let beside_native = counted(&[Call, Vapi, Trace]);
    assert_eq!(beside_native, [tool(Call), tool(Trace)]);
}

#[test]
fn an_undated_report_speaks_of_its_moments_and_reopens() {
    let undated = |hash| {
        let time = "2026-01-01T10:00:00Z";
        let mut turn = event(Kind::Turn, "t", time, json!({"index": 0, "endMs": 90_000}));
        turn.at = DateTime::UNIX_EPOCH;
        let started = json!({"startedAt": time, "status": "active"});
        let session = event(Kind::Session, "session", time, started);
        Submission::Report(
            Source::Call,
            Report {
                at: None,
                hash,
                events: vec![turn, session],
            },
        )
    };
    let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
    let mut ledger = Ledger::default();
    ledger.submit(undated(1), at("2026-01-05T00:00:00Z"));
    let last_at = at("2026-01-01T10:01:30Z");
    assert_eq!(ledger.activity().map(|a| a.last_at), Some(last_at));
    let session = Entity {
        kind: Kind::Session,
        key: String::new(),
    };
    let status = |ledger: &Ledger| {
        let activity = ledger.activity().unwrap();
        let session = session::Session::derive(&ledger.facts_of(&session), activity);
        (session.status.as_str(), session.ended_at)
    };
    let now = at("2026-01-05T01:00:00Z");
    ledger.submit(Submission::Silence(last_at), now);
    assert_eq!(status(&ledger), ("completed", Some(last_at)));
    assert_eq!(ledger.submit(undated(2), now), Outcome::Accepted);
    assert_eq!(status(&ledger), ("active", None));
}

#[test]
fn a_report_that_contradicts_itself_is_refused_whole() {
    let mut events = turns(0..2);
    events[1].id = events[0].id.clone();
    let mut ledger = Ledger::default();
    let outcome = ledger.submit(report(1, events), DateTime::UNIX_EPOCH);
    assert_eq!(outcome, Outcome::Conflict);
    assert!(ledger.is_unchanged(None));
}

#[test]
fn a_repetition_is_one_also_where_the_store_cut_its_time() {
    let sent = |fields| {
        Submission::Event(
            Source::Event,
            event(Kind::Error, "e", "2026-01-01T00:00:00.123456789Z", fields),
        )
    };
    let mut ledger = Ledger::default();
    let now = DateTime::UNIX_EPOCH;
    let (first, other) = (json!({"message": "a"}), json!({"message": "b"}));
    assert_eq!(ledger.submit(sent(first.clone()), now), Outcome::Accepted);
    let stored: Vec<Fact> = ledger.written().map(|(.., fact)| fact.clone()).collect();
    assert_eq!(stored[0].at.timestamp_subsec_nanos(), 123_456_000);
    let mut later = Ledger::new(stored, ledger.activity(), Room::default());
    assert_eq!(later.submit(sent(first), now), Outcome::Duplicate);
    assert_eq!(later.submit(sent(other), now), Outcome::Conflict);
}

/// What a voice platform tells of one call: how it stands, and twice what the whole of it was.
fn platform() -> Vec<Submission> {
    let status = |id: &str, second: u32, status: &str| {
        let at = format!("2026-01-01T00:00:{second:02}Z");
        let fields = json!({"status": status});
        let event = event(Kind::Session, &format!("status/{id}"), &at, fields);
        Submission::Event(Source::Vapi, event)
    };
    let whole = |second: u32, cost_usd: f64, turns: Vec<Event>| {
        let at = format!("2026-01-01T00:00:{second:02}Z");
        let fields =
            json!({"status": "completed", "endedAt": "2026-01-01T00:00:40Z", "costUsd": cost_usd});
        let session = event(Kind::Session, Report::SESSION_ID, &at, fields);
        let report = Report {
            at: at.parse().ok(),
            hash: i64::from(second),
            events: turns.into_iter().chain([session]).collect(),
        };
        Submission::Report(Source::Vapi, report)
    };
    vec![
        status("queued", 0, "queued"),
        status("in-progress", 2, "active"),
        status("ended", 41, "completed"),
        whole(42, 0.1, turns(0..3)),
        whole(43, 0.2, turns(0..2)),
    ]
}

/// All that is known, and when it was heard.
fn known(submissions: &[Submission]) -> (Vec<Fact>, Option<Activity>, i32) {
    let mut ledger = Ledger::default();
    for submission in submissions {
        ledger.submit(submission.clone(), DateTime::UNIX_EPOCH);
    }
    let facts = ledger.entities.values().flat_map(|spoken| spoken.0.iter());
    (
        facts.cloned().collect(),
        ledger.activity,
        ledger.more().turns,
    )
}

proptest! {
    #[test]
    fn a_report_takes_nothing_back_but_the_report_before_it(
        shuffled in Just(platform()).prop_shuffle(),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut delivered = shuffled;
        for repeat in repeats {
            delivered.push(repeat.get(&platform()).clone());
        }
        let (facts, activity, turns) = known(&platform());
        let of_session = facts.iter().filter(|fact| fact.kind == Kind::Session);
        let ids: Vec<&str> = of_session.map(|fact| fact.id.as_str()).collect();
        prop_assert_eq!(ids, ["session", "status/ended", "status/in-progress", "status/queued"]);
        prop_assert_eq!(turns, 2);
        prop_assert_eq!(known(&delivered), (facts, activity, turns));
    }
}
