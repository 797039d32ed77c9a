//! The real calls that are shipped (sources and licences: data/NOTICE.md), placed in recent days.

use std::io::Read;

use chrono::{DateTime, TimeDelta, Utc};
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::samples::format;

const CALLS: &[u8] = include_bytes!("data/calls.jsonl.gz");

/// How long before the demo's first start each call begins, in minutes: something for the last hour,
/// the last day, the last week and the last month. A call is told when it is over.
const PLACES_MINUTES: [i64; 16] = [
    18, 35, 50, 150, 400, 700, 1_100, 1_700, 2_900, 4_300, 6_000, 8_500, 13_000, 19_000, 27_000,
    38_000,
];

/// The shipped calls as they came, in the sample format.
pub fn lines() -> Result<Vec<Value>, String> {
    let mut text = String::new();
    GzDecoder::new(CALLS)
        .read_to_string(&mut text)
        .map_err(|error| format!("the shipped calls: {error}"))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| format!("the shipped calls: {error}"))
        })
        .collect()
}

/// The shipped calls as native calls in the days before `now`; `metadata.recordedAt` keeps the true time.
pub fn demo_calls(now: DateTime<Utc>) -> Result<Vec<Value>, String> {
    let lines = lines()?;
    let starts = PLACES_MINUTES
        .iter()
        .map(|minutes| now - TimeDelta::minutes(*minutes));
    lines
        .iter()
        .zip(starts)
        .map(|(line, start)| format::to_native(line, start))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn call(id: &str) -> Value {
        let calls = demo_calls("2026-05-01T12:00:00Z".parse().unwrap()).unwrap();
        let is_it = |call: &&Value| call["session"]["sessionId"] == id;
        calls.iter().find(is_it).unwrap().clone()
    }

    #[test]
    fn every_period_shows_something_and_every_call_is_over() {
        let now: DateTime<Utc> = "2026-05-01T12:00:00Z".parse().unwrap();
        let calls = demo_calls(now).unwrap();
        assert_eq!(calls.len(), PLACES_MINUTES.len());
        let mut turns: BTreeMap<String, usize> = BTreeMap::new();
        for call in &calls {
            let source = call["session"]["metadata"]["source"]
                .as_str()
                .unwrap()
                .to_owned();
            *turns.entry(source).or_default() += call["turns"].as_array().unwrap().len();
            let ended: DateTime<Utc> = call["session"]["endedAt"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!(ended < now, "{}", call["session"]["sessionId"]);
        }
        let found: Vec<(&str, usize)> = turns
            .iter()
            .map(|(source, turns)| (source.as_str(), *turns))
            .collect();
        assert_eq!(
            found,
            [
                ("aws_bda_sample", 51),
                ("harper_valley_bank", 66),
                ("primock57", 965),
                ("servicenow_eva", 20)
            ]
        );
    }

    #[test]
    fn the_voice_agent_run_keeps_its_tools() {
        let run = call("eva-1.1.2-2026-03-01");
        let tools = run["toolCalls"].as_array().unwrap();
        assert_eq!(tools.len(), 5);
        assert_eq!(tools[0]["name"], "get_reservation");
        assert_eq!(tools[0]["arguments"]["last_name"], "Rodriguez");
        assert_eq!(run["session"]["models"]["llm"], "gpt-5.2");
    }

    #[test]
    fn what_is_odd_about_a_call_stays() {
        let call = call("hvb-0126ffdce48049a9");
        let turns = call["turns"].as_array().unwrap();
        assert_eq!(turns.iter().filter(|turn| turn["text"] == "").count(), 3);
        let starts: Vec<_> = turns.iter().filter_map(|t| t["startMs"].as_i64()).collect();
        assert_eq!(
            (starts[18], starts[19]),
            (41_219, 40_989),
            "out of order at the source"
        );
        assert_eq!(turns[1]["metadata"]["dialogActs"][0], "gridspace_greeting");
        assert!(turns[1]["metadata"]["sourceStartMs"].is_i64());
        let metadata = &call["session"]["metadata"];
        assert_eq!(metadata["recordedAt"], "2020-03-15T22:08:27.452Z");
        assert_eq!(metadata["placedAt"], call["session"]["startedAt"]);
        assert_eq!(call["session"]["agentId"], "hvb-36");
    }
}
