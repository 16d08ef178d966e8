//! A registry under a workload, as something whose crashes can be explored.
//!
//! A thin adaptor: what is run and looked at is in [`super::run`] and [`super::probe`], how crashes are chosen in
//! [`crate::explore`]. Fresh identifiers come from fixed streams, one for the setup, one for the run and one for what
//! happens after a crash, so that every run does the same calls and a retry never meets an identifier of the first try.

use super::probe::{self, Probe};
use super::run::{self, RunError, Sessions};
use super::{Workload, probe::probes};
use crate::check;
use crate::check::oracle::Mark;
use crate::check::recovery::recover_everything;
use crate::disk::SimFs;
use crate::env::{World, run_now};
use crate::explore::{Observation, Subject};
use crate::fs::{FileKind, Fs};
use crate::registry::OpenError;
use crate::strategy::Protocol;

/// The stream of identifiers of the setup.
const SETUP_IDS: u64 = 1;
/// The stream of identifiers of the run.
const RUN_IDS: u64 = 2;
/// The stream of identifiers of clients that go on after a restart.
const AFTER_RESTART_IDS: u64 = 4;
/// The stream of identifiers of everything after a crash.
const AFTER_CRASH_IDS: u64 = 3;

/// A strategy and a workload that runs on it.
#[derive(Debug, Clone)]
pub struct RegistrySubject<P = String> {
    strategy: P,
    workload: Workload,
    /// Those of a run on a disk that works. After a restart clients begin others; looked at are these, which any client
    /// may still ask for. (Looking at the others as well takes two to three times the executions of a proof under `posix`,
    /// for what a crash of the first attempt shows already.)
    sessions: Sessions,
}

impl RegistrySubject {
    /// The workload on the strategy called `strategy`, one of [`NAMES`](crate::strategy::NAMES).
    ///
    /// Errors: there is no such strategy, or an operation of the workload is refused.
    pub fn new(strategy: &str, workload: Workload) -> Result<Self, RunError> {
        Self::of(strategy.to_owned(), workload)
    }
}

impl<P: Protocol> RegistrySubject<P> {
    /// The workload on any strategy. It is run once, on a disk that works, to learn the upload sessions that it opens.
    ///
    /// Errors: an operation of the workload is refused.
    pub fn of(strategy: P, workload: Workload) -> Result<Self, RunError> {
        let mut subject = Self { strategy, workload, sessions: Sessions::new() };
        let disk = SimFs::new();
        subject.set_up(&disk)?;
        subject.sessions = subject.run_on(disk, |_| {})?;
        Ok(subject)
    }

    /// The strategy.
    pub fn strategy(&self) -> &P {
        &self.strategy
    }

    /// The workload.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Runs what the workload needs beforehand.
    pub fn set_up<F: Fs>(&self, fs: &F) -> Result<(), RunError> {
        let world = World::simulated(SETUP_IDS);
        let setup = &self.workload.setup;
        run_now(run::run(&self.strategy, fs.clone(), world, &self.workload.contents, setup, |_| {})).map(drop)
    }

    /// Runs the workload's operations on any file system; `on_mark` is told of each beginning and answer.
    pub fn run_on<F: Fs>(&self, fs: F, on_mark: impl FnMut(Mark)) -> Result<Sessions, RunError> {
        let world = World::simulated(RUN_IDS);
        run_now(run::run(&self.strategy, fs, world, &self.workload.contents, &self.workload.ops, on_mark))
    }

    /// Starts again on any file system after a crash of the process behind the first `marks` marks, and finishes the
    /// workload ([`run::again`]).
    pub fn again_on<F: Fs>(&self, fs: F, marks: usize, mut on_mark: impl FnMut(Mark)) -> Result<(), RunError> {
        let known = (marks % 2 == 1).then_some(Mark::Begin(marks / 2));
        self.again_telling(fs, marks, |mark| {
            if Some(mark) != known {
                on_mark(mark)
            }
        })
    }

    /// As [`again_on`](Self::again_on), and `on_mark` is told as well when what was under way is tried again.
    pub fn again_telling<F: Fs>(&self, fs: F, marks: usize, on_mark: impl FnMut(Mark)) -> Result<(), RunError> {
        let world = World::simulated(AFTER_RESTART_IDS);
        let ops = &self.workload.ops[..];
        run_now(run::again(&self.strategy, fs, world, &self.workload.contents, ops, marks, on_mark))
    }

    /// Does everything that a start after a crash writes, on any file system.
    pub fn recover_on<F: Fs>(&self, fs: F) -> Result<(), String> {
        let world = World::simulated(AFTER_CRASH_IDS);
        run_now(recover_everything(&self.strategy, fs, world)).map(drop).map_err(|e| e.to_string())
    }
}

impl<P: Protocol> Subject for RegistrySubject<P> {
    type Probe = Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        self.set_up(disk).map_err(|e| e.to_string())
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        let mut passed = 0;
        let mark = |_| {
            disk.mark(passed);
            passed += 1;
        };
        self.run_on(disk.clone(), mark).map(drop).map_err(|e| e.to_string())
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        self.recover_on(disk.clone())
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        let mut passed = marks as u32;
        let mark = |_| {
            disk.mark(passed);
            passed += 1;
        };
        self.again_on(disk.clone(), marks, mark).map_err(|e| e.to_string())
    }

    fn insist(&self, disk: &SimFs) -> Result<(), String> {
        let mut passed = 0;
        let mark = |_| {
            disk.mark(passed);
            passed += 1;
        };
        let (world, Workload { ops, contents, .. }) = (World::simulated(RUN_IDS), &self.workload);
        let done = run::insist(&self.strategy, disk.clone(), world, contents, ops, mark);
        run_now(done).map_err(|e| e.to_string())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        let files = paths.iter().filter(|(_, kind)| *kind == FileKind::File);
        let files: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        let mut probes = probes(&self.workload, &self.sessions, &Workload::serial_marks(marks), &files);
        probes.extend(litter(&self.strategy, paths));
        probes
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        let world = World::simulated(AFTER_CRASH_IDS);
        observed(run_now(probe::evaluate(probe, &self.workload.contents, &self.strategy, disk.clone(), world)))
    }
}

/// A look at each path that is a directory in which the strategy collects litter by itself.
pub(super) fn litter<P: Protocol>(strategy: &P, paths: &[(String, FileKind)]) -> Vec<Probe> {
    let strategy = strategy.build(SimFs::new(), World::simulated(AFTER_CRASH_IDS));
    let Some(steps) = strategy.as_ref().and_then(|strategy| strategy.litter_steps()) else { return Vec::new() };
    let dirs = paths.iter().filter(|(_, kind)| *kind == FileKind::Dir).map(|(path, _)| path);
    dirs.filter(|path| steps.is_place(path)).cloned().map(Probe::Litter).collect()
}

/// What the explorer is told of what was seen.
pub(super) fn observed(seen: Result<Vec<check::Observation>, OpenError>) -> Vec<Observation> {
    let told = |o: check::Observation| Observation { invariant: o.invariant.name(), violation: o.violation };
    // The one error there can be, an unknown strategy, was met when the subject was made.
    seen.unwrap_or_default().into_iter().map(told).collect()
}
