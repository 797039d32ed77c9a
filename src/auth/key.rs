//! The shape of a key: `vxr_<public id>_<secret><checksum>`.
//!
//! - public id: 12 base62 characters, shown in lists, the user name of HTTP Basic;
//! - secret: 32 base62 characters, 190 bits from the system's generator;
//! - checksum: 6 base62 digits of the CRC-32 of everything before it, so that a mistyped key is known
//!   without asking the store, and a leaked one is found by scanners.
//!
//! Only the SHA-256 of the whole is stored: with that much randomness a slow hash adds nothing.

use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};

use crate::domain::access::KeyHash;

/// What every key begins with.
pub const PREFIX: &str = "vxr_";
const ID_CHARS: usize = 12;
const SECRET_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key that looks right. Whether it opens anything only the store knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    pub id: String,
    pub hash: KeyHash,
}

/// A key just made: the only moment when its text exists here.
pub struct Generated {
    pub text: String,
    pub id: String,
    pub hash: KeyHash,
}

/// Makes a key from the thread's cryptographic generator, which the system seeds.
pub fn generate() -> Generated {
    let mut random = rand::rng();
    let id = Alphanumeric.sample_string(&mut random, ID_CHARS);
    let secret = Alphanumeric.sample_string(&mut random, SECRET_CHARS);
    let body = format!("{PREFIX}{id}_{secret}");
    let text = format!("{body}{}", checksum(&body));
    Generated {
        hash: hash(&text),
        text,
        id,
    }
}

/// Reads a key; nothing if its shape or checksum is wrong.
pub fn parse(text: &str) -> Option<Presented> {
    let (id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_base62 =
        |part: &str, chars| part.len() == chars && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_base62(id, ID_CHARS) || !is_base62(rest, SECRET_CHARS + CHECKSUM_CHARS) {
        return None;
    }
    let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
    (checksum(body) == sum).then(|| Presented {
        id: id.to_owned(),
        hash: hash(text),
    })
}

fn hash(text: &str) -> KeyHash {
    Sha256::digest(text.as_bytes()).into()
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % BASE62.len()];
        rest /= BASE62.len();
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_parses_to_its_own_id_and_hash() {
        let key = generate();
        let presented = parse(&key.text).expect("a key");
        assert_eq!((presented.id, presented.hash), (key.id, key.hash));
        assert_eq!(key.text.len(), 4 + 12 + 1 + 32 + 6);
    }

    #[test]
    fn a_changed_character_is_noticed() {
        let key = generate().text;
        for at in 0..key.len() {
            let other = if key.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut changed = key.clone();
            changed.replace_range(at..=at, other);
            assert!(parse(&changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn anything_else_is_no_key() {
        for text in [
            "",
            "vxr_",
            "vxr__",
            "sk-12",
            "vxr_ééé_x",
            &"vxr_a_".repeat(50),
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
