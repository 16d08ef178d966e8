//! Which shared memory a task touches while it runs: whether two turns of two tasks commute is told by that.
//!
//! Whatever guards memory that tasks share goes through [`super::sync`], and that notes it here while somebody
//! records. A part of a guarded whole may be noted alone: touching one part and touching another commute, touching
//! the whole commutes with neither.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One thing was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Names it, among all that were touched in one run. Two things of one name only seem to be in each other's way.
    pub place: u64,
    /// Whether it may have been changed. Two that only look commute.
    pub writes: bool,
}

impl Touch {
    /// A touch of what `name` names.
    pub fn of(name: &(impl Hash + ?Sized), writes: bool) -> Self {
        // With its fixed keys: the same names have the same hashes in every run.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self { place: hasher.finish(), writes }
    }

    /// Whether the order of the two matters.
    pub fn conflicts(self, other: Self) -> bool {
        self.place == other.place && (self.writes || other.writes)
    }
}

thread_local! {
    static TOUCHED: RefCell<Option<Vec<Touch>>> = const { RefCell::new(None) };
}

/// Runs `turn` and tells what it touched.
pub fn record<T>(turn: impl FnOnce() -> T) -> (T, Vec<Touch>) {
    let outer = TOUCHED.replace(Some(Vec::new()));
    let value = turn();
    (value, TOUCHED.replace(outer).unwrap_or_default())
}

/// Notes touches, if somebody records.
pub fn note<T: IntoIterator<Item = Touch>>(touches: impl FnOnce() -> T) {
    TOUCHED.with_borrow_mut(|touched| {
        if let Some(touched) = touched {
            touched.extend(touches());
        }
    });
}

/// Notes that all of what lies at `at` is touched.
pub fn whole<T: ?Sized>(at: &T) {
    let at = std::ptr::from_ref(at).addr();
    note(|| [Touch::of(&at, true)]);
}

/// Notes that one part of what lies at `at` is touched.
pub fn part<T: ?Sized>(at: &T, part: &(impl Hash + ?Sized), writes: bool) {
    let at = std::ptr::from_ref(at).addr();
    note(|| [Touch::of(&at, false), Touch::of(&(at, Touch::of(part, false).place), writes)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_commute_with_each_other_and_not_with_the_whole() {
        let at = 7_u8;
        let touched = |touch: &dyn Fn()| record(touch).1;
        let in_the_way = |a: &[Touch], b: &[Touch]| a.iter().any(|a| b.iter().any(|b| a.conflicts(*b)));
        let all = touched(&|| whole(&at));
        let [a, b, seen] = [("a", true), ("b", true), ("a", false)].map(|(p, w)| touched(&|| part(&at, p, w)));
        assert!(in_the_way(&all, &all) && in_the_way(&all, &a) && in_the_way(&all, &seen));
        assert!(in_the_way(&a, &a) && in_the_way(&a, &seen) && !in_the_way(&seen, &seen) && !in_the_way(&a, &b));
        whole(&at);
        assert!(record(|| ()).1.is_empty(), "what nobody records is gone");
    }
}
