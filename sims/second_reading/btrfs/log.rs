//! The log tree, as the kernel's words have it (`fs/btrfs/tree-log.c`): played from a commit on, call by call.
//!
//! What is in it is kept in sets of pieces: what is certain to be durable, and what waits for the log to be written; the
//! same of what the kernel may log and need not.

use std::collections::{BTreeMap, BTreeSet};

use pullplug::disk::effect::What;
use pullplug::disk::tree::Ino;
use pullplug::fs::FileKind;

use super::{Entry, History, Piece, Set, gives};

/// Who loses a name, and in which directory.
fn takes(piece: &Piece) -> Option<(Ino, Ino)> {
    piece.entries().iter().find(|e| e.after.is_none()).and_then(|e| Some((e.before?, e.dir)))
}

fn names(piece: &Piece, inode: Ino) -> bool {
    piece.entries().iter().any(|e| e.before == Some(inode) || e.after == Some(inode))
}

fn is_in(piece: &Piece, dir: Ino) -> bool {
    piece.entries().iter().any(|e| e.dir == dir)
}

/// The log tree since a commit.
pub struct Log<'a> {
    history: &'a History<'a>,
    commit: usize,
    /// A completed write of the log made it durable.
    pub sure: Set,
    /// In the log, and durable when that is written next.
    waiting: Set,
    /// What may be durable as well.
    pub may: Set,
    /// What may be in the log as well, and wait.
    may_wait: Set,
    /// Inodes of which the log has an item: fsynced, or new directories on the way to what is in it.
    logged: BTreeSet<Ino>,
    may_be_logged: BTreeSet<Ino>,
    /// The last fsync of an inode.
    fsynced: BTreeMap<Ino, usize>,
    /// Files whose bytes came to the disk after the commit, though they were written before it.
    late: &'a BTreeSet<Ino>,
    /// Up to which call a directory may have come along with all that is in it.
    whole: BTreeMap<Ino, usize>,
    /// The fsyncs of files that brought bytes, to the log or before the commit, which it has not forgotten.
    pub syncs: Vec<(usize, Ino)>,
}

impl<'a> Log<'a> {
    /// The log if the last commit was before call `commit`, after all calls.
    pub fn since(commit: usize, history: &'a History<'a>, late: &'a BTreeSet<Ino>) -> Self {
        let syncs = (0..commit).filter_map(|at| match history.log[at].what {
            What::SyncFile(file) if history.has_name(file, at) => Some((at, file)),
            _ => None,
        });
        let mut log = Self {
            history,
            commit,
            syncs: syncs.collect(),
            sure: Set::new(),
            waiting: Set::new(),
            may: Set::new(),
            may_wait: Set::new(),
            logged: BTreeSet::new(),
            may_be_logged: BTreeSet::new(),
            fsynced: BTreeMap::new(),
            whole: BTreeMap::new(),
            late,
        };
        (commit..history.log.len()).for_each(|at| log.goes_on(at));
        log
    }

    /// What concerns `inode` since the commit and before call `now`.
    fn news(&self, inode: Ino, now: usize) -> Set {
        self.history.pick(self.commit, now, |p| names(p, inode) || is_in(p, inode) || p.is_data_of(inode))
    }

    fn names(&self, inode: Ino, now: usize) -> Set {
        self.history.pick(self.commit, now, |p| names(p, inode))
    }

    fn goes_on(&mut self, at: usize) {
        match self.history.log[at].what {
            What::SyncFile(file) if !self.history.has_name(file, at) => self.forgets(file, at),
            What::SyncFile(file) => {
                self.syncs.push((at, file));
                self.fsync(file, at, true);
            }
            What::SyncDir(dir) => self.fsync(dir, at, false),
            What::Effects(_) => self.changes(at),
            _ => {}
        }
    }

    /// "A rename, a link or a removal enters the log only if the inode, or the directory that a name is taken from, was
    /// logged since C. If these only may have been logged, so may it."
    fn changes(&mut self, at: usize) {
        for id in self.history.pick(at, at + 1, |p| !p.entries().is_empty()) {
            let piece = &self.history.all[id];
            let (inode, dir) = match (takes(piece), gives(piece)) {
                (Some((inode, dir)), _) => (inode, Some(dir)),
                (None, Some(inode)) => (inode, None),
                _ => continue,
            };
            let is_in =
                |logged: &BTreeSet<Ino>| logged.contains(&inode) || dir.is_some_and(|dir| logged.contains(&dir));
            if self.history.is_replaced(id) {
                // "A name that came there since C, and is replaced, may be gone, if it was in the log."
                let known = self.known();
                let gave =
                    |id: &usize| self.history.all[*id].same_object(piece) && gives(&self.history.all[*id]).is_some();
                if known.iter().any(gave) {
                    self.may_wait.insert(id);
                }
            } else if is_in(&self.logged) {
                self.logs(id, at + 1);
                self.beside(inode, at + 1);
            } else if is_in(&self.may_be_logged) {
                self.may_wait.insert(id);
                self.beside(inode, at + 1);
            }
        }
    }

    /// A piece comes into the log, with what it needs, "and those new ancestors that these need".
    fn logs(&mut self, id: usize, now: usize) {
        if self.waiting.insert(id) {
            for id in self.history.closed(&Set::from([id])) {
                let entries = self.history.all[id].entries().iter().filter(|e| e.after.is_some());
                entries.for_each(|e| self.ancestors(e.dir, now));
            }
        }
    }

    /// A directory that is new since the commit is logged, with those above it.
    fn ancestors(&mut self, dir: Ino, now: usize) {
        if self.history.is_new(dir, self.commit) {
            self.logged.insert(dir);
            self.names(dir, now).into_iter().for_each(|id| self.logs(id, now));
        }
    }

    /// "What changed in the directories of a file that was renamed, linked or unlinked since C, when the file is logged."
    fn beside(&mut self, inode: Ino, now: usize) {
        let changes = self.names(inode, now);
        if changes.len() == 1 && self.history.is_new(inode, self.commit) {
            return; // It was made, and no more.
        }
        let dirs = changes.iter().flat_map(|id| self.history.all[*id].entries().iter().map(|e| e.dir));
        dirs.collect::<BTreeSet<Ino>>().into_iter().for_each(|dir| self.may_log(dir, now));
    }

    /// All that changed in a directory, "and what is in new directories there".
    fn may_log(&mut self, dir: Ino, now: usize) {
        self.may_be_logged.insert(dir);
        self.whole.insert(dir, now);
        for id in self.history.pick(self.commit, now, |p| is_in(p, dir)) {
            self.may_wait.insert(id);
            let entries = self.history.all[id].entries();
            if let [Entry { after: Some(made), kind: FileKind::Dir, .. }] = entries {
                self.may_log(*made, now);
            }
            self.may_be_logged.extend(entries.iter().filter(|e| e.dir == dir).filter_map(|e| e.after));
        }
    }

    /// fsync of an inode as call `at`: what it logs is durable behind it. "What waits is too, if the inode has changed since
    /// it was logged whole; it may be, if that is not certain; if it has not, nothing is logged."
    fn fsync(&mut self, inode: Ino, at: usize, is_file: bool) {
        let news = self.news(inode, at);
        let has_news_from = |call: usize| news.iter().any(|id| self.history.all[*id].record >= call);
        let synced = self.fsynced.insert(inode, at);
        let fsynced = synced.unwrap_or(self.commit);
        // "Bytes that were written before C and are written back after it change the inode once more."
        let is_late = synced.is_none() && self.late.contains(&inode);
        let is_new = is_late || has_news_from(fsynced.max(self.whole.get(&inode).copied().unwrap_or_default()));
        if !is_late && !has_news_from(fsynced) {
            return;
        }
        self.logged.insert(inode);
        let waited = std::mem::take(&mut self.waiting);
        for id in news {
            if is_file && self.history.is_replaced(id) {
                self.may_wait.insert(id);
            } else {
                self.logs(id, at);
            }
        }
        if is_file {
            self.beside(inode, at);
        } else {
            self.ancestors(inode, at);
            self.may_log(inode, at);
        }
        self.sure.append(&mut self.waiting);
        if is_new {
            self.sure.extend(waited);
        } else {
            self.waiting = waited;
        }
        self.flushes(at);
    }

    /// All that is in the log, or may be, is durable if it is written.
    fn flushes(&mut self, at: usize) {
        self.companions(at);
        self.may.extend(&self.waiting);
        self.may.extend(self.history.closed(&self.may_wait));
    }

    /// What since the commit is in the log, or may be.
    fn known(&self) -> Set {
        let all = [&self.sure, &self.waiting, &self.may, &self.may_wait].into_iter().flatten().copied().collect();
        let mut known = self.history.closed(&all);
        known.retain(|id| self.history.all[*id].record >= self.commit);
        known
    }

    /// "All names that an inode got since C, when one of them comes into the log." "What is beside a directory that was
    /// removed, when that comes into the log."
    fn companions(&mut self, at: usize) {
        loop {
            let before = self.may_wait.len();
            for id in self.known() {
                let piece = &self.history.all[id];
                if let Some(inode) = gives(piece) {
                    self.may_be_logged.insert(inode);
                    let names = self.names(inode, at);
                    self.may_wait.extend(names);
                } else if let [Entry { dir, kind: FileKind::Dir, .. }] = piece.entries() {
                    self.may_log(*dir, at);
                }
            }
            if self.may_wait.len() == before {
                return;
            }
        }
    }

    /// "fsync of a file that has no name any more takes out of the log what earlier ones brought of it, and may write it."
    fn forgets(&mut self, file: Ino, at: usize) {
        let news = self.news(file, at);
        for set in [&mut self.sure, &mut self.waiting] {
            set.retain(|id| !news.contains(id));
        }
        self.may_wait.extend(news);
        self.syncs.retain(|(at, inode)| *at < self.commit || *inode != file);
        self.flushes(at);
    }
}
