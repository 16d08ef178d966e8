//! Properties of all persistence models over random small logs: containments, what an enumeration is, what a sync
//! promised.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use pullplug::disk::SimFs;
use pullplug::disk::crash::{Loss, families, families_at, free_atoms, whole};
use pullplug::disk::effect::{Cut, What, executed};
use pullplug::disk::fault::{FailedPages, FaultRates, Faults};
use pullplug::disk::model::{ALL, Family, Journal, PersistenceModel, named};
use pullplug::disk::space::{Bits, Space};
use pullplug::disk::tree::Tree;
use pullplug::env::choice::{Recorded, recorded};

use crate::script::{Player, calls, shown, states, states_of};

/// Most un-synced atoms at a cut that is enumerated: 2 to the power of it states.
const MAX_FREE_ATOMS: usize = 10;

/// The stronger model first: its crash states are among those of the second. (`ext4-writeback` is within no other: only
/// there a file that was removed, or cut, shows what was written elsewhere if that is lost.)
const CONTAINED: [(&str, &str); 7] = [
    ("journal", "ext4-ordered"),
    ("ext4-ordered", "ext4-ordered-weak"),
    ("ext4-ordered-weak", "posix"),
    ("ext4-ordered", "ext4-writeback"),
    ("xfs", "posix"),
    ("btrfs", "posix-split-rename"),
    ("posix", "posix-split-rename"),
];

/// Durable before the random calls: two directories, files of one and of two sectors.
pub const SETUP: &str = "mkdir d; mkdir e; create a; append a 71 P; create d/b; append d/b 600 Q";

const PATHS: [&str; 7] = ["a", "b", "d/a", "d/b", "e/a", "e/b", "d/f/a"];
const DIRS: [&str; 4] = ["d", "e", "f", "d/f"];
const NAMES: [&str; 6] = ["a", "b", "d/a", "d/b", "e/b", "e/f"];

/// One random call; many do not succeed, and change nothing.
fn call() -> impl Strategy<Value = String> {
    let path = || prop::sample::select(&PATHS[..]);
    let dir = || prop::sample::select(&DIRS[..]);
    let name = || prop::sample::select(&NAMES[..]);
    let len = || prop::sample::select(&[1_u32, 71, 512, 700, 1024][..]);
    let letter = || prop::sample::select(&["A", "B", "C", "D", "E"][..]);
    prop_oneof![
        3 => path().prop_map(|p| format!("create {p}")),
        3 => (path(), len(), letter()).prop_map(|(p, n, l)| format!("append {p} {n} {l}")),
        2 => (path(), prop::sample::select(&[0_u32, 10, 512, 3800][..]), len(), letter())
            .prop_map(|(p, o, n, l)| format!("write {p} {o} {n} {l}")),
        2 => (path(), prop::sample::select(&[0_u32, 5, 512, 650, 1500][..])).prop_map(|(p, n)| format!("truncate {p} {n}")),
        1 => path().prop_map(|p| format!("close {p}")),
        3 => path().prop_map(|p| format!("fsync {p}")),
        2 => dir().prop_map(|p| format!("fsync {p}")),
        1 => Just("fsync /".to_owned()),
        1 => Just("syncfs".to_owned()),
        3 => (name(), name()).prop_map(|(a, b)| format!("rename {a} {b}")),
        1 => (dir(), prop::sample::select(&["d", "e/f", "f", "d/f", "g"][..])).prop_map(|(a, b)| format!("rename {a} {b}")),
        2 => (path(), path()).prop_map(|(a, b)| format!("link {a} {b}")),
        2 => path().prop_map(|p| format!("unlink {p}")),
        2 => dir().prop_map(|p| format!("mkdir {p}")),
        1 => dir().prop_map(|p| format!("rmdir {p}")),
    ]
}

pub fn script(max_calls: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(call(), 1..=max_calls).prop_map(|calls| calls.join("; "))
}

/// Runs `property` on `cases` random inputs; what failed once is kept and tried first ever after.
pub fn check<S: Strategy>(
    name: &'static str,
    cases: u32,
    inputs: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: std::fmt::Debug,
{
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/regressions/models.txt");
    let default = ProptestConfig::default();
    let config = ProptestConfig {
        // PROPTEST_CASES, 256 if it is not set, scales all.
        cases: (cases * default.cases).div_ceil(256),
        source_file: Some(file!()),
        test_name: Some(name),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        max_shrink_iters: 4000,
        ..default
    };
    if let Err(e) = TestRunner::new(config).run(inputs, property) {
        panic!("{name}: {e}");
    }
}

/// Runs what of the script succeeds on the set-up disk.
pub fn played(script: &str) -> Player {
    let mut player = Player::after(SETUP);
    for call in calls(script) {
        let _ = player.call(call);
    }
    player
}

/// The same on a disk on which writes may be short and syncs fail.
fn played_with_faults(script: &str, choices: Recorded, failed_pages: FailedPages) -> Player {
    let mut player = Player::after(SETUP);
    let rates = FaultRates { sync_failure_one_in: 3, short_write_one_in: 4, failed_pages, ..FaultRates::default() };
    player.fs.set_faults(Some(Faults::new(rates, Box::new(choices))));
    for call in calls(script) {
        let _ = player.call(call);
    }
    player
}

/// A script, and what the faults choose while it runs.
fn faulty(max_calls: usize) -> impl Strategy<Value = (String, Recorded, FailedPages)> {
    (script(max_calls), recorded(8), prop::sample::select(&[FailedPages::KeepNew, FailedPages::Revert][..]))
}

/// Whether all families at `cut` are small enough to be enumerated.
fn is_small(space: &Space, model: &dyn PersistenceModel, cut: Cut) -> bool {
    families(space, model, Loss::PowerCut, cut).iter().all(|f| free_atoms(f).len() <= MAX_FREE_ATOMS)
}

/// The visible trees at `cut`: hash, and one set of survivors that leads there.
fn visible(space: &Space, model: &dyn PersistenceModel, cut: Cut) -> BTreeMap<u128, Bits> {
    states(space, model, cut).into_iter().map(|bits| (space.view(&bits).tree_hash(), bits)).collect()
}

#[test]
fn containments_hold() {
    let (tried, skipped) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    check("containments_hold", 400, &faulty(10), |(script, choices, failed_pages)| {
        let player = played_with_faults(&script, choices, failed_pages);
        let spaces: Vec<Space> = ALL.iter().map(|m| player.space(*m)).collect();
        for cut in player.cuts() {
            if !ALL.iter().zip(&spaces).all(|(m, s)| is_small(s, *m, cut)) {
                skipped.set(skipped.get() + 1);
                continue;
            }
            tried.set(tried.get() + 1);
            let sets: BTreeMap<&str, (usize, BTreeMap<u128, Bits>)> =
                ALL.iter().enumerate().map(|(i, m)| (m.name(), (i, visible(&spaces[i], *m, cut)))).collect();
            for (inner, outer) in CONTAINED {
                let (at, small) = &sets[inner];
                for (hash, bits) in small {
                    prop_assert!(
                        sets[outer].1.contains_key(hash),
                        "{inner} allows {}, {outer} does not ({cut})",
                        shown(&spaces[*at].view(bits).tree())
                    );
                }
            }
        }
        Ok(())
    });
    let (tried, skipped): (u32, u32) = (tried.get(), skipped.get());
    println!("{tried} cuts were compared and {skipped} skipped as too large");
    assert!(tried > 3 * skipped, "{tried} cuts were compared and {skipped} skipped as too large");
}

#[test]
fn every_enumeration_is_legal_and_visits_each_set_once() {
    check("enumeration", 150, &script(6), |script| {
        let player = played(&script);
        for model in ALL {
            let space = player.space(model);
            for cut in player.cuts().into_iter().filter(|c| is_small(&space, model, *c)) {
                for family in families(&space, model, Loss::PowerCut, cut) {
                    prop_assert!(family.forced.within(&family.allowed), "{}: forced beyond allowed", model.name());
                    let all = states_of(&space, &family);
                    for bits in &all {
                        prop_assert!(family.forced.within(bits) && bits.within(&family.allowed), "{}", model.name());
                        prop_assert!(space.is_closed(bits), "{} at {cut}: not closed", model.name());
                    }
                    let distinct: BTreeSet<&Bits> = all.iter().collect();
                    prop_assert_eq!(distinct.len(), all.len(), "{} at {}: a set twice", model.name(), cut);
                    prop_assert_eq!(distinct.len(), count_closed(&space, &family), "{} at {}", model.name(), cut);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn many_cuts_have_the_families_of_each() {
    check("many cuts", 300, &script(12), |script| {
        let player = played(&script);
        let cuts = player.cuts();
        let words = |family: &Family| format!("{family:?}");
        for model in ALL {
            for from in [0, cuts.len() / 2, cuts.len() - 1] {
                let all = families_at(&player.space(model), model, Loss::PowerCut, &cuts[from..]);
                for (at, cut) in cuts[from..].iter().enumerate() {
                    // A space of its own: what it has found for other cuts is not used.
                    let alone = families(&player.space(model), model, Loss::PowerCut, *cut);
                    let alone: BTreeSet<String> = alone.iter().map(words).collect();
                    let of: BTreeSet<String> = all.of(at).map(words).collect();
                    prop_assert_eq!(of, alone, "{} at {}, of those from {}", model.name(), cut, cuts[from]);
                }
            }
        }
        Ok(())
    });
}

/// How many legal sets a family has, counted the slow way: all subsets of the free atoms.
fn count_closed(space: &Space, family: &Family) -> usize {
    let free = free_atoms(family);
    let legal = |choice: &u32| {
        let mut bits = family.forced.clone();
        for (i, id) in free.iter().enumerate() {
            if choice >> i & 1 == 1 {
                bits.insert(*id);
            }
        }
        let whole = |id: usize| space.tied_to(id).is_none_or(|first| bits.contains(first) == bits.contains(id));
        space.is_closed(&bits) && free.iter().all(|id| whole(*id))
    };
    (0..1_u32 << free.len()).filter(legal).count()
}

#[test]
fn a_process_crash_leaves_the_live_tree() {
    check("process_crash", 300, &faulty(12), |(script, choices, failed_pages)| {
        let player = played_with_faults(&script, choices, failed_pages);
        let live = shown(&player.fs.tree());
        for model in ALL {
            let space = player.space(model);
            let end = Cut::after(space.records().len());
            for family in families(&space, model, Loss::ProcessCrash, end) {
                let all = states_of(&space, &family);
                prop_assert_eq!(all.len(), 1);
                prop_assert_eq!(&shown(&space.view(&all[0]).tree()), &live, "{}", model.name());
            }
        }
        let (base, log) = player.fs.snapshot();
        prop_assert_eq!(&shown(&SimFs::replayed(base.clone(), log.clone()).tree()), &live);
        // Inside a write as well: what the restarted machine reads is what the log up to there says.
        let space = player.space(&Journal);
        for cut in player.cuts() {
            let restarted = SimFs::replayed(base.clone(), executed(&log, cut)).tree();
            prop_assert_eq!(shown(&space.view(&whole(&space, cut)).tree()), shown(&restarted), "{}", cut);
        }
        Ok(())
    });
}

#[test]
fn hashes_are_equal_where_trees_are() {
    check("hashes", 100, &script(6), |script| {
        let player = played(&script);
        let mut text_of: BTreeMap<u128, String> = BTreeMap::new();
        let mut hash_of: BTreeMap<String, u128> = BTreeMap::new();
        for model in ALL {
            let space = player.space(model);
            for cut in player.cuts().into_iter().filter(|c| is_small(&space, model, *c)) {
                for bits in states(&space, model, cut) {
                    let view = space.view(&bits);
                    let (hash, tree) = (view.tree_hash(), view.tree());
                    prop_assert_eq!(hash, hash_from_scratch(&tree), "{}", shown(&tree));
                    let text = shown(&tree);
                    prop_assert_eq!(text_of.entry(hash).or_insert_with(|| text.clone()), &text, "one hash, two trees");
                    prop_assert_eq!(*hash_of.entry(text.clone()).or_insert(hash), hash, "{}: two hashes", text);
                }
            }
        }
        Ok(())
    });
}

fn hash_from_scratch(tree: &Tree) -> u128 {
    let space = Space::new(tree.clone(), Vec::new().into(), &Journal);
    space.view(&Bits::new(0)).tree_hash()
}

#[test]
fn what_was_synced_stays_until_it_is_changed() {
    let inputs = (script(5), prop::sample::select(&PATHS[..]), script(4));
    let looked = std::cell::Cell::new(0);
    check("synced", 400, &inputs, |(before, path, after)| {
        let mut player = played(&before);
        // What stands at `path` now is synced, not what was opened there and has been replaced since.
        let _ = player.call(&format!("close {path}"));
        let dirs: Vec<&str> = path.rmatch_indices('/').map(|(i, _)| &path[..i]).collect();
        let syncs = std::iter::once(path).chain(dirs).chain(["/"]).map(|p| format!("fsync {p}"));
        if !syncs.map(|call| player.call(&call)).all(|r| r.is_ok()) {
            return Ok(());
        }
        let stands =
            |fs: &SimFs| (fs.tree().walk(path, |_, _| {}).ok().and_then(|p| p.ino), content_at(&fs.tree(), path));
        let promised = stands(&player.fs);
        let from = player.fs.snapshot().1.len();
        let mut until = from;
        for call in calls(&after) {
            let _ = player.call(call);
            if stands(&player.fs) != promised {
                break;
            }
            until = player.fs.snapshot().1.len();
        }
        for model in ALL {
            let space = player.space(model);
            let inside = |c: &Cut| {
                (from..=until).contains(&(c.records as usize)) && (c.inside.is_none() || (c.records as usize) < until)
            };
            for cut in player.cuts().into_iter().filter(inside).filter(|c| is_small(&space, model, *c)) {
                for bits in states(&space, model, cut) {
                    looked.set(looked.get() + 1);
                    let tree = space.view(&bits).tree();
                    prop_assert_eq!(
                        &content_at(&tree, path),
                        &promised.1,
                        "{} at {}: {}",
                        model.name(),
                        cut,
                        shown(&tree)
                    );
                }
            }
        }
        Ok(())
    });
    assert!(looked.get() > 1000, "only {} states were looked at", looked.get());
}

/// What stands at `path`: a file's content as text.
fn content_at(tree: &Tree, path: &str) -> Option<String> {
    shown(tree).split(' ').find_map(|word| word.strip_prefix(&format!("{path}=")).map(str::to_owned))
}

#[test]
fn a_lying_disk_forces_nothing() {
    check("lying_disk", 100, &script(6), |script| {
        let player = played(&script);
        let (base, log) = player.fs.snapshot();
        let lied = pullplug::disk::crash::without_syncs(&log);
        prop_assert_eq!(lied.len(), log.len());
        let completed = |w: &What| matches!(w, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs);
        prop_assert!(!lied.iter().any(|r| completed(&r.what)));
        let nothing = shown(&base);
        for model in ALL {
            let space = Space::new(base.clone(), lied.clone().into(), model);
            let end = Cut::after(lied.len());
            let none = families(&space, model, Loss::LyingDisk, end).into_iter().any(|f| f.forced.is_empty());
            prop_assert!(none, "{}: something is forced", model.name());
            let tree = space.view(&Bits::new(space.atoms().len())).tree();
            prop_assert_eq!(&shown(&tree), &nothing);
        }
        Ok(())
    });
}

#[test]
fn every_model_is_found_by_its_name() {
    for model in ALL {
        assert_eq!(named(model.name()).map(|m| m.name()), Some(model.name()));
    }
    assert!(named("ext3").is_none());
}
