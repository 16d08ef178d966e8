//! A sync that fails before the machine stops.
//!
//! It is one of the workload's, each in its turn, in each way that the model knows ([`FailedPages`]). What comes of it is
//! for the protocol to say: it goes on as if nothing were, tries again, or refuses what it was asked for. Then its
//! clients try again, and if they are refused once more, the process is started again.

use super::{Run, Subject, marks};
use crate::disk::SimFs;
use crate::disk::effect::{Cut, Record, What};
use crate::disk::fault::{FailedPages, FaultKind, FaultRates, Faults};
use crate::disk::model::PersistenceModel;
use crate::env::choice::Recorded;

/// A sync of the workload that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailedSync {
    /// How many syncs come before it.
    pub nth: u32,
    /// What becomes of what it was to make durable.
    pub pages: FailedPages,
}

impl FailedSync {
    /// Each of a run's, in each way that a model knows.
    pub fn all(log: &[Record], model: &dyn PersistenceModel) -> Vec<Self> {
        let syncs = log.iter().filter(|record| is_sync(record)).enumerate();
        let ways = |(nth, record): (usize, &Record)| {
            let pages = if let What::SyncFile(_) = record.what { model.failed_pages() } else { &FailedPages::OF_NAMES };
            pages.iter().map(move |pages| Self { nth: nth as u32, pages: *pages })
        };
        syncs.flat_map(ways).collect()
    }

    /// The call in a run in which it does not fail.
    pub fn call(self, log: &[Record]) -> Option<&Record> {
        log.iter().filter(|record| is_sync(record)).nth(self.nth as usize)
    }

    fn faults(self) -> Faults {
        // One choice a sync, of which the second option is the fault.
        let choices = (0..=self.nth).map(|at| u32::from(at == self.nth)).collect();
        let rates = FaultRates { sync_failure_one_in: 2, failed_pages: self.pages, ..FaultRates::default() };
        Faults::new(rates, Box::new(Recorded::new(choices)))
    }
}

fn is_sync(record: &Record) -> bool {
    matches!(record.what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs)
}

/// A sync that failed in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Which.
    pub sync: FailedSync,
    /// When so much had been done.
    pub at: Cut,
    /// The process was started again when so much had been done.
    pub restarted_at: Option<Cut>,
}

impl Run {
    /// The run in which a sync fails. `None` if there is no such sync, or nothing comes of its failure but what may come
    /// without it.
    pub fn failing<S: Subject>(&self, subject: &S, sync: FailedSync) -> Option<Self> {
        let disk = SimFs::with_tree(self.base.clone());
        disk.set_faults(Some(sync.faults()));
        let refused = subject.insist(&disk).is_err();
        let has_failed = disk.fired(FaultKind::SyncFailure) > 0;
        disk.set_faults(None);
        let refused_at = Cut::after(disk.records());
        if refused {
            // What cannot be finished is seen by the probes.
            let _ = subject.restart(&disk, marks(&disk.snapshot().1));
        }
        let log = disk.snapshot().1;
        let same = log.iter().zip(self.log.iter()).take_while(|(here, there)| here == there).count();
        let is_new = has_failed && same < log.len();
        let failed = Failed { sync, at: Cut::after(same), restarted_at: refused.then_some(refused_at) };
        is_new.then(|| Self { base: self.base.clone(), log: log.into(), restarted_at: None, failed: Some(failed) })
    }
}
