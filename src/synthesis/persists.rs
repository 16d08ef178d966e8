//! Whether a counterexample is one still when a strategy makes other syncs.
//!
//! Added syncs change nothing but what may be lost: the effects, their order and their numbers stay. So a crash is
//! carried over by counting what is no sync before it, and the model says whether it is allowed there. It stops right
//! behind the last effect or mark: as early as it can be, with as little forced as it can be.

use super::altered::Altered;
use crate::disk::SimFs;
use crate::disk::crash::Loss;
use crate::disk::effect::{Cut, Record, What};
use crate::disk::model::PersistenceModel;
use crate::disk::space::AtomId;
use crate::disk::tree::Tree;
use crate::explore::replay::{Crash, Impossible, reproduce};
use crate::explore::{Finding, Run, Subject};
use crate::strategy::Protocol;
use crate::workload::probe::Probe;

/// A place in a run, whatever its syncs: so many records that are none, and sectors of the next.
#[derive(Debug, Clone, Copy)]
struct Place {
    records: usize,
    inside: Option<u32>,
}

fn is_sync(record: &Record) -> bool {
    matches!(record.what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs)
}

impl Place {
    fn of(cut: Cut, log: &[Record]) -> Self {
        let records = log[..cut.records as usize].iter().filter(|record| !is_sync(record)).count();
        Self { records, inside: cut.inside }
    }

    fn in_log(self, log: &[Record]) -> Option<Cut> {
        let mut others = log.iter().enumerate().filter(|(_, record)| !is_sync(record)).map(|(at, _)| at);
        let records = match (self.inside, self.records) {
            (Some(_), before) => others.nth(before)?,
            (None, 0) => 0,
            (None, before) => others.nth(before - 1)? + 1,
        };
        Some(Cut { records: records as u32, inside: self.inside })
    }
}

/// A crash on a run whose syncs may be others.
pub(super) struct Carried {
    restart: Option<Place>,
    place: Place,
    lost: Vec<AtomId>,
    recovery: Option<(Tree, Place, Vec<AtomId>)>,
}

impl Carried {
    /// The crash of a finding on `run`, of `subject`.
    pub(super) fn new<P: Protocol>(
        subject: &Altered<'_, P>,
        run: &Run,
        model: &dyn PersistenceModel,
        finding: &Finding<Probe>,
    ) -> Result<Self, Impossible> {
        let again = reproduce(subject, run, model, Loss::PowerCut, &Crash::from(finding))?;
        let recovery = finding.in_recovery.as_ref().zip(again.recovery.as_ref()).map(|((cut, lost), stage)| {
            (again.workload.surviving(), Place::of(*cut, stage.space.records()), lost.clone())
        });
        Ok(Self {
            restart: finding.restarted_at.map(|cut| Place::of(cut, &run.log)),
            place: Place::of(finding.cut, again.workload.space.records()),
            lost: finding.lost.clone(),
            recovery,
        })
    }

    /// Whether `run`, of `subject`, may crash so.
    pub(super) fn persists<P: Protocol>(
        &self,
        subject: &Altered<'_, P>,
        run: &Run,
        model: &dyn PersistenceModel,
    ) -> bool {
        self.crash(subject, run).is_some_and(|crash| reproduce(subject, run, model, Loss::PowerCut, &crash).is_ok())
    }

    /// The crash on `run`, of `subject`, if there is such a place.
    pub(super) fn crash<P: Protocol>(&self, subject: &Altered<'_, P>, run: &Run) -> Option<Crash> {
        let restarted_at = match self.restart {
            None => None,
            Some(place) => Some(place.in_log(&run.log)?),
        };
        let cut = match restarted_at {
            None => self.place.in_log(&run.log)?,
            Some(cut) => self.place.in_log(&run.restarted(subject, cut).log)?,
        };
        let in_recovery = match &self.recovery {
            None => None,
            Some((tree, place, lost)) => {
                let disk = SimFs::with_tree(tree.clone());
                // What recovery cannot do, the probes see.
                let _ = subject.recover(&disk);
                Some((place.in_log(&disk.snapshot().1)?, lost.clone()))
            }
        };
        Some(Crash { restarted_at, cut, lost: self.lost.clone(), in_recovery })
    }
}
