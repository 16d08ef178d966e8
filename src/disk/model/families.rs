//! The families of crash states at many cuts, each kept once.

use hashbrown::HashTable;

use super::Family;

/// The families of crash states at some cuts. Most are there at many of them, and are kept once.
#[derive(Debug, Default)]
pub struct Families {
    all: Vec<Family>,
    /// The numbers of all families, by their hashes.
    known: HashTable<usize>,
    /// Of each cut, the numbers of its families.
    at: Vec<Vec<usize>>,
}

impl Families {
    /// None yet, of so many cuts.
    pub fn new(cuts: usize) -> Self {
        Self { at: vec![Vec::new(); cuts], ..Self::default() }
    }

    /// Those of each of so many cuts.
    pub fn of_each(cuts: usize, of: impl Fn(usize) -> Vec<Family>) -> Self {
        let mut families = Self::new(cuts);
        for at in 0..cuts {
            for family in of(at) {
                let number = families.number(family);
                families.offer(at, number);
            }
        }
        families
    }

    /// The number of a family, which is that of all that are equal.
    pub fn number(&mut self, family: Family) -> usize {
        let hash = |family: &Family| family.allowed.fold(family.forced.fold(0));
        let Self { all, known, .. } = self;
        let entry = known.entry(hash(&family), |at| all[*at] == family, |at| hash(&all[*at]));
        let number = *entry.or_insert(all.len()).get();
        if number == all.len() {
            all.push(family);
        }
        number
    }

    /// One more family at a cut; one that it has already may be there twice.
    pub fn push(&mut self, cut: usize, number: usize) {
        self.at[cut].push(number);
    }

    /// One more family at a cut, unless it has it already.
    pub fn offer(&mut self, cut: usize, number: usize) {
        if !self.at[cut].contains(&number) {
            self.push(cut, number);
        }
    }

    /// The numbers of the families at a cut.
    pub fn at(&self, cut: usize) -> &[usize] {
        &self.at[cut]
    }

    /// The families at a cut.
    pub fn of(&self, cut: usize) -> impl Iterator<Item = &Family> {
        self.at[cut].iter().map(|number| &self.all[*number])
    }

    /// The family with that number.
    pub fn get(&self, number: usize) -> &Family {
        &self.all[number]
    }

    /// The same families at other cuts, of which these have the numbers.
    pub fn rearranged(self, at: Vec<Vec<usize>>) -> Self {
        Self { at, ..self }
    }
}
