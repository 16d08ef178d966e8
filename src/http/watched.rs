//! Bodies that are counted on their way, and tell when they are over: sent to the end, or given up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What became of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Bytes that went by.
    pub bytes: u64,
    /// Whether that is all there was.
    pub is_whole: bool,
}

/// A body and what to do when it is over.
struct Watched<F: FnOnce(Ended)> {
    body: Body,
    bytes: u64,
    count: Option<Arc<AtomicU64>>,
    on_end: Option<F>,
}

/// Counts the bytes of a body as they go by.
pub fn count(body: Body, count: Arc<AtomicU64>) -> Body {
    Body::new(Watched { body, bytes: 0, count: Some(count), on_end: None::<fn(Ended)> })
}

/// Calls `on_end` once, when the body is over.
pub fn on_end(body: Body, on_end: impl FnOnce(Ended) + Send + Unpin + 'static) -> Body {
    Body::new(Watched { body, bytes: 0, count: None, on_end: Some(on_end) })
}

impl<F: FnOnce(Ended) + Unpin> HttpBody for Watched<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.bytes += len;
                if let Some(count) = &self.count {
                    count.fetch_add(len, Ordering::Relaxed);
                }
            }
            Some(Err(_)) => self.end(false),
            None => self.end(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnOnce(Ended)> Watched<F> {
    fn end(&mut self, is_whole: bool) {
        if let Some(on_end) = self.on_end.take() {
            on_end(Ended { bytes: self.bytes, is_whole });
        }
    }
}

impl<F: FnOnce(Ended)> Drop for Watched<F> {
    fn drop(&mut self) {
        // A server that knows the length does not ask for the end after the last byte.
        let is_whole = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
        self.end(is_whole);
    }
}
