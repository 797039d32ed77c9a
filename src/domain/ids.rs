//! Identities: which tenant, which session, and how a source's own id becomes one of ours.

use uuid::Uuid;

/// A tenant. Only `store` turns one into access (see `store::Scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(pub Uuid);

/// One conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub Uuid);

/// Longest id that a source may give, in characters.
pub const EXTERNAL_ID_MAX_CHARS: usize = 255;

/// Words that are paths of ours.
const RESERVED_IDS: [&str; 3] = ["export", "interruption-quality", "root-cause"];

/// Whether no session may be called so, by whichever door.
pub fn is_reserved(id: &str) -> bool {
    RESERVED_IDS.contains(&id) || is_dots(id)
}

/// Whether no path can name this: clients take such a part of a path for the way up.
pub fn is_dots(id: &str) -> bool {
    matches!(id, "." | "..")
}

impl SessionId {
    /// The session that a source's id names: a hyphenated UUID is the id itself, anything else is
    /// derived from (tenant, kind, id), so that parallel first deliveries meet on one row.
    pub fn from_source(tenant: TenantId, kind: &str, id: &str) -> Self {
        match hyphenated(id) {
            Some(uuid) => Self(uuid),
            None => Self(Uuid::new_v5(
                &tenant.0,
                format!("{kind}\u{0}{id}").as_bytes(),
            )),
        }
    }

    /// The session that a path or filter names: `sess_` + 32 hex digits, a UUID, or a source's id.
    pub fn from_reference(tenant: TenantId, reference: &str) -> Self {
        if let Some(hex) = reference.strip_prefix("sess_")
            && hex.len() == 32
            && let Ok(uuid) = Uuid::try_parse(hex)
        {
            return Self(uuid);
        }
        Self::from_source(tenant, NATIVE, reference)
    }

    /// The observability dialect's spelling.
    pub fn prefixed(self) -> String {
        format!("sess_{}", self.0.simple())
    }
}

/// Whether a text is a carrier's id of a telephone call: `CA` and 32 hex digits.
pub fn is_call_sid(text: &str) -> bool {
    text.strip_prefix("CA")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a text is a carrier's id of a media stream: `MZ` and 32 hex digits.
pub fn is_stream_sid(text: &str) -> bool {
    text.strip_prefix("MZ")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a text is LiveKit's own id of a room, which no application would choose: a server's, or what an agent's SDK
/// makes up where no server is asked, as in its console.
pub fn is_room_sid(text: &str) -> bool {
    let rest = ["RM_", "SRM_"]
        .iter()
        .find_map(|made| text.strip_prefix(made));
    rest.is_some_and(|rest| !rest.is_empty())
}

/// Which of two names of one session it is known by: what its source calls it rather than a spelling of
/// our own id, then the first in the order of bytes. So it does not matter which came first.
pub fn preferred<'a>(one: &'a str, other: &'a str) -> &'a str {
    let rank = |name: &'a str| (is_spelling(name), name);
    if rank(other) < rank(one) { other } else { one }
}

/// Whether a name is a session's own id in one of its spellings.
fn is_spelling(name: &str) -> bool {
    let is_prefixed = |hex: &str| hex.len() == 32 && Uuid::try_parse(hex).is_ok();
    name.strip_prefix("sess_").is_some_and(is_prefixed) || hyphenated(name).is_some()
}

/// What kind of name a source has for a session, the best first: of several names of one session the
/// first is its own. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ClaimKind {
    /// As native ingest names it: never merged into another.
    Native = 1,
    LivekitRoomSid = 2,
    VapiCall = 3,
    RetellCall = 4,
    ElevenlabsConversation = 5,
    CallSid = 6,
    StreamSid = 7,
    /// An application's own id of a conversation (`conversation.id`, `session.id`).
    Conversation = 8,
    /// A session of which only a trace is known.
    Trace = 9,
}

impl ClaimKind {
    pub const ALL: [Self; 9] = [
        Self::Native,
        Self::LivekitRoomSid,
        Self::VapiCall,
        Self::RetellCall,
        Self::ElevenlabsConversation,
        Self::CallSid,
        Self::StreamSid,
        Self::Conversation,
        Self::Trace,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => NATIVE,
            Self::LivekitRoomSid => "livekit_room_sid",
            Self::VapiCall => "vapi_call_id",
            Self::RetellCall => "retell_call_id",
            Self::ElevenlabsConversation => "elevenlabs_conversation_id",
            Self::CallSid => "call_sid",
            Self::StreamSid => "stream_sid",
            Self::Conversation => "conversation_id",
            Self::Trace => "trace_id",
        }
    }

    pub fn from_stored(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }

    /// A kind that another source than the native one may name.
    pub fn parse_foreign(text: &str) -> Option<Self> {
        let mut foreign = Self::ALL.into_iter().filter(|kind| *kind != Self::Native);
        foreign.find(|kind| kind.as_str() == text)
    }
}

/// A name that several sessions may have: to look them up by. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum LabelKind {
    RoomName = 1,
    Participant = 2,
    Phone = 3,
    Job = 4,
    SipCall = 5,
}

impl LabelKind {
    /// By these people are told, not calls: only who may see what was said finds a call by them.
    pub const PERSONAL: [Self; 3] = [Self::Participant, Self::Phone, Self::SipCall];

    pub const ALL: [Self; 5] = [
        Self::RoomName,
        Self::Participant,
        Self::Phone,
        Self::Job,
        Self::SipCall,
    ];

    /// As `externalIds` of a session have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoomName => "livekit_room_name",
            Self::Participant => "livekit_participant",
            Self::Phone => "phone_number",
            Self::Job => "livekit_job_id",
            Self::SipCall => "sip_call_id",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A name that one session has and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    pub kind: ClaimKind,
    pub value: String,
}

impl Claim {
    pub fn new(kind: ClaimKind, value: impl Into<String>) -> Self {
        Self {
            kind,
            value: value.into(),
        }
    }

    /// The session that this is the only name of.
    pub fn session(&self, tenant: TenantId) -> SessionId {
        match self.kind {
            ClaimKind::Native => SessionId::from_reference(tenant, &self.value),
            _ => SessionId::from_source(tenant, self.kind.as_str(), &self.value),
        }
    }

    /// The names that an application's id of a conversation is. Who calls it by its carrier's id, or by that of its
    /// room, means that call.
    pub fn of_conversation(id: &str) -> Vec<Self> {
        let others = match () {
            () if is_call_sid(id) => Some(ClaimKind::CallSid),
            () if is_stream_sid(id) => Some(ClaimKind::StreamSid),
            () if is_room_sid(id) => Some(ClaimKind::LivekitRoomSid),
            () => None,
        };
        let kinds = others.into_iter().chain([ClaimKind::Conversation]);
        kinds.map(|kind| Self::new(kind, id)).collect()
    }

    pub fn is_sound(&self) -> bool {
        !is_reserved(&self.value)
            && !self.value.trim().is_empty()
            && !self.value.contains('\0')
            && self.value.chars().count() <= EXTERNAL_ID_MAX_CHARS
            && !is_nil(&self.value)
            // Who numbers calls or traces himself may call one "none".
            && (matches!(self.kind, ClaimKind::Native | ClaimKind::Trace)
                || !is_placeholder(&self.value))
    }
}

/// Words that programs write by themselves where they have no value. "unknown" is one that somebody has chosen.
const NO_VALUES: [&str; 9] = [
    "none",
    "null",
    "nil",
    "undefined",
    "nan",
    "n/a",
    "not_given",
    "notgiven",
    "[object object]",
];
/// Words of those who take out what must not be told, within brackets or the like.
const REMOVED: [&str; 5] = ["redacted", "scrubbed", "masked", "filtered", "removed"];

/// Whether a text stands where an id should be: all whose id is missing, or was taken out on the way, would be one.
fn is_placeholder(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let is_enclosed = text.starts_with(['[', '<', '_', '*', '(', '{']);
    let is_removed = || {
        let word = text.trim_start_matches(|c: char| !c.is_alphanumeric());
        REMOVED.iter().any(|removed| word.starts_with(removed))
    };
    // Some languages and programs put theirs between brackets or quotes.
    let bare = text.trim_matches(|c| "<>()\"'`".contains(c));
    NO_VALUES.contains(&text.as_str())
        || NO_VALUES.contains(&bare)
        || is_enclosed && is_removed()
        || !text.chars().any(char::is_alphanumeric)
}

/// Whether a text is a UUID that stands for none.
fn is_nil(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|uuid| uuid.is_nil() || uuid.is_max())
}

/// The kind of id that native ingest carries.
pub const NATIVE: &str = "native";

/// Whether this is a session's id itself, in either of its spellings, and not a source's name for it.
pub fn is_session_id(text: &str) -> bool {
    let prefixed = text.strip_prefix("sess_").is_some_and(|hex| {
        hex.len() == 32 && Uuid::try_parse(hex).is_ok_and(|u| !u.is_nil() && !u.is_max())
    });
    prefixed || hyphenated(text).is_some()
}

/// A UUID in its hyphenated form only (a trace id of 32 hex digits is none); nil and max are no ids.
pub fn hyphenated(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    Uuid::try_parse(text)
        .ok()
        .filter(|u| !u.is_nil() && !u.is_max())
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_an_id_is_none() {
        let is_sound = |kind, value: &str| Claim::new(kind, value).is_sound();
        for none in [
            "None",
            "undefined",
            "null",
            "[object Object]",
            "[Scrubbed due to 'session']",
            "<nil>",
            "(null)",
            "\"None\"",
            "__REDACTED__",
            "<redacted>",
            "***",
            "-",
        ] {
            assert!(!is_sound(ClaimKind::Conversation, none), "{none}");
            assert!(is_sound(ClaimKind::Native, none), "{none}");
        }
        for id in [
            "redacted-7",
            "[7]",
            "nonesuch",
            "unknown",
            "0",
            "Ünbekannt",
            "_7",
        ] {
            assert!(is_sound(ClaimKind::Conversation, id), "{id}");
        }
    }

    #[test]
    fn a_source_s_own_name_is_preferred_whatever_came_first() {
        let names = [
            "call-17",
            "call-2",
            "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "sess_f81d4fae7dec11d0a76500a0c91e6bf6",
        ];
        for (at, better) in names.iter().enumerate() {
            for worse in &names[at..] {
                assert_eq!(preferred(better, worse), *better);
                assert_eq!(preferred(worse, better), *better);
            }
        }
    }
}
