//! Making a schedule that breaks something small: fewer steps, plainer steps, smaller blobs, plainer choices.
//!
//! Every candidate is run again, and kept only if it breaks the same invariant. As steps go, choices fall elsewhere: so
//! a candidate is tried with a few seeds. In the end the choices that it took are recorded, and as many as possible
//! made the plainest.

use super::schedule::{Choices, Schedule};
use super::step::{Send, Step};
use super::world::{Options, Outcome, run};

/// Most runs that shrinking takes.
pub const MAX_RUNS: u32 = 600;
/// With how many seeds a candidate is tried.
const SEEDS: u64 = 6;
/// With how many when only one step is left to take away.
const SEEDS_AT_LAST: u64 = 16;

/// A schedule that breaks `invariant` as `schedule` does, and is as small as [`MAX_RUNS`] runs can make it. One that does
/// not break it comes back as it is.
pub fn shrink(schedule: &Schedule, invariant: &str, options: &Options) -> Schedule {
    let mut shrinker = Shrinker { best: schedule.clone(), invariant, options, left: MAX_RUNS };
    if shrinker.broken(schedule).is_none() {
        return schedule.clone();
    }
    shrinker.steps();
    shrinker.plainer_steps();
    shrinker.smaller_blobs();
    shrinker.steps();
    shrinker.choices();
    shrinker.best.breaks = Some(invariant.to_owned());
    shrinker.best
}

struct Shrinker<'a> {
    best: Schedule,
    invariant: &'a str,
    options: &'a Options,
    left: u32,
}

impl Shrinker<'_> {
    /// Runs a candidate; what came of it if it breaks the invariant.
    fn broken(&mut self, candidate: &Schedule) -> Option<Outcome> {
        self.left = self.left.checked_sub(1)?;
        let outcome = run(candidate, self.options).ok()?;
        outcome.findings.iter().any(|f| f.invariant == self.invariant).then_some(outcome)
    }

    /// Takes a candidate if it breaks the invariant with one of a few seeds.
    fn takes(&mut self, candidate: &Schedule, seeds: u64) -> bool {
        let first = candidate.seed().unwrap_or_default();
        for i in 0..seeds {
            let candidate = Schedule { seed: first.wrapping_add(i).to_string(), ..candidate.clone() };
            if self.broken(&candidate).is_some() {
                self.best = candidate;
                return true;
            }
        }
        false
    }

    /// Leaves out ever smaller pieces.
    fn steps(&mut self) {
        let mut len = self.best.steps.len().div_ceil(2);
        while len > 0 {
            let mut at = self.best.steps.len();
            let mut shorter = false;
            while at > 0 {
                let from = at.saturating_sub(len);
                let mut candidate = self.best.clone();
                candidate.steps.drain(from..at);
                let seeds = if candidate.steps.len() < 8 { SEEDS_AT_LAST } else { SEEDS };
                shorter |= self.takes(&candidate, seeds);
                at = from.min(self.best.steps.len());
            }
            if !(shorter && len == 1) {
                len /= 2;
            }
        }
    }

    /// Replaces steps by plainer ones.
    fn plainer_steps(&mut self) {
        for at in 0..self.best.steps.len() {
            for plainer in plainer(self.best.steps[at]) {
                if plainer != self.best.steps[at] {
                    let mut candidate = self.best.clone();
                    candidate.steps[at] = plainer;
                    self.takes(&candidate, SEEDS);
                }
            }
        }
        let clients = self.best.steps.iter().filter_map(Step::client).max().map_or(1, |c| c + 1);
        let candidate = Schedule { clients, ..self.best.clone() };
        self.takes(&candidate, 1);
    }

    fn smaller_blobs(&mut self) {
        for image in 0..self.best.catalogue.images.len() {
            while let Some(last) = self.best.catalogue.images[image].len().checked_sub(1) {
                let mut candidate = self.best.clone();
                candidate.catalogue.images[image].truncate(last);
                if !self.takes(&candidate, 2) {
                    break;
                }
            }
        }
        for blob in 0..self.best.catalogue.blobs.len() {
            for bytes in [0, 1, 512, 600] {
                if self.best.catalogue.blobs[blob] > bytes {
                    let mut candidate = self.best.clone();
                    candidate.catalogue.blobs[blob] = bytes;
                    if self.takes(&candidate, 2) {
                        break;
                    }
                }
            }
        }
    }

    /// Records the choices, then makes them plain: all, then from the end, then piece by piece.
    fn choices(&mut self) {
        let best = self.best.clone();
        // One run has to be left to record with.
        self.left = self.left.max(150);
        let Some(outcome) = self.broken(&best) else { return };
        self.best.choices = Some(outcome.choices);
        let lists: [fn(&mut Choices) -> &mut Vec<u32>; 3] = [|c| &mut c.tasks, |c| &mut c.faults, |c| &mut c.losses];
        for list in lists {
            let mut all = self.best.choices.clone().unwrap_or_default();
            let mut len = list(&mut all).len();
            while len > 0 {
                let mut end = list(&mut all).len();
                while end > 0 {
                    let start = end.saturating_sub(len);
                    let mut fewer = all.clone();
                    if end == list(&mut fewer).len() {
                        list(&mut fewer).truncate(start);
                    } else {
                        list(&mut fewer)[start..end].fill(0);
                    }
                    let candidate = Schedule { choices: Some(fewer.clone()), ..self.best.clone() };
                    if fewer != all && self.broken(&candidate).is_some() {
                        all = fewer;
                        self.best = candidate;
                    }
                    end = start;
                }
                len /= 2;
            }
        }
    }
}

/// Plainer variants of a step, one change each.
fn plainer(step: Step) -> Vec<Step> {
    match step {
        Step::Push { client, repo, image, tag, send, from } => vec![
            Step::Push { client, repo, image, tag, send: Send::Session, from: None },
            Step::Push { client, repo: 0, image, tag: 0, send, from },
            Step::Push { client, repo: 0, image: 0, tag: 0, send: Send::Session, from: None },
            Step::Push { client: 0, repo: 0, image: 0, tag: 0, send: Send::Session, from: None },
        ],
        Step::Cut { how, calls } => {
            [0, 1, calls / 2, calls - calls / 4].into_iter().map(|calls| Step::Cut { how, calls }).collect()
        }
        Step::Wait { .. } => vec![Step::Wait { ms: 1 }],
        _ => Vec::new(),
    }
}
