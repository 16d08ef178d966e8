//! Every nondeterministic decision is one call, [`Chooser::choose`].
//!
//! Which un-synced effects survive, which call fails, where the power goes, which task runs next: a run is the list
//! of its choices. [`Seeded`] explores, [`DepthFirst`] enumerates, [`Recorded`] replays, and [`recorded`] hands the
//! list to proptest, which shrinks it. A choice of 0 is always the plainest one, so that a shorter list and smaller
//! numbers mean a simpler run.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The one source of nondeterminism.
pub trait Chooser: Send {
    /// Picks one of `0..n`. `n` must be at least 1; with one option there is nothing to choose and the answer is 0
    /// without using up a choice.
    fn choose(&mut self, n: usize) -> usize;
}

impl<C: Chooser + ?Sized> Chooser for &mut C {
    fn choose(&mut self, n: usize) -> usize {
        (**self).choose(n)
    }
}

impl<C: Chooser + ?Sized> Chooser for Box<C> {
    fn choose(&mut self, n: usize) -> usize {
        (**self).choose(n)
    }
}

/// Uniform choices from a named stream of a seed: the same seed and name give the same choices on every machine,
/// and drawing from one stream never moves another.
#[derive(Debug, Clone)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The stream `name` of `seed`.
    ///
    /// ```
    /// use pullplug::env::choice::{Chooser, Seeded};
    /// let (mut a, mut b) = (Seeded::stream(7, "disk"), Seeded::stream(7, "disk"));
    /// assert_eq!(a.choose(1000), b.choose(1000));
    /// ```
    pub fn stream(seed: u64, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(name.as_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A stream that nobody can foresee: for identifiers outside of simulations.
    ///
    /// Errors: the machine has no entropy to give.
    pub fn unforeseeable() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self(ChaCha8Rng::from_seed(seed)))
    }

    /// The next 64 bits, for values that are data and not decisions (generated layer bytes, identifiers).
    pub fn next_u64(&mut self) -> u64 {
        self.0.random()
    }

    /// Fills `bytes` with data.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

impl Chooser for Seeded {
    fn choose(&mut self, n: usize) -> usize {
        debug_assert!(n > 0);
        if n == 1 { 0 } else { self.0.random_range(0..n as u64) as usize }
    }
}

/// Replays a list of choices: past its end the plainest option (0), and a choice that no longer fits is folded into
/// the options there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    choices: Vec<u32>,
    next: usize,
}

impl Recorded {
    /// A chooser that replays `choices`.
    pub fn new(choices: Vec<u32>) -> Self {
        Self { choices, next: 0 }
    }

    /// How many choices were asked for so far.
    pub fn used(&self) -> usize {
        self.next
    }
}

impl Chooser for Recorded {
    fn choose(&mut self, n: usize) -> usize {
        if n == 1 {
            return 0;
        }
        let choice = self.choices.get(self.next).map_or(0, |c| *c as usize);
        self.next += 1;
        choice % n
    }
}

/// Records what another chooser decides.
#[derive(Debug)]
pub struct Recorder<C> {
    inner: C,
    choices: Vec<u32>,
}

impl<C: Chooser> Recorder<C> {
    /// Records the choices of `inner`.
    pub fn new(inner: C) -> Self {
        Self { inner, choices: Vec::new() }
    }

    /// The choices so far, for [`Recorded::new`].
    pub fn choices(&self) -> &[u32] {
        &self.choices
    }
}

impl<C: Chooser> Chooser for Recorder<C> {
    fn choose(&mut self, n: usize) -> usize {
        let choice = self.inner.choose(n);
        if n > 1 {
            self.choices.push(choice as u32);
        }
        choice
    }
}

/// Visits every list of choices once, depth first: run, then [`advance`](DepthFirst::advance), until that is false.
///
/// ```
/// use pullplug::env::choice::{Chooser, DepthFirst};
/// let mut all = DepthFirst::default();
/// let mut seen = Vec::new();
/// loop {
///     seen.push((all.choose(2), all.choose(3)));
///     if !all.advance() { break; }
/// }
/// assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DepthFirst {
    /// Chosen option and number of options, from the root of the tree down to the present leaf.
    path: Vec<(usize, usize)>,
    next: usize,
}

impl DepthFirst {
    /// Moves on to the next leaf; false when all were visited.
    pub fn advance(&mut self) -> bool {
        self.path.truncate(self.next);
        self.next = 0;
        while let Some((choice, n)) = self.path.pop() {
            if choice + 1 < n {
                self.path.push((choice + 1, n));
                return true;
            }
        }
        false
    }
}

impl Chooser for DepthFirst {
    fn choose(&mut self, n: usize) -> usize {
        debug_assert!(n > 0);
        if n == 1 {
            return 0;
        }
        if self.next == self.path.len() {
            self.path.push((0, n));
        }
        let (choice, of) = self.path[self.next];
        debug_assert_eq!(of, n, "a depth-first run must be deterministic");
        self.next += 1;
        choice
    }
}

/// A proptest strategy for lists of at most `max_choices` choices: proptest shrinks towards fewer and smaller ones.
///
/// ```
/// use proptest::{prelude::*, test_runner::TestRunner};
/// use pullplug::env::choice::{recorded, Chooser};
/// let mut runner = TestRunner::deterministic();
/// runner.run(&recorded(8), |mut choices| { prop_assert!(choices.choose(5) < 5); Ok(()) }).unwrap();
/// ```
pub fn recorded(max_choices: usize) -> impl Strategy<Value = Recorded> {
    prop::collection::vec(prop_oneof![3 => 0..8u32, 1 => 0..4096u32], 0..=max_choices).prop_map(Recorded::new)
}
