//! Judging a disk in the middle of a history: what the oracles expect of it, looked at probe by probe.

use super::ledger::{Ledger, rules};
use crate::check::Invariant;
use crate::check::contents::Contents;
use crate::check::oracle::Oracle;
use crate::disk::SimFs;
use crate::disk::tree::Tree;
use crate::env::{World, run_now};
use crate::workload::probe;

/// The stream of identifiers of everything that is only looked at.
const JUDGE_IDS: u64 = u64::MAX;

/// What happened before a disk is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The machine stopped, or everything is over: all is looked at.
    Stop,
    /// A collection, and the machine runs on: what may be read now, but for what needs another collection or recovery.
    Collection,
}

/// Looks at `tree`, and writes what is broken into the ledger. `by_collection`: nothing but a collection can have taken
/// what is missing.
pub fn judge(strategy: &str, tree: &Tree, contents: &Contents, ledger: &mut Ledger, after: After, by_collection: bool) {
    let paths: Vec<String> =
        tree.paths().into_iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path).collect();
    let (events, marks) = (std::mem::take(&mut ledger.events), std::mem::take(&mut ledger.marks));
    let oracle = Oracle::new(&events, &marks);
    for ((repo, tag), expect) in oracle.tags() {
        if expect.allowed.is_empty() {
            let what = format!("no order of what was done to {repo}:{tag} explains what clients were told");
            ledger.find(rules::TAGS_LINEARIZABLE, what);
        }
        ledger.count("tags checked for linearizability");
    }
    let sessions: Vec<_> = ledger.sessions.values().cloned().collect();
    let mut probes = probe::expected(&oracle, contents, sessions.iter(), true, &paths);
    if after == After::Collection {
        probes.retain(|probe| !probe.changes());
    }
    let (disk, world) = (SimFs::without_log(tree.clone()), || World::simulated(JUDGE_IDS));
    let all = probe::evaluate_all(&probes, contents, strategy, &disk, SimFs::copy, SimFs::holds_same, world);
    let seen = run_now(all);
    // The one error there can be is an unknown strategy, and that one was opened before.
    for observation in seen.unwrap_or_default() {
        ledger.count(observation.invariant.name());
        let Some(what) = observation.violation else { continue };
        if by_collection && observation.invariant == Invariant::AckedSurvives {
            ledger.find(Invariant::GcKeepsReachable.name(), format!("a collection took it: {what}"));
        }
        ledger.find(observation.invariant.name(), what);
    }
    ledger.events = events;
    ledger.marks = marks;
}
