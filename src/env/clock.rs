//! Time that matters for days: upload ages, collection delays, cache lifetimes.
//!
//! The simulated clock moves only when a schedule step moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// The start of simulated time: 2020-01-01T00:00:00Z.
pub const SIM_EPOCH: UnixSeconds = UnixSeconds(1_577_836_800);

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> UnixSeconds;
}

/// A clock that stands still until it is told to advance. Clones share the time.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<AtomicU64>);

impl Default for SimClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(SIM_EPOCH.0)))
    }
}

impl SimClock {
    /// Moves time forward.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.0.load(Ordering::Relaxed))
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> UnixSeconds {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        UnixSeconds(since.map_or(0, |d| d.as_secs()))
    }
}

/// How long something takes in the real world. Nothing that is reproduced may depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts one.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}
