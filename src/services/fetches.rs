//! Recordings that vendors announce: fetched in the background, tried again with growing pauses, and given up
//! with a reason.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::domain::event::{Kind, Submission};
use crate::domain::fact::time;
use crate::domain::recording::Placement;
use crate::domain::webhook::{Fetch, Vendor};
use crate::domain::{Error, Result};
use crate::objects::{Fetcher, Objects, Pass, Refusal};
use crate::services::hands::Hands;
use crate::services::ingest::Item;
use crate::services::recordings;
use crate::store::recordings::fetches;
use crate::store::recordings::fetches::Tried;
use crate::store::{Scope, Store, webhooks};

/// Pauses after each try that failed but the last. Recordings are announced before every copy is in its place.
const PAUSES_SECONDS: [i64; 5] = [10, 60, 300, 1_800, 7_200];
const TRIES_MAX: i32 = PAUSES_SECONDS.len() as i32 + 1;
/// A pause is longer by up to this part of itself, so that what failed together is not tried together.
const JITTER: f64 = 0.2;
/// How long a fetch belongs to the server that began it, counted from its last sign of life. Short, so that what a server left
/// behind when it stopped or died is taken up soon, however long fetching may take.
pub const LEASE: Duration = Duration::from_secs(60);
/// So many times in a lease whoever is at work says so.
const RENEWALS: u32 = 3;
/// Told to whoever asks for the recording: the start of it is enough.
const REASON_MAX_CHARS: usize = 500;

/// What fetching needs.
#[derive(Clone)]
pub struct Kit {
    pub store: Store,
    pub objects: Objects,
    pub fetcher: Fetcher,
    pub hands: Hands,
    pub limit_bytes: u64,
    /// One try takes no longer.
    pub time_limit: Duration,
    /// See [`LEASE`].
    pub lease: Duration,
}

/// Wants a recording, or notes that there will be none. Answers whether this is new.
pub async fn want(scope: &Scope, fetch: &Fetch) -> Result<bool> {
    fetches::want(scope, fetch).await
}

/// What native events and calls say of where their recordings are: those at hosts that the server's settings
/// allow, with the place of their item in the request.
pub fn announced(fetcher: &Fetcher, items: &[Item], now: DateTime<Utc>) -> Vec<(usize, Fetch)> {
    let of_item = |(index, item): (usize, &Item)| {
        let (session, submission) = item.content.as_ref().ok()?;
        let events = match submission {
            Submission::Event(_, event) | Submission::Undated(_, event) => {
                std::slice::from_ref(event)
            }
            Submission::Report(_, report) => &report.events,
            Submission::Silence(_) => &[],
        };
        let mut sessions = events.iter().filter(|event| event.kind == Kind::Session);
        let recording = sessions.find_map(|event| event.fields.get("recording"))?;
        let url = recording.get("url")?.as_str()?;
        let offset_ms = recording.get("startOffsetMs").and_then(Value::as_f64);
        let fetch = Fetch {
            id: session.id,
            reference: session.id.to_string(),
            url: url.to_owned(),
            endpoint_id: None,
            placement: Placement {
                started_at: recording
                    .as_object()
                    .and_then(|said| time(said, "startedAt")),
                start_offset_ms: offset_ms.map(|ms| ms.round() as i64),
            },
            attempts: 0,
            created_at: now,
            failure: None,
        };
        fetcher.may_ask(url).then_some((index, fetch))
    };
    items.iter().enumerate().filter_map(of_item).collect()
}

/// Fetches one recording that is due. Answers whether there was one.
pub async fn next(kit: &Kit, now: DateTime<Utc>) -> Result<bool> {
    let begun = Begun {
        at: now,
        instant: Instant::now(),
    };
    let until = now + kit.lease;
    let Some((_hand, scope, fetch)) = kit.hands.claim(&kit.store, now, until).await? else {
        return Ok(false);
    };
    if fetch.attempts > TRIES_MAX {
        // Whoever tried died over it, and could not say so.
        let why = "the server stopped in the midst of the last try".to_owned();
        fetches::settle(&scope, &fetch, Tried::Failed(why)).await?;
        return Ok(true);
    }
    let attempt = timeout(kit.time_limit, attempt(kit, &scope, &fetch, now));
    let tried = tokio::select! {
        tried = attempt => tried,
        never = hold(kit.lease, &scope, &fetch, begun) => match never {},
    };
    let tried = tried.unwrap_or_else(|_| {
        Err(Refusal {
            error: Error::Unavailable("it took too long".to_owned()),
            may_pass: true,
        })
    });
    let outcome = judged(tried, fetch.attempts, begun.now());
    let result = match &outcome {
        Tried::Done => "done",
        Tried::Again { .. } => "again",
        Tried::Failed(why) => {
            tracing::info!(why, "a recording could not be fetched, giving up");
            "failed"
        }
    };
    metrics::counter!("voxray_recording_fetches_total", "result" => result).increment(1);
    fetches::settle(&scope, &fetch, outcome).await?;
    Ok(true)
}

/// When work on a fetch began.
#[derive(Clone, Copy)]
struct Begun {
    at: DateTime<Utc>,
    instant: Instant,
}

impl Begun {
    fn now(self) -> DateTime<Utc> {
        self.at + self.instant.elapsed()
    }
}

/// Keeps a fetch from being taken up by others, for as long as this is waited for.
async fn hold(lease: Duration, scope: &Scope, fetch: &Fetch, begun: Begun) -> Infallible {
    let every = lease / RENEWALS;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let renewed = timeout(every, fetches::renew(scope, fetch, begun.now() + lease));
        // At worst another fetches the same once more.
        if !matches!(renewed.await, Ok(Ok(()))) {
            tracing::debug!("a fetch may be taken up by another server");
        }
    }
}

async fn attempt(
    kit: &Kit,
    scope: &Scope,
    fetch: &Fetch,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    // First whether it is wanted at all: what was deleted does not come back.
    let place = recordings::place(scope, &fetch.reference, now).await?;
    let pass = pass(scope, fetch).await?;
    let spool = kit.objects.spool(kit.limit_bytes).await?;
    let spooled = kit.fetcher.fetch_with(&fetch.url, &pass, spool).await?;
    recordings::keep(scope, &kit.objects, place, &spooled, fetch.placement, now).await?;
    Ok(())
}

/// What the endpoint that announced it may reach. One that is disabled since has lost its credentials.
async fn pass(scope: &Scope, fetch: &Fetch) -> Result<Pass> {
    let Some(id) = &fetch.endpoint_id else {
        return Ok(Pass::default());
    };
    let endpoint = webhooks::find(scope, id).await?;
    let settings = endpoint.settings;
    let own = settings.fetch_user.zip(settings.fetch_password);
    let credentials = match endpoint.vendor {
        Vendor::Twilio => own.or_else(|| Some((account_of(&fetch.url)?, endpoint.secret))),
        _ => own,
    };
    let known = endpoint.vendor.recording_hosts().iter();
    let hosts: Vec<String> = known
        .map(|host| (*host).to_owned())
        .chain(settings.allowed_hosts)
        .collect();
    Ok(Pass { hosts, credentials })
}

/// Twilio's recordings lie below their account: `/2010-04-01/Accounts/AC…/Recordings/RE…`.
fn account_of(url: &str) -> Option<String> {
    let rest = url.split_once("/Accounts/")?.1;
    let account = rest.split('/').next()?;
    account.starts_with("AC").then(|| account.to_owned())
}

fn judged(tried: Result<(), Refusal>, attempts: i32, now: DateTime<Utc>) -> Tried {
    let Err(refusal) = tried else {
        return Tried::Done;
    };
    let why: String = told(&refusal.error)
        .chars()
        .take(REASON_MAX_CHARS)
        .collect();
    let pause = usize::try_from(attempts - 1)
        .ok()
        .and_then(|tries| PAUSES_SECONDS.get(tries));
    match pause.filter(|_| refusal.may_pass) {
        Some(seconds) => {
            let jitter: f64 = rand::rng().random_range(0.0..JITTER);
            let pause_ms = (*seconds as f64 * 1000.0 * (1.0 + jitter)) as i64;
            Tried::Again {
                due_at: now + TimeDelta::milliseconds(pause_ms),
                why,
            }
        }
        None => Tried::Failed(why),
    }
}

/// The reason for whoever wanted the recording; what is wrong inside this server is for the log.
fn told(error: &Error) -> String {
    match error {
        Error::Unprocessable(faults) | Error::Invalid(faults) => faults
            .iter()
            .map(|fault| format!("the recording {}", fault.message))
            .collect::<Vec<_>>()
            .join("; "),
        Error::Unavailable(cause) | Error::Internal(cause) => {
            tracing::warn!(cause, "a recording could not be fetched");
            "this server could not take it in".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Fault;

    fn outcome(may_pass: bool, attempts: i32) -> Tried {
        let error = Error::Unprocessable(vec![Fault::body("url", "must lead to audio")]);
        let refusal = Err(Refusal { error, may_pass });
        judged(refusal, attempts, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn pauses_grow_and_end() {
        for (attempt, seconds) in (1..).zip(PAUSES_SECONDS) {
            let Tried::Again { due_at, why } = outcome(true, attempt) else {
                panic!("attempt {attempt} is not the last")
            };
            let paused_ms = due_at.timestamp_millis();
            assert!(
                (seconds * 1000..seconds * 1200 + 1).contains(&paused_ms),
                "{paused_ms}"
            );
            assert_eq!(why, "the recording must lead to audio");
        }
        assert!(matches!(outcome(true, 6), Tried::Failed(_)));
        assert!(matches!(outcome(false, 1), Tried::Failed(_)));
    }

    #[test]
    fn twilio_s_account_is_in_the_address() {
        let url = "https://api.twilio.com/2010-04-01/Accounts/AC12/Recordings/RE34";
        assert_eq!(account_of(url).as_deref(), Some("AC12"));
        assert_eq!(account_of("https://api.twilio.com/audio"), None);
    }
}
