//! The strategies, by chance: every one that is not safe is caught on every model that can tell, `durable` keeps its
//! promises on the same seeds, and small schedules say how the others fail.

use std::collections::BTreeMap;
use std::fmt::Write;

use pullplug::check::Invariant;
use pullplug::disk::{SimFs, model};
use pullplug::env::World;
use pullplug::sim::campaign::{self, Summary};
use pullplug::sim::generate::{Swarm, generate_with};
use pullplug::sim::ledger::rules;
use pullplug::sim::schedule::Schedule;
use pullplug::sim::shrink::shrink;
use pullplug::sim::world::{Options, run};
use pullplug::strategy;
use rayon::prelude::*;

use super::{SEEDS, wanted};
use crate::script::assert_snapshot;

/// The strategies that are not safe.
const UNSAFE: [&str; 3] = ["distribution-2.0", "distribution-2.8", "distribution-3.1"];
/// How many seeds each pair of strategy and model runs, if that catches it.
const SHARE: u64 = 8;

/// The first seed that is run on a model: each has its own, so that together they see many mixes of faults.
fn first_of(model: &str) -> u64 {
    1 + SEEDS * model::ALL.iter().position(|m| m.name() == model).unwrap() as u64
}

/// What a strategy breaks on a model, each with the first seed that shows it; and all that its runs counted.
fn caught(strategy: &str, model: &str) -> (BTreeMap<&'static str, u64>, Summary) {
    let (wanted, from) = (wanted(strategy, model), first_of(model));
    let mut all = Summary::default();
    let mut first = BTreeMap::new();
    while first.is_empty() || all.runs < SHARE {
        assert!(all.runs < SEEDS, "{strategy} on {model} is not caught by {SEEDS} seeds");
        let batch = campaign::runs(from + all.runs, SHARE, &wanted, &Options::default()).unwrap();
        for (seed, findings) in &batch.found {
            for finding in findings {
                first.entry(finding.invariant).or_insert(*seed);
            }
        }
        all.merge(batch);
    }
    (first, all)
}

#[test]
fn every_unsafe_strategy_is_caught_and_durable_is_clean_on_the_same_seeds() {
    let models = model::ALL.map(|m| m.name());
    let pairs: Vec<(&str, &str)> = UNSAFE.iter().flat_map(|s| models.iter().map(move |m| (*s, *m))).collect();
    let parts: Vec<_> = pairs.par_iter().map(|(strategy, model)| caught(strategy, model)).collect();
    let mut text = String::from("what each breaks, and the first seed that shows it\n");
    let (mut theirs, mut ours) = (Summary::default(), Summary::default());
    let mut seeds: BTreeMap<&str, u64> = BTreeMap::new();
    for ((strategy, model), (first, all)) in pairs.iter().zip(parts) {
        let _ = writeln!(text, "\n{strategy} on {model}, {} seeds", all.runs);
        for (invariant, seed) in &first {
            let _ = writeln!(text, "  {seed:>4}  {invariant}");
        }
        let most = seeds.entry(model).or_default();
        *most = all.runs.max(*most);
        theirs.merge(all);
    }
    for model in models {
        let runs =
            campaign::runs(first_of(model), seeds[model], &wanted("durable", model), &Options::default()).unwrap();
        let broken = broken_claims(model, &runs);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        ours.merge(runs);
    }
    let _ = writeln!(text, "\nwhat happened: the others ({} runs), durable ({} runs)\n", theirs.runs, ours.runs);
    for what in campaign::SOMETIMES {
        let _ = writeln!(text, "{:>7} {:>7}  {what}", theirs.count(what), ours.count(what));
    }
    assert_snapshot("world_strategies", &text);
}

fn steps(schedule: &Schedule) -> String {
    schedule.steps.iter().map(|step| format!("  {step}\n")).collect()
}

/// Strategy, model, and what it breaks.
const COUNTEREXAMPLES: [(&str, &str, &str); 5] = [
    ("distribution-2.8", "ext4-ordered", "no-torn-link"),
    ("distribution-2.8", "btrfs", "no-dangling-link"),
    ("distribution-3.1", "btrfs", "no-dangling-link"),
    ("distribution-3.1", "btrfs", "acked-survives"),
    ("distribution-3.1", "ext4-ordered", "gc-keeps-reachable"),
];
/// Most steps of a counterexample.
const MAX_STEPS: usize = 6;

#[test]
fn a_small_schedule_says_how() {
    let report: Vec<String> = COUNTEREXAMPLES.into_par_iter().map(counterexample).collect();
    assert_snapshot("world_counterexamples", &report.join("\n"));
}

/// Catches a strategy, and tells how in a few steps.
fn counterexample((strategy, model, invariant): (&str, &str, &str)) -> String {
    let wanted = wanted(strategy, model);
    // What a collection takes is looked for where nothing else takes anything, and what a crash takes where none is.
    let schedule = |seed| match invariant {
        "gc-keeps-reachable" => generate_with(Swarm::collections(), seed, &wanted),
        _ => generate_with(Swarm::of(seed).without_collections(), seed, &wanted),
    };
    let breaks = |schedule: &Schedule| {
        run(schedule, &Options::default()).unwrap().findings.iter().any(|f| f.invariant == invariant)
    };
    let seed = (1..=SEEDS).find(|seed| breaks(&schedule(*seed)));
    let seed = seed.unwrap_or_else(|| panic!("{strategy} breaks {invariant} on {model} in none of {SEEDS} seeds"));
    let small = shrink(&schedule(seed), invariant, &Options::default());
    assert!(small.steps.len() <= MAX_STEPS, "{strategy}, {invariant}, seed {seed}:\n{}", steps(&small));
    // What is kept comes back from its file, and breaks the same.
    assert!(breaks(&Schedule::parse(small.to_json().as_bytes()).unwrap()), "{strategy}, {invariant}: not kept");
    format!("{strategy} on {model}, seed {seed}: {invariant}\n{}", steps(&small))
}

/// What `durable` breaks although it claims not to.
fn broken_claims(model: &str, all: &Summary) -> Vec<String> {
    let durable = strategy::build("durable", SimFs::new(), World::simulated(0)).unwrap();
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
    assert_eq!(everything.never(), [""; 0], "a fault that never fired, or a state that was never reached");
    for invariant in Invariant::ALL {
        assert!(everything.count(invariant.name()) > 0, "{invariant} never looked at anything");
    }
    assert!(everything.count("crashes") > 300, "{} crashes", everything.count("crashes"));
}
