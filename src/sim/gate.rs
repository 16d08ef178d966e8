//! The gate in front of a machine's disk: who calls next, and when the machine stops.
//!
//! Every file-system call parks its task here. When nothing else on the machine can run, the chooser lets one of the
//! parked calls through: so tasks interleave between any two calls, and only where the chooser says so. A cut can be
//! armed for the k-th call from now; there the gate keeps what the disk looked like right before and right after that
//! call, and lets nothing through any more. A gate that was cut stays so: a machine that starts again gets a new one.
//!
//! Calls take time, but nobody sleeps for them one by one (timers are millisecond-grained): what they cost is summed up
//! and slept in whole milliseconds by the one who lets them through.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::disk::SimFs;
use crate::disk::effect::Record;
use crate::disk::tree::Tree;
use crate::env::choice::Chooser;
use crate::env::sync::hold;

/// What a call costs on a disk that is not slow, in microseconds of simulated time.
pub const CALL_MICROSECONDS: u64 = 20;
/// Most calls that one task makes in a row, when it is let through several times at once: that lets tasks get far
/// ahead of one another, too.
const MAX_BURST_CALLS: usize = 8;

/// The gate. Clones are one gate.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

/// The disk at the instant of a cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// What was durable when the log began.
    pub base: Tree,
    /// What was executed, the call that was cut included.
    pub log: Vec<Record>,
    /// How many records there were before that call.
    pub before: usize,
}

struct State {
    disk: SimFs,
    chooser: Box<dyn Chooser>,
    waiting: Vec<Waiting>,
    released: Option<u64>,
    tickets: u64,
    /// Whose turn it is, and for how many more calls.
    turn: Option<(tokio::task::Id, usize)>,
    calls: u64,
    cut_in_calls: Option<u64>,
    cut: Option<Cut>,
    dead: bool,
    call_microseconds: u64,
    owed_microseconds: u64,
    doorman: Option<Waker>,
}

struct Waiting {
    ticket: u64,
    task: Option<tokio::task::Id>,
    waker: Waker,
}

/// A call that was let through.
pub struct Pass {
    gate: Gate,
    cut_before: Option<usize>,
}

impl Gate {
    /// A gate before `disk`.
    pub fn new(disk: SimFs, chooser: Box<dyn Chooser>) -> Self {
        Self(Arc::new(Mutex::new(State {
            disk,
            chooser,
            waiting: Vec::new(),
            released: None,
            tickets: 0,
            turn: None,
            calls: 0,
            cut_in_calls: None,
            cut: None,
            dead: false,
            call_microseconds: CALL_MICROSECONDS,
            owed_microseconds: 0,
            doorman: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        hold(&self.0)
    }

    /// Stops the machine in the `calls`-th call from now (0 and 1: in the next one).
    pub fn cut_in(&self, calls: u64) {
        self.state().cut_in_calls = Some(calls);
    }

    /// Takes back what [`cut_in`](Self::cut_in) asked for, if it has not happened; whether there was anything.
    pub fn disarm(&self) -> bool {
        self.state().cut_in_calls.take().is_some()
    }

    /// Whether a cut is asked for that has not happened.
    pub fn is_armed(&self) -> bool {
        self.state().cut_in_calls.is_some()
    }

    /// Stops the machine now, between two calls.
    pub fn cut_now(&self) {
        let mut state = self.state();
        if !state.dead {
            let (base, log) = state.disk.snapshot();
            state.dead = true;
            state.cut = Some(Cut { base, before: log.len(), log });
        }
    }

    /// What the disk was at the cut, once there was one.
    pub fn cut(&self) -> Option<Cut> {
        self.state().cut.clone()
    }

    /// Whether the machine has stopped.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// How many calls were let through.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Whether no call is waiting.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.waiting.is_empty() && state.released.is_none()
    }

    /// Sets what a call costs from now on.
    pub fn set_call_microseconds(&self, microseconds: u64) {
        self.state().call_microseconds = microseconds;
    }

    /// Waits for one's turn. If the machine has stopped, that never comes.
    pub async fn pass(&self) -> Pass {
        let mut turn = Turn { gate: self, ticket: None };
        std::future::poll_fn(|cx| turn.poll(cx.waker())).await;
        let mut state = self.state();
        state.calls += 1;
        state.owed_microseconds += state.call_microseconds;
        let cut_before = match &mut state.cut_in_calls {
            Some(0 | 1) => Some(state.disk.records()),
            Some(calls) => {
                *calls -= 1;
                None
            }
            None => None,
        };
        drop(state);
        Pass { gate: self.clone(), cut_before }
    }

    /// Lets calls through, one at a time, for as long as the machine runs. The task that runs this decides nothing: it
    /// waits until no other can go on, and asks the chooser.
    pub async fn let_through(self) {
        loop {
            std::future::poll_fn(|cx| {
                let mut state = self.state();
                if state.dead || state.waiting.is_empty() {
                    state.doorman = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            // The runtime wakes who yields when nothing else is ready.
            tokio::task::yield_now().await;
            let owed = {
                let mut state = self.state();
                let whole = state.owed_microseconds / 1000;
                state.owed_microseconds %= 1000;
                whole
            };
            if owed > 0 {
                tokio::time::sleep(Duration::from_millis(owed)).await;
            }
            self.state().release();
        }
    }
}

impl State {
    fn release(&mut self) {
        if self.dead || self.released.is_some() || self.waiting.is_empty() {
            return;
        }
        let goes_on = self.turn.filter(|(_, calls)| *calls > 0);
        let at = goes_on.and_then(|(task, _)| self.waiting.iter().position(|w| w.task == Some(task)));
        let at = match (at, &mut self.turn) {
            (Some(at), Some((_, calls))) => {
                *calls -= 1;
                at
            }
            _ if self.waiting.len() == 1 => 0,
            _ => {
                let at = self.chooser.choose(self.waiting.len());
                let burst = self.chooser.choose(MAX_BURST_CALLS);
                self.turn = self.waiting[at].task.map(|task| (task, burst));
                at
            }
        };
        let chosen = self.waiting.remove(at);
        self.released = Some(chosen.ticket);
        chosen.waker.wake();
    }

    fn wake_doorman(&mut self) {
        if let Some(doorman) = self.doorman.take() {
            doorman.wake();
        }
    }
}

impl Pass {
    /// The call was made. Returns unless the machine stopped in it.
    pub async fn done(self) {
        let Some(before) = self.cut_before else { return };
        {
            let mut state = self.gate.state();
            let (base, log) = state.disk.snapshot();
            state.cut = Some(Cut { base, log, before });
            state.cut_in_calls = None;
            state.dead = true;
        }
        std::future::pending().await
    }
}

struct Turn<'a> {
    gate: &'a Gate,
    ticket: Option<u64>,
}

impl Turn<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut state = self.gate.state();
        if state.dead {
            return Poll::Pending;
        }
        let Some(ticket) = self.ticket else {
            state.tickets += 1;
            self.ticket = Some(state.tickets);
            let waiting = Waiting { ticket: state.tickets, task: tokio::task::try_id(), waker: waker.clone() };
            state.waiting.push(waiting);
            state.wake_doorman();
            return Poll::Pending;
        };
        if state.released == Some(ticket) {
            state.released = None;
            self.ticket = None;
            return Poll::Ready(());
        }
        if let Some(waiting) = state.waiting.iter_mut().find(|w| w.ticket == ticket) {
            waiting.waker.clone_from(waker);
        }
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.gate.state();
        state.waiting.retain(|w| w.ticket != ticket);
        if state.released == Some(ticket) {
            state.released = None;
        }
    }
}
