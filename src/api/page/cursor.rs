//! The cursor: opaque, URL-safe, versioned. It carries the whole place in the list, so that the list
//! goes on even where that row is gone, and a digest of the filters that it was made with.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use serde::de::DeserializeOwned;
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
struct Cursor<P> {
    version: u8,
    filter: [u8; 8],
    place: P,
}

/// A start in microseconds, and a session's id.
type Place = (i64, [u8; 16]);

/// What the caller asks for. Read it after the filters, which `filter` must tell apart.
pub fn read(params: &mut Params, filter: &impl std::fmt::Debug) -> (Start<Key>, Limit) {
    let limit = limit(params);
    let start = params
        .parse("cursor", |text| decode(text, filter))
        .map_or(Start::Beginning, Start::After);
    (start, limit)
}

pub fn limit(params: &mut Params) -> Limit {
    Limit::checked(params.int("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX) as u32)
}

pub fn encode(key: Key, filter: &impl std::fmt::Debug) -> String {
    let place: Place = (key.0.timestamp_micros(), key.1.0.into_bytes());
    encode_place(&place, filter)
}

fn decode(text: &str, filter: &impl std::fmt::Debug) -> Result<Key, String> {
    let (micros, id): Place = decode_place(text, filter)?;
    let started_at = DateTime::from_timestamp_micros(micros).ok_or_else(malformed)?;
    Ok((started_at, SessionId(Uuid::from_bytes(id))))
}

/// The cursor of a list in another order than that of sessions.
pub fn encode_place(place: &impl Serialize, filter: &impl std::fmt::Debug) -> String {
    let cursor = Cursor {
        version: VERSION,
        filter: digest(filter),
        place,
    };
    // Writing plain numbers to memory cannot fail.
    URL_SAFE_NO_PAD.encode(postcard::to_stdvec(&cursor).unwrap_or_default())
}

pub fn decode_place<P: DeserializeOwned>(
    text: &str,
    filter: &impl std::fmt::Debug,
) -> Result<P, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
    let (cursor, rest): (Cursor<P>, _) =
        postcard::take_from_bytes(&bytes).map_err(|_| malformed())?;
    if cursor.version != VERSION || !rest.is_empty() {
        return Err(malformed());
    }
    if cursor.filter != digest(filter) {
        return Err("belongs to a list with other filters: use it with the same filters, or start without it".to_owned());
    }
    Ok(cursor.place)
}

fn malformed() -> String {
    "is not a cursor of this list".to_owned()
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
