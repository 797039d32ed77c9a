//! Webhooks: who calls, how it proves who it is, and what becomes of what it sends.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::event::{SessionRef, Submission};
use super::ids::SessionId;
use super::recording::Placement;
use super::{Fault, fields};

/// Longest secret, user or password.
pub const SECRET_MAX_CHARS: usize = 1000;
/// Endpoints of one tenant that are not disabled.
pub const ENDPOINTS_MAX: i64 = 100;
/// Deliveries of one endpoint that are remembered.
pub const DELIVERIES_MAX: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Twilio,
    Vapi,
    Retell,
    Elevenlabs,
    /// Believed by the tenant's LiveKit keys, so that its endpoints have no secret.
    Livekit,
}

impl Vendor {
    pub const ALL: [Self; 5] = [
        Self::Twilio,
        Self::Vapi,
        Self::Retell,
        Self::Elevenlabs,
        Self::Livekit,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Twilio => "twilio",
            Self::Vapi => "vapi",
            Self::Retell => "retell",
            Self::Elevenlabs => "elevenlabs",
            Self::Livekit => "livekit",
        }
    }

    /// Where the vendor keeps its recordings.
    pub fn recording_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Twilio => &[
                "api.twilio.com",
                "api.dublin.ie1.twilio.com",
                "api.sydney.au1.twilio.com",
            ],
            // Private storage, at addresses that Vapi signs; and where it was before.
            Self::Vapi => &["*.r2.cloudflarestorage.com", "storage.vapi.ai"],
            Self::Retell => &["dxc03zgurdly9.cloudfront.net"],
            Self::Elevenlabs | Self::Livekit => &[],
        }
    }
}

impl std::str::FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|vendor| vendor.as_str() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str);
            format!("must be one of {}", fields::quoted(&known))
        })
    }
}

/// What an endpoint is told at its making besides its secret. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How the vendor reaches this server, as `https://voxray.example.org`: what Twilio signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Of Twilio: callbacks of other accounts are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_sid: Option<String>,
    /// Recordings may be fetched from these hosts too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Sent along when a recording is fetched; of Twilio by default the account's SID and the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch_password: Option<String>,
    /// Of Vapi: it signs bodies in this way. Without it the secret itself is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signing>,
    /// Of Vapi: the header that the secret itself is sent in, where it is neither `x-vapi-secret` nor
    /// `authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_header: Option<String>,
}

/// How Vapi signs: its own defaults where nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signing {
    pub algorithm: Algorithm,
    pub signature_header: String,
    pub timestamp_header: String,
    /// Stands before the signature in its header.
    pub prefix: String,
    pub include_timestamp: bool,
    /// With `{body}`, and any of the other [`PLACES`].
    pub payload_format: String,
    /// What the id of a message is sent in.
    pub message_id_header: String,
    pub encoding: Encoding,
    pub secret_is_base64: bool,
}

/// What a payload's format may have places for.
pub const PLACES: [&str; 5] = ["{timestamp}", "{body}", "{method}", "{url}", "{svix-id}"];

impl Default for Signing {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            signature_header: "x-signature".to_owned(),
            timestamp_header: "x-timestamp".to_owned(),
            prefix: String::new(),
            include_timestamp: true,
            payload_format: "{timestamp}.{body}".to_owned(),
            message_id_header: "svix-id".to_owned(),
            encoding: Encoding::Hex,
            secret_is_base64: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    Sha1,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

impl Settings {
    /// What is wrong with them.
    pub fn faults(&self, vendor: Vendor) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |name: &str, message: &str| faults.push(Fault::body(name, message));
        if let Some(url) = &self.public_url
            && !is_origin(url)
        {
            fault(
                "public_url",
                "must be as `https://voxray.example.org`, perhaps with a path, and without a query",
            );
        }
        if self
            .account_sid
            .as_deref()
            .is_some_and(|sid| !is_account(sid))
        {
            fault("account_sid", "must be `AC` and 32 hexadecimal digits");
        }
        if self.allowed_hosts.len() > 20 || !self.allowed_hosts.iter().all(|host| is_host(host)) {
            fault(
                "allowed_hosts",
                "must be at most 20 hosts such as `api.example.org` or `files.example.org:8443`",
            );
        }
        for (name, value) in [
            ("fetch_user", &self.fetch_user),
            ("fetch_password", &self.fetch_password),
        ] {
            if value.as_deref().is_some_and(|text| !is_secret(text)) {
                fault(
                    name,
                    "must have 1 to 1000 characters, and no control characters",
                );
            }
        }
        if self.fetch_user.is_some() != self.fetch_password.is_some() {
            fault(
                "fetch_password",
                "goes with `fetch_user`: give both or none",
            );
        }
        if self.signature.is_some() && vendor != Vendor::Vapi {
            fault("signature", "is for Vapi only: the others sign in one way");
        }
        if let Some(header) = &self.secret_header {
            if vendor != Vendor::Vapi {
                fault("secret_header", "is for Vapi only: the others sign");
            } else if self.signature.is_some() {
                let message = "is for secrets that are sent themselves: leave out `signature`";
                fault("secret_header", message);
            } else if !is_header(header) {
                fault("secret_header", "must be the name of a header");
            }
        }
        if let Some(signing) = &self.signature {
            signing.faults(&mut fault);
        }
        faults
    }
}

impl Signing {
    fn faults(&self, fault: &mut impl FnMut(&str, &str)) {
        for (name, header) in [
            ("signature.signature_header", &self.signature_header),
            ("signature.timestamp_header", &self.timestamp_header),
            ("signature.message_id_header", &self.message_id_header),
        ] {
            if !is_header(header) {
                fault(name, "must be the name of a header");
            }
        }
        if self.prefix.len() > 64 || !self.prefix.is_ascii() {
            fault("signature.prefix", "must have at most 64 ASCII characters");
        }
        let format = &self.payload_format;
        let rest = PLACES
            .iter()
            .fold(format.clone(), |rest, place| rest.replace(place, ""));
        if format.len() > 255 || !format.contains("{body}") || rest.contains(['{', '}']) {
            fault(
                "signature.payload_format",
                "must hold `{body}`, and of other places only `{timestamp}`, `{method}`, `{url}` and `{svix-id}`",
            );
        }
        if self.include_timestamp && !format.contains("{timestamp}") {
            fault(
                "signature.payload_format",
                "must hold `{timestamp}`, or `include_timestamp` be false: what is not signed proves nothing",
            );
        }
    }
}

fn is_header(text: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(may_be)
}

/// Whether a text may be a secret, a user or a password.
pub fn is_secret(text: &str) -> bool {
    (1..=SECRET_MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_account(text: &str) -> bool {
    text.strip_prefix("AC")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_host(text: &str) -> bool {
    url::Url::parse(&format!("https://{text}/")).is_ok_and(|url| {
        let port = url
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        url.host_str()
            .is_some_and(|host| format!("{host}{port}") == text.to_ascii_lowercase())
    })
}

fn is_origin(text: &str) -> bool {
    text.len() <= 1000
        && url::Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}

/// A door for one vendor.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: String,
    pub vendor: Vendor,
    pub name: String,
    pub secret: String,
    pub settings: Settings,
    pub created_at: DateTime<Utc>,
    pub disabled_at: Option<DateTime<Utc>>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Accepted,
    /// Known already, or overtaken by something newer.
    Duplicate,
    /// Sound, and of no use here.
    Ignored,
    /// Not from whom it claims to be.
    Refused,
    /// From the right one, but it makes no sense.
    Invalid,
    /// Our fault: it may come again.
    Failed,
}

impl Fate {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
        }
    }
}

/// A line of an endpoint's log. No content.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub received_at: DateTime<Utc>,
    /// What it was answered.
    pub status: i16,
    pub result: String,
    pub reason: Option<String>,
    /// What the vendor calls it.
    pub event: Option<String>,
    pub session: Option<SessionId>,
    /// Of the body, where it says no time itself.
    pub digest: Option<[u8; 32]>,
}

/// What a delivery amounts to, as its vendor's reader understood it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub event: String,
    pub session: Option<SessionRef>,
    pub submissions: Vec<Submission>,
    pub recording: Option<Announced>,
    /// Why it is of no use, where it is not.
    pub ignored: Option<String>,
    /// It says no time, so that only its body tells whether it has come before.
    pub is_undated: bool,
}

impl Told {
    pub fn ignored(event: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            event: event.into(),
            ignored: Some(why.into()),
            ..Self::default()
        }
    }
}

/// A recording that a vendor speaks of.
#[derive(Clone, Debug, PartialEq)]
pub enum Announced {
    /// It is there.
    At { url: String, placement: Placement },
    /// There will be none.
    Missing(String),
    /// It came along, in base64.
    Enclosed(String),
}

/// A recording that is to be fetched, or could not be.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub id: SessionId,
    pub reference: String,
    pub url: String,
    pub endpoint_id: Option<String>,
    pub placement: Placement,
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
    /// Why it will not be had; none while it may.
    pub failure: Option<String>,
}

/// What the query of an address has that somebody signed for a short time: S3's way, Google's, CloudFront's.
const SIGNATURES: [&str; 3] = ["X-Amz-Signature", "X-Goog-Signature", "Signature"];

impl Fetch {
    /// Whether its address is signed: then another query is no other recording.
    pub fn is_signed(&self) -> bool {
        url::Url::parse(&self.url).is_ok_and(|url| {
            url.query_pairs()
                .any(|(name, _)| SIGNATURES.contains(&name.as_ref()))
        })
    }
}
