//! Where content comes from that the registry lacks, when it is a cache of another one.
//!
//! With an [`Origin`] in the [`Options`](super::Options), the endpoints ask it before they say that something is not
//! known, and nobody but it may change anything: pushes and deletions are UNSUPPORTED.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::errors::Failure;
use crate::oci::{Digest, Name, Reference};

/// What the endpoints ask of it. Its answers are about what the client may see already.
#[async_trait]
pub trait Origin: fmt::Debug + Send + Sync {
    /// Sees to it that the registry has the manifest, by tag the one that the tag names there now if that can be told.
    async fn manifest(&self, repo: &Name, reference: &Reference) -> Result<(), Failure>;

    /// The length in bytes of a blob that the registry lacks, where that is told. Fetches none of it.
    async fn blob_bytes(&self, repo: &Name, digest: &Digest) -> Result<Option<u64>, Failure>;

    /// Fetches a blob that the registry lacks; unless `is_streamed`, returns when it is stored.
    async fn blob(&self, repo: &Name, digest: &Digest, is_streamed: bool) -> Result<Fetched, Failure>;
}

/// A blob that was asked for.
#[derive(Debug)]
pub enum Fetched {
    /// The registry has it now.
    Stored,
    /// It is under way.
    Passing(Passing),
}

/// A blob that goes by: its last bytes come when all have been verified and stored, else it breaks off.
#[derive(Debug)]
pub struct Passing {
    pieces: mpsc::Receiver<Bytes>,
    left_bytes: Option<u64>,
    is_over: bool,
}

/// Why a blob broke off; the log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the blob could not be fetched to its end")]
pub struct Failed;

impl Passing {
    /// What comes out of `pieces`, of this length if that is known. An empty piece says that it is whole; if there is no
    /// such piece, it breaks off.
    pub fn new(pieces: mpsc::Receiver<Bytes>, len_bytes: Option<u64>) -> Self {
        Self { pieces, left_bytes: len_bytes, is_over: false }
    }

    /// Its length in bytes, if that is known.
    pub fn len_bytes(&self) -> Option<u64> {
        self.left_bytes
    }
}

impl From<Passing> for Body {
    fn from(passing: Passing) -> Self {
        Self::new(passing)
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        self.is_over = piece.as_ref().is_none_or(Bytes::is_empty);
        if let (Some(piece), Some(left)) = (&piece, &mut self.left_bytes) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(match piece {
            Some(piece) if piece.is_empty() => None,
            Some(piece) => Some(Ok(Frame::data(piece))),
            None => Some(Err(Failed)),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left_bytes.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
