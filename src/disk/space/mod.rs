//! The space of crash states of one log under one model.
//!
//! The log's effects become **atoms**, the finest pieces that the model lets persist alone: a name, a whole rename, a
//! length, a sector. What an atom sets is a **slot**: a directory entry, a file's length, a sector. A crash state is a
//! set of atoms, and since atoms are numbered in time, a slot's value is that of its last atom in the set. Nothing is
//! applied or copied to look at a state: [`View`] answers what an entry, a length or a file's content is, and hashes
//! the visible tree.

mod ask;
mod atom;
mod bits;
mod branch;
mod build;
mod count;
mod find;
mod hash;
mod layer;
mod needs;
mod path;
mod region;
mod sight;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::effect::{Cut, Record};
use super::model::{Families, Timeline};
use super::tree::{Content, Ino, ROOT, Tree};
use crate::fs::FileKind;
pub use ask::{Ask, Known, Library, Reply};
pub use atom::{Atom, AtomId, Piece};
pub use bits::Bits;
pub use branch::Branching;
pub use count::{Count, Counter};
use hash::sector_hash;
pub(crate) use hash::{mix_wide, weight};
pub use layer::Layers;
use needs::Needs;
pub use region::{Order, Region};
pub use sight::Sight;
pub use view::{TreeHasher, View};

/// Byte with which blocks are filled that were allocated and never written, where a model shows stale bytes. Not
/// hexadecimal, not zero, not valid UTF-8: what an unlucky reader finds.
pub const STALE_BYTE: u8 = 0xA5;

/// The value of a slot, and its hash.
#[derive(Debug, Clone)]
enum Value {
    Entry(Option<Ino>),
    Len(u64),
    Sector(Bytes, u64),
    /// A shrink, or its zeros in place: so many bytes of whatever the sector held stay, the rest is zeros.
    Clip(usize),
}

/// A slot's atoms, ascending, each with the value that it sets; the base value is the tables' own.
type Versions = Vec<(AtomId, Value)>;

#[derive(Debug, Default)]
struct FileTable {
    base: Content,
    len: Versions,
    /// Sector number to its versions; for files that the log touched only.
    sectors: BTreeMap<u64, Versions>,
    /// Hash of the base bytes of each sector that has some.
    base_hashes: BTreeMap<u64, u64>,
    /// The hash of the content, where no atom touches it.
    constant: Option<u64>,
    /// Which atoms touch it.
    atoms: Bits,
    /// Its place among the files that differ from state to state.
    index: Option<usize>,
    /// What it is once all of the log is done, for [`Question::Prefix`].
    whole: OnceLock<Whole>,
}

/// A file's content at the end of the log.
#[derive(Debug)]
pub(super) struct Whole {
    /// The bytes.
    pub(super) content: Content,
    /// The hash of each of their sectors.
    hashes: BTreeMap<u64, u64>,
    /// Their digest.
    pub(super) sha256: [u8; 32],
}

/// A directory's entries, sorted by name once the space is complete.
type DirTable = Vec<EntryTable>;

#[derive(Debug)]
struct EntryTable {
    name: Arc<str>,
    hash: u64,
    base: Option<Ino>,
    versions: Versions,
}

/// Log and model, laid out for enumeration.
#[derive(Debug)]
pub struct Space {
    base: Tree,
    records: Arc<[Record]>,
    atoms: Vec<Atom>,
    /// The first atom of each record, or the next if it has none; behind them, how many atoms there are.
    starts: Vec<AtomId>,
    /// What each atom depends on: same-object order and the model's. Always smaller numbers.
    preds: Needs,
    /// The first sector of an atom's block, where the model keeps blocks whole.
    tied: Vec<Option<AtomId>>,
    /// Bytes and growths that a failed sync marked clean.
    failed: Bits,
    /// By inode number, dense: inode numbers are handed out one after another.
    nodes: Vec<Arc<NodeTable>>,
    /// The files that differ from state to state.
    undecided: Vec<Ino>,
    /// The atoms that are not a length which only a write that is cut may leave.
    wholes: OnceLock<Bits>,
    /// Whether no directory has two names.
    is_tree: OnceLock<bool>,
    /// What brings what, followed to the end.
    order: OnceLock<Order>,
    /// The families at each cut between two records, by the number of records.
    families: OnceLock<Families>,
}

#[derive(Debug, Default)]
enum NodeTable {
    #[default]
    Unused,
    File(Box<FileTable>),
    Dir(DirTable),
}

impl NodeTable {
    /// A node of a space that is being built: nobody shares it yet.
    fn unshared(node: &mut Arc<Self>) -> &mut Self {
        Arc::get_mut(node).unwrap_or_else(|| unreachable!("it is shared before it is built"))
    }
}

impl Space {
    fn node(&self, ino: Ino) -> Option<&NodeTable> {
        self.nodes.get(ino.0 as usize).map(|node| &**node)
    }

    fn file(&self, ino: Ino) -> Option<&FileTable> {
        match self.node(ino) {
            Some(NodeTable::File(file)) => Some(file),
            _ => None,
        }
    }

    fn dir(&self, ino: Ino) -> Option<&DirTable> {
        match self.node(ino) {
            Some(NodeTable::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    /// The atoms and the records, for the models.
    pub fn timeline(&self) -> Timeline<'_> {
        Timeline { base: &self.base, atoms: &self.atoms, records: &self.records, failed: &self.failed }
    }

    /// What was durable when the log began.
    pub fn base(&self) -> &Tree {
        &self.base
    }

    /// The log.
    pub fn records(&self) -> &Arc<[Record]> {
        &self.records
    }

    /// The atoms.
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    /// What an atom depends on.
    pub fn preds(&self, id: AtomId) -> &[AtomId] {
        self.preds.of(id)
    }

    /// The atom with which this one persists, or not: where the model keeps blocks whole.
    pub fn tied_to(&self, id: AtomId) -> Option<AtomId> {
        self.tied[id]
    }

    /// Whether atom `id` is zeros that a shrink writes in place, and that shrink is among the survivors and does not do
    /// without them what they do.
    pub fn lacks_zeros(&self, id: AtomId, survivors: &Bits) -> bool {
        let Piece::Zero { inode, sector } = self.atoms[id].piece else { return false };
        let mut of_it = self.atoms_of(self.atoms[id].record as usize);
        let shrink = of_it.find(|id| matches!(self.atoms[*id].piece, Piece::Shrink { .. }));
        let versions = self.file(inode).and_then(|file| file.sectors.get(&sector));
        shrink.is_some_and(|shrink| {
            let clips = versions.is_some_and(|versions| versions.iter().any(|(id, _)| *id == shrink));
            survivors.contains(shrink) && !clips
        })
    }

    /// The atoms of one record.
    pub fn atoms_of(&self, record: usize) -> std::ops::Range<AtomId> {
        let start = |record: usize| self.starts.get(record).copied().unwrap_or(self.atoms.len());
        start(record)..start(record + 1)
    }

    /// The atoms that were executed before `cut`.
    pub fn executed(&self, cut: Cut) -> Bits {
        let wholes = || {
            let mut bits = Bits::new(self.atoms.len());
            (0..self.atoms.len()).filter(|id| !self.atoms[*id].is_partial()).for_each(|id| bits.insert(id));
            bits
        };
        let mut bits = self.wholes.get_or_init(wholes).clone();
        let of_the_cut = self.atoms_of(cut.records as usize);
        bits.truncate(of_the_cut.start);
        let Some(sectors) = cut.inside else { return bits };
        let is_done = |id: &AtomId| match self.atoms[*id].piece {
            Piece::Data { nth, .. } | Piece::Stale { nth, .. } => nth < sectors,
            Piece::Grow { partial, .. } => partial == Some(sectors),
            _ => false,
        };
        of_the_cut.filter(is_done).for_each(|id| bits.insert(id));
        bits
    }

    /// All that was executed by the end of the log, and no stale bytes: of a file that is gone what it was.
    fn end(&self) -> Bits {
        let mut bits = self.executed(Cut::after(self.records.len()));
        let is_stale = |id: &AtomId| matches!(self.atoms[*id].piece, Piece::Stale { .. });
        (0..self.atoms.len()).filter(is_stale).for_each(|id| bits.remove(id));
        bits
    }

    /// Adds to `bits` all that its atoms depend on.
    pub fn close(&self, bits: &mut Bits) {
        // Dependencies have smaller numbers, so one pass from the end is enough; ties go both ways.
        for id in (0..self.atoms.len()).rev() {
            if bits.contains(id) {
                self.preds(id).iter().for_each(|p| bits.insert(*p));
                if let Some(first) = self.tied[id] {
                    bits.insert(first);
                }
            }
        }
        for id in 0..self.atoms.len() {
            if self.tied[id].is_some_and(|first| bits.contains(first)) {
                bits.insert(id);
            }
        }
    }

    /// Whether `bits` is closed under the order.
    pub fn is_closed(&self, bits: &Bits) -> bool {
        bits.iter().all(|id| self.preds(id).iter().all(|p| bits.contains(*p)))
    }

    /// The state in which `survivors` survived.
    pub fn view<'a>(&'a self, survivors: &'a Bits) -> View<'a> {
        View { space: self, survivors, contents: &[] }
    }

    /// As [`view`](Self::view), with the hashes of contents that a [`TreeHasher`] found for that state.
    pub fn view_with<'a>(&'a self, survivors: &'a Bits, contents: &'a [u64]) -> View<'a> {
        View { space: self, survivors, contents }
    }

    /// The question that a look-up of `name` in `dir` asks; `None`, here and below, where every crash state answers it
    /// alike.
    pub fn asks_entry(&self, dir: Ino, name: &str) -> Option<Question> {
        let entries = self.dir(dir)?;
        let index = entries.binary_search_by(|e| (*e.name).cmp(name)).ok()?;
        (!entries[index].versions.is_empty()).then_some(Question::Entry { dir, index: index as u32 })
    }

    /// The question that a listing of `dir` asks.
    pub fn asks_dir(&self, dir: Ino) -> Option<Question> {
        self.dir(dir)?.iter().any(|e| !e.versions.is_empty()).then_some(Question::Dir(dir))
    }

    /// The question that a stat of a file asks.
    pub fn asks_len(&self, ino: Ino) -> Option<Question> {
        (!self.file(ino)?.len.is_empty()).then_some(Question::Len(ino))
    }

    /// The question that reading a file asks.
    pub fn asks_content(&self, ino: Ino) -> Option<Question> {
        self.file(ino)?.constant.is_none().then_some(Question::Content(ino))
    }

    /// The question whether the first `len_bytes` bytes of a file are those that it has at the end of the log.
    pub(super) fn asks_prefix(&self, ino: Ino, len_bytes: u64) -> Option<Question> {
        self.file(ino)?.constant.is_none().then_some(Question::Prefix { ino, len_bytes })
    }

    /// A file's content at the end of the log.
    pub(super) fn whole(&self, ino: Ino) -> Option<&Whole> {
        let of = || {
            let content = self.view(&self.end()).content(ino);
            let sha256 = Sha256::digest(content.read(0, content.len as usize)).into();
            let hashes = content.sectors.iter().map(|(at, bytes)| (*at, sector_hash(bytes))).collect();
            Whole { content, hashes, sha256 }
        };
        Some(self.file(ino)?.whole.get_or_init(of))
    }

    /// Every path that names something in some crash state, sorted, with its kind. A superset: names are followed
    /// wherever they may lead.
    pub fn possible_paths(&self) -> Vec<(String, FileKind)> {
        let mut found = BTreeMap::new();
        let mut stack = vec![(String::new(), ROOT, 0)];
        while let Some((path, ino, depth)) = stack.pop() {
            let Some(dir) = self.dir(ino).filter(|_| depth < MAX_DEPTH) else { continue };
            for entry in dir {
                let name = &entry.name;
                let set = entry.versions.iter().filter_map(|(_, v)| if let Value::Entry(i) = v { *i } else { None });
                for child in entry.base.into_iter().chain(set) {
                    let at = if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
                    let kind = if self.dir(child).is_some() { FileKind::Dir } else { FileKind::File };
                    found.insert(at.clone(), kind);
                    stack.push((at, child, depth + 1));
                }
            }
        }
        found.into_iter().collect()
    }
}

/// Deepest path that is followed; split renames of directories may make loops.
const MAX_DEPTH: usize = 64;

/// Something that a reader of an undecided disk can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// What an entry names: entry number `index` of directory `dir`.
    Entry {
        /// The directory.
        dir: Ino,
        /// Which of its possible entries, by name.
        index: u32,
    },
    /// What a directory holds.
    Dir(Ino),
    /// How long a file is.
    Len(Ino),
    /// A file's length and bytes.
    Content(Ino),
    /// Whether a file's first bytes are those that it has at the end of the log: all that one learns of them who
    /// compares their digest.
    Prefix {
        /// The file.
        ino: Ino,
        /// How many bytes.
        len_bytes: u64,
    },
}
