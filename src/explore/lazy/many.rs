//! Many runs of one thing, each from where it differs from those before it.
//!
//! What a probe sees of a disk is the same in all of them, so a probe has one memory for all: what it was told in an
//! earlier run it is not told again, and of a run that looks to it as an earlier one did it walks nothing. Each probe
//! visits the runs one after another, so that what is said does not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::judge::{Judge, Memory, Verdicts};
use super::recovery::{self, Ran};
use super::stage::{Kind, Plan, Stage};
use super::trie::Trie;
use super::{Limits, NoProof, Proof, told};
use crate::disk::effect::Cut;
use crate::disk::space::Library;
use crate::explore::{Run, Setting, Subject};

/// Runs whose crash states are laid out at a time.
const RUNS_AT_A_TIME: usize = 16;

/// One run of many: what happened up to `known` happened in one that came before it.
#[derive(Debug)]
pub struct Member<'a, S> {
    /// What was run. Those of the others see and recover a disk as it does: they differ in how they ran.
    pub subject: &'a S,
    /// How it went.
    pub run: &'a Run,
    /// Up to where it is known.
    pub known: Cut,
}

impl<S: Subject> Member<'_, S> {
    /// The run from where it is not known.
    pub(in crate::explore) fn news(&self) -> Run {
        // The one way to say that only what comes later is cut; nothing was restarted.
        Run { restarted_at: (self.known.records > 0).then_some(self.known), ..self.run.clone() }
    }
}

/// What was proved of all runs together.
#[derive(Debug, Clone)]
pub struct Proved<P> {
    /// As of one run: the findings are the smallest of all.
    pub proof: Proof<P>,
    /// Which run a finding is from.
    pub from: BTreeMap<&'static str, usize>,
    /// Whether recovery was cut as well, in each run. It is not where it has too many ways in one.
    pub recovers: bool,
    /// How many runs there were.
    pub runs: usize,
}

impl<P> Proved<P> {
    /// Adds what was seen of the next run.
    fn add(&mut self, proof: Proof<P>) {
        let add = |to: &mut BTreeMap<&'static str, u64>, from: BTreeMap<&'static str, u64>| {
            from.into_iter().for_each(|(name, n)| *to.entry(name).or_default() += n);
        };
        let all = &mut self.proof;
        all.crash_points += proof.crash_points;
        all.crash_states += proof.crash_states;
        all.recovery_states += proof.recovery_states;
        all.executions += proof.executions;
        add(&mut all.evaluated, proof.evaluated);
        add(&mut all.violations, proof.violations);
        for (name, finding) in proof.findings {
            if all.findings.get(name).is_none_or(|known| finding.size() < known.size()) {
                all.findings.insert(name, finding);
                self.from.insert(name, self.runs);
            }
        }
        self.runs += 1;
    }
}

/// Covers all crashes of many runs, each from where it differs from those before it, and of the recoveries from them.
pub fn prove_all<S: Subject>(
    members: &[Member<'_, S>],
    setting: Setting<'_>,
    limits: Limits,
) -> Result<Proved<S::Probe>, NoProof> {
    let mut all = Proved { proof: Proof::default(), from: BTreeMap::new(), recovers: true, runs: 0 };
    let Some((first, others)) = members.split_first() else { return Ok(all) };
    // One for all, since it decides what is asked: what a run has at its end, nearly all others have as well.
    let library = Arc::new(Stage::of(first.run, setting).space.library());
    let (mut memories, mut recoveries) = (BTreeMap::new(), Some(Trie::default()));
    // The first by itself: it may be known then what is too many.
    for wave in [std::slice::from_ref(first)].into_iter().chain(others.chunks(RUNS_AT_A_TIME)) {
        let laid_out = lay_out(wave, setting, &library, limits, &mut recoveries);
        all.recovers = recoveries.is_some();
        let verdicts = judge(wave, &laid_out, &library, limits, &mut memories).ok_or(NoProof::TooMany)?;
        let of_run = |((member, run), verdicts): ((&Member<'_, S>, &LaidOut<S::Probe>), _)| {
            told(member.subject, member.run, setting, &run.stages, run.recoveries, verdicts)
        };
        let proofs: Vec<Result<Proof<S::Probe>, NoProof>> =
            wave.par_iter().zip(&laid_out).zip(verdicts).map(of_run).collect();
        for proof in proofs {
            all.add(proof?);
        }
    }
    Ok(all)
}

/// All recoveries from the crashes of a run, and how often recovery ran to learn of them.
type Recoveries = (Vec<Stage>, u64);

/// A run's crashes and those of its recoveries.
struct LaidOut<P> {
    stages: Vec<Stage>,
    /// How often recovery ran.
    recoveries: u64,
    /// The probes, by their numbers.
    probes: Vec<P>,
}

/// Lays out all crashes of some runs. Once recovery has too many ways in one, it is cut in none.
fn lay_out<S: Subject>(
    wave: &[Member<'_, S>],
    setting: Setting<'_>,
    library: &Arc<Library>,
    limits: Limits,
    known: &mut Option<Trie<Ran>>,
) -> Vec<LaidOut<S::Probe>> {
    let own = |member: &Member<'_, S>| Stage { kind: Kind::Own, ..Stage::of(&member.news(), setting) };
    let own: Vec<Stage> = wave.par_iter().map(own).collect();
    let mut recover = |(member, own): (&Member<'_, S>, &Stage)| {
        recovery::stages(member.subject, own, setting, library, limits.recoveries, known.as_mut()?, None)
    };
    // One after another: each goes by what is known from those before.
    let recoveries: Option<Vec<Recoveries>> = wave.iter().zip(&own).map(&mut recover).collect();
    if recoveries.is_none() {
        *known = None;
    }
    let recoveries = recoveries.unwrap_or_else(|| wave.iter().map(|_| Recoveries::default()).collect());
    let looked = |((member, own), (later, recoveries)): ((&Member<'_, S>, Stage), Recoveries)| {
        let mut stages: Vec<Stage> = [own].into_iter().chain(later).collect();
        let mut plan = Plan::new();
        stages.iter_mut().for_each(|stage| stage.look(member.subject, &mut plan));
        LaidOut { stages, recoveries, probes: plan.into_probes() }
    };
    wave.par_iter().zip(own).zip(recoveries).map(looked).collect()
}

/// Of each run what all probes see, with what they remember of those before.
fn judge<S: Subject>(
    wave: &[Member<'_, S>],
    laid_out: &[LaidOut<S::Probe>],
    library: &Arc<Library>,
    limits: Limits,
    memories: &mut BTreeMap<S::Probe, Memory>,
) -> Option<Vec<Verdicts<S::Probe>>> {
    let mut jobs = BTreeMap::new();
    for (run, LaidOut { stages, probes, .. }) in laid_out.iter().enumerate() {
        let mut looks = vec![Vec::new(); probes.len()];
        for (at, stage) in stages.iter().enumerate() {
            stage.probes.iter().for_each(|(probe, of)| looks[*probe].push((at, of.clone())));
        }
        for (probe, at) in probes.iter().zip(looks) {
            let memory = || (memories.remove(probe).unwrap_or_default(), Vec::new());
            jobs.entry(probe).or_insert_with(memory).1.push((run, at));
        }
    }
    let jobs: Vec<_> = jobs.into_iter().collect();
    let look = |(probe, (mut memory, runs)): (&S::Probe, (Memory, Vec<_>))| {
        let look = |(run, at): (usize, Vec<_>)| {
            let judge = Judge::new(wave[run].subject, probe, library);
            Some((run, judge.look(&laid_out[run].stages, &at, &mut memory, limits.executions)?))
        };
        let seen: Option<Vec<_>> = runs.into_iter().map(look).collect();
        Some((probe.clone(), seen?, memory))
    };
    let judged: Option<Vec<_>> = jobs.into_par_iter().map(look).collect();
    let mut verdicts: Vec<Verdicts<S::Probe>> = wave.iter().map(|_| Verdicts::default()).collect();
    for (probe, seen, memory) in judged? {
        memories.insert(probe, memory);
        seen.into_iter().for_each(|(run, seen)| verdicts[run].merge(seen));
    }
    Some(verdicts)
}
