//! Recovery that goes by places, held to recovery as it is: the same disks, the same verdicts; and steps that do what
//! they must not.

use std::collections::BTreeSet;

use pullplug::disk::SimFs;
use pullplug::disk::crash::Loss;
use pullplug::disk::model::{Btrfs, PersistenceModel, Posix, PosixSplitRename};
use pullplug::disk::space::Space;
use pullplug::disk::tree::Tree;
use pullplug::env::{World, run_now};
use pullplug::explore::lazy::{Limits, prove};
use pullplug::explore::{Budget, Run, Setting, Subject};
use pullplug::fs::FileKind;
use pullplug::registry::Registry;
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::probe::{self, Probe};
use pullplug::workload::subject::RegistrySubject;

use crate::harness::foreign::{Hasty, Misstep};
use crate::shortcuts::{some_states, subject};

const CELLS: [(&str, &dyn PersistenceModel); 3] = [("push", &PosixSplitRename), ("resume", &Posix), ("retag", &Btrfs)];

fn open(tree: &Tree) -> (SimFs, Registry<SimFs>) {
    let disk = SimFs::with_tree(tree.clone());
    let registry = run_now(Registry::open("durable", disk.clone(), World::simulated(9))).unwrap();
    (disk, registry)
}

/// Places in any order, and all of them at once, whether there is something to do or not.
#[test]
fn step_by_step_litter_collection_leaves_the_same_disk() {
    let mut changed = 0;
    for (workload, model) in CELLS {
        let run = Run::of(&subject("durable", workload)).unwrap();
        let space = Space::new(run.base.clone(), run.log.clone(), model);
        let dirs = space.possible_paths().into_iter().filter(|(_, kind)| *kind == FileKind::Dir);
        let dirs: Vec<String> = dirs.map(|(path, _)| path).collect();
        for (cut, bits) in some_states(&space, model, 4, 10) {
            let tree = space.view(&bits).tree();
            let (whole, registry) = open(&tree);
            let removed = run_now(registry.collect_litter()).unwrap();
            let (stepwise, registry) = open(&tree);
            let steps = registry.strategy().litter_steps().unwrap();
            let places = dirs.iter().rev().filter(|dir| steps.is_place(dir));
            let stepwise_removed: u64 = places.map(|place| run_now(steps.collect_litter_in(place)).unwrap()).sum();
            assert!(whole.holds_same(&stepwise), "{workload} {} {cut}", model.name());
            assert_eq!(removed, stepwise_removed, "{workload} {} {cut}", model.name());
            changed += usize::from(removed > 0);
        }
    }
    assert!(changed > 100, "{changed}");
}

#[test]
fn an_object_alone_is_judged_as_with_all_of_recovery() {
    let mut looked = 0;
    for (workload, model) in CELLS {
        let subject = subject("durable", workload);
        let run = Run::of(&subject).unwrap();
        let space = Space::new(run.base.clone(), run.log.clone(), model);
        for (cut, bits) in some_states(&space, model, 5, 6) {
            let tree = space.view(&bits).tree();
            let mut probes = subject.probes(run.marks_before(cut), &[]);
            probes.retain(|probe| matches!(probe, Probe::Recovery(_)));
            let alone: Vec<_> =
                probes.iter().flat_map(|probe| subject.evaluate(probe, &SimFs::with_tree(tree.clone()))).collect();
            let contents = &subject.workload().contents;
            let (disk, world) = (SimFs::with_tree(tree.clone()), || World::simulated(9));
            let all = probe::evaluate_all(&probes, contents, "durable", &disk, SimFs::copy, SimFs::holds_same, world);
            let all: Vec<_> = run_now(all).unwrap().into_iter().map(|o| (o.invariant.name(), o.violation)).collect();
            let alone: Vec<_> = alone.into_iter().map(|o| (o.invariant, o.violation)).collect();
            assert_eq!(alone, all, "{workload} {} {cut}", model.name());
            looked += alone.len();
        }
    }
    assert!(looked > 300, "{looked}");
}

/// What a proof says of recovery, where steps go wrong.
fn broken(misstep: Misstep) -> BTreeSet<String> {
    let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[600]);
    let push = Workload::named("push", &image(1), &image(2)).unwrap();
    let subject = RegistrySubject::of(Hasty { misstep: Some(misstep), ..Hasty::WHOLE }, push).unwrap();
    let run = Run::of(&subject).unwrap();
    let budget = Budget { states: 0, recovery_states: 0, restart_states: 0 };
    let setting = Setting { model: &Posix, loss: Loss::ProcessCrash, seed: 1, budget };
    let proof = prove(&subject, &run, setting, Limits::default()).unwrap();
    proof.findings.into_values().map(|finding| format!("{}: {}", finding.invariant, finding.detail)).collect()
}

#[test]
fn a_step_that_does_what_it_must_not_is_caught() {
    assert_eq!(broken(Misstep::None), BTreeSet::new());
    let outside = broken(Misstep::Outside);
    assert!(outside.iter().any(|what| what.contains("recovery-idempotent: a second recovery fails")), "{outside:?}");
    let inside = broken(Misstep::Inside);
    assert!(inside.iter().any(|what| what.contains("survived the crash; after a second recovery")), "{inside:?}");
}
