//! A counterexample in a few lines.

use std::fmt::Write;

use super::words::{counted, shortened};
use super::{BROKEN, BROKEN_CLAIM, Cell, Counterexample, STRONG};

/// Lost effects that the short form names; the others it counts.
const SHORT_LOST: usize = 4;

/// The short form: digests cut, few lost effects.
pub fn short(cell: &Cell, finding: &Counterexample) -> String {
    heading(cell, finding) + &brief(finding)
}

/// The whole of it.
pub fn long(cell: &Cell, finding: &Counterexample) -> String {
    heading(cell, finding) + &details(finding)
}

/// The short form, but for the heading.
pub fn brief(finding: &Counterexample) -> String {
    lines(finding, SHORT_LOST, shortened)
}

/// All but the heading.
pub fn details(finding: &Counterexample) -> String {
    lines(finding, usize::MAX, str::to_owned)
}

fn heading(cell: &Cell, finding: &Counterexample) -> String {
    let claimed = cell.broken_claims.contains(&finding.invariant);
    let (style, note) = if claimed { (BROKEN_CLAIM, ", which it claims to keep") } else { (BROKEN, "") };
    format!(
        "{STRONG}{}{STRONG:#} breaks {style}{}{style:#} under {}, {}{note}\n",
        cell.strategy, finding.invariant, cell.model, cell.workload
    )
}

fn lines(finding: &Counterexample, max_lost: usize, shown: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut line = |label: &str, what: &str| {
        let _ = writeln!(out, "  {label:<10}{}", shown(what));
    };
    if let Some(order) = &finding.turns {
        line("order", order);
    }
    if let Some(at) = &finding.restart_at {
        line("restart", at);
    }
    if let Some(sync) = &finding.failed_sync {
        line("fault", sync);
    }
    line("crash", &finding.crash_at);
    lost(&mut line, "lost", &finding.lost, max_lost);
    if let Some(recovery) = &finding.recovery {
        line("recovery", &format!("cut {}", recovery.crash_at));
        lost(&mut line, "lost", &recovery.lost, max_lost);
    }
    line("broken", &finding.detail);
    let _ = writeln!(out, "  {:<10}{}", "replay", finding.replay);
    out
}

fn lost(line: &mut impl FnMut(&str, &str), label: &str, effects: &[String], max: usize) {
    if effects.is_empty() {
        line(label, "nothing");
    }
    // One more line costs no more than saying that there is one more.
    let named = if effects.len() == max.saturating_add(1) { effects.len() } else { effects.len().min(max) };
    for (i, effect) in effects[..named].iter().enumerate() {
        line(if i == 0 { label } else { "" }, effect);
    }
    if named < effects.len() {
        line("", &format!("and {}", counted((effects.len() - named) as u64, "more effect")));
    }
}
