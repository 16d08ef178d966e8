//! All crash states, by what readers ask: proof instead of sampling.
//!
//! Nearly all crash states look alike to whoever reads the disk afterwards. So none is chosen up front. A probe is led
//! through **all** states of a space at once (`walk`): where what it asks is answered differently, the states part;
//! where they do not, they stay together, however many they are. A branch that came to its end stands for all states
//! that told the probe the same, and the probe ran on one of them. Every probe begins with all states: what it does not
//! ask does not multiply.
//!
//! What is covered (`stage`): all cuts of the workload; for each place at which the process may crash, all cuts of
//! what it does after its restart; for each of its syncs, all cuts of what it does once that has failed; all cuts of
//! each way in which recovery may run after a crash of the workload, and, where these are few, after a crash that comes
//! after a restart or a failed sync ([`Proof::recovers_always`]). Of two operations at once there are many runs
//! ([`prove_all`]): of these, all cuts of each, and of its recoveries, where these are not too many ([`Proved::recovers`]).

mod alike;
mod judge;
mod many;
mod recovery;
mod shared;
mod stage;
mod trie;
mod walk;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::replay::{self, Crash};
use super::{FailedSync, Finding, Run, Setting, Subject, minimise};
use crate::disk::SimFs;
use crate::disk::crash::{self, Loss};
use crate::disk::effect::{self, Cut};
use crate::disk::model::{Family, Posix};
use crate::disk::space::{Count, Library, Space, View};
use judge::{Judge, Verdicts};
pub use many::{Member, Proved, prove_all};
use shared::Shared;
use stage::{Kind, Plan, Stage};
use trie::{Met, Trie};
use walk::{Columns, Ground, Part, Under, Walk};

/// What an exact exploration saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof<P> {
    /// Places at which the machine may stop.
    pub crash_points: usize,
    /// Crash states of the workload: sets of surviving effects, by what was acknowledged. All of them were covered.
    pub crash_states: Count,
    /// The same after a process crash and a restart, summed over all places at which the process may crash.
    pub restart_states: Count,
    /// The same after a sync that failed, summed over all syncs and all that a failure may do.
    pub failed_sync_states: Count,
    /// The same during recovery: what a first crash left, and what a second one did of what recovery did.
    pub recovery_states: Count,
    /// Whether recovery was cut after each of these, and not after a crash of the workload alone.
    pub recovers_always: bool,
    /// In how many families of crash states each invariant was looked at. A family is what one probe cannot tell apart.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// In how many of these each was broken.
    pub violations: BTreeMap<&'static str, u64>,
    /// The smallest finding of each broken invariant, reduced.
    pub findings: BTreeMap<&'static str, Finding<P>>,
    /// How often a probe or a recovery ran.
    pub executions: u64,
}

impl<P> Default for Proof<P> {
    /// Of nothing.
    fn default() -> Self {
        Self {
            crash_points: 0,
            crash_states: Count::default(),
            restart_states: Count::default(),
            failed_sync_states: Count::default(),
            recovery_states: Count::default(),
            recovers_always: false,
            evaluated: BTreeMap::new(),
            violations: BTreeMap::new(),
            findings: BTreeMap::new(),
            executions: 0,
        }
    }
}

impl<P> Proof<P> {
    /// The numbers of crash states.
    pub fn counts(&self) -> [&Count; 4] {
        [&self.crash_states, &self.restart_states, &self.failed_sync_states, &self.recovery_states]
    }
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// It would take too long: too much of what is looked at hangs together.
    #[error("too many crash states look different")]
    TooMany,
    /// A finding cannot be shown again. That is a bug: of the subject, if it is not deterministic.
    #[error("a finding of {invariant} cannot be shown again: {why}")]
    NotAgain {
        /// The invariant.
        invariant: &'static str,
        /// Why not.
        why: String,
    },
}

/// How far a proof goes, and after how much it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs of one probe with one memory: what it looks at does not hang together.
    pub executions: u64,
    /// Runs of recovery after the crashes of one run: each of its ways is an execution of its own.
    pub recoveries: u64,
    /// Ways in which recovery may run after restarts and failed syncs, if after each in as many as after all crashes of the
    /// workload: where they are not fewer than this, only recoveries from crashes of the workload are cut.
    pub later_recoveries: usize,
    /// Whether each sync of the workload fails as well, before the crash.
    pub failed_syncs: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { executions: 50_000, recoveries: 5_000, later_recoveries: 500, failed_syncs: true }
    }
}

/// Covers all crashes of `run` under one model. The setting's budget does not matter. For more than one, see [`Prover`].
pub fn prove<S: Subject>(
    subject: &S,
    run: &Run,
    setting: Setting<'_>,
    limits: Limits,
) -> Result<Proof<S::Probe>, NoProof> {
    Prover::new(subject, run).prove(setting, limits)
}

/// Proofs of one run, under one model after another or side by side: what a reader or a restart did in one is not done
/// again in the next. What is proved does not depend on the others.
pub struct Prover<'a, S: Subject> {
    subject: &'a S,
    run: &'a Run,
    /// One for all models, since it decides what is asked.
    library: OnceLock<Arc<Library>>,
    shared: Shared<S::Probe>,
}

impl<S: Subject> std::fmt::Debug for Prover<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

impl<'a, S: Subject> Prover<'a, S> {
    /// Of this run.
    pub fn new(subject: &'a S, run: &'a Run) -> Self {
        Self { subject, run, library: OnceLock::new(), shared: Shared::default() }
    }

    /// Covers all its crashes. The setting's budget does not matter.
    ///
    /// Errors: [`NoProof`].
    pub fn prove(&self, setting: Setting<'_>, limits: Limits) -> Result<Proof<S::Probe>, NoProof> {
        let Self { subject, run, shared, .. } = self;
        let laid_out = || crash::laid_out(run.base.clone(), &run.log, &Posix, Loss::PowerCut);
        let library = self.library.get_or_init(|| Arc::new(laid_out().library()));
        let own = Stage::of(run, setting);
        let ways = |run: &Stage| {
            recovery::stages(
                *subject,
                run,
                setting,
                library,
                limits.recoveries,
                &mut Trie::default(),
                Some(&shared.recovery),
            )
        };
        let syncs = if limits.failed_syncs { failed_syncs(run, setting) } else { Vec::new() };
        let restarted = |cut: &Cut| Stage::of(&shared.restarted(*subject, run, *cut), setting);
        let failing = |sync: &FailedSync| Some(Stage::of(&shared.failing(*subject, run, *sync)?, setting));
        let (recoveries, (restarts, failed)): (_, (Vec<Stage>, Vec<Stage>)) = rayon::join(
            || ways(&own),
            || {
                let restarts = restart_points(run, setting).par_iter().map(restarted).collect();
                (restarts, syncs.par_iter().filter_map(failing).collect())
            },
        );
        let (recoveries, mut recovery_executions) = recoveries.ok_or(NoProof::TooMany)?;
        let others = restarts.len() + failed.len();
        let mut stages: Vec<Stage> = [own].into_iter().chain(recoveries).chain(restarts).chain(failed).collect();
        let (first, others) = stages.split_at(stages.len() - others);
        let few = (first.len() - 1) * others.len() < limits.later_recoveries;
        let later: Option<Vec<_>> = if few { others.par_iter().map(ways).collect() } else { None };
        let recovers_always = later.is_some();
        for (later, executions) in later.into_iter().flatten() {
            recovery_executions += executions;
            stages.extend(later);
        }
        let mut plan = Plan::new();
        stages.iter_mut().for_each(|stage| stage.look(*subject, &mut plan));
        let probes = plan.into_probes();
        let judge = |probe| Judge::new(*subject, probe, library).knowing(shared.runs_of(probe));
        let mut judges: Vec<Judge<'_, S>> = probes.iter().map(judge).collect();
        for (at, stage) in stages.iter().enumerate() {
            stage.probes.iter().for_each(|(probe, of)| judges[*probe].assign(at, of));
        }
        let judged: Option<Vec<Verdicts<S::Probe>>> =
            judges.into_par_iter().map(|judge| judge.judge(&stages, limits.executions)).collect();
        let mut all = Verdicts::default();
        judged.ok_or(NoProof::TooMany)?.into_iter().for_each(|verdicts| all.merge(verdicts));
        let proof = told(*subject, run, setting, &stages, recovery_executions, all)?;
        Ok(Proof { recovers_always, ..proof })
    }
}

/// What the verdicts on all stages of a run come to.
fn told<S: Subject>(
    subject: &S,
    run: &Run,
    setting: Setting<'_>,
    stages: &[Stage],
    recoveries: u64,
    all: Verdicts<S::Probe>,
) -> Result<Proof<S::Probe>, NoProof> {
    let mut proof = Proof {
        crash_points: effect::cuts(&run.log).len(),
        evaluated: all.seen.evaluated,
        violations: all.seen.violations,
        executions: recoveries + all.executions,
        ..Proof::default()
    };
    let sizes: Vec<Count> = stages.par_iter().map(Stage::count).collect();
    for (stage, size) in stages.iter().zip(sizes) {
        match stage.kind {
            Kind::Own => proof.crash_states += size,
            Kind::Restarted(_) => proof.restart_states += size,
            Kind::Failed(_) => proof.failed_sync_states += size,
            Kind::Recovery { .. } => proof.recovery_states += size,
        }
    }
    for (invariant, found) in all.found {
        let finding = shown(subject, run, &stages[found.stage], setting, found.finding)?;
        proof.findings.insert(invariant, finding);
    }
    Ok(proof)
}

/// Where the process may crash before it is restarted: everywhere.
fn restart_points(run: &Run, setting: Setting<'_>) -> Vec<Cut> {
    if setting.loss == Loss::ProcessCrash || run.restarted_at.is_some() {
        return Vec::new();
    }
    effect::cuts(&run.log)
}

/// The syncs that may fail: all of them, unless something has gone wrong before.
fn failed_syncs(run: &Run, setting: Setting<'_>) -> Vec<FailedSync> {
    if run.restarted_at.is_some() || run.failed.is_some() {
        return Vec::new();
    }
    FailedSync::all(&run.log, setting.model)
}

/// The finding, reduced, and seen on a disk of its own.
fn shown<S: Subject>(
    subject: &S,
    run: &Run,
    stage: &Stage,
    setting: Setting<'_>,
    mut finding: Finding<S::Probe>,
) -> Result<Finding<S::Probe>, NoProof> {
    minimise::minimise(subject, &stage.space, setting, &mut finding);
    let invariant = finding.invariant;
    let not_again = |why| NoProof::NotAgain { invariant, why };
    let crash = Crash::from(&finding);
    let again =
        replay::reproduce(subject, run, setting.model, setting.loss, &crash).map_err(|e| not_again(e.to_string()))?;
    let disk = SimFs::with_tree(again.last().surviving());
    let seen = subject.evaluate(&finding.probe, &disk).into_iter();
    let detail = seen.filter(|o| o.invariant == invariant).find_map(|o| o.violation);
    finding.detail = detail.ok_or_else(|| not_again("it is not broken there".to_owned()))?;
    Ok(finding)
}

/// All that a deterministic reader may come to on the crash states of some families, each with the number of states that
/// lead there.
pub fn outcomes<T: Clone + Ord>(
    space: &Arc<Space>,
    families: &[Family],
    mut read: impl FnMut(&SimFs) -> T,
) -> BTreeMap<T, Count> {
    let library = Arc::new(space.library());
    let regions = [Under::none(space, families.len())];
    let all: Vec<u32> = (0..families.len() as u32).collect();
    let columns = Columns::of(families, space.atoms().len());
    let ground = Ground { space, intervals: families, columns: &columns, of: &all, regions: &regions };
    let run = |view: &View<'_>| {
        let disk = SimFs::transcribed(view.tree(), space.clone(), library.clone(), false);
        (read(&disk), disk.asks())
    };
    let mut found: BTreeMap<T, Count> = BTreeMap::new();
    let end = |outcome: &T, _: &Met, parts: &[Part]| {
        let sum = found.entry(outcome.clone()).or_default();
        parts.iter().for_each(|part| *sum += space.count(&part.region, families));
    };
    Walk::new(&ground, &mut Trie::default(), run, end).all(u64::MAX);
    found
}
