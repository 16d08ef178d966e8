//! The lengths of blobs that were asked for lately, so that the next one to ask reads nothing from storage.
//!
//! Never stale: whoever takes blobs away holds a [`Removal`] from before the storage call until after it. An entry
//! goes when the removal begins; while one lasts nothing is remembered; and what was read before it began, or while it
//! lasted, is not remembered after it either. So what is known here is in storage.
//!
//! Bounded by entries: two generations of half as many each, the older of which goes as a whole; what is asked for again
//! moves to the younger.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::env::sync::hold;
use crate::oci::{Digest, Name};

type Entries = BTreeMap<(Name, Digest), u64>;

/// See the [module's documentation](self).
#[derive(Debug)]
pub struct DescriptorCache {
    max_entries: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    young: Entries,
    old: Entries,
    /// How many removals began or ended.
    changes: u64,
    removals: u64,
}

/// What storage says from here on may be [remembered](DescriptorCache::remember), if no removal comes between.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    changes: u64,
}

/// Blobs are being taken away.
#[derive(Debug)]
#[must_use = "it protects only as long as it lives"]
pub struct Removal<'a>(&'a DescriptorCache);

impl DescriptorCache {
    /// A cache of at most so many entries; at least two.
    pub fn new(max_entries: usize) -> Self {
        Self { max_entries: max_entries.max(2), state: Mutex::default() }
    }

    /// The length of a blob in bytes, if it is known.
    pub fn get(&self, repo: &Name, digest: &Digest) -> Option<u64> {
        let key = (repo.clone(), *digest);
        let mut state = hold(&self.state);
        if let Some(len_bytes) = state.young.get(&key) {
            return Some(*len_bytes);
        }
        let len_bytes = state.old.remove(&key)?;
        self.put(&mut state, key, len_bytes);
        Some(len_bytes)
    }

    /// To be called before storage is asked.
    pub fn since(&self) -> Since {
        Since { changes: hold(&self.state).changes }
    }

    /// Remembers what storage said, unless a removal has begun or ended `since`, or is under way.
    pub fn remember(&self, since: Since, repo: &Name, digest: &Digest, len_bytes: u64) {
        let mut state = hold(&self.state);
        if state.removals == 0 && state.changes == since.changes {
            self.put(&mut state, (repo.clone(), *digest), len_bytes);
        }
    }

    /// A blob is about to be taken away.
    pub fn removing(&self, repo: &Name, digest: &Digest) -> Removal<'_> {
        let key = (repo.clone(), *digest);
        let mut state = hold(&self.state);
        state.young.remove(&key);
        state.old.remove(&key);
        self.begin(&mut state)
    }

    /// Any blobs are about to be taken away.
    pub fn removing_any(&self) -> Removal<'_> {
        let mut state = hold(&self.state);
        state.young.clear();
        state.old.clear();
        self.begin(&mut state)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let state = hold(&self.state);
        state.young.len() + state.old.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn begin(&self, state: &mut State) -> Removal<'_> {
        state.changes += 1;
        state.removals += 1;
        Removal(self)
    }

    fn put(&self, state: &mut State, key: (Name, Digest), len_bytes: u64) {
        if state.young.len() >= self.max_entries / 2 {
            state.old = std::mem::take(&mut state.young);
        }
        state.young.insert(key, len_bytes);
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let mut state = hold(&self.0.state);
        state.changes += 1;
        state.removals -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::env::choice::{Chooser, recorded};

    fn repo() -> Name {
        "a".parse().unwrap()
    }

    fn digest(i: usize) -> Digest {
        Digest::sha256(&[i as u8])
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_makes_room() {
        let cache = DescriptorCache::new(8);
        for i in 0..100 {
            cache.remember(cache.since(), &repo(), &digest(i), i as u64);
            assert_eq!(cache.get(&repo(), &digest(0)), Some(0), "it is asked for all the time");
            assert_eq!(cache.get(&repo(), &digest(i)), Some(i as u64));
            assert!(cache.len() <= 8);
        }
        assert_eq!(cache.get(&repo(), &digest(1)), None);
        assert_eq!(cache.get(&"b".parse().unwrap(), &digest(0)), None, "another repository's");
        drop(cache.removing_any());
        assert!(cache.is_empty());
    }

    /// A task on the way through its steps; storage is asked, or changed, in one of them.
    enum Task<'a> {
        Ask(usize),
        Asked(usize, Since),
        Told(usize, Since),
        Remove(usize),
        Removing(Removal<'a>, usize),
        Removed(#[expect(dead_code, reason = "held until the task ends")] Removal<'a>),
        Done,
    }

    proptest! {
        /// Whoever asks at any moment between any steps of the others is told the truth.
        #[test]
        fn no_interleaving_makes_it_lie(mut choices in recorded(120)) {
            let cache = DescriptorCache::new(16);
            let mut stored: BTreeSet<usize> = (0..3).collect();
            let mut tasks: Vec<Task<'_>> = Vec::new();
            for _ in 0..60 {
                let at = choices.choose(tasks.len() + 2);
                if at >= tasks.len() {
                    let blob = choices.choose(3);
                    tasks.push(if at == tasks.len() { Task::Ask(blob) } else { Task::Remove(blob) });
                    if choices.choose(4) == 3 {
                        stored.insert(blob);
                    }
                } else {
                    let any = choices.choose(8) == 7;
                    tasks[at] = match std::mem::replace(&mut tasks[at], Task::Done) {
                        Task::Ask(blob) => Task::Asked(blob, cache.since()),
                        Task::Asked(blob, since) if stored.contains(&blob) => Task::Told(blob, since),
                        Task::Told(blob, since) => {
                            cache.remember(since, &repo(), &digest(blob), blob as u64);
                            Task::Done
                        }
                        Task::Remove(blob) if any => Task::Removing(cache.removing_any(), blob),
                        Task::Remove(blob) => Task::Removing(cache.removing(&repo(), &digest(blob)), blob),
                        Task::Removing(removal, blob) => {
                            stored.remove(&blob);
                            Task::Removed(removal)
                        }
                        Task::Removed(_) | Task::Asked(..) | Task::Done => Task::Done,
                    };
                }
                for blob in 0..3 {
                    let known = cache.get(&repo(), &digest(blob));
                    prop_assert!(known.is_none_or(|len| len == blob as u64 && stored.contains(&blob)), "{}", blob);
                }
            }
        }
    }
}
