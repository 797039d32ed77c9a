//! The one funnel: every door hands its items over here, and is told what became of each.

use chrono::{DateTime, Utc};

use crate::domain::Fault;
use crate::domain::Result;
use crate::domain::event::{Bound, Outcome, SessionRef, Submission};
use crate::domain::fields::{FAULTS_TOLD_MAX, UNKNOWN_TOLD_MAX, Unknown};
use crate::domain::ledger::{
    ENTITY_FACTS_MAX, FACT_BYTES_MAX, FACTS_MAX, SPAN_BYTES_MAX, TURNS_MAX,
};
pub use crate::store::Scope;
pub use crate::store::ingest::Admission;
use crate::store::ingest::Writer;

/// One item of a request, as its door understood it.
pub struct Item {
    /// What the source calls it, for the answer.
    pub id: Option<String>,
    pub content: std::result::Result<(SessionRef, Submission), Vec<Fault>>,
    pub unknown: Vec<Unknown>,
}

/// What became of a request's items.
#[derive(Debug, Default)]
pub struct Receipt {
    pub accepted: usize,
    /// Known already, or overtaken.
    pub duplicates: usize,
    /// Of these, what something newer is known of.
    pub overtaken: usize,
    pub rejected: Vec<Rejection>,
    /// Of the rejected, those about sessions that take no more.
    pub closed: usize,
    pub warnings: Vec<Warning>,
}

#[derive(Debug)]
pub struct Rejection {
    pub index: usize,
    pub id: Option<String>,
    pub faults: Vec<Fault>,
}

/// An item was taken, but says something that nobody understands.
#[derive(Debug)]
pub struct Warning {
    pub index: usize,
    pub id: Option<String>,
    pub unknown: Unknown,
}

/// Writes all items that are sound; a bad one never sinks its neighbours. Answers when everything accepted is durable.
pub async fn take(
    writer: &Writer,
    scope: &Scope,
    items: Vec<Item>,
    admission: Admission,
    now: DateTime<Utc>,
) -> Result<Receipt> {
    let mut receipt = Receipt::default();
    let (mut submissions, mut places) = (Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match item.content {
            Ok(submission) => {
                submissions.push(submission);
                places.push((index, item.id.clone()));
                let warn = |unknown| Warning {
                    index,
                    id: item.id.clone(),
                    unknown,
                };
                let told = item.unknown.into_iter().take(UNKNOWN_TOLD_MAX);
                receipt.warnings.extend(told.map(warn));
            }
            Err(mut faults) => {
                faults.truncate(FAULTS_TOLD_MAX);
                receipt.rejected.push(Rejection {
                    index,
                    id: item.id,
                    faults,
                });
            }
        }
    }
    let outcomes = match submissions.is_empty() {
        true => Vec::new(),
        false => writer.submit(scope, submissions, admission, now).await?,
    };
    for (outcome, (index, id)) in outcomes.into_iter().zip(places) {
        match outcome {
            Outcome::Accepted => receipt.accepted += 1,
            Outcome::Duplicate => receipt.duplicates += 1,
            Outcome::Overtaken => {
                receipt.duplicates += 1;
                receipt.overtaken += 1;
            }
            Outcome::Conflict => receipt.reject(index, id, "id", CONFLICT.to_owned()),
            Outcome::Full(bound) => receipt.reject(index, id, "sessionId", full(bound)),
            Outcome::Closed => {
                receipt.closed += 1;
                receipt.reject(index, id, "sessionId", CLOSED.to_owned());
            }
        }
    }
    receipt.rejected.sort_by_key(|rejection| rejection.index);
    receipt.count();
    Ok(receipt)
}

const CONFLICT: &str =
    "conflicting_duplicate: another content was received under the same id and time";

const CLOSED: &str =
    "session_closed: what was said in this session was deleted, and it takes no more";

fn full(bound: Bound) -> String {
    let what = match bound {
        Bound::Turns => format!("a session holds at most {TURNS_MAX} turns"),
        Bound::Facts => format!("a session holds at most {FACTS_MAX} facts"),
        Bound::EntityFacts => format!("at most {ENTITY_FACTS_MAX} facts may speak of one thing"),
        Bound::FactBytes => format!(
            "a session holds at most {} MiB besides spans",
            FACT_BYTES_MAX >> 20
        ),
        Bound::SpanBytes => format!(
            "a session holds at most {} MiB of spans",
            SPAN_BYTES_MAX >> 20
        ),
    };
    format!("session_full: {what}")
}

impl Receipt {
    fn reject(&mut self, index: usize, id: Option<String>, name: &str, message: String) {
        self.rejected.push(Rejection {
            index,
            id,
            faults: vec![Fault::body(name, message)],
        });
    }

    fn count(&self) {
        let items = [
            ("accepted", self.accepted),
            ("duplicate", self.duplicates),
            ("rejected", self.rejected.len()),
        ];
        for (outcome, count) in items {
            metrics::counter!("voxray_ingest_items_total", "outcome" => outcome)
                .increment(count as u64);
        }
    }
}
