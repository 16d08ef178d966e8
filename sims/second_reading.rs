//! A second reading of the persistence models, held against the first.
//!
//! [`pullplug::disk::model`] states the rules over atoms, and finds crash states by propagation. Here they are written
//! down once more, over the effects of the log, as two plain questions: does this piece need that one, does this sync
//! force it? Then **every** subset of the pieces is tried. Slow, and simple enough to be compared with the rules word by
//! word. Both readings must allow the same visible trees, at every cut between two calls, for random logs. (`btrfs`, which
//! is no order over effects, has a file of its own.)
//!
//! Not read again: cuts inside a write, failed syncs.

mod before;
mod btrfs;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use pullplug::disk::effect::{BLOCK_BYTES, Cut, Effect, Record, SECTOR_BYTES, SectorWrite, What};
use pullplug::disk::model::{ALL, PersistenceModel};
use pullplug::disk::space::{STALE_BYTE, Space};
use pullplug::disk::tree::{Ino, Node, Tree};
use pullplug::fs::FileKind;

use self::before::{before_size, is_in_vain, with_reused};
use crate::models::{check, played, script};
use crate::script::{shown, states};

/// Most pieces at a cut whose subsets are tried, the forced ones not counted.
const MAX_FREE_PIECES: usize = 9;

/// What may be lost by itself.
struct Piece {
    record: usize,
    change: Change,
}

enum Change {
    /// A directory entry; of a rename both, where they persist as one.
    Names(Vec<Entry>),
    Size {
        inode: Ino,
        before: u64,
        after: u64,
    },
    Sector {
        inode: Ino,
        block: u64,
        write: SectorWrite,
    },
    /// Of a sector that a shrink cuts, all but the first bytes turns to zeros in place.
    Zero {
        inode: Ino,
        sector: u64,
        keep: usize,
    },
    /// A sector that was freed shows what was written to its place since.
    Reuse {
        inode: Ino,
        sector: u64,
    },
}

#[derive(Clone)]
struct Entry {
    dir: Ino,
    name: Arc<str>,
    before: Option<Ino>,
    after: Option<Ino>,
    kind: FileKind,
}

/// What became of a piece. A sector that was allocated and not written is stale where the model shows that.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Lost,
    Kept,
    Stale,
}

impl Piece {
    fn entries(&self) -> &[Entry] {
        if let Change::Names(entries) = &self.change { entries } else { &[] }
    }

    fn is_shrink(&self) -> bool {
        matches!(self.change, Change::Size { before, after, .. } if after < before)
    }

    fn grows(&self, file: Ino) -> bool {
        matches!(self.change, Change::Size { inode, before, after } if inode == file && after > before)
    }

    fn is_data_of(&self, file: Ino) -> bool {
        use Change::{Sector, Size, Zero};
        matches!(self.change, Size { inode, .. } | Sector { inode, .. } | Zero { inode, .. } if inode == file)
    }

    /// "Shrinking a file is metadata: it takes its place in the Dentry order."
    fn is_metadata(&self) -> bool {
        !self.entries().is_empty() || self.is_shrink()
    }

    fn concerns(&self, inode: Ino) -> bool {
        let own = |e: &Entry| e.dir == inode || e.before == Some(inode) || e.after == Some(inode);
        self.entries().iter().any(own) || matches!(self.change, Change::Size { inode: i, .. } if i == inode)
    }

    /// "Two effects on the same dentry, the same size or the same sector persist in order or not at all."
    fn same_object(&self, other: &Self) -> bool {
        match (&self.change, &other.change) {
            (Change::Names(a), Change::Names(b)) => {
                a.iter().any(|a| b.iter().any(|b| a.dir == b.dir && a.name == b.name))
            }
            (Change::Size { inode: a, .. }, Change::Size { inode: b, .. }) => a == b,
            (Change::Sector { inode: a, write: x, .. }, Change::Sector { inode: b, write: y, .. }) => {
                a == b && x.sector == y.sector
            }
            // The sector is written whole, as it was last; who writes it again needs no zeros in it.
            (
                Change::Sector { inode: a, write, .. },
                Change::Zero { inode: b, sector, .. } | Change::Reuse { inode: b, sector },
            ) => a == b && write.sector == *sector,
            _ => false,
        }
    }

    /// Whether `later` is a sector in the range that this frees: with `in_place` not in the block that is left.
    fn frees(&self, later: &Self, in_place: bool) -> bool {
        let (Change::Size { inode: a, before, after }, Change::Sector { inode: b, write, .. }) =
            (&self.change, &later.change)
        else {
            return false;
        };
        let start = write.sector * SECTOR_BYTES;
        let from = if in_place { after.next_multiple_of(BLOCK_BYTES) } else { *after };
        self.is_shrink() && a == b && from < *before && start < *before && from < start + SECTOR_BYTES
    }
}

fn pieces(log: &[Record], model: &dyn PersistenceModel) -> Vec<Piece> {
    let mut all = Vec::new();
    for (record, of) in log.iter().enumerate() {
        let mut push = |change| all.push(Piece { record, change });
        let mut entries = Vec::new();
        for effect in of.effects() {
            match effect.clone() {
                Effect::Dentry { dir, name, before, after, kind } => {
                    entries.push(Entry { dir, name, before, after, kind });
                }
                Effect::Size { inode, before, after } => {
                    before_size(model, of, inode, before, after).into_iter().for_each(&mut push);
                    push(Change::Size { inode, before, after });
                }
                Effect::Block { inode, index, sectors } => {
                    sectors.into_iter().for_each(|write| push(Change::Sector { inode, block: index, write }));
                }
            }
        }
        match &entries[..] {
            [] => {}
            [set, clear] if model.splits_rename() => {
                if set.before.is_some() {
                    push(Change::Names(vec![Entry { after: None, ..set.clone() }]));
                }
                push(Change::Names(vec![clear.clone()]));
                push(Change::Names(vec![Entry { before: None, ..set.clone() }]));
            }
            _ => push(Change::Names(entries)),
        }
    }
    all
}

/// "Closing a file that was truncated to 0 allocates": whether `kept`, behind such a close, needs the length `grown`.
fn behind_a_close(log: &[Record], grown: &Piece, kept: &Piece) -> bool {
    kept.is_metadata()
        && (grown.record..kept.record)
            .any(|at| matches!(log[at].what, What::CloseTruncated(inode) if grown.grows(inode)))
}

/// Whether `later` persists only together with `earlier`: the column "order among un-synced effects".
fn needs(model: &str, log: &[Record], earlier: &Piece, later: &Piece) -> bool {
    let posix = model.starts_with("posix");
    if earlier.same_object(later) || (!posix && earlier.frees(later, model != "journal")) {
        return true;
    }
    let metadata_in_order = earlier.is_metadata() && later.is_metadata();
    match model {
        "posix" | "posix-split-rename" => false,
        "journal" => earlier.record < later.record,
        "ext4-ordered" | "ext4-writeback" => {
            let replaces = |e: &Entry| e.before.is_some() && e.after.is_some_and(|inode| earlier.grows(inode));
            metadata_in_order || later.entries().first().is_some_and(replaces) || behind_a_close(log, earlier, later)
        }
        "ext4-ordered-weak" => {
            // Metadata of one file, updates of one directory.
            let files = |p: &Piece| -> BTreeSet<Ino> {
                let shrunk = if let Change::Size { inode, .. } = p.change { Some(inode) } else { None };
                p.entries().iter().flat_map(|e| [e.before, e.after]).chain([shrunk]).flatten().collect()
            };
            let dirs = |p: &Piece| -> BTreeSet<Ino> { p.entries().iter().map(|e| e.dir).collect() };
            metadata_in_order
                && (!files(earlier).is_disjoint(&files(later)) || !dirs(earlier).is_disjoint(&dirs(later)))
        }
        "xfs" => {
            let own_blocks = matches!((&earlier.change, &later.change),
                (Change::Sector { .. }, Change::Size { inode, .. }) if later.grows(*inode));
            metadata_in_order || (own_blocks && earlier.record == later.record)
        }
        _ => unreachable!("{model} is not read here"),
    }
}

/// Whether the sync that is record `at` forces `piece`: the column "what a sync forces".
fn forces(model: &str, log: &[Record], all: &[Piece], at: usize, piece: &Piece) -> bool {
    let (inode, is_file) = match log[at].what {
        What::SyncFs => {
            // "Overwrites that come alone are written and may be lost."
            let is_sync = |r: &Record| matches!(r.what, What::SyncFs | What::SyncFile(_) | What::SyncDir(_));
            let changes = |r: &Record| r.effects().iter().any(|e| !matches!(e, Effect::Block { .. }));
            let news = log[..at].iter().rev().take_while(|r| !is_sync(r)).any(changes);
            let flushes = news || !matches!(model, "xfs" | "posix" | "posix-split-rename");
            return piece.record < at && (flushes || changes(&log[piece.record]));
        }
        What::SyncFile(inode) => (inode, true),
        What::SyncDir(inode) => (inode, false),
        _ => return false,
    };
    if piece.record >= at {
        return false;
    }
    match model {
        "posix" | "posix-split-rename" if is_file => piece.is_data_of(inode),
        "posix" | "posix-split-rename" => piece.entries().iter().any(|e| e.dir == inode),
        "journal" => true,
        // The inode's data, and the journal up to its own last change of metadata.
        _ => {
            let own_last = all.iter().filter(|p| p.record < at && p.concerns(inode)).map(|p| p.record).max();
            piece.is_data_of(inode) || (piece.is_metadata() && own_last.is_some_and(|last| piece.record <= last))
        }
    }
}

/// The tree that is left.
fn left(model: &str, base: &Tree, all: &[Piece], fates: &[Fate]) -> Tree {
    let mut tree = base.clone();
    for piece in all {
        match &piece.change {
            Change::Names(entries) => {
                let made = entries.iter().filter_map(|e| Some((e.after?, e.kind)));
                made.for_each(|(inode, kind)| tree.ensure(inode, || Node::empty(kind)));
            }
            Change::Size { inode, .. }
            | Change::Sector { inode, .. }
            | Change::Zero { inode, .. }
            | Change::Reuse { inode, .. } => {
                tree.ensure(*inode, || Node::empty(FileKind::File));
            }
        }
    }
    for (piece, fate) in all.iter().zip(fates).filter(|(_, fate)| **fate != Fate::Lost) {
        match &piece.change {
            Change::Names(entries) => entries.iter().for_each(|e| tree.set_entry(e.dir, &e.name, e.after)),
            Change::Size { inode, after, .. } => before::set_len(model, tree.file_mut(*inode).unwrap(), *after),
            Change::Sector { inode, write, .. } => {
                let stale = Bytes::from_static(&[STALE_BYTE; SECTOR_BYTES as usize]);
                let bytes = if *fate == Fate::Stale { stale } else { write.bytes.clone() };
                tree.file_mut(*inode).unwrap().sectors.insert(write.sector, bytes);
            }
            Change::Reuse { inode, sector } => {
                let stale = Bytes::from_static(&[STALE_BYTE; SECTOR_BYTES as usize]);
                tree.file_mut(*inode).unwrap().sectors.insert(*sector, stale);
            }
            Change::Zero { inode, sector, keep } => {
                if let Some(bytes) = tree.file_mut(*inode).unwrap().sectors.get_mut(sector) {
                    bytes.truncate(*keep);
                }
            }
        }
    }
    tree
}

/// Whether these fates are a crash state.
fn legal(model: &str, log: &[Record], all: &[Piece], fates: &[Fate]) -> bool {
    let kept = |at: usize| fates[at] == Fate::Kept;
    (0..all.len()).filter(|at| fates[*at] != Fate::Lost).all(|at| {
        let stale = fates[at] == Fate::Stale;
        // A block is allocated anew only if the truncation that freed it has happened, in every model.
        let needs = |p: &Piece| needs(model, log, p, &all[at]) || (stale && p.frees(&all[at], true));
        (0..at).all(|p| kept(p) || !needs(&all[p]))
    }) && (model != "journal" || blocks_are_whole(all, fates))
}

fn blocks_are_whole(all: &[Piece], fates: &[Fate]) -> bool {
    let block = |at: usize| match all[at].change {
        Change::Sector { inode, block, .. } => Some((all[at].record, inode, block)),
        _ => None,
    };
    (1..all.len()).all(|at| block(at).is_none() || block(at) != block(at - 1) || fates[at] == fates[at - 1])
}

/// All trees that the rules allow after the first `done` records; `None` where they are too many to try.
fn allowed(model: &dyn PersistenceModel, base: &Tree, log: &[Record]) -> Option<BTreeSet<String>> {
    let name = model.name();
    let all = if model.reuses_freed_blocks() { with_reused(base, pieces(log, model)) } else { pieces(log, model) };
    let syncs: Vec<usize> = (0..log.len()).filter(|at| !is_in_vain(name, base, log, &all, *at)).collect();
    let forced = |p: &Piece| syncs.iter().any(|at| forces(name, log, &all, *at, p));
    let shows_stale = matches!(name, "posix" | "posix-split-rename" | "ext4-writeback");
    let choices: Vec<&[Fate]> = all
        .iter()
        .map(|p| match &p.change {
            _ if forced(p) => &[Fate::Kept][..],
            Change::Sector { write, .. } if shows_stale && write.fresh => &[Fate::Lost, Fate::Kept, Fate::Stale],
            _ => &[Fate::Lost, Fate::Kept],
        })
        .collect();
    if choices.iter().filter(|c| c.len() > 1).count() > MAX_FREE_PIECES {
        return None;
    }
    let mut found = BTreeSet::new();
    for mut number in 0..choices.iter().map(|c| c.len()).product::<usize>() {
        let mut pick = |c: &&[Fate]| {
            let fate = c[number % c.len()];
            number /= c.len();
            fate
        };
        let fates: Vec<Fate> = choices.iter().map(&mut pick).collect();
        if legal(name, log, &all, &fates) {
            found.insert(shown(&left(name, base, &all, &fates)));
        }
    }
    Some(found)
}

/// How many cuts were compared, and how many were too large.
#[derive(Default)]
struct Tally {
    compared: Cell<u32>,
    skipped: Cell<u32>,
}

impl Tally {
    fn is_enough(&self) {
        let (compared, skipped) = (self.compared.get(), self.skipped.get());
        println!("{compared} cuts were compared and {skipped} skipped as too large");
        assert!(compared > 3 * skipped, "{compared} cuts were compared and {skipped} skipped as too large");
    }
}

/// Compares both readings after each call of a script, under every model but `btrfs`.
fn compare(script: &str, tally: &Tally) -> Result<(), TestCaseError> {
    let (base, log) = played(script).fs.snapshot();
    for model in ALL.into_iter().filter(|m| m.name() != "btrfs") {
        let space = Space::new(base.clone(), log.clone().into(), model);
        for done in 0..=log.len() {
            let Some(second) = allowed(model, &base, &log[..done]) else {
                tally.skipped.set(tally.skipped.get() + 1);
                continue;
            };
            let first = states(&space, model, Cut::after(done));
            let first: BTreeSet<String> = first.iter().map(|bits| shown(&space.view(bits).tree())).collect();
            tally.compared.set(tally.compared.get() + 1);
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).next().cloned();
            let name = model.name();
            prop_assert_eq!(only(&first, &second), None, "only the first reading of {}, after {}", name, done);
            prop_assert_eq!(only(&second, &first), None, "only the second reading of {}, after {}", name, done);
        }
    }
    Ok(())
}

#[test]
fn both_readings_allow_the_same() {
    let tally = Tally::default();
    check("both_readings_allow_the_same", 400, &script(14), |script| compare(&script, &tally));
    tally.is_enough();
}

#[test]
fn truncations_closes_and_replacements() {
    for script in [
        "open a; truncate a 0; append a 71 A; close a; mkdir f; fsync f",
        "create b; truncate b 0; append b 71 A; close b; mkdir f; truncate b 5",
        "create b; append b 700 B; rename b a; mkdir f",
        "open d/b; truncate d/b 10; write d/b 0 40 C; unlink a; fsync d/b",
        "truncate a 10; truncate a 40; create b; fsync b; fsync a; truncate a 5; append a 9 A",
        "open d/b; truncate d/b 0; append d/b 30 C; truncate d/b 5; append d/b 9 D",
        "rename a e/a; create a; append a 71 E; rename d/b e/a; fsync e",
    ] {
        compare(script, &Tally::default()).unwrap();
    }
}
