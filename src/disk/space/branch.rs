//! Branching: the parts of a region by what a look at the disk is told.

use super::ask::{listed, sector_value};
use super::hash::{clipped_hash, visible};
use super::path::Trail;
use super::{Ask, AtomId, FileTable, Known, Region, Reply, Space, Value};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::model::Family;
use crate::disk::tree::Ino;

/// The parts of a region, each with what is told there. Parts with one reply are next to each other.
pub type Parts = Vec<(Reply, Region)>;

/// What parts a region. Its states are those of some intervals, all of which it meets.
pub struct Branching<'a> {
    /// The space.
    pub space: &'a Space,
    /// Intervals, and those of them that count.
    pub intervals: &'a [Family],
    /// The latter, by number.
    pub of: &'a [u32],
}

impl Space {
    /// The atoms on which the reply depends; `None` if it is the same in all crash states.
    pub fn decides(&self, ask: &Ask<Ino>) -> Option<Vec<AtomId>> {
        let ids = |versions: &[(AtomId, Value)]| -> Vec<AtomId> { versions.iter().map(|(id, _)| *id).collect() };
        let atoms = match ask {
            Ask::IsTree(_) => Vec::new(),
            Ask::Entry { dir, name: path } | Ask::Blocked { dir, path } => {
                let mut all = Vec::new();
                Trail::default().follow(self, *dir, path, |entry| {
                    all.extend(entry.into_iter().flat_map(|(_, entry)| &entry.versions).map(|(id, _)| *id));
                });
                all
            }
            Ask::Dir(dir) => self.dir(*dir)?.iter().flat_map(|e| ids(&e.versions)).collect(),
            Ask::Len(ino) => ids(&self.file(*ino)?.len),
            Ask::Sector { file, sector, .. } => self.file(*file)?.sectors.get(sector).map_or_else(Vec::new, |v| ids(v)),
            Ask::Is { file, len_bytes, .. } => {
                let file = self.file(*file)?;
                let sectors = file.sectors.range(..len_bytes.div_ceil(SECTOR_BYTES));
                ids(&file.len).into_iter().chain(sectors.flat_map(|(_, versions)| ids(versions))).collect()
            }
        };
        (!atoms.is_empty()).then_some(atoms)
    }
}

impl Branching<'_> {
    /// The parts of `region`.
    pub fn parts(&self, ask: &Ask<Ino>, region: &Region) -> Parts {
        let mut parts = match ask {
            Ask::IsTree(_) => vec![(Reply::Value(u64::from(self.space.is_tree())), region.clone())],
            Ask::Entry { dir, name } => {
                let ways = self.ways(*dir, name, region).into_iter();
                ways.map(|(way, part)| (way.found(self.space), part)).collect()
            }
            Ask::Blocked { dir, path } => {
                let ways = self.ways(*dir, path, region).into_iter();
                ways.map(|(way, part)| (way.blocked(self.space, path), part)).collect()
            }
            Ask::Dir(dir) => self.dir(*dir, region),
            Ask::Len(ino) => self.len(*ino, region).into_iter().map(|(len, r)| (Reply::Value(len), r)).collect(),
            Ask::Sector { file, sector, visible } => {
                let Some(file) = self.space.file(*file) else { return vec![(Reply::Value(0), region.clone())] };
                let found = self.sector(file, *sector, *visible, region);
                found.into_iter().map(|(hash, r)| (Reply::Value(hash.map_or(0, sector_value)), r)).collect()
            }
            Ask::Is { file, known, len_bytes } => self.is(*file, known, *len_bytes, region),
        };
        // The order of first appearance, so that what is looked at first has lost least.
        let order: Vec<Reply> = parts.iter().map(|(reply, _)| *reply).collect();
        parts.sort_by_key(|(reply, _)| order.iter().position(|r| r == reply));
        parts
    }

    /// Whether a region has states at all.
    fn is_met(&self, region: &Region) -> bool {
        self.of.iter().any(|at| region.meets(&self.intervals[*at as usize]))
    }

    /// By the last of `versions` that survived: its index, or `None` for what was there before. The latest first.
    fn last_survivors(&self, versions: &[(AtomId, Value)], region: &Region) -> Vec<(Option<usize>, Region)> {
        let mut parts = Vec::new();
        let ids: Vec<AtomId> = versions.iter().map(|(id, _)| *id).collect();
        for at in (0..ids.len()).rev().map(Some).chain([None]) {
            let (last, later) = (at.map(|at| ids[at]), at.map_or(&ids[..], |at| &ids[at + 1..]));
            if !self.may_be_last(last, later, region) {
                continue;
            }
            // Of one slot, no atom needs a later one: ties go both ways, but hold one write's sectors together.
            let part = region.whose_last_is(self.space, last, later);
            debug_assert!(part.with.is_disjoint(&part.without), "a survivor needs what did not survive");
            if part.never.is_empty() || self.is_met(&part) {
                parts.push((at, part));
            }
        }
        parts
    }

    /// Whether `last` may be the last survivor before `later`, but for what is never whole. An interval's ends, what is
    /// there and what is not are each closed under the order: so it is enough to look at the atoms themselves.
    fn may_be_last(&self, last: Option<AtomId>, later: &[AtomId], region: &Region) -> bool {
        if later.iter().any(|id| region.with.contains(*id)) {
            return false;
        }
        if last.is_some_and(|id| region.without.contains(id)) {
            return false;
        }
        self.of.iter().map(|at| &self.intervals[*at as usize]).any(|interval| {
            last.is_none_or(|id| interval.allowed.contains(id))
                && !later.iter().any(|id| interval.forced.contains(*id))
                && region.meets(interval)
        })
    }

    pub(super) fn entry_at(&self, dir: Ino, index: usize, region: &Region) -> Vec<(Option<Ino>, Region)> {
        let Some(entry) = self.space.dir(dir).and_then(|entries| entries.get(index)) else { return Vec::new() };
        let value = |at: Option<usize>| match at.map(|at| &entry.versions[at].1) {
            Some(Value::Entry(ino)) => *ino,
            _ => entry.base,
        };
        self.last_survivors(&entry.versions, region).into_iter().map(|(at, part)| (value(at), part)).collect()
    }

    fn dir(&self, dir: Ino, region: &Region) -> Parts {
        let entries = self.space.dir(dir).map_or(&[][..], Vec::as_slice);
        let mut parts = vec![(0, region.clone())];
        for (index, entry) in entries.iter().enumerate() {
            let with = |sum: u64, ino: Option<Ino>| match ino {
                Some(ino) => listed(sum, entry.hash, self.space.kind(ino)),
                None => sum,
            };
            if entry.versions.is_empty() {
                parts.iter_mut().for_each(|(sum, _)| *sum = with(*sum, entry.base));
                continue;
            }
            let branched = parts.into_iter().flat_map(|(sum, part)| {
                let found = self.entry_at(dir, index, &part).into_iter();
                found.map(move |(ino, part)| (with(sum, ino), part))
            });
            parts = branched.collect();
        }
        parts.into_iter().map(|(sum, part)| (Reply::Value(sum), part)).collect()
    }

    pub(super) fn len(&self, ino: Ino, region: &Region) -> Vec<(u64, Region)> {
        let Some(file) = self.space.file(ino) else { return vec![(0, region.clone())] };
        let value = |at: Option<usize>| match at.map(|at| &file.len[at].1) {
            Some(Value::Len(len)) => *len,
            _ => file.base.len,
        };
        self.last_survivors(&file.len, region).into_iter().map(|(at, part)| (value(at), part)).collect()
    }

    /// By the first bytes of a sector: their hash, or `None` where there is no such sector.
    pub(super) fn sector(
        &self,
        file: &FileTable,
        sector: u64,
        visible: usize,
        region: &Region,
    ) -> Vec<(Option<u64>, Region)> {
        let versions = file.sectors.get(&sector).map_or(&[][..], Vec::as_slice);
        let mut parts = Vec::new();
        // What shrinks have left of what lies below them is told by that.
        let mut below = vec![(versions, SECTOR_BYTES as usize, region.clone())];
        while let Some((versions, keep, region)) = below.pop() {
            for (at, part) in self.last_survivors(versions, &region) {
                match at.map(|at| &versions[at].1) {
                    _ if keep == 0 => parts.push((None, part)),
                    Some(Value::Sector(bytes, hash)) => {
                        parts.push((Some(clipped_hash(bytes, *hash, keep.min(visible))), part));
                    }
                    Some(Value::Clip(left)) => {
                        below.push((&versions[..at.unwrap_or_default()], keep.min(*left), part));
                    }
                    _ => {
                        let base = file.base.sectors.get(&sector);
                        let hash = base.map(|b| clipped_hash(b, file.base_hashes[&sector], keep.min(visible)));
                        parts.push((hash, part));
                    }
                }
            }
        }
        parts
    }

    fn is(&self, ino: Ino, known: &Known, len_bytes: u64, region: &Region) -> Parts {
        let (yes, no) = (Reply::Value(1), Reply::Value(0));
        let Some(file) = self.space.file(ino) else { return vec![(no, region.clone())] };
        let (long, short): (Vec<_>, Vec<_>) = self.len(ino, region).into_iter().partition(|(len, _)| *len >= len_bytes);
        let mut right: Vec<Region> = long.into_iter().map(|(_, part)| part).collect();
        let mut wrong: Vec<Region> = short.into_iter().map(|(_, part)| part).collect();
        // The sectors that are right if and only if their last atom survived.
        let mut last = Vec::new();
        for at in 0..len_bytes.div_ceil(SECTOR_BYTES) {
            let compared = visible(at, len_bytes);
            let wanted = known.hash(at, compared);
            match self.right_if(file, at, compared, wanted, &right) {
                Some(Ok(is_right)) if is_right => {}
                Some(Ok(_)) => wrong.append(&mut right),
                Some(Err(id)) => last.push(id),
                None => {
                    let parts = right.into_iter().flat_map(|part| self.sector(file, at, compared, &part));
                    let (is, other): (Vec<_>, Vec<_>) = parts.partition(|(hash, _)| hash.unwrap_or(0) == wanted);
                    right = is.into_iter().map(|(_, part)| part).collect();
                    wrong.extend(other.into_iter().map(|(_, part)| part));
                }
            }
        }
        let mut parts = Vec::new();
        for part in right {
            if last.is_empty() {
                parts.push((yes, part));
                continue;
            }
            wrong.push(part.without_some(self.space, &last));
            parts.push((yes, part.with_all(self.space, &last)));
        }
        parts.extend(wrong.into_iter().map(|part| (no, part)));
        parts.retain(|(_, part)| self.is_met(part));
        parts
    }

    /// When a sector is right: always or never, or if and only if one atom survived. `None` if it is not that simple.
    fn right_if(
        &self,
        file: &FileTable,
        sector: u64,
        compared: usize,
        wanted: u64,
        regions: &[Region],
    ) -> Option<Result<bool, AtomId>> {
        let base = file.base.sectors.get(&sector);
        let base = base.map_or(0, |b| clipped_hash(b, file.base_hashes[&sector], compared)) == wanted;
        let versions = file.sectors.get(&sector).map_or(&[][..], Vec::as_slice);
        let is_out = |id: AtomId| regions.iter().all(|r| r.without.contains(id));
        let versions: Vec<_> = versions.iter().filter(|(id, _)| !is_out(*id)).collect();
        let mut right = Vec::with_capacity(versions.len());
        for (_, value) in &versions {
            let Value::Sector(bytes, hash) = value else { return None };
            right.push(clipped_hash(bytes, *hash, compared) == wanted);
        }
        match right.split_last() {
            None => Some(Ok(base)),
            Some((last, before)) => {
                let agree = before.iter().all(|b| *b == base);
                match (agree, base, *last) {
                    (true, base, last) if base == last => Some(Ok(base)),
                    (true, false, true) => Some(Err(versions.last()?.0)),
                    _ => None,
                }
            }
        }
    }
}
