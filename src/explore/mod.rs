//! Crash-state exploration: run a schedule once, then look at what a crash may leave behind.
//!
//! The explorer knows nothing of registries. A [`Subject`] runs a workload on a disk, says what there is to look at
//! after a crash (its probes), and judges. For every place at which the machine may stop and every crash state that
//! the model allows there (all of them where the budget permits, else small losses first and then a seeded sample,
//! see [`states`]) the explorer evaluates every probe, each on the state itself, untouched by the others.
//!
//! States are told apart by their visible tree. Verdicts are remembered by what the probe read ([`memo`]). A crash
//! during recovery is explored one level deep: recovery's own effects are cut like any other's. Findings are reduced to
//! a minimal set of lost effects ([`minimise`]).

pub mod memo;
pub mod minimise;
pub mod replay;
pub mod states;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use hashbrown::HashTable;
use rayon::prelude::*;

use crate::disk::SimFs;
use crate::disk::crash::{self, Loss};
use crate::disk::effect::{self, Cut, Record, What};
use crate::disk::model::PersistenceModel;
use crate::disk::space::{AtomId, Bits, Question, Space, View};
use crate::disk::tree::{Ino, Tree};
use crate::fs::FileKind;
use memo::Memo;

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
}

impl Run {
    /// Prepares and runs `subject` on a fresh disk.
    pub fn of<S: Subject>(subject: &S) -> Result<Self, String> {
        let disk = SimFs::new();
        subject.prepare(&disk)?;
        disk.settle();
        subject.run(&disk)?;
        let (base, log) = disk.snapshot();
        Ok(Self { base, log: log.into(), restarted_at: None })
    }

    /// The run in which the process crashes at `cut`, starts again, and the clients go on.
    pub fn restarted<S: Subject>(&self, subject: &S, cut: Cut) -> Self {
        let disk = SimFs::replayed(self.base.clone(), effect::executed(&self.log, cut));
        // What cannot be finished is seen by the probes.
        let _ = subject.restart(&disk, self.marks_before(cut));
        Self { base: self.base.clone(), log: disk.snapshot().1.into(), restarted_at: Some(cut) }
    }

    /// How many marks were passed before `cut`.
    pub fn marks_before(&self, cut: Cut) -> usize {
        marks(&self.log[..cut.records as usize])
    }
}

fn marks(log: &[Record]) -> usize {
    log.iter().filter(|r| matches!(r.what, What::Mark(_))).count()
}

/// A crash state that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<P> {
    /// The invariant.
    pub invariant: &'static str,
    /// In the probe's words.
    pub detail: String,
    /// The probe that saw it.
    pub probe: P,
    /// Where the machine stopped.
    pub cut: Cut,
    /// The effects that were executed and lost.
    pub lost: Vec<AtomId>,
    /// Where the process had crashed before, and was restarted.
    pub restarted_at: Option<Cut>,
    /// For a crash during the recovery from that state: where that was cut, and what it lost.
    pub in_recovery: Option<(Cut, Vec<AtomId>)>,
}

impl<P> Finding<P> {
    fn size(&self) -> (usize, usize, Cut) {
        (
            usize::from(self.restarted_at.is_some()) + usize::from(self.in_recovery.is_some()),
            self.lost.len() + self.in_recovery.as_ref().map_or(0, |r| r.1.len()),
            self.cut,
        )
    }
}

/// What an exploration saw.
#[derive(Debug, Clone)]
pub struct Outcome<P> {
    /// Places at which the machine may stop: before, inside and after every call.
    pub crash_points: usize,
    /// Crash states that were looked at, distinct by visible tree and by what was acknowledged.
    pub crash_states: u64,
    /// Crash states during recovery that were looked at.
    pub recovery_states: u64,
    /// Crash states after a process crash and a restart that were looked at.
    pub restart_states: u64,
    /// Whether these were all there are.
    pub exhaustive: bool,
    /// How often each invariant was looked at.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// How often each was broken.
    pub violations: BTreeMap<&'static str, u64>,
    /// The smallest finding of each broken invariant, reduced.
    pub findings: BTreeMap<&'static str, Finding<P>>,
    /// How often a probe really ran; all other verdicts were remembered.
    pub executions: u64,
}

impl<P> Default for Outcome<P> {
    fn default() -> Self {
        Self {
            crash_points: 0,
            crash_states: 0,
            recovery_states: 0,
            restart_states: 0,
            exhaustive: true,
            evaluated: BTreeMap::new(),
            violations: BTreeMap::new(),
            findings: BTreeMap::new(),
            executions: 0,
        }
    }
}

impl<P: Clone> Outcome<P> {
    fn merge(&mut self, other: Self) {
        self.crash_states += other.crash_states;
        self.recovery_states += other.recovery_states;
        self.restart_states += other.restart_states;
        self.exhaustive &= other.exhaustive;
        self.executions += other.executions;
        for (name, n) in other.evaluated {
            *self.evaluated.entry(name).or_default() += n;
        }
        for (name, n) in other.violations {
            *self.violations.entry(name).or_default() += n;
        }
        for finding in other.findings.into_values() {
            self.offer(finding);
        }
    }

    /// Keeps the smaller of two findings of one invariant.
    fn offer(&mut self, finding: Finding<P>) {
        let smaller = self.findings.get(finding.invariant).is_none_or(|old| finding.size() < old.size());
        if smaller {
            self.findings.insert(finding.invariant, finding);
        }
    }
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
        // Other places at which the process may crash were left out.
        part.exhaustive = false;
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
    let log: Arc<[Record]> =
        if setting.loss == Loss::LyingDisk { crash::without_syncs(&run.log).into() } else { run.log.clone() };
    let space = Arc::new(Space::new(run.base.clone(), log, setting.model));
    let mut cuts = states::telling_cuts(space.records(), setting.model, setting.loss);
    cuts.retain(|cut| run.restarted_at.is_none_or(|from| *cut > from));
    let mut groups: Vec<(usize, Vec<Cut>)> = Vec::new();
    for cut in &cuts {
        let marks = run.marks_before(*cut);
        match groups.last_mut() {
            Some((m, group)) if *m == marks => group.push(*cut),
            _ => groups.push((marks, vec![*cut])),
        }
    }
    let paths = space.possible_paths();
    let states_per_cut = (setting.budget.states / cuts.len().max(1)).max(MIN_STATES_PER_CUT);
    let parts: Vec<Outcome<S::Probe>> = groups
        .par_iter()
        .map(|(marks, group_cuts)| {
            let recovery_budget = setting.budget.recovery_states * group_cuts.len() / cuts.len();
            let mut group = Group::new(subject, &space, setting, subject.probes(*marks, &paths), recovery_budget);
            for cut in group_cuts {
                group.cut(*cut, states_per_cut);
            }
            group.finish()
        })
        .collect();
    let mut outcome = Outcome::default();
    parts.into_iter().for_each(|part| outcome.merge(part));
    for finding in outcome.findings.values_mut() {
        finding.restarted_at = run.restarted_at;
        minimise::minimise(subject, &space, setting, finding);
    }
    outcome
}

/// However small the budget: at least so many states at each cut.
const MIN_STATES_PER_CUT: usize = 16;
/// As many for each place at which the process crashes before the power does.
const MIN_STATES_PER_RESTART: usize = 500;
/// States that are looked at for one way in which recovery may run.
const STATES_PER_RECOVERY: usize = 256;

/// What one run of a probe, or of recovery, left to remember.
type Verdict = Arc<[Observation]>;

/// The cuts between two marks: what was acknowledged is the same for all of them.
struct Group<'a, S: Subject> {
    subject: &'a S,
    space: &'a Arc<Space>,
    setting: Setting<'a>,
    probes: Vec<S::Probe>,
    memos: Vec<Memo<u32>>,
    verdicts: Verdicts,
    recoveries: Memo<()>,
    recovery_budget: usize,
    seen: HashTable<u128>,
    contents: Contents,
    outcome: Outcome<S::Probe>,
    /// How often each verdict was reached; turned into counts at the end.
    reached: Vec<u64>,
}

/// Distinct verdicts, numbered.
#[derive(Default)]
struct Verdicts {
    numbers: BTreeMap<Verdict, u32>,
    all: Vec<Verdict>,
    broken: Vec<bool>,
}

impl Verdicts {
    fn number(&mut self, observations: Vec<Observation>) -> u32 {
        let verdict: Verdict = observations.into();
        if let Some(number) = self.numbers.get(&verdict) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.broken.push(verdict.iter().any(|o| o.violation.is_some()));
        self.all.push(verdict.clone());
        self.numbers.insert(verdict, number);
        number
    }
}

/// Content hashes of the state at hand: several probes ask for the same large file.
#[derive(Default)]
struct Contents(Vec<(Ino, u64)>);

impl Contents {
    fn answer(&mut self, view: &View<'_>, question: Question) -> u64 {
        let Question::Content(ino) = question else { return view.answer(question) };
        if let Some((_, hash)) = self.0.iter().find(|(i, _)| *i == ino) {
            return *hash;
        }
        let hash = view.answer(question);
        self.0.push((ino, hash));
        hash
    }
}

impl<'a, S: Subject> Group<'a, S> {
    fn new(
        subject: &'a S,
        space: &'a Arc<Space>,
        setting: Setting<'a>,
        probes: Vec<S::Probe>,
        recovery_budget: usize,
    ) -> Self {
        Self {
            subject,
            space,
            setting,
            memos: probes.iter().map(|_| Memo::default()).collect(),
            probes,
            verdicts: Verdicts::default(),
            recoveries: Memo::default(),
            recovery_budget,
            seen: HashTable::new(),
            contents: Contents::default(),
            outcome: Outcome::default(),
            reached: Vec::new(),
        }
    }

    fn cut(&mut self, cut: Cut, budget: usize) {
        let families = crash::families(self.space, self.setting.model, self.setting.loss, cut);
        let share = (budget / families.len().max(1)).max(MIN_STATES_PER_CUT);
        for (i, family) in families.iter().enumerate() {
            let stream = format!("states/{}/{:?}/{i}", cut.records, cut.inside);
            let seed = self.setting.seed;
            let space = self.space;
            let all = states::visit(space, family, share, seed, &stream, &mut |bits| self.state(cut, bits));
            self.outcome.exhaustive &= all;
        }
    }

    /// Looks at one state, if it was not seen before.
    fn state(&mut self, cut: Cut, bits: &Bits) {
        let view = self.space.view(bits);
        self.contents.0.clear();
        let hash = view.tree_hash();
        let entry = self.seen.entry(hash as u64, |h| *h == hash, |h| *h as u64);
        if let hashbrown::hash_table::Entry::Vacant(vacant) = entry {
            vacant.insert(hash);
        } else {
            return;
        }
        self.outcome.crash_states += 1;
        for index in 0..self.probes.len() {
            let verdict = self.verdict(index, &view);
            self.reached[verdict as usize] += 1;
            if self.verdicts.broken[verdict as usize] {
                self.broken(index, verdict, cut, bits);
            }
        }
        self.recovery(cut, bits, &view);
    }

    fn verdict(&mut self, index: usize, view: &View<'_>) -> u32 {
        let contents = &mut self.contents;
        if let Some(verdict) = self.memos[index].get(|q| contents.answer(view, q)) {
            return *verdict;
        }
        let probe = &self.probes[index];
        let (observations, asked) =
            memo::run_recording(self.space, view, false, |disk| self.subject.evaluate(probe, disk));
        self.outcome.executions += 1;
        let verdict = self.verdicts.number(observations);
        self.memos[index].insert(view, &asked, verdict);
        self.reached.resize(self.verdicts.all.len(), 0);
        verdict
    }

    fn broken(&mut self, index: usize, verdict: u32, cut: Cut, bits: &Bits) {
        let lost = minimise::lost(self.space, cut, bits);
        for observation in self.verdicts.all[verdict as usize].iter() {
            let Some(detail) = &observation.violation else { continue };
            let known = self.outcome.findings.get(observation.invariant);
            if known.is_none_or(|k| (0, lost.len(), cut) < k.size()) {
                self.outcome.findings.insert(
                    observation.invariant,
                    Finding {
                        invariant: observation.invariant,
                        detail: detail.clone(),
                        probe: self.probes[index].clone(),
                        cut,
                        lost: lost.clone(),
                        restarted_at: None,
                        in_recovery: None,
                    },
                );
            }
        }
    }

    /// Crashes during the recovery from a state, once for each way in which recovery runs.
    fn recovery(&mut self, cut: Cut, bits: &Bits, view: &View<'_>) {
        let contents = &mut self.contents;
        if self.recoveries.get(|q| contents.answer(view, q)).is_some() {
            return;
        }
        let base = view.tree();
        let (log, asked) = memo::run_recording(self.space, view, true, |disk| {
            // What recovery cannot do, the probes see: they recover too.
            let _ = self.subject.recover(disk);
            disk.snapshot().1
        });
        self.recoveries.insert(view, &asked, ());
        if log.iter().all(|r| r.effects().is_empty()) {
            return;
        }
        if self.recovery_budget == 0 {
            self.outcome.exhaustive = false;
            return;
        }
        let budget = STATES_PER_RECOVERY.min(self.recovery_budget);
        self.recovery_budget -= budget;
        let log = if self.setting.loss == Loss::LyingDisk { crash::without_syncs(&log) } else { log };
        let space = Arc::new(Space::new(base, log.into(), self.setting.model));
        let cuts = states::telling_cuts(space.records(), self.setting.model, self.setting.loss);
        let setting = self.setting;
        let mut nested = Group::new(self.subject, &space, setting, self.probes.clone(), 0);
        for inner in &cuts {
            nested.cut_without_recovery(*inner, (budget / cuts.len()).max(1));
        }
        let mut part = nested.finish();
        part.recovery_states = part.crash_states;
        part.crash_states = 0;
        // Other states that recover in the same way were not cut in their recovery.
        part.exhaustive = false;
        let outer = minimise::lost(self.space, cut, bits);
        for finding in part.findings.values_mut() {
            finding.in_recovery = Some((finding.cut, std::mem::take(&mut finding.lost)));
            finding.cut = cut;
            finding.lost = outer.clone();
        }
        self.outcome.merge(part);
    }

    /// As [`cut`](Group::cut), without crashing in the recovery from a crash in recovery.
    fn cut_without_recovery(&mut self, cut: Cut, budget: usize) {
        // A memo that answers every question at once: no recovery is run.
        self.recoveries = Memo::answering(());
        self.cut(cut, budget);
    }

    fn finish(mut self) -> Outcome<S::Probe> {
        for (verdict, times) in self.verdicts.all.iter().zip(&self.reached) {
            for observation in verdict.iter() {
                *self.outcome.evaluated.entry(observation.invariant).or_default() += times;
                if observation.violation.is_some() {
                    *self.outcome.violations.entry(observation.invariant).or_default() += times;
                }
            }
        }
        self.outcome
    }
}
