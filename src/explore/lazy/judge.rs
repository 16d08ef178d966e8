//! One probe on all crash states that it looks at, stage by stage.
//!
//! A judge remembers what its probe did on the stages before, and visits them in their order. The workload's own crashes
//! come first: a recovery that changes nothing of what the probe asked there tells it nothing new, and is passed over
//! (what it asks next depends on the replies alone, and these are the same). Restarts and failed syncs leave trees that
//! have little in common, so they are visited some at a time, each time with what is known of all other stages alone:
//! what is said does not depend on how many are visited at once. Most of them look to a probe like one before, and are
//! not walked again ([`Alike`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::alike::Alike;
use super::shared::{Runs, Saw};
use super::stage::Stage;
use super::trie::{Met, Trie};
use super::walk::{Ground, Part, Walk};
use crate::disk::SimFs;
use crate::disk::effect::Cut;
use crate::disk::space::{Ask, Library, View};
use crate::disk::tree::Ino;
use crate::explore::{Finding, Observation, Subject};

/// Restarts that are visited one after another, with one memory.
const RESTARTS_AT_A_TIME: usize = 64;

/// A finding, and the stage that it is of.
pub(super) struct Found<P> {
    pub(super) stage: usize,
    pub(super) finding: Finding<P>,
}

impl<P> Found<P> {
    /// Keeps the smaller of two findings of one invariant.
    pub(super) fn offer(self, to: &mut BTreeMap<&'static str, Self>) {
        let known = to.get(self.finding.invariant);
        if known.is_none_or(|known| self.finding.size() < known.finding.size()) {
            to.insert(self.finding.invariant, self);
        }
    }
}

/// In how many families of crash states each invariant was looked at, and in how many it was broken.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) evaluated: BTreeMap<&'static str, u64>,
    pub(super) violations: BTreeMap<&'static str, u64>,
}

impl Seen {
    fn merge(&mut self, other: &Self) {
        let add = |to: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>| {
            from.iter().for_each(|(name, n)| *to.entry(name).or_default() += n);
        };
        add(&mut self.evaluated, &other.evaluated);
        add(&mut self.violations, &other.violations);
    }
}

/// What a probe did on the stages before, of whatever run.
#[derive(Clone, Default)]
pub(super) struct Memory {
    trie: Trie<Saw>,
    alike: Alike<Seen>,
    /// The invariants of which there is a finding in the run itself: it is smaller than any of another run.
    shown: BTreeSet<&'static str>,
}

/// What a probe saw.
pub(super) struct Verdicts<P> {
    pub(super) seen: Seen,
    pub(super) found: BTreeMap<&'static str, Found<P>>,
    pub(super) executions: u64,
}

impl<P> Default for Verdicts<P> {
    fn default() -> Self {
        Self { seen: Seen::default(), found: BTreeMap::new(), executions: 0 }
    }
}

impl<P> Verdicts<P> {
    /// Adds what was seen elsewhere, later.
    pub(super) fn merge(&mut self, other: Self) {
        self.seen.merge(&other.seen);
        other.found.into_values().for_each(|found| found.offer(&mut self.found));
        self.executions += other.executions;
    }
}

/// A probe, and where it is to look.
pub(super) struct Judge<'a, S: Subject> {
    subject: &'a S,
    probe: &'a S::Probe,
    library: &'a Arc<Library>,
    /// What the probe did elsewhere, if that is kept.
    runs: Option<Arc<Runs<Saw>>>,
    /// By stage, the intervals.
    at: Vec<(usize, Arc<[u32]>)>,
}

impl<'a, S: Subject> Judge<'a, S> {
    pub(super) fn new(subject: &'a S, probe: &'a S::Probe, library: &'a Arc<Library>) -> Self {
        Self { subject, probe, library, runs: None, at: Vec::new() }
    }

    /// The same, and what it did elsewhere it does not do again.
    pub(super) fn knowing(self, runs: Arc<Runs<Saw>>) -> Self {
        Self { runs: Some(runs), ..self }
    }

    /// Lets it look at these intervals of a stage.
    pub(super) fn assign(&mut self, stage: usize, of: &Arc<[u32]>) {
        self.at.push((stage, of.clone()));
    }

    /// Looks; `None` if the probe would have to run more than `most` times at a time.
    pub(super) fn judge(self, stages: &[Stage], most: u64) -> Option<Verdicts<S::Probe>> {
        let (at, restarts) = self.at.split_at(self.at.partition_point(|(at, _)| !stages[*at].is_another_run()));
        let mut memory = Memory::default();
        let mut verdicts = self.look(stages, at, &mut memory, most)?;
        let of_the_run = verdicts.found.iter().filter(|(_, found)| found.finding.size().0 == 0);
        memory.shown = of_the_run.map(|(invariant, _)| *invariant).collect();
        let parts: Option<Vec<Verdicts<S::Probe>>> = restarts
            .par_chunks(RESTARTS_AT_A_TIME)
            .map(|at| self.look(stages, at, &mut memory.clone(), most))
            .collect();
        parts?.into_iter().for_each(|part| verdicts.merge(part));
        Some(verdicts)
    }

    /// Looks at these intervals of these stages; `None` if the probe would have to run more than `most` times.
    pub(super) fn look(
        &self,
        stages: &[Stage],
        at: &[(usize, Arc<[u32]>)],
        memory: &mut Memory,
        most: u64,
    ) -> Option<Verdicts<S::Probe>> {
        let mut verdicts = Verdicts::default();
        let mut own: Option<(Vec<Ask<Ino>>, BTreeSet<usize>)> = None;
        for (at, of) in at {
            let stage = &stages[*at];
            let is_known = |(asks, marks): &(Vec<_>, BTreeSet<_>)| {
                stage.recovery_changes_none_of(asks) && stage.marks(of).is_subset(marks)
            };
            if own.as_ref().is_some_and(is_known) {
                continue;
            }
            let ground = stage.ground(of);
            let is_recovery = stage.is_recovery();
            if !is_recovery
                && let Some((seen, asks)) = memory.alike.find(&ground)
                && seen.violations.keys().all(|invariant| memory.shown.contains(invariant))
            {
                verdicts.seen.merge(seen);
                own = stage.is_own().then(|| (asks, stage.marks(of)));
                continue;
            }
            let most = most.saturating_sub(verdicts.executions);
            let (seen, executions, asks) = self.walk(*at, stage, &ground, memory, most, &mut verdicts.found)?;
            verdicts.seen.merge(&seen);
            verdicts.executions += executions;
            if !is_recovery {
                memory.alike.insert(&ground, &asks, seen);
            }
            if stage.is_own() {
                own = Some((asks, stage.marks(of)));
            }
        }
        Some(verdicts)
    }

    /// Looks at all states of a stage.
    fn walk(
        &self,
        at: usize,
        stage: &Stage,
        ground: &Ground<'_>,
        memory: &mut Memory,
        most: u64,
        found: &mut BTreeMap<&'static str, Found<S::Probe>>,
    ) -> Option<(Seen, u64, Vec<Ask<Ino>>)> {
        let mut counts = Seen::default();
        let evaluate = |view: &View<'_>| {
            let disk = SimFs::transcribed(view.tree(), stage.space.clone(), self.library.clone(), false);
            (Saw::from(self.subject.evaluate(self.probe, &disk)), disk.asks())
        };
        let run = |view: &View<'_>| match &self.runs {
            Some(runs) => runs.on(view, || evaluate(view)),
            None => evaluate(view),
        };
        let end = |seen: &Saw, _: &Met, parts: &[Part]| {
            for observation in seen.iter() {
                *counts.evaluated.entry(observation.invariant).or_default() += 1;
                if observation.violation.is_some() {
                    *counts.violations.entry(observation.invariant).or_default() += 1;
                    if let Some(finding) = self.smallest(at, stage, ground, observation, parts, found) {
                        finding.offer(found);
                    }
                }
            }
        };
        let mut walk = Walk::new(ground, &mut memory.trie, run, end);
        if !stage.is_recovery() {
            walk = walk.noting();
        }
        let came_to_all = walk.all(most);
        let (executions, asks) = (walk.executions, walk.into_asks());
        came_to_all.then_some((counts, executions, asks))
    }

    /// The smallest finding among the states that a verdict is about, if it is smaller than what is known.
    fn smallest(
        &self,
        at: usize,
        stage: &Stage,
        ground: &Ground<'_>,
        observation: &Observation,
        parts: &[Part],
        known: &BTreeMap<&'static str, Found<S::Probe>>,
    ) -> Option<Found<S::Probe>> {
        let mut best: Option<((usize, Cut), _)> = None;
        for part in parts {
            for interval in ground.met(part) {
                let place = stage.places[interval as usize];
                let survivors = part.region.largest(&stage.space, &stage.intervals[interval as usize]);
                let size = (place.executed - survivors.len(), place.cut);
                if best.as_ref().is_none_or(|(least, _)| size < *least) {
                    best = Some((size, (place, survivors)));
                }
            }
        }
        let ((lost, cut), (place, survivors)) = best?;
        let crashes = usize::from(stage.is_another_run()) + usize::from(place.in_recovery.is_some());
        if known.get(observation.invariant).is_some_and(|known| known.finding.size() <= (crashes, lost, cut)) {
            return None;
        }
        let (lost, in_recovery) = stage.lost(place, &survivors);
        let finding = Finding {
            invariant: observation.invariant,
            detail: observation.violation.clone().unwrap_or_default(),
            probe: self.probe.clone(),
            cut: place.cut,
            lost,
            restarted_at: stage.restarted_at(),
            failed_sync: stage.failed_sync(),
            in_recovery,
        };
        Some(Found { stage: at, finding })
    }
}
