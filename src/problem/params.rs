//! Query parameters: read one by one, all faults collected, unknown names met with the nearest known.
//!
//! ```
//! # use voxray::problem::Params;
//! # let pairs = vec![("limit".to_owned(), "5".to_owned())];
//! let mut params = Params::new(pairs);
//! let limit = params.int("limit", 20, 1..=100);
//! let period = params.one_of("period", &["1h", "24h"]);
//! let after = params.time("startedAfter");
//! params.finish()?;
//! # assert_eq!((limit, period, after), (5, None, None));
//! # Ok::<(), voxray::domain::Error>(())
//! ```

use std::convert::Infallible;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::domain::{Error, Fault, Place, Result};

/// Longest text that a parameter may carry, in characters.
pub const TEXT_MAX_CHARS: usize = 255;
/// No endpoint has so many: more are not worth telling apart.
const PAIRS_MAX: usize = 64;

/// A request's query string, not looked at yet. Every handler takes one, if only to refuse what it
/// does not know: `query.params().finish()?`.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn params(self) -> Params {
        Params::new(self.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        // Pairs of texts always parse; wrong UTF-8 becomes U+FFFD, which the readers refuse.
        let pairs = axum::extract::Query::try_from_uri(&parts.uri).map(|pairs| pairs.0);
        Ok(Self(pairs.unwrap_or_default()))
    }
}

/// Reads parameters. Each reader notes its name as known and its faults; [`Params::finish`] tells.
#[must_use = "faults are only told by `finish`"]
pub struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
    /// An empty text is as if the parameter were not there.
    empty_is_absent: bool,
}

impl Params {
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self {
            pairs,
            known: Vec::new(),
            faults: Vec::new(),
            empty_is_absent: false,
        }
    }

    /// As forms send them: fields that were left empty say nothing.
    pub fn of_form(self) -> Self {
        Self {
            empty_is_absent: true,
            ..self
        }
    }

    /// A text of 1 to 255 characters.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.take(name)?;
        match check_text(&value) {
            Ok(()) => Some(value),
            Err(message) => self.refuse(name, message),
        }
    }

    /// A whole number, or the default where it is not given.
    pub fn int(&mut self, name: &'static str, default: i64, range: RangeInclusive<i64>) -> i64 {
        self.int_opt(name, range).unwrap_or(default)
    }

    pub fn int_opt(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        self.number(name, range, "a whole number")
    }

    /// A decimal number.
    pub fn float_opt(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        self.number(name, range, "a number")
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.one_of(name, &["true", "false"])
            .map(|word| word == "true")
    }

    /// One of some words.
    pub fn one_of(&mut self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        self.choice(name, words, |word| word)
    }

    /// One of some values, each with its only spelling: `params.choice("status", &Status::ALL, Status::as_str)`.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        values: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let value = self.take(name)?;
        let found = values
            .iter()
            .copied()
            .find(|known| spelling(*known) == value);
        if found.is_none() {
            let known: Vec<_> = values
                .iter()
                .map(|known| format!("`{}`", spelling(*known)))
                .collect();
            return self.refuse(
                name,
                format!(
                    "must be one of {}, got `{}`",
                    known.join(", "),
                    shown(&value)
                ),
            );
        }
        found
    }

    /// An RFC 3339 time with any offset, since 1970.
    pub fn time(&mut self, name: &'static str) -> Option<DateTime<Utc>> {
        let value = self.take(name)?;
        match DateTime::parse_from_rfc3339(&with_plus(&value)) {
            Ok(time) if time.timestamp() >= 0 => Some(time.to_utc()),
            Ok(_) => self.refuse(
                name,
                format!("must not be before 1970, got `{}`", shown(&value)),
            ),
            Err(_) => self.refuse(
                name,
                format!(
                    "must be an RFC 3339 time such as `2025-01-31T09:30:00Z`, got `{}`",
                    shown(&value)
                ),
            ),
        }
    }

    /// Whatever else a text may become. The error says what it must be.
    pub fn parse<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> Option<T> {
        let text = self.take(name)?;
        read(&text)
            .map_err(|message| self.refuse::<T>(name, message))
            .ok()
    }

    /// A fault that only several parameters together show.
    pub fn fault(&mut self, name: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::query(name, message));
    }

    /// All pairs as they were sent, for links to the next page.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Tells all faults, those of unknown and repeated parameters included.
    pub fn finish(mut self) -> Result<()> {
        if self.pairs.len() > PAIRS_MAX {
            let message = format!("must have at most {PAIRS_MAX} parameters");
            return Err(Error::Invalid(vec![Fault::query("query", message)]));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in &self.pairs {
            if seen.contains(&name.as_str()) {
                continue;
            }
            seen.push(name);
            if !self.known.contains(&name.as_str()) {
                self.faults
                    .push(Fault::query(shown(name), unknown(name, &self.known)));
            } else if self.pairs.iter().filter(|(other, _)| other == name).count() > 1 {
                self.faults
                    .push(Fault::query(name.as_str(), "must be given once only"));
            }
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(self.faults))
        }
    }

    fn number<N>(&mut self, name: &'static str, range: RangeInclusive<N>, what: &str) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let value = self.take(name)?;
        let (low, high) = (range.start(), range.end());
        match value.parse::<N>() {
            Ok(number) if range.contains(&number) => Some(number),
            Ok(_) => self.refuse(
                name,
                format!("must be between {low} and {high}, got `{}`", shown(&value)),
            ),
            Err(_) => self.refuse(
                name,
                format!(
                    "must be {what} between {low} and {high}, got `{}`",
                    shown(&value)
                ),
            ),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .filter(|(_, value)| !(self.empty_is_absent && value.is_empty()))
            .map(|(_, value)| value.clone())
    }

    fn refuse<T>(&mut self, name: &'static str, message: String) -> Option<T> {
        self.faults.push(Fault::query(name, message));
        None
    }
}

/// What any text from outside must be, wherever it stands.
pub fn check_text(text: &str) -> std::result::Result<(), String> {
    let chars = text.chars().count();
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if chars > TEXT_MAX_CHARS {
        Err(format!(
            "must have at most {TEXT_MAX_CHARS} characters, got {chars}"
        ))
    } else if text.contains('\0') {
        Err("must not contain NUL".to_owned())
    } else if text.contains('\u{fffd}') {
        Err("must be valid UTF-8".to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn fault_in(place: Place, name: &str, message: String) -> Fault {
    Fault {
        place,
        name: name.to_owned(),
        message,
    }
}

/// A `+` in a query string arrives as a space.
fn with_plus(text: &str) -> String {
    match text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at))
    {
        Some((time, offset)) if offset.starts_with(' ') => format!("{time}+{}", &offset[1..]),
        _ => text.to_owned(),
    }
}

/// A value short and clean enough to be told back.
fn shown(value: &str) -> String {
    let mut text: String = value.chars().filter(|c| !c.is_control()).take(64).collect();
    if value.chars().count() > 64 {
        text.push('…');
    }
    text
}

fn unknown(name: &str, known: &[&'static str]) -> String {
    // Names differ in case between dialects.
    let name = name.to_lowercase();
    let likeness =
        |known: &str| strsim::normalized_damerau_levenshtein(&known.to_lowercase(), &name);
    let nearest = known
        .iter()
        .copied()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) => format!("is no parameter here; the nearest is `{nearest}`"),
        None => "is no parameter here; there are none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(query: &str) -> Params {
        let uri = format!("/x?{query}").parse().expect("a query");
        let Ok(axum::extract::Query(pairs)) = axum::extract::Query::try_from_uri(&uri) else {
            unreachable!("pairs always parse")
        };
        Params::new(pairs)
    }

    fn faults(params: Params) -> Vec<String> {
        match params.finish() {
            Err(Error::Invalid(faults)) => faults
                .into_iter()
                .map(|fault| format!("{} {}", fault.name, fault.message))
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut params = params("limit=0&periode=1h&status=odd&limit=2&at=yesterday");
        params.int("limit", 20, 1..=100);
        params.one_of("period", &["1h", "24h"]);
        params.one_of("status", &["active"]);
        params.time("at");
        assert_eq!(
            faults(params),
            [
                "limit must be between 1 and 100, got `0`",
                "status must be one of `active`, got `odd`",
                "at must be an RFC 3339 time such as `2025-01-31T09:30:00Z`, got `yesterday`",
                "limit must be given once only",
                "periode is no parameter here; the nearest is `period`",
            ]
        );
    }

    #[test]
    fn the_nearest_parameter_is_told_whatever_the_case() {
        for (sent, nearest) in [
            ("STATUS", "status"),
            ("Limit", "limit"),
            ("issue_type", "issueType"),
            ("STARTEDAFTER", "startedAfter"),
        ] {
            let mut params = params(&format!("{sent}=1"));
            for known in ["issueType", "status", "limit", "offset", "startedAfter"] {
                params.text(known);
            }
            let expected = format!("{sent} is no parameter here; the nearest is `{nearest}`");
            assert_eq!(faults(params), [expected]);
        }
    }

    #[test]
    fn times_come_with_any_offset_and_a_plus_that_became_a_space() {
        for query in [
            "at=2025-01-31T11:30:00%2B02:00",
            "at=2025-01-31T11:30:00+02:00",
            "at=2025-01-31T09:30:00Z",
        ] {
            let time = params(query).time("at").map(|time| time.to_rfc3339());
            assert_eq!(
                time.as_deref(),
                Some("2025-01-31T09:30:00+00:00"),
                "{query}"
            );
        }
    }

    #[test]
    fn texts_are_bounded_and_clean() {
        for query in ["q=", "q=a%00b", "q=%ff", &format!("q={}", "x".repeat(256))] {
            let mut params = params(query);
            assert_eq!(params.text("q"), None, "{query}");
            assert_eq!(faults(params).len(), 1, "{query}");
        }
        assert_eq!(params("q=%C3%A9t%C3%A9").text("q").as_deref(), Some("été"));
    }

    #[test]
    fn numbers_out_of_any_range_are_refused() {
        for query in ["n=99999999999999999999", "n=NaN", "n=1e400", "n=", "n=0x10"] {
            let mut params = params(query);
            assert_eq!(params.float_opt("n", 0.0..=10.0), None, "{query}");
            assert_eq!(faults(params).len(), 1, "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in ".*") {
            let mut params = Params::new(vec![("v".to_owned(), value)]);
            params.int_opt("v", 0..=9);
            params.float_opt("v", 0.0..=9.0);
            params.time("v");
            params.text("v");
            params.flag("v");
            let _ = params.finish();
        }
    }
}
