//! Taking the data directory, or joining whoever has it; and giving it back without pulling Postgres
//! away from those who joined.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Hold;
use super::cluster::{Folders, NAME};
use super::error::{EmbeddedError, Result};
use super::lock::{self, COMMAND, Lock, SERVER};
use super::process::PidFile;
use super::supervise::answers;

/// How long a server waits for a short command's hold.
const SERVER_WAIT: Duration = Duration::from_secs(10);
/// How long a command waits for the Postgres of whoever has the folder: making a cluster takes a while on a slow disk.
const COMMAND_WAIT: Duration = Duration::from_secs(60);
const WAIT_SAID_EVERY: Duration = Duration::from_secs(10);
/// A server's hold is believed when it is seen for this long: the file may still name a dead one.
const SERVER_BELIEVED: Duration = Duration::from_millis(500);
const HOLD_POLL: Duration = Duration::from_millis(25);

pub(super) enum Claim {
    Held(Lock),
    Shared { mark: Lock, sockets: PathBuf },
}

pub(super) async fn claim(folders: &Folders, hold: Hold) -> Result<Claim> {
    let folder = folders.base.clone();
    let begun = Instant::now();
    let (mut server_since, mut said_at) = (begun, begun);
    loop {
        let holder = match lock::hold(&folder, hold.word())? {
            Ok(lock) => return Ok(Claim::Held(lock)),
            Err(holder) => holder,
        };
        if !holder.is_server() {
            server_since = Instant::now();
        }
        if said_at.elapsed() > WAIT_SAID_EVERY {
            said_at = Instant::now();
            let waited_s = begun.elapsed().as_secs();
            tracing::info!(waited_s, %holder, "the postgres of another process does not answer yet, waiting for it");
        }
        let in_vain = begun.elapsed() > hold.patience_with_holder();
        match hold {
            Hold::Server if in_vain || server_since.elapsed() > SERVER_BELIEVED => {
                return Err(EmbeddedError::InUse {
                    folder,
                    holder: holder.to_string(),
                });
            }
            Hold::Server => {}
            Hold::Command => match share(folders).await? {
                Some(claim) => return Ok(claim),
                None if in_vain => {
                    return Err(EmbeddedError::NotAnswering {
                        folder,
                        holder: holder.to_string(),
                    });
                }
                None => {}
            },
        }
        sleep(HOLD_POLL).await;
    }
}

/// Joins the holder's Postgres. None while that is starting or stopping.
async fn share(folders: &Folders) -> Result<Option<Claim>> {
    let Some(mark) = lock::enter_as_guest(&folders.base)? else {
        return Ok(None);
    };
    let Some(file) = PidFile::read(&folders.data).filter(PidFile::is_ready) else {
        return Ok(None);
    };
    let sockets = file.socket_folder;
    Ok(answers(&sockets, NAME)
        .await
        .then_some(Claim::Shared { mark, sockets }))
}

/// Keeps new guests out while stopping. None when those that are there do not go.
pub(super) async fn close_to_guests(folders: &Folders, hold: Hold) -> Result<Option<Lock>> {
    let begun = Instant::now();
    loop {
        let closed = lock::close_to_guests(&folders.base)?;
        if closed.is_some() || begun.elapsed() > hold.patience_with_guests() {
            return Ok(closed);
        }
        sleep(HOLD_POLL).await;
    }
}

impl Hold {
    fn word(self) -> &'static str {
        match self {
            Self::Server => SERVER,
            Self::Command => COMMAND,
        }
    }

    fn patience_with_holder(self) -> Duration {
        match self {
            Self::Server => SERVER_WAIT,
            Self::Command => COMMAND_WAIT,
        }
    }

    /// How long those who share may still hold up a stop.
    fn patience_with_guests(self) -> Duration {
        match self {
            Self::Server => Duration::from_secs(2),
            Self::Command => Duration::from_secs(10),
        }
    }
}
