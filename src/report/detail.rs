//! One cell, all of it.

use std::fmt::Write;

use super::counterexample;
use super::words::{counted, grouped, magnitude, shortened};
use super::{BROKEN, BROKEN_CLAIM, Cell, Coverage, Document, GOOD, Interleavings, STRONG};
use crate::check::Invariant;

/// Everything that is known of `cell`, a cell of `document`; `claims` says what the strategy claims here.
pub fn render(document: &Document, cell: &Cell, claims: impl Fn(Invariant) -> bool) -> String {
    let mut out = format!(
        "{STRONG}{} under {}, {}{STRONG:#}; {}, seed {}\n\n",
        cell.strategy, cell.model, cell.workload, document.loss, document.seed
    );
    let states = |text: &str| format!("{}{}", if cell.is_counted { "" } else { "at most " }, magnitude(text));
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{label:<18}{value}");
    };
    if let Some(orders) = &cell.interleavings {
        let [first, second] = orders.turns;
        let all = orders.orders.parse::<u128>().map_or_else(|_| orders.orders.clone(), grouped);
        let bound = counted(orders.preemptions as u64, "preemption");
        line("interleavings", &format!("{all} of {first} and {second} turns, with at most {bound}"));
        let (executions, runs) = (counted(orders.executions, "execution"), counted(orders.runs, "different log"));
        line("covered by", &format!("{executions}, {runs}"));
        if let Some((runs, why)) = &orders.refused {
            line("gave up", &format!("a client in {}, first: {}", counted(*runs, "run"), shortened(why)));
        }
    }
    line("crash points", &grouped(cell.crash_points as u64));
    line("crash states", &states(&cell.crash_states));
    line("after a restart", &states(&cell.restart_states));
    if cell.coverage == Coverage::Proved && cell.interleavings.is_none() {
        line("if a sync fails", &states(&cell.failed_sync_states));
    }
    line("during recovery", &states(&cell.recovery_states));
    line("coverage", &coverage(document, cell));
    if let Some(seconds) = cell.seconds {
        line("seconds", &format!("{seconds:.3}"));
    }
    let _ = writeln!(out, "\n{:<24}{:>14}{:>12}  claimed", "invariant", "looked at", "broken");
    for invariant in Invariant::ALL {
        let evaluated = cell.evaluated.get(invariant.name()).copied().unwrap_or_default();
        let violations = cell.violations.get(invariant.name()).copied().unwrap_or_default();
        let claimed = claims(invariant);
        let style = match (violations > 0, claimed, evaluated) {
            (true, true, _) => BROKEN_CLAIM,
            (true, false, _) => BROKEN,
            (false, _, 0) => anstyle::Style::new(),
            (false, ..) => GOOD,
        };
        let _ = writeln!(
            out,
            "{style}{:<24}{:>14}{:>12}{style:#}  {}",
            invariant.name(),
            grouped(evaluated),
            grouped(violations),
            if claimed { "yes" } else { "no" }
        );
    }
    for finding in &cell.findings {
        let _ = write!(out, "\n{}", counterexample::long(cell, finding));
    }
    if cell.findings.is_empty() {
        let _ = writeln!(out, "\nnothing found");
    }
    out
}

/// How much of what there is was looked at.
fn coverage(document: &Document, cell: &Cell) -> String {
    match cell.coverage {
        Coverage::Proved => {
            let states = match &cell.interleavings {
                Some(Interleavings { recovers: false, .. }) => "; recovery has too many ways, and is not cut in all",
                Some(_) => ", and in recovery from a first crash",
                None if cell.recovers_always => {
                    ", after a restart or a failed sync too, and in recovery from each of these"
                }
                None => ", after a restart or a failed sync too, and in recovery from a first crash",
            };
            format!("proved: every crash state{states}, by {} executions", grouped(cell.executions))
        }
        Coverage::Exhaustive => {
            "exhaustive: every crash state of the workload; a sample after a restart and in recovery".to_owned()
        }
        Coverage::Sampled => format!(
            "sampled, at most {} states: small losses first, then by chance from seed {}",
            grouped(document.budget),
            document.seed
        ),
    }
}
