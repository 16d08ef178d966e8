//! Whether a strategy still breaks as it was seen to when it makes other syncs.
//!
//! Added syncs change nothing but what may be lost: the effects, their order and their numbers stay. So a crash is
//! carried over by counting what is no sync before it, and the model says whether it is allowed there. It stops right
//! behind the last effect or mark: as early as it can be, with as little forced as it can be.
//!
//! Where crash states are one family, a state is allowed as long as no sync forces what it lost, and each forces what it
//! forces, whatever other syncs there are. Under `btrfs` they are not: what came after a commit is lost but for what was
//! logged, so that hardly any state stays one when something more is logged. There a state persists in what becomes of
//! it: with what must be there, and without what cannot be. The probe that saw the breach says whether that is one.

use super::altered::Altered;
use crate::disk::SimFs;
use crate::disk::crash::Loss;
use crate::disk::effect::{Cut, Record, What};
use crate::disk::model::{Family, PersistenceModel};
use crate::disk::space::{AtomId, Bits, Space};
use crate::disk::tree::Tree;
use crate::explore::replay::{Crash, Impossible, reproduce};
use crate::explore::{Finding, Run, Subject, minimise};
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

/// A breach on a run whose syncs may be others.
pub(super) struct Carried<'f> {
    finding: &'f Finding<Probe>,
    restart: Option<Place>,
    place: Place,
    recovery: Option<(Tree, Place, Vec<AtomId>)>,
}

/// So many of the states that are nearest to that of a breach are looked at.
const NEAR: usize = 4;

impl<'f> Carried<'f> {
    /// A finding on `run`, of `subject`.
    pub(super) fn new<P: Protocol>(
        subject: &Altered<'_, P>,
        run: &Run,
        model: &dyn PersistenceModel,
        finding: &'f Finding<Probe>,
    ) -> Result<Self, Impossible> {
        let again = reproduce(subject, run, model, Loss::PowerCut, &Crash::from(finding))?;
        let recovery = finding.in_recovery.as_ref().zip(again.recovery.as_ref()).map(|((cut, lost), stage)| {
            (again.workload.surviving(), Place::of(*cut, stage.space.records()), lost.clone())
        });
        Ok(Self {
            finding,
            restart: finding.restarted_at.map(|cut| Place::of(cut, &run.log)),
            place: Place::of(finding.cut, again.workload.space.records()),
            recovery,
        })
    }

    /// The finding on `run`, of `subject`, if that breaks there too: in the same state or, if that is none of its own, in
    /// one that is next to it.
    pub(super) fn on<P: Protocol>(
        &self,
        subject: &Altered<'_, P>,
        run: &Run,
        model: &dyn PersistenceModel,
    ) -> Option<Finding<Probe>> {
        let restarted_at = match self.restart {
            None => None,
            Some(place) => Some(place.in_log(&run.log)?),
        };
        let restarted = restarted_at.map(|cut| run.restarted(subject, cut));
        let log = &restarted.as_ref().unwrap_or(run).log;
        let cut = self.place.in_log(log)?;
        let mut finding = Finding { restarted_at, cut, ..self.finding.clone() };
        if let Some((tree, place, lost)) = &self.recovery {
            let disk = SimFs::with_tree(tree.clone());
            // What recovery cannot do, the probes see.
            let _ = subject.recover(&disk);
            finding.in_recovery = Some((place.in_log(&disk.snapshot().1)?, lost.clone()));
            let crash = Crash::from(&finding);
            return reproduce(subject, run, model, Loss::PowerCut, &crash).is_ok().then_some(finding);
        }
        // What comes later does not matter, and a model is quicker at the end of a log.
        let log = &log[..log.len().min(cut.records as usize + 1)];
        let space = Space::new(run.base.clone(), log.into(), model);
        let state = minimise::survivors(&space, cut, &finding.lost);
        let families = model.families(&space, cut);
        let near = next_to(&state, &space, &families);
        if near.first().is_some_and(|(apart, _)| *apart == 0) {
            return Some(finding);
        }
        let near = near.iter().take(if families.len() == 1 { 0 } else { NEAR });
        let (state, detail) =
            near.filter_map(|(_, state)| Some((state, self.seen_in(state, &space, subject)?))).next()?;
        Some(Finding { lost: minimise::lost(&space, cut, state), detail, ..finding })
    }

    /// What the probe says of another state.
    fn seen_in<P: Protocol>(&self, state: &Bits, space: &Space, subject: &Altered<'_, P>) -> Option<String> {
        let seen = subject.evaluate(&self.finding.probe, &SimFs::with_tree(space.view(state).tree()));
        seen.into_iter().find(|o| o.invariant == self.finding.invariant).and_then(|o| o.violation)
    }
}

/// Of each family the state that is next to `state`, the nearest first, each with how many atoms tell them apart.
fn next_to(state: &Bits, space: &Space, families: &[Family]) -> Vec<(usize, Bits)> {
    let mut near: Vec<(usize, Bits)> = Vec::new();
    for family in families {
        let mut next = state.clone();
        next.intersect(&family.allowed);
        next.union(&family.forced);
        space.close(&mut next);
        if next.within(&family.allowed) && !near.iter().any(|(_, known)| *known == next) {
            let (mut gone, mut come) = (state.clone(), next.clone());
            gone.subtract(&next);
            come.subtract(state);
            near.push((gone.len() + come.len(), next));
        }
    }
    near.sort_by_key(|(apart, _)| *apart);
    near
}
