//! Planted bugs: calls taken out of `durable`, promises that the server breaks around it; and how many seeds it takes
//! to catch each.

use std::sync::Arc;

use pullplug::fs::hooked::Action;
use pullplug::fs::trace::Call;
use pullplug::sim::campaign;
use pullplug::sim::host::{Around, Hook};
use pullplug::sim::ledger::Finding;
use pullplug::sim::world::Options;
use rayon::prelude::*;

use super::{SEEDS, server_bugs, wanted};
use crate::script::assert_snapshot;

/// A bug of the strategy: its name, and the calls that it leaves out or swaps with the next one.
type StrategyBug = (&'static str, Action, fn(&Call) -> bool);

const STRATEGY_BUGS: [StrategyBug; 8] = [
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

/// The first seed whose run has a finding, and its findings.
fn first_seed(options: &Options) -> Option<(u64, Vec<Finding>)> {
    const BATCH: u64 = 8;
    let wanted = wanted("durable", "posix");
    let found = |from: u64| campaign::runs(from, BATCH, &wanted, options).unwrap().found;
    (1..=SEEDS).step_by(BATCH as usize).find_map(|from| found(from).into_iter().next())
}

#[test]
fn each_is_caught() {
    let mut bugs: Vec<(&str, Options)> = STRATEGY_BUGS
        .into_iter()
        .map(|(name, action, hits)| {
            let hook: Hook = Arc::new(move |call| if hits(call) { action } else { Action::Run });
            (name, Options { hook: Some(hook), ..Options::default() })
        })
        .collect();
    bugs.push(("a collection beside pushes has no fence", Options { unfenced: true, ..Options::default() }));
    bugs.extend(server_bugs::ALL.into_iter().map(|(name, plant)| {
        let around: Around = Arc::new(plant);
        (name, Options { around: Some(around), ..Options::default() })
    }));
    let table: Vec<String> = bugs
        .par_iter()
        .map(|(name, options)| {
            let caught = first_seed(options);
            caught.map_or_else(
                || format!("none  {name}\n"),
                |(seed, findings)| format!("{seed:>4}  {name}: {}\n", findings[0].invariant),
            )
        })
        .collect();
    let table = table.concat();
    assert!(!table.contains("none"), "not caught by {SEEDS} seeds:\n{table}");
    let title = "seeds until each bug is caught, on posix; what it broke first\n\n";
    assert_snapshot("world_planted", &format!("{title}{table}"));
}
