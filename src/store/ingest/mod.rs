//! The one writer: takes submissions from every door, commits what has gathered while the last commit
//! ran, and answers when it is durable.
//!
//! Submissions about one session go to the same of a few writers, so that writers of one process seldom wait for
//! each other's rows; spans go by their trace, since which conversations a trace tells of follows from all of them.
//! Other processes are held off by row locks. The queue is bounded by bytes, and one tenant may take at most half of
//! it.

mod batch;
mod closed;
mod divide;
mod keep;
mod known;
mod labels;
mod lane;
mod load;
mod merge;
mod moves;
mod named;
mod nodes;
mod outbox;
mod queue;
mod resolve;
mod rows;
mod save;
mod spans;
mod understand;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::domain::Error;
use crate::domain::event::{Outcome, SessionRef, Source, Submission};
use crate::store::failure::failure;
use crate::store::pool::Pool;
use crate::store::scope::{Scope, Store};

use lane::{Job, Share};
use named::Named;
use queue::Queue;

pub use queue::Admission;

/// One more than this only makes writers wait for each other on two cores.
const WRITERS: usize = 2;
const IDLE_POLL: Duration = Duration::from_millis(5);

/// Why a batch could not be written.
#[derive(Debug)]
enum Trouble {
    /// Another process was faster, or a deadlock was broken up: the same again will do.
    Race,
    Error(Error),
}

type Result<T, E = Trouble> = std::result::Result<T, E>;

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code());
        // serialization_failure, deadlock_detected, lock_not_available
        if code.is_some_and(|code| matches!(&*code, "40001" | "40P01" | "55P03")) {
            return Self::Race;
        }
        Self::Error(failure(error))
    }
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    queue: Queue,
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    written: Arc<Notify>,
}

impl Writer {
    /// Starts the writers on connections of their own; they end with the last clone of this.
    /// `queue_bytes` bounds what may wait.
    pub fn start(store: &Store, queue_bytes: usize) -> Self {
        let pool = pool(store);
        let written = Arc::new(Notify::new());
        let lanes = (0..WRITERS)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                tokio::spawn(lane::run(pool.clone(), receiver, written.clone()));
                sender
            })
            .collect();
        Self {
            queue: Queue::new(queue_bytes),
            lanes,
            written,
        }
    }

    /// Waits until everything queued is committed and answered.
    pub async fn idle(&self) {
        while self.queue.bytes() > 0 {
            tokio::time::sleep(IDLE_POLL).await;
        }
    }

    /// Wakes who waits for something to be committed.
    pub fn written(&self) -> Arc<Notify> {
        self.written.clone()
    }

    /// Bytes that wait to be committed.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Lets a request of so many bytes in, or says that it must wait. Asked before the request is taken
    /// apart, which needs several times its size.
    pub fn admit(&self, scope: &Scope, bytes: usize) -> Result<Admission, Error> {
        self.queue.admit(scope.tenant(), bytes)
    }

    /// Writes submissions and answers when they are durable, one outcome each in their order.
    pub async fn submit(
        &self,
        scope: &Scope,
        submissions: Vec<(SessionRef, Submission)>,
        admission: Admission,
        now: DateTime<Utc>,
    ) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = vec![Outcome::Duplicate; submissions.len()];
        let mut answers = Vec::new();
        for (lane, work) in self.by_lane(scope, submissions) {
            let (answer, answered) = oneshot::channel();
            let job = Job {
                work,
                now,
                admission: admission.clone(),
                answer,
            };
            lane.send(job).map_err(|_| stopping())?;
            answers.push(answered);
        }
        // All lanes are heard before one of them may fail the request: nothing is left half told.
        let mut failed = None;
        for answered in answers {
            match answered.await.unwrap_or_else(|_| Err(stopping())) {
                Ok(told) => told
                    .into_iter()
                    .for_each(|(place, outcome)| outcomes[place] = outcome),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(outcomes), Err)
    }

    fn by_lane(
        &self,
        scope: &Scope,
        submissions: Vec<(SessionRef, Submission)>,
    ) -> impl Iterator<Item = (&mpsc::UnboundedSender<Job>, Share)> {
        let mut lanes: Vec<Share> = self.lanes.iter().map(|_| BTreeMap::new()).collect();
        for (place, (session, submission)) in submissions.into_iter().enumerate() {
            let lane = place_of(&session, &submission) as usize % lanes.len();
            let work = lanes[lane]
                .entry((scope.tenant().0, session.id.0))
                .or_insert_with(|| (Named::of(&session), Vec::new()));
            // Most often all of a request are called the same.
            if work.1.last().is_none_or(|(_, last, _)| *last != session) {
                work.0.and(&session);
            }
            work.0.hear(&submission);
            work.1.push((place, session, submission));
        }
        self.lanes
            .iter()
            .zip(lanes)
            .filter(|(_, work)| !work.is_empty())
    }
}

/// Where a submission goes: whatever has the same place is written in the order in which it came.
fn place_of(session: &SessionRef, submission: &Submission) -> u64 {
    if let Submission::Event(Source::Trace, event) = submission
        && let Some(Value::String(trace)) = event.fields.get("traceId")
    {
        let mut hasher = DefaultHasher::new();
        trace.hash(&mut hasher);
        return hasher.finish();
    }
    session.id.0.as_u64_pair().1
}

fn stopping() -> Error {
    Error::Unavailable("the server is stopping".to_owned())
}

/// The writers' connections are set to look up rows by index whatever the statistics say: a batch
/// always knows the keys it wants.
fn pool(store: &Store) -> Pool {
    let options = store
        .options
        .clone()
        .application_name("voxray writer")
        .options([
            ("plan_cache_mode", "force_generic_plan"),
            ("jit", "off"),
            ("client_min_messages", "warning"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "30s"),
        ]);
    // One more each, for when the other is lost and not yet known to be.
    Pool::lazy(options, 2 * WRITERS as u32)
}
