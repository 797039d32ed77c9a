//! Writing faces: each door turns bytes into domain events, purely, and hands them to the one funnel,
//! `services::ingest`. Imports `domain`, `services`, `auth`, `problem`, `app`.

mod document;
pub mod langfuse;
pub mod livekit;
pub mod native;
pub mod otlp;
pub mod recordings;
pub mod webhooks;

use axum::body::Bytes;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::domain::Error;
use crate::problem::Problem;
use crate::problem::Upload;
use crate::services::ingest::{Admission, Scope};

/// A request's body, and the room it was let in with: every part of it is counted before it is kept.
pub async fn receive(
    app: &App,
    scope: &Scope,
    upload: Upload,
) -> Result<(Admission, Bytes), Problem> {
    let admission = app.writer.admit(scope, 0)?;
    let bytes = upload.read(|bytes| admission.grow(bytes)).await?;
    admission.unpack().await;
    Ok((admission, bytes))
}

/// Bodies up to this size are taken apart at once: handing them over would cost more.
const AT_ONCE_BYTES: usize = 128 * 1024;

/// So many large bodies are taken apart at once, as many as there are writers: each thread more keeps memory of its own
/// for what it made, and what is made would only wait.
static BESIDE: Semaphore = Semaphore::const_new(2);

/// Takes a body apart, a large one beside the threads that answer requests.
pub async fn beside<T: Send + 'static>(
    bytes: Bytes,
    work: impl FnOnce(&Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes.len() <= AT_ONCE_BYTES {
        return work(&bytes);
    }
    let turn = BESIDE.acquire().await;
    // The turn ends with the work, also where nobody waits for it any more.
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work(&bytes)
    })
    .await;
    done.map_err(|error| Error::Internal(error.to_string()))?
}
