//! Paths in an undecided disk: where they lead in one state, and in the parts of a region.

use std::sync::Arc;

use super::{Branching, EntryTable, Region, Reply, Space, Value, View};
use crate::disk::tree::Ino;
use crate::fs::FileKind;

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To nothing.
    Missing,
    /// To nothing: this one of its names, counted from 1, is a file's.
    Blocked(u64),
    /// There.
    To(Ino),
}

impl Way {
    /// What it tells whoever asks what is there.
    pub(super) fn found(self, space: &Space) -> Reply {
        match self {
            Self::Missing => Reply::Nothing,
            Self::Blocked(_) => Reply::Value(0),
            Self::To(ino) => Reply::Inode(ino, space.kind(ino)),
        }
    }

    /// What it tells whoever makes all of these directories that are not there: which name is a file's, or 0.
    pub(super) fn blocked(self, space: &Space, path: &str) -> Reply {
        Reply::Value(match self {
            Self::To(ino) if space.kind(ino) == FileKind::File => path.split('/').count() as u64,
            Self::Blocked(at) => at,
            Self::Missing | Self::To(_) => 0,
        })
    }
}

impl EntryTable {
    /// What it may name.
    pub(super) fn inodes(&self) -> impl Iterator<Item = Ino> + '_ {
        let set = self.versions.iter().filter_map(|(_, v)| if let Value::Entry(ino) = v { *ino } else { None });
        self.base.into_iter().chain(set)
    }

    /// What it names in all states of a region, if that is plain to see.
    fn decided(&self, region: &Region) -> Option<Option<Ino>> {
        match self.versions.iter().rev().find(|(id, _)| !region.without.contains(*id)) {
            None => Some(self.base),
            Some((id, Value::Entry(ino))) if region.with.contains(*id) => Some(*ino),
            Some(_) => None,
        }
    }
}

impl Space {
    /// Whether no directory has two names, whatever survives: two entries that name it.
    pub(in crate::disk) fn is_tree(&self) -> bool {
        *self.is_tree.get_or_init(|| {
            let mut named = vec![false; self.nodes.len()];
            let dirs = (0..self.nodes.len()).filter_map(|at| self.dir(Ino(at as u32)));
            dirs.flatten().all(|entry| {
                let mut below: Vec<Ino> = entry.inodes().filter(|ino| self.kind(*ino) == FileKind::Dir).collect();
                below.sort_unstable();
                below.dedup();
                below.into_iter().all(|ino| !std::mem::replace(&mut named[ino.0 as usize], true))
            })
        })
    }

    fn entry_of(&self, dir: Ino, name: &str) -> Option<(usize, &EntryTable)> {
        let entries = self.dir(dir)?;
        let index = entries.binary_search_by(|e| (*e.name).cmp(name)).ok()?;
        Some((index, &entries[index]))
    }
}

/// A path that was followed last, and where each of its names may lead.
#[derive(Debug, Default)]
pub(super) struct Trail {
    path: Option<(Ino, Arc<str>)>,
    /// Where in the path a name begins, and the directories that it may be in.
    steps: Vec<(usize, Vec<Ino>)>,
}

impl Trail {
    /// Tells of the entries that may be on the way of a path, from the top: the directory, which of its entries, and that;
    /// `None` where a directory has no such name. Not of those that it has in common with the path before it.
    pub(super) fn follow<'a>(
        &mut self,
        space: &'a Space,
        dir: Ino,
        path: &Arc<str>,
        mut tell: impl FnMut(Option<((Ino, usize), &'a EntryTable)>),
    ) {
        match &self.path {
            Some((from, before)) if *from == dir => {
                let common = before.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
                self.steps.truncate(self.steps.partition_point(|(begin, _)| *begin <= common));
            }
            _ => self.steps = vec![(0, vec![dir])],
        }
        self.path = Some((dir, path.clone()));
        let mut begin = self.steps.last().map_or(0, |(begin, _)| *begin);
        for name in path[begin..].split('/') {
            let mut next = Vec::new();
            for dir in self.steps.last().map_or(&[][..], |(_, dirs)| dirs) {
                let entry = space.entry_of(*dir, name);
                tell(entry.map(|(index, entry)| ((*dir, index), entry)));
                for ino in entry.into_iter().flat_map(|(_, entry)| entry.inodes()) {
                    if !next.contains(&ino) {
                        next.push(ino);
                    }
                }
            }
            begin += name.len() + 1;
            self.steps.push((begin, next));
        }
        // What the last name is: nothing begins behind it.
        self.steps.pop();
    }
}

impl View<'_> {
    /// Where a path leads.
    pub(super) fn way(&self, dir: Ino, path: &str) -> Way {
        let mut at = dir;
        for (nth, name) in (0..).zip(path.split('/')) {
            if nth > 0 && self.space.kind(at) == FileKind::File {
                return Way::Blocked(nth);
            }
            match self.space.entry_of(at, name).and_then(|(_, entry)| self.value_of(entry)) {
                Some(ino) => at = ino,
                None => return Way::Missing,
            }
        }
        Way::To(at)
    }
}

impl Branching<'_> {
    /// By where a path leads. The latest of each name first, so that what is looked at first has lost least.
    pub(super) fn ways(&self, dir: Ino, path: &str, region: &Region) -> Vec<(Way, Region)> {
        let mut ways = Vec::new();
        self.ways_on(dir, (0, path), region.clone(), &mut ways);
        ways
    }

    /// Adds those of what is left of a path behind so many names.
    fn ways_on(&self, mut dir: Ino, (mut names, mut path): (u64, &str), region: Region, ways: &mut Vec<(Way, Region)>) {
        loop {
            if names > 0 && self.space.kind(dir) == FileKind::File {
                return ways.push((Way::Blocked(names), region));
            }
            let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
            let Some((index, entry)) = self.space.entry_of(dir, name) else { return ways.push((Way::Missing, region)) };
            names += 1;
            // Nearly all names of a path are the same in all states, or were asked for before.
            let Some(value) = entry.decided(&region) else {
                for (value, part) in self.entry_at(dir, index, &region) {
                    match (value, rest) {
                        (None, _) => ways.push((Way::Missing, part)),
                        (Some(ino), None) => ways.push((Way::To(ino), part)),
                        (Some(ino), Some(rest)) => self.ways_on(ino, (names, rest), part, ways),
                    }
                }
                return;
            };
            match (value, rest) {
                (None, _) => return ways.push((Way::Missing, region)),
                (Some(ino), None) => return ways.push((Way::To(ino), region)),
                (Some(ino), Some(rest)) => (dir, path) = (ino, rest),
            }
        }
    }
}
