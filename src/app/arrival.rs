//! A request's body on its way in: whether it is waited for, and what becomes of what nobody reads.
//!
//! A connection that is closed while its client still sends is reset, and takes with it the answer that the client has
//! not read yet. So what is left of a body that was refused is read on for a while.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How much of a body that nobody reads is read and thrown away, and for how long.
const LINGER_BYTES: usize = 128 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// Whether the next piece of a body is what a request waits for.
#[derive(Clone, Default)]
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    pub fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body as it arrives. Dropped before its end, it is read on.
struct Arrival {
    /// None once it has ended.
    chunks: Option<BodyDataStream>,
    awaited: Awaited,
    is_sent_unasked: bool,
}

/// Watches how the body of a request arrives.
pub(super) fn watch(request: Request) -> (Request, Awaited) {
    let awaited = Awaited::default();
    // Whoever asks before sending (`Expect: 100-continue`) sends nothing once it is refused.
    let is_sent_unasked = !request.headers().contains_key(EXPECT);
    let request = request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::from_stream(Arrival {
            chunks: Some(body.into_data_stream()),
            awaited: awaited.clone(),
            is_sent_unasked,
        })
    });
    (request, awaited)
}

impl Stream for Arrival {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(chunks) = &mut self.chunks else {
            return Poll::Ready(None);
        };
        let next = chunks.poll_next_unpin(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.chunks = None;
        }
        self.awaited.0.store(next.is_pending(), Ordering::Relaxed);
        next
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let rest = self.chunks.take().filter(|rest| !rest.is_end_stream());
        if let Some(rest) = rest.filter(|_| self.is_sent_unasked)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(throw_away(rest));
        }
    }
}

async fn throw_away(mut chunks: BodyDataStream) {
    let all = async {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            bytes += chunk.len();
            if bytes > LINGER_BYTES {
                return;
            }
        }
    };
    // Nobody waits for it.
    let _ = timeout(LINGER, all).await;
}
