//! A fact as it lies in its row.

use chrono::{DateTime, Utc};

use crate::domain::Result;
use crate::domain::body::Body;
use crate::domain::event::{Kind, Source};
use crate::domain::fact::Fact;
use crate::store::columns::{object, unreadable};

/// The columns of a fact, by their names.
pub struct Stored {
    pub source: i16,
    pub kind: i16,
    pub id: String,
    pub at: DateTime<Utc>,
    pub hash: i64,
    pub body: String,
}

impl Stored {
    pub fn into_fact(self) -> Result<Fact> {
        Ok(Fact {
            source: Source::from_stored(self.source)
                .ok_or_else(|| unreadable("facts.source", &self.id))?,
            kind: Kind::from_stored(self.kind).ok_or_else(|| unreadable("facts.kind", &self.id))?,
            fields: Body::kept(object("facts.body", &self.body)?, self.body),
            id: self.id,
            at: self.at,
            hash: self.hash,
        })
    }
}
