//! Planted bugs: calls taken out of `durable`, one kind at a time; and how many seeds it takes to catch each.

use std::fmt::Write;
use std::sync::Arc;

use pullplug::fs::hooked::Action;
use pullplug::fs::trace::Call;
use pullplug::sim::campaign;
use pullplug::sim::host::Hook;
use pullplug::sim::world::Options;

use super::wanted;

/// Seeds within which a bug must be caught.
const SEEDS: u64 = 200;

/// A bug: its name, and the calls that it leaves out or swaps with the next one.
type Bug = (&'static str, Action, fn(&Call) -> bool);

const BUGS: [Bug; 8] = [
    (
        "a blob is named before its bytes are synced",
        Action::Drop,
        |c| matches!(c, Call::SyncData { path } if path.contains("/_uploads/")),
    ),
    (
        "a blob's name is not synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/blobs/sha256/")),
    ),
    (
        "a link is named before its bytes are synced",
        Action::Drop,
        |c| matches!(c, Call::SyncData { path } if path.contains("/repositories/") && !path.contains("/_uploads/")),
    ),
    (
        "the answer to a push comes before its link is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/_layers/")),
    ),
    (
        "a tag is answered before it is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/tags/")),
    ),
    (
        "a deletion is answered before it is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/_manifests/")),
    ),
    ("a start does not settle what a killed process left", Action::Drop, |c| matches!(c, Call::SyncFs)),
    ("a rename comes after the call that follows it", Action::Delay, |c| matches!(c, Call::Rename { .. })),
];

#[test]
fn each_is_caught() {
    let mut table = String::new();
    for (name, action, hits) in BUGS {
        let hook: Hook = Arc::new(move |call| if hits(call) { action } else { Action::Run });
        let options = Options { hook: Some(hook), ..Options::default() };
        let mut seed = 1;
        let caught = loop {
            assert!(seed <= SEEDS, "not caught by {SEEDS} seeds: {name}");
            let batch = campaign::runs(seed, 8, &wanted("durable", "posix"), &options).unwrap();
            if let Some((seed, findings)) = batch.found.first() {
                break (*seed, findings[0].invariant);
            }
            seed += 8;
        };
        let _ = writeln!(table, "{:>4}  {name}: {}", caught.0, caught.1);
    }
    println!("{table}");
}
