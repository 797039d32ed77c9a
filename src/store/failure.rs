//! What the database's errors mean: away for now, or broken. And the one retry of a read.

use std::future::Future;

use crate::domain::{Error, Result};
use crate::store::pool::Pool;

/// Runs a read, once more if it met a connection that died while idle. Only for statements that may run
/// twice: the first may have reached the database.
pub(in crate::store) async fn read<T, F>(pool: &Pool, run: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    match run().await {
        Err(error) if is_broken(&error) => {
            tracing::debug!(%error, "a connection was broken, reading again");
            pool.sweep().await;
            run().await.map_err(failure)
        }
        done => done.map_err(failure),
    }
}

/// The same for a read that is more than one call of the driver.
pub(in crate::store) async fn read_whole<T, F>(pool: &Pool, run: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match run().await {
        Err(Error::Unavailable(cause)) if cause.starts_with(BROKEN) => {
            tracing::debug!(cause, "a connection was broken, reading again");
            pool.sweep().await;
            run().await
        }
        done => done,
    }
}

/// For `map_err`: the neutral error. Text that names tables stays in the log.
pub(in crate::store) fn failure(error: sqlx::Error) -> Error {
    if lost_race(&error) {
        Error::Unavailable(format!("{LOST_RACE}{error}"))
    } else if is_broken(&error) {
        Error::Unavailable(format!("{BROKEN}{error}"))
    } else if is_away(&error) {
        Error::Unavailable(error.to_string())
    } else {
        Error::Internal(error.to_string())
    }
}

/// How the text of an error begins, whatever language the database speaks.
const BROKEN: &str = "connection lost: ";
const LOST_RACE: &str = "lost a race: ";

/// A transaction that lost against another: the same again will do.
pub(in crate::store) fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Unavailable(cause) if cause.starts_with(LOST_RACE))
}

fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // serialization_failure, deadlock_detected
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// The connection is gone; another may work.
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        // A proxy that has lost the database hangs up in the middle of what is said.
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        // admin_shutdown, crash_shutdown, and the class of connection exceptions.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code == "57P01" || code == "57P02" || code.starts_with("08")),
        _ => false,
    }
}

/// The database is there or not, but cannot serve this now; trying again later may help.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // cannot_connect_now, read_only (a failover), statements and locks that took too long, and
            // the class of insufficient resources (disk full, too many connections).
            matches!(&*code, "57P03" | "25006" | "57014" | "55P03" | "25P03")
                || code.starts_with("53")
        }),
        _ => false,
    }
}
