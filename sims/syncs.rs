//! Which syncs are needed, and which are missing: by the library, and by the program as its users meet it.

use std::fmt::Write as _;

use pullplug::disk::model;
use pullplug::synthesis::bench::Answer;
use pullplug::synthesis::roles::{START, steps};
use pullplug::synthesis::{Alteration, Bench};
use pullplug::workload::Workload;
use pullplug::workload::image::Image;
use pullplug::workload::subject::RegistrySubject;
use rayon::prelude::*;

use crate::cli::expect;
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
