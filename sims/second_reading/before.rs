//! What may be on the disk before a change of a length, or of a name, is.

use std::collections::BTreeSet;

use pullplug::disk::effect::{BLOCK_BYTES, Effect, Record, SECTOR_BYTES, What};
use pullplug::disk::model::PersistenceModel;
use pullplug::disk::tree::{Content, Ino, Tree};
use pullplug::fs::FileKind;

use super::{Change, Entry, Piece};

/// What a change of a length does before it: "a shrink zeroes the rest of the last block that is left, in place"; "a
/// write that touches the last block and goes on behind it may grow the length to the end of that block first".
pub fn before_size(model: &dyn PersistenceModel, of: &Record, inode: Ino, before: u64, after: u64) -> Vec<Change> {
    if after < before && model.zeroes_in_place() {
        let end = before.min(after.next_multiple_of(BLOCK_BYTES)).div_ceil(SECTOR_BYTES);
        let keep = |sector: u64| after.saturating_sub(sector * SECTOR_BYTES) as usize;
        return (after / SECTOR_BYTES..end).map(|s| Change::Zero { inode, sector: s, keep: keep(s) }).collect();
    }
    let end = before.next_multiple_of(BLOCK_BYTES);
    let writes_there = |e: &Effect| matches!(e, Effect::Block { index, .. } if *index == before / BLOCK_BYTES);
    let is_first = before < end && end < after && of.effects().iter().any(writes_there);
    let early = (is_first && model.grows_last_block_first()).then_some(Change::Size { inode, before, after: end });
    early.into_iter().collect()
}

/// A length changes. "The zeros that a shrink writes into the last block that it leaves" come with it, but under
/// `ext4-writeback`: what else is freed is a hole then.
pub fn set_len(model: &str, file: &mut Content, len: u64) {
    if model == "ext4-writeback" && len < file.len {
        file.sectors.split_off(&(len.next_multiple_of(BLOCK_BYTES) / SECTOR_BYTES));
        file.len = len;
    }
    file.set_len(len);
}

/// "What a shrink, or the loss of a last name, frees may show anything while that is not durable": the pieces, and before
/// each that frees blocks what may be in these.
pub fn with_reused(base: &Tree, pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        let freed = match &piece.change {
            Change::Size { inode, before, after } if after < before => reused(base, &all, *inode, *after, *before),
            Change::Names(entries) => {
                nameless(base, &all, entries).map_or_else(Vec::new, |inode| reused(base, &all, inode, 0, u64::MAX))
            }
            _ => Vec::new(),
        };
        all.extend(freed.into_iter().map(|change| Piece { record: piece.record, change }));
        all.push(piece);
    }
    all
}

/// The sectors from byte `from` to `to` of blocks that the file ever had.
fn reused(base: &Tree, before: &[Piece], inode: Ino, from: u64, to: u64) -> Vec<Change> {
    let old = base.file(inode).into_iter().flat_map(|content| content.sectors.keys().copied());
    let written = before.iter().filter_map(|p| match &p.change {
        Change::Sector { inode: i, write, .. } if *i == inode => Some(write.sector),
        _ => None,
    });
    let blocks: BTreeSet<u64> = old.chain(written).map(|sector| sector * SECTOR_BYTES / BLOCK_BYTES).collect();
    let lengths = before.iter().filter_map(|p| match p.change {
        Change::Size { inode: i, after, .. } if i == inode => Some(after),
        _ => None,
    });
    let to = to.min(lengths.chain(base.file(inode).map(|content| content.len)).max().unwrap_or(0));
    let freed = blocks.into_iter().map(|block| block * BLOCK_BYTES).filter(|start| (from..to).contains(start));
    let sectors = freed.flat_map(|start| (start..(start + BLOCK_BYTES).min(to)).step_by(SECTOR_BYTES as usize));
    sectors.map(|start| Change::Reuse { inode, sector: start / SECTOR_BYTES }).collect()
}

/// The file that a change of these entries leaves without a name.
fn nameless(base: &Tree, before: &[Piece], entries: &[Entry]) -> Option<Ino> {
    let lost = entries.iter().find(|e| e.kind == FileKind::File && e.before.is_some() && e.before != e.after)?.before?;
    (names(base, lost, before.iter().flat_map(Piece::entries).chain(entries)) == 0).then_some(lost)
}

/// "fsync of a file that has no name any more forces nothing, and what earlier ones forced of it is void" in the two posix
/// models.
pub fn is_in_vain(model: &str, base: &Tree, log: &[Record], all: &[Piece], at: usize) -> bool {
    let What::SyncFile(inode) = log[at].what else { return false };
    let before = |at: usize| all.iter().filter(move |p| p.record < at).flat_map(Piece::entries);
    let mut later = (at..log.len()).filter(|at| log[*at].what == What::SyncFile(inode));
    model.starts_with("posix") && later.any(|at| names(base, inode, before(at)) == 0)
}

/// How many names a file has after these changes.
pub fn names<'a>(base: &Tree, file: Ino, changes: impl Iterator<Item = &'a Entry>) -> i64 {
    let is_it = |inode: &Option<Ino>| i64::from(*inode == Some(file));
    i64::from(base.names_of(file)) + changes.map(|e| is_it(&e.after) - is_it(&e.before)).sum::<i64>()
}
