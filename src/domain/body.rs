//! What a statement says: its fields, and their canonical text, which is written once however often it is asked
//! for. Cheap to clone.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use crate::domain::event::{canonical_text, text_hash};

#[derive(Clone)]
pub struct Body(Arc<Parts>);

struct Parts {
    fields: Map<String, Value>,
    text: OnceLock<String>,
}

impl Body {
    /// As it was kept.
    pub fn kept(fields: Map<String, Value>, text: String) -> Self {
        Self(Arc::new(Parts {
            fields,
            text: OnceLock::from(text),
        }))
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.0.fields
    }

    /// Its fields, not copied where nobody else has them.
    pub fn into_fields(self) -> Map<String, Value> {
        Arc::try_unwrap(self.0).map_or_else(|parts| parts.fields.clone(), |parts| parts.fields)
    }

    /// Keys sorted, no white space, one way of writing each number.
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| canonical_text(&self.0.fields))
    }

    /// Tells two contents apart.
    pub fn hash(&self) -> i64 {
        text_hash(self.text())
    }
}

/// How many bytes of JSON a value is, which is not written for that.
pub fn json_bytes(value: &Value) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Neither writing a value nor counting can fail.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

impl From<Map<String, Value>> for Body {
    fn from(fields: Map<String, Value>) -> Self {
        Self(Arc::new(Parts {
            fields,
            text: OnceLock::new(),
        }))
    }
}

impl Deref for Body {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        self.fields()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields().fmt(formatter)
    }
}
