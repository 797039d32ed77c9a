//! How calls of Vapi's end: what the reason says of the call, by whom it was ended, and which service failed.

/// What reasons say in which a call came about badly or not at all: Vapi has hundreds, and new ones come.
const FAILURES: [&str; 17] = [
    "closed-websocket",
    "did-not-give",
    "error",
    "failed",
    "invalid",
    "join-timed-out",
    "manually-canceled",
    "misdialed",
    "no-assistant",
    "no-available",
    "no-call-received",
    "no-server",
    "not-found",
    "not-valid",
    "scheduled-call-deleted",
    "unallocated",
    "worker-shutdown",
];

/// What an end is here.
pub fn status(reason: &str) -> &'static str {
    match reason {
        "customer-busy" | "vonage-rejected" => "declined",
        "customer-did-not-answer" => "missed",
        // Who called gave up before anybody answered.
        _ if reason.contains("hungup-before-call-connect") => "missed",
        _ if FAILURES.iter().any(|word| reason.contains(word)) => "failed",
        _ => "completed",
    }
}

/// Whoever did not answer has ended nothing, nor has who could not be had.
pub fn by(reason: &str) -> Option<&'static str> {
    match status(reason) {
        _ if reason.is_empty() => None,
        "completed" if reason.starts_with("customer-") => Some("user"),
        "completed" if reason.starts_with("assistant-") => Some("agent"),
        _ => Some("system"),
    }
}

/// Which service a reason speaks of: they are named after whose fault it was.
pub fn service(reason: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&[
        "transcriber",
        "deepgram",
        "gladia",
        "talkscriber",
        "assembly-ai",
        "speechmatics",
    ]) {
        "stt"
    } else if has(&[
        "voice-failed",
        "-voice",
        "eleven-labs",
        "cartesia",
        "playht",
        "rime",
        "lmnt",
    ]) {
        "tts"
    } else if has(&[
        "llm",
        "openai",
        "anthropic",
        "google",
        "groq",
        "mistral",
        "model",
    ]) {
        "llm"
    } else if has(&["tool"]) {
        "tool"
    } else {
        "workflow"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        for (reason, is, ended_by) in [
            ("customer-ended-call", "completed", Some("user")),
            ("assistant-said-end-call-phrase", "completed", Some("agent")),
            ("assistant-ended-call", "completed", Some("agent")),
            ("assistant-forwarded-call", "completed", Some("agent")),
            ("voicemail", "completed", Some("system")),
            ("customer-busy", "declined", Some("system")),
            ("customer-did-not-answer", "missed", Some("system")),
            ("vonage-rejected", "declined", Some("system")),
            (
                "call.ringing.sip-inbound-caller-hungup-before-call-connect",
                "missed",
                Some("system"),
            ),
            (
                "customer-did-not-give-microphone-permission",
                "failed",
                Some("system"),
            ),
            ("scheduled-call-deleted", "failed", Some("system")),
            ("call.forwarding.operator-busy", "completed", Some("system")),
            ("assistant-not-found", "failed", Some("system")),
            ("assistant-join-timed-out", "failed", Some("system")),
            ("assistant-request-failed", "failed", Some("system")),
            ("no-server-available", "failed", Some("system")),
            ("pipeline-no-available-llm-model", "failed", Some("system")),
            (
                "twilio-reported-customer-misdialed",
                "failed",
                Some("system"),
            ),
            ("silence-timed-out", "completed", Some("system")),
            (
                "phone-call-provider-closed-websocket",
                "failed",
                Some("system"),
            ),
            ("worker-shutdown", "failed", Some("system")),
            ("twilio-failed-to-connect-call", "failed", Some("system")),
            (
                "call.in-progress.error-openai-llm-failed",
                "failed",
                Some("system"),
            ),
            ("", "completed", None),
        ] {
            assert_eq!((status(reason), by(reason)), (is, ended_by), "{reason}");
        }
        assert_eq!(service("call.in-progress.error-openai-llm-failed"), "llm");
        assert_eq!(service("pipeline-error-deepgram-transcriber-failed"), "stt");
        assert_eq!(service("pipeline-no-available-llm-model"), "llm");
        assert_eq!(service("assistant-not-found"), "workflow");
    }
}
