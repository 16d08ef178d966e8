//! From a subject to a verdict: which models, which losses, how much.

use std::collections::BTreeSet;

use super::Story;
use super::seen::{Explored, Seen};
use crate::disk::crash::Loss;
use crate::disk::model::{self, PersistenceModel};
use crate::explore::lazy::{Limits, Prover};
use crate::explore::{self, Budget, Run, Setting};
use crate::report::case::{self, Case};
use crate::report::covered::Covered;
use crate::report::spec::{Spec, fingerprint};

/// Crash states that are visited where not all can be covered, if nothing is said.
pub const DEFAULT_BUDGET_STATES: u64 = 20_000;

/// Runs of one probe after which crash states are sampled: fewer than `pullplug compare` puts up with, since tests run in
/// debug builds.
const MAX_EXECUTIONS: u64 = 5_000;

/// Pulls the plug on a subject, everywhere. See the [module's documentation](super).
///
/// Unless told otherwise: **all** crash states, under every model, by power cuts and by crashes of the process. States
/// that look alike to the invariants are covered together ([`lazy`](crate::explore::lazy)), so a verdict is a proof; where
/// that would take too long, [`DEFAULT_BUDGET_STATES`] of them are visited, and the verdict says so. The same settings give
/// the same verdict and the same words.
#[derive(Debug)]
pub struct Explorer<S> {
    subject: S,
    models: Vec<&'static dyn PersistenceModel>,
    losses: Vec<Loss>,
    seed: u64,
    /// `None` to cover all.
    budget_states: Option<u64>,
    fails_syncs: bool,
    allowed: BTreeSet<(String, String)>,
}

impl<S: Story> Explorer<S> {
    /// An explorer of `subject`.
    pub fn new(subject: S) -> Self {
        Self {
            subject,
            models: model::ALL.to_vec(),
            losses: vec![Loss::PowerCut, Loss::ProcessCrash],
            seed: 1,
            budget_states: None,
            fails_syncs: false,
            allowed: BTreeSet::new(),
        }
    }

    /// Only under these persistence models, such as [`ALL`](model::ALL) of them.
    pub fn models(mut self, models: impl IntoIterator<Item = &'static dyn PersistenceModel>) -> Self {
        self.models = models.into_iter().collect();
        self
    }

    /// Only under the persistence model of this name.
    ///
    /// # Panics
    /// If there is none of that name.
    #[track_caller]
    pub fn model(self, name: &str) -> Self {
        match model::named(name) {
            Some(model) => self.models([model]),
            None => panic!("there is no model {name:?}; known are {}", model::ALL.map(|m| m.name()).join(", ")),
        }
    }

    /// Only by these ways to stop.
    pub fn losses(mut self, losses: impl IntoIterator<Item = Loss>) -> Self {
        self.losses = losses.into_iter().collect();
        self
    }

    /// Covers not all crash states, but visits at most so many under a model: half of them of the steps, a quarter each
    /// after a restart of the process and in recovery. All of the steps' are visited if there are no more.
    pub fn budget(mut self, states: u64) -> Self {
        self.budget_states = Some(states);
        self
    }

    /// Each sync fails once as well, in each way that a model knows, before the machine stops. The step that made it is
    /// told, and [`insists`](crate::explore::Subject::insist) if it likes; a failed step is not answered. In a sample no sync
    /// fails: it goes with no [`budget`](Self::budget).
    pub fn failed_syncs(mut self) -> Self {
        self.fails_syncs = true;
        self
    }

    /// The seed of the samples that are taken where not all are covered.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// That this invariant is broken under this model is known, and no failure.
    pub fn allow(mut self, model: &str, invariant: &str) -> Self {
        self.allowed.insert((model.to_owned(), invariant.to_owned()));
        self
    }

    /// Runs the subject without a crash: what was there before, and the calls.
    ///
    /// Errors: the subject's own, on a disk that works.
    pub fn run(&self) -> Result<Run, String> {
        Run::of(&self.subject).map_err(|e| format!("{} does not even work without a crash: {e}", self.words()))
    }

    /// Pulls the plug everywhere, and tells what was seen.
    ///
    /// Errors: the subject does not work without a crash, nothing of it was looked at, or syncs are to fail in a sample.
    pub fn explore(&self) -> Result<Seen<S::Probe>, String> {
        if self.fails_syncs && self.budget_states.is_some() {
            return Err(format!(
                "{}: no sync fails in a sample; take the budget away, or failed_syncs()",
                self.words()
            ));
        }
        let run = self.run()?;
        let words = Words::of(&self.subject);
        let prover = Prover::new(&self.subject, &run);
        let limits = Limits { executions: MAX_EXECUTIONS, failed_syncs: self.fails_syncs, ..Limits::default() };
        let mut seen = Seen::new(words.title.clone());
        for loss in &self.losses {
            for model in &self.models {
                let budget = Budget::of(self.budget_states.unwrap_or(DEFAULT_BUDGET_STATES));
                let setting = Setting { model: *model, loss: *loss, seed: self.seed, budget };
                let proof = self.budget_states.is_none().then(|| prover.prove(setting, limits));
                let enumerate = || explore::explore(&self.subject, &run, setting);
                let mut covered = Covered::of(proof, enumerate).map_err(|e| format!("{}: {e}", self.words()))?;
                if covered.evaluated.values().all(|n| *n == 0) {
                    return Err(format!("{}: nothing was looked at; it needs an invariant", self.words()));
                }
                let allowed =
                    |name: &&'static str| self.allowed.contains(&(model.name().to_owned(), (*name).to_owned()));
                covered.violations.retain(|name, _| !allowed(name));
                covered.findings.retain(|name, _| !allowed(name));
                for finding in covered.findings.values() {
                    let case = words.case(&self.subject, &run, *model, *loss);
                    seen.tell(model.name(), &case, finding).map_err(|e| e.to_string())?;
                }
                seen.explored.push(Explored { model: model.name(), loss: *loss, covered });
            }
        }
        if seen.explored.is_empty() {
            return Err(format!("{}: there is no model, or no way to stop, to explore under", self.words()));
        }
        Ok(seen)
    }

    /// Pulls the plug everywhere, and wants every invariant to hold in all crash states. Who is content with a sample of them
    /// gives a [`budget`](Self::budget).
    ///
    /// # Panics
    /// If one is broken, telling how; if there are too many crash states to cover; or if nothing could be explored.
    #[track_caller]
    pub fn assert_safe(&self) {
        match self.explore() {
            Ok(seen) if seen.is_safe() && (seen.is_proved() || self.budget_states.is_some()) => {}
            Ok(seen) if seen.is_safe() => panic!("{seen}: too many to cover all; a budget() is content with a sample"),
            Ok(seen) => panic!("{seen}"),
            Err(e) => panic!("{e}"),
        }
    }

    /// One crash again, as a failure names it: the whole story with its verdict, and whether it still breaks
    /// something.
    ///
    /// Errors: it is no crash, or one of other calls than those that are made now.
    pub fn replay(&self, crash: &str) -> Result<(String, bool), String> {
        let spec: Spec = crash.parse().map_err(|e| format!("{e}"))?;
        let model = model::named(&spec.model).ok_or_else(|| format!("there is no model {:?}", spec.model))?;
        let run = self.run()?;
        if spec.run.is_some_and(|hash| hash != fingerprint(&run.log)) {
            return Err(format!("{} makes other calls now than those that this crash was found in", self.words()));
        }
        let words = Words::of(&self.subject);
        let case = words.case(&self.subject, &run, model, spec.loss);
        let again = case.reproduce(&spec.crash).map_err(|e| format!("there is no such crash: {e}"))?;
        let (verdict, broken) = case::verdict(spec.invariant.as_deref(), &again.judge(&self.subject));
        Ok((super::seen::plain(&(case.story(&spec.crash, &again) + &verdict)), broken))
    }

    /// Wants one crash, as a failure names it, to break nothing any more.
    ///
    /// # Panics
    /// If it does, or if there is no such crash.
    #[track_caller]
    pub fn assert_safe_at(&self, crash: &str) {
        match self.replay(crash) {
            Ok((_, false)) => {}
            Ok((story, true)) => panic!("{story}"),
            Err(e) => panic!("{e}"),
        }
    }

    fn words(&self) -> String {
        self.subject.title().join(", ")
    }
}

/// How a subject is told of.
struct Words {
    title: [String; 2],
    operations: Vec<String>,
}

impl Words {
    fn of<S: Story>(subject: &S) -> Self {
        Self { title: subject.title(), operations: subject.operations() }
    }

    fn case<'a, S>(
        &'a self,
        subject: &'a S,
        run: &'a Run,
        model: &'a dyn PersistenceModel,
        loss: Loss,
    ) -> Case<'a, S, String> {
        let [strategy, workload] = &self.title;
        Case { subject, run, model, loss, strategy, workload, ops: &self.operations, together: None }
    }
}
