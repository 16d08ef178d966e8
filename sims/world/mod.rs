//! The simulated world: determinism first, then named scenarios, then schedules by chance, then planted bugs.

mod chance;
mod determinism;
mod files;
mod planted;
mod scenarios;
mod server_bugs;
mod strategies;

use pullplug::sim::generate::Wanted;
use pullplug::sim::schedule::{Catalogue, SCHEDULE_VERSION, Schedule};
use pullplug::sim::step::Step;
use pullplug::sim::world::{Options, Outcome, run};

/// Seeds within which everything that is wrong must be caught.
const SEEDS: u64 = 200;

/// Schedules of three clients and some fifty steps.
fn wanted(strategy: &str, model: &str) -> Wanted {
    Wanted { strategy: strategy.to_owned(), model: model.to_owned(), clients: 3, steps: 50 }
}

/// A schedule with two images, one of them of two layers, and an index over both.
fn schedule(strategy: &str, model: &str, steps: Vec<Step>) -> Schedule {
    Schedule {
        version: SCHEDULE_VERSION,
        strategy: strategy.to_owned(),
        model: model.to_owned(),
        seed: "1".to_owned(),
        clients: 3,
        catalogue: Catalogue {
            blobs: vec![600, 4097, 0],
            images: vec![vec![0], vec![0, 1]],
            indexes: vec![vec![0, 1]],
        },
        steps,
        choices: None,
        breaks: None,
    }
}

/// Runs steps on `durable` under `posix`, with a few seeds; nothing may be found. Returns what came of the last.
fn survives(steps: &[Step]) -> Outcome {
    let mut last = None;
    for seed in 1..=4 {
        let schedule = Schedule { seed: format!("{seed}"), ..schedule("durable", "posix", steps.to_vec()) };
        let outcome = run(&schedule, &Options { timeline: true, ..Options::default() }).unwrap();
        assert!(outcome.findings.is_empty(), "{:?}\n{}", outcome.findings, outcome.timeline.unwrap_or_default());
        last = Some(outcome);
    }
    last.unwrap()
}
