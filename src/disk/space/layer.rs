//! A crash during the recovery from a crash: one space for both.
//!
//! What the first crash left is durable once the machine is up again, whichever state it is; what recovery did then may
//! be lost. So its atoms come on top, with an order of their own: they depend on nothing that the first crash took or
//! left. Recovery's log must be the same on all states that are looked at: it is that of one of them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::hash::content_hash;
use super::{Atom, AtomId, Bits, DirTable, EntryTable, FileTable, NodeTable, Piece, Space, Value, Versions};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::model::Family;
use crate::disk::tree::{Ino, ROOT};

/// How the atoms of two crashes are numbered in a space of both: the first's, one for the restart between, the second's.
#[derive(Debug, Clone, Copy)]
pub struct Layers {
    first: usize,
    second: usize,
}

impl Layers {
    /// A set of both.
    pub fn join(&self, first: &Bits, second: &Bits) -> Bits {
        let mut bits = self.lift(first);
        bits.insert(self.first);
        second.iter().for_each(|id| bits.insert(self.first + 1 + id));
        bits
    }

    /// The set of the first's atoms, in the space of both.
    pub fn lift(&self, first: &Bits) -> Bits {
        let mut bits = Bits::new(self.first + 1 + self.second);
        first.iter().for_each(|id| bits.insert(id));
        bits
    }

    /// An interval of both.
    pub fn interval(&self, first: &Family, second: &Family) -> Family {
        Family { forced: self.join(&first.forced, &second.forced), allowed: self.join(&first.allowed, &second.allowed) }
    }

    /// What of a set is of the first crash, and what of the second.
    pub fn part(&self, both: &Bits) -> (Bits, Bits) {
        let (mut first, mut second) = (Bits::new(self.first), Bits::new(self.second));
        for id in both.iter() {
            match id.checked_sub(self.first + 1) {
                Some(id) => second.insert(id),
                None if id < self.first => first.insert(id),
                None => {}
            }
        }
        (first, second)
    }
}

impl Space {
    /// The space of both crashes: `first`, and `second`, which is laid out on one of the first's states.
    pub fn layered(first: &Self, second: &Self) -> (Self, Layers) {
        let layers = Layers { first: first.atoms.len(), second: second.atoms.len() };
        let shift = layers.first + 1;
        let records = first.records.len() as u32;
        let restart = Atom { record: records, piece: Piece::Name { dir: ROOT, before: None, after: None } };
        let later = second.atoms.iter().map(|a| Atom { record: a.record + records, piece: a.piece });
        let nodes = (0..first.nodes.len().max(second.nodes.len())).map(|at| node(first, second, Ino(at as u32), shift));
        let of_second = second.starts.iter().map(|at| if *at == 0 { layers.first } else { at + shift });
        let starts = first.starts.iter().copied().chain(of_second);
        let space = Self {
            base: first.base.clone(),
            records: first.records.iter().chain(second.records.iter()).cloned().collect::<Vec<_>>().into(),
            atoms: first.atoms.iter().cloned().chain([restart]).chain(later).collect(),
            // The restart comes with the first record of the second.
            starts: starts.collect(),
            preds: first.preds.layered(&second.preds),
            tied: first
                .tied
                .iter()
                .copied()
                .chain([None])
                .chain(second.tied.iter().map(|t| t.map(|t| t + shift)))
                .collect(),
            failed: Bits::new(layers.first + 1 + layers.second),
            nodes: nodes.collect(),
            undecided: Vec::new(),
            wholes: OnceLock::new(),
            is_tree: OnceLock::new(),
            order: OnceLock::new(),
            families: OnceLock::new(),
        };
        (space, layers)
    }
}

fn shifted(versions: &[(AtomId, Value)], shift: usize) -> impl Iterator<Item = (AtomId, Value)> + '_ {
    versions.iter().map(move |(id, value)| (id + shift, value.clone()))
}

/// A node of both. What the second does not change is the first's, and shared.
fn node(first: &Space, second: &Space, ino: Ino, shift: usize) -> Arc<NodeTable> {
    let there = first.nodes.get(ino.0 as usize).filter(|node| !matches!(***node, NodeTable::Unused));
    let is_new = there.is_none();
    Arc::new(match second.node(ino) {
        Some(NodeTable::File(table)) if is_new || !(table.len.is_empty() && table.sectors.is_empty()) => {
            NodeTable::File(Box::new(file(first.file(ino), table, second, ino, shift)))
        }
        Some(NodeTable::Dir(entries)) if is_new || entries.iter().any(|e| !e.versions.is_empty()) => {
            NodeTable::Dir(dir(first.dir(ino), entries, shift))
        }
        _ => return there.cloned().unwrap_or_default(),
    })
}

fn dir(first: Option<&DirTable>, second: &DirTable, shift: usize) -> DirTable {
    let mut entries: BTreeMap<Arc<str>, EntryTable> = BTreeMap::new();
    for entry in first.into_iter().flatten() {
        let (name, versions) = (entry.name.clone(), entry.versions.clone());
        entries.insert(name.clone(), EntryTable { name, hash: entry.hash, base: entry.base, versions });
    }
    for entry in second.iter().filter(|e| !e.versions.is_empty()) {
        let new = || EntryTable { name: entry.name.clone(), hash: entry.hash, base: None, versions: Vec::new() };
        let both = entries.entry(entry.name.clone()).or_insert_with(new);
        both.versions.extend(shifted(&entry.versions, shift));
    }
    entries.into_values().collect()
}

fn file(first: Option<&FileTable>, second: &FileTable, of: &Space, ino: Ino, shift: usize) -> FileTable {
    let mut both = FileTable::default();
    if let Some(first) = first {
        both.base = first.base.clone();
        both.base_hashes = first.base_hashes.clone();
        both.len = first.len.clone();
        both.sectors = first.sectors.clone();
    }
    clip_at_ends(&mut both, second, of, ino, shift);
    both.len.extend(shifted(&second.len, shift));
    for (sector, versions) in &second.sectors {
        let all: &mut Versions = both.sectors.entry(*sector).or_default();
        let there: Vec<AtomId> = all.iter().map(|(id, _)| *id).collect();
        all.extend(shifted(versions, shift).filter(|(id, _)| !there.contains(id)));
        all.sort_by_key(|(id, _)| *id);
    }
    both.sectors.retain(|_, versions| !versions.is_empty());
    if both.len.is_empty() && both.sectors.is_empty() {
        both.constant = Some(content_hash(&both.base));
    }
    both
}

/// Nothing stands behind the end that a file had when recovery began, nor behind one that recovery set: should the file
/// grow over it, zeros are seen. Recovery's own log knows the sectors of one state; here are those of all.
fn clip_at_ends(both: &mut FileTable, second: &FileTable, of: &Space, ino: Ino, shift: usize) {
    if second.len.is_empty() {
        return;
    }
    let shrinks = second.len.iter().filter_map(|(id, value)| match (of.atoms[*id].piece, value) {
        (Piece::Shrink { inode }, Value::Len(len)) if inode == ino => Some((id + shift, *len)),
        _ => None,
    });
    let ends: Vec<(AtomId, u64)> = [(shift - 1, second.base.len)].into_iter().chain(shrinks).collect();
    let sectors: Vec<u64> = both.base.sectors.keys().chain(both.sectors.keys()).copied().collect();
    // Where a shrink has written zeros in place, they are all that it does to that sector, if it does not wait for them.
    let has_zeros = |sector: &u64, id: AtomId| {
        let of_it = |(zero, _): &(AtomId, Value)| {
            let record = id.checked_sub(shift).map(|shrink| of.atoms[shrink].record);
            matches!(of.atoms[*zero].piece, Piece::Zero { .. }) && Some(of.atoms[*zero].record) == record
        };
        second.sectors.get(sector).is_some_and(|versions| versions.iter().any(of_it))
    };
    for (id, len) in ends {
        for sector in sectors.iter().filter(|s| (**s + 1) * SECTOR_BYTES > len && !has_zeros(s, id)) {
            let keep = len.saturating_sub(sector * SECTOR_BYTES) as usize;
            let versions = both.sectors.entry(*sector).or_default();
            if versions.last().is_none_or(|(last, _)| *last < id) {
                versions.push((id, Value::Clip(keep)));
            }
        }
    }
}
