//! `voxray import`: calls from files, through the same funnel as over HTTP.

mod lines;
mod progress;

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveTime, Utc};
use serde_json::{Value, json};

use crate::app::Clock;
use crate::cli::load::{Loader, Refused, Tally};
use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::samples::format;
use crate::services::sessions;
use crate::store::ingest::Writer;
use crate::store::{Scope, Store, rollups, tenants};

use lines::{Line, Reader};
use progress::Progress;

/// Bytes that may wait to be written.
const QUEUE_BYTES: usize = 32 << 20;
/// Refused lines that are told one by one; the rest is counted.
const TOLD_MAX: usize = 50;

/// Import calls from files: native calls or sample calls, one JSON object a line, plain, .gz or .zst
///
/// Bad lines are told with their numbers and skipped. Importing again changes nothing; an import that was
/// interrupted goes on behind the last line that was committed.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  voxray import --tenant acme calls.jsonl.gz\n\nExit codes: 0 everything imported, 1 some lines were refused (or nothing could be done)"
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
        refused => Err(Failure::new(format!("{refused} lines were refused"))),
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
    };
    for file in &arguments.files {
        let mark = progress.of(file, &scope);
        let done = if arguments.restart {
            0
        } else {
            mark.lines_done()
        };
        let whole = import.file(file, done, |lines| mark.set(lines)).await?;
        if !whole {
            return Err(Failure::new(format!(
                "stopped; run it again to go on with `{}`",
                file.display()
            )));
        }
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
}

impl Import<'_> {
    /// Imports a file behind its first `done` lines; `keep` is told how many lines are committed. Answers
    /// whether it came to its end.
    async fn file(&mut self, path: &Path, done: u64, keep: impl Fn(u64)) -> Result<bool, Failure> {
        let mut reader = Reader::open(path)
            .map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))?;
        let stop = tokio::signal::ctrl_c();
        tokio::pin!(stop);
        while let Some(line) = reader.next(done).await {
            let Line { number, bytes } =
                line.map_err(|error| Failure::new(format!("`{}`: {error}", path.display())))?;
            let full = match self.native(bytes).await {
                Ok(call) => self.loader.push((0, number), &call),
                Err(reason) => {
                    self.loader.tally.rejected += 1;
                    self.tell(
                        path,
                        &reader,
                        &Refused {
                            origin: (0, number),
                            reasons: reason,
                        },
                    );
                    false
                }
            };
            if full {
                self.commit(path, &reader).await?;
                keep(number);
                reader.told(self.loader.tally.accepted + self.loader.tally.duplicates);
                if futures_util::poll!(&mut stop).is_ready() {
                    return Ok(false);
                }
            }
        }
        self.commit(path, &reader).await?;
        Ok(true)
    }

    async fn commit(&mut self, path: &Path, reader: &Reader) -> Result<(), Failure> {
        for refused in self.loader.flush().await? {
            self.tell(path, reader, &refused);
        }
        Ok(())
    }

    fn tell(&mut self, path: &Path, reader: &Reader, refused: &Refused) {
        self.told += 1;
        match self.told {
            ..=TOLD_MAX => reader.say(&format!(
                "{}:{}: {}",
                path.display(),
                refused.origin.1,
                refused.reasons
            )),
            n if n == TOLD_MAX + 1 => {
                reader.say("more lines were refused; they are counted, not told")
            }
            _ => {}
        }
    }

    /// A line as a native call: as it is, or from the sample format.
    async fn native(&self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let line: Value = match serde_json::from_slice(&bytes) {
            Ok(line) if format::is_sample_call(&line) => line,
            // Told by the door, with its place.
            _ => return Ok(bytes),
        };
        let start = match (format::stated_start(&line), format::call_id(&line)) {
            (Some(start), _) => start,
            (None, Some(call_id)) => match self.known_start(call_id).await {
                Some(start) => start,
                None => format::placed_start(call_id, self.base),
            },
            (None, None) => self.base,
        };
        Ok(format::to_native(&line, start)?.to_string().into_bytes())
    }

    /// A call that was placed once stays where it is.
    async fn known_start(&self, call_id: &str) -> Option<DateTime<Utc>> {
        let record = sessions::by_reference(self.scope, None, call_id)
            .await
            .ok()?;
        Some(record.session.started_at)
    }
}
