//! A connection that does not wait for ever: for the rest of a header, for the next request, for a client to take
//! what is sent to it.
//!
//! hyper sees bytes, not clients. So the service counts requests ([`Activity`]), and the transport underneath uses the
//! count to know what a read that gets nothing is waiting for. While a request is answered, reads may take any time;
//! the request's body has a timeout of its own ([`super::body`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::limits::Limits;
use crate::env::sync::hold;

/// What the requests of one connection are doing.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    is_http2: AtomicBool,
    /// The task that reads: from the end of the last request on, it waits for less.
    reader: Mutex<Option<Waker>>,
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Ongoing(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> Ongoing {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.is_http2.store(version == http::Version::HTTP_2, Ordering::Relaxed);
        Ongoing(Arc::clone(self))
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
        if let Some(reader) = hold(&self.0.reader).take() {
            reader.wake();
        }
    }
}

/// What a read is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing that has a limit.
    Freely,
    ForRequest,
    ForHeader,
}

/// A transport with timeouts.
#[derive(Debug)]
pub(super) struct Timed<I> {
    io: I,
    activity: Arc<Activity>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    waiting: Waiting,
    /// How many requests had begun when `waiting` was set.
    begun: u64,
    read_deadline: Pin<Box<Sleep>>,
    /// Whether a write waits for the client.
    is_stalled: bool,
    write_deadline: Pin<Box<Sleep>>,
}

impl<I> Timed<I> {
    /// The first header is due from now on.
    pub(super) fn new(io: I, activity: Arc<Activity>, limits: &Limits) -> Self {
        Self {
            io,
            activity,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.body_timeout,
            waiting: Waiting::ForHeader,
            begun: 0,
            read_deadline: Box::pin(tokio::time::sleep(limits.header_timeout)),
            is_stalled: false,
            write_deadline: Box::pin(tokio::time::sleep(limits.body_timeout)),
        }
    }

    fn wait(&mut self, waiting: Waiting, timeout: Duration) {
        self.waiting = waiting;
        self.read_deadline.as_mut().reset(Instant::now() + timeout);
    }

    /// Whether the read that got `bytes` now, or nothing yet, has taken too long.
    fn is_late(&mut self, cx: &mut Context<'_>, bytes: Option<usize>) -> bool {
        // Before the counts are read: a request that ends right after that wakes this task.
        *hold(&self.activity.reader) = Some(cx.waker().clone());
        let begun = self.activity.begun.load(Ordering::Relaxed);
        let is_busy = begun > self.activity.ended.load(Ordering::Relaxed);
        if is_busy || begun != self.begun {
            self.begun = begun;
            self.waiting = Waiting::Freely;
        }
        match bytes {
            _ if is_busy => {}
            // HTTP/2 has frames that belong to no request: they are signs of life.
            Some(_) if self.activity.is_http2.load(Ordering::Relaxed) => self.waiting = Waiting::Freely,
            Some(_) if self.waiting != Waiting::ForHeader => self.wait(Waiting::ForHeader, self.header_timeout),
            None if self.waiting == Waiting::Freely => self.wait(Waiting::ForRequest, self.idle_timeout),
            _ => {}
        }
        self.waiting != Waiting::Freely && self.read_deadline.as_mut().poll(cx).is_ready()
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.is_stalled = false;
            return done;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.write_deadline.as_mut().reset(Instant::now() + self.write_timeout);
        }
        match self.write_deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(late("the client does not take the response"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<I: AsyncRead + Unpin> AsyncRead for Timed<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.io).poll_read(cx, buf);
        let bytes = match &done {
            Poll::Ready(Ok(())) => Some(buf.filled().len() - before),
            Poll::Ready(Err(_)) => return done,
            Poll::Pending => None,
        };
        // Nothing is the end, and hyper's affair.
        if bytes != Some(0) && self.is_late(cx, bytes) {
            return Poll::Ready(Err(late("the client takes too long to send a request")));
        }
        done
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Timed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch_write(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch_write(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_flush(cx);
        self.watch_write(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch_write(cx, done)
    }
}
