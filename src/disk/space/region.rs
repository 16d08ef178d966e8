//! Regions: sets of crash states that are never listed.
//!
//! The crash states of a [`Family`] are all closed sets of atoms between two: an interval. A region is what is left of
//! some intervals under one condition that they share:
//!
//! - certain atoms survived, and what they depend on (`with`);
//! - certain atoms did not, nor what depends on them (`without`);
//! - of certain sets of atoms, something did not (`never`): a file that holds wrong bytes, wherever it does.
//!
//! Looking at a slot branches on which of its atoms is the last survivor. The branches are regions again, have no state
//! in common and leave none out. Whether a region is empty is easy: if any set meets its condition within an
//! interval, the smallest one does.

use super::{AtomId, Bits, Layers, Space};
use crate::disk::model::{Families, Family};

/// What brings what: the order of a space, followed to the end.
#[derive(Debug)]
pub struct Order {
    /// What an atom cannot survive without, itself included.
    pub(super) below: Vec<Bits>,
    /// What cannot survive without an atom, itself included.
    pub(super) above: Vec<Bits>,
}

impl Space {
    /// What brings what.
    pub fn order(&self) -> &Order {
        self.order.get_or_init(|| Order::new(self))
    }
}

impl Order {
    fn new(space: &Space) -> Self {
        let atoms = space.atoms.len();
        let alone = |id| {
            let mut bits = Bits::new(atoms);
            bits.insert(id);
            bits
        };
        let mut below: Vec<Bits> = (0..atoms).map(alone).collect();
        // Dependencies have smaller numbers, so one pass is enough; where ties go both ways, until nothing changes.
        loop {
            let before = space.tied.iter().any(Option::is_some).then(|| below.clone());
            for id in 0..atoms {
                let mut needed = std::mem::take(&mut below[id]);
                space.preds(id).iter().for_each(|pred| needed.union(&below[*pred]));
                if let Some(first) = space.tied[id] {
                    needed.union(&below[first]);
                    below[first].union(&needed);
                }
                below[id] = needed;
            }
            if before.is_none_or(|before| before == below) {
                break;
            }
        }
        let mut above = vec![Bits::new(atoms); atoms];
        for (id, needed) in below.iter().enumerate() {
            needed.iter().for_each(|pred| above[pred].insert(id));
        }
        Self { below, above }
    }
}

impl Order {
    /// Adds atoms to a closed set, and all that they cannot survive without.
    pub(in crate::disk) fn add(&self, to: &mut Bits, more: &Bits) {
        let mut word = 0;
        while let Some(id) = more.first_without(to, word) {
            to.union(&self.below[id]);
            word = id / 64;
        }
    }
}

/// A set of crash states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// These survived. Closed under the order.
    pub(super) with: Bits,
    /// These did not. Closed the other way.
    pub(super) without: Bits,
    /// Of each of these, something did not. Each is closed under the order.
    pub(super) never: Vec<Bits>,
}

impl Region {
    /// All states.
    pub fn all(space: &Space) -> Self {
        let none = Bits::new(space.atoms().len());
        Self { with: none.clone(), without: none, never: Vec::new() }
    }

    /// Sets of atoms of each of which something did not survive.
    pub fn excluded(&self) -> impl Iterator<Item = &Bits> {
        self.never.iter()
    }

    /// The region in the space of two crashes, of the first of which it is a region.
    pub fn lifted(&self, layers: Layers) -> Self {
        Self {
            with: layers.lift(&self.with),
            without: layers.lift(&self.without),
            never: self.never.iter().map(|set| layers.lift(set)).collect(),
        }
    }

    /// Whether any state of an interval is in the region. The interval's ends are closed under the order.
    pub fn meets(&self, interval: &Family) -> bool {
        self.with.within(&interval.allowed)
            && interval.forced.is_disjoint(&self.without)
            && self.with.is_disjoint(&self.without)
            && self.never.iter().all(|set| {
                let left = |id: &AtomId| !interval.forced.contains(*id) && !self.with.contains(*id);
                set.iter().any(|id| left(&id))
            })
    }

    /// Whether a state of an interval is in the region.
    pub fn contains(&self, interval: &Family, state: &Bits) -> bool {
        interval.forced.within(state)
            && state.within(&interval.allowed)
            && self.with.within(state)
            && state.is_disjoint(&self.without)
            && !self.never.iter().any(|set| set.within(state))
    }

    /// A state of an interval that the region meets: one that lost little.
    pub fn largest(&self, space: &Space, interval: &Family) -> Bits {
        let order = space.order();
        let mut state = interval.allowed.clone();
        state.subtract(&self.without);
        for set in &self.never {
            if set.within(&state) {
                let may_go = |id: &AtomId| !interval.forced.contains(*id) && !self.with.contains(*id);
                let last = set.iter().filter(may_go).last();
                last.iter().for_each(|id| state.subtract(&order.above[*id]));
            }
        }
        state
    }

    /// The states in which `id` survived and, of the slot's atoms, none of `later`.
    pub(super) fn whose_last_is(&self, space: &Space, id: Option<AtomId>, later: &[AtomId]) -> Self {
        let order = space.order();
        let mut part = self.clone();
        later.iter().for_each(|later| part.without.union(&order.above[*later]));
        id.iter().for_each(|id| part.with.union(&order.below[*id]));
        part
    }

    /// The states in which all of `ids` survived.
    pub(super) fn with_all(&self, space: &Space, ids: &[AtomId]) -> Self {
        let mut part = self.clone();
        ids.iter().for_each(|id| part.with.union(&space.order().below[*id]));
        part
    }

    /// The states in which something of `ids` did not survive.
    pub(super) fn without_some(&self, space: &Space, ids: &[AtomId]) -> Self {
        let mut set = Bits::new(space.atoms().len());
        ids.iter().for_each(|id| set.union(&space.order().below[*id]));
        let mut part = self.clone();
        part.never.push(set);
        part
    }
}

impl Space {
    /// The families after so many records. Who asks about the end of the log asks once, as a rule, and gets what `one`
    /// finds; who asks about another cut asks about many, and `all` finds those after each number of records.
    pub(in crate::disk) fn families_after(
        &self,
        records: usize,
        one: impl FnOnce() -> Vec<Family>,
        all: impl FnOnce() -> Families,
    ) -> Vec<Family> {
        if records + 1 >= self.records.len() && self.families.get().is_none() {
            return one();
        }
        self.families.get_or_init(all).of(records).cloned().collect()
    }
}
