//! `voxray import`: calls from files, through the same funnel as over HTTP.

mod pieces;
mod progress;
mod reader;

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveTime, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::Clock;
use crate::cli::load::{Loader, Tally, Told};
use crate::cli::{Failure, open, print, serve};
use crate::config::StoreSettings;
use crate::domain::Error;
use crate::samples::format;
use crate::services::sessions;
use crate::store::ingest::Writer;
use crate::store::{Scope, Store, rollups, tenants};

use pieces::Piece;
use progress::{Done, Mark, Progress};
use reader::Reader;

/// Bytes that may wait to be written.
const QUEUE_BYTES: usize = 32 << 20;
/// Refused calls that are told one by one; the rest is counted.
const TOLD_MAX: usize = 50;

/// Import calls from files: native calls or sample calls, one a line or in a JSON list, plain, gzip or zstd
///
/// Bad calls are told with their lines and skipped. Importing again changes nothing; an import that was
/// interrupted goes on behind the last call that was committed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  voxray import --tenant acme calls.jsonl.gz\n\nExit codes: 0 everything imported, 1 some calls were refused, or the import could not be ended"
)]
pub struct Arguments {
    /// Files to import; `-` reads standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The tenant's name or id
    #[arg(long)]
    tenant: String,
    /// Sample calls without a start of their own are placed in the 24 hours before this RFC 3339 time
    /// [default: midnight UTC of today]
    #[arg(long, value_parser = time)]
    base: Option<DateTime<Utc>>,
    /// Start over, even if an earlier import of a file was interrupted
    #[arg(long)]
    restart: bool,
    /// Print JSON: `{"accepted", "duplicates", "rejected"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc())
        .map_err(|_| "expected an RFC 3339 time such as `2026-01-17T00:00:00Z`".to_owned())
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let progress = Progress::folder(&arguments.settings.load()?.data_dir);
    let tally = open::with_store(&arguments.settings, async |store| {
        import(store, &arguments, &progress).await
    })
    .await?;
    if arguments.json {
        print::json(
            &json!({"accepted": tally.accepted, "duplicates": tally.duplicates, "rejected": tally.rejected}),
        )?;
    } else {
        print::line(&format!(
            "{} imported, {} known already, {} refused",
            tally.accepted, tally.duplicates, tally.rejected
        ))?;
    }
    match tally.rejected {
        0 => Ok(()),
        1 => Err(Failure::new("1 call was refused")),
        refused => Err(Failure::new(format!("{refused} calls were refused"))),
    }
}

async fn import(
    store: &Store,
    arguments: &Arguments,
    progress: &Progress,
) -> Result<Tally, Failure> {
    let now = Clock::system().now();
    let tenant = tenants::find(store, &arguments.tenant).await?;
    let scope = Scope::for_operator(store, tenant.id);
    let writer = Writer::start(store, QUEUE_BYTES);
    let base = arguments
        .base
        .unwrap_or_else(|| now.date_naive().and_time(NaiveTime::MIN).and_utc());
    let mut import = Import {
        loader: Loader::new(&writer, &scope, now),
        scope: &scope,
        base,
        told: 0,
        stop: serve::stop_on_signal()?,
    };
    for path in &arguments.files {
        let mark = progress.of(path, &scope);
        if arguments.restart {
            mark.clear();
        }
        import.file(path, &mark).await?;
        mark.clear();
    }
    // A running server does this by itself.
    rollups::drain(store, now).await?;
    Ok(import.loader.tally)
}

struct Import<'a> {
    loader: Loader<'a>,
    scope: &'a Scope,
    base: DateTime<Utc>,
    told: usize,
    stop: CancellationToken,
}

impl Import<'_> {
    /// Imports what is left of a file.
    async fn file(&mut self, path: &Path, mark: &Mark) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(format!("`{}`: {error}", path.display()));
        let mut reader = Reader::open(path).map_err(failed)?;
        let before = mark.done();
        if before.calls > 0 {
            let (path, Done { calls, refused }) = (path.display(), before);
            reader.say(&format!(
                "{path}: {calls} calls are done, {refused} of these refused: going on behind them"
            ));
        }
        let of_others = self.loader.tally.rejected;
        self.loader.tally.rejected += before.refused;
        let mut calls = before.calls;
        let read = loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => Ok(None),
                next = reader.next(before.calls) => next,
            };
            let Ok(Some(piece)) = next else { break next };
            calls = piece.number;
            if self.take(path, &reader, piece).await? {
                self.commit(path, &reader).await?;
                let refused = self.loader.tally.rejected - of_others;
                mark.set(Done { calls, refused });
            }
        };
        // What came before the part of a file that cannot be read counts.
        self.commit(path, &reader).await?;
        let refused = self.loader.tally.rejected - of_others;
        self.warn(path, &reader);
        if read.is_err() || self.stop.is_cancelled() {
            mark.set(Done { calls, refused });
        }
        read.map_err(failed)?;
        if self.stop.is_cancelled() {
            return Err(Failure::new(go_on("stopped", path)));
        }
        Ok(())
    }

    /// Answers whether a batch is full.
    async fn take(&mut self, path: &Path, reader: &Reader, piece: Piece) -> Result<bool, Failure> {
        let origin = (0, piece.line);
        let native = match piece.call {
            Ok(call) => self
                .native(call)
                .await
                .map_err(|error| Failure::new(go_on(&error.to_string(), path)))?,
            Err(reason) => Err(reason),
        };
        match native {
            Ok(call) => Ok(self.loader.push(origin, &call)),
            Err(reasons) => {
                self.loader.tally.rejected += 1;
                self.tell(path, reader, &Told { origin, reasons });
                Ok(false)
            }
        }
    }

    async fn commit(&mut self, path: &Path, reader: &Reader) -> Result<(), Failure> {
        let refused = self.loader.flush().await;
        let refused = refused.map_err(|error| Failure::new(go_on(&error.to_string(), path)))?;
        for refused in refused {
            self.tell(path, reader, &refused);
        }
        reader.told(self.loader.tally.accepted + self.loader.tally.duplicates);
        Ok(())
    }

    fn tell(&mut self, path: &Path, reader: &Reader, refused: &Told) {
        self.told += 1;
        match self.told {
            ..=TOLD_MAX => reader.say(&at(path, refused)),
            n if n == TOLD_MAX + 1 => {
                reader.say("more calls were refused; they are counted, not told")
            }
            _ => {}
        }
    }

    fn warn(&mut self, path: &Path, reader: &Reader) {
        let warnings = std::mem::take(&mut self.loader.warnings);
        let unknown = std::mem::take(&mut self.loader.tally.unknown);
        for warning in &warnings {
            reader.say(&at(path, warning));
        }
        let more = unknown - warnings.len();
        if more > 0 {
            reader.say(&format!(
                "{}: {more} more parts of calls are not known",
                path.display()
            ));
        }
    }

    /// A call as a native one: as it is, or from the sample format. Else what is wrong with it.
    async fn native(&self, raw: Vec<u8>) -> Result<Result<Vec<u8>, String>, Error> {
        let line: Value = match serde_json::from_slice(&raw) {
            Ok(line) if format::is_sample_call(&line) => line,
            // Told by the door, with its place.
            _ => return Ok(Ok(raw)),
        };
        let start = match (format::stated_start(&line), format::call_id(&line)) {
            (Err(fault), _) => return Ok(Err(fault)),
            (Ok(Some(start)), _) => start,
            (Ok(None), Some(call_id)) => self
                .known_start(call_id)
                .await?
                .unwrap_or_else(|| format::placed_start(call_id, self.base)),
            (Ok(None), None) => self.base,
        };
        Ok(format::to_native(&line, start).map(|call| call.to_string().into_bytes()))
    }

    /// A call that was placed once stays where it is.
    async fn known_start(&self, call_id: &str) -> Result<Option<DateTime<Utc>>, Error> {
        match sessions::by_reference(self.scope, None, call_id).await {
            Ok(record) => Ok(Some(record.session.started_at)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn at(path: &Path, told: &Told) -> String {
    format!("{}:{}: {}", path.display(), told.origin.1, told.reasons)
}

fn go_on(what: &str, path: &Path) -> String {
    format!("{what}; run it again to go on with `{}`", path.display())
}
