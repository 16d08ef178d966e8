//! Inodes and directory entries: the tree as every reader of the running machine sees it.
//!
//! Purely in memory and without any notion of durability. Nodes are shared between trees (`Arc`), so that a copy of a
//! tree costs little and contents are never copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::effect::SECTOR_BYTES;
use crate::fs::{ErrorKind, FileKind};

/// An inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u32);

/// The inode number of the root directory.
pub const ROOT: Ino = Ino(1);

/// The bytes of a file: its length and those sectors that were ever written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes.
    pub len: u64,
    /// Sector number to bytes (at most 512; bytes missing at the end are zero). A missing sector is all zeros.
    pub sectors: BTreeMap<u64, Bytes>,
}

impl Content {
    /// A content of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let sectors = bytes.chunks(SECTOR_BYTES as usize).map(Bytes::copy_from_slice);
        Self { len: bytes.len() as u64, sectors: (0..).zip(sectors).collect() }
    }

    /// Reads at most `len` bytes at `offset`.
    pub fn read(&self, offset: u64, len: usize) -> Bytes {
        let end = self.len.min(offset.saturating_add(len as u64));
        if offset >= end {
            return Bytes::new();
        }
        if offset / SECTOR_BYTES == (end - 1) / SECTOR_BYTES {
            // Within one sector, as every link file is: share it.
            let from = (offset % SECTOR_BYTES) as usize;
            let to = from + (end - offset) as usize;
            if let Some(sector) = self.sectors.get(&(offset / SECTOR_BYTES))
                && sector.len() >= to
            {
                return sector.slice(from..to);
            }
        }
        let mut out = BytesMut::zeroed((end - offset) as usize);
        for (index, bytes) in self.sectors.range(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES) {
            let start = index * SECTOR_BYTES;
            let from = offset.max(start);
            let to = end.min(start + bytes.len() as u64);
            if from < to {
                let src = &bytes[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(src);
            }
        }
        out.freeze()
    }

    /// The bytes that `sector` has after `data` is written at `offset`. Shares `data` where it fills the sector from
    /// its beginning on and nothing older lies behind it.
    pub fn merged(&self, sector: u64, offset: u64, data: &Bytes) -> Bytes {
        let start = sector * SECTOR_BYTES;
        let from = offset.max(start);
        let to = (offset + data.len() as u64).min(start + SECTOR_BYTES);
        let new = data.slice((from - offset) as usize..(to - offset) as usize);
        let old = self.sectors.get(&sector);
        if from == start && old.is_none_or(|o| o.len() <= new.len()) {
            return new;
        }
        let len = ((to - start) as usize).max(old.map_or(0, Bytes::len));
        let mut out = BytesMut::zeroed(len);
        if let Some(old) = old {
            out[..old.len()].copy_from_slice(old);
        }
        out[(from - start) as usize..(to - start) as usize].copy_from_slice(&new);
        out.freeze()
    }

    /// Sets the length; a shrink frees what lies behind it and zeroes the rest of the last sector.
    pub fn set_len(&mut self, len: u64) {
        if len < self.len {
            let keep = len.div_ceil(SECTOR_BYTES);
            self.sectors.split_off(&keep);
            if let Some(last) = self.sectors.get_mut(&(len / SECTOR_BYTES)) {
                last.truncate((len % SECTOR_BYTES) as usize);
            }
        }
        self.len = len;
    }
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(Content),
    /// A directory: name to inode.
    Dir(BTreeMap<Arc<str>, Ino>),
}

impl Node {
    /// An empty file or directory.
    pub fn empty(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Self::File(Content::default()),
            FileKind::Dir => Self::Dir(BTreeMap::new()),
        }
    }

    /// File or directory.
    pub fn kind(&self) -> FileKind {
        match self {
            Self::File(_) => FileKind::File,
            Self::Dir(_) => FileKind::Dir,
        }
    }
}

/// A tree of inodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// By inode number, dense: numbers are handed out one after another.
    nodes: Vec<Option<Arc<Node>>>,
    /// How many entries name an inode.
    names: Vec<u32>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![None, Some(Arc::new(Node::empty(FileKind::Dir)))], names: vec![0, 1] }
    }
}

/// Where a path leads: the directory that holds (or would hold) its last component, and the inode, if there is one.
/// The root has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'p> {
    /// The directory of the last component.
    pub dir: Ino,
    /// The last component; empty for the root.
    pub name: &'p str,
    /// What it names.
    pub ino: Option<Ino>,
}

impl Tree {
    /// A tree of these nodes, by inode number.
    pub fn from_nodes(nodes: Vec<Option<Arc<Node>>>) -> Self {
        let mut names = vec![0; nodes.len()];
        for node in nodes.iter().flatten() {
            if let Node::Dir(entries) = &**node {
                entries.values().for_each(|child| names[child.0 as usize] += 1);
            }
        }
        Self { nodes, names }
    }

    /// The number that the next new inode gets.
    pub fn next_ino(&self) -> Ino {
        Ino(self.nodes.len() as u32)
    }

    /// All inodes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = (Ino, &Arc<Node>)> {
        self.nodes.iter().enumerate().filter_map(|(i, node)| Some((Ino(i as u32), node.as_ref()?)))
    }

    /// The node of an inode. Inodes stay as long as a handle may need them.
    pub fn node(&self, ino: Ino) -> Option<&Arc<Node>> {
        self.nodes.get(ino.0 as usize)?.as_ref()
    }

    fn node_mut(&mut self, ino: Ino) -> Option<&mut Node> {
        self.nodes.get_mut(ino.0 as usize)?.as_mut().map(Arc::make_mut)
    }

    /// A directory's entries.
    pub fn dir(&self, ino: Ino) -> Option<&BTreeMap<Arc<str>, Ino>> {
        match self.node(ino).map(|n| &**n) {
            Some(Node::Dir(entries)) => Some(entries),
            _ => None,
        }
    }

    /// A file's content.
    pub fn file(&self, ino: Ino) -> Option<&Content> {
        match self.node(ino).map(|n| &**n) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    /// A file's content, to be changed.
    pub fn file_mut(&mut self, ino: Ino) -> Option<&mut Content> {
        match self.node_mut(ino) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    /// Adds an inode that has no name yet.
    pub fn add(&mut self, node: Node) -> Ino {
        let ino = self.next_ino();
        self.ensure(ino, || node);
        ino
    }

    /// Adds an inode under its number, if it is not there: replaying a log meets inodes where they were born.
    pub fn ensure(&mut self, ino: Ino, node: impl FnOnce() -> Node) {
        let at = ino.0 as usize;
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, None);
            self.names.resize(at + 1, 0);
        }
        self.nodes[at].get_or_insert_with(|| Arc::new(node()));
    }

    /// Forgets an inode that has neither a name nor a handle.
    pub fn forget(&mut self, ino: Ino) {
        self.nodes[ino.0 as usize] = None;
    }

    /// Sets or clears a name.
    pub fn set_entry(&mut self, dir: Ino, name: &Arc<str>, ino: Option<Ino>) {
        let Some(Node::Dir(entries)) = self.node_mut(dir) else { return };
        let old = match ino {
            Some(ino) => entries.insert(name.clone(), ino),
            None => entries.remove(name),
        };
        ino.into_iter().for_each(|ino| self.names[ino.0 as usize] += 1);
        old.into_iter().for_each(|ino| self.names[ino.0 as usize] -= 1);
    }

    /// Walks `path`, telling `looked` of every entry that is looked up.
    pub fn walk<'p>(&self, path: &'p str, mut looked: impl FnMut(Ino, &str)) -> Result<Place<'p>, ErrorKind> {
        let mut place = Place { dir: ROOT, name: "", ino: Some(ROOT) };
        if path.is_empty() {
            return Ok(place);
        }
        let mut rest = Some(path);
        while let Some(at) = rest {
            // By hand: `split` costs more than the looking up.
            let end = at.bytes().position(|b| b == b'/');
            let name = &at[..end.unwrap_or(at.len())];
            rest = end.map(|end| &at[end + 1..]);
            let dir = place.ino.ok_or(ErrorKind::NotFound)?;
            let entries = self.dir(dir).ok_or(ErrorKind::NotADirectory)?;
            looked(dir, name);
            place = Place { dir, name, ino: entries.get(name).copied() };
        }
        Ok(place)
    }

    /// How many names an inode has.
    pub fn names_of(&self, ino: Ino) -> u32 {
        self.names.get(ino.0 as usize).copied().unwrap_or(0)
    }

    /// Every reachable path with its content (`None` for a directory), sorted. A directory that was met on the way
    /// down is shown and not entered again: renames that split may leave loops.
    pub fn paths(&self) -> Vec<(String, Option<&Content>)> {
        let mut out = Vec::new();
        let mut stack = vec![(String::new(), vec![ROOT])];
        while let Some((path, way)) = stack.pop() {
            let Some(entries) = way.last().and_then(|ino| self.dir(*ino)) else { continue };
            for (name, child) in entries {
                let at = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
                out.push((at.clone(), self.file(*child)));
                if !way.contains(child) {
                    stack.push((at, way.iter().chain([child]).copied().collect()));
                }
            }
        }
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }
}
