//! What a client may say: what it wants to hear of, and that it is there.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::ids::{Claim, ClaimKind, SessionId, TenantId, is_session_id};
use crate::domain::live::{Kind, Named, WANTED_MAX};
use crate::problem::check_text;

/// The type of messages with the number of active calls.
pub const ACTIVE_COUNT: &str = "active_count";

#[derive(Debug, PartialEq)]
pub enum Command {
    Subscribe(Named),
    Unsubscribe(Named),
    Ping,
    Pong,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    r#type: String,
    #[serde(default)]
    call_ids: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
}

/// Reads a message; the error says to the client what is wrong with it.
pub fn parse(tenant: TenantId, text: &str) -> Result<Command, String> {
    let no_message = |cause: &str| {
        format!(
            "is no message: {cause}; send `{{\"type\": \"subscribe\", \"call_ids\": […], \"types\": […]}}`"
        )
    };
    let value: Value =
        serde_json::from_str(text).map_err(|error| no_message(&error.to_string()))?;
    if !value.is_object() {
        return Err(no_message("a message is an object"));
    }
    let wire = Wire::deserialize(value).map_err(|error| no_message(&error.to_string()))?;
    match wire.r#type.as_str() {
        "subscribe" => named(tenant, &wire.call_ids, &wire.types).map(Command::Subscribe),
        "unsubscribe" => named(tenant, &wire.call_ids, &wire.types).map(Command::Unsubscribe),
        "ping" => Ok(Command::Ping),
        "pong" => Ok(Command::Pong),
        _ => Err("`type` must be `subscribe`, `unsubscribe`, `ping` or `pong`".to_owned()),
    }
}

/// Calls in any spelling of their ids, and types of messages.
pub fn named(tenant: TenantId, calls: &[String], types: &[String]) -> Result<Named, String> {
    if calls.len() > WANTED_MAX {
        return Err(format!("names more than {WANTED_MAX} calls"));
    }
    let mut named = Named::default();
    for id in calls {
        check_text(id).map_err(|message| format!("a call's id {message}"))?;
        named.calls.push(SessionId::from_reference(tenant, id));
        if !is_session_id(id) {
            let kinds = ClaimKind::ALL.into_iter();
            let others = kinds.map(|kind| Claim::new(kind, id.as_str()).session(tenant));
            named.others.extend(others);
            named.names.push(id.clone());
        }
    }
    for name in types {
        if name == ACTIVE_COUNT {
            named.counts = true;
            continue;
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        named.kinds.push(kind.ok_or_else(unknown_type)?);
    }
    Ok(named)
}

fn unknown_type() -> String {
    let known = Kind::ALL.map(|kind| format!("`{}`", kind.as_str()));
    format!("a type is one of {}, `{ACTIVE_COUNT}`", known.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(7));

    #[test]
    fn subscriptions_name_calls_in_any_spelling() {
        let text = r#"{"type": "subscribe", "call_ids": ["sess_01890a5d7c3e7b9a8c1d2e3f40516273", "my-call"],
                       "types": ["call.ended", "active_count"]}"#;
        let Ok(Command::Subscribe(named)) = parse(TENANT, text) else {
            unreachable!("a subscription")
        };
        assert_eq!(
            named.calls,
            [
                SessionId(Uuid::from_u128(0x0189_0a5d_7c3e_7b9a_8c1d_2e3f_4051_6273)),
                SessionId::from_reference(TENANT, "my-call"),
            ]
        );
        assert_eq!((named.kinds, named.counts), (vec![Kind::Ended], true));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "is no message"),
            ("[]", "is no message: a message is an object; send"),
            (r#"["ping", [], []]"#, "a message is an object"),
            (r#"{"type": "subscribe", "call": "x"}"#, "unknown field"),
            (
                r#"{"type": "subscribe", "types": ["call"]}"#,
                "a type is one of",
            ),
            (
                r#"{"type": "subscribe", "call_ids": ["a\u0000b"]}"#,
                "must not contain NUL",
            ),
            (
                r#"{"type": "subscribe", "call_ids": [""]}"#,
                "must not be empty",
            ),
            (r#"{"type": "hello"}"#, "`type` must be"),
        ] {
            let error = parse(TENANT, text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".*") {
            let _ = parse(TENANT, &text);
        }
    }
}
