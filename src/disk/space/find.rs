//! Whether a tree that somebody else has built is a crash state: which of the effects must have survived for it.
//!
//! The tree is followed from its root. Every entry, length and sector of it narrows the region of the states that show
//! the same so far; where several effects would show it, each is tried. Nothing is enumerated. Inodes are matched by
//! where they are found, so that two names are one file here if and only if they are there.

use std::collections::{BTreeMap, BTreeSet};

use super::hash::{sector_hash, visible};
use super::{Bits, Branching, Piece, Region, STALE_BYTE, Space};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::model::Family;
use crate::disk::tree::{Content, Ino, Node, ROOT, Tree};

impl Space {
    /// A crash state of one of the families that looks like `tree`, as what survived; `None` if there is none. Of
    /// stale bytes nobody knows what they are: any bytes do.
    pub fn admits(&self, families: &[Family], tree: &Tree) -> Option<Bits> {
        let shows_stale = self.atoms().iter().any(|a| matches!(a.piece, Piece::Stale { .. }));
        let stale = |_: &usize| shows_stale;
        let hash = |len: usize| sector_hash(&vec![STALE_BYTE; len]);
        let stale: BTreeSet<u64> = (1..=SECTOR_BYTES as usize).filter(stale).map(hash).collect();
        families.iter().find_map(|interval| {
            let branching = Branching { space: self, intervals: std::slice::from_ref(interval), of: &[0] };
            let search = Search { branching, tree, stale: &stale };
            let mut met = Met::new();
            let mut tasks = Vec::new();
            search.meets(ROOT, ROOT, &mut met, &mut tasks).then_some(())?;
            let region = search.solve(Region::all(self), met, tasks)?;
            Some(region.largest(self, interval))
        })
    }
}

/// The inodes of the tree, each with the one that it is in the space.
type Met = BTreeMap<Ino, Ino>;

/// What is still to be compared. `Ino`s are those of the space.
#[derive(Debug, Clone, Copy)]
enum Task<'t> {
    /// An entry of a directory, by its number.
    Entry { seen: &'t BTreeMap<std::sync::Arc<str>, Ino>, dir: Ino, index: usize },
    /// A length.
    Len { seen: &'t Content, file: Ino },
    /// A sector.
    Sector { seen: &'t Content, file: Ino, sector: u64 },
}

struct Search<'a> {
    branching: Branching<'a>,
    tree: &'a Tree,
    /// The hashes of stale bytes.
    stale: &'a BTreeSet<u64>,
}

impl<'a> Search<'a> {
    /// The states that stand all that is left to be compared.
    fn solve(&self, mut region: Region, mut met: Met, mut tasks: Vec<Task<'a>>) -> Option<Region> {
        while let Some(task) = tasks.pop() {
            let mut ways = self.ways(task, &region, &met, &tasks);
            let last = ways.pop()?;
            if let Some(found) = ways.into_iter().find_map(|(region, met, tasks)| self.solve(region, met, tasks)) {
                return Some(found);
            }
            (region, met, tasks) = last;
        }
        Some(region)
    }

    /// The ways in which a state may be as the task wants it.
    fn ways(
        &self,
        task: Task<'a>,
        region: &Region,
        met: &Met,
        tasks: &[Task<'a>],
    ) -> Vec<(Region, Met, Vec<Task<'a>>)> {
        let same = |part: Region| (part, met.clone(), tasks.to_vec());
        match task {
            Task::Entry { seen, dir, index } => {
                let entries = self.branching.space.dir(dir).map_or(&[][..], Vec::as_slice);
                let wanted = entries.get(index).and_then(|entry| seen.get(&entry.name)).copied();
                let fits = |(ino, part): (Option<Ino>, Region)| {
                    let (_, mut met, mut tasks) = same(Region::all(self.branching.space));
                    let fits = match (wanted, ino) {
                        (None, None) => true,
                        (Some(seen), Some(ino)) => self.meets(seen, ino, &mut met, &mut tasks),
                        _ => false,
                    };
                    fits.then_some((part, met, tasks))
                };
                self.branching.entry_at(dir, index, region).into_iter().filter_map(fits).collect()
            }
            Task::Len { seen, file } => {
                let parts = self.branching.len(file, region).into_iter();
                parts.filter(|(len, _)| *len == seen.len).map(|(_, part)| same(part)).collect()
            }
            Task::Sector { seen, file, sector } => {
                let Some(table) = self.branching.space.file(file) else { return Vec::new() };
                let visible = visible(sector, seen.len);
                let wanted = seen.sectors.get(&sector).map_or(0, |b| sector_hash(&b[..b.len().min(visible)]));
                let is_it = |hash: Option<u64>| {
                    hash.unwrap_or(0) == wanted || hash.is_some_and(|hash| self.stale.contains(&hash))
                };
                let parts = self.branching.sector(table, sector, visible, region).into_iter();
                parts.filter(|(hash, _)| is_it(*hash)).map(|(_, part)| same(part)).collect()
            }
        }
    }

    /// Whether `seen` may be `ino`; if it was not met before, what there is to compare of it is added.
    fn meets(&self, seen: Ino, ino: Ino, met: &mut Met, tasks: &mut Vec<Task<'a>>) -> bool {
        if let Some(known) = met.get(&seen) {
            return *known == ino;
        }
        if met.values().any(|other| *other == ino) {
            return false;
        }
        met.insert(seen, ino);
        let space = self.branching.space;
        match (self.tree.node(seen).map(|n| &**n), space.dir(ino)) {
            (Some(Node::Dir(seen)), Some(entries)) => {
                tasks.extend((0..entries.len()).map(|index| Task::Entry { seen, dir: ino, index }));
                seen.keys().all(|name| entries.binary_search_by(|e| e.name.cmp(name)).is_ok())
            }
            (Some(Node::File(seen)), None) => {
                let sectors = (0..seen.len.div_ceil(SECTOR_BYTES)).rev();
                tasks.extend(sectors.map(|sector| Task::Sector { seen, file: ino, sector }));
                tasks.push(Task::Len { seen, file: ino });
                true
            }
            _ => false,
        }
    }
}
