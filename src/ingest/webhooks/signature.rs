//! How vendors prove who they are. Pure; every comparison takes the same time wherever the two differ.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::domain::webhook::{Algorithm, Encoding, PLACES, Signing};

/// Why somebody is not believed.
pub type Refused = &'static str;

/// How far Retell's and Vapi's clock, or ours, may be off.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// How old ElevenLabs' word may be. It bounds how far ahead its clock is by nothing; we do.
const FRESH_ELEVENLABS: TimeDelta = TimeDelta::minutes(30);

const WRONG: Refused = "the signature does not fit the body and the secret";
const STALE: Refused =
    "the signature's time is too far from now: a replay, or a clock that is wrong";

/// Whether the keyed hash of these parts, one behind the other, is this.
fn is_signed(algorithm: Algorithm, key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    fn verify<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
        // Any length of key will do.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
            return false;
        };
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_slice(signature).is_ok()
    }
    match algorithm {
        Algorithm::Sha1 => verify::<Hmac<Sha1>>(key, parts, signature),
        Algorithm::Sha256 => verify::<Hmac<Sha256>>(key, parts, signature),
        Algorithm::Sha512 => verify::<Hmac<Sha512>>(key, parts, signature),
    }
}

/// Twilio: HMAC-SHA1 over the address that it called and the parameters, sorted. `urls` are the spellings of
/// the address that count. A body that is no form is bound to the address by `bodySHA256` in its query.
pub fn twilio(
    token: &str,
    urls: &[String],
    body: Signed<'_>,
    signature: &str,
) -> Result<(), Refused> {
    let Ok(signature) = STANDARD.decode(signature.trim()) else {
        return Err(WRONG);
    };
    let mut tail = String::new();
    match body {
        Signed::Form(params) => {
            let mut sorted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (name, value) in params {
                sorted.entry(name).or_default().insert(value);
            }
            for (name, values) in sorted {
                for value in values {
                    tail.push_str(name);
                    tail.push_str(value);
                }
            }
        }
        Signed::Hashed { sha256_hex, bytes } => {
            let found = hex::encode(Sha256::digest(bytes));
            let given = sha256_hex.to_ascii_lowercase();
            if !bool::from(found.as_bytes().ct_eq(given.as_bytes())) {
                return Err("the body is not the one that `bodySHA256` speaks of");
            }
        }
    }
    let spellings = urls
        .iter()
        .flat_map(|url| [with_port(url), without_port(url), url.clone()]);
    let is_one = |url: String| {
        let parts = [url.as_bytes(), tail.as_bytes()];
        is_signed(Algorithm::Sha1, token.as_bytes(), &parts, &signature)
    };
    // All of them, so that the time does not tell which one it was.
    match spellings.map(is_one).fold(false, |any, one| any | one) {
        true => Ok(()),
        false => Err("the signature does not fit the address, the parameters and the secret"),
    }
}

/// What Twilio's signature covers besides the address.
#[derive(Clone, Copy)]
pub enum Signed<'a> {
    Form(&'a [(String, String)]),
    Hashed {
        sha256_hex: &'a str,
        bytes: &'a [u8],
    },
}

/// `https://host/path` as scheme, host with port, rest.
fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some((scheme, &rest[..end], &rest[end..]))
}

/// Where the port begins: behind the last colon that is not inside an IPv6 address.
fn port_at(authority: &str) -> Option<usize> {
    let at = authority.rfind(':')?;
    (!authority[at..].contains(']')).then_some(at)
}

fn with_port(url: &str) -> String {
    let Some((scheme, authority, rest)) = parts(url) else {
        return url.to_owned();
    };
    if port_at(authority).is_some() {
        return url.to_owned();
    }
    let port = if scheme == "https" { 443 } else { 80 };
    format!("{scheme}://{authority}:{port}{rest}")
}

fn without_port(url: &str) -> String {
    let Some((scheme, authority, rest)) = parts(url) else {
        return url.to_owned();
    };
    let host = port_at(authority).map_or(authority, |at| &authority[..at]);
    format!("{scheme}://{host}{rest}")
}

/// Vapi, with the secret itself in a header.
pub fn shared_secret(secret: &str, given: &str) -> Result<(), Refused> {
    match bool::from(secret.as_bytes().ct_eq(given.as_bytes())) {
        true => Ok(()),
        false => Err("the secret is another one"),
    }
}

/// What Vapi signed, as it may be told to, besides the body.
#[derive(Clone, Copy, Default)]
pub struct Sent<'a> {
    pub signature: &'a str,
    pub timestamp: Option<&'a str>,
    pub message_id: Option<&'a str>,
    pub method: &'a str,
    /// The address that it called.
    pub url: &'a str,
}

/// Vapi, with a signature. The time is in ms or in seconds.
pub fn vapi(
    secret: &str,
    signing: &Signing,
    sent: Sent<'_>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let timestamp = match (signing.include_timestamp, sent.timestamp) {
        (false, _) => "",
        (true, None) => return Err("the header with the time is missing"),
        (true, Some(text)) => {
            let at = epoch(text).ok_or("the header with the time holds none")?;
            is_fresh(at, now, FRESH)?;
            text
        }
    };
    let key = match signing.secret_is_base64 {
        true => STANDARD
            .decode(secret)
            .map_err(|_| "the endpoint's secret is no base64")?,
        false => secret.as_bytes().to_vec(),
    };
    let signature = sent
        .signature
        .strip_prefix(signing.prefix.as_str())
        .ok_or(WRONG)?;
    let signature = match signing.encoding {
        Encoding::Hex => hex::decode(signature).map_err(|_| WRONG)?,
        Encoding::Base64 => STANDARD.decode(signature).map_err(|_| WRONG)?,
    };
    let mut signed: Vec<&[u8]> = Vec::new();
    let mut rest = signing.payload_format.as_str();
    while let Some((before, place, behind)) = next_place(rest) {
        signed.push(before.as_bytes());
        signed.push(match place {
            "{timestamp}" => timestamp.as_bytes(),
            "{method}" => sent.method.as_bytes(),
            "{url}" => sent.url.as_bytes(),
            "{svix-id}" => {
                let missing = "the header with the id of the message is missing";
                sent.message_id.ok_or(missing)?.as_bytes()
            }
            _ => body,
        });
        rest = behind;
    }
    signed.push(rest.as_bytes());
    match is_signed(signing.algorithm, &key, &signed, &signature) {
        true => Ok(()),
        false => Err(WRONG),
    }
}

/// The first place in a format, with what stands before and behind it.
fn next_place(format: &str) -> Option<(&str, &'static str, &str)> {
    let places = PLACES.into_iter();
    let found = places.filter_map(|place| Some((format.find(place)?, place)));
    let (at, place) = found.min()?;
    Some((&format[..at], place, &format[at + place.len()..]))
}

/// Retell: `v=<ms>,d=<hex>`, HMAC-SHA256 over the body and the time, nothing between. Answers the time.
pub fn retell(
    api_key: &str,
    header: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Refused> {
    let timestamp = member(header, "v").ok_or("the signature has no time")?;
    let digest = member(header, "d").and_then(|digest| hex::decode(digest).ok());
    let digest = digest.ok_or(WRONG)?;
    let ms: i64 = timestamp.parse().map_err(|_| "the signature has no time")?;
    let at = DateTime::from_timestamp_millis(ms).ok_or("the signature has no time")?;
    let signed = [body, timestamp.as_bytes()];
    if !is_signed(Algorithm::Sha256, api_key.as_bytes(), &signed, &digest) {
        return Err(WRONG);
    }
    is_fresh(at, now, FRESH).map(|()| at)
}

/// ElevenLabs: `t=<s>,v0=<hex>`, HMAC-SHA256 over `{t}.{body}`.
pub fn elevenlabs(
    secret: &str,
    header: &str,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let timestamp = member(header, "t").ok_or("the signature has no time")?;
    let seconds: i64 = timestamp.parse().map_err(|_| "the signature has no time")?;
    let at = DateTime::from_timestamp(seconds, 0).ok_or("the signature has no time")?;
    let mut digests = members(header, "v0").filter_map(|digest| hex::decode(digest).ok());
    let signed = [timestamp.as_bytes(), b".", body];
    // While a secret is being changed there may be two.
    let is_one =
        |digest: Vec<u8>| is_signed(Algorithm::Sha256, secret.as_bytes(), &signed, &digest);
    if !digests.any(is_one) {
        return Err(WRONG);
    }
    is_fresh(at, now, FRESH_ELEVENLABS)
}

fn is_fresh(at: DateTime<Utc>, now: DateTime<Utc>, within: TimeDelta) -> Result<(), Refused> {
    match (now - at).abs() <= within {
        true => Ok(()),
        false => Err(STALE),
    }
}

/// Seconds or ms since 1970, perhaps with a fraction; or RFC 3339.
fn epoch(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    super::lens::epoch(text.trim().parse().ok()?)
}

fn member<'a>(header: &'a str, name: &'a str) -> Option<&'a str> {
    members(header, name).next()
}

fn members<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = header
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(move |(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2025-06-11T12:00:00Z".parse().unwrap()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        list.iter().map(own).collect()
    }

    /// As Twilio's own libraries test theirs.
    #[test]
    fn twilio_signs_as_it_documents() {
        let params = pairs(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
            ("Caller", "+14158675309"),
        ]);
        let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
        let check = |url: &str, params: &[(String, String)]| {
            let form = Signed::Form(params);
            twilio(
                "12345",
                &[url.to_owned()],
                form,
                "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            )
        };
        assert_eq!(check(url, &params), Ok(()));
        assert!(check("https://mycompany.com/myapp.php?foo=1&bar=3", &params).is_err());
        assert!(check(url, &params[1..]).is_err());
        let twice = [params.clone(), params].concat();
        assert_eq!(
            check(url, &twice),
            Ok(()),
            "the same value twice counts once"
        );
    }

    #[test]
    fn twilio_s_port_may_be_there_or_not() {
        let sign = |url: &str| {
            let mut mac = Hmac::<Sha1>::new_from_slice(b"t").unwrap();
            mac.update(url.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        };
        for (signed, called, fits) in [
            (
                "https://a.example/x?y=1",
                "https://a.example:443/x?y=1",
                true,
            ),
            ("https://a.example:443/x", "https://a.example/x", true),
            ("http://a.example:80/x", "http://a.example/x", true),
            ("http://a.example/x", "http://a.example:8080/x", true),
            ("http://a.example:8080/x", "http://a.example:8080/x", true),
            ("http://[::1]:80/x", "http://[::1]/x", true),
            ("https://a.example/x", "http://a.example/x", false),
            ("https://a.example:8443/x", "https://a.example/x", false),
        ] {
            let found = twilio("t", &[called.to_owned()], Signed::Form(&[]), &sign(signed));
            assert_eq!(found.is_ok(), fits, "{signed} {called}");
        }
    }

    #[test]
    fn vapi_signs_as_it_is_told() {
        let sign = |key: &[u8], text: &[u8]| {
            let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
            mac.update(text);
            STANDARD.encode(mac.finalize().into_bytes())
        };
        let signing = Signing {
            algorithm: Algorithm::Sha512,
            prefix: "sha512=".to_owned(),
            encoding: Encoding::Base64,
            secret_is_base64: true,
            payload_format: "{body}|{timestamp}|{method} {url}|{svix-id}".to_owned(),
            ..Signing::default()
        };
        let secret = STANDARD.encode(b"key");
        let ms = now().timestamp_millis();
        let signed = format!("{{}}|{ms}|POST https://v.example/x|m{{body}}1");
        let signature = format!("sha512={}", sign(b"key", signed.as_bytes()));
        fn sent<'a>(signature: &'a str, timestamp: Option<&'a str>) -> Sent<'a> {
            Sent {
                signature,
                timestamp,
                message_id: Some("m{body}1"),
                method: "POST",
                url: "https://v.example/x",
            }
        }
        let check = |timestamp: Option<&str>, body: &[u8]| {
            vapi(&secret, &signing, sent(&signature, timestamp), body, now())
        };
        let ms_text = ms.to_string();
        for other in [
            Sent {
                message_id: None,
                ..sent(&signature, Some(&ms_text))
            },
            Sent {
                url: "https://v.example/y",
                ..sent(&signature, Some(&ms_text))
            },
        ] {
            assert!(vapi(&secret, &signing, other, b"{}", now()).is_err());
        }
        assert_eq!(check(Some(&ms.to_string()), b"{}"), Ok(()));
        assert_eq!(check(Some(&ms.to_string()), b"{ }"), Err(WRONG));
        assert!(check(Some(&(ms + 1).to_string()), b"{}").is_err());
        assert!(check(None, b"{}").is_err());
        assert_eq!(check(Some(&(ms - 301_000).to_string()), b"{}"), Err(STALE));
    }

    #[test]
    fn broken_headers_are_refused() {
        for header in [
            "",
            "v=,d=",
            "v=1",
            "d=00",
            "v=99999999999999999999,d=00",
            "v=1,d=zz",
            "v=1,d=+1",
            "🦊",
        ] {
            assert!(retell("k", header, b"", now()).is_err(), "{header}");
            assert!(elevenlabs("k", header, b"", now()).is_err(), "{header}");
        }
        let form = Signed::Form(&[]);
        assert!(twilio("k", &["no url".to_owned()], form, "🦊").is_err());
    }
}
