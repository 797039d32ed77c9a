//! Turns that were served by another provider or model than the session's own, or that of the agent to which the call was
//! handed over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::path::{has_error, is_true, list};
use super::super::view::{Spoken, View};
use super::super::whatif::percentile;
use super::tell::{count, excerpt, time};

type Named = (Option<String>, Option<String>);

/// A turn, and who served it.
type Served<'a> = (&'a Spoken<'a>, Named);

pub fn find(view: &View) -> Vec<Issue> {
    [Stage::Stt, Stage::Llm, Stage::Tts]
        .into_iter()
        .flat_map(|stage| of_stage(view, stage))
        .collect()
}

fn of_stage(view: &View, stage: Stage) -> Vec<Issue> {
    let mut by_agent: BTreeMap<Option<&str>, Vec<Served<'_>>> = BTreeMap::new();
    for (_, turn) in view.agent_turns().filter(|(_, turn)| !turn.turn.cancelled) {
        let named = named(turn, stage);
        if named.0.is_some() || named.1.is_some() {
            let agent = turn.turn.agent();
            by_agent.entry(agent).or_default().push((turn, named));
        }
    }
    let are_several = by_agent.len() > 1;
    let find = |served: &Vec<Served<'_>>| of_agent(view, stage, served, are_several);
    by_agent.values().flat_map(find).collect()
}

fn of_agent(view: &View, stage: Stage, served: &[Served<'_>], are_several: bool) -> Vec<Issue> {
    let primary = primary(view, stage, served, are_several);
    let mut others: BTreeMap<Named, Vec<&Spoken>> = BTreeMap::new();
    let mut own_ms = Vec::new();
    for (turn, named) in served {
        if is_other(named, &primary) {
            others.entry(named.clone()).or_default().push(turn);
        } else {
            own_ms.extend(
                view.latency_of(turn.turn.index)
                    .and_then(|l| l.stage_ms(stage)),
            );
        }
    }
    let usual_ms = percentile(&mut own_ms, 0.5);
    others
        .into_iter()
        .filter_map(|(named, turns)| tell(view, stage, &primary, named, &turns, usual_ms))
        .collect()
}

/// Who served a turn. Streams that only asked for a tool, or gave nothing, do not count.
fn named(turn: &Spoken, stage: Stage) -> Named {
    let calls = match stage {
        Stage::Llm => "llmCalls",
        Stage::Tts => "ttsCalls",
        _ => "",
    };
    let asked_for_tool = |call: &Value| {
        let reason = call.get("finishReason").and_then(Value::as_str);
        reason.is_some_and(|reason| reason.contains("tool") || reason.contains("function"))
    };
    let gave_nothing =
        |call: &Value| stage == Stage::Llm && call.get("firstTokenMs").is_none_or(Value::is_null);
    let counts = |call: &&Value| {
        !is_true(call, "cancelled")
            && !is_true(call, "beside")
            && !has_error(call)
            && !asked_for_tool(call)
            && !gave_nothing(call)
    };
    let text = |value: Option<&Value>, name: &str| {
        value.and_then(|value| value.get(name)?.as_str().map(str::to_owned))
    };
    let call = list(turn.turn, calls).filter(counts).last();
    let extra = &turn.turn.extra;
    (
        text(call, "provider").or_else(|| text(extra.get("providers"), stage.as_str())),
        text(call, "model").or_else(|| text(extra.get("models"), stage.as_str())),
    )
}

/// What the session says it uses, else what most of the turns used, of equals the first. One of several agents may have its
/// own: what the session says is not of one that never used it.
fn primary(view: &View, stage: Stage, served: &[Served<'_>], are_several: bool) -> Named {
    let session = view.input.session;
    let stated = match stage {
        Stage::Stt => session.providers.stt.clone(),
        Stage::Llm => session.providers.llm.clone(),
        _ => session.providers.tts.clone(),
    };
    let models = session.extra.get("models");
    let model = models.and_then(|models| models.get(stage.as_str())?.as_str().map(str::to_owned));
    let reason = |turn: &Spoken| {
        turn.turn
            .extra
            .get("fallbackReason")
            .is_some_and(Value::is_string)
    };
    let is_own = |(turn, _): &&Served<'_>| !reason(turn);
    let own: Vec<&Named> = served
        .iter()
        .filter(is_own)
        .map(|(_, named)| named)
        .collect();
    let mut counts: Vec<(&Named, usize)> = Vec::new();
    for named in own.iter().copied() {
        match counts.iter_mut().find(|(known, _)| *known == named) {
            Some((_, count)) => *count += 1,
            None => counts.push((named, 1)),
        }
    }
    // `max_by_key` takes the last of equals.
    let most = counts
        .iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map(|(named, _)| *named);
    let usual = most.cloned().unwrap_or_default();
    let stated = match (stated, model) {
        (None, None) => return usual,
        (provider, None) if !differs(&provider, &usual.0) => (provider, usual.1.clone()),
        stated => stated,
    };
    let is_used = || own.iter().any(|named| !is_other(named, &stated));
    if are_several && !own.is_empty() && !is_used() {
        return usual;
    }
    stated
}

fn is_other(named: &Named, primary: &Named) -> bool {
    differs(&named.0, &primary.0) || differs(&named.1, &primary.1)
}

/// Whether two names mean different things: one may name the version too.
fn differs(a: &Option<String>, b: &Option<String>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let is_version = |long: &str, short: &str| {
        let rest = long
            .strip_prefix(short)
            .map(|rest| rest.trim_start_matches(['-', '@', ':']));
        rest.is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_ascii_digit()))
    };
    !is_version(&a, &b) && !is_version(&b, &a)
}

fn tell(
    view: &View,
    stage: Stage,
    primary: &Named,
    named: Named,
    turns: &[&Spoken],
    usual_ms: Option<f64>,
) -> Option<Issue> {
    let first = turns.first()?;
    let mut times: Vec<f64> = turns
        .iter()
        .filter_map(|turn| view.latency_of(turn.turn.index)?.stage_ms(stage))
        .collect();
    let added = percentile(&mut times, 0.5)
        .zip(usual_ms)
        .map(|(was, usual)| was - usual);
    let adding = match added {
        Some(ms) if ms > 0.0 => format!(", {} more (median)", time(ms)),
        _ => String::new(),
    };
    let description = format!(
        "{} was served by {} instead of {} in {}{adding}.",
        stage.title(),
        shown(&named),
        shown(primary),
        count(turns.len(), "turn"),
    );
    let indexes: Vec<i32> = turns.iter().take(50).map(|turn| turn.turn.index).collect();
    let issue = Issue::new(IssueType::ProviderFallback, Severity::Minor, description)
        .of_turn(first)
        .in_stage(Some(stage))
        .by((named.0.as_deref(), named.1.as_deref()))
        .costs(added.filter(|ms| *ms > 0.0))
        .until(first.start_ms)
        .measures("addedMs", added)
        .shows("primary", shown(primary))
        .shows("turns", indexes)
        .advise("Look at why the primary failed or was too slow, and keep the connection of the fallback warm.");
    let reason = turns
        .iter()
        .find_map(|turn| turn.turn.extra.get("fallbackReason")?.as_str());
    Some(match reason {
        Some(reason) => issue.quotes(
            format!("The reason given: \"{}\".", excerpt(reason)),
            "reason",
            excerpt(reason),
        ),
        None => issue,
    })
}

fn shown((provider, model): &Named) -> String {
    match (provider, model) {
        (Some(provider), Some(model)) => format!("{provider} {model}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "another".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::ProviderFallback;

    fn served() -> Value {
        let mut call = clean(4);
        for n in [1, 3, 5, 7] {
            call["turns"][n]["providers"] = json!({"llm": "openai"});
            call["turns"][n]["models"] = json!({"llm": "gpt-4o"});
        }
        call
    }

    #[test]
    fn another_model_is_told_with_what_it_added() {
        let mut call = served();
        call["turns"][5]["models"] = json!({"llm": "gpt-4o-mini"});
        call["turns"][5]["llmMs"] = json!(800);
        call["turns"][5]["latencyMs"] = json!(1400);
        call["turns"][5]["fallbackReason"] = json!("rate limited");
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "LLM was served by openai gpt-4o-mini instead of openai gpt-4o in 1 turn, 500ms more (median)."
        );
        assert_eq!((issue.turn, issue.impact_ms), (Some(5), Some(500)));
        assert!(issue.description_for(true).contains("rate limited"));
    }

    #[test]
    fn the_agent_that_took_over_has_models_of_its_own() {
        let mut call = served();
        call["session"]["models"] = json!({"llm": "gpt-4o"});
        for n in [5, 7] {
            call["turns"][n]["models"] = json!({"llm": "gpt-4.1"});
        }
        assert_eq!(found(&call, KIND).len(), 1);
        for n in [5, 7] {
            call["turns"][n]["metadata"] = json!({"agent": "expert"});
        }
        assert!(found(&call, KIND).is_empty());
        // It has a fallback too, which may be all that it was heard by.
        for n in [5, 7] {
            call["turns"][n]["fallbackReason"] = json!("rate limited");
        }
        assert_eq!(found(&call, KIND).len(), 1);
        for n in [5, 7] {
            call["turns"][n]["fallbackReason"] = Value::Null;
        }
        call["turns"][7]["models"] = json!({"llm": "gpt-4o-mini"});
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "LLM was served by openai gpt-4o-mini instead of openai gpt-4.1 in 1 turn."
        );
    }

    #[test]
    fn a_version_a_stream_for_a_tool_and_one_beside_the_answer_are_no_fallback() {
        let mut call = served();
        assert!(found(&call, KIND).is_empty());
        call["turns"][3]["models"] = json!({"llm": "gpt-4o-2024-08-06"});
        call["turns"][5]["llmCalls"] = json!([
            {"startMs": 16700, "firstTokenMs": 16800, "model": "small", "finishReason": "tool_calls"},
            {"startMs": 16800, "firstTokenMs": 17000, "model": "gpt-4o"},
            {"startMs": 16900, "model": "empty"},
            {"startMs": 16800, "firstTokenMs": 17100, "model": "moderator", "beside": true},
        ]);
        assert!(found(&call, KIND).is_empty());
    }
}
