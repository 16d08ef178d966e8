//! What a collection must spare though nothing references it: digests that a push is about to rely on.
//!
//! A push holds every digest that it writes or relies on, from before it looks for it until its answer; afterwards
//! the digest is *recent*. A collection begins by taking the recent set: those digests are spared in this cycle, and
//! so is everything that is held, or becomes recent, while it runs. A digest is therefore safe from the moment that a
//! push says that it needs it until the second collection that begins after the push: time enough for the client to
//! push the manifest that references it.
//!
//! A collection that has to wait for another begins, for its caller, before the other ends; so it goes on from the
//! other, and spares what that one spared as well: however many are asked for at once count as one cycle.
//!
//! Known limit: the answer counts from when it is given. Of two collections, one after the other, that both begin while
//! it is still on its way to the client, the second may take what the client is then told of.
//!
//! At a start the sessions of clients are not known, so the first cycle spares all links that it finds. Blobs without
//! any link are not among them: whoever counts on one is in the middle of a request, and holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::env::sync::{hold, hold_parts, see_part};
use crate::oci::Digest;

/// How many recent digests are remembered one by one; with more, a cycle spares everything. About 10 MiB.
const MAX_RECENT: usize = 1 << 17;

/// Digests in use and digests used since the last collection began.
#[derive(Debug)]
pub(super) struct Fence(Mutex<State>);

#[derive(Debug)]
struct State {
    held: BTreeMap<Digest, u32>,
    recent: Recent,
    /// What the latest cycle spared.
    latest: Recent,
    /// Collections that run or wait.
    collections: u32,
}

/// What one cycle spares.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    digests: BTreeSet<Digest>,
    all_links: bool,
    all_blobs: bool,
}

impl Recent {
    fn extend(&mut self, other: &Self) {
        self.all_links |= other.all_links;
        self.all_blobs |= other.all_blobs;
        other.digests.iter().for_each(|digest| self.insert(*digest));
    }

    fn insert(&mut self, digest: Digest) {
        self.digests.insert(digest);
        if self.digests.len() > MAX_RECENT {
            *self = Self { digests: BTreeSet::new(), all_links: true, all_blobs: true };
        }
    }
}

/// Digests that are held until this is dropped.
#[must_use = "a digest is spared for certain only while it is held"]
pub(super) struct Hold<'a> {
    fence: &'a Fence,
    digests: Vec<Digest>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut state = hold_parts(&self.fence.0, &self.digests);
        for digest in &self.digests {
            state.recent.insert(*digest);
            match state.held.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.held.remove(digest)),
            }
        }
    }
}

/// A collection that runs, or waits for its turn, until this is dropped.
#[must_use = "those that come meanwhile must know of it"]
pub(super) struct Turn<'a> {
    fence: &'a Fence,
    has_to_wait: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        hold(&self.fence.0).collections -= 1;
    }
}

impl Fence {
    /// The fence of a registry that has just started.
    pub(super) fn new() -> Self {
        let recent = Recent { all_links: true, ..Recent::default() };
        Self(Mutex::new(State { held: BTreeMap::new(), recent, latest: Recent::default(), collections: 0 }))
    }

    /// Holds digests. Whoever then finds a link or blob of one of them, under its lock, will find it again later.
    pub(super) fn hold(&self, digests: impl IntoIterator<Item = Digest>) -> Hold<'_> {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut state = hold_parts(&self.0, &digests);
        for digest in &digests {
            *state.held.entry(*digest).or_default() += 1;
        }
        Hold { fence: self, digests }
    }

    /// A collection is asked for.
    pub(super) fn ask(&self) -> Turn<'_> {
        let collections = &mut hold(&self.0).collections;
        *collections += 1;
        Turn { fence: self, has_to_wait: *collections > 1 }
    }

    /// Begins the cycle of a collection whose turn has come: what is recent now is spared in it, and what the cycle
    /// before spared if it had to wait for that. A mere look leaves everything as it is.
    pub(super) fn begin(&self, turn: &Turn<'_>, look_only: bool) -> Recent {
        let mut state = hold(&self.0);
        let mut roots = if look_only { state.recent.clone() } else { std::mem::take(&mut state.recent) };
        if turn.has_to_wait {
            roots.extend(&state.latest);
        }
        if !look_only {
            state.latest = roots.clone();
        }
        roots
    }

    /// Gives back what a cycle that failed had taken.
    pub(super) fn restore(&self, taken: &Recent) {
        hold(&self.0).recent.extend(taken);
    }
}

/// What one cycle must not touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spared<'a> {
    pub(super) fence: &'a Fence,
    pub(super) roots: &'a Recent,
    /// No one else works on the directory: nothing is spared.
    pub(super) exclusive: bool,
}

impl Spared<'_> {
    /// Whether the links by or to this digest stay.
    pub(super) fn link(&self, digest: &Digest) -> bool {
        self.spares(digest, |recent| recent.all_links)
    }

    /// Whether the content of this digest stays.
    pub(super) fn blob(&self, digest: &Digest) -> bool {
        self.spares(digest, |recent| recent.all_blobs)
    }

    fn spares(&self, digest: &Digest, all: impl Fn(&Recent) -> bool) -> bool {
        let state = see_part(&self.fence.0, digest);
        let recent = |recent: &Recent| all(recent) || recent.digests.contains(digest);
        !self.exclusive && (state.held.contains_key(digest) || recent(&state.recent) || recent(self.roots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spared(fence: &Fence, roots: &Recent, digest: &Digest) -> (bool, bool) {
        let spared = Spared { fence, roots, exclusive: false };
        (spared.link(digest), spared.blob(digest))
    }

    fn cycle(fence: &Fence) -> Recent {
        fence.begin(&fence.ask(), false)
    }

    #[test]
    fn collections_that_wait_for_one_another_are_one_cycle() {
        let (fence, used, later) = (Fence::new(), Digest::sha256(b"used"), Digest::sha256(b"later"));
        drop(cycle(&fence));
        drop(fence.hold([used]));
        let (first, second, third) = (fence.ask(), fence.ask(), fence.ask());
        let roots = fence.begin(&first, false);
        assert!(spared(&fence, &roots, &used).1);
        drop(first);
        drop(fence.hold([later]));
        for turn in [second, third] {
            let roots = fence.begin(&turn, false);
            assert!(spared(&fence, &roots, &used).1 && spared(&fence, &roots, &later).1);
        }
        let next = cycle(&fence);
        assert!(!spared(&fence, &next, &used).1 && !spared(&fence, &next, &later).1);
    }

    #[test]
    fn a_digest_is_spared_from_its_use_to_the_second_cycle_after_it() {
        let (fence, used, other) = (Fence::new(), Digest::sha256(b"used"), Digest::sha256(b"other"));
        let first = cycle(&fence);
        assert_eq!(spared(&fence, &first, &other), (true, false), "links found at the start");
        let held = fence.hold([used]);
        assert_eq!(spared(&fence, &first, &used), (true, true));
        let second = cycle(&fence);
        assert_eq!(spared(&fence, &second, &used), (true, true), "a push that outlives a cycle");
        assert_eq!(spared(&fence, &second, &other), (false, false));
        drop(held);
        let looked = fence.begin(&fence.ask(), true);
        assert_eq!(spared(&fence, &looked, &used), (true, true));
        let third = cycle(&fence);
        assert_eq!(spared(&fence, &third, &used), (true, true));
        assert!(!Spared { fence: &fence, roots: &third, exclusive: true }.link(&used));
        let fourth = cycle(&fence);
        assert_eq!(spared(&fence, &fourth, &used), (false, false));
        fence.restore(&third);
        let again = cycle(&fence);
        assert_eq!(spared(&fence, &again, &used), (true, true), "a failed cycle counts for nothing");
    }

    #[test]
    fn too_many_recent_digests_spare_everything() {
        let mut recent = Recent::default();
        for i in 0..=MAX_RECENT {
            let mut raw = [0; 32];
            raw[..8].copy_from_slice(&i.to_be_bytes());
            recent.insert(Digest::from_bytes(crate::oci::Algorithm::Sha256, &raw).unwrap());
        }
        assert!(recent.all_links && recent.all_blobs && recent.digests.is_empty());
    }
}
