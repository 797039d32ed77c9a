//! A file's calls, read and decompressed on a thread of their own, with a progress bar over its bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::pieces::{Piece, Pieces};

/// Calls are handed over in chunks that end behind so many bytes, one of which may wait to be taken.
const CHUNK_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 64 << 10;

type Chunk = io::Result<Vec<Piece>>;

pub struct Reader {
    chunks: mpsc::Receiver<Chunk>,
    taken: VecDeque<Piece>,
    read: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Reader {
    /// A file, or `-` for standard input.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (sender, chunks) = mpsc::channel(1);
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
        // A thread that nothing waits for: reading a terminal ends when it pleases.
        thread::Builder::new().spawn(move || {
            if let Err(error) = decompressed(counted).and_then(|text| send(text, &sender)) {
                // Who asked may have gone.
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Self {
            chunks,
            taken: VecDeque::new(),
            read,
            bar: bar(length),
        })
    }

    /// The next call behind the first `done`; none at the end. May be dropped while it waits.
    pub async fn next(&mut self, done: u64) -> io::Result<Option<Piece>> {
        loop {
            match self.taken.pop_front() {
                Some(piece) if piece.number <= done => {}
                Some(piece) => return Ok(Some(piece)),
                None => match self.chunks.recv().await {
                    Some(chunk) => self.taken = chunk?.into(),
                    None => return Ok(None),
                },
            }
            self.bar.set_position(self.read.load(Ordering::Relaxed));
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
    let template = match length {
        Some(_) => "{bar:30} {bytes}/{total_bytes} {msg} {eta} left",
        None => "{spinner} {bytes} {msg}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Told by its first bytes, so that a name or a pipe need not say it.
fn decompressed(source: Counted) -> io::Result<Box<dyn BufRead>> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let start = source.fill_buf()?;
    let (is_gzip, is_zstd) = (
        start.starts_with(&[0x1f, 0x8b]),
        start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
    );
    Ok(if is_gzip {
        let text = flate2::bufread::MultiGzDecoder::new(source);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, text))
    } else if is_zstd {
        let text = zstd::Decoder::with_buffer(source)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, text))
    } else {
        Box::new(source)
    })
}

/// Ends with the text, or when nobody takes its chunks any more.
fn send(text: Box<dyn BufRead>, sender: &mpsc::Sender<Chunk>) -> io::Result<()> {
    let mut pieces = Pieces::of(text)?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    loop {
        let piece = match pieces.next() {
            Ok(piece) => piece,
            // What came before it still counts.
            Err(error) => {
                let _ = sender.blocking_send(Ok(chunk));
                return Err(error);
            }
        };
        let is_last = piece.is_none();
        if let Some(piece) = piece {
            bytes += piece.call.as_ref().map_or(0, Vec::len);
            chunk.push(piece);
        }
        if bytes >= CHUNK_BYTES || is_last {
            bytes = 0;
            let sent = sender.blocking_send(Ok(std::mem::take(&mut chunk)));
            if sent.is_err() || is_last {
                return Ok(());
            }
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
