//! What stands in for a key: `<prefix><public id of the key>_<secret>`. As with keys, only its hash is stored.

use rand::distr::{Alphanumeric, SampleString};
use sha2::{Digest, Sha256};

use super::key::{Generated, Presented};

const SECRET_CHARS: usize = 32;
/// Longer is none of ours.
const CHARS_MAX: usize = 64;

/// Makes one for a key.
pub(super) fn generate(prefix: &str, key_id: &str) -> Generated {
    let secret = Alphanumeric.sample_string(&mut rand::rng(), SECRET_CHARS);
    let text = format!("{prefix}{key_id}_{secret}");
    Generated {
        hash: Sha256::digest(text.as_bytes()).into(),
        id: key_id.to_owned(),
        text,
    }
}

/// The key that it was made with, and its hash; nothing if its shape is wrong.
pub(super) fn parse(prefix: &str, text: &str) -> Option<Presented> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    let is_clean = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
    let fits = text.len() <= CHARS_MAX && secret.len() == SECRET_CHARS;
    (fits && is_clean(id) && is_clean(secret)).then(|| Presented {
        id: id.to_owned(),
        hash: Sha256::digest(text.as_bytes()).into(),
    })
}
