//! What a call cost its caller in all: of the times behind its issues, each moment once.

use std::collections::BTreeMap;

use super::issue::Issue;
use crate::domain::items::covered_ms;

/// What callers waited beyond targets because of these issues. Two issues about one silence cost it once; what
/// has no place in time is added, of each turn the most.
pub fn lost_ms(issues: &[Issue]) -> i64 {
    // Of a turn without times, all that is told of it is about the one wait before it.
    let mut of_turns: BTreeMap<i32, i64> = BTreeMap::new();
    let mut lost = 0i64;
    for issue in issues.iter().filter(|issue| issue.lost.is_empty()) {
        let ms = issue.impact_ms.unwrap_or_default();
        match issue.turn {
            Some(turn) => {
                let most = of_turns.entry(turn).or_default();
                *most = ms.max(*most);
            }
            None => lost = lost.saturating_add(ms),
        }
    }
    lost = of_turns.into_values().fold(lost, i64::saturating_add);
    let placed = issues.iter().flat_map(|issue| &issue.lost);
    // Whole numbers of ms, and far fewer than a float tells apart.
    let placed = placed.map(|(from, to)| (*from as f64, *to as f64));
    lost.saturating_add(covered_ms(placed) as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{analysis, clean, delay};
    use super::super::{Analysis, IssueType};

    fn sum(found: &Analysis, kind: IssueType) -> i64 {
        let issues = found.issues.iter().filter(|issue| issue.kind == kind);
        issues.filter_map(|issue| issue.impact_ms).sum()
    }

    #[test]
    fn one_silence_is_lost_once() {
        let mut call = clean(4);
        call["turns"].as_array_mut().unwrap().remove(3);
        let found = analysis(&call);
        // 4.8 s: 3.3 s beyond an answer's target, 1.8 s beyond what a silence may last.
        assert_eq!(sum(&found, IssueType::FailedTurn), 3300);
        assert_eq!(sum(&found, IssueType::DeadAir), 1800);
        assert_eq!(found.lost_ms, 3300);
    }

    #[test]
    fn two_silences_are_both_lost() {
        let mut call = clean(6);
        for turn in [3, 7] {
            call["turns"][turn]["failed"] = json!(true);
        }
        assert_eq!(analysis(&call).lost_ms, 2 * 3300);
    }

    #[test]
    fn a_late_answer_and_the_stage_that_it_waited_for_are_one_wait() {
        let mut call = clean(4);
        call["turns"][5]["llmMs"] = json!(3000);
        delay(&mut call, 5, 2700);
        call["turns"][5]["latencyMs"] = json!(3600);
        call["turns"][7]["endpointingMs"] = json!(1400);
        delay(&mut call, 7, 1150);
        call["turns"][7]["latencyMs"] = json!(2050);
        let found = analysis(&call);
        assert_eq!(sum(&found, IssueType::HighLatency), 2100 + 550);
        assert_eq!(sum(&found, IssueType::DeadAir), 600);
        assert_eq!(found.lost_ms, 2100 + 550);
    }

    #[test]
    fn what_has_no_time_is_added() {
        let mut call = clean(3);
        for turn in call["turns"].as_array_mut().unwrap() {
            for name in ["startMs", "endMs"] {
                turn[name] = json!(null);
            }
        }
        call["turns"][1]["latencyMs"] = json!(2000);
        call["turns"][3]["latencyMs"] = json!(3000);
        call["turns"][3]["endpointingMs"] = json!(1200);
        call["turns"][3]["llmMs"] = json!(1300);
        let found = analysis(&call);
        assert_eq!(sum(&found, IssueType::SlowEndpointing), 200);
        assert_eq!(sum(&found, IssueType::HighLatency), 500 + 1500);
        assert_eq!(found.lost_ms, 500 + 1500);
    }
}
