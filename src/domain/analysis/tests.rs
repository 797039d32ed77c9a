//! The whole analysis: the same for the same, in order, quick, and right about faults put into real
//! timings.

mod clocks;
mod faults;
mod real;
mod script;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fixture::{analysis, clean, delay};
use super::*;

/// A call with much that is wrong.
fn troubled() -> Value {
    let mut call = clean(8);
    call["turns"][5]["llmMs"] = json!(2000);
    delay(&mut call, 5, 1700);
    call["turns"][5]["latencyMs"] = json!(2600);
    call["turns"][6]["confidence"] = json!(0.4);
    call["turns"][9]["failed"] = json!(true);
    call["turns"][11]["finishReason"] = json!("length");
    call["network"] = json!([{"atMs": 3000, "lossPercent": 9}]);
    call["toolCalls"] = json!([{"turn": 13, "name": "find", "error": "not there"}]);
    delay(&mut call, 15, 4000);
    call["turns"][15]["latencyMs"] = json!(4900);
    call
}

#[test]
fn a_call_with_nothing_wrong_has_no_issues() {
    let analysis = analysis(&clean(8));
    assert_eq!(analysis.issues, []);
    assert_eq!(
        (analysis.score, analysis.score_passed),
        (Some(1.0), Some(true))
    );
    assert_eq!(
        analysis.coverage,
        Coverage {
            answers: 8,
            measured: 8,
            complete: 8
        }
    );
}

#[test]
fn the_worst_comes_first_and_the_same_is_told_in_any_order() {
    let mut call = troubled();
    let once = analysis(&call);
    assert_eq!(once.issues[0].kind, IssueType::AbandonedAfterSilence);
    let ranks: Vec<_> = once.issues[1..]
        .iter()
        .map(|issue| (issue.severity, std::cmp::Reverse(issue.impact_ms)))
        .collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    assert!(once.issues.len() >= 8);
    call["turns"].as_array_mut().unwrap().reverse();
    call["network"].as_array_mut().unwrap().reverse();
    let bytes = |analysis: &Analysis| serde_json::to_vec(analysis).unwrap();
    assert_eq!(bytes(&analysis(&call)), bytes(&once));
    let back: Analysis = serde_json::from_slice(&bytes(&once)).unwrap();
    assert_eq!(back, once);
}

#[test]
fn nothing_is_quoted_to_who_may_not_read_it() {
    let issues = analysis(&troubled()).issues;
    assert!(issues.iter().any(Issue::has_content));
    for issue in &issues {
        let shown = format!(
            "{} {}",
            issue.description_for(false),
            Value::from(issue.evidence_for(false))
        );
        for words in ["breakfast", "Leeds", "not there", "arrive"] {
            assert!(!shown.contains(words), "{shown}");
        }
    }
}

#[test]
fn an_empty_session_is_analysed_too() {
    let nothing = analysis(&json!({"session": {"agentId": "desk"}}));
    assert_eq!(
        (nothing.issues.len(), nothing.score, nothing.turns.len()),
        (0, None, 0)
    );
}

#[test]
fn every_type_has_its_name() {
    for kind in IssueType::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(IssueType::parse(kind.as_str()), Some(*kind));
    }
    assert_eq!(IssueType::ALL.len(), 27);
    for stage in Stage::ALL {
        assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
    }
}

#[test]
fn defaults_are_within_their_bounds_and_others_are_refused() {
    assert!(Targets::default().faults().is_empty());
    let given: Targets = serde_json::from_value(json!({"turn": {"targetMs": 1200}})).unwrap();
    assert_eq!((given.turn.target_ms, given.turn.critical_ms), (1200, 3000));
    assert!(serde_json::from_value::<Targets>(json!({"turn": {"target": 1}})).is_err());
    let wrong: Targets = serde_json::from_value(json!({"turn": {"targetMs": 0, "criticalMs": 9},
        "interruption": {"falseRate": 1.5}, "backchannels": [""]}))
    .unwrap();
    let names: Vec<String> = wrong.faults().into_iter().map(|fault| fault.name).collect();
    assert_eq!(
        names,
        ["turn.targetMs", "interruption.falseRate", "backchannels"]
    );
    for bound in Targets::bounds() {
        assert!(
            (bound.min..=bound.max).contains(&bound.default),
            "{}",
            bound.name
        );
    }
}

#[test]
fn overlaps_are_counted_as_independently_defined() {
    // Each turn that starts strictly inside one of the other speaker, once, over the shipped calls.
    for call in real::native_calls() {
        let turns: Vec<(bool, i64, i64)> = call["turns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| {
                (
                    t["speaker"] == "agent",
                    t["startMs"].as_i64().unwrap(),
                    t["endMs"].as_i64().unwrap(),
                )
            })
            .collect();
        let inside = |agent: bool| {
            let mine = turns.iter().filter(|t| t.0 == agent);
            mine.filter(|t| turns.iter().any(|o| o.0 != agent && o.1 < t.1 && t.1 < o.2))
                .count() as u64
        };
        let counts = analysis(&call).interruptions;
        assert_eq!(
            (counts.overlaps, counts.overlaps_by_agent),
            (inside(false), inside(true))
        );
    }
}

/// Faults in sessions made of real timings are found, and nothing else is.
#[test]
fn faults_in_real_timings_are_found_and_nothing_else() {
    let sessions = real::sessions();
    assert!(sessions.len() >= 25, "{}", sessions.len());
    let is_clean = |call: &&Value| {
        let issues = analysis(call).issues;
        issues
            .iter()
            .all(|issue| real::is_true_of(call, issue.kind))
    };
    let clean_ones = sessions.iter().filter(is_clean).count();
    let clean_share = clean_ones as f64 / sessions.len() as f64;
    let (mut right, mut wrong) = (0usize, 0usize);
    let mut missed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexpected: BTreeMap<String, usize> = BTreeMap::new();
    let mut injected = 0;
    for session in &sessions {
        for kind in IssueType::ALL {
            let mut call = session.clone();
            let Some(fault) = faults::put(*kind, &mut call) else {
                continue;
            };
            injected += 1;
            let issues = analysis(&call).issues;
            let is_it = |issue: &Issue| {
                issue.kind == *kind && (fault.turn.is_none() || issue.turn == fault.turn)
            };
            if !issues.iter().any(is_it) {
                *missed.entry(kind.as_str()).or_default() += 1;
            }
            for issue in &issues {
                let follows = issue.kind == *kind
                    || fault.follows.contains(&issue.kind)
                    || real::is_true_of(session, issue.kind);
                right += usize::from(follows);
                wrong += usize::from(!follows);
                if !follows {
                    let name = format!("{} beside {}", issue.kind.as_str(), kind.as_str());
                    *unexpected.entry(name).or_default() += 1;
                }
            }
        }
    }
    let recall = 1.0 - missed.values().sum::<usize>() as f64 / injected as f64;
    let precision = right as f64 / (right + wrong) as f64;
    println!(
        "{} sessions, {injected} faults: recall {recall:.3}, precision {precision:.3}, clean {clean_share:.3}",
        sessions.len()
    );
    assert!(recall >= 0.95, "recall {recall}: missed {missed:?}");
    assert!(precision >= 0.95, "precision {precision}: {unexpected:?}");
    assert!(clean_share >= 0.95, "clean {clean_share}");
}

/// The same for sessions that were made up from the definitions alone, type by type.
#[test]
fn faults_in_scripts_are_found_at_their_turn_and_nothing_else() {
    use script::faults::{self, Blamed};

    const SCRIPTS: u64 = 60;
    let (mut clean, mut unclean) = (0usize, BTreeMap::<&str, usize>::new());
    // Of each type: put in, found, and told without having been put in.
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut told: Vec<String> = Vec::new();
    for seed in 0..SCRIPTS {
        let issues = analysis(&script::Script::of(seed).tell().call).issues;
        clean += usize::from(issues.is_empty());
        for issue in issues {
            *unclean.entry(issue.kind.as_str()).or_default() += 1;
            told.push(format!(
                "clean {seed}: {} {}",
                issue.kind.as_str(),
                issue.description
            ));
        }
        for (n, kind) in IssueType::ALL.iter().enumerate() {
            let mut script = script::Script::of(SCRIPTS + seed * 100 + n as u64);
            let fault = faults::put(*kind, &mut script);
            let session = script.tell();
            let turn = match fault.blamed {
                Blamed::User(n) => Some(session.turns[n].0),
                Blamed::Agent(n) => session.turns[n].1,
                Blamed::First => Some(0),
                Blamed::Nobody => None,
            };
            let issues = analysis(&session.call).issues;
            let is_it = |issue: &&Issue| {
                issue.kind == *kind
                    && (turn.is_none() || issue.turn == turn)
                    && (fault.stage.is_none() || issue.stage == fault.stage)
                    && fault
                        .severity
                        .is_none_or(|severity| issue.severity == severity)
            };
            let found = issues.iter().find(is_it);
            let count = counts.entry(kind.as_str()).or_default();
            count[0] += 1;
            count[1] += usize::from(found.is_some());
            if found.is_none() {
                let others: Vec<_> = issues
                    .iter()
                    .map(|i| (i.kind.as_str(), i.turn, i.stage, i.severity))
                    .collect();
                told.push(format!(
                    "missed {} {n}/{seed} at {turn:?}: {others:?}",
                    kind.as_str()
                ));
            }
            for issue in issues
                .iter()
                .filter(|issue| issue.kind != *kind && !fault.follows.contains(&issue.kind))
            {
                counts.entry(issue.kind.as_str()).or_default()[2] += 1;
                told.push(format!(
                    "beside {}: {} {:?} {}",
                    kind.as_str(),
                    issue.kind.as_str(),
                    issue.turn,
                    issue.description
                ));
            }
        }
    }
    told.iter().for_each(|line| println!("{line}"));
    for (kind, [put, found, more]) in &counts {
        let recall = *found as f64 / (*put).max(1) as f64;
        let precision = *found as f64 / (found + more).max(1) as f64;
        println!("{kind}: {put} put in, recall {recall:.3}, precision {precision:.3}");
    }
    println!("clean: {clean} of {SCRIPTS}, {unclean:?}");
    for (kind, [put, found, more]) in &counts {
        assert!(
            *found as f64 >= 0.95 * *put as f64,
            "{kind}: {found} of {put}"
        );
        assert!(
            *found as f64 >= 0.95 * (found + more) as f64,
            "{kind}: {more} beside {found}"
        );
    }
    assert!(
        clean as f64 >= 0.95 * SCRIPTS as f64,
        "{clean}: {unclean:?}"
    );
}
