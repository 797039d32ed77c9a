//! One writer: takes the requests that wait for it, commits them together, and answers each when that is durable.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::Error;
use crate::domain::event::{Outcome, SessionRef, Submission};
use crate::store::pool::Pool;

use super::batch;
use super::batch::SessionWork;
use super::load::Key;
use super::named::Named;
use super::queue::Admission;
use super::{Result, Trouble};

/// A commit takes further requests until it has this many submissions; more gains nothing and takes memory.
const BATCH_MAX: usize = 1000;
/// Where several requests wait, a commit waits for more of them: for this share of the time that the last commit took,
/// since those that it answered ask again meanwhile. Fewer and larger commits take a tenth to a third less of the
/// processor for each event of small requests (`cargo bench --bench ingest`).
const GATHER_SHARE: f64 = 0.3;
const GATHER_MAX: Duration = Duration::from_millis(3);
const RACE_RETRIES: usize = 5;
/// Longer than any statement may take: then the database, or the way there, is lost.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// What one request says of the sessions of one lane, each with the places where outcomes belong.
pub type Share = BTreeMap<Key, (Named, Vec<(usize, SessionRef, Submission)>)>;

/// What one request wants of one lane.
pub struct Job {
    pub work: Share,
    pub now: DateTime<Utc>,
    /// Kept until the job is answered: its bytes count as queued.
    pub admission: Admission,
    pub answer: oneshot::Sender<Result<Vec<(usize, Outcome)>, Error>>,
}

pub async fn run(pool: Pool, mut jobs: mpsc::UnboundedReceiver<Job>, written: Arc<Notify>) {
    let mut last = Last::default();
    while let Some(first) = jobs.recv().await {
        let batch = gather(&mut jobs, first, &last).await;
        let requests = batch.len();
        metrics::counter!("voxray_ingest_commits_total").increment(1);
        let began = Instant::now();
        // A defect that one batch brings to light must not end the lane: its askers are told to come again.
        let committed = AssertUnwindSafe(commit(&pool, batch)).catch_unwind();
        if committed.await.is_err() {
            tracing::error!("a batch could not be written because of a defect");
        }
        last = Last {
            requests,
            took: began.elapsed(),
        };
        written.notify_one();
    }
}

/// What is known of the last commit.
#[derive(Default)]
struct Last {
    requests: usize,
    took: Duration,
}

/// What the next commit takes. A request that waits alone is not kept waiting for others, and no more are waited for than
/// the last commit answered.
async fn gather(jobs: &mut mpsc::UnboundedReceiver<Job>, first: Job, last: &Last) -> Vec<Job> {
    let mut batch = Batch::of(first);
    batch.take_waiting(jobs);
    let waiting = batch.jobs.len();
    let until = Instant::now() + last.took.mul_f64(GATHER_SHARE).min(GATHER_MAX);
    while waiting > 1
        && batch.jobs.len() < waiting + last.requests
        && !batch.is_full()
        && let Ok(Some(job)) = timeout_at(until, jobs.recv()).await
    {
        batch.add(job);
        batch.take_waiting(jobs);
    }
    batch.jobs
}

/// Requests that are committed together.
struct Batch {
    jobs: Vec<Job>,
    submissions: usize,
}

impl Batch {
    fn of(first: Job) -> Self {
        Self {
            submissions: first.size(),
            jobs: vec![first],
        }
    }

    fn is_full(&self) -> bool {
        self.submissions >= BATCH_MAX
    }

    fn take_waiting(&mut self, jobs: &mut mpsc::UnboundedReceiver<Job>) {
        while !self.is_full()
            && let Ok(job) = jobs.try_recv()
        {
            self.add(job);
        }
    }

    fn add(&mut self, job: Job) {
        self.submissions += job.size();
        self.jobs.push(job);
    }
}

impl Job {
    fn size(&self) -> usize {
        self.work
            .values()
            .map(|(_, submissions)| submissions.len())
            .sum()
    }

    fn answer(self, answer: Result<Vec<(usize, Outcome)>, Error>) {
        // Who asked may have gone; what was committed stays.
        let _ = self.answer.send(answer);
        drop(self.admission);
    }
}

/// Commits a batch whole, else its halves, so that one bad request cannot fail its neighbours.
async fn commit(pool: &Pool, batch: Vec<Job>) {
    let mut pending = vec![batch];
    while let Some(mut jobs) = pending.pop() {
        match attempt(pool, &jobs).await {
            Ok(mut outcomes) => {
                for job in jobs.into_iter().rev() {
                    let told = outcomes.pop().unwrap_or_default();
                    job.answer(Ok(told));
                }
            }
            Err(error @ Error::Unavailable(_)) => jobs
                .into_iter()
                .for_each(|job| job.answer(Err(error.clone()))),
            Err(error) if jobs.len() == 1 => jobs
                .into_iter()
                .for_each(|job| job.answer(Err(error.clone()))),
            Err(_) => {
                let later = jobs.split_off(jobs.len() / 2);
                pending.push(later);
                pending.push(jobs);
            }
        }
    }
}

/// Outcomes by job, if the batch could be committed.
async fn attempt(pool: &Pool, jobs: &[Job]) -> Result<Vec<Vec<(usize, Outcome)>>, Error> {
    for _ in 0..RACE_RETRIES {
        match within(pool, jobs).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(Trouble::Race) => {
                tracing::debug!("another writer was faster, trying the batch again")
            }
            Err(Trouble::Error(error)) => return Err(error),
        }
    }
    Err(Error::Unavailable(
        "other writers kept being faster".to_owned(),
    ))
}

/// A commit that has its time, and no longer.
async fn within(pool: &Pool, jobs: &[Job]) -> Result<Vec<Vec<(usize, Outcome)>>> {
    let mut connection = pool.acquire().await?;
    let lost = |_| Error::Unavailable("the commit took too long".to_owned());
    let written = timeout(COMMIT_TIMEOUT, transaction(&mut connection, jobs));
    let outcomes = written.await.map_err(lost)??;
    connection.done();
    Ok(outcomes)
}

async fn transaction(
    connection: &mut PgConnection,
    jobs: &[Job],
) -> Result<Vec<Vec<(usize, Outcome)>>> {
    let mut work: BTreeMap<Key, SessionWork<'_>> = BTreeMap::new();
    // Where a submission came from, by its place in the batch.
    let mut origins: Vec<(usize, usize)> = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        for (key, (named, submissions)) in &job.work {
            let into = work
                .entry(*key)
                .or_insert_with(|| SessionWork::named(named.clone()));
            into.named.add(named);
            for (place, session, submission) in submissions {
                into.submissions.push((origins.len(), submission));
                into.refs.push(session);
                origins.push((number, *place));
            }
        }
    }
    let now = jobs
        .iter()
        .map(|job| job.now)
        .max()
        .unwrap_or(DateTime::UNIX_EPOCH);
    let mut transaction = connection.begin().await?;
    let outcomes = batch::write(&mut transaction, work, now).await?;
    transaction.commit().await?;
    let mut by_job: Vec<Vec<(usize, Outcome)>> = jobs.iter().map(|_| Vec::new()).collect();
    for (place, outcome) in outcomes {
        let (number, place) = origins[place];
        by_job[number].push((place, outcome));
    }
    Ok(by_job)
}
