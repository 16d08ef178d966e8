//! The running file system: [`SimFs`], what it is made of, and what a harness does to it from outside.
//!
//! What the calls of the port do stands in [`names`] (the tree) and [`content`] (one file); [`port`] is the port itself.

mod content;
mod names;
mod paths;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::effect::{Effect, Record, SECTOR_BYTES, What};
use super::fault::{FaultKind, Faults};
use super::reader::{Aim, Reader};
use super::space::{Ask, Library, Question, Space};
use super::tree::{Ino, Node, Place, Tree};
use crate::fs::{ErrorKind, FileKind, FsError, Result, check_path};
pub use port::SimFile;

/// The simulated file system. Clones share one disk.
#[derive(Debug, Clone, Default)]
pub struct SimFs(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    /// What a power cut now would leave if nothing un-synced survived.
    base: Tree,
    /// What every reader sees.
    tree: Tree,
    paths: paths::Paths,
    log: Vec<Record>,
    /// Number of open handles of an inode.
    handles: BTreeMap<Ino, u32>,
    /// What was truncated to 0 and has not been closed since, through whatever handle.
    emptied: BTreeSet<Ino>,
    faults: Option<Faults>,
    reader: Option<Reader>,
    /// How often an inode was written to or cut, since the machine was started.
    changes: BTreeMap<Ino, u64>,
    /// Whether nobody will want the log.
    forgetful: bool,
    read_only: bool,
    capacity_bytes: Option<u64>,
    /// How often the byte budget refused a byte.
    no_space: u64,
}

impl SimFs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds `tree`, all of it durable.
    pub fn with_tree(tree: Tree) -> Self {
        Self(Arc::new(Mutex::new(Disk { base: tree.clone(), tree, ..Disk::default() })))
    }

    /// A disk that holds `tree` and keeps no log: one that will not crash.
    pub fn without_log(tree: Tree) -> Self {
        Self(Arc::new(Mutex::new(Disk { tree, forgetful: true, ..Disk::default() })))
    }

    /// A disk that holds what this one holds now, and keeps no log.
    pub fn copy(&self) -> Self {
        let disk = self.lock();
        let (tree, paths) = (disk.tree.clone(), disk.paths.clone());
        Self(Arc::new(Mutex::new(Disk { tree, paths, forgetful: true, ..Disk::default() })))
    }

    /// A disk on which `log` was executed after `base`: the machine runs on, or a process on it crashed.
    pub fn replayed(base: Tree, log: Vec<Record>) -> Self {
        let mut tree = base.clone();
        for effect in log.iter().flat_map(Record::effects) {
            apply(&mut tree, effect);
        }
        Self(Arc::new(Mutex::new(Disk { base, tree, log, ..Disk::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything durable, as if the machine had been idle for a long time, and forgets the log.
    pub fn settle(&self) {
        let mut disk = self.lock();
        disk.base = disk.tree.clone();
        disk.log.clear();
    }

    /// Writes a mark into the log.
    pub fn mark(&self, mark: u32) {
        self.lock().push(|| format!("mark {mark}"), || What::Mark(mark));
    }

    /// What was durable when the log began, and the log.
    pub fn snapshot(&self) -> (Tree, Vec<Record>) {
        let disk = self.lock();
        (disk.base.clone(), disk.log.clone())
    }

    /// Whether the file system has turned read-only.
    pub fn is_read_only(&self) -> bool {
        self.lock().read_only
    }

    /// How many records the log has.
    pub fn records(&self) -> usize {
        self.lock().log.len()
    }

    /// The tree as readers see it now.
    pub fn tree(&self) -> Tree {
        self.lock().tree.clone()
    }

    /// Whether readers see the same here and there, inode by inode.
    pub fn holds_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.lock().tree == other.tree()
    }

    /// A disk that holds `tree`, a crash state of `space`, and notes what of the undecided is read. With `keep_log`
    /// false it keeps no log.
    pub fn undecided(tree: Tree, space: Arc<Space>, keep_log: bool) -> Self {
        let reader = Some(Reader::new(space));
        let base = if keep_log { tree.clone() } else { Tree::default() };
        Self(Arc::new(Mutex::new(Disk { base, tree, reader, forgetful: !keep_log, ..Disk::default() })))
    }

    /// What was asked of the undecided, in order, each thing once.
    pub fn questions(&self) -> Vec<Question> {
        self.lock().reader.as_mut().map_or_else(Vec::new, Reader::take_questions)
    }

    /// As [`undecided`](Self::undecided), and notes all that is read, decided or not. Which digests it takes for known
    /// is for `library` to say. With `keep_log` what the log depends on counts as read.
    pub fn transcribed(tree: Tree, space: Arc<Space>, library: Arc<Library>, keep_log: bool) -> Self {
        let fs = Self::undecided(tree, space.clone(), keep_log);
        fs.lock().reader = Some(Reader::transcribed(space, library, keep_log));
        fs
    }

    /// What was asked of a disk that is [transcribed](Self::transcribed), in order, each thing once.
    pub fn asks(&self) -> Vec<Ask<Ino>> {
        self.lock().reader.as_mut().map_or_else(Vec::new, Reader::take_asks)
    }

    /// Installs faults, or with `None` takes them away.
    pub fn set_faults(&self, faults: Option<Faults>) {
        self.lock().faults = faults;
    }

    /// How often a fault fired: since its faults were installed, or for [`FaultKind::NoSpace`] ever.
    pub fn fired(&self, kind: FaultKind) -> u64 {
        let disk = self.lock();
        match kind {
            FaultKind::NoSpace => disk.no_space,
            _ => disk.faults.as_ref().map_or(0, |f| f.fired(kind)),
        }
    }

    /// Limits the bytes that files may take, counted in whole sectors; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// Bit rot at rest: flips bits of one byte of a file, durably and unseen.
    pub fn corrupt(&self, path: &str, offset: u64, xor: u8) -> Result<()> {
        let mut disk = self.lock();
        let ino = disk.file("corrupt", path)?;
        let bad = || FsError::new(ErrorKind::InvalidInput, "corrupt", path);
        let old = *disk.tree.file(ino).ok_or_else(bad)?.read(offset, 1).first().ok_or_else(bad)?;
        disk.overwrite_at_rest(ino, offset, Bytes::copy_from_slice(&[old ^ xor]));
        Ok(())
    }

    /// A misdirected write at rest: sector `from_sector` of one file lands on `to_sector` of another.
    pub fn misdirect(&self, from: &str, from_sector: u64, to: &str, to_sector: u64) -> Result<()> {
        let mut disk = self.lock();
        let (source, target) = (disk.file("misdirect", from)?, disk.file("misdirect", to)?);
        let bad = || FsError::new(ErrorKind::InvalidInput, "misdirect", from);
        let sector = disk.tree.file(source).ok_or_else(bad)?.read(from_sector * SECTOR_BYTES, SECTOR_BYTES as usize);
        // The whole sector lands there; what lies behind the target's end is not seen.
        let room = disk.tree.file(target).ok_or_else(bad)?.len.saturating_sub(to_sector * SECTOR_BYTES);
        let mut whole = BytesMut::from(&sector[..]);
        whole.resize(room.min(SECTOR_BYTES) as usize, 0);
        if whole.is_empty() {
            return Err(FsError::new(ErrorKind::InvalidInput, "misdirect", to));
        }
        disk.overwrite_at_rest(target, to_sector * SECTOR_BYTES, whole.freeze());
        Ok(())
    }
}

/// Applies one effect to a tree, in the order of the log.
fn apply(tree: &mut Tree, effect: &Effect) {
    match effect {
        Effect::Dentry { dir, name, after, kind, .. } => {
            if let Some(ino) = after {
                tree.ensure(*ino, || Node::empty(*kind));
            }
            tree.set_entry(*dir, name, *after);
        }
        Effect::Size { inode, after, .. } => {
            if let Some(content) = tree.file_mut(*inode) {
                content.set_len(*after);
            }
        }
        Effect::Block { inode, sectors, .. } => {
            if let Some(content) = tree.file_mut(*inode) {
                content.sectors.extend(sectors.iter().map(|s| (s.sector, s.bytes.clone())));
            }
        }
    }
}

impl Disk {
    fn push(&mut self, call: impl FnOnce() -> String, what: impl FnOnce() -> What) {
        if !self.forgetful {
            self.log.push(Record { call: call(), what: what() });
        }
    }

    /// Resolves a path: the directory of its last component, that component, and the inode if there is one.
    fn walk<'p>(&mut self, op: &'static str, path: &'p str, aim: Aim) -> Result<Place<'p>> {
        let fail = |kind| FsError::new(kind, op, path);
        if let Some(reader) = &mut self.reader {
            check_path(op, path)?;
            let is_noted = reader.follows(path, aim);
            let look = |dir, name: &str| {
                if !is_noted {
                    reader.looked(dir, name)
                }
            };
            return self.tree.walk(path, look).map_err(fail);
        }
        if let Some(place) = self.paths.place(&self.tree, path) {
            return Ok(place);
        }
        check_path(op, path)?;
        let place = self.tree.walk(path, |_, _| {}).map_err(fail)?;
        self.paths.learn(path, &place);
        Ok(place)
    }

    fn existing(&mut self, op: &'static str, path: &str) -> Result<Ino> {
        self.walk(op, path, Aim::Find)?.ino.ok_or_else(|| FsError::new(ErrorKind::NotFound, op, path))
    }

    fn file(&mut self, op: &'static str, path: &str) -> Result<Ino> {
        let ino = self.existing(op, path)?;
        self.tree.file(ino).map(|_| ino).ok_or_else(|| FsError::new(ErrorKind::IsADirectory, op, path))
    }

    fn writable(&self, op: &'static str, path: &str) -> Result<()> {
        if self.read_only { Err(FsError::new(ErrorKind::ReadOnly, op, path)) } else { Ok(()) }
    }

    fn fires(&mut self, kind: FaultKind) -> bool {
        self.faults.as_mut().is_some_and(|f| f.fires(kind))
    }

    /// Executes the effects of one call: tree, then log.
    fn execute(&mut self, call: impl FnOnce() -> String, effects: Vec<Effect>) {
        for effect in &effects {
            apply(&mut self.tree, effect);
        }
        self.paths.changed(&effects);
        self.push(call, || What::Effects(effects));
    }

    fn dentry(&self, dir: Ino, name: &str, before: Option<Ino>, after: Option<Ino>) -> Effect {
        let is_dir = after.or(before).is_some_and(|i| self.tree.dir(i).is_some());
        let kind = if is_dir { FileKind::Dir } else { FileKind::File };
        Effect::Dentry { dir, name: name.into(), before, after, kind }
    }

    fn open_handle(&mut self, ino: Ino) {
        *self.handles.entry(ino).or_default() += 1;
    }

    /// Forgets an inode whose last name or handle went. The log keeps what a power cut could bring back.
    fn forget_if_unused(&mut self, ino: Ino) {
        if !self.handles.contains_key(&ino) && self.tree.names_of(ino) == 0 {
            self.tree.forget(ino);
        }
    }
}
