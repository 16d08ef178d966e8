//! Litmus tests of the persistence models, as [`pullplug::disk::litmus`] has them.
//!
//! Each has a snapshot with the full set of outcomes that each model allows. The snapshots were read line by line against
//! the rules; a change in one of them is a change of a model.

use std::collections::BTreeSet;

use pullplug::disk::litmus::Litmus;
use rayon::prelude::*;

use crate::script::{assert_snapshot, table};

#[test]
fn what_each_model_allows() {
    let all: Vec<Litmus> = Litmus::all().collect();
    all.par_iter().for_each(|case| {
        assert_snapshot(&format!("litmus_{}", case.name), &table(case.about, case.setup, case.calls));
        crate::lazy::agrees_on(case.setup, case.calls);
        crate::find::agrees_on(case.setup, case.calls);
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the snapshots are files")]
fn each_snapshot_is_of_one_case() {
    let cases: Vec<String> = Litmus::all().map(|case| format!("litmus_{}.snap", case.name)).collect();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter(|name| name.starts_with("litmus_") && name.ends_with(".snap")).collect();
    assert_eq!(files, cases.iter().cloned().collect());
    assert_eq!(files.len(), cases.len(), "a name twice");
}
