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
use crate::disk::space::{Ask, AtomId, Bits, Branching, Region, Reply, Space, View, weight};
use crate::disk::tree::Ino;

/// What is walked over.
pub(super) struct Ground<'a> {
    pub(super) space: &'a Space,
    pub(super) intervals: &'a [Family],
    /// The same, by atoms.
    pub(super) columns: &'a Columns,
    /// The intervals whose states are walked, by number, ascending.
    pub(super) of: &'a [u32],
    /// The conditions: each state that is walked is under one of them.
    pub(super) regions: &'a [Under],
}

/// Of each atom, the intervals that allow it and those that force it.
#[derive(Debug)]
pub(super) struct Columns(Vec<(Bits, Bits)>);

impl Columns {
    /// Those of `intervals`, which are about so many atoms.
    pub(super) fn of(intervals: &[Family], atoms: usize) -> Self {
        let none = Bits::new(intervals.len());
        let mut columns = vec![(none.clone(), none); atoms];
        for (at, interval) in intervals.iter().enumerate() {
            interval.allowed.iter().for_each(|id| columns[id].0.insert(at));
            interval.forced.iter().for_each(|id| columns[id].1.insert(at));
        }
        Self(columns)
    }
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
    /// Sets of intervals, by their first ones.
    alike: Vec<Bits>,
    /// How many questions told them apart.
    as_of: usize,
}

impl Classes {
    /// Nothing tells these apart yet, of so many intervals.
    fn of(within: &[u32], intervals: usize) -> Self {
        let mut class = Bits::new(intervals);
        within.iter().for_each(|at| class.insert(*at as usize));
        Self { alike: if within.is_empty() { Vec::new() } else { vec![class] }, as_of: 0 }
    }

    /// Tells apart what these atoms tell apart.
    fn refine(&mut self, columns: &Columns, atoms: &[AtomId]) {
        for (allowed, forced) in atoms.iter().map(|id| &columns.0[*id]) {
            for at in 0..self.alike.len() {
                let class = &self.alike[at];
                let are_out = class.is_disjoint(allowed);
                let are_free = class.within(allowed) && class.is_disjoint(forced);
                if are_out || are_free || class.within(forced) {
                    continue;
                }
                let [mut out, mut free, mut kept] = [class.clone(), class.clone(), class.clone()];
                out.subtract(allowed);
                free.intersect(allowed);
                free.subtract(forced);
                kept.intersect(forced);
                let mut parts = [out, free, kept].into_iter().filter(|part| !part.is_empty());
                self.alike[at] = parts.next().unwrap_or_default();
                self.alike.extend(parts);
            }
        }
        self.alike.sort_unstable_by_key(Bits::first);
    }
}

impl Ground<'_> {
    /// Of each interval a hash of which of these atoms it allows and forces.
    pub(super) fn outlines(&self, atoms: &[AtomId]) -> Vec<u128> {
        // What each interval has that the one before it has not.
        let mut changes = vec![0_u128; self.intervals.len() + 1];
        let mut add = |set: &Bits, weight: u128| {
            for run in set.runs() {
                changes[run.start] = changes[run.start].wrapping_add(weight);
                let end = run.end.min(self.intervals.len());
                changes[end] = changes[end].wrapping_sub(weight);
            }
        };
        let named: Vec<(u64, &(Bits, Bits))> = (0..).zip(atoms.iter().map(|id| &self.columns.0[*id])).collect();
        // Neighbours are alike, as a rule: the sectors of one write.
        for alike in named.chunk_by(|(_, one), (_, next)| one == next) {
            let sum = |of| alike.iter().map(|(name, _)| weight(2 * name + of)).fold(0, u128::wrapping_add);
            let (_, (allowed, forced)) = alike[0];
            add(allowed, sum(0));
            add(forced, sum(1));
        }
        let mut sum = 0_u128;
        for outline in &mut changes {
            sum = sum.wrapping_add(*outline);
            *outline = sum;
        }
        self.of.iter().map(|at| changes[*at as usize]).collect()
    }

    /// A state of a part that meets any interval.
    pub(super) fn one_of(&self, part: &Part) -> Bits {
        let interval = &self.intervals[part.like[0] as usize];
        let state = part.region.largest(self.space, interval);
        debug_assert!(part.region.contains(interval, &state), "the largest state is one");
        state
    }

    /// All intervals that a part meets.
    pub(super) fn met<'b>(&'b self, part: &'b Part) -> impl Iterator<Item = u32> + 'b {
        part.within.iter().copied().filter(|at| part.region.meets(&self.intervals[*at as usize]))
    }
}

/// What was asked.
#[derive(Default)]
struct Asked {
    /// In the order in which it was first.
    list: Vec<Ask<Ino>>,
    known: BTreeSet<Ask<Ino>>,
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
    asks: Option<Asked>,
    nothing: Bits,
    /// How often the reader ran.
    pub(super) executions: u64,
    /// How often it may run.
    most: u64,
}

impl<'a, T, R, E> Walk<'a, T, R, E>
where
    R: FnMut(&View<'_>) -> (T, Vec<Ask<Ino>>),
    E: FnMut(&T, &Met, &[Part]),
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
        Self { asks: Some(Default::default()), ..self }
    }

    /// What was asked, if that was noted, each once.
    pub(super) fn into_asks(self) -> Vec<Ask<Ino>> {
        self.asks.unwrap_or_default().list
    }

    /// Walks to all ends, unless the reader ran `most` times before; tells whether it came to all.
    pub(super) fn all(&mut self, most: u64) -> bool {
        self.most = most;
        let is_walked = |at: &u32| self.ground.of.binary_search(at).is_ok();
        let mut parts = Vec::new();
        for (number, under) in self.ground.regions.iter().enumerate() {
            let within: Arc<[u32]> = under.met.iter().copied().filter(is_walked).collect();
            self.classes.push(Classes::of(&within, self.ground.intervals.len()));
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
        self.from(begin, Met::default(), parts);
        self.executions <= self.most
    }

    /// Runs the reader on a state of `part`.
    fn execute(&mut self, part: &Part) {
        let state = self.ground.one_of(part);
        let view = self.ground.space.view(&state);
        let (value, asks) = (self.run)(&view);
        self.executions += 1;
        self.trie.insert(&view, &asks, value);
    }

    fn from(&mut self, mut place: usize, mut met: Met, mut parts: Vec<Part>) {
        while self.executions <= self.most {
            let ask = match self.trie.at(place) {
                At::End(value) => return (self.end)(value, &met, &parts),
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
        if let Some(asked) = self.asks.as_mut().filter(|asked| !asked.known.contains(ask)) {
            asked.list.push(ask.clone());
            asked.known.insert(ask.clone());
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
        let Ground { intervals, columns, .. } = *self.ground;
        let classes = &mut self.classes[part.under];
        for atoms in &self.news[classes.as_of..] {
            classes.refine(columns, atoms);
        }
        classes.as_of = self.news.len();
        part.as_of = classes.as_of;
        let first = classes.alike.iter().filter_map(|class| class.first().map(|at| at as u32));
        part.like = first.filter(|at| part.region.meets(&intervals[*at as usize])).collect();
    }
}
