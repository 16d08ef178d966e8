//! What an exploration saw, for people and for programs.
//!
//! [`Document`] is the machine-readable form: a contract with whoever parses it, so its names and the order of its
//! keys stay. Everything else here turns the same values into text. Text may hold ANSI styles; whoever prints it strips
//! them where they do not belong. Nothing here runs, explores or prints anything, and nothing depends on the time:
//! the same seed gives the same bytes.

pub mod case;
pub mod counterexample;
pub mod covered;
pub mod detail;
pub mod difference;
pub mod matrix;
pub mod schedule;
pub mod spec;
pub mod syncs;
pub mod words;

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::check::Invariant;

/// Version of the document; it changes when a key changes its meaning or goes, not when one is added.
pub const DOCUMENT_VERSION: u32 = 1;
/// Columns that reports take at most, where what they show can be wrapped.
pub const MAX_COLUMNS: u16 = 100;

/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is broken and was never promised.
pub const BROKEN: Style = AnsiColor::Yellow.on_default();
/// What is broken in spite of a promise.
pub const BROKEN_CLAIM: Style = AnsiColor::Red.on_default().bold();
/// What stands out.
pub const STRONG: Style = Style::new().bold();

/// A whole comparison, or one exploration: a document with one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// One for each strategy, workload and model, in this order.
    pub cells: Vec<Cell>,
    /// How the machine stopped.
    pub loss: &'static str,
    /// The seed, in decimal.
    pub seed: String,
    /// Crash states that were to be visited in a cell, at most.
    pub budget: u64,
    /// The directory of the image that was pushed; nothing where it was generated.
    pub image: Option<String>,
}

/// A strategy under a workload on a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The strategy.
    pub strategy: String,
    /// The persistence model.
    pub model: &'static str,
    /// The workload.
    pub workload: String,
    /// Places at which the machine may stop.
    pub crash_points: usize,
    /// Distinct crash states of the workload that were judged. A decimal string: it may pass 2^53.
    pub crash_states: String,
    /// The same, after a process crash and a restart.
    pub restart_states: String,
    /// The same, after a sync that failed. Only where they are proved.
    pub failed_sync_states: String,
    /// The same, of recoveries that were cut in their turn.
    pub recovery_states: String,
    /// Whether these are all that the model allows.
    pub coverage: Coverage,
    /// Where there are two clients: which of their orders that covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interleavings: Option<Interleavings>,
    /// Whether, of recoveries that are cut, those after a restart or a failed sync are covered as well.
    pub recovers_always: bool,
    /// Whether the numbers of crash states are exact; else there are at most so many.
    pub is_counted: bool,
    /// How often a probe or a recovery ran; all other verdicts follow from these.
    pub executions: u64,
    /// How often each invariant looked at something; every invariant is listed.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// How often an invariant was broken; those that never were are not listed.
    pub violations: BTreeMap<&'static str, u64>,
    /// Whether the strategy claims to keep every invariant here.
    pub claimed_safe: bool,
    /// The invariants that it claims to keep here and that were broken.
    pub broken_claims: Vec<&'static str>,
    /// The smallest counterexample of each broken invariant.
    pub findings: Vec<Counterexample>,
    /// Wall-clock time in seconds, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Orders in which two clients run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interleavings {
    /// Preemptions, at most.
    pub preemptions: usize,
    /// The turns of each client.
    pub turns: [usize; 2],
    /// How many orders there are of so many turns. A decimal string: it may pass 2^53.
    pub orders: String,
    /// Executions that cover them.
    pub executions: u64,
    /// Runs among them whose logs differ.
    pub runs: u64,
    /// Whether the recovery from their crashes was cut as well, in each of them.
    pub recovers: bool,
    /// Runs in which a client was refused for good, and the first answer of that kind.
    pub refused: Option<(u64, String)>,
}

/// How much of what a model allows was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// All of it, and all that it allows after a process crash and a restart, after a failed sync, and during recovery.
    Proved,
    /// All of it.
    Exhaustive,
    /// Small losses first, then a seeded sample.
    Sampled,
}

/// A crash state that breaks an invariant, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counterexample {
    /// The invariant.
    pub invariant: &'static str,
    /// How it is broken.
    pub detail: String,
    /// The order of two clients, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<String>,
    /// Where the process had crashed before, and was restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<String>,
    /// Which sync had failed before, and what became of its pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_sync: Option<String>,
    /// Where the machine stopped.
    pub crash_at: String,
    /// The effects that were executed and lost.
    pub lost: Vec<String>,
    /// Where the recovery from that was cut in its turn, and what that took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<CutRecovery>,
    /// The crash as one word ([`spec::Spec`]).
    pub spec: String,
    /// The command that shows it again.
    pub replay: String,
    /// How small it is: what goes wrong before the last crash or between the two, lost effects, steps.
    #[serde(skip)]
    pub size: (usize, usize, u32),
}

/// A recovery that was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CutRecovery {
    /// Where.
    pub crash_at: String,
    /// What was executed and lost.
    pub lost: Vec<String>,
}

impl Cell {
    /// The invariants that were broken, in the order of reports.
    pub fn broken(&self) -> impl Iterator<Item = Invariant> + '_ {
        Invariant::ALL.into_iter().filter(|i| self.violations.get(i.name()).is_some_and(|n| *n > 0))
    }

    /// Whether any invariant looked at anything.
    pub fn looked(&self) -> bool {
        self.evaluated.values().any(|n| *n > 0)
    }
}

impl Document {
    /// The document as JSON text, with a newline at its end.
    pub fn to_json(&self) -> String {
        // Writing plain data into memory cannot fail; if it ever did, an empty document would be noticed by any parser.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The invariants that looked at nothing in any cell.
    pub fn idle(&self) -> Vec<Invariant> {
        let looked = |i: &Invariant| self.cells.iter().any(|c| c.evaluated.get(i.name()).is_some_and(|n| *n > 0));
        Invariant::ALL.into_iter().filter(|i| !looked(i)).collect()
    }

    /// Of each strategy that breaks anything, the smallest counterexample; one of a broken claim, if there is one.
    pub fn smallest(&self) -> Vec<(&Cell, &Counterexample)> {
        let mut found: BTreeMap<&str, (&Cell, &Counterexample)> = BTreeMap::new();
        let rank = |(cell, finding): &(&Cell, &Counterexample)| {
            (!cell.broken_claims.contains(&finding.invariant), finding.size)
        };
        let all = self.cells.iter().flat_map(|cell| cell.findings.iter().map(move |finding| (cell, finding)));
        let mut order: Vec<&str> = Vec::new();
        for one in all {
            let strategy = one.0.strategy.as_str();
            if !order.contains(&strategy) {
                order.push(strategy);
            }
            if found.get(strategy).is_none_or(|old| rank(&one) < rank(old)) {
                found.insert(strategy, one);
            }
        }
        order.into_iter().filter_map(|strategy| found.get(strategy).copied()).collect()
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
