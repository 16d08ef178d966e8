//! The log tree of `btrfs`: what fsyncs have written since the last commit, and what came along.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::effect::What;
use crate::disk::model::Timeline;
use crate::disk::space::{Atom, AtomId, Bits, Piece, Space};
use crate::disk::tree::Ino;

/// What concerns one inode, ascending.
#[derive(Default)]
pub(super) struct Inode {
    /// All of it: its data, its lengths, its names and, of a directory, its entries.
    atoms: Vec<AtomId>,
    /// Its names.
    names: Vec<AtomId>,
}

/// What concerns which inode.
pub(super) fn inodes(timeline: Timeline<'_>) -> BTreeMap<Ino, Inode> {
    let mut inodes: BTreeMap<Ino, Inode> = BTreeMap::new();
    for (id, atom) in timeline.atoms.iter().enumerate().filter(|(_, a)| !a.is_partial()) {
        let mut concerns = |inode: Ino, by_name: bool| {
            let known = inodes.entry(inode).or_default();
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

/// The log tree since the last commit.
pub(super) struct Log<'a> {
    space: &'a Space,
    /// The first record after the commit.
    commit: usize,
    /// The first atom after it.
    first: AtomId,
    inodes: &'a BTreeMap<Ino, Inode>,
    /// Inodes that an fsync logged, ancestors that came along included.
    logged: BTreeSet<Ino>,
    /// Inodes that may have come along with one.
    maybe_logged: BTreeSet<Ino>,
    /// What a completed log sync made durable.
    pub(super) durable: Bits,
    /// What is in the log and waits for the next log sync.
    pending: Bits,
    /// What may be in the log as well, and have come along with a completed log sync.
    pub(super) maybe: Bits,
    /// What may be in it and waits.
    maybe_pending: Bits,
    /// Entries behind which it was looked for more.
    walked: Bits,
    /// What was or may have been in it, with what that needs: all that this names is in `by_name`.
    reached: Bits,
    /// What has got a name there: all its other names may come as well.
    by_name: BTreeSet<Ino>,
}

impl<'a> Log<'a> {
    pub(super) fn new(space: &'a Space, commit: usize, inodes: &'a BTreeMap<Ino, Inode>) -> Self {
        let bits = Bits::new(space.timeline().atoms.len());
        let first = space.atoms_of(commit).start;
        let [durable, pending, maybe, maybe_pending, walked, reached] = [(); 6].map(|()| bits.clone());
        Self {
            space,
            commit,
            first,
            inodes,
            logged: BTreeSet::new(),
            maybe_logged: BTreeSet::new(),
            durable,
            pending,
            maybe,
            maybe_pending,
            walked,
            reached,
            by_name: BTreeSet::new(),
        }
    }

    /// What concerns `inode`, or with `names` names it, since the commit and before record `at`.
    fn since(&self, inode: Ino, at: usize, names: bool) -> &'a [AtomId] {
        let Some(inode) = self.inodes.get(&inode) else { return &[] };
        let list = if names { &inode.names } else { &inode.atoms };
        let from = list.partition_point(|id| *id < self.first);
        let end = self.space.atoms_of(at).start;
        &list[from..list.partition_point(|id| *id < end).max(from)]
    }

    /// The call of record `at` changed something: a rename or a removal may enter the log.
    pub(super) fn changed(&mut self, at: usize) {
        let atoms = self.space.timeline().atoms;
        for id in self.space.atoms_of(at) {
            if named(&atoms[id]).into_iter().flatten().any(|inode| self.by_name.contains(&inode)) {
                self.maybe_pending.insert(id);
            }
            let (inode, old_dir) = match atoms[id].piece {
                Piece::Rename { inode, from_dir, .. } => (inode, from_dir),
                Piece::Name { dir, before: Some(inode), after: None, .. } => (inode, dir),
                _ => continue,
            };
            let is_in = |logged: &BTreeSet<Ino>| logged.contains(&inode) || logged.contains(&old_dir);
            let (is_logged, may_be) = (is_in(&self.logged), is_in(&self.maybe_logged));
            if !is_logged && !may_be {
                continue;
            }
            if self.is_replaced(id) {
                // What was committed stays until something else is.
                if self.space.preds(id).iter().any(|before| *before >= self.first) {
                    self.maybe_pending.insert(id);
                }
                continue;
            }
            if is_logged {
                self.add(id);
            } else {
                self.maybe_pending.insert(id);
            }
            self.may_log_dirs_of(inode, at + 1);
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
        self.maybe_logged.insert(dir);
        for id in self.since(dir, at, false) {
            if self.walked.contains(*id) || !atoms[*id].changes_dir(dir) {
                continue;
            }
            self.walked.insert(*id);
            self.maybe_pending.insert(*id);
            if let Piece::Name { after: Some(new), .. } = atoms[*id].piece {
                self.may_log(new, at);
            }
        }
    }

    /// fsync of `inode` completed as record `at`.
    pub(super) fn fsync(&mut self, at: usize, inode: Ino) {
        let news = self.since(inode, at, false);
        let is_file = self.space.records()[at].what == What::SyncFile(inode);
        if news.iter().all(|id| self.durable.contains(*id)) {
            return;
        }
        self.logged.insert(inode);
        for id in news {
            if is_file && self.is_replaced(*id) {
                self.maybe_pending.insert(*id);
            } else if is_file || !self.came_from_elsewhere(*id, inode) {
                self.add(*id);
            }
        }
        self.ancestors(inode, at);
        if is_file {
            self.may_log_dirs_of(inode, at);
        } else {
            self.may_log(inode, at);
        }
        self.other_names(at);
        self.durable.union(&self.pending);
        self.maybe.union(&self.maybe_pending);
    }

    /// What comes into the log by one of its names may bring all that it got since the commit.
    fn other_names(&mut self, at: usize) {
        let (atoms, order) = (self.space.timeline().atoms, self.space.order());
        loop {
            let mut all = self.reached.clone();
            order.add(&mut all, &self.pending);
            order.add(&mut all, &self.maybe_pending);
            let mut news = all.clone();
            news.subtract(&self.reached);
            if news.is_empty() {
                return;
            }
            self.reached = all;
            for inode in news.iter().skip_while(|id| *id < self.first).filter_map(|id| named(&atoms[id])[1]) {
                if self.by_name.insert(inode) {
                    self.since(inode, at, true).iter().for_each(|id| self.maybe_pending.insert(*id));
                }
            }
        }
    }

    /// What it has of a file may be gone from it.
    pub(super) fn forget(&mut self, file: Ino, at: usize) {
        for id in self.since(file, at, false) {
            self.durable.remove(*id);
            self.pending.remove(*id);
            self.maybe.insert(*id);
        }
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

    /// Puts an atom into the log, with what it needs.
    fn add(&mut self, id: AtomId) {
        if self.pending.contains(id) {
            return;
        }
        self.pending.insert(id);
        let atoms = self.space.timeline().atoms;
        let at = atoms[id].record as usize;
        match atoms[id].piece {
            Piece::Name { dir, .. } | Piece::Arrival { dir, .. } => self.ancestors(dir, at),
            Piece::Rename { to_dir, .. } => self.ancestors(to_dir, at),
            _ => {}
        }
    }

    /// The directory `inode` and those above it, where they are newer than the commit. (One that was there already
    /// and was renamed since is not new: its rename waits for a commit.)
    fn ancestors(&mut self, inode: Ino, at: usize) {
        let atoms = self.space.timeline().atoms;
        let names = self.since(inode, at, true);
        let is_new = |id: &AtomId| matches!(atoms[*id].piece, Piece::Name { after: Some(i), .. } if i == inode);
        if names.first().is_some_and(is_new) {
            self.logged.insert(inode);
            names.iter().for_each(|id| self.add(*id));
        }
    }
}
