//! Two operations at once: every interleaving of their file-system calls up to a number of preemptions, those that
//! commute once.
//!
//! Each of the two may be stopped before and behind every call ([`stepped`]), and waits where it finds a lock taken; a
//! [`Schedule`] says who goes on ([`turns`]). [`search`] visits the schedules, and says which runs it takes to cover
//! them all. What a crash may leave of each run is explored as that of any other ([`explore_all`]).
//!
//! # Which turns commute
//!
//! A turn is one call, or what a task does in memory between two. Two turns of different tasks **commute** unless
//!
//! 1. one changes what the other touches: a directory entry (looking a path up touches all on the way), a listing,
//!    the bytes of a file, or memory that is guarded by [`crate::env::sync`], locks included;
//! 2. or both **write the log**. The crash is a third party: it reads the whole disk, at any time, and can tell which of
//!    two changes came first, however little they have in common. It may find the first alone; in a journal, which keeps
//!    that order, it never finds the second alone. A sync shows among the changes of the other task, since it forces
//!    what came before it. Marks (an operation begins, is answered) are what a crash is judged by, so they show among
//!    everything. What writes nothing is of no interest to a crash.
//!
//! The second rule holds for every model. (Under `posix`, two changes of unrelated objects do commute: both may be lost,
//! and each alone may survive. But neither commutes with the marks that the other task is yet to pass, so that next to
//! nothing would be gained by telling the models apart.)
//!
//! # Why nothing is lost
//!
//! From a run, a schedule is derived for each of its turns that does not commute with a later one of the other task: it
//! is the same up to there, and then preempts. Let X be a schedule within the bound whose last preemptions come as late
//! as commuting turns permit, let its first k preemptions be among those that were visited, and the (k+1)-th come before
//! turn `b`. It must not commute with some turn of the other task before the next preemption, or that could come later.
//! Of the schedules that were visited and that preempt for the (k+1)-th time at `b` or later, take the earliest, at `c`
//! (without a preemption: at the end). If `c` is later than `b`, look at what the other task does behind `c`: either it
//! comes to that turn as it does in X, and so a schedule that preempts at `b` was derived; or something between `b` and
//! `c` was in its way, and then one was derived that preempts earlier than at `c`. Both contradict the choice of `c`.
//!
//! A preemption after which the other task does nothing that was in the way of the turn that it took away is the same
//! as a later one. Such a schedule is run, as that is only known then, but only schedules that preempt earlier are derived
//! from it. Preempting later never takes more preemptions, so the bound covers what it says. Who begins costs none: both
//! are visited.
//!
//! Runs that wrote the same log are explored once: a crash cannot tell them from each other.

pub mod search;
pub mod stepped;
pub mod turns;

use std::collections::BTreeMap;

use rayon::prelude::*;

pub use super::lazy::{Member, Proved, prove_all};
use super::{Outcome, Setting, Subject, explore};
pub use turns::Schedule;

/// What was seen of all runs together.
#[derive(Debug, Clone)]
pub struct Found<P> {
    /// As of one run: the findings are the smallest of all.
    pub outcome: Outcome<P>,
    /// Which run a finding is from.
    pub from: BTreeMap<&'static str, usize>,
}

/// Explores the crashes of many runs, each from where it differs from those before it.
pub fn explore_all<S: Subject>(members: &[Member<'_, S>], setting: Setting<'_>) -> Found<S::Probe> {
    let outcomes: Vec<Outcome<S::Probe>> = members
        .par_iter()
        .map(|member| {
            let mut outcome = explore(member.subject, &member.news(), setting);
            outcome.findings.values_mut().for_each(|finding| finding.restarted_at = None);
            outcome
        })
        .collect();
    let mut found = Found { outcome: Outcome::default(), from: BTreeMap::new() };
    for (i, part) in outcomes.into_iter().enumerate() {
        found.outcome.crash_points += part.crash_points;
        let before: BTreeMap<_, _> = found.outcome.findings.iter().map(|(name, f)| (*name, f.size())).collect();
        found.outcome.merge(part);
        for (name, finding) in &found.outcome.findings {
            if before.get(name) != Some(&finding.size()) {
                found.from.insert(name, i);
            }
        }
    }
    found
}
