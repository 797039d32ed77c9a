//! Request bodies: decompressed while they arrive, counted before they are kept, at most as large as
//! the limit.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Kind, Problem};
use crate::domain::Error;

/// Largest body, decompressed, in bytes. The layers put it into every request.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// Says that a request came with a larger body than its path takes. Whoever wants the body refuses it: who asks, and
/// for what, comes first.
#[derive(Clone, Copy, Debug)]
pub struct Oversized {
    pub limit: usize,
}

/// A whole body, decompressed.
pub struct Payload(pub Bytes);

/// A body that has not been read yet.
pub struct Upload {
    body: Body,
    coding: Coding,
    declared: Option<usize>,
    limit: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Identity,
    Gzip,
    Zlib,
    Zstd,
}

const CHUNK: usize = 64 * 1024;
/// A frame may ask its reader to keep so many bytes in memory: 2^23, as the format recommends.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if let Some(Oversized { limit }) = request.extensions().get() {
            let detail = format!("the body is larger than {limit} bytes");
            return Err(Problem::new(&Kind::TOO_LARGE, detail));
        }
        let limit = request.extensions().get::<BodyLimit>();
        let limit = limit.map_or(0, |limit| limit.0);
        let coding = coding(request.headers())?;
        let declared = request.headers().get(CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(Self {
            coding,
            declared: declared.filter(|_| coding == Coding::Identity),
            limit,
            body: request.into_body(),
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let upload = Upload::from_request(request, state).await?;
        upload.read(|_| Ok(())).await.map(Self)
    }
}

impl Upload {
    /// As it arrives, decompressed and not counted: whoever takes it bounds it.
    pub fn into_stream(self) -> Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> {
        let chunks = self.body.into_data_stream();
        match self.coding {
            Coding::Identity => Box::pin(chunks.map_err(io::Error::other)),
            packed => Box::pin(ReaderStream::new(decoder(packed, chunks))),
        }
    }

    /// Reads it all. `count` is told of bytes before they are kept, and may refuse them.
    pub async fn read(
        self,
        mut count: impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<Bytes, Problem> {
        let mut held = Held {
            bytes: Vec::new(),
            counted: 0,
            limit: self.limit,
        };
        let mut chunks = self.body.into_data_stream();
        if self.coding == Coding::Identity {
            held.fill(&mut chunks, self.declared, &mut count).await?;
            return Ok(held.bytes.into());
        }
        let mut plain = decoder(self.coding, chunks);
        let mut chunk = vec![0; CHUNK];
        loop {
            match plain.read(&mut chunk).await.map_err(|_| broken())? {
                0 => return Ok(held.bytes.into()),
                read => held.keep(&chunk[..read], &mut count)?,
            }
        }
    }
}

struct Held {
    bytes: Vec<u8>,
    counted: usize,
    limit: usize,
}

impl Held {
    async fn fill(
        &mut self,
        chunks: &mut BodyDataStream,
        declared: Option<usize>,
        count: &mut impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<(), Problem> {
        if let Some(declared) = declared {
            self.count(declared, count)?;
            self.bytes.reserve_exact(declared);
        }
        while let Some(chunk) = chunks.next().await {
            self.keep(&chunk.map_err(|_| broken())?, count)?;
        }
        Ok(())
    }

    fn keep(
        &mut self,
        chunk: &[u8],
        count: &mut impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<(), Problem> {
        let uncounted = (self.bytes.len() + chunk.len()).saturating_sub(self.counted);
        if uncounted > 0 {
            self.count(uncounted, count)?;
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn count(
        &mut self,
        more: usize,
        count: &mut impl FnMut(usize) -> Result<(), Error>,
    ) -> Result<(), Problem> {
        if self.counted.saturating_add(more) > self.limit {
            return Err(Problem::new(
                &Kind::TOO_LARGE,
                format!(
                    "the body, decompressed, is larger than {} bytes",
                    self.limit
                ),
            ));
        }
        count(more)?;
        self.counted += more;
        Ok(())
    }
}

/// What a body is packed in (RFC 9110: names in any case; `x-gzip` is `gzip`, and `deflate` the format of zlib, whose
/// name relays of OpenTelemetry have for it too).
fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut found = Coding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = value.to_str().unwrap_or("?").to_ascii_lowercase();
        for name in text.split(',').map(str::trim) {
            let next = match name {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" | "zlib" => Coding::Zlib,
                "zstd" => Coding::Zstd,
                _ => return Err(unknown_coding()),
            };
            if found != Coding::Identity {
                return Err(unknown_coding());
            }
            found = next;
        }
    }
    Ok(found)
}

fn unknown_coding() -> Problem {
    Problem::new(
        &Kind::UNSUPPORTED_MEDIA_TYPE,
        "`Content-Encoding` must be `gzip`, `zstd`, `deflate` or absent, and given once",
    )
}

fn decoder(coding: Coding, chunks: BodyDataStream) -> Pin<Box<dyn AsyncRead + Send>> {
    let packed = StreamReader::new(chunks.map_err(io::Error::other));
    // A body may be several packed files, one behind the other.
    match coding {
        Coding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(packed, &[window]);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        Coding::Zlib => {
            let mut decoder = ZlibDecoder::new(packed);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
        Coding::Gzip | Coding::Identity => {
            let mut decoder = GzipDecoder::new(packed);
            decoder.multiple_members(true);
            Box::pin(decoder)
        }
    }
}

fn broken() -> Problem {
    Problem::new(
        &Kind::INVALID_REQUEST,
        "the body broke off or does not decompress",
    )
}
