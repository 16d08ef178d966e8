//! What was seen of a subject under one model, by proof or by enumeration.

use std::collections::BTreeMap;

use super::Coverage;
use crate::disk::space::Count;
use crate::explore::lazy::{NoProof, Proof};
use crate::explore::{Finding, Outcome};

/// What was seen, and how much of what the model allows that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered<P> {
    /// How much.
    pub coverage: Coverage,
    /// Places at which the machine may stop.
    pub crash_points: usize,
    /// Crash states of what was done, by what was acknowledged.
    pub crash_states: Count,
    /// The same after a process crash and a restart.
    pub restart_states: Count,
    /// The same after a sync that failed.
    pub failed_sync_states: Count,
    /// The same during recovery.
    pub recovery_states: Count,
    /// Whether recovery was cut after each of these, and not after a crash of what was done alone.
    pub recovers_always: bool,
    /// Runs of probes and of recovery that cover them.
    pub executions: u64,
    /// How often each invariant was looked at.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// How often it was broken.
    pub violations: BTreeMap<&'static str, u64>,
    /// The smallest finding of each that was broken.
    pub findings: BTreeMap<&'static str, Finding<P>>,
}

impl<P> Covered<P> {
    /// By proof; by enumeration if there is none, since none was asked for or it would take too long.
    ///
    /// Errors: [`NoProof::NotAgain`].
    pub fn of(
        proof: Option<Result<Proof<P>, NoProof>>,
        enumerate: impl FnOnce() -> Outcome<P>,
    ) -> Result<Self, NoProof> {
        match proof {
            Some(Ok(proof)) => Ok(proof.into()),
            Some(Err(e @ NoProof::NotAgain { .. })) => Err(e),
            Some(Err(NoProof::TooMany)) | None => Ok(enumerate().into()),
        }
    }

    /// The numbers of crash states.
    pub fn counts(&self) -> [&Count; 4] {
        [&self.crash_states, &self.restart_states, &self.failed_sync_states, &self.recovery_states]
    }
}

impl<P> From<Proof<P>> for Covered<P> {
    fn from(proof: Proof<P>) -> Self {
        Self {
            coverage: Coverage::Proved,
            crash_points: proof.crash_points,
            crash_states: proof.crash_states,
            restart_states: proof.restart_states,
            failed_sync_states: proof.failed_sync_states,
            recovery_states: proof.recovery_states,
            recovers_always: proof.recovers_always,
            executions: proof.executions,
            evaluated: proof.evaluated,
            violations: proof.violations,
            findings: proof.findings,
        }
    }
}

impl<P> From<Outcome<P>> for Covered<P> {
    fn from(outcome: Outcome<P>) -> Self {
        let count = |states: u64| Count { states: states.into(), is_exact: true };
        Self {
            coverage: if outcome.exhaustive { Coverage::Exhaustive } else { Coverage::Sampled },
            crash_points: outcome.crash_points,
            crash_states: count(outcome.crash_states),
            restart_states: count(outcome.restart_states),
            failed_sync_states: Count::default(),
            recovery_states: count(outcome.recovery_states),
            recovers_always: false,
            executions: outcome.executions,
            evaluated: outcome.evaluated,
            violations: outcome.violations,
            findings: outcome.findings,
        }
    }
}
