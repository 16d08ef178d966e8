//! One probe on many crash states.
//!
//! A judge has a memo of its own and looks at all states of a group in their order, so that what it says does not
//! depend on how many judges work at a time. What it knows is true of the run, not of the group alone: it goes on to
//! the next group that has its probe.

use std::sync::Arc;

use super::group::State;
use super::memo::{self, Memo};
use super::{Finding, Observation, Outcome, Subject, minimise};
use crate::disk::space::{Space, View};

/// A probe, and what it saw so far.
pub(super) struct Judge<P> {
    probe: P,
    memo: Memo<usize>,
    verdicts: Vec<Verdict>,
    outcome: Outcome<P>,
}

/// What a probe says, and of how many states.
struct Verdict {
    observations: Vec<Observation>,
    is_broken: bool,
    states: u64,
}

impl<P: Clone> Judge<P> {
    /// A judge that saw nothing yet.
    pub(super) fn new(probe: P) -> Self {
        Self { probe, memo: Memo::default(), verdicts: Vec::new(), outcome: Outcome::default() }
    }

    /// The probe.
    pub(super) fn probe(&self) -> &P {
        &self.probe
    }

    /// Looks at `states`.
    pub(super) fn look<S: Subject<Probe = P>>(&mut self, subject: &S, space: &Arc<Space>, states: &[State]) {
        for state in states {
            let verdict = self.verdict(subject, space, &state.view(space));
            self.verdicts[verdict].states += 1;
            if self.verdicts[verdict].is_broken {
                self.broken(verdict, space, state);
            }
        }
    }

    fn verdict<S: Subject<Probe = P>>(&mut self, subject: &S, space: &Arc<Space>, view: &View<'_>) -> usize {
        if let Some(verdict) = self.memo.get(|question| view.answer(question)) {
            return *verdict;
        }
        let (observations, asked) = memo::run_recording(space, view, false, |disk| subject.evaluate(&self.probe, disk));
        self.outcome.executions += 1;
        let known = self.verdicts.iter().position(|v| v.observations == observations);
        let verdict = known.unwrap_or_else(|| {
            let is_broken = observations.iter().any(|o| o.violation.is_some());
            self.verdicts.push(Verdict { observations, is_broken, states: 0 });
            self.verdicts.len() - 1
        });
        self.memo.insert(view, &asked, verdict);
        verdict
    }

    fn broken(&mut self, verdict: usize, space: &Space, state: &State) {
        for observation in &self.verdicts[verdict].observations {
            let Some(detail) = &observation.violation else { continue };
            let known = self.outcome.findings.get(observation.invariant);
            if known.is_some_and(|k| k.size() <= (0, state.lost, state.cut)) {
                continue;
            }
            self.outcome.offer(Finding {
                invariant: observation.invariant,
                detail: detail.clone(),
                probe: self.probe.clone(),
                cut: state.cut,
                lost: minimise::lost(space, state.cut, &state.survivors),
                restarted_at: None,
                failed_sync: None,
                in_recovery: None,
            });
        }
    }

    /// All that was seen since this was asked last.
    pub(super) fn take(&mut self) -> Outcome<P> {
        let mut outcome = std::mem::take(&mut self.outcome);
        for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.states > 0) {
            let states = std::mem::take(&mut verdict.states);
            for observation in &verdict.observations {
                *outcome.evaluated.entry(observation.invariant).or_default() += states;
                if observation.violation.is_some() {
                    *outcome.violations.entry(observation.invariant).or_default() += states;
                }
            }
        }
        outcome
    }
}
