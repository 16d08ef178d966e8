//! Sets of atoms, one bit each.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::AtomId;
use super::hash::mix;

/// Words that a set holds in place: the sets of most logs are cloned without an allocation.
const WORDS_IN_PLACE: usize = 6;

/// A set of atoms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bits(SmallVec<[u64; WORDS_IN_PLACE]>);

impl Bits {
    /// The empty set, with room for `n` atoms.
    pub fn new(n: usize) -> Self {
        Self(smallvec![0; n.div_ceil(64)])
    }

    /// Adds an atom.
    pub fn insert(&mut self, id: AtomId) {
        self.0[id / 64] |= 1 << (id % 64);
    }

    /// Takes an atom out.
    pub fn remove(&mut self, id: AtomId) {
        self.0[id / 64] &= !(1 << (id % 64));
    }

    /// Whether the atom is in the set.
    pub fn contains(&self, id: AtomId) -> bool {
        self.0[id / 64] >> (id % 64) & 1 == 1
    }

    /// Takes out the atoms from `end` on.
    pub(super) fn truncate(&mut self, end: AtomId) {
        for (at, word) in self.0.iter_mut().enumerate().skip(end / 64) {
            *word &= if at == end / 64 { (1 << (end % 64)) - 1 } else { 0 };
        }
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    /// Keeps only what is in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    /// Whether all of this is in `other`.
    pub fn within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// Whether `a` or `b` has each atom of the set.
    pub(super) fn within_either(&self, a: &Self, b: &Self) -> bool {
        self.0.iter().zip(&a.0).zip(&b.0).all(|((s, a), b)| s & !(a | b) == 0)
    }

    /// Whether the set has each atom that `a` and `b` have both.
    pub(super) fn has_all_common(&self, a: &Self, b: &Self) -> bool {
        self.0.iter().zip(&a.0).zip(&b.0).all(|((s, a), b)| a & b & !s == 0)
    }

    /// Adds what `a` and `b` have both.
    pub(super) fn add_common(&mut self, a: &Self, b: &Self) {
        self.0.iter_mut().zip(&a.0).zip(&b.0).for_each(|((s, a), b)| *s |= a & b);
    }

    /// How many atoms the set and `mask` have both, or `other` and `mask`.
    pub(super) fn len_of_either(&self, other: &Self, mask: &Self) -> usize {
        self.0.iter().zip(&other.0).zip(&mask.0).map(|((s, o), m)| ((s | o) & m).count_ones() as usize).sum()
    }

    /// Whether this and `other` have nothing in common.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == 0)
    }

    /// Whether this and `other` have the same of `mask`.
    pub fn agrees(&self, other: &Self, mask: &Self) -> bool {
        self.0.iter().zip(&other.0).zip(&mask.0).all(|((a, b), m)| (a ^ b) & m == 0)
    }

    /// How many atoms.
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// A hash of the set, and of what came before.
    pub(in crate::disk) fn fold(&self, before: u64) -> u64 {
        self.0.iter().fold(before, |hash, word| mix(hash, *word))
    }

    /// The first atom.
    pub fn first(&self) -> Option<AtomId> {
        self.iter().next()
    }

    /// The first atom from that word on that `other` has not; the words count from 0.
    pub(super) fn first_without(&self, other: &Self, word: usize) -> Option<AtomId> {
        let mut rest = self.0.iter().zip(&other.0).enumerate().skip(word);
        rest.find_map(|(at, (a, b))| (a & !b != 0).then(|| at * 64 + (a & !b).trailing_zeros() as usize))
    }

    /// The atoms, ascending.
    pub fn iter(&self) -> impl Iterator<Item = AtomId> + '_ {
        ids(self.0.iter().copied())
    }

    /// The atoms that `other` has as well, ascending.
    pub(super) fn common<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = AtomId> + 'a {
        ids(self.0.iter().zip(&other.0).map(|(a, b)| a & b))
    }

    /// The atoms of `mask` that either this or `other` has, and not both, ascending.
    pub(super) fn changes<'a>(&'a self, other: &'a Self, mask: &'a Self) -> impl Iterator<Item = AtomId> + 'a {
        ids(self.0.iter().zip(&other.0).zip(&mask.0).map(|((a, b), m)| (a ^ b) & m))
    }

    /// The longest ranges of which the set has all, ascending.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, 0)?;
            at = self.next(start, u64::MAX).unwrap_or(self.0.len() * 64);
            Some(start..at)
        })
    }

    /// The first bit that is set, from that one on, where the words are `flip`ped.
    fn next(&self, from: usize, flip: u64) -> Option<usize> {
        let words = self.0.iter().map(|word| word ^ flip).enumerate().skip(from / 64);
        let mut rest =
            words.map(|(at, word)| (at, if at == from / 64 { word >> (from % 64) << (from % 64) } else { word }));
        rest.find_map(|(at, word)| (word != 0).then(|| at * 64 + word.trailing_zeros() as usize))
    }

    /// The words from the first to the last that is not empty.
    pub(super) fn words(&self) -> Range<usize> {
        let first = self.0.iter().position(|word| *word != 0).unwrap_or(0);
        first..self.0.iter().rposition(|word| *word != 0).map_or(first, |last| last + 1)
    }

    /// Of these words what `other` has as well, and nothing of the others.
    pub(super) fn common_words(&self, other: &Self, words: Range<usize>) -> Self {
        Self(self.0[words.clone()].iter().zip(&other.0[words]).map(|(a, b)| a & b).collect())
    }

    /// The atoms that `other` has not, ascending.
    pub(super) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = AtomId> + 'a {
        ids(self.0.iter().zip(&other.0).map(|(a, b)| a & !b))
    }
}

fn ids(words: impl Iterator<Item = u64>) -> impl Iterator<Item = AtomId> {
    words.enumerate().flat_map(|(i, word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(i * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_what_is_set() {
        for set in [vec![], vec![0], vec![63, 64, 65, 127], vec![1, 2, 5, 128, 129, 191], (0..192).collect()] {
            let mut bits = Bits::new(192);
            set.iter().for_each(|id| bits.insert(*id));
            assert_eq!(bits.runs().flatten().collect::<Vec<_>>(), set);
            assert!(bits.runs().all(|run| run.end == 192 || !bits.contains(run.end)));
        }
    }

    #[test]
    fn what_is_cut_off_is_gone() {
        for end in [0, 1, 63, 64, 65, 128] {
            let mut bits = Bits::new(128);
            (0..128).for_each(|id| bits.insert(id));
            bits.truncate(end);
            assert_eq!(bits.len(), end);
        }
    }
}
