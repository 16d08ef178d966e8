//! How many crash states there are, exactly.
//!
//! The closed sets in an interval are the order ideals of what lies between its ends. Parts that nothing connects
//! multiply; a chain of n has n + 1; else an atom on which much depends is taken in and left out, and what remains is
//! counted. Intervals overlap (a state can be left by a crash here or there, before or after a commit), so unions are
//! counted by what each adds. This takes exponential time where an order is wild and has no parts: it gives up after a
//! while and says so.

use std::fmt;
use std::ops::Range;

use hashbrown::HashTable;
use num_bigint::BigUint;

use super::{AtomId, Bits, Order, Region, Space};
use crate::disk::model::Family;

/// Steps after which counting gives up.
const MAX_STEPS: u32 = 200_000;

/// A number of crash states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub states: BigUint,
    /// Whether it is exact; else there are at most so many.
    pub is_exact: bool,
}

impl Default for Count {
    fn default() -> Self {
        Self { states: BigUint::ZERO, is_exact: true }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.states += other.states;
        self.is_exact &= other.is_exact;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.states.fmt(f)
    }
}

/// It was not worth going on.
struct GaveUp;

impl Space {
    /// How many crash states the intervals have in a region, each counted once.
    pub fn count(&self, region: &Region, intervals: &[Family]) -> Count {
        Counter::of(self).count(region, intervals.iter())
    }
}

impl Region {
    /// What of an interval has the region's atoms, and lacks those that it lacks.
    fn clip(&self, interval: &Family) -> Family {
        let mut part = interval.clone();
        part.forced.union(&self.with);
        part.allowed.subtract(&self.without);
        part
    }
}

fn between(interval: &Family) -> Bits {
    let mut free = interval.allowed.clone();
    free.subtract(&interval.forced);
    free
}

/// Counts crash states of a space, and remembers the parts that it counted.
#[derive(Debug)]
pub struct Counter<'a> {
    order: &'a Order,
    /// Atoms that need none, and that none needs.
    alone: Bits,
    /// The others, in sets of which nothing connects one with another.
    apart: Vec<Apart>,
    /// The atoms to which none with a smaller number is tied: what is tied goes together, and counts once.
    firsts: Bits,
    /// The order ideals of sets that were counted.
    known: HashTable<(Bits, BigUint)>,
    steps: u32,
}

/// Atoms that are connected, and with no others.
#[derive(Debug)]
struct Apart {
    set: Bits,
    /// Where these are in a set of all.
    words: Range<usize>,
    /// The order ideals of what was counted of them.
    known: HashTable<(Bits, BigUint)>,
}

impl Apart {
    fn of(set: Bits) -> Self {
        Self { words: set.words(), set, known: HashTable::new() }
    }
}

impl<'a> Counter<'a> {
    /// Nothing is counted yet.
    pub fn of(space: &'a Space) -> Self {
        let (order, atoms) = (space.order(), space.atoms.len());
        let (mut alone, mut firsts) = (Bits::new(atoms), Bits::new(atoms));
        for id in (0..atoms).filter(|id| order.below[*id].common(&order.above[*id]).next() == Some(*id)) {
            firsts.insert(id);
        }
        let mut counter =
            Self { order, alone: alone.clone(), apart: Vec::new(), firsts, known: HashTable::new(), steps: 0 };
        let mut left = Bits::new(atoms);
        (0..atoms).for_each(|id| left.insert(id));
        while let Some(first) = left.first() {
            let connected = counter.connected(first, &left);
            left.subtract(&connected);
            if connected.len() == 1 { alone.insert(first) } else { counter.apart.push(Apart::of(connected)) }
        }
        Self { alone, ..counter }
    }

    /// How many crash states the intervals have in a region, each counted once.
    pub fn count<'b>(&mut self, region: &Region, intervals: impl Iterator<Item = &'b Family> + Clone) -> Count {
        let met = || intervals.clone().filter(|i| region.meets(i)).map(|i| region.clip(i));
        self.steps = 0;
        match self.excluding(met().collect(), &region.never) {
            Ok(states) => Count { states, is_exact: true },
            Err(GaveUp) => {
                let most = met().map(|i| BigUint::from(1_u32) << between(&i).len()).sum();
                Count { states: most, is_exact: false }
            }
        }
    }

    /// The states of a union of intervals that have none of `never` whole: by inclusion and exclusion.
    fn excluding(&mut self, intervals: Vec<Family>, never: &[Bits]) -> Result<BigUint, GaveUp> {
        self.step()?;
        if intervals.is_empty() {
            return Ok(BigUint::ZERO);
        }
        let Some((set, rest)) = never.split_first() else { return self.union(intervals) };
        let mut whole = intervals.clone();
        whole.iter_mut().for_each(|i| i.forced.union(set));
        whole.retain(|i| i.forced.within(&i.allowed));
        Ok(self.excluding(intervals, rest)? - self.excluding(whole, rest)?)
    }

    /// The states of a union: what each interval has that none before it has.
    fn union(&mut self, mut intervals: Vec<Family>) -> Result<BigUint, GaveUp> {
        self.step()?;
        drop_contained(&mut intervals);
        let before = Before::each(&intervals);
        let mut sum = BigUint::ZERO;
        for (at, interval) in intervals.iter().enumerate().rev() {
            sum += self.ideals(&between(interval))?;
            let Some(nearest) = at.checked_sub(1) else { break };
            let mut common: Vec<Family> = intersection(interval, &intervals[nearest]).into_iter().collect();
            if !before[nearest].all_meet_in(interval, &intervals[nearest]) {
                // The nearest first: mostly what lies further away lies within what they have in common.
                for other in intervals[..nearest].iter().rev() {
                    let is_within = |known: &Family| {
                        known.forced.within_either(&interval.forced, &other.forced)
                            && known.allowed.has_all_common(&interval.allowed, &other.allowed)
                    };
                    if !common.iter().any(is_within) {
                        common.extend(intersection(interval, other));
                    }
                }
            }
            sum -= match common.len() {
                0 => continue,
                1 => self.ideals(&between(&common[0]))?,
                _ => self.union(common)?,
            };
        }
        Ok(sum)
    }

    /// The order ideals of the atoms of `part`.
    fn ideals(&mut self, part: &Bits) -> Result<BigUint, GaveUp> {
        let mut product = BigUint::from(1_u32) << part.common(&self.alone).count();
        for at in 0..self.apart.len() {
            let Apart { set, words, known } = &self.apart[at];
            let key = set.common_words(part, words.clone());
            if key.is_empty() {
                continue;
            }
            let hash = key.fold(0);
            if let Some((_, known)) = known.find(hash, |(known, _)| *known == key) {
                product *= known;
                continue;
            }
            let mut set = set.clone();
            set.intersect(part);
            let ideals = self.of_set(set)?;
            product *= &ideals;
            self.apart[at].known.insert_unique(hash, (key, ideals), |(key, _)| key.fold(0));
        }
        Ok(product)
    }

    fn of_set(&mut self, set: Bits) -> Result<BigUint, GaveUp> {
        let hash = |(set, _): &(Bits, BigUint)| set.fold(0);
        if let Some((_, known)) = self.known.find(set.fold(0), |(known, _)| *known == set) {
            return Ok(known.clone());
        }
        let ideals = match self.chain(&set) {
            Some(len) => BigUint::from(len + 1),
            None => self.of_parts(&set)?,
        };
        self.known.insert_unique(set.fold(0), (set, ideals.clone()), hash);
        Ok(ideals)
    }

    /// How long a set is, if it is a chain.
    fn chain(&self, set: &Bits) -> Option<usize> {
        // Atoms are numbered in time, and what is tied lies side by side.
        let is_chain = set.iter().zip(set.iter().skip(1)).all(|(id, next)| self.order.below[next].contains(id));
        is_chain.then(|| set.common(&self.firsts).count())
    }

    fn of_parts(&mut self, set: &Bits) -> Result<BigUint, GaveUp> {
        let mut product = BigUint::from(1_u32);
        let mut left = set.clone();
        while let Some(first) = left.first() {
            let connected = self.connected(first, &left);
            left.subtract(&connected);
            product *= if connected == *set { self.of_connected(set)? } else { self.of_set(connected)? };
        }
        Ok(product)
    }

    /// What is connected with `first` in `part`.
    fn connected(&self, first: AtomId, part: &Bits) -> Bits {
        let mut connected = Bits::new(self.order.below.len());
        connected.insert(first);
        let mut to_visit = vec![first];
        while let Some(id) = to_visit.pop() {
            let before = connected.clone();
            connected.add_common(&self.order.below[id], part);
            connected.add_common(&self.order.above[id], part);
            to_visit.extend(connected.without(&before));
        }
        connected
    }

    fn of_connected(&mut self, set: &Bits) -> Result<BigUint, GaveUp> {
        self.step()?;
        let comparable = |id: &AtomId| self.order.below[*id].len_of_either(&self.order.above[*id], set);
        let Some(pivot) = set.iter().max_by_key(|id| (comparable(id), usize::MAX - id)) else {
            return Ok(BigUint::from(1_u32));
        };
        let (mut without, mut with) = (set.clone(), set.clone());
        without.subtract(&self.order.above[pivot]);
        with.subtract(&self.order.below[pivot]);
        Ok(self.of_set(without)? + self.of_set(with)?)
    }

    fn step(&mut self) -> Result<(), GaveUp> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(GaveUp) } else { Ok(()) }
    }
}

/// What some intervals have.
#[derive(Clone)]
struct Before {
    /// What any of them allows.
    allowed: Bits,
    /// What all of them force.
    forced: Bits,
}

impl Before {
    /// Of each interval, and those before it.
    fn each(intervals: &[Family]) -> Vec<Self> {
        let mut each: Vec<Self> = Vec::with_capacity(intervals.len());
        for Family { allowed, forced } in intervals {
            let mut so_far = each.last().cloned().unwrap_or(Self { allowed: allowed.clone(), forced: forced.clone() });
            so_far.allowed.union(allowed);
            so_far.forced.intersect(forced);
            each.push(so_far);
        }
        each
    }

    /// Whether all that any of these has in common with an interval `nearest` has too, plain to see.
    fn all_meet_in(&self, interval: &Family, nearest: &Family) -> bool {
        nearest.forced.within_either(&interval.forced, &self.forced)
            && nearest.allowed.has_all_common(&interval.allowed, &self.allowed)
    }
}

/// The states that two intervals have in common.
fn intersection(a: &Family, b: &Family) -> Option<Family> {
    let mut common = a.clone();
    common.forced.union(&b.forced);
    common.allowed.intersect(&b.allowed);
    common.forced.within(&common.allowed).then_some(common)
}

/// Drops the intervals that lie within others.
fn drop_contained(intervals: &mut Vec<Family>) {
    let within = |a: &Family, b: &Family| b.forced.within(&a.forced) && a.allowed.within(&b.allowed);
    let mut kept: Vec<Family> = Vec::with_capacity(intervals.len());
    for interval in intervals.drain(..) {
        // Mostly it has all that the one before it has.
        if kept.last().is_some_and(|last| within(last, &interval)) {
            kept.pop();
        }
        if !kept.iter().any(|other| within(&interval, other)) {
            kept.retain(|other| !within(other, &interval));
            kept.push(interval);
        }
    }
    *intervals = kept;
}
