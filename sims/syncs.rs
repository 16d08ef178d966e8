//! Which syncs are needed, and which are missing: by the library, and by the program as its users meet it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use pullplug::disk::effect::{Record, What};
use pullplug::disk::model;
use pullplug::explore::interleave::search::Search;
use pullplug::fs::trace::Call;
use pullplug::synthesis::bench::Answer;
use pullplug::synthesis::roles::{START, general, generalised, steps};
use pullplug::synthesis::{Addition, Alteration, Bench};
use pullplug::workload::image::Image;
use pullplug::workload::op::Op;
use pullplug::workload::pair::{PAIRS, Pair};
use pullplug::workload::subject::RegistrySubject;
use pullplug::workload::together::Stage;
use pullplug::workload::{NAMES, Workload};
use rayon::prelude::*;

use crate::cli::expect;
use crate::harness::foreign::Hasty;
use crate::script::assert_snapshot;

const WORKLOADS: [&str; 4] = ["push", "retag", "delete", "gc"];
/// Under one of these each sync of an ordinary run is needed; that of a start is for restarts: see `syncs_of_a_deletion`.
const MODELS: [&str; 3] = ["posix", "btrfs", "ext4-ordered"];

/// `durable` makes no sync too many: without all calls of any one something breaks that it claims.
#[test]
fn durable_makes_no_sync_too_many() {
    let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[]);
    let subject = |name| RegistrySubject::new("durable", Workload::named(name, &image(1), &image(2)).unwrap()).unwrap();
    let subjects = WORKLOADS.map(subject);
    let bench = Bench { subjects: &subjects, seed: 1 };
    let mut roles: Vec<(usize, _)> = Vec::new();
    for (workload, subject) in subjects.iter().enumerate() {
        for step in steps(subject).unwrap() {
            if step.is_sync && step.role.verb != START && !roles.iter().any(|(_, known)| *known == step.role) {
                roles.push((workload, step.role));
            }
        }
    }
    // As it is, nothing breaks there: what is found below is the missing sync's doing.
    for (workload, model) in (0..subjects.len()).flat_map(|w| MODELS.map(|model| (w, model::named(model).unwrap()))) {
        let as_it_is = bench.ask(workload, Alteration::default(), model, &|_| true, false).unwrap();
        assert_eq!(as_it_is, Answer::Unknown, "{} under {}", WORKLOADS[workload], model.name());
    }
    let needed = |(workload, role): &(usize, pullplug::synthesis::roles::Role)| {
        let under = MODELS.iter().find_map(|model| {
            let (model, alteration) = (model::named(model).unwrap(), Alteration::without(role));
            match bench.ask(*workload, alteration, model, &|_| true, false).unwrap() {
                Answer::Broken(findings) => {
                    let smallest = findings.into_iter().min_by_key(pullplug::explore::Finding::size).unwrap();
                    Some(format!("{} under {}, {} lost", smallest.invariant, model.name(), smallest.lost.len()))
                }
                _ => None,
            }
        });
        let under = under.unwrap_or_else(|| panic!("{role} may go"));
        format!("{role}\n    {}: {under}\n", WORKLOADS[*workload])
    };
    let mut text = String::new();
    for line in roles.par_iter().map(needed).collect::<Vec<_>>() {
        text.write_str(&line).unwrap();
    }
    assert_snapshot("syncs-durable", &text);
}

/// Two clients at once make no sync that one alone does not make, and needs: none is there for pairs only.
#[test]
fn pairs_make_no_other_syncs() {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[]));
    let mut alone: BTreeSet<String> = BTreeSet::new();
    for name in NAMES {
        let subject = RegistrySubject::new("durable", Workload::named(name, &first, &second).unwrap()).unwrap();
        let syncs = steps(&subject).unwrap().into_iter().filter(|step| step.is_sync);
        // The root has no name in a log.
        alone.extend(syncs.map(|step| step.role.call.trim_end_matches(" .").to_owned()));
    }
    for pair in PAIRS {
        let stage = Stage::new("durable".to_owned(), Pair::named(pair, &first, &second).unwrap()).unwrap();
        let search = Search { preemptions: 1, reduce: true };
        let (runs, _) = search.all(|schedule| stage.run(schedule)).unwrap();
        let syncs = |record: &&Record| matches!(record.what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs);
        let made = runs.iter().flat_map(|run| run.run.log.iter().filter(syncs));
        // Alone, the second image and its tag are pushed in setups, which are not among the steps.
        let made = made.map(|record| generalised(&record.call).replace("/tags/v2", "/tags/v1"));
        let others: BTreeSet<String> = made.filter(|call| !alone.contains(call)).collect();
        assert!(others.is_empty(), "{pair}: {others:?}");
    }
}

/// Every pair of successive calls of a push, swapped, and what that breaks or is proved not to break.
#[test]
#[ignore = "hundreds of proofs: for release builds"]
fn orders_of_a_push() {
    let args = ["--strategy", "durable", "--workloads", "push", "--orders", "--layer-bytes", "0"];
    let models = ["--model", "ext4-ordered,btrfs,posix"];
    assert_snapshot("syncs-orders-push", &expect(&[&["syncs"][..], &args, &models].concat(), 0));
}

/// What is needed and what is not, proved, under every model.
#[test]
fn syncs_of_a_deletion() {
    assert_snapshot(
        "syncs-delete",
        &expect(&["syncs", "--strategy", "durable", "--workloads", "delete", "--orders"], 0),
    );
}

/// A deletion of distribution 3.1 is not mended by syncs.
#[test]
fn what_no_sync_mends() {
    let args = ["--strategy", "distribution-3.1", "--workloads", "delete", "--model", "posix,btrfs"];
    assert_snapshot("syncs-beyond", &expect(&[&["syncs"][..], &args].concat(), 0));
}

/// What distribution 3.1 lacks for a push: two syncs under `btrfs`, twenty-two under `posix`, and under ext4 and xfs none.
#[test]
fn what_distribution_lacks() {
    let models = ["--model", "ext4-ordered,xfs,btrfs,posix", "--layer-bytes", "0"];
    let args = ["--strategy", "distribution-3.1", "--workloads", "push", "--missing"];
    assert_snapshot("syncs-missing", &expect(&[&["syncs"][..], &args, &models].concat(), 0));
}

/// The smallest sets that a strategy lacks which forgets some syncs of `durable`, for the commit of a blob under `posix`.
fn lacks(forgets: fn(&Call) -> bool) -> Vec<Vec<String>> {
    let image = Image::generated(1, "v1".parse().unwrap(), &[]);
    let mut commit = Workload::named("push", &image, &image).unwrap();
    commit.ops.retain(|op| !matches!(op, Op::PutManifest { .. }));
    let subjects = [RegistrySubject::of(Hasty { forgets, ..Hasty::WHOLE }, commit).unwrap()];
    let bench = Bench { subjects: &subjects, seed: 1 };
    let baseline = bench.baseline(&model::Posix, |_| false, || {}).unwrap();
    let mended = bench.mend(&baseline, &model::Posix, &|_| true, 5, |_, _| {}).unwrap();
    assert!(mended.is_smallest && mended.is_all && mended.beyond.is_empty(), "{mended:?}");
    let told = |one: &Addition| format!("{}, then {}", one.after, one.what.name());
    mended.sets.iter().map(|set| set.iter().map(told).collect()).collect()
}

/// Whether a call is made on something with this ending, identifiers aside.
fn ends(call: &Call, ending: &str) -> bool {
    general(call).ends_with(ending)
}

#[test]
fn what_was_forgotten_is_what_is_missing() {
    let (link, link_dir) = ("_layers/sha256/HEX/link.ID.tmp", "_layers/sha256/HEX");
    assert_eq!(lacks(|_| false), [Vec::<String>::new()], "nothing");
    // The bytes before the name: only a sync between the two will do.
    let bytes = format!("commit: write {link}, then fsync of the file");
    assert_eq!(lacks(|call| ends(call, "_layers/sha256/HEX/link.ID.tmp")), [[bytes.clone()]]);
    // And the name before the answer.
    let name = format!("commit: rename {link} -> {link_dir}/link, then fsync of its directory");
    let forgets = |call: &Call| ends(call, "_layers/sha256/HEX/link.ID.tmp") || ends(call, "_layers/sha256/HEX");
    assert_eq!(lacks(forgets), [[name, bytes]]);
    // A rename is one effect, and belongs to the directories of both names.
    let blob = |dir| format!("commit: rename _uploads/ID/data -> blobs/sha256/HE/HEX/data, then fsync of its {dir}");
    assert_eq!(lacks(|call| ends(call, "blobs/sha256/HE/HEX")), [[blob("directory")], [blob("old directory")]]);
}
