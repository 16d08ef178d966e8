//! Two tasks in the order that a schedule has.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::stepped::Stops;
use crate::env::Turn;
use crate::env::touched::{self, Touch};

/// A task.
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// More turns than any two operations take: tasks that wait for each other by trying again would never end.
const MAX_TURNS: usize = 1 << 20;

/// In which order two tasks run: one begins, and goes on until it ends, waits for the other, or is **preempted**.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Schedule {
    /// Which task begins: 0 or 1.
    pub first: usize,
    /// The turns, counted from 0, that the other task takes though this one could go on.
    pub preemptions: Vec<u32>,
}

/// One turn of a task: to its next stop.
#[derive(Debug, Clone)]
pub struct Step {
    /// Whose turn it was: 0 or 1.
    pub task: usize,
    /// What it touched.
    pub touches: Vec<Touch>,
    /// What it wrote into the log.
    pub records: Range<usize>,
    /// Whether the other task could have had this turn.
    pub other_can_run: bool,
}

/// Why a schedule could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// Each waits for the other.
    #[error("after {0} turns the two operations wait for each other for ever")]
    Deadlock(usize),
    /// The task that was to get a turn is done or waits.
    #[error("turn {0} cannot go to the other operation: it is done, or waits")]
    NoSuchTurn(u32),
    /// No end in sight.
    #[error("the two operations do not end within {MAX_TURNS} turns")]
    TooLong,
}

/// One of the tasks.
struct Runner<'a> {
    task: Option<Task<'a>>,
    /// It waits for the other task until it is woken.
    waits: bool,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Runner<'_> {
    fn can_run(&self) -> bool {
        self.task.is_some() && (!self.waits || self.woken.0.load(Ordering::Relaxed))
    }

    fn step(&mut self, stops: &Stops) {
        let Some(task) = &mut self.task else { return };
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => self.task = None,
            Poll::Pending => self.waits = !stops.take_stopped(),
        }
    }
}

/// Runs two tasks as `schedule` has it. They stop at `stops`; `turn` is told whose turn it is (1 or 2), `records` tells
/// how long the log is.
pub fn run(
    tasks: [Task<'_>; 2],
    schedule: &Schedule,
    stops: &Stops,
    turn: &Turn,
    records: impl Fn() -> usize,
) -> Result<Vec<Step>, Stuck> {
    let runner = |task| Runner { task: Some(task), waits: false, woken: Arc::new(Woken(AtomicBool::new(false))) };
    let mut runners = tasks.map(runner);
    let mut steps = Vec::new();
    let mut preemptions = schedule.preemptions.iter().peekable();
    let mut task = schedule.first.min(1);
    stops.set_active(true);
    while runners.iter().any(|runner| runner.task.is_some()) {
        let at = steps.len();
        if at == MAX_TURNS {
            return Err(Stuck::TooLong);
        }
        let preempted = preemptions.next_if(|p| **p as usize == at);
        if let Some(preempted) = preempted
            && !runners[1 - task].can_run()
        {
            return Err(Stuck::NoSuchTurn(*preempted));
        }
        if preempted.is_some() || !runners[task].can_run() {
            task = 1 - task;
        }
        if !runners[task].can_run() {
            return Err(Stuck::Deadlock(at));
        }
        let other_can_run = runners[1 - task].can_run();
        turn.give(task + 1);
        let from = records();
        let ((), touches) = touched::record(|| runners[task].step(stops));
        steps.push(Step { task, touches, records: from..records(), other_can_run });
    }
    stops.set_active(false);
    turn.give(0);
    match preemptions.next() {
        Some(preemption) => Err(Stuck::NoSuchTurn(*preemption)),
        None => Ok(steps),
    }
}
