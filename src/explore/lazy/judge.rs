//! One probe on all crash states that it looks at, stage by stage.
//!
//! A judge remembers what its probe did on the stages before. It visits them in their order, so that what it says does
//! not depend on how many judges work at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stage::Stage;
use super::trie::Trie;
use super::walk::{Ground, Part, Walk};
use crate::disk::SimFs;
use crate::disk::effect::Cut;
use crate::disk::space::{Library, View};
use crate::explore::{Finding, Observation, Subject};

/// Runs of one probe after which it is given up: what it looks at does not hang together.
const MAX_EXECUTIONS: u64 = 50_000;

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

/// What a probe saw.
pub(super) struct Verdicts<P> {
    pub(super) evaluated: BTreeMap<&'static str, u64>,
    pub(super) violations: BTreeMap<&'static str, u64>,
    pub(super) found: BTreeMap<&'static str, Found<P>>,
    pub(super) executions: u64,
}

/// A probe, and where it is to look.
pub(super) struct Judge<'a, S: Subject> {
    subject: &'a S,
    probe: &'a S::Probe,
    library: &'a Arc<Library>,
    /// By stage, the intervals.
    at: Vec<(usize, Arc<[u32]>)>,
}

impl<'a, S: Subject> Judge<'a, S> {
    pub(super) fn new(subject: &'a S, probe: &'a S::Probe, library: &'a Arc<Library>) -> Self {
        Self { subject, probe, library, at: Vec::new() }
    }

    /// Lets it look at these intervals of a stage.
    pub(super) fn assign(&mut self, stage: usize, of: &Arc<[u32]>) {
        self.at.push((stage, of.clone()));
    }

    /// Looks; `None` if it gave up.
    pub(super) fn judge(self, stages: &[Stage]) -> Option<Verdicts<S::Probe>> {
        let (evaluated, violations, found) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut verdicts = Verdicts { evaluated, violations, found, executions: 0 };
        let mut trie: Trie<Vec<Observation>> = Trie::default();
        for (at, of) in &self.at {
            let stage = &stages[*at];
            let ground = Ground { space: &stage.space, intervals: &stage.intervals, of, region: &stage.region };
            let run = |view: &View<'_>| {
                let disk = SimFs::transcribed(view.tree(), stage.space.clone(), self.library.clone(), false);
                (self.subject.evaluate(self.probe, &disk), disk.asks())
            };
            let end = |seen: &Vec<Observation>, parts: &[Part]| {
                for observation in seen {
                    *verdicts.evaluated.entry(observation.invariant).or_default() += 1;
                    if observation.violation.is_some() {
                        *verdicts.violations.entry(observation.invariant).or_default() += 1;
                        if let Some(found) = self.smallest(*at, stage, &ground, observation, parts, &verdicts.found) {
                            found.offer(&mut verdicts.found);
                        }
                    }
                }
            };
            let mut walk = Walk::new(&ground, &mut trie, run, end);
            let left = MAX_EXECUTIONS.saturating_sub(verdicts.executions);
            let came_to_all = walk.all(left);
            verdicts.executions += walk.executions;
            if !came_to_all {
                return None;
            }
        }
        Some(verdicts)
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
            for interval in ground.met(&part.region) {
                let place = stage.places[interval as usize];
                let survivors = part.region.largest(&stage.space, &stage.intervals[interval as usize]);
                let size = (place.executed - survivors.len(), place.cut);
                if best.as_ref().is_none_or(|(least, _)| size < *least) {
                    best = Some((size, (place, survivors)));
                }
            }
        }
        let ((lost, cut), (place, survivors)) = best?;
        let crashes = usize::from(stage.restarted_at().is_some()) + usize::from(place.in_recovery.is_some());
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
            in_recovery,
        };
        Some(Found { stage: at, finding })
    }
}
