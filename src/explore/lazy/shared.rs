//! What readers and restarts did, whichever model the disk was laid out under.
//!
//! A reader does what the replies tell it to, and a process that crashed starts again on a page cache of which nothing is
//! lost. Neither knows the model: what ran in the proof under one is not run again in the proof under another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::recovery::Ran;
use super::trie::Trie;
use crate::disk::effect::Cut;
use crate::disk::space::{Ask, View};
use crate::disk::tree::Ino;
use crate::explore::{FailedSync, Observation, Run, Subject};

/// What a reader did wherever it ran, and what came of that.
pub(super) struct Runs<T>(RwLock<Trie<T>>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Clone> Runs<T> {
    /// What the reader asks of a state and what comes of it: it is run if it was never told the same.
    pub(super) fn on(&self, view: &View<'_>, run: impl FnOnce() -> (T, Vec<Ask<Ino>>)) -> (T, Vec<Ask<Ino>>) {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).follow(view) {
            return known;
        }
        let (value, asks) = run();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(view, &asks, value.clone());
        (value, asks)
    }
}

/// What is made once of each key, by whoever needs it first.
struct Once<K, V>(Mutex<BTreeMap<K, Arc<OnceLock<V>>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V: Clone> Once<K, V> {
    fn get(&self, key: K, make: impl FnOnce() -> V) -> V {
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        cell.get_or_init(make).clone()
    }
}

/// What a probe came to.
pub(super) type Saw = Arc<[Observation]>;

/// All of it, of one run of a subject.
pub(super) struct Shared<P> {
    restarted: Once<Cut, Run>,
    failing: Once<FailedSync, Option<Run>>,
    probes: Once<P, Arc<Runs<Saw>>>,
    pub(super) recovery: Runs<Ran>,
}

impl<P> Default for Shared<P> {
    fn default() -> Self {
        Self {
            restarted: Once::default(),
            failing: Once::default(),
            probes: Once::default(),
            recovery: Runs::default(),
        }
    }
}

impl<P: Clone + Ord> Shared<P> {
    /// What `run` became after a crash of the process.
    pub(super) fn restarted<S: Subject<Probe = P>>(&self, subject: &S, run: &Run, cut: Cut) -> Run {
        self.restarted.get(cut, || run.restarted(subject, cut))
    }

    /// What `run` became once a sync had failed, if it did.
    pub(super) fn failing<S: Subject<Probe = P>>(&self, subject: &S, run: &Run, sync: FailedSync) -> Option<Run> {
        self.failing.get(sync, || run.failing(subject, sync))
    }

    /// What a probe did.
    pub(super) fn runs_of(&self, probe: &P) -> Arc<Runs<Saw>> {
        self.probes.get(probe.clone(), Arc::default)
    }
}
