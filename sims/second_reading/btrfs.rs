//! `btrfs` read again: a commit anywhere, and behind it what fsyncs have logged.
//!
//! As for the other models, every subset of the pieces is tried: of each commit `C` those that hold what was committed and
//! what the [log](log) is certain to have, and nothing that is younger than `C` and cannot be in the log.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use pullplug::disk::effect::{BLOCK_BYTES, Cut, Record, What};
use pullplug::disk::litmus::Litmus;
use pullplug::disk::model::Btrfs;
use pullplug::disk::space::Space;
use pullplug::disk::tree::{Ino, ROOT, Tree};
use pullplug::fs::FileKind;

use self::log::Log;
use super::{Change, Entry, Fate, MAX_FREE_PIECES, Piece, Tally, before, left};
use crate::models::{check, played, script};
use crate::script::{Player, shown, states};

/// Pieces, by their places.
type Set = BTreeSet<usize>;

/// "A rename is not atomic here": what is replaced may be gone before it; a file that goes to another directory has both
/// names before the old one is gone.
fn pieces(log: &[Record]) -> Vec<Piece> {
    let split = |piece: Piece| {
        let record = piece.record;
        let names = |entries: &[Entry]| Piece { record, change: Change::Names(entries.to_vec()) };
        let [set, clear] = piece.entries() else { return vec![piece] };
        let gone = set.before.map(|_| names(&[Entry { after: None, ..set.clone() }]));
        let (set, clear) = (Entry { before: None, ..set.clone() }, clear.clone());
        let moved = if set.kind == FileKind::File && set.dir != clear.dir {
            vec![names(&[set]), names(&[clear])]
        } else {
            vec![names(&[set, clear])]
        };
        gone.into_iter().chain(moved).collect()
    };
    super::pieces(log, &Btrfs).into_iter().flat_map(split).collect()
}

/// Whether `later` persists only together with `earlier`.
fn needs(earlier: &Piece, later: &Piece) -> bool {
    // The halves of one rename, and no zeros under a grown length.
    let same_call = earlier.record == later.record
        && match &earlier.change {
            Change::Names(_) => !later.entries().is_empty(),
            Change::Sector { inode, .. } => later.grows(*inode),
            _ => false,
        };
    same_call || earlier.same_object(later) || earlier.frees(later, false)
}

/// Calls, and the pieces that they left.
struct History<'a> {
    base: &'a Tree,
    log: &'a [Record],
    all: &'a [Piece],
}

impl History<'_> {
    /// The pieces of the calls from `from` to before `to` that `which` picks.
    fn pick(&self, from: usize, to: usize, which: impl Fn(&Piece) -> bool) -> Set {
        (0..self.all.len()).filter(|at| (from..to).contains(&self.all[*at].record) && which(&self.all[*at])).collect()
    }

    /// With all that these need.
    fn closed(&self, set: &Set) -> Set {
        let mut closed = set.clone();
        for at in (0..self.all.len()).rev() {
            if closed.contains(&at) {
                closed.extend((0..at).filter(|p| needs(&self.all[*p], &self.all[at])));
            }
        }
        closed
    }

    fn has_name(&self, inode: Ino, at: usize) -> bool {
        let earlier = self.all.iter().filter(|p| p.record < at).flat_map(Piece::entries);
        before::names(self.base, inode, earlier) > 0
    }

    /// Whether a piece takes the name from what a rename replaces.
    fn is_replaced(&self, id: usize) -> bool {
        let piece = &self.all[id];
        gives(piece).is_none() && self.all.get(id + 1).is_some_and(|next| next.record == piece.record)
    }

    /// Whether an inode was made after `commit`.
    fn is_new(&self, inode: Ino, commit: usize) -> bool {
        inode != ROOT && self.base.node(inode).is_none() && self.pick(0, commit, |p| gives(p) == Some(inode)).is_empty()
    }
}

/// Who gets a name.
fn gives(piece: &Piece) -> Option<Ino> {
    piece.entries().iter().find_map(|e| e.after)
}

/// Files with bytes in memory before call `commit`. (A shrink, or a growth by itself, writes the block at the old or the new
/// end, unless that is its own end.)
fn dirty(history: &History<'_>, commit: usize) -> BTreeSet<Ino> {
    let mut dirty = BTreeSet::new();
    let in_block = |size: u64| !size.is_multiple_of(BLOCK_BYTES);
    for (at, record) in history.log[..commit].iter().enumerate() {
        match record.what {
            What::SyncFile(file) => drop(dirty.remove(&file)),
            What::SyncFs => dirty.clear(),
            _ => {}
        }
        for id in history.pick(at, at + 1, |_| true) {
            match history.all[id].change {
                Change::Sector { inode, .. } => drop(dirty.insert(inode)),
                Change::Size { inode, after: 0, .. } => drop(dirty.remove(&inode)),
                Change::Size { inode, before, after } if in_block(before.min(after)) => drop(dirty.insert(inode)),
                _ => {}
            }
        }
    }
    dirty
}

/// All subsets.
fn subsets(of: &BTreeSet<Ino>) -> impl Iterator<Item = BTreeSet<Ino>> {
    let picked = |number: usize| of.iter().enumerate().filter(move |(bit, _)| number >> bit & 1 == 1).map(|(_, i)| *i);
    (0..1_usize << of.len()).map(move |number| picked(number).collect())
}

/// What is there for certain after the calls of the history, and what may be, if the last commit was before call `commit`,
/// and the bytes of these files came to the disk later.
fn ends(history: &History<'_>, commit: usize, late: &BTreeSet<Ino>) -> (Set, Set) {
    let log = Log::since(commit, history, late);
    let mut certain = log.sure.clone();
    for (at, file) in log.syncs {
        certain.extend(history.pick(0, at, |p| p.is_data_of(file)));
    }
    if let Some(last) = history.log.iter().rposition(|r| r.what == What::SyncFs) {
        certain.extend(history.pick(0, last, |_| true));
    }
    certain = history.closed(&certain);
    // "Every change of the tree before it is there"; "a shrink of a length that was not written back says nothing".
    for at in history.pick(0, commit, Piece::is_metadata) {
        let is_there = |p: usize| certain.contains(&p) || !needs(&history.all[p], &history.all[at]);
        if !history.all[at].is_shrink() || (0..at).all(is_there) {
            certain.insert(at);
        }
    }
    let mut may = history.pick(0, commit, |_| true);
    may.extend(history.closed(&log.may));
    may.extend(&certain);
    (certain, may)
}

/// All sets of pieces that the rules allow after these calls; `None` where they are too many to try.
fn allowed(history: &History<'_>) -> Option<BTreeSet<Set>> {
    let first = history.log.iter().rposition(|r| r.what == What::SyncFs).map_or(0, |at| at + 1);
    let mut ends_of: BTreeSet<(Set, Set)> = BTreeSet::new();
    for commit in first..=history.log.len() {
        ends_of.extend(subsets(&dirty(history, commit)).map(|late| ends(history, commit, &late)));
    }
    let mut found = BTreeSet::new();
    for (certain, may) in ends_of {
        let free: Vec<usize> = may.difference(&certain).copied().collect();
        if free.len() > MAX_FREE_PIECES {
            return None;
        }
        for number in 0..1_usize << free.len() {
            let picked = free.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1).map(|(_, id)| *id);
            let state: Set = certain.iter().copied().chain(picked).collect();
            if history.closed(&state) == state {
                found.insert(state);
            }
        }
    }
    Some(found)
}

/// Compares both readings after each call that was played.
fn compare(player: &Player, tally: &Tally) -> Result<(), TestCaseError> {
    let (base, log) = player.fs.snapshot();
    let space = Space::new(base.clone(), log.clone().into(), &Btrfs);
    let mut text: BTreeMap<Set, Arc<str>> = BTreeMap::new();
    for done in 0..=log.len() {
        let all = pieces(&log[..done]);
        let history = History { base: &base, log: &log[..done], all: &all };
        let Some(second) = allowed(&history) else {
            tally.skipped.set(tally.skipped.get() + 1);
            continue;
        };
        let tree_of = |state: &Set| {
            let fates: Vec<Fate> =
                (0..all.len()).map(|id| if state.contains(&id) { Fate::Kept } else { Fate::Lost }).collect();
            Arc::<str>::from(shown(&left("btrfs", &base, &all, &fates)))
        };
        let second: BTreeSet<Arc<str>> = second
            .into_iter()
            .map(|state| text.entry(state).or_insert_with_key(|state| tree_of(state)).clone())
            .collect();
        let first = states(&space, &Btrfs, Cut::after(done)).into_iter().collect::<BTreeSet<_>>();
        let first: BTreeSet<Arc<str>> = first.iter().map(|bits| shown(&space.view(bits).tree()).into()).collect();
        tally.compared.set(tally.compared.get() + 1);
        let only = |a: &BTreeSet<Arc<str>>, b: &BTreeSet<Arc<str>>| a.difference(b).next().cloned();
        prop_assert_eq!(only(&first, &second), None, "only the first reading, after {}", done);
        prop_assert_eq!(only(&second, &first), None, "only the second reading, after {}", done);
    }
    Ok(())
}

#[test]
fn both_readings_of_btrfs_allow_the_same() {
    let tally = Tally::default();
    check("both_readings_of_btrfs_allow_the_same", 1200, &script(30), |script| compare(&played(&script), &tally));
    tally.is_enough();
}

#[test]
fn what_random_calls_seldom_do() {
    for script in [
        "create e/a; append a 9 B; fsync a; rename d/b a; fsync a",
        "mkdir d/f; append a 9 A; fsync a; link a b; append d/b 1 B; fsync d/b",
        "create d/a; append a 9 A; fsync a; link a e/a; rename d/b e/a; fsync a",
        "create d/a; mkdir e/f; append d/b 1 B; fsync d/b; rename d/b e/f/b; rename e/f f; fsync a; write a 0 1 A; fsync a",
        "create e/a; fsync e/a; rmdir d/f; create d/a; fsync d; rename e/a d/a; fsync d/b; write a 0 1 A; fsync a",
        "create b; mkdir d/f; link a d/f/a; rename d/f e/f; fsync a",
        "create e/z; append b 1 B; create w/y; append a 1 A; fsync a; rename a c; fsync b",
    ] {
        compare(&played(script), &Tally::default()).unwrap();
    }
}

#[test]
fn both_readings_of_btrfs_agree_on_the_litmus_tests() {
    let mut faults = Vec::new();
    for case in Litmus::all() {
        let mut player = Player::after(case.setup);
        player.run(case.calls);
        let tally = Tally::default();
        if let Err(e) = compare(&player, &tally) {
            faults.push(format!("{}: {} | {}\n{e}\n", case.name, case.setup, case.calls));
        }
        assert!(tally.compared.get() > tally.skipped.get(), "{}: too large", case.name);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
