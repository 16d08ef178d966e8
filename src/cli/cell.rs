//! From names to one explored cell: image, workload, subject, run, verdict.

use std::path::Path;

use super::args::{DEFAULT_SEED, Exploration, Input};
use super::error::CliError;
use crate::check::Invariant;
use crate::disk::SimFs;
use crate::disk::crash::Loss;
use crate::disk::model::PersistenceModel;
use crate::env::World;
use crate::explore::replay::{Crash, Stage, reproduce};
use crate::explore::{self, Budget, Finding, Outcome, Run, Setting};
use crate::oci::Tag;
use crate::report::spec::{Spec, fingerprint};
use crate::report::words::place;
use crate::report::{Cell, Counterexample, Coverage, CutRecovery, DOCUMENT_VERSION, Document};
use crate::strategy;
use crate::workload::Workload;
use crate::workload::image::{DEFAULT_TAG, Image, ImageLimits, RECORDED_LAYER_BYTES};
use crate::workload::probe::Probe;
use crate::workload::subject::RegistrySubject;

/// What is pushed: the image at hand, and another one.
#[derive(Debug)]
pub struct Images {
    first: Image,
    second: Image,
    /// The directory that the first comes from.
    pub dir: Option<String>,
    /// The seed of the generated ones.
    pub seed: u64,
}

impl Images {
    /// Generates images, or loads the first from a directory.
    pub fn new(input: &Input) -> Result<Self, CliError> {
        let seed = input.seed;
        let tag: Tag = DEFAULT_TAG.parse().map_err(|e| CliError::internal(format!("{e}")))?;
        let first = match &input.image {
            Some(dir) => load(dir)?,
            None => Image::generated(seed, tag.clone(), &RECORDED_LAYER_BYTES),
        };
        let second = Image::generated(seed.wrapping_add(1), tag, &RECORDED_LAYER_BYTES);
        let dir = input.image.as_ref().map(|dir| dir.display().to_string());
        Ok(Self { first, second, dir, seed })
    }
}

fn load(dir: &Path) -> Result<Image, CliError> {
    let bad = |e| CliError::bad_input(format!("cannot use the image in {}: {e}", dir.display()));
    Image::load(dir, ImageLimits::default()).map_err(bad)
}

/// A strategy that has run a workload.
#[derive(Debug)]
pub struct Scene<'i> {
    images: &'i Images,
    /// The strategy and the workload.
    pub subject: RegistrySubject,
    /// What they did.
    pub run: Run,
}

impl<'i> Scene<'i> {
    /// Runs the workload called `workload` on the strategy called `strategy`.
    pub fn new(strategy: &str, workload: &str, images: &'i Images) -> Result<Self, CliError> {
        let bad = |e: &dyn std::fmt::Display| match &images.dir {
            Some(dir) => CliError::bad_input(format!("{strategy} cannot run {workload} with the image in {dir}: {e}")),
            None => CliError::internal(format!("{strategy} cannot run {workload}: {e}")),
        };
        let workload = Workload::named(workload, &images.first, &images.second).map_err(|e| bad(&e))?;
        let subject = RegistrySubject::new(strategy, workload).map_err(|e| bad(&e))?;
        let run = Run::of(&subject).map_err(|e| bad(&e))?;
        Ok(Self { images, subject, run })
    }

    /// Whether the strategy claims to keep an invariant. Of a disk that lies, nobody claims anything.
    pub fn claims(&self, model: &str, loss: Loss, invariant: Invariant) -> bool {
        let strategy = strategy::build(self.subject.strategy(), SimFs::new(), World::simulated(0));
        loss != Loss::LyingDisk && strategy.is_some_and(|s| s.claims(model, invariant.name()))
    }

    /// Explores under one model.
    pub fn explore(&self, model: &dyn PersistenceModel, args: &Exploration) -> Result<Cell, CliError> {
        let setting =
            Setting { model, loss: args.loss.into(), seed: args.input.seed, budget: budget(args.budget.get()) };
        let watch = args.timings.then(Stopwatch::start);
        let outcome = explore::explore(&self.subject, &self.run, setting);
        let seconds = watch.map(Stopwatch::seconds);
        let mut findings = Vec::new();
        for invariant in Invariant::ALL {
            if let Some(finding) = outcome.findings.get(invariant.name()) {
                findings.push(self.counterexample(finding, setting)?);
            }
        }
        Ok(self.cell(&outcome, setting, findings, seconds))
    }

    fn cell(
        &self,
        outcome: &Outcome<Probe>,
        setting: Setting<'_>,
        findings: Vec<Counterexample>,
        seconds: Option<f64>,
    ) -> Cell {
        let model = setting.model.name();
        let claims = |i: &Invariant| self.claims(model, setting.loss, *i);
        let broken = |i: &Invariant| outcome.violations.get(i.name()).is_some_and(|n| *n > 0);
        let evaluated = |i: Invariant| (i.name(), outcome.evaluated.get(i.name()).copied().unwrap_or_default());
        Cell {
            strategy: self.subject.strategy().to_owned(),
            model,
            workload: self.subject.workload().name.clone(),
            crash_points: outcome.crash_points,
            crash_states: outcome.crash_states.to_string(),
            restart_states: outcome.restart_states.to_string(),
            recovery_states: outcome.recovery_states.to_string(),
            coverage: if outcome.exhaustive { Coverage::Exhaustive } else { Coverage::Sampled },
            evaluated: Invariant::ALL.into_iter().map(evaluated).collect(),
            violations: outcome.violations.iter().filter(|(_, n)| **n > 0).map(|(i, n)| (*i, *n)).collect(),
            claimed_safe: Invariant::ALL.iter().all(claims),
            broken_claims: Invariant::ALL.iter().filter(|i| claims(i) && broken(i)).map(|i| i.name()).collect(),
            findings,
            seconds,
        }
    }

    /// Puts a finding into words. It is reproduced for that, so what is printed can be replayed.
    fn counterexample(&self, finding: &Finding<Probe>, setting: Setting<'_>) -> Result<Counterexample, CliError> {
        let crash = Crash::from(finding);
        let again = reproduce(&self.subject, &self.run, setting.model, setting.loss, &crash)
            .map_err(|e| CliError::internal(format!("a finding of {} cannot be reproduced: {e}", finding.invariant)))?;
        let ops = &self.subject.workload().ops;
        let at = |stage: &Stage| place(stage.space.records(), stage.cut, ops);
        let lost = |stage: &Stage| -> Vec<String> {
            let told = stage.space.describe_lost(&stage.lost, &stage.survivors);
            told.into_iter().map(|effect| effect.what).collect()
        };
        let spec = Spec {
            strategy: self.subject.strategy().to_owned(),
            model: setting.model.name().to_owned(),
            workload: self.subject.workload().name.clone(),
            loss: setting.loss,
            invariant: Some(finding.invariant.to_owned()),
            run: Some(fingerprint(&self.run.log)),
            crash,
        };
        let extra = usize::from(spec.crash.restarted_at.is_some()) + usize::from(again.recovery.is_some());
        let lost_in_recovery = again.recovery.as_ref().map_or(0, |stage| stage.lost.len());
        Ok(Counterexample {
            invariant: finding.invariant,
            detail: finding.detail.clone(),
            restart_at: spec.crash.restarted_at.map(|cut| place(&self.run.log, cut, ops)),
            crash_at: at(&again.workload),
            lost: lost(&again.workload),
            recovery: again.recovery.as_ref().map(|s| CutRecovery { crash_at: at(s), lost: lost(s) }),
            replay: self.replay_line(&spec),
            spec: spec.to_string(),
            size: (extra, finding.lost.len() + lost_in_recovery, finding.cut.records),
        })
    }

    fn replay_line(&self, spec: &Spec) -> String {
        let mut line = "pullplug replay".to_owned();
        if self.images.seed != DEFAULT_SEED {
            line.push_str(&format!(" --seed {}", self.images.seed));
        }
        if let Some(dir) = &self.images.dir {
            line.push_str(&format!(" --image {}", quoted(dir)));
        }
        format!("{line} {spec}")
    }
}

/// How a budget is spent: half on the workload, a quarter on restarts, a quarter on recoveries.
fn budget(states: u64) -> Budget {
    let states = usize::try_from(states).unwrap_or(usize::MAX);
    Budget { states: states.div_ceil(2), restart_states: states / 4, recovery_states: states / 4 }
}

/// A document of these cells.
pub fn document(cells: Vec<Cell>, args: &Exploration, images: &Images) -> Document {
    Document {
        version: DOCUMENT_VERSION,
        cells,
        loss: Loss::from(args.loss).name(),
        seed: images.seed.to_string(),
        budget: args.budget.get(),
        image: images.dir.clone(),
    }
}

/// `word` as a shell reads it as one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    let dash = if word.starts_with('-') { "./" } else { "" };
    format!("'{dash}{}'", word.replace('\'', r"'\''"))
}

/// Wall-clock time, for `--timings` and `--time` alone.
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// From now on.
    #[expect(clippy::disallowed_methods, reason = "how long the work took is no part of it, and asked for")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since the start, to the millisecond.
    pub fn seconds(self) -> f64 {
        (self.elapsed_seconds() * 1000.0).round() / 1000.0
    }

    /// Since the start.
    pub fn elapsed_seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_quoted_for_a_shell() {
        assert_eq!(quoted("images/a-b_1.2"), "images/a-b_1.2");
        assert_eq!(quoted("my image"), "'my image'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-x"), "'./-x'");
        assert_eq!(quoted(""), "''");
    }
}
