//! The smallest choice that serves every demand: exact, by depth.

use std::collections::BTreeSet;

/// Some candidates, by number.
pub(super) type Set = BTreeSet<usize>;

/// What has to be served as soon as all of `given` are chosen: one of the options must be too. Most options have one
/// member, and most demands are given nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) given: Set,
    pub(super) options: Vec<Set>,
}

impl Demand {
    fn is_open(&self, chosen: &Set) -> bool {
        self.given.is_subset(chosen) && !self.options.iter().any(|option| option.is_subset(chosen))
    }
}

/// The first of the smallest choices that serve all `demands` and are none of `but`; `None` if there is none.
pub(super) fn smallest<'d>(demands: impl IntoIterator<Item = &'d Demand>, but: &[Set]) -> Option<Set> {
    let demands: Vec<&Demand> = demands.into_iter().collect();
    let all: Set = demands.iter().flat_map(|demand| &demand.options).flatten().copied().collect();
    (0..=all.len()).find_map(|size| within(&demands, but, size, &mut Set::new()))
}

fn within(demands: &[&Demand], but: &[Set], size: usize, chosen: &mut Set) -> Option<Set> {
    let open: Vec<&Demand> = demands.iter().copied().filter(|demand| demand.is_open(chosen)).collect();
    let Some(next) = open.iter().min_by_key(|demand| demand.options.len()) else {
        return (!but.contains(chosen)).then(|| chosen.clone());
    };
    if chosen.len() + at_least(&open, chosen) > size {
        return None;
    }
    let mut options: Vec<&Set> = next.options.iter().collect();
    options
        .sort_by_key(|option| std::cmp::Reverse(open.iter().filter(|demand| demand.options.contains(option)).count()));
    for option in options {
        let new: Set = option.difference(chosen).copied().collect();
        if chosen.len() + new.len() > size {
            continue;
        }
        chosen.extend(&new);
        let found = within(demands, but, size, chosen);
        chosen.retain(|one| !new.contains(one));
        if found.is_some() {
            return found;
        }
    }
    None
}

/// How many candidates the open demands take at least: those that have none in common take one each.
fn at_least(open: &[&Demand], chosen: &Set) -> usize {
    let mut used = Set::new();
    let mut apart = 0;
    for demand in open {
        let own: Set = demand.options.iter().flatten().filter(|one| !chosen.contains(one)).copied().collect();
        if own.is_disjoint(&used) {
            used.extend(own);
            apart += 1;
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        let options = prop::collection::vec(prop::collection::btree_set(0..7_usize, 1..3), 0..4);
        let given = prop_oneof![3 => Just(Set::new()), 1 => prop::collection::btree_set(0..7_usize, 1..3)];
        let demand = (given, options).prop_map(|(given, options)| Demand { given, options });
        prop::collection::vec(demand, 0..6)
    }

    proptest! {
        /// Of choices that serve and are no larger than they have to be, none is missed.
        #[test]
        fn the_smallest_are_found_one_after_the_other(demands in demands()) {
            let all = |size: usize| -> Vec<Set> {
                let sets = (0..128_usize).map(|bits| (0..7).filter(|i| bits >> i & 1 == 1).collect::<Set>());
                sets.filter(|set| set.len() == size && !demands.iter().any(|demand| demand.is_open(set))).collect()
            };
            let size = (0..8).find(|size| !all(*size).is_empty());
            let mut found: Vec<Set> = Vec::new();
            while let Some(next) = smallest(&demands, &found).filter(|next| Some(next.len()) == size) {
                prop_assert!(!found.contains(&next));
                found.push(next);
            }
            found.sort();
            let mut expected = size.map_or_else(Vec::new, all);
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
