//! The running file system: [`SimFs`] and its open files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::effect::{Effect, Record, SECTOR_BYTES, SECTORS_PER_BLOCK, SectorWrite, What};
use super::fault::{FailedPages, FaultKind, Faults};
use super::space::{Question, Space};
use super::tree::{Ino, Node, Tree};
use crate::fs::{DirEntry, ErrorKind, File, FileKind, Fs, FsError, Metadata, OpenMode, Result, check_path};

/// The simulated file system. Clones share one disk.
#[derive(Debug, Clone, Default)]
pub struct SimFs(Arc<Mutex<Disk>>);

/// Who reads an undecided disk, and what it asked so far.
#[derive(Debug)]
struct Reader {
    space: Arc<Space>,
    questions: Vec<Question>,
}

#[derive(Debug, Default)]
struct Disk {
    /// What a power cut now would leave if nothing un-synced survived.
    base: Tree,
    /// What every reader sees.
    tree: Tree,
    log: Vec<Record>,
    /// Number of open handles of an inode.
    handles: BTreeMap<Ino, u32>,
    faults: Option<Faults>,
    reader: Option<Reader>,
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

    /// The tree as readers see it now.
    pub fn tree(&self) -> Tree {
        self.lock().tree.clone()
    }

    /// A disk that holds `tree`, a crash state of `space`, and notes what of the undecided is read. With `keep_log`
    /// false it keeps no log.
    pub fn undecided(tree: Tree, space: Arc<Space>, keep_log: bool) -> Self {
        let reader = Some(Reader { space, questions: Vec::new() });
        let base = if keep_log { tree.clone() } else { Tree::default() };
        Self(Arc::new(Mutex::new(Disk { base, tree, reader, forgetful: !keep_log, ..Disk::default() })))
    }

    /// What was asked of the undecided, in order, each thing once.
    pub fn questions(&self) -> Vec<Question> {
        self.lock().reader.as_mut().map_or_else(Vec::new, |r| std::mem::take(&mut r.questions))
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
pub(super) fn apply(tree: &mut Tree, effect: &Effect) {
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

    /// Notes a question, if the space has one there.
    fn saw(&mut self, question: impl FnOnce(&Space) -> Option<Question>) {
        if let Some(reader) = &mut self.reader
            && let Some(question) = question(&reader.space)
            && !reader.questions.contains(&question)
        {
            reader.questions.push(question);
        }
    }

    /// Resolves a path: the directory of its last component, that component, and the inode if there is one.
    fn walk<'p>(&mut self, op: &'static str, path: &'p str) -> Result<super::tree::Place<'p>> {
        check_path(op, path)?;
        let reader = &mut self.reader;
        let place = self.tree.walk(path, |dir, name| {
            if let Some(reader) = reader
                && let Some(question) = reader.space.asks_entry(dir, name)
                && !reader.questions.contains(&question)
            {
                reader.questions.push(question);
            }
        });
        place.map_err(|kind| FsError::new(kind, op, path))
    }

    fn existing(&mut self, op: &'static str, path: &str) -> Result<Ino> {
        self.walk(op, path)?.ino.ok_or_else(|| FsError::new(ErrorKind::NotFound, op, path))
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
        self.push(call, || What::Effects(effects));
    }

    fn dentry(&self, dir: Ino, name: &str, before: Option<Ino>, after: Option<Ino>) -> Effect {
        let is_dir = after.or(before).is_some_and(|i| self.tree.dir(i).is_some());
        let kind = if is_dir { FileKind::Dir } else { FileKind::File };
        Effect::Dentry { dir, name: name.into(), before, after, kind }
    }

    fn metadata(&mut self, ino: Ino) -> Metadata {
        self.saw(|space| space.asks_len(ino));
        let (kind, len) = match self.tree.node(ino).map(|n| &**n) {
            Some(Node::File(content)) => (FileKind::File, content.len),
            _ => (FileKind::Dir, 0),
        };
        Metadata { kind, len, ino: u64::from(ino.0) }
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

    fn used_bytes(&self) -> u64 {
        let sectors = |n: &Arc<Node>| if let Node::File(c) = &**n { c.sectors.len() as u64 } else { 0 };
        self.tree.nodes().map(|(_, n)| sectors(n)).sum::<u64>() * SECTOR_BYTES
    }

    /// How many of `len` bytes at `offset` fit into the byte budget: all, or those before the first sector that
    /// cannot be allocated.
    fn fitting(&self, ino: Ino, offset: u64, len: usize) -> usize {
        let Some(capacity) = self.capacity_bytes else { return len };
        let mut free = capacity.saturating_sub(self.used_bytes()) / SECTOR_BYTES;
        let end = offset + len as u64;
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            if self.tree.file(ino).is_some_and(|c| c.sectors.contains_key(&sector)) {
                continue;
            }
            if free == 0 {
                return (sector * SECTOR_BYTES).saturating_sub(offset) as usize;
            }
            free -= 1;
        }
        len
    }

    fn write(&mut self, ino: Ino, path: &str, offset: u64, data: &Bytes) -> Result<usize> {
        self.writable("write", path)?;
        if data.is_empty() {
            return Ok(0);
        }
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(FsError::new(ErrorKind::InvalidInput, "write", path));
        }
        if self.fires(FaultKind::WriteError) {
            return Err(FsError::new(ErrorKind::Io, "write", path));
        }
        let mut len = data.len();
        if len > 1 && self.fires(FaultKind::ShortWrite) {
            len = self.faults.as_mut().map_or(len, |f| f.shorten(len));
        }
        let fits = self.fitting(ino, offset, len);
        if fits < len {
            self.no_space += 1;
            if fits == 0 {
                return Err(FsError::new(ErrorKind::NoSpace, "write", path));
            }
        }
        let data = data.slice(..fits);
        let Some(content) = self.tree.file(ino) else { return Err(FsError::new(ErrorKind::NotFound, "write", path)) };
        let end = offset + data.len() as u64;
        let mut effects: Vec<Effect> = Vec::new();
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let write = SectorWrite {
                sector,
                bytes: content.merged(sector, offset, &data),
                fresh: !content.sectors.contains_key(&sector),
            };
            let block = sector / SECTORS_PER_BLOCK;
            match effects.last_mut() {
                Some(Effect::Block { index, sectors, .. }) if *index == block => sectors.push(write),
                _ => effects.push(Effect::Block { inode: ino, index: block, sectors: vec![write] }),
            }
        }
        if end > content.len {
            effects.push(Effect::Size { inode: ino, before: content.len, after: end });
        }
        self.execute(|| format!("write {path} {}", data.len()), effects);
        Ok(data.len())
    }

    fn set_len(&mut self, ino: Ino, path: &str, len: u64) -> Result<()> {
        self.writable("truncate", path)?;
        if len > i64::MAX as u64 {
            return Err(FsError::new(ErrorKind::InvalidInput, "truncate", path));
        }
        let Some(content) = self.tree.file(ino) else {
            return Err(FsError::new(ErrorKind::NotFound, "truncate", path));
        };
        let effects = if content.len == len {
            Vec::new()
        } else {
            vec![Effect::Size { inode: ino, before: content.len, after: len }]
        };
        self.execute(|| format!("truncate {path} {len}"), effects);
        Ok(())
    }

    /// fsync: `what` is what a success logs.
    fn sync(&mut self, call: &'static str, path: &str, what: What) -> Result<()> {
        self.writable(call, path)?;
        if !self.fires(FaultKind::SyncFailure) {
            let shown = if path.is_empty() { call.to_owned() } else { format!("{call} {path}") };
            self.push(|| shown, || what);
            return Ok(());
        }
        if let What::SyncFile(ino) = what {
            self.push(|| format!("{call} {path} = EIO"), || What::SyncFailed(ino));
            if self.faults.as_ref().is_some_and(|f| f.rates.failed_pages == FailedPages::Revert) {
                self.revert(ino, path);
            }
        } else {
            self.read_only = true;
        }
        Err(FsError::new(ErrorKind::Io, call, path))
    }

    /// Puts a file's bytes back to what the last completed sync of it left, and logs that as a change.
    fn revert(&mut self, ino: Ino, path: &str) {
        let covers = |r: &Record| matches!(&r.what, What::SyncFs) || r.what == What::SyncFile(ino);
        let synced = self.log.iter().rposition(covers).map_or(0, |i| i + 1);
        let mut tree = self.base.clone();
        tree.ensure(ino, || Node::empty(FileKind::File));
        for effect in self.log[..synced].iter().flat_map(Record::effects) {
            if let Effect::Size { .. } | Effect::Block { .. } = effect {
                apply(&mut tree, effect);
            }
        }
        let (Some(old), Some(now)) = (tree.file(ino), self.tree.file(ino)) else { return };
        let mut effects = Vec::new();
        if old.len != now.len {
            effects.push(Effect::Size { inode: ino, before: now.len, after: old.len });
        }
        for (sector, bytes) in old.sectors.iter().filter(|(s, b)| now.sectors.get(s) != Some(b)) {
            let write = SectorWrite { sector: *sector, bytes: bytes.clone(), fresh: false };
            effects.push(Effect::Block { inode: ino, index: sector / SECTORS_PER_BLOCK, sectors: vec![write] });
        }
        self.execute(|| format!("revert {path}"), effects);
    }

    fn overwrite_at_rest(&mut self, ino: Ino, offset: u64, data: Bytes) {
        for tree in [&mut self.tree, &mut self.base] {
            if let Some(content) = tree.file_mut(ino) {
                let sector = offset / SECTOR_BYTES;
                let merged = content.merged(sector, offset, &data);
                content.sectors.insert(sector, merged);
            }
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let fail = |kind, path: &str| Err(FsError::new(kind, "rename", path));
        self.writable("rename", from)?;
        check_path("rename", to)?;
        let source = self.walk("rename", from)?;
        let target = self.walk("rename", to)?;
        if from.is_empty() || to.is_empty() {
            return fail(ErrorKind::InvalidInput, from);
        }
        let Some(ino) = source.ino else { return fail(ErrorKind::NotFound, from) };
        let moves_dir = self.tree.dir(ino).is_some();
        if moves_dir && to.starts_with(from) && to[from.len()..].starts_with('/') {
            return fail(ErrorKind::InvalidInput, to);
        }
        if let Some(old) = target.ino {
            if old == ino {
                return Ok(());
            }
            // A directory cannot give way to what it contains.
            if from.starts_with(to) && from[to.len()..].starts_with('/') {
                return fail(ErrorKind::NotEmpty, to);
            }
            match (moves_dir, self.tree.dir(old)) {
                (true, None) => return fail(ErrorKind::NotADirectory, to),
                (false, Some(_)) => return fail(ErrorKind::IsADirectory, to),
                (true, Some(_)) => {
                    self.saw(|space| space.asks_dir(old));
                    if self.tree.dir(old).is_some_and(|d| !d.is_empty()) {
                        return fail(ErrorKind::NotEmpty, to);
                    }
                }
                (false, None) => {}
            }
        }
        let effects = vec![
            self.dentry(target.dir, target.name, target.ino, Some(ino)),
            self.dentry(source.dir, source.name, Some(ino), None),
        ];
        self.execute(|| format!("rename {from} -> {to}"), effects);
        if let Some(old) = target.ino {
            self.forget_if_unused(old);
        }
        Ok(())
    }

    /// unlink and rmdir.
    fn remove(&mut self, op: &'static str, path: &str, kind: FileKind) -> Result<()> {
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path)?;
        let Some(ino) = place.ino else { return fail(ErrorKind::NotFound) };
        match (kind, self.tree.dir(ino)) {
            (FileKind::File, Some(_)) => return fail(ErrorKind::IsADirectory),
            (FileKind::Dir, None) => return fail(ErrorKind::NotADirectory),
            (FileKind::Dir, Some(_)) => {
                self.saw(|space| space.asks_dir(ino));
                if path.is_empty() {
                    return fail(ErrorKind::InvalidInput);
                }
                if self.tree.dir(ino).is_some_and(|d| !d.is_empty()) {
                    return fail(ErrorKind::NotEmpty);
                }
            }
            (FileKind::File, None) => {}
        }
        self.writable(op, path)?;
        let effect = self.dentry(place.dir, place.name, Some(ino), None);
        self.execute(|| format!("{op} {path}"), vec![effect]);
        self.forget_if_unused(ino);
        Ok(())
    }

    fn open(&mut self, path: &str, mode: OpenMode) -> Result<Ino> {
        let op = if matches!(mode, OpenMode::Create | OpenMode::CreateNew) { "open-create" } else { "open" };
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path)?;
        let ino = match place.ino {
            Some(_) if mode == OpenMode::CreateNew => return fail(ErrorKind::AlreadyExists),
            Some(ino) if self.tree.dir(ino).is_some() => return fail(ErrorKind::IsADirectory),
            Some(ino) => {
                if mode != OpenMode::Read {
                    self.writable(op, path)?;
                }
                if matches!(mode, OpenMode::Create) {
                    self.push(|| format!("{op} {path}"), || What::Effects(Vec::new()));
                }
                ino
            }
            None if op == "open" => return fail(ErrorKind::NotFound),
            None if self.tree.dir(place.dir).is_none() => return fail(ErrorKind::NotFound),
            None => {
                self.writable(op, path)?;
                let ino = self.tree.add(Node::empty(FileKind::File));
                let effect = self.dentry(place.dir, place.name, None, Some(ino));
                self.execute(|| format!("{op} {path}"), vec![effect]);
                ino
            }
        };
        self.open_handle(ino);
        Ok(ino)
    }

    fn mkdir(&mut self, path: &str) -> Result<()> {
        let place = self.walk("mkdir", path)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "mkdir", path));
        }
        self.writable("mkdir", path)?;
        let ino = self.tree.add(Node::empty(FileKind::Dir));
        let effect = self.dentry(place.dir, place.name, None, Some(ino));
        self.execute(|| format!("mkdir {path}"), vec![effect]);
        Ok(())
    }

    fn hard_link(&mut self, existing: &str, new: &str) -> Result<()> {
        check_path("link", new)?;
        let source = self.existing("link", existing)?;
        let place = self.walk("link", new)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "link", new));
        }
        if self.tree.dir(source).is_some() {
            return Err(FsError::new(ErrorKind::Denied, "link", existing));
        }
        self.writable("link", new)?;
        let effect = self.dentry(place.dir, place.name, None, Some(source));
        self.execute(|| format!("link {existing} -> {new}"), vec![effect]);
        Ok(())
    }

    fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>> {
        let ino = self.existing("readdir", path)?;
        if self.fires(FaultKind::ReadError) {
            return Err(FsError::new(ErrorKind::Io, "readdir", path));
        }
        self.saw(|space| space.asks_dir(ino));
        let Some(entries) = self.tree.dir(ino) else {
            return Err(FsError::new(ErrorKind::NotADirectory, "readdir", path));
        };
        let kind = |ino: &Ino| if self.tree.dir(*ino).is_some() { FileKind::Dir } else { FileKind::File };
        Ok(entries.iter().map(|(name, ino)| DirEntry { name: name.to_string(), kind: kind(ino) }).collect())
    }
}

impl Fs for SimFs {
    type File = SimFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<SimFile> {
        let ino = self.lock().open(path, mode)?;
        Ok(SimFile {
            fs: self.clone(),
            ino,
            path: path.to_owned(),
            writable: mode != OpenMode::Read,
            truncated: Mutex::new(false),
        })
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.lock().rename(from, to)
    }

    async fn hard_link(&self, existing: &str, new: &str) -> Result<()> {
        self.lock().hard_link(existing, new)
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        self.lock().remove("unlink", path, FileKind::File)
    }

    async fn mkdir(&self, path: &str) -> Result<()> {
        self.lock().mkdir(path)
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        self.lock().remove("rmdir", path, FileKind::Dir)
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
        self.lock().read_dir(path)
    }

    async fn metadata(&self, path: &str) -> Result<Metadata> {
        let mut disk = self.lock();
        let ino = disk.existing("stat", path)?;
        Ok(disk.metadata(ino))
    }

    async fn sync_dir(&self, path: &str) -> Result<()> {
        let mut disk = self.lock();
        let ino = disk.existing("fsync", path)?;
        if disk.tree.dir(ino).is_none() {
            return Err(FsError::new(ErrorKind::NotADirectory, "fsync", path));
        }
        disk.sync("fsync", path, What::SyncDir(ino))
    }

    async fn sync_fs(&self) -> Result<()> {
        self.lock().sync("syncfs", "", What::SyncFs)
    }
}

/// An open file of a [`SimFs`].
#[derive(Debug)]
pub struct SimFile {
    fs: SimFs,
    ino: Ino,
    path: String,
    writable: bool,
    truncated: Mutex<bool>,
}

impl SimFile {
    fn for_writing(&self, op: &'static str) -> Result<MutexGuard<'_, Disk>> {
        if self.writable { Ok(self.fs.lock()) } else { Err(FsError::new(ErrorKind::InvalidInput, op, &self.path)) }
    }
}

impl File for SimFile {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let mut disk = self.fs.lock();
        disk.saw(|space| space.asks_content(self.ino));
        if disk.fires(FaultKind::ReadError) {
            return Err(FsError::new(ErrorKind::Io, "read", &self.path));
        }
        let mut bytes = disk.tree.file(self.ino).map_or_else(Bytes::new, |c| c.read(offset, len));
        if bytes.len() > 1 && disk.fires(FaultKind::ShortRead) {
            let len = disk.faults.as_mut().map_or(bytes.len(), |f| f.shorten(bytes.len()));
            bytes.truncate(len);
        }
        Ok(bytes)
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> Result<usize> {
        self.for_writing("write")?.write(self.ino, &self.path, offset, &data)
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        self.for_writing("truncate")?.set_len(self.ino, &self.path, len)?;
        if len == 0 {
            *self.truncated.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        Ok(())
    }

    async fn metadata(&self) -> Result<Metadata> {
        Ok(self.fs.lock().metadata(self.ino))
    }

    async fn sync_data(&self) -> Result<()> {
        self.fs.lock().sync("fdatasync", &self.path, What::SyncFile(self.ino))
    }

    async fn sync_all(&self) -> Result<()> {
        self.fs.lock().sync("fsync", &self.path, What::SyncFile(self.ino))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.fs.lock();
        if *self.truncated.lock().unwrap_or_else(PoisonError::into_inner) {
            disk.push(|| format!("close {}", self.path), || What::CloseTruncated(self.ino));
        }
        if let Some(count) = disk.handles.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                disk.handles.remove(&self.ino);
                disk.forget_if_unused(self.ino);
            }
        }
    }
}
