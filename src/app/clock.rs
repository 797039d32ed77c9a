//! Time is an argument: handlers take [`Now`], tests set the [`Clock`]. The only place that asks the
//! system.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// The system's clock, or one that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    pub fn system() -> Self {
        Self(None)
    }

    /// Stands at this time. Clones move together.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Moves a fixed clock; the system's goes by itself.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        }
    }

    /// In whole microseconds, as the store keeps it.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Some(micros) => DateTime::from_timestamp_micros(micros.load(Ordering::Relaxed))
                .unwrap_or(DateTime::UNIX_EPOCH),
            None => system_now().trunc_subsecs(6),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock that everything else is given"
)]
fn system_now() -> DateTime<Utc> {
    Utc::now()
}

/// The time of a request.
#[derive(Clone, Copy, Debug)]
pub struct Now(pub DateTime<Utc>);

impl<S: Send + Sync> FromRequestParts<S> for Now
where
    Clock: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self(Clock::from_ref(state).now()))
    }
}
