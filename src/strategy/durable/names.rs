//! Which names a power cut could still take back, and the one way to make them stay.
//!
//! A name (a directory entry) is **volatile** from before it is changed until a sync of its directory that began
//! after the change. [`Names`] keeps the volatile ones in memory. [`Names::settle`] makes a path durable: it syncs
//! exactly those directories in which a name on the path is volatile, deepest first, each once; where nothing is
//! volatile it does nothing. Two tasks that need the same directory share one sync.
//!
//! Writers settle what they rely on before they name anything that points at it, and what they wrote before they
//! answer. Readers settle what they **read**, after reading it: in the rare case that they meet a change under way
//! they finish its sync for it, so that nobody is shown what a crash could undo. It also covers a writer that was
//! dropped half-way: its names stay volatile until someone needs them.
//!
//! Nothing is volatile after [`Names::settle_everything`], with which every start begins. Names that nobody relies on
//! (upload sessions, tag indexes, removals of empty directories) are not tracked.
//!
//! **A sync that fails ends all writing** until the next start: the kernel may have marked the lost pages clean, so
//! that a second sync succeeds and proves nothing. Reads go on, except of what is still volatile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;

use crate::env::World;
use crate::env::sync::{LockTable, hold, hold_part, see_part};
use crate::env::touched;
use crate::fs::{ErrorKind, File, FileExt, FileKind, Fs, FsError, FsExt, OpenMode, split};
use crate::strategy::{Error, Result};

/// How the names of temporary files end: ours, and those of distribution 3.1.
pub(super) const TEMPORARY: &str = ".tmp";

/// The writer of names on `fs`.
pub(super) struct Names<F> {
    fs: F,
    world: World,
    marks: Mutex<Marks>,
    /// One sync of a directory at a time, so that those who wait find their names settled.
    turns: LockTable,
    /// Whether links were removed since the last [`Names::take_loose`] without being settled.
    loose: AtomicBool,
    stopped: OnceLock<String>,
}

/// The volatile names, by path.
#[derive(Debug, Default)]
struct Marks {
    changes: u64,
    names: BTreeMap<String, Mark>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Mark {
    /// The number of the last change.
    change: u64,
    /// Changes under way: a sync that runs beside one of them may or may not include it.
    running: u32,
}

impl Marks {
    fn mark(&mut self, path: &str) -> &mut Mark {
        self.changes += 1;
        let mark = self.names.entry(path.to_owned()).or_default();
        mark.change = self.changes;
        mark
    }
}

/// A change of a name, under way until this is dropped.
struct Change<'a> {
    marks: &'a Mutex<Marks>,
    path: &'a str,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut marks = hold_part(self.marks, parent(self.path));
        let mark = marks.mark(self.path);
        mark.running = mark.running.saturating_sub(1);
    }
}

/// A file that lost its name and has a temporary one, until it is [let go](Names::let_go): after that change is durable.
/// Else a crash could bring the name back, of a file whose bytes are gone: where freed blocks are used anew at once.
#[must_use = "it is litter if nobody lets it go"]
pub(super) struct Aside(Option<String>);

/// A removal of links that nobody settles, under way until this is dropped.
pub(super) struct Loosely<'a>(&'a AtomicBool);

impl Drop for Loosely<'_> {
    fn drop(&mut self) {
        touched::whole(self.0);
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<F: Fs> Names<F> {
    pub(super) fn new(fs: F, world: World) -> Self {
        Self {
            fs,
            world,
            marks: Mutex::default(),
            turns: LockTable::default(),
            loose: AtomicBool::new(false),
            stopped: OnceLock::new(),
        }
    }

    /// [`Error::Stopped`] once a sync has failed.
    pub(super) fn writable(&self) -> Result<()> {
        self.stopped.get().map_or(Ok(()), |why| Err(Error::Stopped(why.clone())))
    }

    /// `mkdir -p`.
    pub(super) async fn make_dir(&self, path: &str) -> Result<()> {
        self.writable()?;
        let mut missing = Vec::new();
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            match self.fs.metadata(at).await {
                Ok(m) if m.kind == FileKind::Dir => break,
                Ok(_) => return Err(FsError::new(ErrorKind::NotADirectory, "mkdir", at).into()),
                Err(e) if e.kind == ErrorKind::NotFound => missing.push(at),
                Err(e) => return Err(e.into()),
            }
            at = parent;
        }
        for dir in missing.into_iter().rev() {
            let _change = self.begin(dir);
            match self.fs.mkdir(dir).await {
                Err(e) if e.kind != ErrorKind::AlreadyExists => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives a file whose content is durable its name.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.writable()?;
        let _change = self.begin(to);
        Ok(self.fs.rename(from, to).await?)
    }

    /// Removes a name; one that is not there is as good as removed.
    pub(super) async fn unlink(&self, path: &str) -> Result<Aside> {
        self.writable()?;
        let aside = self.temporary(path);
        let _change = self.begin(path);
        match self.fs.rename(path, &aside).await {
            Ok(()) => Ok(Aside(Some(aside))),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(Aside(None)),
            Err(e) => Err(e.into()),
        }
    }

    /// Gives what has the name `path` a second one. (On a file system without hard links it has to do without.)
    async fn keep(&self, path: &str) -> Result<Aside> {
        if !self.fs.exists(path).await? {
            return Ok(Aside(None));
        }
        let aside = self.temporary(path);
        match self.fs.hard_link(path, &aside).await {
            Ok(()) => Ok(Aside(Some(aside))),
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::InvalidInput) => {
                Ok(Aside(None))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Lets go of a file that has durably lost its name. Where this fails it is litter.
    pub(super) async fn let_go(&self, aside: Aside) {
        if let (Some(path), Ok(())) = (aside.0, self.writable()) {
            let _ = self.fs.unlink(&path).await;
        }
    }

    /// Puts a small file, and makes it and all names on its path durable: written beside its place, synced, renamed.
    /// Its directory must exist. What it replaces keeps a second name meanwhile.
    pub(super) async fn put(&self, path: &str, content: Bytes) -> Result<()> {
        self.writable()?;
        let temporary = self.temporary(path);
        let file = self.fs.open(&temporary, OpenMode::CreateNew).await?;
        let written = async {
            file.write_full(0, content).await?;
            self.sync_file(&file).await?;
            let old = self.keep(path).await?;
            self.rename(&temporary, path).await?;
            Ok(old)
        };
        match written.await {
            Ok(old) => {
                self.settle(path).await?;
                self.let_go(old).await;
                Ok(())
            }
            Err(error) => {
                // Where this fails or must not be tried, the file is litter, which the next start collects.
                self.let_go(Aside(Some(temporary))).await;
                Err(error)
            }
        }
    }

    /// A free name beside `path`, of the form that litter collection knows.
    pub(super) fn temporary(&self, path: &str) -> String {
        format!("{path}.{}{TEMPORARY}", self.world.fresh_id())
    }

    /// Removes a directory if it is empty, and does not care when it comes back: for directories that hold nothing,
    /// under the lock of their object.
    pub(super) async fn remove_dir(&self, path: &str) -> Result<bool> {
        self.writable()?;
        // Not while someone syncs it.
        let _turn = self.turns.lock(path).await;
        match self.fs.rmdir(path).await {
            Ok(()) => {
                self.forget_below(path);
                Ok(true)
            }
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotEmpty) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Forgets a directory that was removed with all that was in it, after what mattered was settled.
    pub(super) fn forget_below(&self, dir: &str) {
        let mut marks = hold(&self.marks);
        let gone: Vec<String> = children(&marks.names, dir).map(|(path, _)| path.clone()).collect();
        for path in gone.iter().map(String::as_str).chain([dir]) {
            marks.names.remove(path);
        }
    }

    /// Notes that links are being removed that the caller will not settle, from now until the guard is dropped.
    pub(super) fn loosely(&self) -> Loosely<'_> {
        touched::whole(&self.loose);
        self.loose.store(true, Ordering::SeqCst);
        Loosely(&self.loose)
    }

    /// Whether links were removed loosely; to be followed by [`settle_everything`](Names::settle_everything). A
    /// removal that is under way meanwhile is noted anew at its end.
    pub(super) fn take_loose(&self) -> bool {
        touched::whole(&self.loose);
        self.loose.swap(false, Ordering::SeqCst)
    }

    /// Makes the bytes of a file durable.
    pub(super) async fn sync_file(&self, file: &F::File) -> Result<()> {
        self.writable()?;
        file.sync_data().await.map_err(|e| self.stop(e))?;
        self.writable()
    }

    /// Makes every name on `path` durable, or its absence.
    pub(super) async fn settle(&self, path: &str) -> Result<()> {
        let mut at = path;
        while let Some((dir, _)) = split(at) {
            if self.is_volatile(at) {
                self.sync_dir(dir, at).await?;
            }
            at = dir;
        }
        Ok(())
    }

    /// Settles all volatile names below a directory.
    pub(super) async fn settle_below(&self, dir: &str) -> Result<()> {
        let below: Vec<String> = children(&hold(&self.marks).names, dir).map(|(path, _)| path.clone()).collect();
        for path in below.iter().rev() {
            self.settle(path).await?;
        }
        Ok(())
    }

    /// Makes everything durable (`syncfs`): at a start, and by collections. Never on the path of a request.
    pub(super) async fn settle_everything(&self) -> Result<()> {
        self.writable()?;
        let seen = at_rest(hold(&self.marks).names.iter());
        self.fs.sync_fs().await.map_err(|e| self.stop(e))?;
        self.writable()?;
        self.forget(&seen);
        Ok(())
    }

    fn begin<'a>(&'a self, path: &'a str) -> Change<'a> {
        hold_part(&self.marks, parent(path)).mark(path).running += 1;
        Change { marks: &self.marks, path }
    }

    fn is_volatile(&self, path: &str) -> bool {
        see_part(&self.marks, parent(path)).names.contains_key(path)
    }

    /// Syncs `dir` unless `name`, a path in it, was settled while this waited for its turn.
    async fn sync_dir(&self, dir: &str, name: &str) -> Result<()> {
        let _turn = self.turns.lock(dir).await;
        if !self.is_volatile(name) {
            return Ok(());
        }
        self.writable()?;
        let prefix_len = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let in_dir = |(path, _): &(&String, &Mark)| !path[prefix_len..].contains('/');
        let seen = at_rest(children(&see_part(&self.marks, dir).names, dir).filter(in_dir));
        self.fs.sync_dir(dir).await.map_err(|e| self.stop(e))?;
        // Another sync may have failed meanwhile, and taken with it what this one was to write.
        self.writable()?;
        self.forget(&seen);
        Ok(())
    }

    /// Takes out the names that were at rest when a sync began and were not changed since.
    fn forget(&self, seen: &[(String, u64)]) {
        for (path, change) in seen {
            let mut marks = hold_part(&self.marks, parent(path));
            if marks.names.get(path).is_some_and(|mark| mark.change == *change) {
                marks.names.remove(path);
            }
        }
    }

    fn stop(&self, error: FsError) -> Error {
        if !matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) {
            let _ = self.stopped.set(error.to_string());
        }
        error.into()
    }
}

/// The directory of a path: the part of the marks that it belongs to.
fn parent(path: &str) -> &str {
    split(path).map_or("", |(dir, _)| dir)
}

/// The marks of names below `dir`.
fn children<'a>(names: &'a BTreeMap<String, Mark>, dir: &str) -> impl Iterator<Item = (&'a String, &'a Mark)> {
    let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
    names.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix))
}

/// Those that no change is under way of, each with its last change.
fn at_rest<'a>(marks: impl Iterator<Item = (&'a String, &'a Mark)>) -> Vec<(String, u64)> {
    marks.filter(|(_, mark)| mark.running == 0).map(|(path, mark)| (path.clone(), mark.change)).collect()
}
