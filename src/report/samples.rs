//! Made-up cells for the tests of this directory.

use super::*;

/// A counterexample of `invariant` that loses `lost` effects.
pub(crate) fn finding(invariant: &'static str, lost: usize) -> Counterexample {
    Counterexample {
        invariant,
        detail: format!("docker/registry/v2/blobs/sha256/aa/{}/data is not there", "a".repeat(64)),
        turns: None,
        restart_at: None,
        failed_sync: None,
        crash_at: "after step 57: -- answered: commit upload 1".to_owned(),
        lost: (0..lost).map(|i| format!("sector {i} of p")).collect(),
        recovery: None,
        spec: "s/m/w/power-cut/crash@57".to_owned(),
        replay: "pullplug replay s/m/w/power-cut/crash@57".to_owned(),
        size: (0, lost, 57),
    }
}

/// A cell that looked at every invariant 1000 times and broke `broken`.
pub(crate) fn cell(strategy: &str, model: &'static str, workload: &str, broken: &[&'static str]) -> Cell {
    Cell {
        strategy: strategy.to_owned(),
        model,
        workload: workload.to_owned(),
        crash_points: 200,
        crash_states: "9007199254740993".to_owned(),
        restart_states: "20".to_owned(),
        failed_sync_states: "5".to_owned(),
        recovery_states: "3".to_owned(),
        recovers_always: false,
        coverage: Coverage::Exhaustive,
        interleavings: None,
        is_counted: true,
        executions: 1_234,
        evaluated: Invariant::ALL.iter().map(|i| (i.name(), 1000)).collect(),
        violations: broken.iter().map(|i| (*i, 7)).collect(),
        claimed_safe: false,
        broken_claims: Vec::new(),
        findings: broken.iter().map(|i| finding(i, 2)).collect(),
        seconds: None,
    }
}

/// A document of these cells.
pub(crate) fn document(cells: Vec<Cell>) -> Document {
    let (version, seed) = (DOCUMENT_VERSION, u64::MAX.to_string());
    Document { version, cells, loss: "power-cut", seed, budget: 20_000, image: None }
}
