//! Scenarios that nobody has thought of, through the public harness alone: the prover breaks the same invariants as looking
//! at each crash state does.

use std::collections::BTreeSet;

use proptest::prelude::*;
use pullplug::Scenario;
use pullplug::disk::SimFs;
use pullplug::disk::crash::Loss;
use pullplug::disk::model::ALL;
use pullplug::disk::tree::Tree;
use pullplug::explore::lazy::{Limits, prove};
use pullplug::explore::{Run, Subject};
use pullplug::harness::{Progress, ensure};
use pullplug::oci::Digest;

use super::everything;
use super::proofs::{play, setting, visit_all};
use crate::models::{SETUP, check, script};
use crate::script::calls;

/// Each says that the disk does not look in one of so many ways.
const INVARIANTS: [&str; 16] = [
    "not-0", "not-1", "not-2", "not-3", "not-4", "not-5", "not-6", "not-7", "not-8", "not-9", "not-a", "not-b",
    "not-c", "not-d", "not-e", "not-f",
];

/// Which of the ways the disk looks in.
async fn way(disk: &SimFs, at: Progress) -> usize {
    let seen = format!("{at:?} {}", everything(disk).await);
    usize::from(Digest::sha256(seen.as_bytes()).as_bytes()[0]) % INVARIANTS.len()
}

/// Steps of one call each, on a disk on which `opening` is played whenever it is opened.
fn scenario(steps: &str, opening: &str, retries: bool) -> Scenario {
    let opening = opening.to_owned();
    let open = async move |disk: SimFs| play(&disk, &opening, true).map(|()| disk);
    let mut scenario = Scenario::open("random", open).setup(async |disk: &mut SimFs| play(disk, SETUP, true));
    for call in calls(steps) {
        let call = call.to_owned();
        scenario = scenario.step(call.clone(), async move |disk: &mut SimFs| play(disk, &call, true));
    }
    for (at, name) in INVARIANTS.into_iter().enumerate() {
        scenario = scenario.invariant(name, async move |disk: &mut SimFs, progress| {
            ensure(way(disk, progress).await != at, "it looks like that")
        });
    }
    if retries { scenario.retry() } else { scenario }
}

#[test]
fn scenarios_break_what_they_break_state_by_state() {
    let inputs = (script(4), script(2), any::<bool>(), 0..ALL.len());
    let (compared, broken) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    check("lazy_scenarios", 100, &inputs, |(steps, opening, retries, model)| {
        let subject = scenario(&steps, &opening, retries);
        let run = Run::of(&subject).unwrap();
        for loss in [Loss::PowerCut, Loss::ProcessCrash] {
            let mut plain = BTreeSet::new();
            let mut look = |marks: usize, tree: &Tree| {
                for probe in subject.probes(marks, &[]) {
                    let seen = subject.evaluate(&probe, &SimFs::with_tree(tree.clone()));
                    plain.extend(seen.into_iter().filter(|o| o.violation.is_some()).map(|o| o.invariant));
                }
            };
            if visit_all(&subject, &run, (ALL[model], loss), false, &mut look).is_none() {
                continue;
            }
            let proof =
                prove(&subject, &run, setting(ALL[model], loss), Limits { later_recoveries: 0, ..Limits::default() })
                    .unwrap();
            let lazy: BTreeSet<&str> = proof.findings.into_keys().collect();
            prop_assert_eq!(&lazy, &plain, "{} {}", ALL[model].name(), loss.name());
            compared.set(compared.get() + 1);
            broken.set(broken.get() + plain.len());
        }
        Ok(())
    });
    let (compared, broken) = (compared.get(), broken.get());
    println!("{compared} compared, {broken} invariants broken");
    assert!(compared > 60 && broken > compared && broken < compared * INVARIANTS.len() / 2, "{compared} {broken}");
}
