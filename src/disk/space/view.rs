//! One crash state, looked at without being built.

use std::sync::Arc;

use bytes::Bytes;

use super::hash::{clipped_hash, len_hash, mix, mix_sector, mix_wide, visible};
use super::{AtomId, Bits, EntryTable, FileTable, MAX_DEPTH, NodeTable, Question, Space, Value};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::tree::{Content, Ino, Node, ROOT, Tree};

/// One crash state, looked at without being built.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(super) space: &'a Space,
    pub(super) survivors: &'a Bits,
    /// Hashes of contents that are known already, by [`FileTable::index`]; [`UNKNOWN`] where not.
    pub(super) contents: &'a [u64],
}

impl<'a> View<'a> {
    fn last(&self, versions: &'a [(AtomId, Value)]) -> Option<&'a Value> {
        versions.iter().rev().find(|(id, _)| self.survivors.contains(*id)).map(|(_, value)| value)
    }

    pub(super) fn value_of(&self, entry: &'a EntryTable) -> Option<Ino> {
        match self.last(&entry.versions) {
            Some(Value::Entry(ino)) => *ino,
            _ => entry.base,
        }
    }

    /// The answer to a question, as a number that is equal for two states if and only if the reader learns the same.
    pub fn answer(&self, question: Question) -> u64 {
        match question {
            Question::Entry { dir, index } => {
                let entry = self.space.dir(dir).and_then(|entries| entries.get(index as usize));
                entry.and_then(|e| self.value_of(e)).map_or(0, |ino| u64::from(ino.0) + 1)
            }
            Question::Dir(dir) => self.dir_hash(dir),
            Question::Len(ino) => self.len(ino),
            Question::Content(ino) => self.content_hash(ino),
            Question::Prefix { ino, len_bytes } => u64::from(self.begins_as_whole(ino, len_bytes)),
        }
    }

    /// A hash of the names and inodes in `dir`.
    fn dir_hash(&self, dir: Ino) -> u64 {
        let Some(entries) = self.space.dir(dir) else { return 0 };
        let entries = entries.iter().filter_map(|e| Some((e.hash, self.value_of(e)?)));
        entries.fold(0, |sum, (name, ino)| mix(sum ^ name, u64::from(ino.0)))
    }

    /// A file's length in bytes.
    pub fn len(&self, ino: Ino) -> u64 {
        let Some(file) = self.space.file(ino) else { return 0 };
        match self.last(&file.len) {
            Some(Value::Len(len)) => *len,
            _ => file.base.len,
        }
    }

    /// The hash of a file's visible bytes and length.
    pub fn content_hash(&self, ino: Ino) -> u64 {
        let Some(file) = self.space.file(ino) else { return 0 };
        if let Some(hash) = file.constant {
            return hash;
        }
        if let Some(hash) = file.index.and_then(|at| self.contents.get(at)).filter(|h| **h != UNKNOWN) {
            return *hash;
        }
        let len = self.len(ino);
        let end = len.div_ceil(SECTOR_BYTES);
        let mut hash = len_hash(len);
        for (sector, base) in file.base_hashes.range(..end) {
            if !file.sectors.contains_key(sector) {
                let bytes = &file.base.sectors[sector];
                hash = hash.wrapping_add(mix_sector(*sector, clipped_hash(bytes, *base, visible(*sector, len))));
            }
        }
        for (sector, versions) in file.sectors.range(..end) {
            let (bytes, whole, keep) = self.sector(file, *sector, versions);
            let keep = keep.min(visible(*sector, len));
            let value = bytes.map_or(0, |b| clipped_hash(b, whole, keep));
            hash = hash.wrapping_add(mix_sector(*sector, value));
        }
        hash
    }

    /// Whether the first `len` bytes of a file are those that it has at the end of the log. Looks no further than the
    /// first sector that is wrong.
    fn begins_as_whole(&self, ino: Ino, len: u64) -> bool {
        let (Some(file), Some(whole)) = (self.space.file(ino), self.space.whole(ino)) else { return false };
        len <= self.len(ino).min(whole.content.len)
            && (0..len.div_ceil(SECTOR_BYTES)).all(|at| {
                let versions = file.sectors.get(&at).map_or(&[][..], Vec::as_slice);
                let (bytes, hash, keep) = self.sector(file, at, versions);
                let compared = visible(at, len);
                let is = bytes.map_or(0, |b| clipped_hash(b, hash, keep.min(compared)));
                let end = whole.content.sectors.get(&at);
                is == end.map_or(0, |b| clipped_hash(b, whole.hashes[&at], compared))
            })
    }

    /// What a sector holds: bytes, their hash, and how many of them shrinks have left.
    pub(super) fn sector(
        &self,
        file: &'a FileTable,
        sector: u64,
        versions: &'a [(AtomId, Value)],
    ) -> (Option<&'a Bytes>, u64, usize) {
        let mut keep = SECTOR_BYTES as usize;
        for (_, value) in versions.iter().rev().filter(|(id, _)| self.survivors.contains(*id)) {
            match value {
                Value::Sector(bytes, hash) => return (Some(bytes), *hash, keep),
                Value::Clip(left) => keep = keep.min(*left),
                Value::Entry(_) | Value::Len(_) => {}
            }
        }
        let hash = file.base_hashes.get(&sector).copied().unwrap_or(0);
        (file.base.sectors.get(&sector), hash, keep)
    }

    /// A file's content.
    pub fn content(&self, ino: Ino) -> Content {
        let Some(file) = self.space.file(ino) else { return Content::default() };
        let mut content = Content { len: self.len(ino), sectors: file.base.sectors.clone() };
        for (sector, versions) in &file.sectors {
            match self.sector(file, *sector, versions) {
                (Some(bytes), _, keep) if keep > 0 => {
                    content.sectors.insert(*sector, bytes.slice(..keep.min(bytes.len())));
                }
                _ => drop(content.sectors.remove(sector)),
            }
        }
        // Nothing is visible behind the end, and a reader that extends the file finds zeros there.
        let len = content.len;
        content.len = u64::MAX;
        content.set_len(len);
        content
    }

    /// A hash of everything that a reader can reach from the root: names and contents.
    pub fn tree_hash(&self) -> u128 {
        self.dir_tree_hash(ROOT, 0, &mut |ino| self.content_hash(ino))
    }

    fn dir_tree_hash(&self, dir: Ino, depth: usize, content: &mut dyn FnMut(Ino) -> u64) -> u128 {
        let Some(table) = self.space.dir(dir).filter(|_| depth < MAX_DEPTH) else { return 0 };
        let mut sum: u128 = 1;
        for entry in table {
            let Some(ino) = self.value_of(entry) else { continue };
            let child = if self.space.dir(ino).is_some() {
                self.dir_tree_hash(ino, depth + 1, content)
            } else {
                u128::from(content(ino)) << 1
            };
            sum = sum.wrapping_add(mix_wide(entry.hash, child));
        }
        sum
    }

    /// The state as a tree of its own. Inodes that no name reaches are left out.
    pub fn tree(&self) -> Tree {
        let mut nodes = vec![None; self.space.nodes.len()];
        let mut stack = vec![ROOT];
        while let Some(ino) = stack.pop() {
            let at = ino.0 as usize;
            if nodes[at].is_some() {
                continue;
            }
            let node = &*self.space.nodes[at];
            let is_constant = match node {
                NodeTable::Dir(entries) => {
                    stack.extend(entries.iter().filter_map(|e| self.value_of(e)));
                    entries.iter().all(|e| e.versions.is_empty())
                }
                NodeTable::File(file) => file.constant.is_some(),
                NodeTable::Unused => continue,
            };
            let new = || match node {
                NodeTable::Dir(entries) => {
                    Node::Dir(entries.iter().filter_map(|e| Some((e.name.clone(), self.value_of(e)?))).collect())
                }
                NodeTable::File(_) | NodeTable::Unused => Node::File(self.content(ino)),
            };
            let shared = self.space.base.node(ino).filter(|_| is_constant);
            nodes[at] = Some(shared.cloned().unwrap_or_else(|| Arc::new(new())));
        }
        Tree::from_nodes(nodes)
    }
}

/// In place of a content's hash: not known. (A content that hashes to it is only hashed again.)
const UNKNOWN: u64 = 0;

/// Hashes the trees of one state after the other. A file's content is looked at anew only if one of its own atoms is
/// not as it was in the state before.
#[derive(Debug)]
pub struct TreeHasher<'a> {
    space: &'a Space,
    last: Bits,
    contents: Vec<u64>,
}

impl<'a> TreeHasher<'a> {
    /// A hasher of states of `space`.
    pub fn new(space: &'a Space) -> Self {
        Self { space, last: Bits::new(space.atoms.len()), contents: vec![UNKNOWN; space.undecided.len()] }
    }

    /// As [`View::tree_hash`].
    pub fn hash(&mut self, survivors: &Bits) -> u128 {
        for (ino, hash) in self.space.undecided.iter().zip(&mut self.contents) {
            if self.space.file(*ino).is_none_or(|file| !survivors.agrees(&self.last, &file.atoms)) {
                *hash = UNKNOWN;
            }
        }
        self.last.clone_from(survivors);
        let view = self.space.view(survivors);
        view.dir_tree_hash(ROOT, 0, &mut |ino| {
            let Some(at) = self.space.file(ino).and_then(|file| file.index) else { return view.content_hash(ino) };
            if self.contents[at] == UNKNOWN {
                self.contents[at] = view.content_hash(ino);
            }
            self.contents[at]
        })
    }

    /// The hashes of contents that are known of the last state, for [`Space::view_with`].
    pub fn contents(&self) -> &[u64] {
        &self.contents
    }
}
