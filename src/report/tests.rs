//! What people and programs read, of made-up cells.

use super::samples::{cell, document, finding};
use super::*;
use crate::disk::model;
use crate::{strategy, workload};

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings
}

fn small() -> Document {
    let mut cells = Vec::new();
    for (strategy, workload) in [("distribution-2.8", "push"), ("distribution-2.8", "gc"), ("durable", "push")] {
        for model in ["ext4-ordered", "btrfs", "posix-split-rename"] {
            let broken: &[&str] = match (strategy, model) {
                ("durable", "posix-split-rename") => &["tag-old-or-new"],
                ("durable", _) => &[],
                (_, "ext4-ordered") => &["no-torn-link"],
                _ => &["no-torn-link", "no-dangling-link", "acked-survives"],
            };
            let mut cell = cell(strategy, model, workload, broken);
            if model == "btrfs" {
                cell.coverage = Coverage::Sampled;
            }
            if strategy == "durable" && model == "ext4-ordered" {
                cell.coverage = Coverage::Proved;
                cell.crash_states = "643215678901234567".to_owned();
            }
            if strategy == "durable" {
                cell.claimed_safe = model != "posix-split-rename";
            }
            cells.push(cell);
        }
    }
    cells[7].broken_claims.push("acked-survives");
    cells[8].evaluated.clear();
    cells[8].violations.clear();
    document(cells)
}

#[test]
fn a_small_matrix() {
    settings().bind(|| insta::assert_snapshot!("matrix-small", plain(&matrix::render(&small()))));
}

#[test]
fn the_largest_matrix_fits() {
    let all: Vec<&'static str> = Invariant::ALL.iter().map(|i| i.name()).collect();
    let mut cells = Vec::new();
    for strategy in strategy::NAMES {
        for workload in workload::NAMES {
            for model in model::ALL {
                let mut cell = cell(strategy, model.name(), workload, &all);
                cell.coverage = Coverage::Sampled;
                cell.broken_claims = all.clone();
                cells.push(cell);
            }
        }
    }
    let text = plain(&matrix::render(&document(cells)));
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(MAX_COLUMNS), "{line}");
    }
    let letters: String = Invariant::ALL.into_iter().map(matrix::letter).collect();
    let first: String = text.lines().map(str::trim_end).collect();
    assert!(first.contains(&letters[..5]), "the letters are there: {text}");
}

#[test]
fn every_invariant_has_its_own_letter() {
    let letters: std::collections::BTreeSet<char> = Invariant::ALL.into_iter().map(matrix::letter).collect();
    assert_eq!(letters.len(), Invariant::ALL.len());
}

#[test]
fn counterexamples_are_short_and_long() {
    let mut sample = cell("distribution-2.8", "btrfs", "push", &["no-dangling-link"]);
    sample.findings[0] = finding("no-dangling-link", 9);
    let short = plain(&counterexample::short(&sample, &sample.findings[0]));
    let long = plain(&counterexample::long(&sample, &sample.findings[0]));
    assert!(short.contains("and 5 more effects") && short.contains("aaaaaaaaaaaa…/data"), "{short}");
    assert!(long.contains("sector 8 of p") && long.contains(&"a".repeat(64)), "{long}");
    sample.findings[0] = finding("no-dangling-link", 5);
    let whole = plain(&counterexample::short(&sample, &sample.findings[0]));
    assert!(whole.contains("sector 4 of p") && !whole.contains("more effect"), "{whole}");
    sample.findings[0] = finding("no-dangling-link", 0);
    let nothing = plain(&counterexample::short(&sample, &sample.findings[0]));
    assert!(nothing.contains("lost      nothing"), "{nothing}");
    settings().bind(|| insta::assert_snapshot!("counterexample-short", short));
}

#[test]
fn a_cell_is_told_whole() {
    let document = small();
    let text = plain(&detail::render(&document, &document.cells[4], |i| i == Invariant::NoTornLink));
    settings().bind(|| insta::assert_snapshot!("explore-detail", text));
}

#[test]
fn the_document_is_the_contract() {
    let mut document = document(vec![cell("durable", "btrfs", "push", &["acked-survives"])]);
    document.cells[0].findings[0].lost.truncate(1);
    settings().bind(|| insta::assert_snapshot!("compare-json", document.to_json()));
    document.cells[0].seconds = Some(0.25);
    assert!(document.to_json().contains("\"seconds\": 0.25"));
}

#[test]
fn of_each_strategy_the_smallest_and_broken_claims_first() {
    let mut a = cell("durable", "btrfs", "push", &["acked-survives", "no-torn-link"]);
    a.findings[0].size = (0, 1, 9);
    a.findings[1].size = (0, 5, 9);
    let mut b = cell("durable", "xfs", "push", &["no-torn-link"]);
    b.findings[0].size = (1, 1, 9);
    let c = cell("other", "xfs", "push", &["no-torn-link"]);
    let mut document = document(vec![a, b, c]);
    let picked =
        |d: &Document| d.smallest().iter().map(|(c, f)| (c.strategy.clone(), c.model, f.invariant)).collect::<Vec<_>>();
    let other = ("other".to_owned(), "xfs", "no-torn-link");
    assert_eq!(picked(&document), [("durable".to_owned(), "btrfs", "acked-survives"), other.clone()]);
    document.cells[1].broken_claims.push("no-torn-link");
    assert_eq!(picked(&document), [("durable".to_owned(), "xfs", "no-torn-link"), other]);
}

#[test]
fn an_invariant_that_looked_at_nothing_is_named() {
    let mut cell = cell("durable", "btrfs", "push", &[]);
    cell.evaluated.insert("gc-reclaims", 0);
    let document = document(vec![cell]);
    assert_eq!(document.idle(), [Invariant::GcReclaims]);
    assert!(matrix::render(&document).contains("nothing is said of: gc-reclaims"));
}
