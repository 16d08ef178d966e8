//! Linearizability of one register: which values can it have after a history of overlapping operations?
//!
//! An operation takes effect at one instant between its beginning and its answer. One without an answer may have taken
//! effect at any instant since it began, or not at all; [`Moment::Lost`] ends that: from there on it can no longer
//! happen. If no order of such instants explains every answer, there is no value left: the history is not linearizable.
//!
//! The history is walked once, carrying every configuration that is still possible: a value, and which of the open
//! operations have taken effect already. Other than a search over whole orders, that costs time linear in the history;
//! only the number of operations that overlap counts ([`MAX_CONFIGURATIONS`]).

use std::collections::BTreeSet;

/// More configurations than any history of a few clients has; beyond it the answer is "not decided".
pub const MAX_CONFIGURATIONS: usize = 1 << 16;

/// What an operation does to a register that holds a `V` or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<V> {
    /// Makes it hold a value.
    Set(V),
    /// Empties it.
    Clear,
    /// Empties it if it holds this value.
    ClearIf(V),
    /// Was answered with what the register holds.
    Read(Option<V>),
}

/// A point in a history; operations are named by their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It begins.
    Begin(usize),
    /// It was answered: it has taken effect.
    End(usize),
    /// It was not answered, and can no longer take effect.
    Lost(usize),
}

/// A possible state: the value, and the open operations that have taken effect.
type Configuration<V> = (Option<V>, BTreeSet<usize>);

/// The values that the register may have after `moments`, in the order in which they passed, if it was empty at first.
/// None at all: the history is not linearizable. `None`: too many operations overlap to decide.
///
/// ```
/// use pullplug::check::register::{Access::*, Moment::*, values};
/// // Two writes at once, then a read of the first: the second came first.
/// let ops = [Set('a'), Set('b'), Read(Some('a'))];
/// let history = [Begin(0), Begin(1), End(0), End(1), Begin(2), End(2)];
/// assert_eq!(values(&ops, &history), Some([Some('a')].into()));
/// ```
pub fn values<V: Ord + Copy>(ops: &[Access<V>], moments: &[Moment]) -> Option<BTreeSet<Option<V>>> {
    let mut open = BTreeSet::new();
    let mut possible: BTreeSet<Configuration<V>> = [(None, BTreeSet::new())].into();
    for moment in moments {
        let (op, answered) = match *moment {
            Moment::Begin(op) => {
                open.insert(op);
                continue;
            }
            Moment::End(op) => (op, true),
            Moment::Lost(op) => (op, false),
        };
        possible = closure(ops, &open, possible)?;
        open.remove(&op);
        possible = possible
            .into_iter()
            .filter_map(|(value, mut done)| (done.remove(&op) || !answered).then_some((value, done)))
            .collect();
    }
    Some(closure(ops, &open, possible)?.into_iter().map(|(value, _)| value).collect())
}

/// Adds what is reached when open operations take effect now.
fn closure<V: Ord + Copy>(
    ops: &[Access<V>],
    open: &BTreeSet<usize>,
    possible: BTreeSet<Configuration<V>>,
) -> Option<BTreeSet<Configuration<V>>> {
    let mut todo: Vec<_> = possible.iter().cloned().collect();
    let mut reached = possible;
    while let Some((value, done)) = todo.pop() {
        for op in open.difference(&done) {
            let next = match ops[*op] {
                Access::Set(new) => Some(new),
                Access::Clear => None,
                Access::ClearIf(old) => value.filter(|v| *v != old),
                Access::Read(seen) if seen == value => value,
                Access::Read(_) => continue,
            };
            let mut done = done.clone();
            done.insert(*op);
            if reached.insert((next, done.clone())) {
                todo.push((next, done));
            }
        }
        if reached.len() > MAX_CONFIGURATIONS {
            return None;
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Access::*;
    use super::Moment::*;
    use super::*;

    fn after(ops: &[Access<u8>], moments: &[Moment]) -> Vec<Option<u8>> {
        values(ops, moments).unwrap().into_iter().collect()
    }

    #[test]
    fn an_answer_must_have_an_explanation() {
        // A read of a value that was overwritten, with an answer, before the read began.
        let ops = [Set(1), Set(2), Read(Some(1))];
        assert!(after(&ops, &[Begin(0), End(0), Begin(1), End(1), Begin(2), End(2)]).is_empty());
        // The same while the second write is under way: it comes after.
        assert_eq!(after(&ops, &[Begin(0), End(0), Begin(1), Begin(2), End(2), End(1)]), [Some(2)]);
        // Two reads during one write cannot see the new value and then the old one.
        let ops = [Set(1), Set(2), Read(Some(2)), Read(Some(1))];
        assert!(after(&ops, &[Begin(0), End(0), Begin(1), Begin(2), End(2), Begin(3), End(3), End(1)]).is_empty());
    }

    #[test]
    fn what_was_not_answered_may_happen_until_it_is_lost() {
        let ops = [Set(1), Set(2), Clear, Read(Some(2)), ClearIf(1)];
        let open = [Begin(0), End(0), Begin(1)];
        assert_eq!(after(&ops, &open), [Some(1), Some(2)]);
        let late = [Begin(0), End(0), Begin(1), Begin(2), End(2)];
        assert_eq!(after(&ops, &late), [None, Some(2)]);
        let lost = [Begin(0), End(0), Begin(1), Lost(1), Begin(2), End(2)];
        assert_eq!(after(&ops, &lost), [None]);
        // Once it was seen it has happened.
        assert_eq!(after(&ops, &[Begin(0), End(0), Begin(1), Begin(3), End(3), Lost(1)]), [Some(2)]);
        assert_eq!(after(&ops, &[Begin(0), End(0), Begin(1), Begin(4), End(4)]), [None, Some(2)]);
    }

    #[test]
    fn too_many_at_once_are_not_decided() {
        let ops: Vec<_> = (0..40).map(Set).collect();
        let begun: Vec<_> = (0..40).map(Begin).collect();
        assert_eq!(values(&ops, &begun), None);
    }

    /// Every order of all operations, as the definition has it.
    fn by_definition(ops: &[Access<u8>], moments: &[Moment]) -> BTreeSet<Option<u8>> {
        let at = |wanted: Moment| moments.iter().position(|m| *m == wanted);
        let begun: Vec<usize> = (0..ops.len()).filter(|op| at(Begin(*op)).is_some()).collect();
        let mut found = BTreeSet::new();
        let mut todo: Vec<(Option<u8>, Vec<usize>)> = vec![(None, Vec::new())];
        while let Some((value, order)) = todo.pop() {
            let rest: Vec<usize> = begun.iter().copied().filter(|op| !order.contains(op)).collect();
            if rest.iter().all(|op| at(End(*op)).is_none()) {
                found.insert(value);
            }
            for op in &rest {
                // An answered operation that began later must not have come before.
                let end = at(End(*op)).or(at(Lost(*op))).unwrap_or(usize::MAX);
                let late = order.iter().any(|before| at(Begin(*before)) > Some(end));
                let next = match ops[*op] {
                    Set(v) => Some(v),
                    Clear => None,
                    ClearIf(v) => value.filter(|now| *now != v),
                    Read(seen) if seen == value => value,
                    Read(_) => continue,
                };
                if !late {
                    todo.push((next, order.iter().copied().chain([*op]).collect()));
                }
            }
        }
        found
    }

    fn access() -> impl Strategy<Value = Access<u8>> {
        let value = 0..3u8;
        prop_oneof![
            value.clone().prop_map(Set),
            Just(Clear),
            value.clone().prop_map(ClearIf),
            prop::option::of(value).prop_map(Read),
        ]
    }

    proptest! {
        #[test]
        fn it_is_what_the_definition_says(
            ops in prop::collection::vec(access(), 1..6),
            order in prop::collection::vec((0..6usize, 0..4u8), 0..24),
        ) {
            let mut moments = Vec::new();
            for (op, what) in order {
                let begun = moments.contains(&Begin(op));
                let over = moments.contains(&End(op)) || moments.contains(&Lost(op));
                match (begun, over) {
                    _ if op >= ops.len() => {}
                    (false, _) => moments.push(Begin(op)),
                    (true, false) if what == 0 => moments.push(Lost(op)),
                    (true, false) => moments.push(End(op)),
                    (true, true) => {}
                }
            }
            prop_assert_eq!(values(&ops, &moments), Some(by_definition(&ops, &moments)));
        }
    }
}
