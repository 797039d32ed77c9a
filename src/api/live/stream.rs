//! `GET /api/v1/sse/calls/stream`

use std::convert::Infallible;
use std::pin::pin;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::message::Message;
use super::{Opening, Parting, Watching, count_sent, pings, sent_away, sequence_number};
use crate::app::App;
use crate::auth::Watcher;
use crate::domain::Error;
use crate::domain::{Fault, Place};
use crate::problem::Problem;
use crate::problem::Query;

/// Messages that wait for the connection to take them.
const WAITING_MAX: usize = 64;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies that every message counts.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a browser waits before it connects again, in ms.
const RETRY: &str = "retry: 2000\n";

pub async fn handle(
    State(app): State<App>,
    watcher: Watcher,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let mut opening = Opening::read(&mut params, watcher.tenant());
    params.finish()?;
    // What a browser adds when it reconnects is newer than what stands in the URL.
    opening.after = last_event_id(&headers)?.or(opening.after);
    let watching = Watching::open(app, &watcher, opening).await?;
    let seat = watching.feed.seat();
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let (last, at_last) = oneshot::channel();
    tokio::spawn(run(watching, watcher, sender, last));
    // The seat goes with the body: one that nobody reads still counts.
    let body = stream::unfold(
        (receiver, Some(at_last), seat),
        |(mut receiver, at_last, seat)| async move {
            if let Some(chunk) = receiver.recv().await {
                return Some((Ok::<Bytes, Infallible>(chunk), (receiver, at_last, seat)));
            }
            let chunk = at_last?.await.ok()?;
            Some((Ok(chunk), (receiver, None, seat)))
        },
    );
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        (X_ACCEL_BUFFERING, "no"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    sequence_number(text).map(Some).map_err(|message| {
        let fault = Fault {
            place: Place::Header,
            name: LAST_EVENT_ID.to_string(),
            message,
        };
        Error::Invalid(vec![fault]).into()
    })
}

async fn run(
    mut watching: Watching,
    watcher: Watcher,
    sender: mpsc::Sender<Bytes>,
    last: oneshot::Sender<Bytes>,
) {
    let mut sent_seq = watching.feed.position();
    let parting = converse(&mut watching, &watcher, &sender, &mut sent_seq).await;
    if parting == Parting::Slow {
        watching.app.live.note_slow();
    }
    // If somebody is still there, after what waits for them; from its number on nothing was sent.
    let now = watching.app.clock.now();
    let farewell = Message::complaint(parting.code(), parting.reason(), sent_seq, now);
    let _ = last.send(Bytes::from(chunk(&farewell)));
}

async fn converse(
    watching: &mut Watching,
    watcher: &Watcher,
    sender: &mpsc::Sender<Bytes>,
    sent_seq: &mut i64,
) -> Parting {
    let app = watching.app.clone();
    let mut away = pin!(sent_away(&app, watcher));
    let mut pings = pings();
    let mut messages = vec![watching.connected()];
    let mut prefix = RETRY;
    loop {
        for message in messages {
            let chunk = format!("{}{}", std::mem::take(&mut prefix), chunk(&message));
            let sent = timeout(
                app.settings.live_send_timeout,
                sender.send(Bytes::from(chunk)),
            );
            let sent = tokio::select! {
                parting = &mut away => return parting,
                sent = sent => sent,
            };
            match sent {
                Ok(Ok(())) => {
                    *sent_seq = message.seq();
                    count_sent();
                }
                Ok(Err(_)) => return Parting::Gone,
                Err(_) => return Parting::Slow,
            }
        }
        messages = tokio::select! {
            parting = &mut away => return parting,
            () = sender.closed() => return Parting::Gone,
            _ = pings.tick() => vec![watching.ping()],
            messages = watching.next() => match messages {
                Ok(messages) => messages,
                Err(parting) => return parting,
            },
        };
    }
}

/// Unnamed, so that a browser's `onmessage` gets all of them.
fn chunk(message: &Message) -> String {
    format!("id: {}\ndata: {}\n\n", message.seq(), message.text())
}
