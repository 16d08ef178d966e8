//! What the world supplies: choices, time, limits, and locks that a scheduler can see.
//!
//! Nothing else in the crate may ask the machine for randomness or for the time.

pub mod choice;
pub mod clock;
pub mod limits;
pub mod sync;
pub mod touched;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use choice::Seeded;
use clock::{Clock, SimClock, SystemClock, UnixSeconds};

/// Time and fresh identifiers for one registry. Clones share both.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    ids: Arc<Mutex<Ids>>,
}

/// Where fresh identifiers come from.
struct Ids {
    stream: Seeded,
    /// The seed of streams for single tasks, and theirs: so that what one task draws does not depend on when.
    seed: u64,
    of_tasks: BTreeMap<usize, Seeded>,
    turn: Turn,
}

/// Whose turn it is, where a scheduler lets tasks run one at a time: a number from 1 on; 0 for no task. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// From now on it is this task's turn.
    pub fn give(&self, task: usize) {
        self.0.store(task, Ordering::Relaxed);
    }

    /// Whose turn it is.
    pub fn whose(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl World {
    /// A world on `clock` whose identifiers come from the stream `ids` of `seed`.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_stream(clock, seed, Seeded::stream(seed, "ids"))
    }

    fn with_stream(clock: Arc<dyn Clock>, seed: u64, stream: Seeded) -> Self {
        let ids = Ids { stream, seed, of_tasks: BTreeMap::new(), turn: Turn::default() };
        Self { clock, ids: Arc::new(Mutex::new(ids)) }
    }

    /// As [`simulated`](Self::simulated); each task draws its identifiers from a stream of its own.
    pub fn taking_turns(seed: u64, turn: Turn) -> Self {
        let world = Self::simulated(seed);
        world.ids.lock().unwrap_or_else(PoisonError::into_inner).turn = turn;
        world
    }

    /// A world in which time stands still at [`clock::SIM_EPOCH`].
    pub fn simulated(seed: u64) -> Self {
        Self::new(Arc::new(SimClock::default()), seed)
    }

    /// The world outside: the machine's clock, identifiers that nobody can guess.
    ///
    /// Errors: the machine has no entropy to give.
    pub fn real() -> Result<Self, getrandom::Error> {
        Ok(Self::with_stream(Arc::new(SystemClock), 0, Seeded::unforeseeable()?))
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

impl Ids {
    fn fill(&mut self, bytes: &mut [u8]) {
        match self.turn.whose() {
            0 => self.stream.fill(bytes),
            task => {
                let stream = || Seeded::stream(self.seed, &format!("ids of task {task}"));
                self.of_tasks.entry(task).or_insert_with(stream).fill(bytes);
            }
        }
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
