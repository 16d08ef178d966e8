//! The log tree of `btrfs`: what fsyncs have written since the last commit, and what came along.

use crate::disk::effect::{Effect, What};
use crate::disk::space::{Atom, AtomId, Bits, Piece, Space};
use crate::disk::tree::Ino;
use crate::fs::FileKind;

/// What concerns one inode, ascending.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// All of it: its data, its lengths, its names and, of a directory, its entries.
    atoms: Vec<AtomId>,
    /// Its names.
    names: Vec<AtomId>,
}

/// What concerns which inode, by its number.
pub(super) fn inodes(space: &Space) -> Vec<Inode> {
    let timeline = space.timeline();
    let mut inodes = vec![Inode::default(); space.inodes() as usize];
    for (id, atom) in timeline.atoms.iter().enumerate().filter(|(_, a)| !a.is_partial()) {
        let mut concerns = |inode: Ino, by_name: bool| {
            let known = &mut inodes[inode.0 as usize];
            for list in [Some(&mut known.atoms), by_name.then_some(&mut known.names)].into_iter().flatten() {
                if list.last() != Some(&id) {
                    list.push(id);
                }
            }
        };
        match atom.piece {
            Piece::Name { dir, .. } | Piece::Arrival { dir, .. } => concerns(dir, false),
            Piece::Rename { from_dir, to_dir, .. } => {
                [from_dir, to_dir].into_iter().for_each(|dir| concerns(dir, false))
            }
            Piece::Shrink { inode } | Piece::Grow { inode, .. } | Piece::Data { inode, .. } => concerns(inode, false),
            Piece::Stale { .. } | Piece::Zero { .. } => {}
        }
        named(atom).into_iter().flatten().for_each(|inode| concerns(inode, true));
    }
    inodes
}

/// Which inodes' names an atom changes: of what loses one, and of what gets it. (What a rename replaces has lost its name
/// by an atom before.)
fn named(atom: &Atom) -> [Option<Ino>; 2] {
    match atom.piece {
        Piece::Name { before, after, .. } => [before, after],
        Piece::Rename { inode, .. } | Piece::Arrival { inode, .. } => [None, Some(inode)],
        _ => [None; 2],
    }
}

/// A set of inodes, by their numbers.
#[derive(Clone)]
struct Inodes(Bits);

impl Inodes {
    fn has(&self, inode: Ino) -> bool {
        self.0.contains(inode.0 as usize)
    }

    /// Tells whether it was not there.
    fn insert(&mut self, inode: Ino) -> bool {
        !self.has(inode) && {
            self.0.insert(inode.0 as usize);
            true
        }
    }

    fn iter(&self) -> impl Iterator<Item = Ino> + '_ {
        self.0.iter().map(|number| Ino(number as u32))
    }
}

/// The log tree since the last commit.
#[derive(Clone)]
pub(super) struct Log<'a> {
    space: &'a Space,
    /// The first record after the commit.
    pub(super) commit: usize,
    /// The first atom after it.
    first: AtomId,
    inodes: &'a [Inode],
    /// Inodes that an fsync logged, ancestors that came along included.
    logged: Inodes,
    /// Inodes that may have come along with one.
    maybe_logged: Inodes,
    /// What a completed log sync made durable.
    pub(super) durable: Bits,
    /// What is in the log and waits for the next log sync.
    pending: Bits,
    /// What may be in the log as well, and have come along with a completed log sync.
    pub(super) maybe: Bits,
    /// What may be in it and waits.
    maybe_pending: Bits,
    /// The first atom after the last fsync of an inode, or after the commit.
    fsynced: Vec<AtomId>,
    /// The first atom after a directory may have been logged whole, or the first of all.
    maybe_whole: Vec<AtomId>,
    /// What was or may have been in it, with what that needs: all that this names is in `by_name`.
    reached: Bits,
    /// What has got a name there: all its other names may come as well.
    by_name: Inodes,
    /// Where a directory was removed, and that is or may be in it.
    removed_in: Inodes,
}

impl<'a> Log<'a> {
    pub(super) fn new(space: &'a Space, commit: usize, inodes: &'a [Inode]) -> Self {
        let bits = Bits::new(space.timeline().atoms.len());
        let first = space.atoms_of(commit).start;
        let [durable, pending, maybe, maybe_pending, reached] = [(); 5].map(|()| bits.clone());
        let [logged, maybe_logged, by_name, removed_in] = [(); 4].map(|()| Inodes(Bits::new(inodes.len())));
        Self {
            space,
            commit,
            first,
            inodes,
            logged,
            maybe_logged,
            durable,
            pending,
            maybe,
            maybe_pending,
            fsynced: vec![first; inodes.len()],
            maybe_whole: vec![0; inodes.len()],
            reached,
            by_name,
            removed_in,
        }
    }

    /// What concerns `inode`, or with `names` names it, since the commit and before record `at`.
    fn since(&self, inode: Ino, at: usize, names: bool) -> &'a [AtomId] {
        let Some(inode) = self.inodes.get(inode.0 as usize) else { return &[] };
        let list = if names { &inode.names } else { &inode.atoms };
        let from = list.partition_point(|id| *id < self.first);
        let end = self.space.atoms_of(at).start;
        &list[from..list.partition_point(|id| *id < end).max(from)]
    }

    /// The call of record `at` changed something: a rename, a link or a removal may enter the log.
    pub(super) fn changed(&mut self, at: usize) {
        let atoms = self.space.timeline().atoms;
        for id in self.space.atoms_of(at) {
            if named(&atoms[id]).into_iter().flatten().any(|inode| self.by_name.has(inode)) {
                self.maybe_pending.insert(id);
            }
            let (inode, old_dir) = match atoms[id].piece {
                Piece::Rename { inode, from_dir, .. } => (inode, Some(from_dir)),
                Piece::Name { dir, before: Some(inode), after: None, .. } => (inode, Some(dir)),
                Piece::Name { before: None, after: Some(inode), .. } => (inode, None),
                _ => continue,
            };
            if self.is_replaced(id) {
                if self.is_of_known(id) {
                    self.maybe_pending.insert(id);
                }
                continue;
            }
            let is_in = |logged: &Inodes| logged.has(inode) || old_dir.is_some_and(|old_dir| logged.has(old_dir));
            if is_in(&self.logged) {
                self.add(id, at + 1);
            } else if is_in(&self.maybe_logged) {
                self.maybe_pending.insert(id);
            } else {
                continue;
            }
            self.may_log_dirs_of(inode, at + 1);
        }
    }

    /// Whether the name that an atom takes came there since the commit, and is or may be in the log. (What was committed
    /// stays until something else is there.)
    fn is_of_known(&self, id: AtomId) -> bool {
        let came: Vec<AtomId> = self.space.preds(id).iter().copied().filter(|before| *before >= self.first).collect();
        !came.is_empty() && {
            let mut known = self.reached.clone();
            self.space.order().add(&mut known, &self.pending);
            self.space.order().add(&mut known, &self.maybe_pending);
            came.into_iter().any(|before| known.contains(before))
        }
    }

    /// The directories in which a file was renamed, linked or unlinked since the commit may be logged whole.
    fn may_log_dirs_of(&mut self, inode: Ino, at: usize) {
        let atoms = self.space.timeline().atoms;
        let names = self.since(inode, at, true);
        let is_new = names.first().is_some_and(|id| matches!(atoms[*id].piece, Piece::Name { before: None, .. }));
        // Made since the commit, and nothing else.
        if is_new && names.len() == 1 && !self.space.timeline().has_name(inode, self.commit) {
            return;
        }
        for id in names {
            match atoms[*id].piece {
                Piece::Name { dir, .. } | Piece::Arrival { dir, .. } => self.may_log(dir, at),
                Piece::Rename { from_dir, to_dir, .. } => {
                    self.may_log(from_dir, at);
                    self.may_log(to_dir, at);
                }
                _ => {}
            }
        }
    }

    /// What changed in a directory may be in the log, and what did in new directories there.
    fn may_log(&mut self, dir: Ino, at: usize) {
        let atoms = self.space.timeline().atoms;
        let end = self.space.atoms_of(at).start;
        if std::mem::replace(&mut self.maybe_whole[dir.0 as usize], end) == end {
            return;
        }
        self.maybe_logged.insert(dir);
        for id in self.since(dir, at, false).iter().filter(|id| atoms[**id].changes_dir(dir)) {
            self.maybe_pending.insert(*id);
            match atoms[*id].piece {
                Piece::Name { after: Some(new), .. } if self.is_of_dir(*id) => self.may_log(new, at),
                Piece::Name { after: Some(named), .. } | Piece::Arrival { inode: named, .. } => {
                    self.maybe_logged.insert(named);
                }
                Piece::Rename { inode, to_dir, .. } if to_dir == dir => {
                    self.maybe_logged.insert(inode);
                }
                _ => {}
            }
        }
    }

    /// Whether nothing has changed an inode since the commit, or synced it.
    pub(super) fn is_as_committed(&self, inode: Ino, at: usize) -> bool {
        self.fsynced[inode.0 as usize] == self.first && self.since(inode, at, false).is_empty()
    }

    /// fsync of `inode` completed as record `at`: what it logs is durable. What waits is, too, if the inode has changed since
    /// it was logged whole, or its bytes were written back late: otherwise nothing is written for it.
    pub(super) fn fsync(&mut self, at: usize, inode: Ino, is_late: bool) {
        let news = self.since(inode, at, false);
        let has_news_from = |atom: AtomId| is_late || news.last().is_some_and(|last| *last >= atom);
        let fsynced = std::mem::replace(&mut self.fsynced[inode.0 as usize], self.space.atoms_of(at).start);
        if !has_news_from(fsynced) {
            return;
        }
        self.logged.insert(inode);
        let has_changed = has_news_from(self.maybe_whole[inode.0 as usize].max(fsynced));
        let none = Bits::new(self.space.atoms().len());
        let waited = std::mem::replace(&mut self.pending, none);
        let is_file = self.space.records()[at].what == What::SyncFile(inode);
        for id in news {
            if is_file && self.is_replaced(*id) {
                self.maybe_pending.insert(*id);
            } else if is_file || !self.came_from_elsewhere(*id, inode) {
                self.add(*id, at);
            }
        }
        if is_file {
            self.may_log_dirs_of(inode, at);
        } else {
            self.may_log(inode, at);
        }
        self.durable.union(&self.pending);
        self.pending.union(&waited);
        if has_changed {
            self.durable.union(&waited);
        }
        self.may_be_written(at);
    }

    /// All that is in the log, or may be, is durable if that is written.
    fn may_be_written(&mut self, at: usize) {
        self.companions(at);
        self.maybe.union(&self.pending);
        self.maybe.union(&self.maybe_pending);
    }

    /// What comes into the log by one of its names may bring all that it got since the commit; the removal of a directory
    /// may bring what is beside it.
    fn companions(&mut self, at: usize) {
        let (atoms, order) = (self.space.timeline().atoms, self.space.order());
        loop {
            self.removed_in.clone().iter().for_each(|dir| self.may_log(dir, at));
            let mut all = self.reached.clone();
            order.add(&mut all, &self.pending);
            order.add(&mut all, &self.maybe_pending);
            let mut news = all.clone();
            news.subtract(&self.reached);
            if news.is_empty() {
                return;
            }
            self.reached = all;
            let first = self.first;
            for id in news.iter().skip_while(|id| *id < first) {
                if let Some(inode) = named(&atoms[id])[1] {
                    if self.by_name.insert(inode) {
                        self.maybe_logged.insert(inode);
                        self.since(inode, at, true).iter().for_each(|id| self.maybe_pending.insert(*id));
                    }
                } else if let Piece::Name { dir, .. } = atoms[id].piece
                    && self.is_of_dir(id)
                {
                    self.removed_in.insert(dir);
                }
            }
        }
    }

    /// What it has of a file may be gone from it.
    pub(super) fn forget(&mut self, file: Ino, at: usize) {
        for id in self.since(file, at, false) {
            self.durable.remove(*id);
            self.pending.remove(*id);
            self.maybe_pending.insert(*id);
        }
        self.may_be_written(at);
    }

    /// Whether an atom changes the name of a directory.
    fn is_of_dir(&self, id: AtomId) -> bool {
        let of = &self.space.records()[self.space.atoms()[id].record as usize];
        of.effects().iter().any(|e| matches!(e, Effect::Dentry { kind: FileKind::Dir, .. }))
    }

    /// Whether an atom takes a name from what a rename replaces.
    fn is_replaced(&self, id: AtomId) -> bool {
        let atoms = self.space.timeline().atoms;
        let moves = |next: &Atom| matches!(next.piece, Piece::Arrival { .. } | Piece::Rename { .. });
        let next = atoms.get(id + 1).filter(|next| moves(next) && next.record == atoms[id].record);
        matches!(atoms[id].piece, Piece::Name { .. }) && next.is_some()
    }

    /// Whether an atom is the second half of a rename into directory `dir`, from another one.
    fn came_from_elsewhere(&self, id: AtomId, dir: Ino) -> bool {
        let atoms = self.space.timeline().atoms;
        let is_arrival = |id: AtomId| matches!(atoms[id].piece, Piece::Arrival { dir: d, .. } if d == dir);
        matches!(atoms[id].piece, Piece::Rename { to_dir, .. } if to_dir == dir)
            && id.checked_sub(1).is_some_and(is_arrival)
    }

    /// Puts an atom into the log, with what it needs, before record `at`.
    fn add(&mut self, id: AtomId, at: usize) {
        if self.pending.contains(id) || self.durable.contains(id) {
            return;
        }
        self.pending.insert(id);
        match self.space.timeline().atoms[id].piece {
            Piece::Name { dir, .. } | Piece::Arrival { dir, .. } => self.ancestors(dir, at),
            Piece::Rename { to_dir, .. } => self.ancestors(to_dir, at),
            _ => {}
        }
    }

    /// The directory `inode` and those above it, where they are newer than the commit, by the names that they have now. (One
    /// that was there already and was renamed since is not new: its rename waits for a commit.)
    fn ancestors(&mut self, inode: Ino, at: usize) {
        let atoms = self.space.timeline().atoms;
        let names = self.since(inode, at, true);
        let is_new = |id: &AtomId| matches!(atoms[*id].piece, Piece::Name { after: Some(i), .. } if i == inode);
        if names.first().is_some_and(is_new) {
            self.logged.insert(inode);
            names.iter().for_each(|id| self.add(*id, at));
        }
    }
}
