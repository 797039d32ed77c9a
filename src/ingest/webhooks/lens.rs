//! Reading documents that others write: whatever is not what it should be counts as absent, and never sinks
//! the rest.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::domain::event::{Event, Kind, Report, fields_hash};
use crate::domain::fields;
use crate::domain::fields::ID_MAX_CHARS;

/// Faults lead to others once they are mended; more rounds than this find nothing new.
const ROUNDS_MAX: usize = 8;
/// Numbers of seconds above this are ms: as seconds they would lie beyond the year 5138.
const SECONDS_MAX: f64 = 1e11;

pub type Fields = Map<String, Value>;

/// What is behind a path of names; none where nothing is, or null.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    (!found.is_null()).then_some(found)
}

/// A text that says something.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    let text = at(value, path)?.as_str()?;
    (!text.trim().is_empty()).then_some(text)
}

/// An id: a text, or a number as one; short.
pub fn id(value: &Value, path: &[&str]) -> Option<String> {
    let id = match at(value, path)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!id.is_empty() && id.chars().count() <= ID_MAX_CHARS && !id.contains('\0')).then_some(id)
}

/// A number, also one that is written as a text.
pub fn number(value: &Value, path: &[&str]) -> Option<f64> {
    let number = match at(value, path)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A number above 0: of what is measured, less means that it was not.
pub fn measured(value: &Value, path: &[&str]) -> Option<f64> {
    number(value, path).filter(|number| *number > 0.0)
}

pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    let list = at(value, path).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// A time: RFC 3339, or a number of seconds or ms since 1970.
pub fn time(value: &Value, path: &[&str], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let written = text(value, path).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let time = match written {
        Some(time) => Some(time.to_utc()),
        None => epoch(measured(value, path)?),
    };
    time.filter(|time| is_set(*time, now))
}

/// Whether a clock that is set could show this by now.
pub fn is_set(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time.timestamp() >= fields::CLOCK_MIN_S && time <= now + fields::FUTURE_MAX
}

pub fn epoch(number: f64) -> Option<DateTime<Utc>> {
    let ms = match number < SECONDS_MAX {
        true => number * 1000.0,
        false => number,
    };
    DateTime::from_timestamp_millis(ms.round() as i64)
}

/// As fields carry times.
pub fn written(time: DateTime<Utc>) -> Value {
    Value::from(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Whole milliseconds of a number of them.
pub fn ms(number: f64) -> Value {
    Value::from(number.round() as i64)
}

/// Fields one by one; what is absent is left out.
#[derive(Default)]
pub struct Form(pub Fields);

impl Form {
    pub fn set(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    pub fn time(&mut self, name: &str, time: Option<DateTime<Utc>>) -> &mut Self {
        self.set(name, time.map(written))
    }

    /// An object that holds something.
    pub fn object(&mut self, name: &str, members: Form) -> &mut Self {
        let members = Some(members.0).filter(|members| !members.is_empty());
        self.set(name, members)
    }
}

/// A statement whose every field is sound; none where nothing is left of it.
pub fn event(
    kind: Kind,
    id: impl Into<String>,
    at: DateTime<Utc>,
    form: Form,
    now: DateTime<Utc>,
) -> Option<Event> {
    let fields = sound(kind, form.0, now)?;
    Some(Event {
        kind,
        id: id.into(),
        at,
        fields: fields.into(),
    })
}

/// What a report says of its session itself.
pub fn session(at: DateTime<Utc>, form: Form, now: DateTime<Utc>) -> Option<Event> {
    event(Kind::Session, Report::SESSION_ID, at, form, now)
}

/// A whole document out of what it amounts to: what we do not understand makes no new version of it.
pub fn report(at: Option<DateTime<Utc>>, events: Vec<Event>) -> Report {
    let said = events.iter().map(|event| {
        let id = (event.kind as i16, event.id.as_str());
        serde_json::json!([id.0, id.1, event.fields.fields()])
    });
    let said = Fields::from_iter([("events".to_owned(), said.collect())]);
    Report {
        at,
        hash: fields_hash(&said),
        events,
    }
}

/// Takes away what is not sound, place by place.
fn sound(kind: Kind, mut fields: Fields, now: DateTime<Utc>) -> Option<Fields> {
    fields.values_mut().for_each(shorten);
    for _ in 0..ROUNDS_MAX {
        let faults = fields::check(kind, &fields, now).faults;
        if faults.is_empty() {
            return Some(fields);
        }
        for fault in faults {
            let mut whole = Value::Object(std::mem::take(&mut fields));
            take_away(&mut whole, &fault.name);
            if let Value::Object(rest) = whole {
                fields = rest;
            }
        }
    }
    None
}

/// A text may be longer than a text may be here, and may hold what Postgres cannot keep.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if text.contains('\0') {
                text.retain(|c| c != '\0');
            }
            if let Some((end, _)) = text.char_indices().nth(fields::TEXT_MAX_CHARS) {
                text.truncate(end);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

/// Removes what a path such as `words[3].startMs` names.
fn take_away(value: &mut Value, path: &str) {
    let (head, rest) = match path.find(['.', '[']) {
        Some(end) if end > 0 => (&path[..end], &path[end..]),
        _ => (path, ""),
    };
    let Value::Object(members) = value else {
        return;
    };
    let Some(member) = members.get_mut(head) else {
        // A name with a dot in it, or a fault of the whole.
        members.remove(path);
        return;
    };
    let inner = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (rest, inner) {
        ("", _) => {
            members.remove(head);
        }
        (_, Some((index, rest))) => {
            let item = index
                .parse::<usize>()
                .ok()
                .and_then(|index| member.get_mut(index));
            match (item, rest.strip_prefix('.')) {
                (Some(item), Some(name)) => take_away(item, name),
                _ => {
                    members.remove(head);
                }
            }
        }
        _ => take_away(member, rest.trim_start_matches('.')),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_not_sound_is_left_out() {
        let fields = json!({
            "index": 0, "text": "Hello\u{0}", "startMs": -5, "endMs": 100, "interrupted": "yes",
            "words": [{"word": "Hello", "startMs": 0, "endMs": 604_800_001_i64}, {"word": "you", "startMs": 3}],
            "models": {"llm": "gpt", "tts": 7},
        });
        let form = Form(fields.as_object().cloned().unwrap());
        let event = event(
            Kind::Turn,
            "t",
            DateTime::UNIX_EPOCH,
            form,
            DateTime::UNIX_EPOCH,
        );
        let expected = json!({
            "index": 0, "text": "Hello", "endMs": 100,
            "words": [{"word": "Hello", "startMs": 0}, {"word": "you", "startMs": 3}],
            "models": {"llm": "gpt"},
        });
        assert_eq!(Value::Object(event.unwrap().fields.into_fields()), expected);
    }

    #[test]
    fn what_lacks_the_necessary_is_nothing() {
        let form = Form(Fields::new());
        let nothing = event(
            Kind::Turn,
            "t",
            DateTime::UNIX_EPOCH,
            form,
            DateTime::UNIX_EPOCH,
        );
        assert_eq!(nothing, None);
    }

    #[test]
    fn times_are_read_however_they_are_written() {
        let expected: Option<DateTime<Utc>> = "2026-03-20T09:46:40Z".parse().ok();
        let now = expected.unwrap();
        for written in [
            json!(1_774_000_000),
            json!(1_774_000_000_000_i64),
            json!("1774000000"),
            json!("2026-03-20T10:46:40+01:00"),
        ] {
            assert_eq!(
                time(&json!({"a": written}), &["a"], now),
                expected,
                "{written}"
            );
        }
        for none in [
            json!(-1),
            json!(0),
            json!("soon"),
            json!(null),
            json!(1e300),
            json!([]),
            // Of a clock that was not set, or is wrong.
            json!(1),
            json!("1999-12-31T23:59:59Z"),
            json!("2026-03-21T09:46:41Z"),
            json!("9999-12-31T23:59:59Z"),
        ] {
            let found = time(&json!({"a": none}), &["a"], now);
            assert_eq!(found, None, "{none}");
        }
    }
}
