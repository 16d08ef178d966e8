//! What the world supplies: choices, time, limits, and locks that a scheduler can see.
//!
//! Nothing else in the crate may ask the machine for randomness or for the time.

pub mod choice;
pub mod clock;
pub mod limits;
pub mod sync;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use choice::Seeded;
use clock::{Clock, SimClock, SystemClock, UnixSeconds};

/// Time and fresh identifiers for one registry. Clones share both.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    ids: Arc<Mutex<Seeded>>,
}

impl World {
    /// A world on `clock` whose identifiers come from the stream `ids` of `seed`.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, ids: Arc::new(Mutex::new(Seeded::stream(seed, "ids"))) }
    }

    /// A world in which time stands still at [`clock::SIM_EPOCH`].
    pub fn simulated(seed: u64) -> Self {
        Self::new(Arc::new(SimClock::default()), seed)
    }

    /// The world outside: the machine's clock, identifiers that nobody can guess.
    ///
    /// Errors: the machine has no entropy to give.
    pub fn real() -> Result<Self, getrandom::Error> {
        Ok(Self { clock: Arc::new(SystemClock), ids: Arc::new(Mutex::new(Seeded::unforeseeable()?)) })
    }

    /// Now.
    pub fn now(&self) -> UnixSeconds {
        self.clock.now()
    }

    /// A fresh identifier in the form of a version-4 UUID.
    pub fn fresh_id(&self) -> String {
        let mut b = [0; 16];
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let h = hex::encode(b);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
    }
}

/// Drives a future that never waits to its end, without a runtime: futures over a real directory, or over the
/// simulated disk outside a simulation, are of this kind.
///
/// # Panics
/// If the future waits: only a lock held by another task can make it, and here there is no other task.
pub fn run_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a future that was to run without waiting waits for another task"),
    }
}
