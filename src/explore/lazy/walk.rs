//! Leads all states of some intervals through a reader's tree at once, and runs the reader where the tree ends.
//!
//! States stay together as long as they tell the reader the same. Intervals that do not differ in any atom that was
//! asked about so far are followed as one: most places at which a workload may be cut are alike to a reader who looks
//! at a single link.

use std::sync::Arc;

use super::trie::{At, Met, Trie};
use crate::disk::model::Family;
use crate::disk::space::{Ask, Bits, Branching, Region, Reply, Space, View};
use crate::disk::tree::Ino;

/// What is walked over.
pub(super) struct Ground<'a> {
    pub(super) space: &'a Space,
    pub(super) intervals: &'a [Family],
    /// The intervals whose states are walked, by number, ascending.
    pub(super) of: &'a [u32],
    /// The conditions: each state that is walked is under one of them.
    pub(super) regions: &'a [Under],
}

/// A condition, and the intervals that have states under it, ascending.
#[derive(Debug)]
pub(super) struct Under {
    pub(super) region: Region,
    pub(super) met: Arc<[u32]>,
}

impl Under {
    /// No condition, on so many intervals.
    pub(super) fn none(space: &Space, intervals: usize) -> Self {
        Self { region: Region::all(space), met: (0..intervals as u32).collect() }
    }
}

/// Some states that told the reader the same.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) region: Region,
    /// The intervals that it may meet.
    within: Arc<[u32]>,
    /// The intervals that it meets, but for those that are like an earlier one.
    like: Vec<u32>,
    /// How many questions decided what is alike.
    as_of: u32,
}

impl Ground<'_> {
    /// All intervals that a part meets.
    pub(super) fn met<'b>(&'b self, part: &'b Part) -> impl Iterator<Item = u32> + 'b {
        part.within.iter().copied().filter(|at| part.region.meets(&self.intervals[*at as usize]))
    }

    fn meets(&self, region: &Region, of: &[u32]) -> bool {
        of.iter().any(|at| region.meets(&self.intervals[*at as usize]))
    }
}

/// A walk of all states through a tree.
pub(super) struct Walk<'a, T, R, E> {
    ground: &'a Ground<'a>,
    trie: &'a mut Trie<T>,
    /// Runs the reader on a state: what it asked, and what came of it.
    run: R,
    /// Is told of the states of each end.
    end: E,
    /// The atoms that were asked about.
    asked: Bits,
    as_of: u32,
    nothing: Bits,
    /// How often the reader ran.
    pub(super) executions: u64,
    /// How often it may run.
    most: u64,
}

impl<'a, T, R, E> Walk<'a, T, R, E>
where
    R: FnMut(&View<'_>) -> (T, Vec<Ask<Ino>>),
    E: FnMut(&T, &[Part]),
{
    /// A walk that has not begun.
    pub(super) fn new(ground: &'a Ground<'a>, trie: &'a mut Trie<T>, run: R, end: E) -> Self {
        let nothing = Bits::new(ground.space.atoms().len());
        // Whether an interval has any of a region's states depends on these.
        let mut asked = nothing.clone();
        ground.regions.iter().flat_map(|under| under.region.excluded()).for_each(|set| asked.union(set));
        Self { ground, trie, run, end, asked, as_of: 0, nothing, executions: 0, most: 0 }
    }

    /// Walks to all ends, unless the reader ran `most` times before; tells whether it came to all.
    pub(super) fn all(&mut self, most: u64) -> bool {
        self.most = most;
        let is_walked = |at: &u32| self.ground.of.binary_search(at).is_ok();
        let part = |under: &Under| {
            let within = under.met.iter().copied().filter(is_walked).collect();
            let mut part = Part { region: under.region.clone(), within, like: Vec::new(), as_of: self.as_of };
            part.like = self.alike(&part);
            part
        };
        let mut parts: Vec<Part> = self.ground.regions.iter().map(part).collect();
        parts.retain(|part| !part.like.is_empty());
        if parts.is_empty() {
            return true;
        }
        let begin = match self.trie.begin() {
            Some(begin) => begin,
            None => {
                self.execute(&parts[0]);
                0
            }
        };
        let met = self.trie.met();
        self.from(begin, met, parts);
        self.executions <= self.most
    }

    /// Runs the reader on a state of `part`.
    fn execute(&mut self, part: &Part) {
        let interval = &self.ground.intervals[part.like[0] as usize];
        let state = part.region.largest(self.ground.space, interval);
        debug_assert!(part.region.contains(interval, &state), "the largest state is one");
        let view = self.ground.space.view(&state);
        let (value, asks) = (self.run)(&view);
        self.executions += 1;
        self.trie.insert(&view, &asks, value);
    }

    fn from(&mut self, mut place: usize, mut met: Met, mut parts: Vec<Part>) {
        while self.executions <= self.most {
            let ask = match self.trie.at(place) {
                At::End(value) => return (self.end)(value, &parts),
                At::Ask(ask) => ask.of(met.inode(ask.about())),
            };
            let mut branches = self.branch(&ask, parts);
            // One branch is the usual case: no recursion for it.
            let Some((reply, last)) = branches.pop() else { return };
            for (reply, parts) in branches {
                let mut met = met.clone();
                let next = self.next(place, &mut met, reply, &parts);
                self.from(next, met, parts);
            }
            place = self.next(place, &mut met, reply, &last);
            parts = last;
        }
    }

    fn next(&mut self, place: usize, met: &mut Met, reply: Reply, parts: &[Part]) -> usize {
        let told = met.told(reply);
        if let Some(next) = self.trie.next(place, told) {
            return next;
        }
        self.execute(&parts[0]);
        let next = self.trie.next(place, told);
        assert!(next.is_some(), "a reader must be deterministic: it does not come where it was");
        next.unwrap_or_default()
    }

    /// The parts by what they reply.
    fn branch(&mut self, ask: &Ask<Ino>, parts: Vec<Part>) -> Vec<(Reply, Vec<Part>)> {
        let Some(atoms) = self.ground.space.decides(ask) else {
            return vec![(self.ground.space.view(&self.nothing).reply(ask), parts)];
        };
        if atoms.iter().any(|id| !self.asked.contains(*id)) {
            atoms.iter().for_each(|id| self.asked.insert(*id));
            self.as_of += 1;
        }
        let mut branches: Vec<(Reply, Vec<Part>)> = Vec::new();
        for mut part in parts {
            if part.as_of != self.as_of {
                part.like = self.alike(&part);
                part.as_of = self.as_of;
            }
            let is_met = |region: &Region| self.ground.meets(region, &part.like);
            let found = Branching { space: self.ground.space, is_met: &is_met }.parts(ask, &part.region);
            for (reply, region) in found {
                let of = part.like.iter().copied();
                let like = of.filter(|at| region.meets(&self.ground.intervals[*at as usize])).collect();
                let part = Part { region, within: part.within.clone(), like, as_of: self.as_of };
                match branches.iter_mut().find(|(r, _)| *r == reply) {
                    Some((_, same)) => same.push(part),
                    None => branches.push((reply, vec![part])),
                }
            }
        }
        branches
    }

    /// The intervals that a part meets, but for those that have the same of what was asked about as an earlier one.
    fn alike(&self, part: &Part) -> Vec<u32> {
        let mut like: Vec<u32> = Vec::new();
        for at in self.ground.met(part) {
            let interval = &self.ground.intervals[at as usize];
            let same = |other: &u32| {
                let other = &self.ground.intervals[*other as usize];
                interval.forced.agrees(&other.forced, &self.asked)
                    && interval.allowed.agrees(&other.allowed, &self.asked)
            };
            if !like.iter().any(same) {
                like.push(at);
            }
        }
        like
    }
}
