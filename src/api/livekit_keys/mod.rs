//! A tenant's keys of its LiveKit servers. Secrets go in and never come out.

pub mod add;
pub mod list;
pub mod remove;

use serde::Serialize;

use crate::api::format;
use crate::domain::livekit::LivekitKey;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    key_name: String,
    created_at: String,
}

impl From<LivekitKey> for Item {
    fn from(key: LivekitKey) -> Self {
        Self {
            id: key.id,
            key_name: key.key_name,
            created_at: format::time(key.created_at),
        }
    }
}
