//! The strategies, by chance: `durable` keeps its promises, every other one is caught, and a small schedule says how.

use pullplug::check::Invariant;
use pullplug::disk::model;
use pullplug::sim::campaign::{self, Summary};
use pullplug::sim::generate::generate;
use pullplug::sim::ledger::rules;
use pullplug::sim::schedule::Schedule;
use pullplug::sim::shrink::shrink;
use pullplug::sim::world::{Options, run};
use pullplug::strategy;
use rayon::prelude::*;

use super::wanted;

/// Seeds within which a strategy that is not safe must be caught.
const SEEDS: u64 = 200;
/// The first of the seeds whose run breaks `invariant`, and how many it took.
fn caught(strategy: &str, model: &str, invariant: &str) -> (u64, Schedule) {
    let wanted = wanted(strategy, model);
    let mut seed = 1;
    while seed <= SEEDS {
        let batch = campaign::runs(seed, 10, &wanted, &Options::default()).unwrap();
        if let Some((seed, _)) = batch.found.iter().find(|(_, all)| all.iter().any(|f| f.invariant == invariant)) {
            return (*seed, generate(*seed, &wanted));
        }
        seed += 10;
    }
    panic!("{strategy} breaks {invariant} on {model} in none of {SEEDS} seeds");
}

fn steps(schedule: &Schedule) -> String {
    schedule.steps.iter().map(|step| format!("  {step}\n")).collect()
}

#[test]
fn an_unsafe_strategy_is_caught_and_its_counterexample_is_smaller() {
    let cases = [
        ("distribution-2.8", "posix", "acked-survives"),
        ("distribution-2.8", "posix", "no-dangling-link"),
        ("distribution-2.8", "posix", "no-torn-link"),
    ];
    let report: Vec<String> = cases.into_par_iter().map(|case| counterexample(case.0, case.1, case.2)).collect();
    println!("{}", report.concat());
}

/// Catches a strategy, and tells how in a few steps.
fn counterexample(strategy: &str, model: &str, invariant: &str) -> String {
    let (seed, schedule) = caught(strategy, model, invariant);
    let small = shrink(&schedule, invariant, &Options::default());
    assert!(small.steps.len() < schedule.steps.len(), "{strategy}, {invariant}:\n{}", steps(&small));
    // What is kept comes back from its file, and breaks the same.
    let kept = Schedule::parse(small.to_json().as_bytes()).unwrap();
    let outcome = run(&kept, &Options::default()).unwrap();
    assert!(outcome.findings.iter().any(|f| f.invariant == invariant), "{:?}", outcome.findings);
    format!("{strategy} on {model}, seed {seed}: {invariant}\n{}", steps(&small))
}

/// What `durable` breaks although it claims not to.
fn broken_claims(model: &str, all: &Summary) -> Vec<String> {
    let durable = strategy::build("durable", pullplug::disk::SimFs::new(), pullplug::env::World::simulated(0)).unwrap();
    let claimed = |name: &str| rules::ALL.contains(&name) || durable.claims(model, name);
    let broken = all.found.iter().flat_map(|(seed, all)| all.iter().map(move |f| (seed, f)));
    broken.filter(|(_, f)| claimed(f.invariant)).map(|(seed, f)| format!("{model}, seed {seed}: {f:?}")).collect()
}

#[test]
fn durable_keeps_its_promises_on_every_model() {
    let mut everything = Summary::default();
    for (i, model) in model::ALL.iter().enumerate() {
        let wanted = wanted("durable", model.name());
        let runs = campaign::runs(1_000 * (i as u64 + 1), 25, &wanted, &Options::default()).unwrap();
        let broken = broken_claims(model.name(), &runs);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        everything.merge(runs);
    }
    println!("{:#?}", everything.counts);
    assert_eq!(everything.never(), [""; 0], "a fault that never fired, or a state that was never reached");
    for invariant in Invariant::ALL {
        assert!(everything.count(invariant.name()) > 0, "{invariant} never looked at anything");
    }
    assert!(everything.count("crashes") > 300, "{} crashes", everything.count("crashes"));
}
