//! Blocks that are freed, and what may be in them before that is durable.

use std::collections::BTreeSet;

use super::{Builder, stale_sector};
use crate::disk::effect::{SECTOR_BYTES, SECTORS_PER_BLOCK};
use crate::disk::space::{AtomId, Piece, Value};
use crate::disk::tree::Ino;
use crate::fs::FileKind;

impl Builder<'_> {
    /// The blocks of a range of a file were freed, and may be others' before that is durable: atoms that show anything in
    /// their place. What frees them depends on these, since then they no longer matter.
    pub(super) fn freed(&mut self, at: u32, inode: Ino, range: std::ops::Range<u64>) -> Vec<AtomId> {
        if !self.model.reuses_freed_blocks() {
            return Vec::new();
        }
        let file = self.space.file_mut(inode);
        let known = file.base.sectors.keys().chain(file.sectors.keys());
        let blocks: BTreeSet<u64> = known.map(|sector| sector / SECTORS_PER_BLOCK).collect();
        let sectors = blocks.iter().flat_map(|block| block * SECTORS_PER_BLOCK..(block + 1) * SECTORS_PER_BLOCK);
        let lengths = file.len.iter().map(|(_, len)| if let Value::Len(len) = len { *len } else { 0 });
        let end = range.end.min(lengths.chain([file.base.len]).max().unwrap_or_default());
        let sectors = sectors.filter(|s| range.start <= s * SECTOR_BYTES && s * SECTOR_BYTES < end);
        let show = |sector| {
            let before = self.last_data(inode, sector);
            let id = self.atom(at, Piece::Stale { inode, sector, nth: 0 });
            self.preds[id].extend(before);
            self.version(id, inode, sector, stale_sector());
            id
        };
        sectors.map(show).collect()
    }

    /// A file loses a name (with its last one its blocks are free), another gets one.
    pub(super) fn changes_names(
        &mut self,
        at: u32,
        loses: Option<Ino>,
        gets: Option<Ino>,
        kind: FileKind,
    ) -> Vec<AtomId> {
        if kind == FileKind::Dir || !self.model.reuses_freed_blocks() {
            return Vec::new();
        }
        let base = &self.space.base;
        for (inode, change) in loses.into_iter().map(|ino| (ino, -1)).chain(gets.map(|ino| (ino, 1))) {
            *self.names.entry(inode).or_insert_with(|| i64::from(base.names_of(inode))) += change;
        }
        let nameless = loses.filter(|inode| self.names[inode] == 0);
        nameless.map_or_else(Vec::new, |inode| self.freed(at, inode, 0..u64::MAX))
    }
}
