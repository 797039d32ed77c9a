//! What the server does beside answering: rounds of work, each for as long as the server runs.

use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use crate::domain::Result;
use crate::services::analysis;
use crate::services::fetches;
use crate::services::hands::HANDS;
use crate::services::live;
use crate::services::patience::within;
use crate::services::prices;
use crate::services::recordings;
use crate::services::retention;
use crate::services::rooms;
use crate::services::silence;
use crate::services::words;
use crate::store::Store;
use crate::store::rollups::Keeper;
use crate::store::statistics;
use crate::telemetry;

const FLUSH_EVERY: Duration = Duration::from_secs(10);
const SILENCE_EVERY: Duration = Duration::from_secs(15);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const ROOMS_EVERY: Duration = Duration::from_secs(10);
const PRICE_EVERY: Duration = Duration::from_secs(15);
const WORDS_EVERY: Duration = Duration::from_secs(15);
const EARLY_EVERY: Duration = Duration::from_secs(60);
/// Whoever fetches recordings looks so often for more.
const FETCH_EVERY: Duration = Duration::from_secs(2);
const ROLL_UP_EVERY: Duration = Duration::from_secs(1);
const ANALYSE_EVERY: Duration = Duration::from_millis(500);
const STATISTICS_EVERY: Duration = Duration::from_secs(2);
/// Between two rounds: requests come first.
const BREATH: Duration = Duration::from_millis(5);
/// And so many times as long as the last round took where events wait to be committed: whoever sent them waits too.
const REST: u32 = 4;
const REST_LONGEST: Duration = Duration::from_secs(1);
/// Calls that come into an hour long past, all calls of which are summed up again and again: what readers ask of it
/// meanwhile is right all the same.
const ROLL_UP_REST_LONGEST: Duration = Duration::from_secs(15);
/// What is done beside requests takes no longer at a time; what does is cut short, and done again. A connection whose other
/// end vanished without a word would be waited for without end.
const ROUND_LONGEST: Duration = Duration::from_secs(5 * 60);
/// The same of what is long for a single statement: summing up a day of a large tenant, looking at a large table.
const STATEMENT_LONGEST: Duration = Duration::from_secs(15 * 60);
/// What is done once more at the end must not keep a server from stopping whose database was lost.
const LAST_LONGEST: Duration = Duration::from_secs(10);
/// How soon another process takes over from one that died.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
const GAUGE_EVERY: Duration = Duration::from_secs(5);

/// Work beside requests. Each task ends when asked, and is waited for.
#[derive(Clone, Default)]
pub struct Tasks {
    running: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task until its own end; it is given the token that asks it to end.
    pub fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.spawn(task(self.stop.clone()));
    }

    /// Does something again and again, and once more at the end.
    pub fn every<F>(&self, period: Duration, mut work: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(|stop| async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                if timeout(ROUND_LONGEST, work()).await.is_err() {
                    tracing::warn!("work beside requests took too long, trying again");
                }
            }
            let _ = timeout(LAST_LONGEST, work()).await;
        });
    }

    /// Does a round after the other: soon again, where there is more to do, else after `idle`. What takes longer than
    /// `longest`, or is on its way when the server stops is done again later, so a round must be able to be cut short.
    fn rounds<F>(
        &self,
        app: &App,
        what: &'static str,
        (idle, longest): (Duration, Duration),
        mut round: impl FnMut(App) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<bool>> + Send + 'static,
    {
        let app = app.clone();
        self.spawn(|stop| async move {
            loop {
                let begun = Instant::now();
                let round = within(longest, round(app.clone()));
                let wait = match stop.run_until_cancelled(round).await {
                    None => return,
                    Some(Ok(true)) => BREATH.max(rest(&app, begun, REST_LONGEST)),
                    Some(Ok(false)) => idle,
                    Some(Err(error)) => {
                        tracing::warn!(%error, "{what}, trying again");
                        CLAIM_EVERY
                    }
                };
                let pause = tokio::time::sleep(wait);
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
            }
        });
    }

    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Starts what the server does beside answering. To be called once the store has its schema.
pub fn start_work(app: &App, tasks: &Tasks) {
    let keyring = app.keyring.clone();
    tasks.every(FLUSH_EVERY, move || {
        let keyring = keyring.clone();
        async move { keyring.flush().await }
    });
    let gauged = app.clone();
    tasks.every(GAUGE_EVERY, move || {
        telemetry::connections(&gauged.store.connections());
        telemetry::ingest_queue(gauged.writer.queued_bytes());
        std::future::ready(())
    });
    let keeping = app.clone();
    tasks.spawn(move |stop| keep_rollups(keeping, stop));
    start_rounds(app, tasks);
    start_live(app, tasks);
    let early = app.clone();
    tasks.every(EARLY_EVERY, move || drop_early(early.clone()));
    let rooms = app.clone();
    tasks.every(ROOMS_EVERY, move || join_rooms(rooms.clone()));
    let app = app.clone();
    tasks.every(SILENCE_EVERY, move || end_silent(app.clone()));
}

/// How long to leave room for what waits to be committed, after a round that has begun then.
fn rest(app: &App, begun: Instant, longest: Duration) -> Duration {
    rest_after(begun.elapsed(), app.writer.queued_bytes()).min(longest)
}

fn rest_after(took: Duration, queued_bytes: usize) -> Duration {
    match queued_bytes {
        0 => Duration::ZERO,
        _ => took * REST,
    }
}

/// Work that several processes share, a few calls at a time.
fn start_rounds(app: &App, tasks: &Tasks) {
    let what = "calls could not be analysed";
    tasks.rounds(
        app,
        what,
        (ANALYSE_EVERY, ROUND_LONGEST),
        |app| async move { analyse(&app.store, app.clock.now()).await },
    );
    let what = "calls whose time is over could not be looked for";
    tasks.rounds(
        app,
        what,
        (RETENTION_EVERY, ROUND_LONGEST),
        |app| async move { let_go(&app.store, app.clock.now()).await },
    );
    let what = "costs could not be computed again";
    tasks.rounds(app, what, (PRICE_EVERY, ROUND_LONGEST), |app| async move {
        prices::sweep(&app.store, app.clock.now()).await
    });
    let what = "words of earlier turns could not be read";
    tasks.rounds(app, what, (WORDS_EVERY, ROUND_LONGEST), |app| async move {
        words::round(&app.store).await
    });
    let what = "Postgres could not be made to look at its tables";
    tasks.rounds(
        app,
        what,
        (STATISTICS_EVERY, STATEMENT_LONGEST),
        |app| async move { statistics::refresh(&app.store).await.map(|_| false) },
    );
    let what = "announced recordings could not be looked for";
    // Taking audio in has a bound of its own.
    let longest = app.settings.recordings_timeout + ROUND_LONGEST;
    for _ in 0..HANDS {
        tasks.rounds(app, what, (FETCH_EVERY, longest), |app| async move {
            fetches::next(&app.fetch_kit(), app.clock.now()).await
        });
    }
}

/// Numbers what is written, and tells those who watch.
fn start_live(app: &App, tasks: &Tasks) {
    tasks.spawn(|stop| live::notify(app.live.clone(), app.writer.written(), stop));
    tasks.spawn(|stop| live::hear(app.live.clone(), stop));
    let clock = app.clock.clone();
    tasks.spawn(|stop| live::sequence(app.live.clone(), move || clock.now(), stop));
}

async fn end_silent(app: App) {
    let patience = silence::Patience {
        active: app.settings.session_timeout,
        unanswered: app.settings.ring_timeout,
    };
    let ended = silence::end_silent(&app.store, &app.writer, patience, app.clock.now()).await;
    match ended {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "ended sessions of which nothing was heard any more"),
        Err(error) => tracing::warn!(%error, "silent sessions could not be ended"),
    }
}

async fn join_rooms(app: App) {
    match rooms::join_due(&app.store, &app.writer, app.clock.now()).await {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "joined records of rooms with the sessions in them"),
        Err(error) => tracing::warn!(%error, "records of rooms could not be joined"),
    }
}

async fn drop_early(app: App) {
    match recordings::drop_early(&app.store, &app.objects, app.clock.now()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "dropped recordings whose calls never came"),
        Err(error) => tracing::warn!(%error, "recordings without a call could not be dropped"),
    }
    let removed = recordings::remove_leftovers(&app.store, &app.objects, app.clock.now());
    if let Err(error) = removed.await {
        tracing::warn!(%error, "audio that nobody needs could not be looked for");
    }
}

/// Keeps the rollups as long as no other process on this store does.
async fn keep_rollups(app: App, stop: CancellationToken) {
    let mut keeper = None;
    let pause = |duration| stop.run_until_cancelled(tokio::time::sleep(duration));
    loop {
        let begun = Instant::now();
        let round = keep_round(&app, &mut keeper);
        let wait = match within(STATEMENT_LONGEST, round).await {
            Ok(true) => Duration::ZERO,
            Ok(false) if keeper.is_some() => ROLL_UP_EVERY,
            Ok(false) => CLAIM_EVERY,
            Err(error) => {
                tracing::warn!(%error, "rollups could not be kept, trying again");
                keeper = None;
                CLAIM_EVERY
            }
        };
        let wait = wait.max(rest(&app, begun, ROLL_UP_REST_LONGEST));
        if pause(wait).await.is_none() {
            return;
        }
    }
}

/// Analyses calls as they change, and those whose analysis is not of today. Answers whether there is more to do
/// at once, as all rounds do.
async fn analyse(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    Ok(analysis::round(store, now).await? || analysis::sweep(store, now).await?)
}

/// Lets calls go whose time is over.
async fn let_go(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    let gone = retention::round(store, now).await?;
    if gone.is_nothing() {
        return Ok(false);
    }
    let retention::Gone {
        closed,
        deleted,
        forgotten,
    } = gone;
    tracing::info!(
        closed,
        deleted,
        forgotten,
        "let calls go whose time was over"
    );
    Ok(true)
}

/// Answers whether there is more to do at once.
async fn keep_round(app: &App, keeper: &mut Option<Keeper>) -> Result<bool> {
    if keeper.is_none() {
        *keeper = Keeper::claim(&app.store).await?;
    }
    let others_wait = app.writer.queued_bytes() > 0;
    match keeper {
        Some(keeper) => keeper.round(app.clock.now(), others_wait).await,
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_make_way_for_what_waits_to_be_committed() {
        let took = Duration::from_millis(20);
        assert_eq!(rest_after(took, 0), Duration::ZERO);
        assert_eq!(rest_after(took, 1), Duration::from_millis(80));
        assert_eq!(rest_after(Duration::ZERO, 1), Duration::ZERO);
    }
}
