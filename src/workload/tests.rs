//! The named workloads, as lists of operations and as histories.

use super::image::{Image, RECORDED_LAYER_BYTES};
use super::*;

fn images() -> (Image, Image) {
    let image = |seed| Image::generated(seed, "latest".parse().unwrap(), &RECORDED_LAYER_BYTES);
    (image(1), image(2))
}

fn named(name: &str) -> Workload {
    let (first, second) = images();
    Workload::named(name, &first, &second).unwrap()
}

/// The operations with digests and repository left out.
fn verbs(ops: &[Op]) -> Vec<String> {
    let short = |op: &Op| match op {
        Op::PutManifest { tag, .. } => format!("put manifest {}", tag.as_ref().unwrap()),
        other => other.to_string().split(" of ").next().unwrap().replace(" to lib/app", ""),
    };
    ops.iter().map(short).collect()
}

const PUSH: [&str; 5] = ["start upload 1", "commit upload 1", "start upload 2", "commit upload 2", "put manifest v1"];

#[test]
fn the_five_workloads() {
    let push = named("push");
    assert_eq!(verbs(&push.ops), PUSH);
    assert!(push.setup.is_empty());
    let layer = push.contents.get(&images().0.blobs()[0].digest).unwrap();
    assert_eq!(layer.bytes.len(), 40_000, "the layer comes first");

    let retag = named("retag");
    assert_eq!(verbs(&retag.setup), PUSH);
    let second = ["start upload 3", "commit upload 3", "start upload 4", "commit upload 4", "put manifest v1"];
    assert_eq!(verbs(&retag.ops), second);
    assert_ne!(retag.setup[4], retag.ops[4]);

    let delete = named("delete");
    assert_eq!(verbs(&delete.setup), PUSH);
    assert!(matches!(&delete.ops[..], [Op::DeleteManifest { .. }]));

    let gc = named("gc");
    assert_eq!(gc.setup.len(), 11);
    assert_eq!(verbs(&gc.ops), ["collect garbage", "collect garbage"]);
    assert!(gc.collects() && !delete.collects());

    let resume = named("resume");
    let first = [
        "start upload 1",
        "append 10000 bytes to upload 1",
        "append 10000 bytes to upload 1",
        "restart the process",
        "resume upload 1",
        "commit upload 1",
    ];
    assert_eq!(verbs(&resume.ops), [&first[..], &PUSH[2..]].concat());

    let (first, second) = images();
    let unknown = Workload::named("pusch", &first, &second).unwrap_err();
    assert_eq!(unknown.to_string(), r#"there is no workload "pusch"; known are push, retag, delete, gc, resume"#);
    assert!(NAMES.into_iter().all(|name| named(name).name == name));
}
