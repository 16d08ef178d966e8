//! What was seen of the litmus tests on a real file system, of all that its model allows.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::disk::litmus::Litmus;
use crate::fs::script::Script;
use crate::kernel::worker::Tally;
use crate::report::{BROKEN, STRONG};

/// One litmus test.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: &'static str,
    calls: String,
    /// What the model allows, wherever the power goes.
    allowed: BTreeSet<String>,
    /// What of it was seen.
    seen: BTreeSet<String>,
    /// What was seen that the model does not allow at that moment.
    forbidden: BTreeSet<String>,
}

/// Takes what came of the litmus tests that were played out of a tally.
pub(super) fn rows(tally: &mut Tally) -> Vec<Row> {
    let row = |case: Litmus| {
        let calls = case.script().parse::<Script>().ok()?.to_string();
        let shown = tally.scripts.remove(&calls)?;
        let seen = shown.allowed.intersection(&shown.met).cloned().collect();
        Some(Row { name: case.name, calls, allowed: shown.allowed, seen, forbidden: shown.forbidden })
    };
    Litmus::all().filter_map(row).collect()
}

/// A line each, and one for all.
pub(super) fn table(rows: &[Row]) -> String {
    let Some(width) = rows.iter().map(|row| row.name.len()).max() else { return String::new() };
    let mut out = format!("\n  {:width$}  allowed  seen  forbidden\n", "litmus test");
    let sum = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let all = [sum(|row| row.allowed.len()), sum(|row| row.seen.len()), sum(|row| row.forbidden.len())];
    let mut line = |name: &str, [allowed, seen, forbidden]: [usize; 3]| {
        let style = if forbidden > 0 { BROKEN } else { anstyle::Style::new() };
        out += &format!("{style}  {name:width$}  {allowed:>7}  {seen:>4}  {forbidden:>9}{style:#}\n");
    };
    for row in rows {
        line(row.name, [row.allowed.len(), row.seen.len(), row.forbidden.len()]);
    }
    line("all", all);
    let rate = 100 * all[1] / all[0].max(1);
    out + &format!("{STRONG}  of all that the model allows, {rate} % were seen{STRONG:#}\n")
}
