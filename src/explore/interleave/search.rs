//! All interleavings within a bound: which schedules to run, and which of the runs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;

use super::Schedule;
use super::turns::Step;
use crate::disk::effect::{Effect, Record};
use crate::env::touched::Touch;

/// The name of the log among what is touched.
const LOG: &str = "log";

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    /// Preemptions of a schedule, at most.
    pub preemptions: usize,
    /// Whether what commutes is visited once. Without it every schedule is run: only to show that nothing gets lost.
    pub reduce: bool,
}

/// A schedule that was run.
pub trait Executed: Send {
    /// Turn by turn.
    fn steps(&self) -> &[Step];
    /// The log.
    fn log(&self) -> &[Record];
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// The turns of each operation, when it goes first and is not preempted.
    pub turns: [usize; 2],
    /// How many interleavings of so many turns there are within the bound.
    pub interleavings: u128,
    /// Schedules that were run.
    pub executions: u64,
    /// Runs among them whose logs differ.
    pub runs: u64,
}

impl Search {
    /// Runs schedules by `execute` until all within the bound are covered. Returns the runs that differ, those from
    /// which others were derived first.
    ///
    /// Errors: those of `execute`.
    pub fn all<R: Executed, E: Send>(
        &self,
        execute: impl Fn(&Schedule) -> Result<R, E> + Sync,
    ) -> Result<(Vec<R>, Coverage), E> {
        let mut wave: Vec<Schedule> =
            [0, 1].into_iter().map(|first| Schedule { first, preemptions: Vec::new() }).collect();
        let mut planned: BTreeSet<Schedule> = wave.iter().cloned().collect();
        let mut known = BTreeSet::new();
        let mut runs = Vec::new();
        let mut coverage = Coverage { turns: [0; 2], interleavings: 0, executions: 0, runs: 0 };
        while !wave.is_empty() {
            let executed: Vec<Result<(R, Analysis), E>> = wave
                .par_iter()
                .map(|schedule| {
                    let run = execute(schedule)?;
                    let analysis = self.analyse(schedule, &run);
                    Ok((run, analysis))
                })
                .collect();
            let mut next = Vec::new();
            for (schedule, result) in wave.iter().zip(executed) {
                let (run, analysis) = result?;
                coverage.executions += 1;
                if schedule.preemptions.is_empty() {
                    coverage.turns[schedule.first] = run.steps().iter().filter(|s| s.task == schedule.first).count();
                }
                next.extend(analysis.derived.into_iter().filter(|derived| planned.insert(derived.clone())));
                if known.insert(analysis.key) {
                    runs.push(run);
                }
            }
            wave = next;
        }
        coverage.runs = runs.len() as u64;
        coverage.interleavings = interleavings(coverage.turns, self.preemptions);
        Ok((runs, coverage))
    }

    fn analyse<R: Executed>(&self, schedule: &Schedule, run: &R) -> Analysis {
        let steps: Vec<(&Step, Vec<Touch>)> = run.steps().iter().map(|step| (step, touches(step))).collect();
        let idle = self.reduce && is_idle(schedule, &steps);
        let mut derived = self.derived(schedule, &steps);
        if idle {
            derived.retain(|d| d.preemptions.last() < schedule.preemptions.last());
        }
        Analysis { derived, key: key(run.log()) }
    }

    /// The schedules that are this one up to a turn, and preempt there.
    fn derived(&self, schedule: &Schedule, steps: &[(&Step, Vec<Touch>)]) -> Vec<Schedule> {
        let mut derived = Vec::new();
        let mut later = [Later::default(), Later::default()];
        for (at, (step, touches)) in steps.iter().enumerate().rev() {
            let in_the_way = !self.reduce || touches.iter().any(|touch| later[1 - step.task].conflicts(touch));
            let at = at as u32;
            let before = schedule.preemptions.partition_point(|p| *p < at);
            let is_new = schedule.preemptions.get(before) != Some(&at);
            if step.other_can_run && in_the_way && is_new && before < self.preemptions {
                let preemptions = schedule.preemptions[..before].iter().copied().chain([at]).collect();
                derived.push(Schedule { first: schedule.first, preemptions });
            }
            later[step.task].add(touches);
        }
        derived.reverse();
        derived
    }
}

/// What a turn touches, the log included.
fn touches(step: &Step) -> Vec<Touch> {
    let log = (!step.records.is_empty()).then(|| Touch::of(LOG, true));
    step.touches.iter().copied().chain(log).collect()
}

/// What is learned from a run.
struct Analysis {
    derived: Vec<Schedule>,
    key: u64,
}

/// What a task touches from some turn on: whether anything there is changed.
#[derive(Default)]
struct Later(BTreeMap<u64, bool>);

impl Later {
    fn add(&mut self, touches: &[Touch]) {
        for touch in touches {
            *self.0.entry(touch.place).or_default() |= touch.writes;
        }
    }

    fn conflicts(&self, touch: &Touch) -> bool {
        self.0.get(&touch.place).is_some_and(|writes| *writes || touch.writes)
    }
}

/// Whether the last preemption could as well have come a turn later: nothing of what the other task did then was in the
/// way of the turn that it took away.
fn is_idle(schedule: &Schedule, steps: &[(&Step, Vec<Touch>)]) -> bool {
    let Some(behind) = schedule.preemptions.last().and_then(|at| steps.get(*at as usize..)) else { return false };
    let Some((begin, _)) = behind.first() else { return false };
    let Some(block) = behind.iter().position(|(step, _)| step.task != begin.task) else { return false };
    let mut done = Later::default();
    behind[..block].iter().for_each(|(_, touches)| done.add(touches));
    !behind[block].1.iter().any(|touch| done.conflicts(touch))
}

/// The same for two runs whose logs say the same.
fn key(log: &[Record]) -> u64 {
    let mut hash = DefaultHasher::new();
    log.iter().for_each(|record| hash_record(record, &mut hash));
    hash.finish()
}

/// What a record says, but for inode numbers: those are given in the order of creation.
fn hash_record(record: &Record, hash: &mut DefaultHasher) {
    record.call.hash(hash);
    for effect in record.effects() {
        match effect {
            Effect::Dentry { name, before, after, .. } => (name, before.is_some(), after.is_some()).hash(hash),
            Effect::Size { before, after, .. } => (before, after).hash(hash),
            Effect::Block { sectors, .. } => sectors.iter().for_each(|s| (s.sector, &s.bytes, s.fresh).hash(hash)),
        }
    }
}

/// In how many ways two sequences of so many turns interleave with at most so many preemptions. Either is cut into
/// blocks that alternate; the switch behind a sequence's last block is none.
fn interleavings(turns: [usize; 2], preemptions: usize) -> u128 {
    let ways = |turns: usize, blocks: usize| choose(turns.saturating_sub(1) as u128, (blocks - 1) as u128);
    let with =
        |blocks: usize, first: usize| ways(turns[first], blocks.div_ceil(2)) * ways(turns[1 - first], blocks / 2);
    (2..=preemptions + 2).map(|blocks| with(blocks, 0) + with(blocks, 1)).sum()
}

fn choose(n: u128, k: u128) -> u128 {
    (0..k).fold(1, |ways, i| if i < n { ways * (n - i) / (i + 1) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleavings_are_counted() {
        assert_eq!(interleavings([1, 1], 2), 2);
        // aab, baa, aba.
        assert_eq!([0, 1, 9].map(|bound| interleavings([2, 1], bound)), [2, 3, 3]);
        // Of six, abab and baba take two preemptions.
        assert_eq!([0, 1, 2, 3].map(|bound| interleavings([2, 2], bound)), [2, 4, 6, 6]);
        assert_eq!(interleavings([200, 100], 2), 2 + 199 + 99 + 2 * 199 * 99);
    }
}
