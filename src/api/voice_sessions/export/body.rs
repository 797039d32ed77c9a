//! The body of an export, or of a large page: read batch by batch as the client takes it.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc::{self, Sender};
use tracing::Instrument;

use crate::domain::record::Record;
use crate::domain::{Error, Result};
use crate::services::export::Export;

/// A client that takes nothing for so long has gone, whatever its connection says.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How sessions are written one after the other.
pub trait Layout: Send + 'static {
    /// What comes before the first session.
    fn head(&mut self) -> Result<Vec<u8>>;

    fn lines(&mut self, records: Vec<Record>) -> Result<Vec<u8>>;

    /// What comes behind the last one.
    fn tail(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// Why a body ends before everything was told.
enum End {
    /// The client hung up, or takes nothing any more.
    Left,
    Trouble(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Trouble(error)
    }
}

/// A body that ends cleanly only if everything was told: any trouble in between breaks the connection off,
/// so that nobody takes a part for the whole.
///
/// `guard` is kept until the end.
pub fn stream(
    first: Option<Vec<Record>>,
    export: Export,
    layout: impl Layout,
    guard: impl Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let work = async move {
        let _guard = guard;
        match run(first, export, layout, &sender).await {
            Ok(()) => {}
            Err(End::Left) => tracing::debug!("nobody takes an export any more"),
            Err(End::Trouble(error)) => tracing::warn!(%error, "an export broke off"),
        }
    };
    tokio::spawn(work.in_current_span());
    Body::from_stream(stream::try_unfold(
        receiver,
        async |mut receiver| match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(Some((bytes, receiver))),
            Some(Piece::End) => Ok(None),
            None => Err(io::Error::other("the export broke off")),
        },
    ))
}

async fn run(
    first: Option<Vec<Record>>,
    mut export: Export,
    mut layout: impl Layout,
    sender: &Sender<Piece>,
) -> Result<(), End> {
    send(sender, Piece::Bytes(layout.head()?.into())).await?;
    let mut next = first;
    while let Some(records) = next {
        let lines = layout.lines(records)?;
        send(sender, Piece::Bytes(lines.into())).await?;
        next = export.next().await?;
    }
    send(sender, Piece::Bytes(layout.tail()?.into())).await?;
    send(sender, Piece::End).await
}

/// Waits for the client to have taken what was sent before.
async fn send(sender: &Sender<Piece>, piece: Piece) -> Result<(), End> {
    match piece {
        Piece::Bytes(bytes) if bytes.is_empty() => Ok(()),
        piece => sender
            .send_timeout(piece, STALL_MAX)
            .await
            .map_err(|_| End::Left),
    }
}
