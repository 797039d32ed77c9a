//! Protobuf whose texts are no UTF-8. JavaScript's exporters write half a character where a text was cut within one, and
//! relays cut texts between bytes. Decoders refuse a whole message for that; here U+FFFD takes the place of what is no text.

use axum::body::Bytes;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::{DecodeError, Message, decode_length_delimiter, encode_length_delimiter};

/// A message that is read here.
pub trait Texts: Message + Default {
    const SHAPE: &'static Shape;
}

/// Those fields of a message, by their numbers, that are texts or may have some below them.
pub struct Shape(&'static [(usize, Field)]);

enum Field {
    Text,
    Below(&'static Shape),
}

use Field::{Below, Text};

static VALUE: Shape = Shape(&[(1, Text), (5, Below(&VALUES)), (6, Below(&PAIRS))]);
static VALUES: Shape = Shape(&[(1, Below(&VALUE))]);
static PAIRS: Shape = Shape(&[(1, Below(&PAIR))]);
static PAIR: Shape = Shape(&[(1, Text), (2, Below(&VALUE))]);
static ENTITY: Shape = Shape(&[(1, Text), (2, Text), (3, Text), (4, Text)]);
static RESOURCE: Shape = Shape(&[(1, Below(&PAIR)), (3, Below(&ENTITY))]);
static SCOPE: Shape = Shape(&[(1, Text), (2, Text), (3, Below(&PAIR))]);
static SPAN: Shape = Shape(&[
    (3, Text),
    (5, Text),
    (9, Below(&PAIR)),
    (11, Below(&EVENT)),
    (13, Below(&LINK)),
    (15, Below(&STATUS)),
]);
static EVENT: Shape = Shape(&[(2, Text), (3, Below(&PAIR))]);
static LINK: Shape = Shape(&[(3, Text), (4, Below(&PAIR))]);
static STATUS: Shape = Shape(&[(2, Text)]);
static LOG_RECORD: Shape = Shape(&[(3, Text), (5, Below(&VALUE)), (6, Below(&PAIR)), (12, Text)]);
static METRIC: Shape = Shape(&[
    (1, Text),
    (2, Text),
    (3, Text),
    (5, Below(&NUMBERS)),
    (7, Below(&NUMBERS)),
    (9, Below(&HISTOGRAM)),
    (10, Below(&EXPONENTIAL)),
    (11, Below(&NUMBERS)),
    (12, Below(&PAIR)),
]);
/// Gauges, sums and summaries: their points have their attributes in one place.
static NUMBERS: Shape = Shape(&[(1, Below(&NUMBER))]);
static NUMBER: Shape = Shape(&[(5, Below(&EXEMPLAR)), (7, Below(&PAIR))]);
static HISTOGRAM: Shape = Shape(&[(1, Below(&HISTOGRAM_POINT))]);
static HISTOGRAM_POINT: Shape = Shape(&[(8, Below(&EXEMPLAR)), (9, Below(&PAIR))]);
static EXPONENTIAL: Shape = Shape(&[(1, Below(&EXPONENTIAL_POINT))]);
static EXPONENTIAL_POINT: Shape = Shape(&[(1, Below(&PAIR)), (11, Below(&EXEMPLAR))]);
static EXEMPLAR: Shape = Shape(&[(7, Below(&PAIR))]);

impl Texts for Resource {
    const SHAPE: &'static Shape = &RESOURCE;
}
impl Texts for InstrumentationScope {
    const SHAPE: &'static Shape = &SCOPE;
}
impl Texts for Span {
    const SHAPE: &'static Shape = &SPAN;
}
impl Texts for LogRecord {
    const SHAPE: &'static Shape = &LOG_RECORD;
}
impl Texts for Metric {
    const SHAPE: &'static Shape = &METRIC;
}

/// Deeper than this no decoder follows.
const DEPTH_MAX: usize = 100;

/// A message, whatever its texts are.
pub fn decoded<T: Texts>(bytes: Bytes) -> Result<T, DecodeError> {
    T::decode(bytes.clone()).or_else(|error| {
        let mended = mended(&bytes, T::SHAPE, DEPTH_MAX);
        mended.map_or(Err(error), |bytes| T::decode(&bytes[..]))
    })
}

/// The kinds of content that a field's key tells, in its last three bits.
const NUMBER_OF_ANY_LENGTH: usize = 0;
const EIGHT_BYTES: usize = 1;
const WITH_LENGTH: usize = 2;
const FOUR_BYTES: usize = 5;

/// The same message with texts that are UTF-8; none where it is no message.
fn mended(mut rest: &[u8], shape: &Shape, depth: usize) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    while !rest.is_empty() {
        let field = rest;
        let key = decode_length_delimiter(&mut rest).ok()?;
        let mut told = None;
        match key & 7 {
            NUMBER_OF_ANY_LENGTH => drop(decode_length_delimiter(&mut rest).ok()?),
            EIGHT_BYTES => rest = rest.get(8..)?,
            FOUR_BYTES => rest = rest.get(4..)?,
            WITH_LENGTH => {
                let length = decode_length_delimiter(&mut rest).ok()?;
                let (content, behind) = rest.split_at_checked(length)?;
                rest = behind;
                told = match shape.0.iter().find(|(number, _)| *number == key >> 3) {
                    Some((_, Text)) => Some(text(content).into_bytes()),
                    Some((_, Below(shape))) => Some(mended(content, shape, depth.checked_sub(1)?)?),
                    None => None,
                };
            }
            _ => return None,
        }
        match told {
            Some(content) => {
                encode_length_delimiter(key, &mut written).ok()?;
                encode_length_delimiter(content.len(), &mut written).ok()?;
                written.extend(content);
            }
            None => written.extend_from_slice(&field[..field.len() - rest.len()]),
        }
    }
    Some(written)
}

/// One U+FFFD for all bytes in a row that are no text, as those of half a character are.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let goes_on = chunk.valid().is_empty() && text.ends_with(char::REPLACEMENT_CHARACTER);
        if !chunk.invalid().is_empty() && !goes_on {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: usize, content: &[u8]) -> Vec<u8> {
        let mut written = Vec::new();
        encode_length_delimiter(number << 3 | WITH_LENGTH, &mut written).expect("a key");
        encode_length_delimiter(content.len(), &mut written).expect("a length");
        [&written, content].concat()
    }

    /// With a name, a list of one text among its attributes, a time and flags.
    fn span(name: &[u8], text: &[u8]) -> Vec<u8> {
        let list = field(2, &field(5, &field(1, &field(1, text))));
        let pair = field(9, &[field(1, b"k"), list].concat());
        let time = [7 << 3 | 1, 1, 0, 0, 0, 0, 0, 0, 0];
        let flags = [0x85, 0x01, 1, 0, 0, 0];
        [&field(5, name)[..], &pair, &time, &flags].concat()
    }

    #[test]
    fn half_a_character_costs_no_more_than_itself() {
        // What JavaScript writes for "turn\ud83d", and a text that was cut between the two bytes of "é".
        let broken = span(b"turn\xed\xa0\xbd", b"caf\xc3");
        assert!(Span::decode(&broken[..]).is_err());
        let read = decoded::<Span>(broken.into()).expect("a span");
        let whole = span("turn\u{fffd}".as_bytes(), "caf\u{fffd}".as_bytes());
        assert_eq!(read, Span::decode(&whole[..]).expect("a span"));
        assert_eq!((read.start_time_unix_nano, read.flags), (1, 1));
    }

    #[test]
    fn what_is_no_message_stays_none() {
        let broken = span(b"turn\xed\xa0\xbd", b"x");
        let cut = broken[..broken.len() - 1].to_vec();
        assert!(decoded::<Span>(cut.into()).is_err());
        let deep = (0..10_000).fold(field(1, b"\xff"), |within, _| field(5, &field(1, &within)));
        let deep = field(9, &field(2, &deep));
        assert!(decoded::<Span>(deep.into()).is_err());
    }
}
