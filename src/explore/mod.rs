//! Crash-state exploration: run a schedule once, then look at what a crash may leave behind.
//!
//! The explorer knows nothing of registries. A [`Subject`] runs a workload on a disk, says what there is to look at
//! after a crash (its probes), and judges. For every place at which the machine may stop and every crash state that
//! the model allows there (all of them where the budget permits, else small losses first and then a seeded sample,
//! see [`states`]) the explorer evaluates every probe, each on the state itself, untouched by the others.
//!
//! States are told apart by their visible tree, whose hash is put together from those of its parts. They are generated
//! cut by cut and judged probe by probe, on all cores; the number of threads changes nothing. Verdicts are remembered by
//! what the probe read ([`memo`]). A crash during recovery is explored one level deep: recovery's own effects are cut
//! like any other's. Findings are reduced to a minimal set of lost effects ([`minimise`]).
//!
//! Two operations at once are many runs: [`interleave`] says which.

mod failing;
mod group;
pub mod interleave;
mod judge;
pub mod lazy;
pub mod memo;
pub mod minimise;
mod outcome;
pub mod replay;
pub mod states;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use rayon::prelude::*;

use crate::disk::SimFs;
use crate::disk::crash::{self, Loss};
use crate::disk::effect::{self, Cut, Record, What};
use crate::disk::model::PersistenceModel;
use crate::disk::tree::Tree;
use crate::fs::FileKind;
pub use failing::{Failed, FailedSync};
use group::Group;
use judge::Judge;
pub use outcome::{Finding, Outcome};

/// What a probe saw of one invariant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    /// The invariant that was looked at.
    pub invariant: &'static str,
    /// How it is broken; `None` if it holds.
    pub violation: Option<String>,
}

/// Something whose crashes can be explored.
pub trait Subject: Sync {
    /// One thing to look at after a crash.
    type Probe: Clone + Ord + Debug + Send + Sync;

    /// What the workload needs beforehand. It is made durable before the workload runs.
    fn prepare(&self, disk: &SimFs) -> Result<(), String>;

    /// Runs the workload on a disk that works, and marks on it ([`SimFs::mark`]) what was acknowledged when. Must do
    /// the same calls every time.
    fn run(&self, disk: &SimFs) -> Result<(), String>;

    /// Everything that a start after a crash writes, litter collection included.
    fn recover(&self, disk: &SimFs) -> Result<(), String>;

    /// A process that crashed behind the first `marks` marks starts again on the disk as it stands (the page cache
    /// survived), and the clients finish the workload: what was under way is tried again. Marks go on where they were.
    /// An error ends the run there; what it says is lost, since the probes see what came of it.
    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String>;

    /// Runs the workload on a disk of which a sync may fail, and marks as [`run`](Self::run) does. Clients that are refused
    /// for it may try again, on the same process; an error ends the run. If nothing else is said, they do not.
    fn insist(&self, disk: &SimFs) -> Result<(), String> {
        self.run(disk)
    }

    /// What to look at after a crash behind the first `marks` marks. `paths` are all that any crash state may have.
    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Self::Probe>;

    /// Looks. The disk is a crash state of its own, and may be written to. Must be deterministic.
    fn evaluate(&self, probe: &Self::Probe, disk: &SimFs) -> Vec<Observation>;
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Crash states that are generated, at most, for the crash of the workload (before equal ones are dropped).
    pub states: usize,
    /// Crash states that are generated, at most, for crashes during recovery.
    pub recovery_states: usize,
    /// Crash states that are generated, at most, for power cuts after a process crash and a restart.
    pub restart_states: usize,
}

impl Budget {
    /// So many states in all: half for the workload, a quarter for restarts, a quarter for recoveries.
    pub fn of(states: u64) -> Self {
        let states = usize::try_from(states).unwrap_or(usize::MAX);
        Self { states: states.div_ceil(2), restart_states: states / 4, recovery_states: states / 4 }
    }
}

/// One cell of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The persistence model.
    pub model: &'a dyn PersistenceModel,
    /// How the machine stops.
    pub loss: Loss,
    /// Seed of the samples.
    pub seed: u64,
    /// How much is looked at.
    pub budget: Budget,
}

/// A workload's run: what was durable before, and the log.
#[derive(Debug, Clone)]
pub struct Run {
    /// The durable tree at the begin.
    pub base: Tree,
    /// What was done.
    pub log: Arc<[Record]>,
    /// The process had crashed there and was restarted: only what comes later is cut.
    pub restarted_at: Option<Cut>,
    /// A sync failed: only what comes later is cut.
    pub failed: Option<Failed>,
}

impl Run {
    /// Prepares and runs `subject` on a fresh disk.
    pub fn of<S: Subject>(subject: &S) -> Result<Self, String> {
        let disk = SimFs::new();
        subject.prepare(&disk)?;
        disk.settle();
        subject.run(&disk)?;
        let (base, log) = disk.snapshot();
        Ok(Self { base, log: log.into(), restarted_at: None, failed: None })
    }

    /// The run in which the process crashes at `cut`, starts again, and the clients go on.
    pub fn restarted<S: Subject>(&self, subject: &S, cut: Cut) -> Self {
        let disk = SimFs::replayed(self.base.clone(), effect::executed(&self.log, cut));
        // What cannot be finished is seen by the probes.
        let _ = subject.restart(&disk, self.marks_before(cut));
        Self { base: self.base.clone(), log: disk.snapshot().1.into(), restarted_at: Some(cut), failed: None }
    }

    /// Whether a cut is one of this run's, and not of one that went the same way up to there.
    pub fn is_cut(&self, cut: Cut) -> bool {
        self.restarted_at.max(self.failed.map(|failed| failed.at)).is_none_or(|from| cut > from)
    }

    /// How many marks were passed before `cut`.
    pub fn marks_before(&self, cut: Cut) -> usize {
        marks(&self.log[..cut.records as usize])
    }
}

fn marks(log: &[Record]) -> usize {
    log.iter().filter(|r| matches!(r.what, What::Mark(_))).count()
}

/// Explores the crashes of `run`: of the workload, of the recovery from them, and power cuts after a process crash and
/// a restart.
pub fn explore<S: Subject>(subject: &S, run: &Run, setting: Setting<'_>) -> Outcome<S::Probe> {
    let mut outcome = explore_run(subject, run, setting);
    outcome.crash_points = effect::cuts(&run.log).len();
    let restarts = restart_points(run, setting);
    let budget =
        Budget { states: setting.budget.restart_states / restarts.len().max(1), recovery_states: 0, restart_states: 0 };
    let parts: Vec<Outcome<S::Probe>> = restarts
        .par_iter()
        .map(|cut| explore_run(subject, &run.restarted(subject, *cut), Setting { budget, ..setting }))
        .collect();
    for mut part in parts {
        part.restart_states = std::mem::take(&mut part.crash_states);
        // Coverage is told of the workload's own crashes alone.
        part.exhaustive = true;
        outcome.merge(part);
    }
    outcome
}

/// Where the process crashes before it is restarted: evenly spread over the run.
fn restart_points(run: &Run, setting: Setting<'_>) -> Vec<Cut> {
    if setting.loss == Loss::ProcessCrash || run.restarted_at.is_some() {
        return Vec::new();
    }
    let all = effect::cuts(&run.log);
    let points = (setting.budget.restart_states / MIN_STATES_PER_RESTART).min(all.len());
    (0..points).map(|i| all[i * all.len() / points]).collect()
}

fn explore_run<S: Subject>(subject: &S, run: &Run, setting: Setting<'_>) -> Outcome<S::Probe> {
    let space = Arc::new(crash::laid_out(run.base.clone(), &run.log, setting.model, setting.loss));
    let mut cuts = states::telling_cuts(space.records(), setting.model, setting.loss);
    cuts.retain(|cut| run.is_cut(*cut));
    let budgets = states::budgets(&cuts, space.records(), setting.budget.states);
    let mut groups: Vec<(usize, Vec<(Cut, usize)>)> = Vec::new();
    for cut in cuts.iter().copied().zip(budgets) {
        let marks = run.marks_before(cut.0);
        match groups.last_mut() {
            Some((m, group)) if *m == marks => group.push(cut),
            _ => groups.push((marks, vec![cut])),
        }
    }
    let paths = space.possible_paths();
    let mut outcome = Outcome::default();
    let mut idle: BTreeMap<S::Probe, Judge<S::Probe>> = BTreeMap::new();
    for (marks, group_cuts) in groups {
        let recovery_budget = setting.budget.recovery_states * group_cuts.len() / cuts.len();
        let judge = |probe| idle.remove(&probe).unwrap_or_else(|| Judge::new(probe));
        let judges = subject.probes(marks, &paths).into_iter().map(judge).collect();
        let mut group = Group::new(subject, &space, setting, judges);
        group.explore(&group_cuts, (setting.budget.recovery_states > 0).then_some(recovery_budget));
        let (part, judges) = group.finish();
        outcome.merge(part);
        idle.extend(judges.into_iter().map(|judge| (judge.probe().clone(), judge)));
    }
    for finding in outcome.findings.values_mut() {
        finding.restarted_at = run.restarted_at;
        finding.failed_sync = run.failed.map(|failed| failed.sync);
        minimise::minimise(subject, &space, setting, finding);
    }
    outcome
}

/// However small the budget: at least so many states for each place at which the process crashes before the power does.
const MIN_STATES_PER_RESTART: usize = 500;
