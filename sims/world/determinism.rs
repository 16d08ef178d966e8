//! One seed is one run: byte for byte, in every process, however many cores there are.

use std::process::Command;

use pullplug::sim::campaign;
use pullplug::sim::generate::{Wanted, generate};
use pullplug::sim::world::{Options, run};

use super::wanted;

/// The environment variable that tells the second process which seed to print.
const SEED: &str = "PULLPLUG_TEST_SEED";

/// The whole trace of a seed, what was counted, the next choice of every stream, and the clock.
fn whole_run(seed: u64) -> String {
    let schedule = generate(seed, &wanted("durable", "posix"));
    let outcome = run(&schedule, &Options { timeline: true, ..Options::default() }).unwrap();
    let timeline = outcome.timeline.unwrap();
    format!("{timeline}{:?}\n{:016x} at {} ms\n", outcome.counts, outcome.fingerprint, outcome.ms)
}

/// What the other process prints; in the suite itself it has nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "the two processes have to be told apart")]
fn the_other_process() {
    if let Ok(seed) = std::env::var(SEED) {
        println!("<trace>{}</trace>", whole_run(seed.parse().unwrap()));
    }
}

#[test]
fn a_seed_is_one_run_in_every_process() {
    for seed in [3, 8] {
        let here = whole_run(seed);
        let other = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["world::determinism::the_other_process", "--exact", "--nocapture"]);
            let output = command.env(SEED, seed.to_string()).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let (_, trace) = text.split_once("<trace>").unwrap();
            trace.split_once("</trace>").unwrap().0.to_owned()
        };
        let (first, second) = (other(), other());
        assert!(here.lines().count() > 500, "a trace of a whole run");
        assert!(here == first && first == second, "seed {seed} is not one run");
    }
    assert_ne!(whole_run(3), whole_run(8), "the seed matters");
}

#[test]
fn the_number_of_cores_changes_nothing() {
    let wanted = Wanted { steps: 20, ..wanted("durable", "xfs") };
    let campaign = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| campaign::runs(50, 8, &wanted, &Options::default()).unwrap())
    };
    let (one, four) = (campaign(1), campaign(4));
    assert_eq!(one.fingerprint, four.fingerprint);
    assert_eq!(one.counts, four.counts);
    assert!(one.count("operations") > 0);
}
