//! `GET /ws/calls`

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout};
use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;

use super::command::{self, Command};
use super::message::Message;
use super::{Opening, Parting, Watching, count_sent, look_up, pings, sent_away};
use crate::app::App;
use crate::auth::SocketWatcher;
use crate::auth::TOKEN;
use crate::auth::Watcher;
use crate::domain::Error;
use crate::domain::{Fault, Place};
use crate::problem::Problem;
use crate::problem::Query;

/// Longest message that a client may send; a longer one ends the connection.
const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// A client from which nothing came for so long, not even answers to pings, is gone.
const GONE_AFTER: Duration = Duration::from_secs(50);
/// How long the last frame may take, and its answer.
const PART_WITHIN: Duration = Duration::from_secs(10);
/// The same where the server stops, which waits for everybody.
const STOP_WITHIN: Duration = Duration::from_secs(3);

pub async fn handle(
    State(app): State<App>,
    SocketWatcher { watcher, by_ticket }: SocketWatcher,
    query: Query,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let mut params = query.params();
    if params.text(TOKEN).is_some() && !by_ticket {
        params.fault(TOKEN, "is given beside a key in a header, send one only");
    }
    let opening = Opening::read(&mut params, watcher.tenant());
    params.finish()?;
    let upgrade = upgrade.map_err(|rejection| no_upgrade(&rejection))?;
    let watching = Watching::open(app, &watcher, opening).await?;
    let upgraded = upgrade
        .max_message_size(MESSAGE_MAX_BYTES)
        .max_frame_size(MESSAGE_MAX_BYTES)
        .on_upgrade(move |socket| run(socket, watching, watcher));
    Ok(upgraded.into_response())
}

fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Problem {
    let fault = Fault {
        place: Place::Header,
        name: "upgrade".to_owned(),
        message: format!("this path speaks WebSocket (RFC 6455, version 13): {rejection}"),
    };
    Error::Invalid(vec![fault]).into()
}

async fn run(mut socket: WebSocket, mut watching: Watching, watcher: Watcher) {
    let app = watching.app.clone();
    let parting = converse(&mut socket, &mut watching, &watcher).await;
    tracing::debug!(code = parting.code(), "closing a socket");
    if parting == Parting::Slow {
        app.live.note_slow();
    }
    let close = parting.close_code().map(|code| {
        Frame::Close(Some(CloseFrame {
            code,
            reason: parting.reason().into(),
        }))
    });
    // The other side answers; to hang up before would lose what it has not read yet. Whoever left is answered as soon as
    // somebody reads on.
    let part = async {
        if let Some(close) = close
            && socket.send(close).await.is_err()
        {
            return;
        }
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let within = match parting {
        Parting::Stopping => STOP_WITHIN,
        _ => PART_WITHIN,
    };
    let _ = timeout(within, part).await;
}

/// Talks until one of the two parts from the other.
async fn converse(socket: &mut WebSocket, watching: &mut Watching, watcher: &Watcher) -> Parting {
    let Err(parting) = talk(socket, watching, watcher).await;
    parting
}

async fn talk(
    socket: &mut WebSocket,
    watching: &mut Watching,
    watcher: &Watcher,
) -> Result<Infallible, Parting> {
    let app = watching.app.clone();
    let mut away = pin!(sent_away(&app, watcher));
    let mut pings = pings();
    let mut heard_at = Instant::now();
    let mut frames = vec![text(&watching.connected())];
    loop {
        tokio::select! {
            parting = &mut away => return Err(parting),
            sent = send(socket, std::mem::take(&mut frames), app.settings.live_send_timeout) => sent?,
        }
        frames = tokio::select! {
            parting = &mut away => return Err(parting),
            _ = pings.tick() => {
                if heard_at.elapsed() > GONE_AFTER {
                    return Err(Parting::Gone);
                }
                vec![Frame::Ping(Default::default()), text(&watching.ping())]
            }
            messages = watching.next() => messages?.iter().map(text).collect(),
            frame = socket.recv() => {
                heard_at = Instant::now();
                match frame {
                    Some(Ok(Frame::Text(said))) => answer(watching, watcher, &said).await,
                    Some(Ok(Frame::Binary(_))) => {
                        vec![text(&watching.complaint("invalid_message", "messages are text"))]
                    }
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => Vec::new(),
                    Some(Ok(Frame::Close(_))) | None => return Err(Parting::Left),
                    Some(Err(error)) => return Err(misspoken(error)),
                }
            }
        };
    }
}

/// Why a client that says such a thing is not listened to any longer.
fn misspoken(error: axum::Error) -> Parting {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Parting::TooLong,
        Some(tungstenite::Error::Utf8(_)) => Parting::NotUtf8,
        Some(tungstenite::Error::Protocol(fault)) if *fault != ResetWithoutClosingHandshake => {
            Parting::Garbled
        }
        _ => Parting::Gone,
    }
}

async fn answer(watching: &mut Watching, watcher: &Watcher, said: &str) -> Vec<Frame> {
    let (mut named, subscribes) = match command::parse(watching.tenant, said) {
        Ok(Command::Ping) => return vec![text(&watching.pong())],
        Ok(Command::Pong) => return Vec::new(),
        Ok(Command::Subscribe(named)) => (named, true),
        Ok(Command::Unsubscribe(named)) => (named, false),
        Err(complaint) => {
            return vec![text(&watching.complaint("invalid_message", &complaint))];
        }
    };
    if look_up(watcher, &mut named).await.is_err() {
        let complaint = "the store is unavailable; nothing was changed";
        return vec![text(&watching.complaint("unavailable", complaint))];
    }
    let followed = match subscribes {
        true => watching.wanted.subscribe(&named),
        false => watching.wanted.unsubscribe(&named),
    };
    if followed {
        return Vec::new();
    }
    let complaint = "one connection may name 1000 calls; nothing was changed";
    vec![text(&watching.complaint("too_many_calls", complaint))]
}

fn text(message: &Message) -> Frame {
    Frame::Text(message.text().into())
}

/// Sends frames, each within the time that a client may take nothing.
async fn send(socket: &mut WebSocket, frames: Vec<Frame>, within: Duration) -> Result<(), Parting> {
    for frame in frames {
        match timeout(within, socket.send(frame)).await {
            Ok(Ok(())) => count_sent(),
            // The next read says so too.
            Ok(Err(_)) => return Err(Parting::Gone),
            Err(_) => return Err(Parting::Slow),
        }
    }
    Ok(())
}
