//! Leads all states of some intervals through a reader's tree at once, and runs the reader where the tree ends.
//!
//! States stay together as long as they tell the reader the same. Intervals that do not differ in any atom that was
//! asked about so far are followed as one: most places at which a workload may be cut are alike to a reader who looks
//! at a single link. Whether a part meets an interval depends on these atoms alone, so alike intervals are met or not
//! together, and are told apart once for all parts under one condition ([`Classes`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::trie::{At, Met, Trie};
use crate::disk::model::Family;
use crate::disk::space::{Ask, AtomId, Bits, Branching, Region, Reply, Space, View};
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
    /// The condition that it is under, by number.
    under: usize,
    /// The intervals that it meets, but for those that are like an earlier one.
    like: Vec<u32>,
    /// How many questions decided what is alike.
    as_of: usize,
}

/// The intervals under one condition, by what is alike.
struct Classes {
    /// Ascending, and by their first intervals.
    alike: Vec<Vec<u32>>,
    /// How many questions told them apart.
    as_of: usize,
}

impl Classes {
    /// Tells apart what these atoms tell apart.
    fn refine(&mut self, intervals: &[Family], atoms: &[AtomId]) {
        for id in atoms {
            let status = |at: u32| {
                let interval = &intervals[at as usize];
                usize::from(interval.allowed.contains(*id)) + usize::from(interval.forced.contains(*id))
            };
            for at in 0..self.alike.len() {
                if self.alike[at].iter().all(|member| status(*member) == status(self.alike[at][0])) {
                    continue;
                }
                let mut parts: [Vec<u32>; 3] = Default::default();
                std::mem::take(&mut self.alike[at]).into_iter().for_each(|member| parts[status(member)].push(member));
                self.alike.extend(parts.into_iter().filter(|part| !part.is_empty()));
            }
            self.alike.retain(|class| !class.is_empty());
        }
        self.alike.sort_unstable_by_key(|class| class[0]);
    }
}

impl Ground<'_> {
    /// All intervals that a part meets.
    pub(super) fn met<'b>(&'b self, part: &'b Part) -> impl Iterator<Item = u32> + 'b {
        part.within.iter().copied().filter(|at| part.region.meets(&self.intervals[*at as usize]))
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
    /// The same, those together that came with one question.
    news: Vec<Vec<AtomId>>,
    /// By the conditions' numbers.
    classes: Vec<Classes>,
    /// All that was asked, if it is to be known.
    asks: Option<BTreeSet<Ask<Ino>>>,
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
        let news = vec![asked.iter().collect()];
        Self { ground, trie, run, end, asked, news, classes: Vec::new(), asks: None, nothing, executions: 0, most: 0 }
    }

    /// The same, and notes all that is asked.
    pub(super) fn noting(self) -> Self {
        Self { asks: Some(BTreeSet::new()), ..self }
    }

    /// What was asked, if that was noted.
    pub(super) fn into_asks(self) -> BTreeSet<Ask<Ino>> {
        self.asks.unwrap_or_default()
    }

    /// Walks to all ends, unless the reader ran `most` times before; tells whether it came to all.
    pub(super) fn all(&mut self, most: u64) -> bool {
        self.most = most;
        let is_walked = |at: &u32| self.ground.of.binary_search(at).is_ok();
        let mut parts = Vec::new();
        for (number, under) in self.ground.regions.iter().enumerate() {
            let within: Arc<[u32]> = under.met.iter().copied().filter(is_walked).collect();
            let alike = if within.is_empty() { Vec::new() } else { vec![within.to_vec()] };
            self.classes.push(Classes { alike, as_of: 0 });
            let mut part = Part { region: under.region.clone(), within, under: number, like: Vec::new(), as_of: 0 };
            self.tell_apart(&mut part);
            parts.push(part);
        }
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
        if let Some(asks) = self.asks.as_mut().filter(|asks| !asks.contains(ask)) {
            asks.insert(ask.clone());
        }
        let Some(atoms) = self.ground.space.decides(ask) else {
            return vec![(self.ground.space.view(&self.nothing).reply(ask), parts)];
        };
        let new: Vec<AtomId> = atoms.into_iter().filter(|id| !self.asked.contains(*id)).collect();
        if !new.is_empty() {
            new.iter().for_each(|id| self.asked.insert(*id));
            self.news.push(new);
        }
        let mut branches: Vec<(Reply, Vec<Part>)> = Vec::new();
        for mut part in parts {
            if part.as_of != self.news.len() {
                self.tell_apart(&mut part);
            }
            let Ground { space, intervals, .. } = *self.ground;
            let found = Branching { space, intervals, of: &part.like }.parts(ask, &part.region);
            for (reply, region) in found {
                let like = part.like.iter().copied().filter(|at| region.meets(&intervals[*at as usize])).collect();
                let part = Part { region, within: part.within.clone(), like, ..part };
                match branches.iter_mut().find(|(r, _)| *r == reply) {
                    Some((_, same)) => same.push(part),
                    None => branches.push((reply, vec![part])),
                }
            }
        }
        branches
    }

    /// Finds the intervals that a part meets, but for those that have the same of what was asked about as an earlier one.
    fn tell_apart(&mut self, part: &mut Part) {
        let (intervals, classes) = (self.ground.intervals, &mut self.classes[part.under]);
        for atoms in &self.news[classes.as_of..] {
            classes.refine(intervals, atoms);
        }
        classes.as_of = self.news.len();
        part.as_of = classes.as_of;
        let first = classes.alike.iter().map(|class| class[0]);
        part.like = first.filter(|at| part.region.meets(&intervals[*at as usize])).collect();
    }
}
