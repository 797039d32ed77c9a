//! A tenant's keys of its LiveKit servers.

use chrono::{DateTime, Utc};

use crate::domain::Fault;
use crate::domain::ids::TenantId;

/// Keys that one tenant may have.
pub const KEYS_MAX: i64 = 100;
pub const KEY_NAME_MAX_CHARS: usize = 255;
/// LiveKit makes secrets of 43 characters, but a development server's is `secret`.
pub const SECRET_MIN_CHARS: usize = 6;
pub const SECRET_MAX_CHARS: usize = 1000;

/// What may be shown of a key: never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivekitKey {
    pub id: String,
    pub tenant: TenantId,
    pub key_name: String,
    pub created_at: DateTime<Utc>,
}

/// A key to be stored.
pub struct NewLivekitKey {
    pub id: String,
    pub key_name: String,
    pub secret: String,
    pub created_at: DateTime<Utc>,
}

/// What is wrong with a key's name or secret. `key_name` and `secret` are what the fields are called.
pub fn faults(key_name: &str, secret: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut check = |name: &str, text: &str, min: usize, max: usize| {
        let count = text.chars().count();
        if !(min..=max).contains(&count) {
            let message = format!("must have {min} to {max} characters, got {count}");
            faults.push(Fault::body(name, message));
        } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            faults.push(Fault::body(
                name,
                "must not contain spaces or control characters",
            ));
        }
    };
    check("keyName", key_name, 1, KEY_NAME_MAX_CHARS);
    check("secret", secret, SECRET_MIN_CHARS, SECRET_MAX_CHARS);
    faults
}
