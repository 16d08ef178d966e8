//! Two operations at once, on the command line.

use super::{expect, pullplug, text};
use crate::script::assert_snapshot;

const PUSH_GC: [&str; 9] = [
    "explore",
    "--strategy",
    "distribution-3.1",
    "--model",
    "journal",
    "--concurrent",
    "push,gc",
    "--preemptions",
    "1",
];

/// The race that distribution 2.8 is known for: a push finds an old blob, a collection takes it, and the push links it
/// all the same. No power needs to fail.
#[test]
fn distribution_2_8_collects_what_is_being_pushed() {
    let args = PUSH_GC.map(|word| if word == "distribution-3.1" { "distribution-2.8" } else { word });
    let found = expect(&args, 1);
    assert_snapshot("concurrent-push-gc-2.8", &found);
    assert!(found.contains("\n  lost      nothing\n"), "{found}");
}

/// On a file system that keeps everything in order nothing but the other client can be to blame.
#[test]
fn a_collection_takes_what_a_push_has_just_found() {
    let found = expect(&PUSH_GC, 1);
    assert_snapshot("concurrent-push-gc", &found);
    let line = found.lines().find(|line| line.trim_start().starts_with("replay ") && line.contains("no-dangling-link"));
    let crash = line.unwrap().split_whitespace().last().unwrap();
    assert!(crash.contains("/turns@2:"), "the collection began: {crash}");
    let again = expect(&["replay", crash], 1);
    assert!(
        again.contains("no-dangling-link: ") && again.contains("\n    1  2  -- begins: collect garbage"),
        "{again}"
    );
    let other = crash.replacen("/turns@2:", "/turns@1:", 1);
    assert_eq!(pullplug(&["replay", &other]).status.code(), Some(2), "another order is another schedule");
    let unknown = pullplug(&["replay", &crash.replacen("push,gc", "push", 1)]);
    assert!(text(&unknown.stderr).contains("known are push,push"), "{}", text(&unknown.stderr));
}

#[test]
fn a_pair_takes_the_place_of_a_workload() {
    for args in [
        &["explore", "--strategy", "durable", "--model", "xfs"][..],
        &["explore", "--strategy", "durable", "--model", "xfs", "--workload", "push", "--concurrent", "push,gc"],
        &["explore", "--strategy", "durable", "--model", "xfs", "--workload", "push", "--preemptions", "1"],
        &["explore", "--strategy", "durable", "--model", "xfs", "--concurrent", "push,gc", "--preemptions", "5"],
    ] {
        assert_eq!(pullplug(args).status.code(), Some(2), "{args:?}");
    }
}
