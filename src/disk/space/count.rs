//! How many crash states there are, exactly.
//!
//! The closed sets in an interval are the order ideals of what lies between its ends. Parts that nothing connects
//! multiply; a chain of n has n + 1; else an atom on which much depends is taken in and left out, and what remains is
//! counted. Intervals overlap (a state can be left by a crash here or there, before or after a commit), so unions are
//! counted by what each adds. This takes exponential time where an order is wild and has no parts: it gives up after a
//! while and says so.

use std::collections::BTreeMap;
use std::fmt;

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
        let met: Vec<Family> = intervals.iter().filter(|i| region.meets(i)).map(|i| region.clip(i)).collect();
        let mut counter = Counter { order: self.order(), known: BTreeMap::new(), steps: 0 };
        match counter.excluding(met.clone(), &region.never) {
            Ok(states) => Count { states, is_exact: true },
            Err(GaveUp) => {
                let most = met.iter().map(|i| BigUint::from(1_u32) << between(i).len()).sum();
                Count { states: most, is_exact: false }
            }
        }
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

struct Counter<'a> {
    order: &'a Order,
    /// The number of ideals of parts that were counted.
    known: BTreeMap<Bits, BigUint>,
    steps: u32,
}

impl Counter<'_> {
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

    /// The states of a union: what each interval has that no later one has.
    fn union(&mut self, mut intervals: Vec<Family>) -> Result<BigUint, GaveUp> {
        self.step()?;
        drop_contained(&mut intervals);
        let mut sum = BigUint::ZERO;
        while let Some(first) = intervals.pop() {
            sum += self.ideals(&between(&first))?;
            let mut common: Vec<Family> = Vec::new();
            // The nearest first: mostly what lies further away lies within what they have in common.
            for other in intervals.iter().rev() {
                let is_within = |known: &Family| {
                    known.forced.within_either(&first.forced, &other.forced)
                        && known.allowed.has_all_common(&first.allowed, &other.allowed)
                };
                if !common.iter().any(is_within) {
                    common.extend(intersection(&first, other));
                }
            }
            if !common.is_empty() {
                sum -= self.union(common)?;
            }
        }
        Ok(sum)
    }

    /// The order ideals of the atoms of `part`.
    fn ideals(&mut self, part: &Bits) -> Result<BigUint, GaveUp> {
        let mut product = BigUint::from(1_u32);
        let mut left = part.clone();
        loop {
            let Some(first) = left.first() else { return Ok(product) };
            let (component, len) = self.component(first, part);
            left.subtract(&component);
            product *= match len {
                Some(chain) => BigUint::from(chain + 1),
                None => self.of_component(component)?,
            };
        }
    }

    /// What is connected with `first` in `part`; how long it is, if it is a chain.
    fn component(&self, first: AtomId, part: &Bits) -> (Bits, Option<usize>) {
        let mut component = Bits::new(self.order.below.len());
        component.insert(first);
        let mut to_visit = vec![first];
        let (mut atoms, mut fewest_near) = (0, usize::MAX);
        while let Some(id) = to_visit.pop() {
            let mut near = self.comparable(id, part);
            atoms += 1;
            fewest_near = fewest_near.min(near.len());
            near.subtract(&component);
            to_visit.extend(near.iter());
            component.union(&near);
        }
        let is_chain = fewest_near == atoms;
        // What is tied goes together, and counts once.
        let len = is_chain.then(|| component.iter().filter(|id| self.is_first(*id)).count());
        (component, len)
    }

    fn comparable(&self, id: AtomId, part: &Bits) -> Bits {
        let mut near = self.order.below[id].clone();
        near.union(&self.order.above[id]);
        near.intersect(part);
        near
    }

    /// Whether no atom with a smaller number is tied to this one.
    fn is_first(&self, id: AtomId) -> bool {
        let mut tied = self.order.below[id].clone();
        tied.intersect(&self.order.above[id]);
        tied.first() == Some(id)
    }

    fn of_component(&mut self, component: Bits) -> Result<BigUint, GaveUp> {
        if let Some(known) = self.known.get(&component) {
            return Ok(known.clone());
        }
        self.step()?;
        let pivot = component.iter().max_by_key(|id| (self.comparable(*id, &component).len(), usize::MAX - id));
        let Some(pivot) = pivot else { return Ok(BigUint::from(1_u32)) };
        let (mut without, mut with) = (component.clone(), component.clone());
        without.subtract(&self.order.above[pivot]);
        with.subtract(&self.order.below[pivot]);
        let ideals = self.ideals(&without)? + self.ideals(&with)?;
        self.known.insert(component, ideals.clone());
        Ok(ideals)
    }

    fn step(&mut self) -> Result<(), GaveUp> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(GaveUp) } else { Ok(()) }
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
pub(super) fn drop_contained(intervals: &mut Vec<Family>) {
    let within = |a: &Family, b: &Family| b.forced.within(&a.forced) && a.allowed.within(&b.allowed);
    let mut kept: Vec<Family> = Vec::with_capacity(intervals.len());
    for interval in intervals.drain(..) {
        if !kept.iter().any(|other| within(&interval, other)) {
            kept.retain(|other| !within(other, &interval));
            kept.push(interval);
        }
    }
    *intervals = kept;
}
