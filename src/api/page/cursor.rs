//! The cursor: opaque, URL-safe, versioned. It carries the whole place in the list, so that the list
//! goes on even where that row is gone, and a digest of the filters that it was made with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Start};
use crate::domain::record::Key;
use crate::problem::Params;

const VERSION: u8 = 1;
pub const LIMIT_DEFAULT: i64 = 20;
pub const LIMIT_MAX: i64 = 100;

#[derive(Serialize, Deserialize)]
struct Cursor {
    version: u8,
    filter: [u8; 8],
    started_at_micros: i64,
    id: [u8; 16],
}

/// What the caller asks for. Read it after the filters, which `filter` must tell apart.
pub fn read(params: &mut Params, filter: &impl std::fmt::Debug) -> (Start<Key>, Limit) {
    let limit = Limit::checked(params.int("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX) as u32);
    let start = params
        .parse("cursor", |text| decode(text, filter))
        .map_or(Start::Beginning, Start::After);
    (start, limit)
}

pub fn encode(key: Key, filter: &impl std::fmt::Debug) -> String {
    let cursor = Cursor {
        version: VERSION,
        filter: digest(filter),
        started_at_micros: key.0.timestamp_micros(),
        id: key.1.0.into_bytes(),
    };
    // Writing plain numbers to memory cannot fail.
    URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&cursor).unwrap_or_default())
}

fn decode(text: &str, filter: &impl std::fmt::Debug) -> Result<Key, String> {
    let malformed = || "is not a cursor of this list".to_owned();
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
    let (cursor, rest): (Cursor, _) = postcard::take_from_bytes(&bytes).map_err(|_| malformed())?;
    if cursor.version != VERSION || !rest.is_empty() {
        return Err(malformed());
    }
    if cursor.filter != digest(filter) {
        return Err("belongs to a list with other filters: use it with the same filters, or start without it".to_owned());
    }
    let started_at =
        DateTime::from_timestamp_micros(cursor.started_at_micros).ok_or_else(malformed)?;
    Ok((started_at, SessionId(Uuid::from_bytes(cursor.id))))
}

/// Stable within a version of the filter's type; a cursor from before an upgrade is refused, not misread.
fn digest(filter: &impl std::fmt::Debug) -> [u8; 8] {
    let hash: [u8; 32] = Sha256::digest(format!("{filter:?}").as_bytes()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip_and_nothing_else_does() {
        let key = (
            DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            SessionId(Uuid::from_u128(7)),
        );
        let text = encode(key, &"filter");
        assert_eq!(decode(&text, &"filter"), Ok(key));
        assert!(
            decode(&text, &"other")
                .unwrap_err()
                .contains("other filters")
        );
        for bad in ["", "sess_xyz", "????", &text[1..], &format!("{text}AA")] {
            assert!(decode(bad, &"filter").is_err(), "{bad}");
        }
    }
}
