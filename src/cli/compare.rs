//! `pullplug compare`: strategies × workloads × models, as a matrix.

use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::args::CompareArgs;
use super::cell::{Images, Scene, document};
use super::error::CliError;
use super::{exit, explore};
use crate::disk::model::{self, PersistenceModel};
use crate::report::{Cell, Document, STRONG, counterexample, matrix};
use crate::{strategy, workload};

/// Runs the command.
pub fn run(args: CompareArgs) -> Result<u8, CliError> {
    let outputs = explore::Outputs::reserve(&args.explore)?;
    let images = Images::new(&args.explore.input)?;
    let strategies = picked(strategy::NAMES, &args.strategies);
    let workloads = picked(workload::NAMES, &args.workloads);
    let models: Vec<&dyn PersistenceModel> =
        picked(model::ALL.map(|m| m.name()), &args.models).into_iter().filter_map(model::named).collect();
    let progress = progress(strategies.len() * workloads.len() * models.len());
    let mut cells = Vec::new();
    for strategy in &strategies {
        for workload in &workloads {
            progress.set_message(format!("{strategy} {workload}"));
            let scene = Scene::new(strategy, workload, &images)?;
            let done = |cell| {
                progress.inc(1);
                cell
            };
            // A cell that is timed has the machine to itself, and goes by nothing that was seen in another.
            let explored: Result<Vec<Cell>, CliError> = if args.explore.timings {
                models.iter().map(|model| done(scene.explore(*model, &args.explore))).collect()
            } else {
                let prover = scene.prover();
                models.par_iter().map(|model| done(scene.explore_with(&prover, *model, &args.explore))).collect()
            };
            cells.extend(explored?);
        }
    }
    progress.finish_and_clear();
    let document = document(cells, &args.explore, &images);
    outputs.write(&document, || text(&document))?;
    let broken = document.cells.iter().any(|cell| !cell.broken_claims.is_empty());
    Ok(if broken { exit::FOUND } else { exit::NOTHING_FOUND })
}

/// Those of `all` that were asked for, all if none were, in the order of `all` and each once.
pub(super) fn picked<const N: usize>(all: [&'static str; N], asked: &[String]) -> Vec<&'static str> {
    all.into_iter().filter(|name| asked.is_empty() || asked.iter().any(|a| a == name)).collect()
}

/// A bar on the standard error, if that is a terminal.
pub(super) fn progress(cells: usize) -> ProgressBar {
    let bar = ProgressBar::new(cells as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    bar
}

fn text(document: &Document) -> String {
    let mut out = matrix::render(document);
    if let Some(total) = document.cells.iter().map(|cell| cell.seconds).sum::<Option<f64>>() {
        out.push_str(&format!("explored in {total:.1} seconds\n"));
    }
    let smallest = document.smallest();
    if !smallest.is_empty() {
        out.push_str(&format!(
            "\n{STRONG}The smallest counterexample of each strategy that breaks anything{STRONG:#}\n"
        ));
    }
    for (cell, finding) in smallest {
        out.push('\n');
        out.push_str(&counterexample::short(cell, finding));
    }
    out
}
