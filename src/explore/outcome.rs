//! What an exploration saw: counts, and the smallest finding of each broken invariant.

use std::collections::BTreeMap;

use super::FailedSync;
use crate::disk::effect::Cut;
use crate::disk::space::AtomId;

/// A crash state that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<P> {
    /// The invariant.
    pub invariant: &'static str,
    /// In the probe's words.
    pub detail: String,
    /// The probe that saw it.
    pub probe: P,
    /// Where the machine stopped.
    pub cut: Cut,
    /// The effects that were executed and lost.
    pub lost: Vec<AtomId>,
    /// Where the process had crashed before, and was restarted.
    pub restarted_at: Option<Cut>,
    /// The sync that had failed before.
    pub failed_sync: Option<FailedSync>,
    /// For a crash during the recovery from that state: where that was cut, and what it lost.
    pub in_recovery: Option<(Cut, Vec<AtomId>)>,
}

impl<P> Finding<P> {
    /// By which findings of one invariant are compared: how much went wrong (crashes, a failed sync), how many lost
    /// effects, how late.
    pub fn size(&self) -> (usize, usize, Cut) {
        (
            [self.restarted_at.is_some(), self.failed_sync.is_some(), self.in_recovery.is_some()]
                .map(usize::from)
                .iter()
                .sum(),
            self.lost.len() + self.in_recovery.as_ref().map_or(0, |r| r.1.len()),
            self.cut,
        )
    }
}

/// What an exploration saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<P> {
    /// Places at which the machine may stop: before, inside and after every call.
    pub crash_points: usize,
    /// Crash states that were looked at, distinct by visible tree and by what was acknowledged.
    pub crash_states: u64,
    /// Crash states during recovery that were looked at.
    pub recovery_states: u64,
    /// Crash states after a process crash and a restart that were looked at.
    pub restart_states: u64,
    /// Whether `crash_states` are all there are. Those during recovery and after a restart are a sample in any case:
    /// one recovery of each kind is cut, and the process crashes at some places first.
    pub exhaustive: bool,
    /// How often each invariant was looked at.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// How often each was broken.
    pub violations: BTreeMap<&'static str, u64>,
    /// The smallest finding of each broken invariant, reduced.
    pub findings: BTreeMap<&'static str, Finding<P>>,
    /// How many verdicts were reached by running a probe; all others were remembered.
    pub executions: u64,
}

impl<P> Default for Outcome<P> {
    fn default() -> Self {
        Self {
            crash_points: 0,
            crash_states: 0,
            recovery_states: 0,
            restart_states: 0,
            exhaustive: true,
            evaluated: BTreeMap::new(),
            violations: BTreeMap::new(),
            findings: BTreeMap::new(),
            executions: 0,
        }
    }
}

impl<P: Clone> Outcome<P> {
    /// Adds what was seen elsewhere.
    pub(super) fn merge(&mut self, other: Self) {
        self.crash_states += other.crash_states;
        self.recovery_states += other.recovery_states;
        self.restart_states += other.restart_states;
        self.exhaustive &= other.exhaustive;
        self.executions += other.executions;
        for (name, n) in other.evaluated {
            *self.evaluated.entry(name).or_default() += n;
        }
        for (name, n) in other.violations {
            *self.violations.entry(name).or_default() += n;
        }
        for finding in other.findings.into_values() {
            self.offer(finding);
        }
    }

    /// Keeps the smaller of two findings of one invariant.
    pub(super) fn offer(&mut self, finding: Finding<P>) {
        let smaller = self.findings.get(finding.invariant).is_none_or(|old| finding.size() < old.size());
        if smaller {
            self.findings.insert(finding.invariant, finding);
        }
    }
}
