//! Where the registry's work runs.
//!
//! On a real disk no file-system call waits: a registry call blocks its thread, so the whole of it runs on one of the
//! runtime's blocking threads, without a hop per call. What a registry call does wait for is its client (the next
//! piece of a body) and the locks of others. A call that waits longer than [`LINGER`] gives its thread back and goes
//! on upon another when there is something to do: slow clients hold no threads.
//!
//! In a simulation every file-system call waits for the scheduler, and threads would break the determinism: there
//! each call is a task on the simulation's one thread.
//!
//! In both, a call that has begun comes to its end even if its client is gone by then: what a broken connection
//! leaves of an upload is decided by the registry, never by where the call happened to stand.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::env::sync::hold;

/// How long a waiting call keeps its thread. Between the pieces of a fast client it never gives it back.
pub const LINGER: Duration = Duration::from_millis(20);

/// Where the registry's work runs. Either way inside a tokio runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    /// On blocking threads: for real disks.
    #[default]
    Blocking,
    /// On tasks: for simulations, where file-system calls wait.
    Task,
}

/// The call panicked: there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operation came to no end")]
pub struct Lost;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Run {
    /// Starts `call` at once, whether the answer is awaited or not, and gives its answer.
    pub fn call<T: Send + 'static>(self, call: impl Future<Output = T> + Send + 'static) -> Answered<T> {
        let (answer, answered) = oneshot::channel();
        match self {
            Self::Task => {
                tokio::spawn(async move { answer.send(call.await).ok() });
            }
            Self::Blocking => proceed(Box::pin(call), answer),
        }
        Answered(answered)
    }
}

/// The answer of a call that is under way; to drop it does not stop the call.
#[derive(Debug)]
pub struct Answered<T>(oneshot::Receiver<T>);

impl<T> Future for Answered<T> {
    type Output = Result<T, Lost>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Lost)
    }
}

/// Runs `call` on a blocking thread until it ends or waits for long; then again when it is woken.
#[expect(clippy::disallowed_methods, reason = "the one place that uses blocking threads, and only on a real disk")]
fn proceed<T: Send + 'static>(mut call: Boxed<T>, answer: oneshot::Sender<T>) {
    tokio::task::spawn_blocking(move || {
        let signal = Arc::new(Signal::default());
        match drive(&mut call, &signal) {
            Poll::Ready(value) => {
                answer.send(value).ok();
            }
            Poll::Pending => {
                tokio::spawn(async move {
                    signal.notify.notified().await;
                    proceed(call, answer);
                });
            }
        }
    });
}

/// Polls until the end, or until nothing has woken the call for [`LINGER`].
fn drive<T>(call: &mut Boxed<T>, signal: &Arc<Signal>) -> Poll<T> {
    let waker = Waker::from(Arc::clone(signal));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = call.as_mut().poll(&mut cx) {
            return Poll::Ready(value);
        }
        if !signal.wait() {
            return Poll::Pending;
        }
    }
}

/// A wake-up that a thread waits for, and after it a task.
#[derive(Default)]
struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
    notify: Notify,
}

impl Signal {
    /// Whether a wake-up came within [`LINGER`]; takes it.
    fn wait(&self) -> bool {
        let woken = hold(&self.woken);
        let waited = self.changed.wait_timeout_while(woken, LINGER, |woken| !*woken);
        let (mut woken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *woken)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *hold(&self.woken) = true;
        self.changed.notify_one();
        // Keeps at most one permit; should the thread have taken the wake-up, the task polls once for nothing.
        self.notify.notify_one();
    }
}
