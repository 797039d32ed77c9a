//! JSON Web Tokens as LiveKit signs them: HMAC-SHA256 and nothing else, so that no token chooses how it is
//! checked. The time is the server's own, given from outside.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

/// How far two clocks may be apart: as LiveKit's own verifiers have it.
const LEEWAY_SECONDS: f64 = 60.0;
/// A token of LiveKit has some hundred bytes; with a room's configuration in it some thousand.
const TOKEN_MAX_BYTES: usize = 16 << 10;
const ALGORITHM: &str = "HS256";

/// A token that has been taken apart, and nothing more: its signature is not checked yet.
pub struct Token<'a> {
    /// What is signed.
    signed: &'a str,
    signature: Vec<u8>,
    pub claims: Claims,
}

#[derive(Deserialize)]
pub struct Claims {
    /// The name of the key.
    pub iss: String,
    exp: f64,
    nbf: Option<f64>,
    /// Of a webhook: the hash of its body, in base64.
    #[serde(default)]
    pub sha256: Option<String>,
    /// What an agent may do.
    #[serde(default)]
    observability: Value,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

impl<'a> Token<'a> {
    /// Says what is wrong with a text that is no token.
    pub fn read(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > TOKEN_MAX_BYTES {
            return Err("the token is too long");
        }
        let broken = "what is presented is no LiveKit token";
        let (signed, signature) = text.rsplit_once('.').ok_or(broken)?;
        let (header, claims) = signed.split_once('.').ok_or(broken)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| broken);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| broken)?;
        if header.alg != ALGORITHM {
            return Err("the token must be signed with HS256");
        }
        let claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| "the token must name its key in `iss` and its end in `exp`")?;
        Ok(Self {
            signed,
            signature: decode(signature)?,
            claims,
        })
    }

    /// Whether it was signed with this secret.
    pub fn is_signed_with(&self, secret: &[u8]) -> bool {
        // Any length of key will do.
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) else {
            return false;
        };
        mac.update(self.signed.as_bytes());
        // In a time that does not depend on where the two differ.
        mac.verify_slice(&self.signature).is_ok()
    }

    /// What stands against it now.
    pub fn untimely(&self, now: DateTime<Utc>) -> Option<&'static str> {
        let now = now.timestamp_millis() as f64 / 1e3;
        if self.claims.exp + LEEWAY_SECONDS <= now {
            return Some("the LiveKit token has expired");
        }
        let starts = self
            .claims
            .nbf
            .is_some_and(|nbf| nbf - LEEWAY_SECONDS > now);
        starts.then_some("the LiveKit token is not valid yet: is a clock wrong?")
    }
}

impl Claims {
    /// Whether it lets an agent write what it observes.
    pub fn may_observe(&self) -> bool {
        self.observability.get("write") == Some(&Value::Bool(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with LiveKit's `AccessToken` for the key `devkey` and the secret `secret`.
    const MADE: &str = include_str!("../../tests/fixtures/livekit/token.txt");

    #[test]
    fn a_token_of_livekit_s_own_making_is_read() {
        let token = Token::read(MADE.trim()).ok().unwrap();
        assert_eq!(token.claims.iss, "devkey");
        assert!(token.claims.may_observe());
        assert!(token.is_signed_with(b"secret"));
        assert!(!token.is_signed_with(b"secres"));
        let at = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap();
        let (start, end) = (token.claims.nbf.unwrap() as i64, token.claims.exp as i64);
        assert_eq!(end - start, 6 * 3600);
        assert!(token.untimely(at(start - 61)).is_some());
        assert!(token.untimely(at(start - 59)).is_none());
        assert!(token.untimely(at(end + 59)).is_none());
        assert!(token.untimely(at(end + 60)).is_some());
    }

    #[test]
    fn no_token_chooses_how_it_is_checked() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = part(r#"{"iss": "devkey", "exp": 9999999999}"#);
        for alg in ["none", "None", "HS384", "RS256", ""] {
            let header = part(&format!(r#"{{"alg": "{alg}"}}"#));
            assert!(
                Token::read(&format!("{header}.{claims}.")).is_err(),
                "{alg}"
            );
        }
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "vx_key",
            "....",
            &"a.".repeat(20_000),
        ] {
            assert!(Token::read(text).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn a_token_without_an_end_is_none() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = part(r#"{"alg": "HS256"}"#);
        for claims in [
            r#"{"iss": "a"}"#,
            r#"{"exp": 9999999999}"#,
            r#"{"iss": "a", "exp": "soon"}"#,
        ] {
            assert!(
                Token::read(&format!("{header}.{}.", part(claims))).is_err(),
                "{claims}"
            );
        }
    }
}
