//! Lines of a file, decompressed on a thread of their own, with a progress bar over the file's bytes.

use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

/// Lines that may wait to be taken.
const AHEAD: usize = 256;
/// A line longer than this is no call: a call has at most 10 MiB.
const LINE_MAX_BYTES: u64 = 16 << 20;

pub struct Line {
    /// Counting from 1.
    pub number: u64,
    pub bytes: Vec<u8>,
}

pub struct Reader {
    lines: mpsc::Receiver<io::Result<Line>>,
    read: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Reader {
    pub fn open(path: &Path) -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        let (source, length) = if path == Path::new("-") {
            (Box::new(io::stdin()) as Box<dyn Read + Send>, None)
        } else {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            (Box::new(file) as Box<dyn Read + Send>, Some(length))
        };
        let counted = Counted {
            inner: source,
            read: read.clone(),
        };
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default()
            .to_owned();
        tokio::task::spawn_blocking(move || match decompressed(counted, &ending) {
            Ok(text) => send_lines(text, &sender),
            // Nobody listens any more: nothing is left to do.
            Err(error) => drop(sender.blocking_send(Err(error))),
        });
        Ok(Self {
            lines,
            read,
            bar: bar(length),
        })
    }

    /// The next line that is not empty, behind the first `done`.
    pub async fn next(&mut self, done: u64) -> Option<io::Result<Line>> {
        loop {
            let line = self.lines.recv().await?;
            self.bar.set_position(self.read.load(Ordering::Relaxed));
            match line {
                Ok(line) if line.number <= done || line.bytes.trim_ascii().is_empty() => {}
                line => return Some(line),
            }
        }
    }

    /// How many calls are in by now.
    pub fn told(&self, calls: usize) {
        let seconds = self.bar.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 {
            calls as f64 / seconds
        } else {
            0.0
        };
        self.bar.set_message(format!("{calls} calls, {rate:.0}/s"));
    }

    /// Says something on standard error, beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    // Hidden by itself where standard error is no terminal.
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg} {eta} left");
    style
        .map(|style| bar.clone().with_style(style))
        .unwrap_or(bar)
}

fn decompressed(source: Counted, ending: &str) -> io::Result<Box<dyn BufRead>> {
    Ok(match ending {
        "gz" => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(source))),
        "zst" => Box::new(BufReader::new(zstd::Decoder::new(source)?)),
        _ => Box::new(BufReader::new(source)),
    })
}

fn send_lines(mut text: Box<dyn BufRead>, sender: &mpsc::Sender<io::Result<Line>>) {
    for number in 1.. {
        let mut bytes = Vec::new();
        let read = text
            .by_ref()
            .take(LINE_MAX_BYTES)
            .read_until(b'\n', &mut bytes);
        let line = match read {
            Ok(0) => return,
            Ok(read) if read as u64 == LINE_MAX_BYTES => Err(io::Error::other(format!(
                "line {number} is longer than {LINE_MAX_BYTES} bytes"
            ))),
            Ok(_) => Ok(Line { number, bytes }),
            Err(error) => Err(error),
        };
        let is_last = line.is_err();
        if sender.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

/// Counts the bytes that are read, as they lie in the file.
struct Counted {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
