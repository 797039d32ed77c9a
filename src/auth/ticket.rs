//! A ticket: `vxt_<public id of the key>_<secret>`. It stands in for a key where a browser cannot send one,
//! once and for a minute, so that what ends up in a log of URLs opens nothing any more.

use chrono::TimeDelta;

use super::key::{Generated, Presented};
use super::secret;

const PREFIX: &str = "vxt_";
/// How long a ticket may wait to be used.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// Makes a ticket for a key.
pub fn generate(key_id: &str) -> Generated {
    secret::generate(PREFIX, key_id)
}

/// The key that a ticket was made with, and the ticket's hash; nothing if its shape is wrong.
pub fn parse(text: &str) -> Option<Presented> {
    secret::parse(PREFIX, text)
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
