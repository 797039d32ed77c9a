//! An agent that talks to a machine.

use super::super::issue::{Issue, IssueType, Severity};
use super::super::view::View;
use super::tell::time;

/// People who pick up say less than this at a stretch.
const GREETING_MIN_MS: f64 = 2500.0;

pub fn find(view: &View) -> Vec<Issue> {
    of_session(view).into_iter().collect()
}

fn of_session(view: &View) -> Option<Issue> {
    let session = view.input.session;
    let is_machine = session.answered_by.as_deref() == Some("machine");
    let greeting = greeting(view);
    let is_greeting = session.channel.as_deref() == Some("outbound")
        && session.answered_by.as_deref() != Some("human")
        && greeting.is_some_and(|(from, to)| to - from >= GREETING_MIN_MS);
    if !is_machine && !is_greeting {
        return None;
    }
    let since = greeting.map_or(0.0, |(from, _)| from);
    let spoke = |turn: &&super::super::view::Spoken| {
        !turn.turn.cancelled && !turn.is_silent() && turn.end_ms.is_some_and(|end| end > since)
    };
    let agents: Vec<_> = view
        .agent_turns()
        .map(|(_, turn)| turn)
        .filter(spoke)
        .collect();
    let first = agents.first()?;
    let spoken_ms: f64 = agents.iter().filter_map(|turn| turn.ms()).sum();
    let description = if is_machine {
        format!(
            "A machine answered the call, and the agent spoke to it for {}.",
            time(spoken_ms)
        )
    } else {
        let ms = greeting.map_or(0.0, |(from, to)| to - from);
        format!(
            "The called side spoke for {} without a pause, as a machine does, and the agent spoke for {} after it.",
            time(ms),
            time(spoken_ms)
        )
    };
    Some(
        Issue::new(IssueType::Voicemail, Severity::Minor, description)
            .of_turn(first)
            .shows("answeredBy", session.answered_by.as_deref())
            .measures("greetingMs", greeting.map(|(from, to)| to - from))
            .measures("agentSpokeMs", Some(spoken_ms))
            .advise("Detect answering machines before the agent speaks; then hang up, or leave one prepared message."),
    )
}

/// The first sound of the other side, if it spoke before the agent.
fn greeting(view: &View) -> Option<(f64, f64)> {
    let first_agent = view
        .agent_turns()
        .filter(|(_, turn)| !turn.is_silent())
        .find_map(|(_, turn)| turn.start_ms);
    let by_sound = view
        .user_speech
        .first()
        .map(|speech| (speech.start_ms, speech.end_ms));
    let by_turn = view.user_turns().find_map(|(_, turn)| turn.interval());
    let first = by_sound.or(by_turn)?;
    first_agent
        .is_none_or(|agent| first.0 < agent)
        .then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::Voicemail;

    #[test]
    fn a_machine_that_is_talked_to() {
        let mut call = clean(2);
        call["turns"][0]["endMs"] = json!(2499);
        call["session"]["answeredBy"] = json!("machine");
        let told = issue(&call, KIND);
        assert_eq!(
            told.description,
            "A machine answered the call, and the agent spoke to it for 6.4s."
        );
        call["turns"] = json!([call["turns"][0]]);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_long_greeting_of_somebody_called() {
        for (ms, channel, is_told) in [
            (2500, "outbound", true),
            (2499, "outbound", false),
            (9000, "inbound", false),
        ] {
            let mut call = clean(2);
            call["session"]["channel"] = json!(channel);
            call["turns"][0]["endMs"] = json!(ms);
            assert_eq!(!found(&call, KIND).is_empty(), is_told, "{ms} {channel}");
        }
    }
}
