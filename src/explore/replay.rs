//! One crash, again: from the numbers that name it to the disk that it leaves.
//!
//! A [`Crash`] is small enough to be printed. [`reproduce`] runs the workload anew and takes what the crash took; it
//! refuses a crash that the model does not allow, so that nobody is shown a state that cannot be.

use std::sync::Arc;

use super::{Failed, FailedSync, Finding, Observation, Run, Subject, minimise};
use crate::disk::SimFs;
use crate::disk::crash::{self, Loss};
use crate::disk::effect::{Cut, Record, cuts};
use crate::disk::model::PersistenceModel;
use crate::disk::space::{AtomId, Bits, Space};
use crate::disk::tree::Tree;

/// Where everything stops, and what that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// Where the process had crashed before, and was restarted.
    pub restarted_at: Option<Cut>,
    /// The sync that had failed before. No process was restarted then but for that.
    pub failed_sync: Option<FailedSync>,
    /// Where the machine stops.
    pub cut: Cut,
    /// The effects that were executed and are lost, ascending.
    pub lost: Vec<AtomId>,
    /// For a crash during the recovery from that: where, and what it takes.
    pub in_recovery: Option<(Cut, Vec<AtomId>)>,
}

impl<P> From<&Finding<P>> for Crash {
    fn from(finding: &Finding<P>) -> Self {
        Self {
            restarted_at: finding.restarted_at,
            failed_sync: finding.failed_sync,
            cut: finding.cut,
            lost: finding.lost.clone(),
            in_recovery: finding.in_recovery.clone(),
        }
    }
}

/// Why a crash cannot be reproduced: it was found on another schedule, or its numbers were changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The schedule has no such place.
    #[error("the schedule has {steps} steps and cannot stop {cut}")]
    NoSuchPlace {
        /// The place.
        cut: Cut,
        /// How many steps there are.
        steps: usize,
    },
    /// There is no such sync, or nothing comes of its failure.
    #[error("sync number {} cannot fail so that anything comes of it", nth + 1)]
    NoSuchSync {
        /// How many syncs come before it.
        nth: u32,
    },
    /// An effect that was not executed before the crash, or does not exist.
    #[error("effect {0} was not executed before the crash, so it cannot be lost")]
    NotExecuted(AtomId),
    /// The model does not allow it.
    #[error(
        "{model} does not allow that loss: what a completed sync covers survives, and so does what a survivor needs"
    )]
    NotAllowed {
        /// The model.
        model: &'static str,
    },
}

/// One execution that was cut: of the workload, or of a recovery.
#[derive(Debug)]
pub struct Stage {
    /// What was executed, and what of it may be lost.
    pub space: Space,
    /// Where it was cut.
    pub cut: Cut,
    /// What was lost of it, ascending.
    pub lost: Vec<AtomId>,
    /// What was not.
    pub survivors: Bits,
}

impl Stage {
    fn new(
        base: Tree,
        log: &Arc<[Record]>,
        model: &dyn PersistenceModel,
        loss: Loss,
        cut: Cut,
        lost: &[AtomId],
    ) -> Result<Self, Impossible> {
        let space = crash::laid_out(base, log, model, loss);
        if !cuts(space.records()).contains(&cut) {
            return Err(Impossible::NoSuchPlace { cut, steps: space.records().len() });
        }
        let executed = space.executed(cut);
        if let Some(id) = lost.iter().find(|id| **id >= space.atoms().len() || !executed.contains(**id)) {
            return Err(Impossible::NotExecuted(*id));
        }
        let survivors = minimise::survivors(&space, cut, lost);
        let families = crash::families(&space, model, loss, cut);
        let allowed = families.iter().any(|f| f.forced.within(&survivors) && survivors.within(&f.allowed));
        if !allowed || !space.is_closed(&survivors) {
            return Err(Impossible::NotAllowed { model: model.name() });
        }
        Ok(Self { space, cut, lost: lost.to_vec(), survivors })
    }

    /// The tree that survived.
    pub fn surviving(&self) -> Tree {
        self.space.view(&self.survivors).tree()
    }

    /// The tree that every reader saw right before.
    pub fn executed(&self) -> Tree {
        self.space.view(&crash::whole(&self.space, self.cut)).tree()
    }
}

/// A crash, reproduced.
#[derive(Debug)]
pub struct Reproduced {
    /// The workload; where the process was restarted, both processes' calls.
    pub workload: Stage,
    /// The recovery, if that was cut as well.
    pub recovery: Option<Stage>,
    /// How many marks were passed.
    pub marks: usize,
    /// How a sync failed, if one did.
    pub failed: Option<Failed>,
}

impl Reproduced {
    /// The stage that was cut last.
    pub fn last(&self) -> &Stage {
        self.recovery.as_ref().unwrap_or(&self.workload)
    }

    /// What every probe sees of what survived. Each looks at a disk of its own.
    pub fn judge<S: Subject>(&self, subject: &S) -> Vec<Observation> {
        let probes = subject.probes(self.marks, &self.workload.space.possible_paths());
        let tree = self.last().surviving();
        probes.iter().flat_map(|probe| subject.evaluate(probe, &SimFs::with_tree(tree.clone()))).collect()
    }
}

/// Runs `crash` on the workload's `run`.
pub fn reproduce<S: Subject>(
    subject: &S,
    run: &Run,
    model: &dyn PersistenceModel,
    loss: Loss,
    crash: &Crash,
) -> Result<Reproduced, Impossible> {
    let other;
    let run = match (crash.restarted_at, crash.failed_sync) {
        (None, None) => run,
        (None, Some(sync)) => {
            other = run.failing(subject, sync).ok_or(Impossible::NoSuchSync { nth: sync.nth })?;
            &other
        }
        (Some(cut), None) if cuts(&run.log).contains(&cut) && cut < crash.cut => {
            other = run.restarted(subject, cut);
            &other
        }
        (Some(cut), _) => return Err(Impossible::NoSuchPlace { cut, steps: run.log.len() }),
    };
    let workload = Stage::new(run.base.clone(), &run.log, model, loss, crash.cut, &crash.lost)?;
    let recovery = match &crash.in_recovery {
        None => None,
        Some((cut, lost)) => {
            let disk = SimFs::with_tree(workload.surviving());
            // What recovery cannot do, the probes see: they recover too.
            let _ = subject.recover(&disk);
            let (base, log) = disk.snapshot();
            Some(Stage::new(base, &log.into(), model, loss, *cut, lost)?)
        }
    };
    let marks = run.marks_before(crash.cut);
    Ok(Reproduced { workload, recovery, marks, failed: run.failed })
}
