//! Linearizability of one register: which values can it have after a history of overlapping operations?
//!
//! An operation takes effect at one instant between its beginning and its answer. One without an answer may have taken
//! effect at any instant since it began, or not at all; [`Moment::Lost`] ends that: from there on it can no longer
//! happen. If no order of such instants explains every answer, there is no value left: the history is not linearizable.
//!
//! The history is walked once, carrying every configuration that is still possible: a value, and which of the open
//! operations have taken effect already. Other than a search over whole orders, that costs time linear in the history;
//! only the number of operations that overlap counts ([`MAX_CONFIGURATIONS`]). An operation that is never answered need
//! not take effect at all, so of two configurations that differ in such operations alone, the one in which fewer have
//! done so can go on as the other can: the other is left out.

use std::collections::{BTreeMap, BTreeSet};

/// More configurations than any history of a few clients has; beyond it the answer is "not decided".
pub const MAX_CONFIGURATIONS: usize = 1 << 14;

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

/// A set of operations.
type Ops = BTreeSet<usize>;

/// Possible states: by the value and the answered operations that have taken effect while open, the smallest sets of
/// others that have done so.
#[derive(Debug, Clone)]
struct Possible<V> {
    states: BTreeMap<(Option<V>, Ops), Vec<Ops>>,
    len: usize,
}

impl<V: Ord + Copy> Possible<V> {
    fn none() -> Self {
        Self { states: BTreeMap::new(), len: 0 }
    }

    /// Adds a state, unless one that is there can go on as it can; tells whether it was added.
    fn add(&mut self, value: Option<V>, answered: Ops, others: Ops) -> bool {
        let known = self.states.entry((value, answered)).or_default();
        if known.iter().any(|fewer| fewer.is_subset(&others)) {
            return false;
        }
        self.len -= known.len();
        known.retain(|more| !others.is_subset(more));
        known.push(others);
        self.len += known.len();
        true
    }

    fn iter(&self) -> impl Iterator<Item = (Option<V>, &Ops, &Ops)> {
        self.states.iter().flat_map(|((value, answered), all)| all.iter().map(move |others| (*value, answered, others)))
    }
}

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
    let ever_answered: Ops =
        moments.iter().filter_map(|m| if let Moment::End(op) = m { Some(*op) } else { None }).collect();
    let mut open = Ops::new();
    let mut possible = Possible::none();
    possible.add(None, Ops::new(), Ops::new());
    for moment in moments {
        let (op, answered) = match *moment {
            Moment::Begin(op) => {
                open.insert(op);
                continue;
            }
            Moment::End(op) => (op, true),
            Moment::Lost(op) => (op, false),
        };
        let reached = closure(ops, &open, &ever_answered, possible)?;
        open.remove(&op);
        possible = Possible::none();
        for (value, answered_ops, others) in reached.iter() {
            let (mut answered_ops, mut others) = (answered_ops.clone(), others.clone());
            let happened = answered_ops.remove(&op) || others.remove(&op);
            if happened || !answered {
                possible.add(value, answered_ops, others);
            }
        }
    }
    Some(closure(ops, &open, &ever_answered, possible)?.iter().map(|(value, ..)| value).collect())
}

/// Adds what is reached when open operations take effect now.
fn closure<V: Ord + Copy>(
    ops: &[Access<V>],
    open: &Ops,
    ever_answered: &Ops,
    possible: Possible<V>,
) -> Option<Possible<V>> {
    let mut todo: Vec<_> = possible.iter().map(|(v, answered, others)| (v, answered.clone(), others.clone())).collect();
    let mut reached = possible;
    while let Some((value, answered, others)) = todo.pop() {
        for op in open.iter().filter(|op| !answered.contains(op) && !others.contains(op)) {
            let next = match ops[*op] {
                Access::Set(new) => Some(new),
                Access::Clear => None,
                Access::ClearIf(old) => value.filter(|v| *v != old),
                Access::Read(seen) if seen == value => value,
                Access::Read(_) => continue,
            };
            let (mut answered, mut others) = (answered.clone(), others.clone());
            let kind = if ever_answered.contains(op) { &mut answered } else { &mut others };
            kind.insert(*op);
            if reached.add(next, answered.clone(), others.clone()) {
                todo.push((next, answered, others));
            }
        }
        if reached.len > MAX_CONFIGURATIONS {
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
        let begun = (0..40).map(Begin);
        assert_eq!(values(&ops, &begun.clone().chain((0..40).map(End)).collect::<Vec<_>>()), None);
        // Those without an answer are a matter of one each.
        assert_eq!(values(&ops, &begun.collect::<Vec<_>>()).unwrap().len(), 41);
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
