//! Persistence models: which effects a power cut may take, and which it may not.
//!
//! A model is an order over atoms (an atom that survives brings what it depends on) and a rule of what a completed
//! sync forces. The crash states at a [`Cut`] are then the sets of atoms that contain what is forced, are closed under
//! the order, and lie within what is allowed. For all models but [`Btrfs`] that is one [`Family`]; `btrfs` has one for
//! every point at which its last transaction may have committed.
//!
//! Same-object order (two atoms of one name, one length or one sector persist in order) holds in every model and is
//! laid down by [`super::space`], as is what shrinking a file means.

mod btrfs;
mod ext4_ordered;
mod ext4_ordered_weak;
mod ext4_writeback;
mod families;
mod journal;
mod posix;
mod posix_split_rename;
mod xfs;

pub use btrfs::Btrfs;
pub use ext4_ordered::Ext4Ordered;
pub use ext4_ordered_weak::Ext4OrderedWeak;
pub use ext4_writeback::Ext4Writeback;
pub use families::Families;
pub use journal::Journal;
pub use posix::Posix;
pub use posix_split_rename::PosixSplitRename;
pub use xfs::Xfs;

use super::effect::{Cut, Effect, Record, What};
use super::fault::FailedPages;
use super::space::{Atom, AtomId, Bits, Piece, Space};
use super::tree::{Ino, Tree};
use crate::env::choice::Chooser;

/// What every model sees: the atoms, ascending in time, and the records that they come from.
#[derive(Debug, Clone, Copy)]
pub struct Timeline<'a> {
    /// What was durable when the log began.
    pub base: &'a Tree,
    /// The atoms.
    pub atoms: &'a [Atom],
    /// The log.
    pub records: &'a [Record],
    /// Bytes with their blocks, a shrink's zeros, and lengths that writes grew, that were dirty when a sync of their file failed: the pages
    /// were marked clean. They may have reached the disk, but nothing waits for them and no later sync brings them.
    pub failed: &'a Bits,
}

impl Timeline<'_> {
    /// Whether a file has a name right before record `at`.
    fn has_name(&self, file: Ino, at: usize) -> bool {
        let is_it = |inode: &Option<Ino>| i64::from(*inode == Some(file));
        let change = |effect: &Effect| match effect {
            Effect::Dentry { before, after, .. } => is_it(after) - is_it(before),
            _ => 0,
        };
        let changes: i64 = self.records[..at].iter().flat_map(Record::effects).map(change).sum();
        i64::from(self.base.names_of(file)) + changes > 0
    }
}

/// What an atom depends on, beyond same-object order. Filled by [`PersistenceModel::order`].
pub type Preds = Vec<Vec<AtomId>>;

/// Crash states: every set that contains `forced`, lies within `allowed`, and is closed under the model's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Atoms that survived for certain. Closed under the order.
    pub forced: Bits,
    /// Atoms that may have survived, the forced ones included.
    pub allowed: Bits,
}

/// A persistence model.
pub trait PersistenceModel: Send + Sync + std::fmt::Debug {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// Whether a rename persists in pieces.
    fn splits_rename(&self) -> bool {
        false
    }

    /// Whether a file that was renamed into another directory may have both names.
    fn keeps_old_name_elsewhere(&self) -> bool {
        false
    }

    /// Whether a name that a rename replaces may be gone without that rename.
    fn clears_what_is_replaced(&self) -> bool {
        false
    }

    /// Whether a block that was allocated and not written shows stale bytes (else zeros).
    fn shows_stale_bytes(&self) -> bool {
        false
    }

    /// Whether a block written after a truncation needs that truncation to have persisted.
    fn orders_shrinks(&self) -> bool {
        true
    }

    /// Whether blocks that a shrink or the loss of a last name has freed may be used anew before that is durable: then
    /// the file, as it was, shows what was written there. (Measured on ext4 with `data=writeback`, Linux 6.18: of `unlink
    /// a; create c; append c 9000 C; fsync c` an `a` is left, with the bytes of `c`. The kernel's `ext4_free_blocks` lets
    /// freed blocks wait for the commit, but not those of files in writeback mode.)
    fn reuses_freed_blocks(&self) -> bool {
        false
    }

    /// Whether what a shrink cuts off of the last block that is left may be zeros, where it lies, before the length has
    /// changed. (Measured on ext4 and xfs, Linux 6.18: `truncate` of 5000 bytes to 10 leaves 5000, of which the first block
    /// is zeros from byte 10 on.)
    fn zeroes_in_place(&self) -> bool {
        true
    }

    /// Whether a shrink persists only with those zeros. Else the file may grow again over what it had cut off: that shows.
    fn waits_for_zeros(&self) -> bool {
        true
    }

    /// Whether a write that touches the file's last block and goes on behind it may grow the length to the end of that
    /// block first: the block is allocated, the others wait for it. (Measured on ext4, Linux 6.18: to 71 bytes 5000 are
    /// appended, another file is fsynced, and 4096 bytes are there.)
    fn grows_last_block_first(&self) -> bool {
        true
    }

    /// Whether a 4 KiB block persists as a whole (else its sectors do, one by one).
    fn keeps_blocks_whole(&self) -> bool {
        false
    }

    /// What a failed sync of a file may make of its dirty pages.
    fn failed_pages(&self) -> &'static [FailedPages] {
        &FailedPages::ALL
    }

    /// Adds the model's order to `preds`.
    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds);

    /// The crash states at `cut`.
    fn families(&self, space: &Space, cut: Cut) -> Vec<Family>;

    /// The crash states at each of `cuts`, which ascend.
    fn families_at(&self, space: &Space, cuts: &[Cut]) -> Families {
        Families::of_each(cuts.len(), |at| self.families(space, cuts[at]))
    }

    /// One of [`families`](Self::families), by one choice: for who wants a single crash state. Each can be chosen; a
    /// model with many may offer one several times, and need not find the others.
    fn any_family(&self, space: &Space, cut: Cut, chooser: &mut dyn Chooser) -> Family {
        let mut families = self.families(space, cut);
        let at = chooser.choose(families.len());
        families.swap_remove(at)
    }
}

/// All models, in the order in which reports show them.
pub const ALL: [&dyn PersistenceModel; 8] =
    [&Journal, &Ext4Ordered, &Ext4OrderedWeak, &Ext4Writeback, &Xfs, &Btrfs, &Posix, &PosixSplitRename];

/// The model called `name`.
pub fn named(name: &str) -> Option<&'static dyn PersistenceModel> {
    ALL.into_iter().find(|m| m.name() == name)
}

impl Atom {
    /// Whether this is a change of the tree or a shrink: what the journalling models keep in one order.
    pub fn is_logged_metadata(&self) -> bool {
        let piece = &self.piece;
        matches!(piece, Piece::Name { .. } | Piece::Rename { .. } | Piece::Arrival { .. } | Piece::Shrink { .. })
    }

    /// Whether this changes an entry of directory `dir`.
    pub fn changes_dir(&self, dir: Ino) -> bool {
        match self.piece {
            Piece::Name { dir: d, .. } => d == dir,
            Piece::Rename { from_dir, to_dir, .. } => from_dir == dir || to_dir == dir,
            Piece::Arrival { dir: d, .. } => d == dir,
            _ => false,
        }
    }

    /// Whether this gives a name to `inode` or takes one from it.
    pub fn names(&self, inode: Ino) -> bool {
        match self.piece {
            Piece::Name { before, after, .. } => before == Some(inode) || after == Some(inode),
            Piece::Rename { inode: i, replaced, .. } | Piece::Arrival { inode: i, replaced, .. } => {
                i == inode || replaced == Some(inode)
            }
            _ => false,
        }
    }

    /// Whether this changes the length of `inode`.
    pub fn sizes(&self, inode: Ino) -> bool {
        matches!(self.piece, Piece::Shrink { inode: i } | Piece::Grow { inode: i, .. } if i == inode)
    }

    /// Whether this grows the length of `inode`.
    pub fn grows(&self, inode: Ino) -> bool {
        matches!(self.piece, Piece::Grow { inode: i, partial: None } if i == inode)
    }

    /// Whether this is a shrink's zeros in `inode`.
    pub fn zeroes(&self, inode: Ino) -> bool {
        matches!(self.piece, Piece::Zero { inode: i, .. } if i == inode)
    }

    /// Whether this writes bytes of `inode`.
    pub fn writes(&self, inode: Ino) -> bool {
        matches!(self.piece, Piece::Data { inode: i, .. } if i == inode)
    }
}

/// The family that most models have: forced is what `forces` adds for each sync that completed before the cut, and
/// everything executed before the cut is allowed.
fn one_family(space: &Space, cut: Cut, forces: impl Fn(Timeline<'_>, usize, &What, &mut Bits)) -> Vec<Family> {
    let timeline = space.timeline();
    let records = cut.records as usize;
    let one = || {
        let mut forced = Bits::new(timeline.atoms.len());
        for (at, record) in timeline.records[..records].iter().enumerate() {
            forces(timeline, at, &record.what, &mut forced);
        }
        space.close(&mut forced);
        vec![Family { forced, allowed: space.executed(Cut::after(records)) }]
    };
    let all = || {
        let mut forced = Bits::new(timeline.atoms.len());
        let mut after_each = Families::new(timeline.records.len() + 1);
        for at in 0..=timeline.records.len() {
            let family = Family { forced: forced.clone(), allowed: space.executed(Cut::after(at)) };
            let number = after_each.number(family);
            after_each.push(at, number);
            let Some(record) = timeline.records.get(at) else { break };
            let before = forced.clone();
            forces(timeline, at, &record.what, &mut forced);
            if forced != before {
                space.close(&mut forced);
            }
        }
        after_each
    };
    let mut families = space.families_after(records, one, all);
    if cut.inside.is_some() {
        families.iter_mut().for_each(|family| family.allowed = space.executed(cut));
    }
    families
}

/// Forces everything before record `at`.
fn force_all(timeline: Timeline<'_>, at: usize, forced: &mut Bits) {
    force(timeline, at, forced, |_| true);
}

/// What syncfs forces where it writes and does not flush the disk's cache unless a log has something to write: all, but
/// overwrites alone may be lost. (Measured on xfs, Linux 6.18: of two overwrites, each followed by a syncfs, the second
/// was torn. A write that finds the file's times as they are to be changes no metadata.)
fn force_by_syncfs(timeline: Timeline<'_>, at: usize, forced: &mut Bits) {
    let is_sync = |r: &Record| matches!(r.what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs);
    let since = timeline.records[..at].iter().rposition(is_sync).map_or(0, |last| last + 1);
    let overwrites = |record: &Record| record.effects().iter().all(|e| matches!(e, Effect::Block { .. }));
    let flushes = !timeline.records[since..at].iter().all(overwrites);
    force(timeline, at, forced, |atom| flushes || !overwrites(&timeline.records[atom.record as usize]));
}

/// Forces the atoms before record `at` that `which` picks, but for pages that a failed sync marked clean.
fn force(timeline: Timeline<'_>, at: usize, forced: &mut Bits, which: impl Fn(&Atom) -> bool) {
    let before = timeline.atoms.iter().enumerate().take_while(|(_, atom)| (atom.record as usize) < at);
    for (id, atom) in before {
        if !atom.is_partial() && which(atom) && !is_lost(timeline, id, at) {
            forced.insert(id);
        }
    }
}

/// Forces the bytes and lengths of `inode` up to record `at`.
fn force_data(timeline: Timeline<'_>, at: usize, inode: Ino, forced: &mut Bits) {
    force(timeline, at, forced, |atom| atom.writes(inode) || atom.sizes(inode));
}

/// Whether a sync that completes as record `at` does not bring this atom, because an earlier sync of it failed. A
/// length that such a write grew is brought again once the last sector below it is written anew.
fn is_lost(timeline: Timeline<'_>, id: AtomId, at: usize) -> bool {
    if !timeline.failed.contains(id) {
        return false;
    }
    let atom = &timeline.atoms[id];
    let (Piece::Grow { inode, .. }
    | Piece::Data { inode, .. }
    | Piece::Stale { inode, .. }
    | Piece::Zero { inode, .. }) = atom.piece
    else {
        return false;
    };
    if !timeline.records[atom.record as usize..at].iter().any(|r| r.what == What::SyncFailed(inode)) {
        return false;
    }
    if !atom.sizes(inode) {
        return true;
    }
    let sector_of =
        |a: &Atom| if let Piece::Data { inode: i, sector, .. } = a.piece { Some((i, sector)) } else { None };
    let own = timeline.atoms.iter().filter(|a| a.record == atom.record).filter_map(sector_of).max();
    let anew = timeline.atoms.iter().enumerate().filter(|(id, a)| {
        a.record > atom.record && (a.record as usize) < at && !timeline.failed.contains(*id) && a.writes(inode)
    });
    !anew.filter_map(|(_, a)| sector_of(a)).any(|s| Some(s) >= own)
}

/// What a sync forces on ext4 and xfs: the inode's bytes and length, and every change of the tree up to the inode's
/// own last change of metadata. A growth of its length counts as one: the size reaches the disk in the transaction
/// that is running when the fsync allocates the blocks, and with it all before.
fn force_journalled(timeline: Timeline<'_>, at: usize, what: &What, forced: &mut Bits) {
    let (What::SyncFile(inode) | What::SyncDir(inode)) = *what else {
        if *what == What::SyncFs {
            force_all(timeline, at, forced);
        }
        return;
    };
    force_data(timeline, at, inode, forced);
    let own = |a: &Atom| a.names(inode) || a.changes_dir(inode) || a.sizes(inode);
    let last = timeline.atoms.iter().rposition(|a| (a.record as usize) < at && !a.is_partial() && own(a));
    if let Some(last) = last {
        let up_to = timeline.atoms[last].record as usize + 1;
        force(timeline, up_to, forced, Atom::is_logged_metadata);
    }
}

/// Orders all changes of the tree, and all shrinks, as one log.
fn order_metadata(timeline: Timeline<'_>, preds: &mut Preds) {
    let mut last = None;
    for (id, atom) in timeline.atoms.iter().enumerate() {
        if atom.is_logged_metadata() {
            preds[id].extend(last);
            last = Some(id);
        }
    }
}

/// Lets every growth of a length depend on the bytes of the same write: no zeros under a grown size. Unless the pages
/// were marked clean and lost: then a later growth does not wait for them.
fn order_growth_after_blocks(timeline: Timeline<'_>, preds: &mut Preds) {
    for (id, atom) in timeline.atoms.iter().enumerate() {
        let Piece::Grow { partial, .. } = atom.piece else { continue };
        if timeline.failed.contains(id) {
            continue;
        }
        let is_own = |other: &AtomId| timeline.atoms[*other].record == atom.record;
        let is_below = |piece: Piece| matches!(piece, Piece::Data { nth, .. } if partial.is_none_or(|n| nth < n));
        let own = (0..id).rev().take_while(is_own).filter(|id| is_below(timeline.atoms[*id].piece));
        preds[id].extend(own);
    }
}
