//! Laying out a log under a model: atoms, what they set, and what they depend on.

mod freed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::hash::{content_hash, name_hash, sector_hash};
use super::{Atom, AtomId, Bits, DirTable, EntryTable, FileTable, Needs, NodeTable, Piece, STALE_BYTE, Space, Value};
use crate::disk::effect::{BLOCK_BYTES, Effect, Record, SECTOR_BYTES, SectorWrite, What};
use crate::disk::model::{PersistenceModel, Preds};
use crate::disk::tree::{Ino, Node, Tree};
use crate::fs::FileKind;

impl Space {
    /// Lays out `log`, executed after `base`, under `model`.
    pub fn new(base: Tree, log: Arc<[Record]>, model: &dyn PersistenceModel) -> Self {
        let mut space = Self {
            base,
            records: log.clone(),
            atoms: Vec::new(),
            starts: Vec::new(),
            preds: Needs::default(),
            tied: Vec::new(),
            failed: Bits::default(),
            nodes: Vec::new(),
            undecided: Vec::new(),
            wholes: OnceLock::new(),
            is_tree: OnceLock::new(),
            order: OnceLock::new(),
            families: OnceLock::new(),
        };
        space.load_base();
        let mut builder = Builder {
            model,
            preds: Vec::new(),
            last_shrink: BTreeMap::new(),
            names: BTreeMap::new(),
            space: &mut space,
        };
        for (at, record) in log.iter().enumerate() {
            builder.space.starts.push(builder.space.atoms.len());
            builder.record(at as u32, record);
        }
        let mut preds = builder.preds;
        space.failed = space.marked_clean();
        model.order(space.timeline(), &mut preds);
        let before = |(id, preds): (usize, &Vec<AtomId>)| preds.iter().all(|pred| *pred < id);
        debug_assert!(preds.iter().enumerate().all(before), "an atom needs none that comes later");
        for preds in &mut preds {
            preds.sort_unstable();
            preds.dedup();
            space.preds.push(preds);
        }
        let atoms = space.atoms.len();
        for (ino, node) in space.nodes.iter_mut().enumerate() {
            match NodeTable::unshared(node) {
                NodeTable::File(file) if file.len.is_empty() && file.sectors.is_empty() => {
                    file.constant = Some(content_hash(&file.base));
                }
                NodeTable::File(file) => {
                    file.atoms = Bits::new(atoms);
                    let versions = file.len.iter().chain(file.sectors.values().flatten());
                    versions.for_each(|(id, _)| file.atoms.insert(*id));
                    file.index = Some(space.undecided.len());
                    space.undecided.push(Ino(ino as u32));
                }
                NodeTable::Dir(entries) => entries.sort_by(|a, b| a.name.cmp(&b.name)),
                NodeTable::Unused => {}
            }
        }
        space
    }

    fn slot(&mut self, ino: Ino) -> &mut NodeTable {
        let at = ino.0 as usize;
        if self.nodes.len() <= at {
            self.nodes.resize_with(at + 1, Arc::default);
        }
        NodeTable::unshared(&mut self.nodes[at])
    }

    fn file_mut(&mut self, ino: Ino) -> &mut FileTable {
        let slot = self.slot(ino);
        if !matches!(slot, NodeTable::File(_)) {
            *slot = NodeTable::File(Box::default());
        }
        match slot {
            NodeTable::File(file) => file,
            NodeTable::Dir(_) | NodeTable::Unused => unreachable!("just set to a file"),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> &mut DirTable {
        let slot = self.slot(ino);
        if !matches!(slot, NodeTable::Dir(_)) {
            *slot = NodeTable::Dir(DirTable::default());
        }
        match slot {
            NodeTable::Dir(dir) => dir,
            NodeTable::File(_) | NodeTable::Unused => unreachable!("just set to a directory"),
        }
    }

    fn load_base(&mut self) {
        let base = self.base.clone();
        for (ino, node) in base.nodes() {
            match &**node {
                Node::File(content) => {
                    let base_hashes = content.sectors.iter().map(|(s, b)| (*s, sector_hash(b))).collect();
                    *self.file_mut(ino) = FileTable { base: content.clone(), base_hashes, ..FileTable::default() };
                }
                Node::Dir(entries) => {
                    let entry = |(name, child): (&Arc<str>, &Ino)| EntryTable {
                        name: name.clone(),
                        hash: name_hash(name),
                        base: Some(*child),
                        versions: Vec::new(),
                    };
                    *self.dir_mut(ino) = entries.iter().map(entry).collect();
                }
            }
        }
    }

    /// The bytes, the blocks for them, the zeros of shrinks, and the lengths that writes grew, that were dirty when a sync
    /// of their file failed.
    fn marked_clean(&self) -> Bits {
        let mut failed = Bits::new(self.atoms.len());
        for (at, record) in self.records.iter().enumerate() {
            let What::SyncFailed(inode) = record.what else { continue };
            let covers = |r: &Record| r.what == What::SyncFs || r.what == What::SyncFile(inode);
            let dirty_from = self.records[..at].iter().rposition(covers).map_or(0, |i| i + 1);
            for id in self.atoms_of(dirty_from).start..self.atoms_of(at).start {
                let writes = self.records[self.atoms[id].record as usize].sectors_written() > 0;
                let atom = &self.atoms[id];
                let is_block = matches!(atom.piece, Piece::Stale { inode: of, .. } if of == inode);
                if atom.zeroes(inode) || (writes && (is_block || atom.writes(inode) || atom.sizes(inode))) {
                    failed.insert(id);
                }
            }
        }
        failed
    }
}

struct Builder<'a> {
    model: &'a dyn PersistenceModel,
    space: &'a mut Space,
    preds: Preds,
    /// The shrinks of a file: atom, and the bytes that it freed.
    last_shrink: BTreeMap<Ino, Vec<(AtomId, std::ops::Range<u64>)>>,
    /// How many names a file has, where that changed.
    names: BTreeMap<Ino, i64>,
}

impl Builder<'_> {
    fn atom(&mut self, record: u32, piece: Piece) -> AtomId {
        self.space.atoms.push(Atom { record, piece });
        self.space.tied.push(None);
        self.preds.push(Vec::new());
        self.space.atoms.len() - 1
    }

    fn record(&mut self, at: u32, record: &Record) {
        let effects = record.effects();
        let names: Vec<&Effect> = effects.iter().filter(|e| matches!(e, Effect::Dentry { .. })).collect();
        match *names.as_slice() {
            [set @ Effect::Dentry { .. }, clear @ Effect::Dentry { .. }] => self.rename(at, set, clear),
            [Effect::Dentry { dir, name, before, after, kind }] => {
                let freed = self.changes_names(at, *before, *after, *kind);
                let id = self.atom(at, Piece::Name { dir: *dir, before: *before, after: *after });
                self.preds[id].extend(freed);
                self.entry(id, *dir, name, *after, *kind);
            }
            _ => {}
        }
        let mut nth = 0;
        let cut_at = partial_lengths(effects);
        for effect in effects {
            match effect {
                Effect::Block { inode, sectors, .. } => {
                    let mut first = None;
                    for sector in sectors {
                        let id = self.sector(at, *inode, sector, nth);
                        if self.model.keeps_blocks_whole() {
                            self.space.tied[id] = first;
                            first = first.or(Some(id));
                        }
                        nth += 1;
                    }
                }
                Effect::Size { inode, before, after } if after < before => self.shrink(at, *inode, *before, *after),
                Effect::Size { inode, after, .. } => {
                    for (sectors, len) in &cut_at {
                        self.grow(at, *inode, *len, Some(*sectors));
                    }
                    if let Some(len) = last_block_end(effects).filter(|_| self.model.grows_last_block_first()) {
                        self.grow(at, *inode, len, None);
                    }
                    self.grow(at, *inode, *after, None);
                }
                Effect::Dentry { .. } => {}
            }
        }
    }

    fn rename(&mut self, at: u32, set: &Effect, clear: &Effect) {
        let (
            Effect::Dentry { dir: to_dir, name: to, before: replaced, after: Some(inode), kind },
            Effect::Dentry { dir: from_dir, name: from, .. },
        ) = (set, clear)
        else {
            return;
        };
        if !self.model.splits_rename() {
            if replaced.is_some() && self.model.clears_what_is_replaced() {
                let id = self.atom(at, Piece::Name { dir: *to_dir, before: *replaced, after: None });
                self.entry(id, *to_dir, to, None, *kind);
            }
            if self.model.keeps_old_name_elsewhere() && *kind == FileKind::File && from_dir != to_dir {
                let id = self.atom(at, Piece::Arrival { inode: *inode, replaced: *replaced, dir: *to_dir });
                self.entry(id, *to_dir, to, Some(*inode), *kind);
            }
            let freed = self.changes_names(at, *replaced, None, *kind);
            let piece = Piece::Rename { inode: *inode, replaced: *replaced, from_dir: *from_dir, to_dir: *to_dir };
            let id = self.atom(at, piece);
            self.preds[id].extend(freed);
            self.entry(id, *to_dir, to, Some(*inode), *kind);
            self.entry(id, *from_dir, from, None, *kind);
            return;
        }
        if replaced.is_some() {
            let id = self.atom(at, Piece::Name { dir: *to_dir, before: *replaced, after: None });
            self.entry(id, *to_dir, to, None, *kind);
        }
        let id = self.atom(at, Piece::Name { dir: *from_dir, before: Some(*inode), after: None });
        self.entry(id, *from_dir, from, None, *kind);
        let id = self.atom(at, Piece::Name { dir: *to_dir, before: None, after: Some(*inode) });
        self.entry(id, *to_dir, to, Some(*inode), *kind);
    }

    fn entry(&mut self, id: AtomId, dir: Ino, name: &Arc<str>, value: Option<Ino>, kind: FileKind) {
        if let Some(ino) = value {
            match kind {
                FileKind::File => drop(self.space.file_mut(ino)),
                FileKind::Dir => drop(self.space.dir_mut(ino)),
            }
        }
        let before = self.last_entry(dir, name);
        self.preds[id].extend(before);
        let entries = self.space.dir_mut(dir);
        let table = match entries.iter().position(|e| e.name == *name) {
            Some(at) => &mut entries[at],
            None => {
                entries.push(EntryTable {
                    name: name.clone(),
                    hash: name_hash(name),
                    base: None,
                    versions: Vec::new(),
                });
                entries.last_mut().expect("just pushed")
            }
        };
        table.versions.push((id, Value::Entry(value)));
    }

    /// The atom that the next change of an entry needs: the last one. If that is a rename which may leave the old name, it
    /// needs only that the file has arrived: what becomes of the new name says nothing of the old one.
    fn last_entry(&self, dir: Ino, name: &str) -> Option<AtomId> {
        let entry = self.space.dir(dir)?.iter().find(|entry| *entry.name == *name)?;
        match entry.versions.as_slice() {
            [.., (id, _), _] if matches!(self.space.atoms[*id].piece, Piece::Arrival { .. }) => Some(*id),
            versions => versions.last().map(|(id, _)| *id),
        }
    }

    fn grow(&mut self, at: u32, inode: Ino, len: u64, partial: Option<u32>) {
        let id = self.atom(at, Piece::Grow { inode, partial });
        self.len(id, inode, len);
    }

    fn len(&mut self, id: AtomId, inode: Ino, len: u64) {
        let atoms = std::mem::take(&mut self.space.atoms);
        let versions = &mut self.space.file_mut(inode).len;
        let whole = versions.iter().rfind(|(prev, _)| !atoms[*prev].is_partial());
        self.preds[id].extend(whole.map(|(prev, _)| *prev));
        versions.push((id, Value::Len(len)));
        self.space.atoms = atoms;
    }

    /// The last block that is left is zeroed behind the new end before the length is changed: its sectors are written in
    /// place. (Of a hole as well: there are as many atoms, whatever else survives.)
    fn zeros(&mut self, at: u32, inode: Ino, cut: std::ops::Range<u64>) {
        let end = cut.end.min(cut.start.next_multiple_of(BLOCK_BYTES));
        for sector in cut.start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            // What is written in place is the whole sector, as it was last.
            let before = self.last_data(inode, sector);
            let id = self.atom(at, Piece::Zero { inode, sector });
            self.preds[id].extend(before);
            let keep = cut.start.saturating_sub(sector * SECTOR_BYTES) as usize;
            self.space.file_mut(inode).sectors.entry(sector).or_default().push((id, Value::Clip(keep)));
        }
    }

    /// The atom that last wrote a sector.
    fn last_data(&self, inode: Ino, sector: u64) -> Option<AtomId> {
        let versions = self.space.file(inode)?.sectors.get(&sector)?.iter();
        let is_data = |id: &AtomId| matches!(self.space.atoms[*id].piece, Piece::Data { .. });
        versions.map(|(id, _)| *id).rfind(is_data)
    }

    fn shrink(&mut self, at: u32, inode: Ino, before: u64, after: u64) {
        if self.model.zeroes_in_place() {
            self.zeros(at, inode, after..before);
        }
        let freed = self.freed(at, inode, after.next_multiple_of(BLOCK_BYTES)..before);
        let id = self.atom(at, Piece::Shrink { inode });
        self.preds[id].extend(freed);
        self.len(id, inode, after);
        // Where the block that is left is zeroed in place, it is written in place as well: nothing of it was freed.
        let freed_from = if self.model.zeroes_in_place() { after.next_multiple_of(BLOCK_BYTES) } else { after };
        self.last_shrink.entry(inode).or_default().push((id, freed_from..before));
        // What is freed reads as zeros once the length grows again. The sector that the new end cuts keeps its head:
        // of the bytes that survived, which need not be those that were last written.
        let zeros_from = if self.model.waits_for_zeros() { after } else { freed_from };
        let file = self.space.file_mut(inode);
        let known: BTreeSet<u64> = file
            .base
            .sectors
            .keys()
            .chain(file.sectors.keys())
            .copied()
            .filter(|s| (s + 1) * SECTOR_BYTES > zeros_from)
            .collect();
        for sector in known {
            let keep = after.saturating_sub(sector * SECTOR_BYTES) as usize;
            file.sectors.entry(sector).or_default().push((id, Value::Clip(keep)));
        }
    }

    fn sector(&mut self, at: u32, inode: Ino, write: &SectorWrite, nth: u32) -> AtomId {
        let start = write.sector * SECTOR_BYTES;
        let overlaps = |freed: &std::ops::Range<u64>| freed.start < start + SECTOR_BYTES && start < freed.end;
        let shrinks = self.last_shrink.get(&inode).map_or(&[][..], Vec::as_slice).iter();
        let freed = shrinks.rev().find(|(_, range)| overlaps(range)).map(|(id, _)| *id);
        let before = self.last_data(inode, write.sector);
        let mut stale = None;
        if write.fresh && self.model.shows_stale_bytes() {
            let id = self.atom(at, Piece::Stale { inode, sector: write.sector, nth });
            // A block is allocated anew only when the truncation that freed it has happened.
            self.preds[id].extend(before.into_iter().chain(freed));
            self.version(id, inode, write.sector, stale_sector());
            stale = Some(id);
        }
        let id = self.atom(at, Piece::Data { inode, sector: write.sector, nth });
        self.preds[id].extend(before);
        if self.model.orders_shrinks() {
            self.preds[id].extend(freed);
        }
        if freed.is_none() || self.model.orders_shrinks() {
            self.preds[id].extend(stale);
        }
        self.version(id, inode, write.sector, write.bytes.clone());
        id
    }

    fn version(&mut self, id: AtomId, inode: Ino, sector: u64, bytes: Bytes) {
        let hash = sector_hash(&bytes);
        let file = self.space.file_mut(inode);
        file.sectors.entry(sector).or_default().push((id, Value::Sector(bytes, hash)));
    }
}

fn stale_sector() -> Bytes {
    Bytes::from_static(&[STALE_BYTE; SECTOR_BYTES as usize])
}

/// Where the file's last block ends, if a growing write touches it and goes on behind it.
fn last_block_end(effects: &[Effect]) -> Option<u64> {
    let Effect::Size { before, after, .. } = effects.last()? else { return None };
    let end = before.next_multiple_of(BLOCK_BYTES);
    let touches = |e: &Effect| matches!(e, Effect::Block { index, .. } if *index == before / BLOCK_BYTES);
    (*before < end && end < *after && effects.iter().any(touches)).then_some(end)
}

/// The lengths that a cut inside a growing write may leave: (sectors written, length), where that grows the file.
fn partial_lengths(effects: &[Effect]) -> Vec<(u32, u64)> {
    let Some(Effect::Size { before, after, .. }) = effects.last() else { return Vec::new() };
    let sectors =
        effects.iter().filter_map(|e| if let Effect::Block { sectors, .. } = e { Some(sectors) } else { None });
    let ends = sectors.flatten().map(|s| (s.sector + 1) * SECTOR_BYTES);
    let all = ends.enumerate().map(|(i, end)| (i as u32 + 1, end));
    all.filter(|(_, end)| end > before && end < after).collect()
}
