//! A ticket: `vxt_<public id of the key>_<secret>`. It stands in for a key where a browser cannot send one,
//! once and for a minute, so that what ends up in a log of URLs opens nothing any more.

use chrono::TimeDelta;
use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};

use super::key::{Generated, Presented};

const PREFIX: &str = "vxt_";
const SECRET_CHARS: usize = 32;
/// Longer is none of ours.
const TICKET_CHARS_MAX: usize = 64;
/// How long a ticket may wait to be used.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// Makes a ticket for a key. As with keys, only its hash is stored.
pub fn generate(key_id: &str) -> Generated {
    let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS);
    let text = format!("{PREFIX}{key_id}_{secret}");
    Generated {
        hash: Sha256::digest(text.as_bytes()).into(),
        id: key_id.to_owned(),
        text,
    }
}

/// The key that a ticket was made with, and the ticket's hash; nothing if its shape is wrong.
pub fn parse(text: &str) -> Option<Presented> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_clean = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
    let fits = text.len() <= TICKET_CHARS_MAX && secret.len() == SECRET_CHARS;
    (fits && is_clean(id) && is_clean(secret)).then(|| Presented {
        id: id.to_owned(),
        hash: Sha256::digest(text.as_bytes()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_its_key_and_no_other_text_is_one() {
        let ticket = generate("abcDEF012345");
        let parsed = parse(&ticket.text).expect("a ticket");
        assert_eq!(
            (parsed.id.as_str(), parsed.hash),
            ("abcDEF012345", ticket.hash)
        );
        let long = format!("vxt_a_{}", "x".repeat(100));
        let key = super::super::key::generate().text;
        for text in ["", "vxt_", "vxt_a_b", &long, &key, &ticket.text[1..]] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
