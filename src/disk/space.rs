//! The space of crash states of one log under one model.
//!
//! The log's effects become **atoms**, the finest pieces that the model lets persist alone: a name, a whole rename, a
//! length, a sector. What an atom sets is a **slot**: a directory entry, a file's length, a sector. A crash state is a
//! set of atoms, and since atoms are numbered in time, a slot's value is that of its last atom in the set. Nothing is
//! applied or copied to look at a state: [`View`] answers what an entry, a length or a file's content is, and hashes
//! the visible tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Cut, Effect, Record, SECTOR_BYTES, SectorWrite, What};
use super::model::{PersistenceModel, Preds, Timeline};
use super::tree::{Content, Ino, Node, ROOT, Tree};
use crate::fs::FileKind;

/// The number of an atom: its place in time.
pub type AtomId = usize;

/// Byte with which blocks are filled that were allocated and never written, where a model shows stale bytes. Not
/// hexadecimal, not zero, not valid UTF-8: what an unlucky reader finds.
pub const STALE_BYTE: u8 = 0xA5;

/// A set of atoms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// The empty set, with room for `n` atoms.
    pub fn new(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    /// Adds an atom.
    pub fn insert(&mut self, id: AtomId) {
        self.0[id / 64] |= 1 << (id % 64);
    }

    /// Takes an atom out.
    pub fn remove(&mut self, id: AtomId) {
        self.0[id / 64] &= !(1 << (id % 64));
    }

    /// Whether the atom is in the set.
    pub fn contains(&self, id: AtomId) -> bool {
        self.0[id / 64] >> (id % 64) & 1 == 1
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    /// Keeps only what is in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    /// Whether all of this is in `other`.
    pub fn within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// How many atoms.
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// The atoms, ascending.
    pub fn iter(&self) -> impl Iterator<Item = AtomId> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(i * 64 + bit)
            })
        })
    }
}

/// What an atom is, for the models and for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A name is set or cleared (a piece of a rename, where renames split).
    Name {
        /// The directory.
        dir: Ino,
        /// Who had the name.
        before: Option<Ino>,
        /// Who has it.
        after: Option<Ino>,
    },
    /// A rename, whole.
    Rename {
        /// What is renamed.
        inode: Ino,
        /// What had the new name.
        replaced: Option<Ino>,
        /// Where it was.
        from_dir: Ino,
        /// Where it goes.
        to_dir: Ino,
    },
    /// A length shrinks, and what lies behind it is freed.
    Shrink {
        /// The file.
        inode: Ino,
    },
    /// A length grows.
    Grow {
        /// The file.
        inode: Ino,
        /// For a write that was cut: after so many of its sectors.
        partial: Option<u32>,
    },
    /// One sector's bytes.
    Data {
        /// The file.
        inode: Ino,
        /// Which sector of the file.
        sector: u64,
        /// Which sector of its write, from 0.
        nth: u32,
    },
    /// A sector is allocated and shows stale bytes.
    Stale {
        /// The file.
        inode: Ino,
        /// Which sector of the file.
        sector: u64,
        /// Which sector of its write, from 0.
        nth: u32,
    },
}

/// The smallest piece of the log that can persist alone.
#[derive(Debug, Clone)]
pub struct Atom {
    /// The record that it comes from.
    pub record: u32,
    /// What it is.
    pub piece: Piece,
}

impl Atom {
    /// Whether it is there only if its write was cut in the middle.
    pub fn is_partial(&self) -> bool {
        matches!(self.piece, Piece::Grow { partial: Some(_), .. })
    }
}

/// The value of a slot, and its hash.
#[derive(Debug, Clone)]
enum Value {
    Entry(Option<Ino>),
    Len(u64),
    Sector(Bytes, u64),
    /// A shrink: so many bytes of whatever the sector held stay, the rest is zeros.
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
    /// What each atom depends on: same-object order and the model's. Always smaller numbers.
    preds: Vec<Box<[AtomId]>>,
    /// The first sector of an atom's block, where the model keeps blocks whole.
    tied: Vec<Option<AtomId>>,
    /// Bytes and growths that a failed sync marked clean.
    failed: Bits,
    /// By inode number, dense: inode numbers are handed out one after another.
    nodes: Vec<NodeTable>,
}

#[derive(Debug, Default)]
enum NodeTable {
    #[default]
    Unused,
    File(FileTable),
    Dir(DirTable),
}

impl Space {
    /// Lays out `log`, executed after `base`, under `model`.
    pub fn new(base: Tree, log: Arc<[Record]>, model: &dyn PersistenceModel) -> Self {
        let mut space = Self {
            base,
            records: log.clone(),
            atoms: Vec::new(),
            preds: Vec::new(),
            tied: Vec::new(),
            failed: Bits::default(),
            nodes: Vec::new(),
        };
        space.load_base();
        let mut builder = Builder { model, preds: Vec::new(), last_shrink: BTreeMap::new(), space: &mut space };
        for (at, record) in log.iter().enumerate() {
            builder.record(at as u32, record);
        }
        let mut preds = builder.preds;
        space.failed = space.marked_clean();
        model.order(space.timeline(), &mut preds);
        space.preds = preds
            .into_iter()
            .map(|mut p| {
                p.sort_unstable();
                p.dedup();
                p.into_boxed_slice()
            })
            .collect();
        for node in &mut space.nodes {
            match node {
                NodeTable::File(file) if file.len.is_empty() && file.sectors.is_empty() => {
                    file.constant = Some(content_hash(&file.base));
                }
                NodeTable::Dir(entries) => entries.sort_by(|a, b| a.name.cmp(&b.name)),
                NodeTable::File(_) | NodeTable::Unused => {}
            }
        }
        space
    }

    fn slot(&mut self, ino: Ino) -> &mut NodeTable {
        let at = ino.0 as usize;
        if self.nodes.len() <= at {
            self.nodes.resize_with(at + 1, NodeTable::default);
        }
        &mut self.nodes[at]
    }

    fn file_mut(&mut self, ino: Ino) -> &mut FileTable {
        let slot = self.slot(ino);
        if !matches!(slot, NodeTable::File(_)) {
            *slot = NodeTable::File(FileTable::default());
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

    fn file(&self, ino: Ino) -> Option<&FileTable> {
        match self.nodes.get(ino.0 as usize) {
            Some(NodeTable::File(file)) => Some(file),
            _ => None,
        }
    }

    fn dir(&self, ino: Ino) -> Option<&DirTable> {
        match self.nodes.get(ino.0 as usize) {
            Some(NodeTable::Dir(dir)) => Some(dir),
            _ => None,
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

    /// The atoms and the records, for the models.
    pub fn timeline(&self) -> Timeline<'_> {
        Timeline { atoms: &self.atoms, records: &self.records, failed: &self.failed }
    }

    /// The bytes, and the lengths that writes grew, that were dirty when a sync of their file failed.
    fn marked_clean(&self) -> Bits {
        let mut failed = Bits::new(self.atoms.len());
        for (at, record) in self.records.iter().enumerate() {
            let What::SyncFailed(inode) = record.what else { continue };
            let covers = |r: &Record| r.what == What::SyncFs || r.what == What::SyncFile(inode);
            let dirty_from = self.records[..at].iter().rposition(covers).map_or(0, |i| i + 1);
            for id in self.atoms_of(dirty_from).start..self.atoms_of(at).start {
                let writes = self.records[self.atoms[id].record as usize].sectors_written() > 0;
                if writes && (self.atoms[id].writes(inode) || self.atoms[id].sizes(inode)) {
                    failed.insert(id);
                }
            }
        }
        failed
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
        &self.preds[id]
    }

    /// The atom with which this one persists, or not: where the model keeps blocks whole.
    pub fn tied_to(&self, id: AtomId) -> Option<AtomId> {
        self.tied[id]
    }

    /// The atoms of one record.
    pub fn atoms_of(&self, record: usize) -> std::ops::Range<AtomId> {
        let from = self.atoms.partition_point(|a| (a.record as usize) < record);
        let to = self.atoms.partition_point(|a| a.record as usize <= record);
        from..to
    }

    /// The atoms that were executed before `cut`.
    pub fn executed(&self, cut: Cut) -> Bits {
        let mut bits = Bits::new(self.atoms.len());
        for (id, atom) in self.atoms.iter().enumerate() {
            let done = match atom.record.cmp(&cut.records) {
                std::cmp::Ordering::Less => !atom.is_partial(),
                std::cmp::Ordering::Greater => break,
                std::cmp::Ordering::Equal => cut.inside.is_some_and(|sectors| match atom.piece {
                    Piece::Data { nth, .. } | Piece::Stale { nth, .. } => nth < sectors,
                    Piece::Grow { partial, .. } => partial == Some(sectors),
                    _ => false,
                }),
            };
            if done {
                bits.insert(id);
            }
        }
        bits
    }

    /// Adds to `bits` all that its atoms depend on.
    pub fn close(&self, bits: &mut Bits) {
        // Dependencies have smaller numbers, so one pass from the end is enough; ties go both ways.
        for id in (0..self.atoms.len()).rev() {
            if bits.contains(id) {
                self.preds[id].iter().for_each(|p| bits.insert(*p));
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
        bits.iter().all(|id| self.preds[id].iter().all(|p| bits.contains(*p)))
    }

    /// The state in which `survivors` survived.
    pub fn view<'a>(&'a self, survivors: &'a Bits) -> View<'a> {
        View { space: self, survivors }
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

    /// Every path that names something in some crash state, sorted, with its kind. A superset: names are followed
    /// wherever they may lead.
    pub fn possible_paths(&self) -> Vec<(String, FileKind)> {
        let mut found = BTreeMap::new();
        let mut stack = vec![(String::new(), ROOT, 0)];
        while let Some((path, ino, depth)) = stack.pop() {
            let Some(dir) = self.dir(ino).filter(|_| depth < MAX_DEPTH) else { continue };
            for entry in dir {
                let name = &entry.name;
                let versions =
                    entry.versions.iter().filter_map(|(_, v)| if let Value::Entry(i) = v { *i } else { None });
                for child in entry.base.into_iter().chain(versions) {
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

struct Builder<'a> {
    model: &'a dyn PersistenceModel,
    space: &'a mut Space,
    preds: Preds,
    /// The shrinks of a file: atom, and the bytes that it freed.
    last_shrink: BTreeMap<Ino, Vec<(AtomId, std::ops::Range<u64>)>>,
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
                let id = self.atom(at, Piece::Name { dir: *dir, before: *before, after: *after });
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
            let piece = Piece::Rename { inode: *inode, replaced: *replaced, from_dir: *from_dir, to_dir: *to_dir };
            let id = self.atom(at, piece);
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
        self.preds[id].extend(table.versions.last().map(|(prev, _)| *prev));
        table.versions.push((id, Value::Entry(value)));
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

    fn shrink(&mut self, at: u32, inode: Ino, before: u64, after: u64) {
        let id = self.atom(at, Piece::Shrink { inode });
        self.len(id, inode, after);
        self.last_shrink.entry(inode).or_default().push((id, after..before));
        // What is freed reads as zeros once the length grows again. The sector that the new end cuts keeps its head:
        // of the bytes that survived, which need not be those that were last written.
        let file = self.space.file_mut(inode);
        let known: BTreeSet<u64> = file
            .base
            .sectors
            .keys()
            .chain(file.sectors.keys())
            .copied()
            .filter(|s| (s + 1) * SECTOR_BYTES > after)
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
        let versions = self.space.file_mut(inode).sectors.entry(write.sector).or_default();
        let versions: Vec<AtomId> = versions.iter().map(|(id, _)| *id).collect();
        let is_data = |id: &AtomId| matches!(self.space.atoms[*id].piece, Piece::Data { .. });
        let before = versions.into_iter().rfind(is_data);
        let mut stale = None;
        if write.fresh && self.model.shows_stale_bytes() {
            let id = self.atom(at, Piece::Stale { inode, sector: write.sector, nth });
            // A block is allocated anew only when the truncation that freed it has happened.
            self.preds[id].extend(before.into_iter().chain(freed));
            let bytes = Bytes::from_static(&[STALE_BYTE; SECTOR_BYTES as usize]);
            self.version(id, inode, write.sector, bytes);
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

/// The lengths that a cut inside a growing write may leave: (sectors written, length), where that grows the file.
fn partial_lengths(effects: &[Effect]) -> Vec<(u32, u64)> {
    let Some(Effect::Size { before, after, .. }) = effects.last() else { return Vec::new() };
    let sectors =
        effects.iter().filter_map(|e| if let Effect::Block { sectors, .. } = e { Some(sectors) } else { None });
    let ends = sectors.flatten().map(|s| (s.sector + 1) * SECTOR_BYTES);
    let all = ends.enumerate().map(|(i, end)| (i as u32 + 1, end));
    all.filter(|(_, end)| end > before && end < after).collect()
}

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
}

/// One crash state, looked at without being built.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    space: &'a Space,
    survivors: &'a Bits,
}

impl<'a> View<'a> {
    fn last(&self, versions: &'a Versions) -> Option<&'a Value> {
        versions.iter().rev().find(|(id, _)| self.survivors.contains(*id)).map(|(_, value)| value)
    }

    fn value_of(&self, entry: &'a EntryTable) -> Option<Ino> {
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

    /// What a sector holds: bytes, their hash, and how many of them shrinks have left.
    fn sector(&self, file: &'a FileTable, sector: u64, versions: &'a Versions) -> (Option<&'a Bytes>, u64, usize) {
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
        self.dir_tree_hash(ROOT, 0)
    }

    fn dir_tree_hash(&self, dir: Ino, depth: usize) -> u128 {
        let Some(table) = self.space.dir(dir).filter(|_| depth < MAX_DEPTH) else { return 0 };
        let mut sum: u128 = 1;
        for entry in table {
            let Some(ino) = self.value_of(entry) else { continue };
            let child = if self.space.dir(ino).is_some() {
                self.dir_tree_hash(ino, depth + 1)
            } else {
                u128::from(self.content_hash(ino)) << 1
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
            let node = match &self.space.nodes[at] {
                NodeTable::Dir(entries) => {
                    let entries = entries.iter().filter_map(|e| Some((e.name.clone(), self.value_of(e)?)));
                    let entries: BTreeMap<Arc<str>, Ino> = entries.collect();
                    stack.extend(entries.values());
                    Arc::new(Node::Dir(entries))
                }
                NodeTable::File(file) => {
                    let shared = self.space.base.node(ino).filter(|_| file.constant.is_some());
                    shared.cloned().unwrap_or_else(|| Arc::new(Node::File(self.content(ino))))
                }
                NodeTable::Unused => continue,
            };
            nodes[at] = Some(node);
        }
        Tree::from_nodes(nodes)
    }
}

/// Folds two words into one: the finaliser of splitmix64 over their sum and product.
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(b ^ 0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn mix_wide(name: u64, child: u128) -> u128 {
    let (low, high) = (child as u64, (child >> 64) as u64);
    let a = mix(mix(name, low), high);
    let b = mix(mix(low ^ 0x5851_F42D_4C95_7F2D, high), name);
    u128::from(a) << 64 | u128::from(b)
}

fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| mix(h, u64::from(b)))
}

/// The hash of a sector; 0 for zeros, so that a hole and written zeros are the same to a reader.
fn sector_hash(bytes: &[u8]) -> u64 {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let mut hash = end as u64;
    for chunk in bytes[..end].chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    if end == 0 { 0 } else { hash.max(1) }
}

/// How many bytes of a sector lie before the end of a file that has `len`.
fn visible(sector: u64, len: u64) -> usize {
    len.saturating_sub(sector * SECTOR_BYTES).min(SECTOR_BYTES) as usize
}

/// The hash of the first `keep` bytes of a sector whose whole hash is known.
fn clipped_hash(bytes: &Bytes, whole: u64, keep: usize) -> u64 {
    if keep < bytes.len() { sector_hash(&bytes[..keep]) } else { whole }
}

/// What a sector adds to the hash of its file: nothing where it is zeros.
fn mix_sector(sector: u64, hash: u64) -> u64 {
    if hash == 0 { 0 } else { mix(sector, hash) }
}

fn len_hash(len: u64) -> u64 {
    mix(0x1234_5678_9ABC_DEF1, len)
}

fn content_hash(content: &Content) -> u64 {
    content
        .sectors
        .range(..content.len.div_ceil(SECTOR_BYTES))
        .map(|(s, b)| mix_sector(*s, sector_hash(&b[..b.len().min(visible(*s, content.len))])))
        .fold(len_hash(content.len), u64::wrapping_add)
}
