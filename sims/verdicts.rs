//! The verdicts that must come out of the models: which strategy breaks which invariant under which file system.
//!
//! None of it is in a list of the library's. What was measured on real kernels is in it: distribution 2.8 and 3.1 lose
//! an acknowledged layer on btrfs and leave a dangling link; 2.8 tears links everywhere; 3.1 loses nothing on ext4 and
//! xfs.

use std::collections::{BTreeMap, BTreeSet};

use pullplug::check::Invariant;
use pullplug::disk::crash::Loss;
use pullplug::disk::model;
use pullplug::explore::{Budget, Outcome, Run, Setting, explore};
use pullplug::strategy;
use pullplug::workload::image::Image;
use pullplug::workload::probe::Probe;
use pullplug::workload::subject::RegistrySubject;
use pullplug::workload::{self, Workload};

const TAG: &str = "v1";
const BUDGET: Budget = Budget { states: 1_500, recovery_states: 300, restart_states: 500 };

/// Model (or `process-crash`) to the invariants that were broken there.
type Broken = BTreeMap<&'static str, BTreeSet<&'static str>>;

fn subject(strategy: &str, workload: &str) -> RegistrySubject {
    let image = |seed| Image::generated(seed, TAG.parse().unwrap(), &[40_000]);
    RegistrySubject::new(strategy, Workload::named(workload, &image(1), &image(2)).unwrap()).unwrap()
}

fn outcomes(strategy: &str, workload: &str) -> BTreeMap<&'static str, Outcome<Probe>> {
    let subject = subject(strategy, workload);
    let run = Run::of(&subject).unwrap();
    let cell = |model, loss| explore(&subject, &run, Setting { model, loss, seed: 1, budget: BUDGET });
    let mut all: BTreeMap<_, _> = model::ALL.into_iter().map(|m| (m.name(), cell(m, Loss::PowerCut))).collect();
    all.insert("process-crash", cell(&model::Posix, Loss::ProcessCrash));
    all
}

fn broken(strategy: &str, workload: &str) -> Broken {
    outcomes(strategy, workload).into_iter().map(|(m, o)| (m, o.violations.into_keys().collect())).collect()
}

/// The models under which `invariant` was broken, sorted; `process-crash` is one of them here.
fn where_broken(broken: &Broken, invariant: Invariant) -> Vec<&'static str> {
    broken.iter().filter(|(_, b)| b.contains(invariant.name())).map(|(m, _)| *m).collect()
}

const ALL_POWER_CUTS: [&str; 8] =
    ["btrfs", "ext4-ordered", "ext4-ordered-weak", "ext4-writeback", "journal", "posix", "posix-split-rename", "xfs"];

#[test]
fn push_of_distribution_2_8() {
    let b = broken("distribution-2.8", "push");
    assert_eq!(where_broken(&b, Invariant::AckedSurvives), ["btrfs", "posix", "posix-split-rename"]);
    let dangling = where_broken(&b, Invariant::NoDanglingLink);
    assert_eq!(dangling, ["btrfs", "ext4-ordered-weak", "posix", "posix-split-rename"]);
    let torn = where_broken(&b, Invariant::NoTornLink);
    assert!(ALL_POWER_CUTS.iter().all(|m| torn.contains(m)), "{torn:?}");
}

#[test]
fn push_of_distribution_3_1() {
    let b = broken("distribution-3.1", "push");
    assert_eq!(where_broken(&b, Invariant::AckedSurvives), ["btrfs", "posix", "posix-split-rename"]);
    assert_eq!(where_broken(&b, Invariant::NoDanglingLink), ["btrfs", "posix", "posix-split-rename"]);
    assert!(where_broken(&b, Invariant::NoTornLink).is_empty());
}

#[test]
fn push_of_distribution_2_0() {
    let b = broken("distribution-2.0", "push");
    assert_eq!(where_broken(&b, Invariant::AckedSurvives), ALL_POWER_CUTS);
}

#[test]
fn retag() {
    let b = broken("distribution-2.8", "retag");
    let lost = where_broken(&b, Invariant::TagOldOrNew);
    assert!(ALL_POWER_CUTS.iter().all(|m| lost.contains(m)) && lost.contains(&"process-crash"), "{lost:?}");

    // 71 bytes in one sector, overwritten in place: old or new.
    let b = broken("distribution-2.0", "retag");
    assert!(where_broken(&b, Invariant::TagOldOrNew).is_empty(), "{b:?}");

    let b = broken("distribution-3.1", "retag");
    // With data=writeback the old tag may hold anything until the rename is durable, whoever makes it.
    assert_eq!(where_broken(&b, Invariant::TagOldOrNew), ["ext4-writeback", "posix-split-rename"]);
    assert_eq!(where_broken(&b, Invariant::AckedSurvives), ["btrfs", "posix", "posix-split-rename"]);
}

#[test]
fn delete() {
    for strategy in ["distribution-2.8", "distribution-3.1"] {
        let undone = where_broken(&broken(strategy, "delete"), Invariant::DeletedStaysDeleted);
        assert_eq!(undone, ALL_POWER_CUTS, "{strategy}");
    }
}

#[test]
fn distribution_3_1_loses_nothing_where_it_was_measured() {
    for workload in ["push", "retag", "resume"] {
        let b = broken("distribution-3.1", workload);
        for model in ["ext4-ordered", "xfs"] {
            for invariant in [Invariant::AckedSurvives, Invariant::NoDanglingLink, Invariant::NoTornLink] {
                assert!(!b[model].contains(invariant.name()), "{workload} {model} {}", invariant.name());
            }
        }
    }
}

/// What `durable` claims holds in every workload, and every invariant was looked at somewhere.
#[test]
fn durable_keeps_what_it_claims() {
    let mut looked_at = BTreeSet::new();
    let claims = strategy::build("durable", pullplug::disk::SimFs::new(), pullplug::env::World::simulated(0)).unwrap();
    for workload in workload::NAMES {
        for (model, outcome) in outcomes("durable", workload) {
            looked_at.extend(outcome.evaluated.iter().filter(|(_, n)| **n > 0).map(|(name, _)| *name));
            let name = if model == "process-crash" { "posix" } else { model };
            let unclaimed: Vec<_> = outcome.findings.values().filter(|f| claims.claims(name, f.invariant)).collect();
            assert!(unclaimed.is_empty(), "{workload} under {model}: {unclaimed:#?}");
            assert!(outcome.crash_states > 5 && outcome.recovery_states > 0, "{workload} under {model}");
        }
    }
    let all: BTreeSet<_> = Invariant::ALL.iter().map(|i| i.name()).collect();
    assert_eq!(looked_at, all, "an invariant that never looked at anything cannot pass");
}

/// A rename that persists in pieces loses the old tag: documented, and it does show.
#[test]
fn durable_promises_no_rename_in_pieces() {
    let subject = subject("durable", "retag");
    let run = Run::of(&subject).unwrap();
    let budget = Budget { states: 60_000, recovery_states: 0, restart_states: 0 };
    let cell = |model| explore(&subject, &run, Setting { model, loss: Loss::PowerCut, seed: 1, budget });
    let outcome = cell(&model::PosixSplitRename);
    let names: Vec<_> = outcome.violations.keys().copied().collect();
    assert_eq!(names, [Invariant::TagOldOrNew.name()], "{:?}", outcome.findings);
    assert!(cell(&model::Posix).violations.is_empty());
}

#[test]
fn nothing_is_safe_on_a_lying_disk() {
    let subject = subject("durable", "push");
    let run = Run::of(&subject).unwrap();
    let setting = Setting { model: &model::Posix, loss: Loss::LyingDisk, seed: 1, budget: BUDGET };
    let outcome = explore(&subject, &run, setting);
    assert!(outcome.violations.contains_key(Invariant::AckedSurvives.name()), "{:?}", outcome.violations);
    // Reads are verified: wrong bytes are never served as good ones, not even there.
    assert!(!outcome.violations.contains_key(Invariant::ReadsVerify.name()));
}
