//! Strategies and workloads against models, in at most [`MAX_COLUMNS`] columns.

use std::fmt::Write;

use comfy_table::{Attribute, Cell as Field, Color, ContentArrangement, Table, presets};
use num_bigint::BigUint;

use super::words::{grouped, magnitude};
use super::{Cell, Coverage, Document, MAX_COLUMNS};
use crate::check::Invariant;

/// The letter that stands for an invariant in a matrix.
pub fn letter(invariant: Invariant) -> char {
    match invariant {
        Invariant::NoTornLink => 'T',
        Invariant::NoDanglingLink => 'D',
        Invariant::AckedSurvives => 'A',
        Invariant::TagOldOrNew => 'O',
        Invariant::ManifestClosure => 'C',
        Invariant::ReadsVerify => 'V',
        Invariant::GcKeepsReachable => 'K',
        Invariant::GcReclaims => 'R',
        Invariant::DeletedStaysDeleted => 'X',
        Invariant::UploadOffsetTrue => 'U',
        Invariant::RecoveryIdempotent => 'I',
    }
}

/// The verdict of a cell: `ok`, or `proved` where every crash state was covered, or a letter for each broken invariant;
/// `*` where it is a sample, `!` where a claim is broken, `idle` where nothing was looked at.
fn verdict(cell: &Cell) -> String {
    let broken: String = cell.broken().map(letter).collect();
    let mut text = match (broken.is_empty(), cell.looked()) {
        (false, _) => broken,
        (true, true) if cell.coverage == Coverage::Proved => "proved".to_owned(),
        (true, true) => "ok".to_owned(),
        (true, false) => "idle".to_owned(),
    };
    if cell.coverage == Coverage::Sampled {
        text.push('*');
    }
    if !cell.broken_claims.is_empty() {
        text.push('!');
    }
    text
}

fn field(cell: &Cell) -> Field {
    let field = Field::new(verdict(cell));
    if !cell.broken_claims.is_empty() {
        field.fg(Color::Red).add_attribute(Attribute::Bold)
    } else if cell.broken().next().is_some() || !cell.looked() {
        field.fg(Color::Yellow)
    } else {
        field.fg(Color::Green)
    }
}

/// The matrix, its legend, and how much was looked at.
pub fn render(document: &Document) -> String {
    let mut models: Vec<&str> = Vec::new();
    for cell in &document.cells {
        if !models.contains(&cell.model) {
            models.push(cell.model);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(MAX_COLUMNS);
    table.enforce_styling();
    // A long name breaks at its dashes: eight of them are wider than a line.
    let head = models.iter().map(|m| Field::new(m.replace('-', "-\n")).add_attribute(Attribute::Bold));
    table.set_header(std::iter::once(Field::new("")).chain(head));
    let mut strategy = "";
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for cell in &document.cells {
        if !rows.contains(&(&cell.strategy, &cell.workload)) {
            rows.push((&cell.strategy, &cell.workload));
        }
    }
    for (of, workload) in rows {
        if strategy != of {
            strategy = of;
            table.add_row([Field::new(of).add_attribute(Attribute::Bold)]);
        }
        let at = |model: &&str| {
            let cell = document.cells.iter().find(|c| c.strategy == of && c.workload == workload && c.model == *model);
            cell.map_or(Field::new(""), field)
        };
        table.add_row(std::iter::once(Field::new(format!("  {workload}"))).chain(models.iter().map(at)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.to_string().lines().map(|l| l.trim_end().to_owned()).collect();
    format!("{}\n\n{}", lines.join("\n"), legend(document))
}

fn legend(document: &Document) -> String {
    let mut out = String::new();
    let cells = &document.cells;
    let shown = Invariant::ALL.into_iter().filter(|i| cells.iter().any(|c| c.broken().any(|b| b == *i)));
    let mut notes: Vec<String> = shown.map(|i| format!("{}  breaks {i}", letter(i))).collect();
    let sampled = cells.iter().filter(|c| c.coverage == Coverage::Sampled).count();
    let holds = |c: &&Cell| c.broken().next().is_none() && c.looked();
    if cells.iter().filter(holds).any(|c| c.coverage != Coverage::Proved) {
        notes.insert(0, "ok no invariant broken".to_owned());
    }
    if cells.iter().filter(holds).any(|c| c.coverage == Coverage::Proved) {
        notes.insert(0, "proved  no invariant broken by any crash that the model allows".to_owned());
    }
    if sampled > 0 {
        notes.push("*  sampled: not every crash state of the workload that the model allows".to_owned());
    }
    if cells.iter().any(|c| !c.broken_claims.is_empty()) {
        notes.push("!  the strategy claims to keep what it breaks".to_owned());
    }
    for note in notes {
        let _ = writeln!(out, "{note}");
    }
    let idle: Vec<&str> = document.idle().into_iter().map(Invariant::name).collect();
    if !idle.is_empty() {
        let _ = writeln!(out, "\nlooked at nothing, so nothing is said of: {}", idle.join(", "));
    }
    let sum = |count: fn(&Cell) -> &str| {
        let numbers = cells.iter().filter_map(|c| count(c).parse::<BigUint>().ok());
        magnitude(&numbers.sum::<BigUint>().to_string())
    };
    let total = [
        ("crash states of the workloads", sum(|c| &c.crash_states)),
        ("crash states after a process crash and a restart", sum(|c| &c.restart_states)),
        ("crash states after a failed sync", sum(|c| &c.failed_sync_states)),
        ("crash states during recovery", sum(|c| &c.recovery_states)),
    ];
    let width = total.iter().map(|(_, n)| n.len()).max().unwrap_or_default();
    out.push('\n');
    for (what, n) in total {
        let _ = writeln!(out, "{n:>width$} {what}");
    }
    let budget = grouped(document.budget);
    let (loss, seed) = (document.loss, &document.seed);
    let proved = cells.iter().filter(|c| c.coverage == Coverage::Proved);
    let (proved, executions) = proved.fold((0, 0), |(n, sum), c| (n + 1, sum + c.executions));
    let all = cells.len();
    let coverage = match proved {
        0 => format!("at most {budget} states in a cell, {sampled} of {all} cells sampled"),
        _ => format!("{proved} of {all} cells covered whole, by {} executions", grouped(executions)),
    };
    let _ = writeln!(out, "{loss}, seed {seed}, {coverage}");
    out
}
