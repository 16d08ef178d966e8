//! What a collection must spare though nothing references it: digests that a push is about to rely on.
//!
//! A push holds every digest that it writes or relies on, from before it looks for it until its answer; afterwards
//! the digest is *recent*. A collection begins by taking the recent set: those digests are spared in this cycle, and
//! so is everything that is held, or becomes recent, while it runs. A digest is therefore safe from the moment that a
//! push says that it needs it until the second collection that begins after the push: time enough for the client to
//! push the manifest that references it.
//!
//! Known limit: the answer counts from when it is given. Two collections that both begin while it is still on its way
//! to the client (`pullplug simulate --model posix --seed 1945 --runs 1` has three within two milliseconds) may take
//! what the client is then told of. A least age of what a cycle takes, beside the cycle, would end that.
//!
//! At a start the sessions of clients are not known, so the first cycle spares all links that it finds. Blobs without
//! any link are not among them: whoever counts on one is in the middle of a request, and holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::env::sync::hold;
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
}

/// What one cycle spares.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    digests: BTreeSet<Digest>,
    all_links: bool,
    all_blobs: bool,
}

impl Recent {
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
        let mut state = hold(&self.fence.0);
        for digest in &self.digests {
            state.recent.insert(*digest);
            match state.held.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.held.remove(digest)),
            }
        }
    }
}

impl Fence {
    /// The fence of a registry that has just started.
    pub(super) fn new() -> Self {
        let recent = Recent { all_links: true, ..Recent::default() };
        Self(Mutex::new(State { held: BTreeMap::new(), recent }))
    }

    /// Holds digests. Whoever then finds a link or blob of one of them, under its lock, will find it again later.
    pub(super) fn hold(&self, digests: impl IntoIterator<Item = Digest>) -> Hold<'_> {
        let digests: Vec<Digest> = digests.into_iter().collect();
        let mut state = hold(&self.0);
        for digest in &digests {
            *state.held.entry(*digest).or_default() += 1;
        }
        Hold { fence: self, digests }
    }

    /// Begins a cycle: what is recent now is spared in it. A mere look leaves the recent set as it is.
    pub(super) fn begin(&self, look_only: bool) -> Recent {
        let recent = &mut hold(&self.0).recent;
        if look_only { recent.clone() } else { std::mem::take(recent) }
    }

    /// Gives back what a cycle that failed had taken.
    pub(super) fn restore(&self, taken: Recent) {
        let recent = &mut hold(&self.0).recent;
        recent.all_links |= taken.all_links;
        recent.all_blobs |= taken.all_blobs;
        taken.digests.into_iter().for_each(|digest| recent.insert(digest));
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
        let state = hold(&self.fence.0);
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

    #[test]
    fn a_digest_is_spared_from_its_use_to_the_second_cycle_after_it() {
        let (fence, used, other) = (Fence::new(), Digest::sha256(b"used"), Digest::sha256(b"other"));
        let first = fence.begin(false);
        assert_eq!(spared(&fence, &first, &other), (true, false), "links found at the start");
        let held = fence.hold([used]);
        assert_eq!(spared(&fence, &first, &used), (true, true));
        let second = fence.begin(false);
        assert_eq!(spared(&fence, &second, &used), (true, true), "a push that outlives a cycle");
        assert_eq!(spared(&fence, &second, &other), (false, false));
        drop(held);
        let looked = fence.begin(true);
        assert_eq!(spared(&fence, &looked, &used), (true, true));
        let third = fence.begin(false);
        assert_eq!(spared(&fence, &third, &used), (true, true));
        assert!(!Spared { fence: &fence, roots: &third, exclusive: true }.link(&used));
        let fourth = fence.begin(false);
        assert_eq!(spared(&fence, &fourth, &used), (false, false));
        fence.restore(third);
        let again = fence.begin(false);
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
