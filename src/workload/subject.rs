//! A registry under a workload, as something whose crashes can be explored.
//!
//! A thin adaptor: what is run and looked at is in [`super::run`] and [`super::probe`], how crashes are chosen in
//! [`crate::explore`]. Fresh identifiers come from fixed streams, one for the setup, one for the run and one for what
//! happens after a crash, so that every run does the same calls and a retry never meets an identifier of the first try.

use super::Workload;
use super::op::Op;
use super::probe::{self, Probe, probes};
use super::run::{self, RunError, Runner, Sessions};
use crate::check::{self, recovery};
use crate::disk::SimFs;
use crate::env::{World, run_now};
use crate::explore::{Observation, Subject};
use crate::fs::{FileKind, Fs};

/// The stream of identifiers of the setup.
const SETUP_IDS: u64 = 1;
/// The stream of identifiers of the run.
const RUN_IDS: u64 = 2;
/// The stream of identifiers of a process that goes on after a crash of the one before it.
const RESTART_IDS: u64 = 3;
/// The stream of identifiers of everything after the last crash.
const AFTER_CRASH_IDS: u64 = 4;

/// A strategy and a workload that runs on it.
#[derive(Debug, Clone)]
pub struct RegistrySubject {
    strategy: String,
    workload: Workload,
    sessions: Sessions,
}

impl RegistrySubject {
    /// The workload on the strategy called `strategy`. It is run once, on a disk that works, to learn the upload
    /// sessions that it opens.
    ///
    /// Errors: there is no such strategy, or an operation of the workload is refused.
    pub fn new(strategy: &str, workload: Workload) -> Result<Self, RunError> {
        let mut subject = Self { strategy: strategy.to_owned(), workload, sessions: Sessions::new() };
        let disk = SimFs::new();
        subject.set_up(&disk)?;
        subject.sessions = subject.run_on(disk, |_| {})?;
        Ok(subject)
    }

    /// The name of the strategy.
    pub fn strategy(&self) -> &str {
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
    pub fn run_on<F: Fs>(&self, fs: F, on_mark: impl FnMut(check::oracle::Mark)) -> Result<Sessions, RunError> {
        let world = World::simulated(RUN_IDS);
        run_now(run::run(&self.strategy, fs, world, &self.workload.contents, &self.workload.ops, on_mark))
    }

    /// A new process, and the clients of the old one that finish what is left behind the first `marks` marks.
    async fn go_on(&self, disk: &SimFs, marks: usize) -> Result<(), RunError> {
        let Workload { ops, contents, .. } = &self.workload;
        let mut runner = Runner::open(&self.strategy, disk.clone(), World::simulated(RESTART_IDS), contents).await?;
        runner.step(&Op::CollectLitter).await?;
        let (done, under_way) = (marks / 2, marks % 2 == 1);
        runner.reconnect(self.unfinished(done)).await?;
        for (i, op) in ops.iter().enumerate().skip(done) {
            if i == done && under_way {
                runner.retry(op).await?;
            } else {
                disk.mark(2 * i as u32);
                runner.step(op).await?;
            }
            disk.mark(2 * i as u32 + 1);
        }
        Ok(())
    }

    /// The sessions that are open after the first `done` operations.
    fn unfinished(&self, done: usize) -> Sessions {
        let mut open = Sessions::new();
        for op in &self.workload.ops[..done] {
            match op {
                Op::StartUpload { upload, .. } => {
                    open.extend(self.sessions.get(upload).map(|s| (*upload, s.clone())));
                }
                Op::Commit { upload } => drop(open.remove(upload)),
                _ => {}
            }
        }
        open
    }
}

impl Subject for RegistrySubject {
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
        let world = World::simulated(AFTER_CRASH_IDS);
        let recovered = run_now(recovery::recover_everything(&self.strategy, disk.clone(), world));
        recovered.map(drop).map_err(|e| e.to_string())
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        run_now(self.go_on(disk, marks)).map_err(|e| e.to_string())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        let files = paths.iter().filter(|(_, kind)| *kind == FileKind::File);
        let files: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        probes(&self.workload, &self.sessions, &Workload::serial_marks(marks), &files)
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        let world = World::simulated(AFTER_CRASH_IDS);
        let seen = probe::evaluate(probe, &self.workload.contents, &self.strategy, disk.clone(), world);
        // The one error there can be, an unknown strategy, was met in `new`.
        let seen = run_now(seen).unwrap_or_default();
        let told = |o: check::Observation| Observation { invariant: o.invariant.name(), violation: o.violation };
        seen.into_iter().map(told).collect()
    }
}
