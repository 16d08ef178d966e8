//! Many runs, one seed after the other, on all cores; and what they add up to.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::generate::{Swarm, Wanted, generate};
use super::ledger::Finding;
use super::schedule::ScheduleError;
use super::world::{Options, run};

/// Faults and states that a campaign is to have met: one that stays at zero says that nobody looked there.
pub const SOMETIMES: [&str; 34] = [
    "power cuts",
    "power cuts that took something",
    "process crashes",
    "crashes in recovery",
    "crashes right after a rename",
    "crashes during a collection",
    "collections",
    "collections that removed a blob",
    "offline collections",
    "partitions",
    "links that lost requests",
    "links that lost answers",
    "links that held",
    "slow links",
    "links healed",
    "connections reset",
    "requests without an answer",
    "requests that the server failed",
    "writes refused by a full disk",
    "reads that failed",
    "short reads",
    "writes that failed",
    "short writes",
    "syncs that failed",
    "slow disks",
    "blobs that were there already",
    "blobs mounted",
    "manifests refused for a missing blob",
    "pushes tried again",
    "chunks sent again",
    "uploads resumed",
    "uploads resumed after a crash",
    "images pulled and verified",
    "worlds that were live again",
];

/// What runs added up to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many runs.
    pub runs: u64,
    /// Simulated milliseconds.
    pub ms: u64,
    /// Everything that was counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// The findings of each seed that has any, in the order of the seeds.
    pub found: Vec<(u64, Vec<Finding>)>,
    /// A number of all runs.
    pub fingerprint: u64,
}

impl Summary {
    /// How often something was counted.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// In how many runs each invariant was broken.
    pub fn broken(&self) -> BTreeMap<&'static str, u64> {
        let mut broken = BTreeMap::new();
        for (_, findings) in &self.found {
            let mut names: Vec<_> = findings.iter().map(|f| f.invariant).collect();
            names.dedup();
            names.into_iter().for_each(|name| *broken.entry(name).or_default() += 1);
        }
        broken
    }

    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        SOMETIMES.into_iter().filter(|what| self.count(what) == 0).collect()
    }

    /// Adds what came after.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.ms += other.ms;
        for (what, n) in other.counts {
            *self.counts.entry(what).or_default() += n;
        }
        self.found.extend(other.found);
        self.fingerprint = self.fingerprint.rotate_left(7) ^ other.fingerprint;
    }
}

/// Runs the seeds from `first` on, `runs` of them, on all cores. The same whatever the number of cores.
///
/// Errors: what is wanted cannot be run ([`Schedule::check`](super::schedule::Schedule::check)): a strategy or model
/// that does not exist, too many clients or steps.
pub fn runs(first: u64, runs: u64, wanted: &Wanted, options: &Options) -> Result<Summary, ScheduleError> {
    let seeds: Vec<u64> = (0..runs).map(|i| first.wrapping_add(i)).collect();
    let parts: Result<Vec<Summary>, _> = seeds.into_par_iter().map(|seed| one(seed, wanted, options)).collect();
    let mut all = Summary::default();
    parts?.into_iter().for_each(|part| all.merge(part));
    Ok(all)
}

fn one(seed: u64, wanted: &Wanted, options: &Options) -> Result<Summary, ScheduleError> {
    let outcome = run(&generate(seed, wanted), options)?;
    Ok(Summary {
        runs: 1,
        ms: outcome.ms,
        counts: outcome.counts,
        found: if outcome.findings.is_empty() { Vec::new() } else { vec![(seed, outcome.findings)] },
        fingerprint: outcome.fingerprint,
    })
}

/// What a campaign prints of the mix of a seed.
pub fn mix(seed: u64) -> String {
    Swarm::of(seed).to_string()
}
