//! Calls as they happen: over a WebSocket, as server-sent events, and tickets for browsers.

mod command;
mod message;
pub mod socket;
pub mod stream;
pub mod tickets;

use std::time::Duration;

use tokio::time::{Instant, Interval, interval_at};

use crate::app::App;
use crate::auth::Watcher;
use crate::domain::Error;
use crate::domain::ids::TenantId;
use crate::domain::live::{Named, Wanted};
use crate::problem::Params;
use crate::problem::Problem;
use crate::services::live::{End, Feed, Item};
use crate::services::sessions;

use message::Message;

/// A client that says nothing hears at least this often.
const PING_EVERY: Duration = Duration::from_secs(20);

/// What a client asks for when it connects.
struct Opening {
    after: Option<i64>,
    calls: Named,
    types: Named,
}

/// One connection's place in the feed, and what it wants of it.
struct Watching {
    app: App,
    tenant: TenantId,
    feed: Feed,
    wanted: Wanted,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    Slow,
    Stopping,
    Revoked,
    Away,
    /// Nobody is there to be told.
    Gone,
    /// It leaves by itself.
    Left,
    /// What it sent is longer than a message may be, is no UTF-8, or is no WebSocket at all.
    TooLong,
    NotUtf8,
    Garbled,
}

impl Opening {
    fn read(params: &mut Params, tenant: TenantId) -> Self {
        let after = params.parse("after", sequence_number);
        let list = |text: &str| Ok(text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let calls = params.parse("call_ids", list).unwrap_or_default();
        let types = params.parse("types", list).unwrap_or_default();
        let mut read = |name, named: Result<Named, String>| {
            named.unwrap_or_else(|message| {
                params.fault(name, message);
                Named::default()
            })
        };
        Self {
            after,
            calls: read("call_ids", command::named(tenant, &calls, &[])),
            types: read("types", command::named(tenant, &[], &types)),
        }
    }

    async fn wanted(mut self, watcher: &Watcher) -> Result<Wanted, Error> {
        look_up(watcher, &mut self.calls).await?;
        let mut wanted = Wanted::default();
        for named in [self.calls, self.types] {
            if named != Named::default() {
                wanted.subscribe(&named);
            }
        }
        Ok(wanted)
    }
}

/// Adds the sessions that names mean by now, as a path does.
async fn look_up(watcher: &Watcher, named: &mut Named) -> Result<(), Error> {
    let content = watcher.grant.content();
    for name in &named.names {
        let id = sessions::resolve(watcher.grant.scope(), content.as_ref(), name).await?;
        if !named.calls.contains(&id) {
            named.others.push(id);
        }
    }
    Ok(())
}

/// The number of an event, as it was told.
fn sequence_number(text: &str) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "must be the `seq` of a message".to_owned())
}

impl Watching {
    async fn open(app: App, watcher: &Watcher, opening: Opening) -> Result<Self, Problem> {
        let feed = app
            .live
            .watch(&watcher.grant, opening.after)
            .await
            .map_err(|error| {
                let is_full = matches!(error, Error::Throttled { .. });
                let problem = Problem::from(error);
                match is_full {
                    true => problem.with_detail("this tenant has too many live connections open"),
                    false => problem,
                }
            })?;
        // Looked up once it is listened: what comes meanwhile is not missed.
        Ok(Self {
            tenant: watcher.tenant(),
            feed,
            wanted: opening.wanted(watcher).await?,
            app,
        })
    }

    fn connected(&self) -> Message {
        Message::connected(
            self.feed.active(),
            self.feed.position(),
            self.app.clock.now(),
        )
    }

    fn ping(&self) -> Message {
        Message::ping(self.feed.position(), self.app.clock.now())
    }

    fn pong(&self) -> Message {
        Message::pong(self.feed.position(), self.app.clock.now())
    }

    fn complaint(&self, code: &'static str, text: &str) -> Message {
        Message::complaint(code, text, self.feed.position(), self.app.clock.now())
    }

    /// The next messages, perhaps none. May be given up and asked again.
    async fn next(&mut self) -> Result<Vec<Message>, Parting> {
        let items = self.feed.next().await.map_err(|end| match end {
            End::Slow => Parting::Slow,
            End::Stopping => Parting::Stopping,
            End::Away(error) => {
                tracing::warn!(%error, "a live connection ends: events could not be read");
                Parting::Away
            }
        })?;
        let (position, now) = (self.feed.position(), self.app.clock.now());
        for item in &items {
            if let Item::Event(event) = item {
                self.wanted.follow(event);
            }
        }
        let wanted = items.iter().filter(|item| match item {
            Item::Event(event) => self.wanted.has(event),
            Item::Count(_) => self.wanted.has_counts(),
            Item::Gap { .. } => true,
        });
        Ok(wanted
            .filter_map(|item| Message::item(item, position, now))
            .collect())
    }
}

/// Waits until the key ends, or the server.
async fn sent_away(app: &App, watcher: &Watcher) -> Parting {
    let stop = app.live.stopping();
    tokio::select! {
        () = stop.cancelled() => Parting::Stopping,
        () = app.keyring.ended(&watcher.grant, &app.clock) => Parting::Revoked,
    }
}

fn pings() -> Interval {
    interval_at(Instant::now() + PING_EVERY, PING_EVERY)
}

/// Counts messages that were sent.
fn count_sent() {
    metrics::counter!("voxray_live_messages_total").increment(1);
}

impl Parting {
    /// The close code of a WebSocket.
    fn close_code(self) -> Option<u16> {
        let code = match self {
            // Said by the client; the library answers.
            Self::Left => return None,
            Self::Stopping | Self::Gone => 1001,
            Self::Garbled => 1002,
            Self::NotUtf8 => 1007,
            Self::Revoked => 1008,
            Self::TooLong => 1009,
            Self::Slow | Self::Away => 1013,
        };
        Some(code)
    }

    /// What an `error` message calls it.
    fn code(self) -> &'static str {
        match self {
            Self::Slow => "too_slow",
            Self::Stopping => "server_stopping",
            Self::Revoked => "key_ended",
            Self::Away => "unavailable",
            Self::Gone => "gone",
            Self::Left => "left",
            Self::TooLong => "message_too_long",
            Self::NotUtf8 | Self::Garbled => "invalid_message",
        }
    }

    /// At most 123 bytes, what a close frame holds.
    fn reason(self) -> &'static str {
        match self {
            Self::Slow => "too slow: messages were not taken in time; reconnect with `after`",
            Self::Stopping => "the server is stopping; reconnect with `after`",
            Self::Revoked => "the API key was revoked, expired or lost a scope",
            Self::Away => "the store is unavailable; reconnect with `after`",
            Self::Gone => "no answer to pings",
            Self::Left => "the client left",
            Self::TooLong => "a message has at most 64 KiB",
            Self::NotUtf8 => "a message is UTF-8",
            Self::Garbled => "this is no WebSocket frame of a client",
        }
    }
}
