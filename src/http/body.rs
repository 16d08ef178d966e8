//! Bodies, both ways, with bounded memory.
//!
//! What comes in is handed to the registry frame by frame as the connection delivers it; the connection reads on only
//! when a frame was taken. What goes out is read ahead by [`BATCH_PIECES`] pieces at a time, one batch while the
//! other is being sent: a pull costs at most twice that in memory, and a blob of one batch costs one call.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::run::{Lost, Run};
use crate::fs::FileExt;
use crate::registry::{self, BlobReader, Error};

/// How many pieces of [`IO_CHUNK_BYTES`](crate::env::limits::IO_CHUNK_BYTES) are read in one call.
const BATCH_PIECES: usize = 2;
/// Most of an unwanted body that is read for the sake of the client, which may not look at the answer before it has
/// sent everything.
const MAX_DRAINED_BYTES: usize = 1 << 20;

/// A request body as the registry reads it.
pub struct Incoming {
    body: Body,
    /// How many bytes are still to come, where the request said so in a Content-Range.
    left_bytes: Option<u64>,
    /// Nothing more is to be read: the end was seen, or the client sends nothing before it is told to go on, and it
    /// was not told.
    is_over: bool,
}

impl Incoming {
    /// The body of a request; with `len_bytes`, it must have exactly so many.
    pub fn new(headers: &HeaderMap, body: Body, len_bytes: Option<u64>) -> Self {
        Self { body, left_bytes: len_bytes, is_over: headers.contains_key(EXPECT) }
    }

    /// Reads on to the end, if that is near.
    pub async fn drain(mut self) {
        let mut drained_bytes = 0;
        if self.is_over {
            return;
        }
        while let Some(Ok(frame)) = self.body.frame().await {
            drained_bytes += frame.data_ref().map_or(0, Bytes::len);
            if drained_bytes > MAX_DRAINED_BYTES {
                return;
            }
        }
    }
}

#[async_trait]
impl registry::Body for Incoming {
    async fn next(&mut self) -> registry::Result<Option<Bytes>> {
        self.is_over = false;
        loop {
            let Some(frame) = self.body.frame().await else {
                self.is_over = true;
                return match self.left_bytes {
                    Some(left) if left > 0 => {
                        Err(Error::Body(format!("{left} bytes of its Content-Range are missing")))
                    }
                    _ => Ok(None),
                };
            };
            let frame = frame.map_err(|_| Error::Body("the connection was lost".to_owned()))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            if let Some(left) = &mut self.left_bytes {
                let rest = left.checked_sub(data.len() as u64);
                *left = rest.ok_or_else(|| Error::Body("it is longer than its Content-Range".to_owned()))?;
            }
            return Ok(Some(data));
        }
    }

    fn declared_bytes(&self) -> Option<u64> {
        http_body::Body::size_hint(&self.body).exact()
    }
}

/// A whole body of at most `limit_bytes`; `Ok(None)` where it is longer.
pub async fn read_all(mut body: Incoming, limit_bytes: u64) -> registry::Result<Option<Bytes>> {
    let mut all = BytesMut::new();
    while let Some(piece) = registry::Body::next(&mut body).await? {
        if (all.len() + piece.len()) as u64 > limit_bytes {
            body.drain().await;
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all.freeze()))
}

/// Pieces that were read in one call, and how to go on.
pub struct Batch<H> {
    pieces: VecDeque<Bytes>,
    /// The reader, where it is not at its end and has not failed.
    next: Option<BlobReader<H>>,
    failed: Option<Error>,
}

impl<H: FileExt> Batch<H> {
    /// Reads the next pieces.
    pub async fn read(mut reader: BlobReader<H>) -> Self {
        let mut batch = Self { pieces: VecDeque::new(), next: None, failed: None };
        while batch.pieces.len() < BATCH_PIECES {
            match reader.next().await {
                Ok(Some(piece)) => batch.pieces.push_back(piece),
                Ok(None) => return batch,
                Err(error) => {
                    batch.failed = Some(error);
                    return batch;
                }
            }
        }
        batch.next = (reader.remaining_bytes() > 0).then_some(reader);
        batch
    }
}

/// Why a response body breaks off.
#[derive(Debug, thiserror::Error)]
pub enum BrokenOff {
    /// What is stored cannot be sent.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The call that was to read it is gone.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// The rest of a blob as a response body. It breaks off, so that the client sees an incomplete response, where the
/// blob cannot be read or ends early.
pub struct Outgoing<H> {
    run: Run,
    batch: Batch<H>,
    reading: Option<Reading<H>>,
    left_bytes: u64,
}

type Reading<H> = Pin<Box<dyn Future<Output = Result<Batch<H>, Lost>> + Send>>;

impl<H: FileExt> Outgoing<H> {
    /// A body of `len_bytes`, of which `batch` is the beginning.
    pub fn new(run: Run, batch: Batch<H>, len_bytes: u64) -> Self {
        Self { run, batch, reading: None, left_bytes: len_bytes }
    }
}

// Nothing in it is pinned in place.
impl<H> Unpin for Outgoing<H> {}

impl<H: FileExt> http_body::Body for Outgoing<H> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        loop {
            if let Some(reader) = this.batch.next.take() {
                this.reading = Some(Box::pin(this.run.call(Batch::read(reader))));
            }
            if let Some(piece) = this.batch.pieces.pop_front() {
                this.left_bytes -= piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if let Some(error) = this.batch.failed.take() {
                tracing::error!(%error, "a blob breaks off while it is sent");
                return Poll::Ready(Some(Err(error.into())));
            }
            let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
            let read = ready!(reading.as_mut().poll(cx));
            this.reading = None;
            this.batch = read?;
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
