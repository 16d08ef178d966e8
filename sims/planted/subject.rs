//! One client after the other, on a registry with a bug, on a disk of which one sync may fail.

use std::sync::OnceLock;

use pullplug::check::oracle::Mark;
use pullplug::disk::SimFs;
use pullplug::disk::fault::{FailedPages, FaultRates, Faults};
use pullplug::env::choice::Recorded;
use pullplug::env::run_now;
use pullplug::explore::{Observation, Subject};
use pullplug::fs::FileKind;
use pullplug::workload::probe::Probe;
use pullplug::workload::subject::RegistrySubject;

use super::bug::{Plant, sabotaged};

/// A sync of the first process fails; then the process is restarted, and the clients try again.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Which sync, counted from 0.
    pub nth: u64,
    pub how: How,
}

/// What a sync that fails leaves.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// A file's pages are marked clean, and stay readable; after a directory's the disk takes no more writes.
    KeepNew,
    /// A file's pages are marked clean and show the old bytes; a directory's as above.
    Revert,
    /// Nothing was done, and nothing is amiss afterwards.
    Nothing,
}

impl How {
    pub const ALL: [Self; 3] = [Self::KeepNew, Self::Revert, Self::Nothing];

    pub fn words(self) -> &'static str {
        match self {
            Self::KeepNew => "that leaves pages clean or the disk read-only",
            Self::Revert => "that reverts pages or leaves the disk read-only",
            Self::Nothing => "that did nothing",
        }
    }
}

/// A workload on a registry with a bug, a failure, both or neither.
pub struct Sabotaged<'a> {
    inner: &'a RegistrySubject,
    plant: Option<&'a Plant>,
    failure: Option<Failure>,
    struck_at: OnceLock<usize>,
    failed_at: OnceLock<usize>,
}

impl<'a> Sabotaged<'a> {
    pub fn new(inner: &'a RegistrySubject, plant: Option<&'a Plant>, failure: Option<Failure>) -> Self {
        Self { inner, plant, failure, struck_at: OnceLock::new(), failed_at: OnceLock::new() }
    }

    /// How many records the log of a run has when the bug first strikes.
    pub fn struck_at(&self) -> Option<usize> {
        self.struck_at.get().copied()
    }

    /// How many records the log of a run had before the sync failed; none if it did not.
    pub fn failed_at(&self) -> Option<usize> {
        self.failed_at.get().copied()
    }
}

/// Marks on the disk, from the number `passed` on.
fn marking<'a>(disk: &'a SimFs, passed: &'a mut usize) -> impl FnMut(Mark) + 'a {
    move |_| {
        disk.mark(*passed as u32);
        *passed += 1;
    }
}

fn faults(failure: Failure) -> Option<Faults> {
    let failed_pages = match failure.how {
        How::KeepNew => FailedPages::KeepNew,
        How::Revert => FailedPages::Revert,
        How::Nothing => return None,
    };
    // One choice a sync: the second option is the fault.
    let choices = (0..=failure.nth).map(|i| u32::from(i == failure.nth)).collect();
    let rates = FaultRates { sync_failure_one_in: 2, failed_pages, ..FaultRates::default() };
    Some(Faults::new(rates, Box::new(Recorded::new(choices))))
}

impl Subject for Sabotaged<'_> {
    type Probe = Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        self.inner.prepare(disk)
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        let fails = self.failure.filter(|f| matches!(f.how, How::Nothing)).map(|f| f.nth);
        let (fs, saboteur) = sabotaged(disk, self.plant, fails);
        disk.set_faults(self.failure.and_then(faults));
        let mut passed = 0;
        let outcome = self.inner.run_on(fs.clone(), marking(disk, &mut passed));
        disk.set_faults(None);
        if let Some(at) = saboteur.settle() {
            let _ = self.struck_at.set(at);
        }
        match outcome {
            Ok(_) => run_now(fs.settle()).map_err(|e| e.to_string()),
            Err(_) if self.failure.is_some() => {
                // After a failed sync nothing is written, so what follows it in the log is at most its own record.
                let _ = self.failed_at.set(disk.snapshot().1.len().saturating_sub(1));
                // What cannot be finished is seen by the probes.
                let _ = self.restart(disk, passed);
                Ok(())
            }
            Err(e) => Err(e.to_string()),
        }
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        self.inner.recover(disk)
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        let (fs, saboteur) = sabotaged(disk, self.plant, None);
        let mut passed = marks;
        let outcome = self.inner.again_on(fs.clone(), marks, marking(disk, &mut passed));
        outcome.map_err(|e| e.to_string())?;
        saboteur.settle();
        run_now(fs.settle()).map_err(|e| e.to_string())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        self.inner.probes(marks, paths)
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        self.inner.evaluate(probe, disk)
    }
}
