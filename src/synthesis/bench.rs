//! What is asked again and again: does this alteration, in that workload, break anything under a model?

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::altered::{Alteration, Altered};
use super::roles::Role;
use crate::disk::crash::Loss;
use crate::disk::effect::cuts;
use crate::disk::model::PersistenceModel;
use crate::explore::lazy::{Limits, NoProof, prove};
use crate::explore::{Budget, Finding, Run, Setting, explore};
use crate::fs::trace::Call;
use crate::strategy::Protocol;
use crate::workload::probe::Probe;
use crate::workload::subject::RegistrySubject;

/// Crash states that are looked at before anything is proved: what is broken is nearly always seen there.
const FIRST_LOOK: Budget = Budget { states: 600, recovery_states: 200, restart_states: 1_000 };

/// Which syncs are needed is asked of a disk on which none fails.
fn limits() -> Limits {
    Limits { failed_syncs: false, ..Limits::default() }
}

/// A strategy under some workloads.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a, P> {
    /// The strategy, once a workload.
    pub subjects: &'a [RegistrySubject<P>],
    /// Seed of what is sampled.
    pub seed: u64,
}

/// An alteration that broke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The workload, by its place in the bench.
    pub workload: usize,
    /// What was altered.
    pub alteration: Alteration,
    /// The smallest finding that is known of it.
    pub finding: Finding<Probe>,
}

/// What became of an alteration in one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These are broken, of what was asked about.
    Broken(Vec<Finding<Probe>>),
    /// Nothing is, in no crash state.
    Proved,
    /// There is no proof, and nothing was found.
    Unknown,
    /// The workload cannot be run so.
    Stuck,
}

/// What a strategy does as it is, under one model.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// By workload, what it breaks; nothing where that is not known in full.
    pub broken: Vec<Option<BTreeSet<&'static str>>>,
    /// By workload, what calls are for, after a crash too.
    pub roles: Vec<BTreeMap<Role, Call>>,
}

impl<'a, P: Protocol> Bench<'a, P> {
    /// The strategy, altered, in one workload.
    pub fn altered(&self, workload: usize, alteration: Alteration) -> Altered<'a, P> {
        Altered::new(&self.subjects[workload], alteration)
    }

    fn setting<'m>(&self, model: &'m dyn PersistenceModel) -> Setting<'m> {
        Setting { model, loss: Loss::PowerCut, seed: self.seed, budget: FIRST_LOOK }
    }

    /// Looks for what an alteration breaks, of what `asked` says: at some crash states, or with `prove_it` at all.
    ///
    /// Errors: a finding cannot be shown again.
    pub fn ask(
        &self,
        workload: usize,
        alteration: Alteration,
        model: &dyn PersistenceModel,
        asked: &(dyn Fn(&str) -> bool + Sync),
        prove_it: bool,
    ) -> Result<Answer, NoProof> {
        let altered = self.altered(workload, alteration);
        let Ok(run) = Run::of(&altered) else { return Ok(Answer::Stuck) };
        let wanted = |findings: BTreeMap<&'static str, Finding<Probe>>| -> Vec<Finding<Probe>> {
            findings.into_values().filter(|finding| asked(finding.invariant)).collect()
        };
        if !prove_it {
            let found = wanted(explore(&altered, &run, self.setting(model)).findings);
            return Ok(if found.is_empty() { Answer::Unknown } else { Answer::Broken(found) });
        }
        match prove(&altered, &run, self.setting(model), limits()) {
            Ok(proof) => {
                let found = wanted(proof.findings);
                Ok(if found.is_empty() { Answer::Proved } else { Answer::Broken(found) })
            }
            Err(NoProof::TooMany) => Ok(Answer::Unknown),
            Err(e @ NoProof::NotAgain { .. }) => Err(e),
        }
    }

    /// What the strategy does as it is; and what that breaks, where it makes a call of the kind that is to be `taken`
    /// from it.
    ///
    /// Errors: a finding cannot be shown again, or the workload cannot be run.
    pub fn baseline(
        &self,
        model: &dyn PersistenceModel,
        taken: fn(&Call) -> bool,
        mut done: impl FnMut(),
    ) -> Result<Baseline, String> {
        let mut baseline = Baseline::default();
        for subject in self.subjects {
            let noting = Altered::noting(subject);
            let run = Run::of(&noting)?;
            cuts(&run.log).par_iter().for_each(|cut| drop(run.restarted(&noting, *cut)));
            explore(&noting, &run, self.setting(model));
            let calls = noting.roles();
            let broken = match calls.values().any(taken).then(|| prove(&noting, &run, self.setting(model), limits())) {
                Some(Ok(proof)) => Some(proof.findings.into_keys().collect()),
                None | Some(Err(NoProof::TooMany)) => None,
                Some(Err(e @ NoProof::NotAgain { .. })) => return Err(e.to_string()),
            };
            baseline.broken.push(broken);
            baseline.roles.push(calls);
            done();
        }
        Ok(baseline)
    }
}
