//! `pullplug explore --concurrent`: two clients at once, under every interleaving within a bound.

use super::args::{Exploration, ExploreArgs};
use super::cell::{Images, Stopwatch, cell, claims};
use super::error::CliError;
use crate::check::Invariant;
use crate::disk::crash::Loss;
use crate::disk::model::PersistenceModel;
use crate::explore::interleave::search::{Coverage, Search};
use crate::explore::interleave::{Member, explore_all, prove_all};
use crate::explore::lazy::{Limits, NoProof};
use crate::explore::{Budget, Setting};
use crate::report::case::{self, Case};
use crate::report::covered::Covered;
use crate::report::{Cell, Interleavings};
use crate::workload::op::Op;
use crate::workload::together::{Stage, Together};

/// However small the budget: at least so many states of each run.
const MIN_STATES_PER_RUN: u64 = 64;

/// Sets the pair called `name` up on the strategy called `strategy`.
pub fn stage(strategy: &str, name: &str, images: &Images) -> Result<Stage<String>, CliError> {
    let bad = |e: &dyn std::fmt::Display| images.refused(&format!("{strategy} cannot run {name}"), e);
    let pair = images.pair(name).map_err(|e| bad(&e))?;
    Stage::new(strategy.to_owned(), pair).map_err(|e| bad(&e))
}

/// Explores a pair under one model.
pub fn explore(
    stage: &Stage<String>,
    model: &dyn PersistenceModel,
    args: &ExploreArgs,
    images: &Images,
) -> Result<Cell, CliError> {
    let Exploration { loss, input, timings, .. } = &args.explore;
    let watch = timings.then(Stopwatch::start);
    let search = Search { preemptions: usize::from(args.preemptions), reduce: true };
    let (runs, coverage) = search.all(|schedule| stage.run(schedule)).map_err(|e| CliError::internal(e.to_string()))?;
    let states = (args.explore.states() / coverage.runs.max(1)).max(MIN_STATES_PER_RUN);
    let states = usize::try_from(states).unwrap_or(usize::MAX);
    let budget = Budget { states, recovery_states: 0, restart_states: 0 };
    let setting = Setting { model, loss: (*loss).into(), seed: input.seed, budget };
    let members: Vec<_> =
        runs.iter().map(|run| Member { subject: run, run: &run.run, known: run.differs_from() }).collect();
    let (seen, from, recovers) = match args.explore.prove.then(|| prove_all(&members, setting, Limits::default())) {
        Some(Ok(proved)) => (Covered::from(proved.proof), proved.from, proved.recovers),
        Some(Err(e @ NoProof::NotAgain { .. })) => return Err(CliError::internal(e.to_string())),
        Some(Err(NoProof::TooMany)) | None => {
            let found = explore_all(&members, setting);
            (Covered::from(found.outcome), found.from, false)
        }
    };
    let mut findings = Vec::new();
    for invariant in Invariant::ALL {
        let name = invariant.name();
        let from = from.get(name).and_then(|run| runs.get(*run));
        if let (Some(finding), Some(run)) = (seen.findings.get(name), from) {
            let told = case(stage, run, model, setting.loss).counterexample(finding, |spec| images.replay_line(spec));
            findings
                .push(told.map_err(|e| CliError::internal(format!("a finding of {name} cannot be reproduced: {e}")))?);
        }
    }
    let claims = |i| claims(stage.strategy(), model.name(), setting.loss, i);
    let cell = cell(stage.strategy(), &stage.pair().workload.name, &seen, setting, claims);
    let interleavings = Some(told(search, coverage, &runs, recovers));
    Ok(Cell { findings, interleavings, seconds: watch.map(Stopwatch::seconds), ..cell })
}

fn told(search: Search, coverage: Coverage, runs: &[Together<'_, String>], recovers: bool) -> Interleavings {
    let mut refused = runs.iter().filter_map(|run| run.refused.first());
    let first = refused.next().cloned();
    Interleavings {
        preemptions: search.preemptions,
        turns: coverage.turns,
        orders: coverage.interleavings.to_string(),
        executions: coverage.executions,
        runs: coverage.runs,
        recovers,
        refused: first.map(|why| (1 + refused.count() as u64, why)),
    }
}

/// What was explored, for words.
pub fn case<'a>(
    stage: &'a Stage<String>,
    run: &'a Together<'a, String>,
    model: &'a dyn PersistenceModel,
    loss: Loss,
) -> Case<'a, Together<'a, String>, Op> {
    let workload = &stage.pair().workload;
    let together = case::Together { schedule: &run.schedule, order: run.order(), clients: run.clients() };
    Case {
        subject: run,
        run: &run.run,
        model,
        loss,
        strategy: stage.strategy(),
        workload: &workload.name,
        ops: &workload.ops,
        together: Some(together),
    }
}
