//! What a space has of some questions: all on which the answers in its crash states depend, in words that hold on any
//! disk.

use std::collections::BTreeSet;

use super::ask::sector_value;
use super::hash::{mix, mix_wide, roll, weight};
use super::path::Trail;
use super::{Ask, AtomId, Bits, EntryTable, Space, Value};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::tree::{Ino, ROOT};
use crate::fs::FileKind;

/// The values that the slots which some questions look at may have.
///
/// Inodes are named in the order in which they are met, atoms likewise: two spaces that look alike to who asks no more
/// have the same values, and their atoms correspond one by one.
#[derive(Debug)]
pub struct Sight {
    /// The values, slot by slot: what is below the log, then each version with its atom's name. Hashed.
    values: u128,
    /// The atoms, by their names.
    atoms: Vec<AtomId>,
    /// The same, as a set.
    seen: Bits,
    /// By atom, its name if it has one.
    names: Vec<u64>,
    /// The inodes, by their names.
    inodes: Vec<Ino>,
    /// By inode, its name if it has one.
    inode_names: Vec<Option<u32>>,
    /// The entries that were seen on a path.
    entries: BTreeSet<(Ino, usize)>,
    /// Most paths begin alike.
    trail: Trail,
}

impl Space {
    /// What the space has of `asks`, which name each inode by the order in which those before tell of it. `None` if one
    /// names an inode of which none does.
    pub fn sight(&self, asks: &[Ask<u32>]) -> Option<Sight> {
        let mut sight = Sight::new(self);
        for ask in asks {
            let inode = *sight.inodes.get(ask.about() as usize)?;
            sight.see(self, &ask.of(inode));
        }
        Some(sight)
    }

    /// Names the inodes that `asks` are about by the order in which those before tell of them. With what it has of them.
    pub fn named(&self, asks: &[Ask<Ino>]) -> Option<(Vec<Ask<u32>>, Sight)> {
        let mut sight = Sight::new(self);
        let mut named = Vec::with_capacity(asks.len());
        for ask in asks {
            named.push(ask.of((*sight.inode_names.get(ask.about().0 as usize)?)?));
            sight.see(self, ask);
        }
        Some((named, sight))
    }
}

impl Sight {
    /// Of a space of which nothing was seen.
    fn new(space: &Space) -> Self {
        let atoms = space.atoms.len();
        let mut sight = Self {
            values: 0,
            atoms: Vec::new(),
            seen: Bits::new(atoms),
            names: vec![0; atoms],
            inodes: Vec::new(),
            inode_names: vec![None; space.nodes.len()],
            entries: BTreeSet::new(),
            trail: Trail::default(),
        };
        sight.name(ROOT);
        sight
    }

    /// These questions, with the inodes that they name.
    pub fn unnamed(&self, asks: &[Ask<u32>]) -> Vec<Ask<Ino>> {
        asks.iter().map(|ask| ask.of(self.inodes[ask.about() as usize])).collect()
    }

    /// The atoms on which the answers depend, each once, in the order of their names.
    pub fn atoms(&self) -> &[AtomId] {
        &self.atoms
    }

    /// A hash of the values, and of which atoms bring which.
    pub fn outline(&self, space: &Space) -> u128 {
        let order = space.order();
        let weight = |id: AtomId| weight(self.names[id]);
        let (mut sum, mut before, mut brought) = (self.values, &Bits::new(self.names.len()), 0_u128);
        for id in &self.atoms {
            // Neighbours are brought by nearly the same.
            let below = &order.below[*id];
            for changed in below.changes(before, &self.seen) {
                let by = weight(changed);
                brought = if below.contains(changed) { brought.wrapping_add(by) } else { brought.wrapping_sub(by) };
            }
            before = below;
            // In no order: that of the numbers may be another elsewhere.
            sum = mix_wide(sum as u64, sum.wrapping_add(brought));
        }
        sum
    }

    fn push(&mut self, value: u64) {
        self.values = roll(self.values, value);
    }

    fn see(&mut self, space: &Space, ask: &Ask<Ino>) {
        // No two lists of questions run into each other.
        self.push(u64::MAX);
        match ask {
            Ask::IsTree(_) => self.push(u64::from(space.is_tree())),
            Ask::Entry { dir, name: path } | Ask::Blocked { dir, path } => {
                let mut trail = std::mem::take(&mut self.trail);
                trail.follow(space, *dir, path, |entry| match entry {
                    None => self.push(0),
                    Some((key, entry)) => {
                        if self.entries.insert(key) {
                            self.push(1);
                            self.entry(space, entry);
                        }
                    }
                });
                self.trail = trail;
            }
            Ask::Dir(dir) => {
                for entry in space.dir(*dir).map_or(&[][..], Vec::as_slice) {
                    self.push(entry.hash);
                    self.entry(space, entry);
                }
            }
            Ask::Len(file) => self.len(space, *file),
            Ask::Sector { file, sector, .. } => self.sector(space, *file, *sector),
            Ask::Is { file, len_bytes, .. } => {
                self.len(space, *file);
                self.sectors(space, *file, len_bytes.div_ceil(SECTOR_BYTES));
            }
        }
    }

    fn entry(&mut self, space: &Space, entry: &EntryTable) {
        let below = self.inode(space, entry.base);
        self.push(below);
        self.versions(space, &entry.versions);
    }

    fn len(&mut self, space: &Space, file: Ino) {
        let Some(file) = space.file(file) else { return };
        self.push(file.base.len);
        self.versions(space, &file.len);
    }

    fn sector(&mut self, space: &Space, file: Ino, sector: u64) {
        let Some(file) = space.file(file) else { return };
        self.push(file.base_hashes.get(&sector).map_or(0, |hash| sector_value(*hash)));
        self.versions(space, file.sectors.get(&sector).map_or(&[][..], Vec::as_slice));
    }

    /// The first so many sectors: those that there is anything of.
    fn sectors(&mut self, space: &Space, file: Ino, end: u64) {
        let Some(file) = space.file(file) else { return };
        for (sector, hash) in file.base_hashes.range(..end) {
            self.push(*sector);
            self.push(sector_value(*hash));
        }
        for (sector, versions) in file.sectors.range(..end) {
            self.push(*sector);
            self.versions(space, versions);
        }
    }

    fn versions(&mut self, space: &Space, versions: &[(AtomId, Value)]) {
        self.push(versions.len() as u64);
        for (id, value) in versions {
            if !self.seen.contains(*id) {
                self.seen.insert(*id);
                self.names[*id] = self.atoms.len() as u64;
                self.atoms.push(*id);
            }
            let name = self.names[*id];
            let (kind, value) = match value {
                Value::Entry(inode) => (0, self.inode(space, *inode)),
                Value::Len(len) => (1, *len),
                Value::Sector(_, hash) => (2, *hash),
                Value::Clip(left) => (3, *left as u64),
            };
            self.push(mix(mix(name, kind), value));
        }
    }

    /// The name of an inode, with its kind; 0 for none.
    fn inode(&mut self, space: &Space, inode: Option<Ino>) -> u64 {
        let Some(inode) = inode else { return 0 };
        let name = self.inode_names[inode.0 as usize].unwrap_or_else(|| self.name(inode));
        2 * u64::from(name) + 1 + u64::from(space.kind(inode) == FileKind::Dir)
    }

    /// Gives an inode the next name.
    fn name(&mut self, inode: Ino) -> u32 {
        let name = self.inodes.len() as u32;
        self.inode_names[inode.0 as usize] = Some(name);
        self.inodes.push(inode);
        name
    }
}
