//! `btrfs`: copy on write, transactions, and a log of what was fsynced since the last one.
//!
//! A crash state is prefix(C) + log(C). C is any point at which the last transaction may have committed: every change
//! of the tree before it is there, and file data as far as it was written back (a length only after its own blocks: no
//! zeros, no stale bytes; a shrink of a length that was not written back says nothing either). log(C) holds what fsyncs
//! after C logged, and is replayed on top:
//!
//! - fsync of a file logs that inode: its data, its length, all its names, and those new ancestors that these need, by the
//!   names that they have then. An fsync of an inode with nothing new since C, or since its last one, logs nothing.
//! - Bytes that were written before C and are written back after it change the inode once more. So the fsync that has
//!   nothing else to do may still log the inode, and write the log.
//! - fsync of a file that has no name any more takes out of the log what earlier ones brought of it, and may write the log.
//!   Should the name come back, since its removal is lost, so do the bytes as they were at C, though they were synced anew
//!   since.
//! - fsync of a directory logs its new and removed entries, and its own new ancestors.
//! - A rename, a link or a removal after C enters the log only if the inode, or the directory that a name is taken from,
//!   was logged since C; it is durable with the next fsync that writes the log. If these only may have been logged (below),
//!   so may it.
//! - The log is written by the fsync of an inode that has changed since it was last logged whole: a file by its own fsync
//!   (not by one of its names that came into the log), a directory perhaps by another's. Then it need not be written: what
//!   is in the directory is durable behind that fsync, and what waits besides may not be.
//! - A file that came from another directory, of which neither the file nor that directory was logged, keeps its old name
//!   when its new directory is fsynced: both names may be there. So it does when the new name is changed once more before
//!   that fsync.
//! - A name that came there since C, and is replaced by a rename that does not enter the log, may be gone when the log is
//!   written next, if it was in it: then there is no such name at all. (What was there at C stays.)
//! - More may be in the log than these need, and is durable when that is written: what changed in the directories of a file
//!   that was renamed, linked or unlinked since C, when the file is logged; what is in new directories, when the one above
//!   is; all names that an inode got since C, when one of them comes into the log; and what changed in a directory, when
//!   the removal of another from it is in the log (a new inode may have its name).
//!
//! The model allows more than the kernel does: what *may* be in a log is decided entry by entry, and a shrink of a length
//! that was in memory may be lost though it was written back before, and a later change of the tree not.
//!
//! It allows less in one case: a truncation to the length that a file has leaves no record here. On the kernel it changes the
//! inode, so that the next fsync logs it and writes the log; here that fsync has nothing new.
//!
//! syncfs commits. An fsync that falls back to a full commit is the case C = that fsync. So a fsynced link can be there
//! while an **earlier** rename of a blob is gone: when a commit fell between the blob's last fsync and its rename.
//! (All of this was measured, Linux 6.18.) So a rename is not atomic here, and this model is not within `posix`.

mod log;

use super::{Families, Family, PersistenceModel, Preds, Timeline, force_all, force_data, order_growth_after_blocks};
use crate::disk::effect::{BLOCK_BYTES, Cut, Effect, What};
use crate::disk::fault::FailedPages;
use crate::disk::space::{AtomId, Bits, Piece, Space};
use crate::disk::tree::Ino;
use crate::env::choice::Chooser;
use log::{Inode, Log, inodes};

/// The model `btrfs`.
#[derive(Debug, Clone, Copy)]
pub struct Btrfs;

impl PersistenceModel for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn zeroes_in_place(&self) -> bool {
        false // Copy on write.
    }

    fn grows_last_block_first(&self) -> bool {
        false // All of it is allocated anew.
    }

    fn clears_what_is_replaced(&self) -> bool {
        true
    }

    fn keeps_old_name_elsewhere(&self) -> bool {
        true
    }

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::Revert]
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        order_growth_after_blocks(timeline, preds);
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        let records = cut.records as usize;
        let mut families = space.families_after(records, || at_one_cut(space, records), || at_all_cuts(space, 0));
        if let Some(mut last) = families.pop() {
            reach_into(space, cut, &mut last);
            if !families.contains(&last) {
                families.push(last);
            }
        }
        families
    }

    fn families_at(&self, space: &Space, cuts: &[Cut]) -> Families {
        let Some(first) = cuts.first() else { return Families::default() };
        let mut families = at_all_cuts(space, first.records as usize);
        let mut at = Vec::with_capacity(cuts.len());
        for cut in cuts {
            let mut of = families.at(cut.records as usize).to_vec();
            if let Some(last) = of.pop() {
                let mut last = families.get(last).clone();
                reach_into(space, *cut, &mut last);
                let last = families.number(last);
                if !of.contains(&last) {
                    of.push(last);
                }
            }
            at.push(of);
        }
        families.rearranged(at)
    }

    fn any_family(&self, space: &Space, cut: Cut, chooser: &mut dyn Chooser) -> Family {
        let records = cut.records as usize;
        let points = commit_points(space, records);
        let at = points[chooser.choose(points.len())];
        let known = Known::of(space, records);
        let mut commit = Commit::at(&known, at, known.kept_by(0..at));
        for at in at..records {
            let is_late = commit.may_be_late(at) && chooser.choose(2) == 1;
            commit.goes_on(at, is_late);
        }
        let mut family = commit.family();
        if at == records {
            reach_into(space, cut, &mut family);
        }
        family
    }
}

/// A commit may also fall into the write that the power cut, if it is the last one.
fn reach_into(space: &Space, cut: Cut, last: &mut Family) {
    if cut.inside.is_some() {
        last.allowed.union(&space.executed(cut));
    }
}

/// Whether a commit right before record `at` leaves another state than one before the record before it. If that changed
/// nothing it does not, unless it is a sync: what was logged before a commit is not in the log after it.
fn is_commit_point(space: &Space, at: usize) -> bool {
    at == 0 || !matches!(space.records()[at - 1].what, What::Mark(_) | What::CloseTruncated(_))
}

/// Where the last transaction before so many records may have committed. The last point is right there, even if it tells
/// the same as another.
fn commit_points(space: &Space, records: usize) -> Vec<usize> {
    let first = space.records()[..records].iter().rposition(|r| r.what == What::SyncFs).map_or(0, |at| at + 1);
    (first..=records).filter(|at| *at == first || *at == records || is_commit_point(space, *at)).collect()
}

/// What commits at any point go by.
struct Known<'a> {
    space: &'a Space,
    inodes: Vec<Inode>,
    /// What the sync of each record keeps of file data, on either side of a commit, closed under the order; `None` of what
    /// is no sync, or of a file that had no name.
    kept: Vec<Option<Bits>>,
}

impl<'a> Known<'a> {
    /// What is known of the first so many records.
    fn of(space: &'a Space, records: usize) -> Self {
        let timeline = space.timeline();
        let kept = |at: usize| {
            let mut data = Bits::new(timeline.atoms.len());
            match timeline.records[at].what {
                What::SyncFile(inode) if timeline.has_name(inode, at) => force_data(timeline, at, inode, &mut data),
                What::SyncFs => force_all(timeline, at, &mut data),
                _ => return None,
            }
            let mut closed = Bits::new(timeline.atoms.len());
            space.order().add(&mut closed, &data);
            Some(closed)
        };
        Self { space, inodes: inodes(space), kept: (0..records).map(kept).collect() }
    }

    /// What these syncs bring of file data.
    fn kept_by(&self, records: impl Iterator<Item = usize>) -> Bits {
        let mut all = Bits::new(self.space.atoms().len());
        records.filter_map(|at| self.kept[at].as_ref()).for_each(|kept| all.union(kept));
        all
    }

    /// The families after so many records whose last commit was right before record `at`.
    fn committed(&self, at: usize, records: usize) -> Vec<Family> {
        let mut commits = vec![Commit::at(self, at, self.kept_by(0..at))];
        (at..records).for_each(|at| all_go_on(&mut commits, at));
        commits.iter().map(Commit::family).collect()
    }

    /// Whether bytes of a file may be in memory right before record `at`. (A length that ends, or ended, within a block has
    /// its last block written anew.)
    fn is_dirty(&self, file: Ino, at: usize) -> bool {
        let mut is_dirty = false;
        for record in &self.space.records()[..at] {
            match record.what {
                What::SyncFile(inode) | What::SyncFailed(inode) if inode == file => is_dirty = false,
                What::SyncFs => is_dirty = false,
                _ => {}
            }
            for effect in record.effects().iter().filter(|effect| effect.changes() == file) {
                is_dirty = match *effect {
                    Effect::Block { .. } => true,
                    Effect::Size { before, after, .. } => {
                        !before.min(after).is_multiple_of(BLOCK_BYTES) || is_dirty && after > 0
                    }
                    Effect::Dentry { .. } => is_dirty,
                };
            }
        }
        is_dirty
    }
}

/// The families after so many records, by their commit points.
fn at_one_cut(space: &Space, records: usize) -> Vec<Family> {
    let known = Known::of(space, records);
    let mut families: Vec<Family> = Vec::new();
    for at in commit_points(space, records) {
        for family in known.committed(at, records) {
            if at == records || !families.contains(&family) {
                families.push(family);
            }
        }
    }
    families
}

/// The families after each number of records, from that many on, as [`at_one_cut`] finds them.
fn at_all_cuts(space: &Space, from: usize) -> Families {
    let records = space.records();
    let known = Known::of(space, records.len());
    let mut all = Families::new(records.len() + 1);
    let mut kept = Bits::new(space.atoms().len());
    for at in 0..=records.len() {
        let mut commits = vec![Commit::at(&known, at, kept.clone())];
        if at >= from {
            let number = all.number(commits[0].family());
            all.push(at, number);
        }
        if at == records.len() {
            break;
        }
        known.kept[at].iter().for_each(|more| kept.union(more));
        if !is_commit_point(space, at) {
            continue;
        }
        let mut numbers: Vec<usize> = Vec::new();
        for done in at + 1..=records.len() {
            // What syncfs completed was committed.
            if records[done - 1].what == What::SyncFs {
                break;
            }
            all_go_on(&mut commits, done - 1);
            // Only a sync brings anything.
            if matches!(records[done - 1].what, What::SyncFile(_) | What::SyncDir(_)) {
                numbers.clear();
            }
            if done >= from {
                if numbers.is_empty() {
                    numbers.extend(commits.iter().map(|commit| all.number(commit.family())));
                }
                numbers.iter().for_each(|number| all.offer(done, *number));
            }
        }
    }
    all
}

/// What record `at` logs, of each; those of which it may also be written back late become two.
fn all_go_on(commits: &mut Vec<Commit<'_>>, at: usize) {
    let mut late: Vec<Commit<'_>> = commits.iter().filter(|commit| commit.may_be_late(at)).cloned().collect();
    late.iter_mut().for_each(|commit| commit.goes_on(at, true));
    commits.iter_mut().for_each(|commit| commit.goes_on(at, false));
    commits.append(&mut late);
}

/// The states whose last transaction committed before one record, as what comes after it is logged.
#[derive(Clone)]
struct Commit<'a> {
    known: &'a Known<'a>,
    /// What was there for certain then: what was committed, and what syncs before it keep.
    start: Bits,
    /// The syncs of files since then that keep anything.
    syncs: Vec<usize>,
    /// What is there for certain: that, what these syncs keep, what the log brings. Closed under the order, as is the next.
    forced: Bits,
    /// What the log may bring.
    brought: Bits,
    /// File data that was written back before the commit is free; what was written after it can only come by a log.
    allowed: Bits,
    log: Log<'a>,
}

impl<'a> Commit<'a> {
    /// Right before record `at`; `kept` is what syncs bring of file data.
    fn at(known: &'a Known<'a>, at: usize, kept: Bits) -> Self {
        let space = known.space;
        let mut committed = Bits::new(space.atoms().len());
        for id in 0..space.atoms_of(at).start {
            let is_there = |before: &AtomId| committed.contains(*before) || kept.contains(*before);
            let shrinks = matches!(space.atoms()[id].piece, Piece::Shrink { .. });
            if space.atoms()[id].is_logged_metadata() && (!shrinks || space.preds(id).iter().all(is_there)) {
                committed.insert(id);
            }
        }
        let mut start = kept;
        space.order().add(&mut start, &committed);
        Self {
            forced: start.clone(),
            start,
            syncs: Vec::new(),
            brought: Bits::new(space.atoms().len()),
            allowed: space.executed(Cut::after(at)),
            log: Log::new(space, at, &known.inodes),
            known,
        }
    }

    /// The log no longer has what earlier syncs brought of a file: it has no name any more, and was synced before `at`.
    fn forgets(&mut self, file: Ino, at: usize) {
        self.log.forget(file, at);
        let records = self.known.space.records();
        self.syncs.retain(|at| records[*at].what != What::SyncFile(file));
        self.forced = self.known.kept_by(self.syncs.iter().copied());
        self.forced.union(&self.start);
        self.logs();
    }

    /// Whether record `at` is an fsync that has something to log only if bytes from before the commit were written back since.
    fn may_be_late(&self, at: usize) -> bool {
        let What::SyncFile(file) = self.known.space.records()[at].what else { return false };
        self.known.kept[at].is_some()
            && self.log.is_as_committed(file, at)
            && self.known.is_dirty(file, self.log.commit)
    }

    /// What record `at` logs; `is_late` where [`may_be_late`](Self::may_be_late) says so, and that is the case.
    fn goes_on(&mut self, at: usize, is_late: bool) {
        match self.known.space.records()[at].what {
            What::SyncFile(file) => {
                let Some(kept) = &self.known.kept[at] else { return self.forgets(file, at) };
                self.syncs.push(at);
                self.forced.union(kept);
                self.log.fsync(at, file, is_late);
                self.logs();
            }
            What::SyncDir(dir) => {
                self.log.fsync(at, dir, false);
                self.logs();
            }
            What::Effects(_) => self.log.changed(at),
            _ => {}
        }
    }

    /// What is in the log now.
    fn logs(&mut self) {
        let order = self.known.space.order();
        order.add(&mut self.forced, &self.log.durable);
        order.add(&mut self.brought, &self.log.maybe);
    }

    fn family(&self) -> Family {
        let mut allowed = self.allowed.clone();
        allowed.union(&self.forced);
        allowed.union(&self.brought);
        Family { forced: self.forced.clone(), allowed }
    }
}
