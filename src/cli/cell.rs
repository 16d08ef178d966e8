//! From names to one explored cell: image, workload, subject, run, verdict.

use std::path::Path;

use super::args::{DEFAULT_SEED, Exploration, Input};
use super::error::CliError;
use crate::check::Invariant;
use crate::disk::SimFs;
use crate::disk::crash::Loss;
use crate::disk::model::PersistenceModel;
use crate::env::World;
use crate::explore::lazy::{Limits, Prover};
use crate::explore::{self, Budget, Run, Setting};
use crate::oci::Tag;
use crate::report::case::Case;
use crate::report::covered::Covered;
use crate::report::spec::Spec;
use crate::report::{Cell, DOCUMENT_VERSION, Document};
use crate::strategy;
use crate::workload::image::{DEFAULT_TAG, Image, ImageLimits, RECORDED_LAYER_BYTES};
use crate::workload::op::Op;
use crate::workload::pair::Pair;
use crate::workload::probe::Probe;
use crate::workload::subject::RegistrySubject;
use crate::workload::{Workload, WorkloadError};

/// What is pushed: the image at hand, and another one.
#[derive(Debug)]
pub struct Images {
    first: Image,
    second: Image,
    /// The directory that the first comes from.
    pub dir: Option<String>,
    /// The seed of the generated ones.
    pub seed: u64,
    layer_bytes: usize,
}

impl Images {
    /// Generates images, or loads the first from a directory.
    pub fn new(input: &Input) -> Result<Self, CliError> {
        Self::with_layer(input, RECORDED_LAYER_BYTES[0])
    }

    /// As [`new`](Self::new), and generated images have a layer of `layer_bytes`, or none if that is 0.
    pub fn with_layer(input: &Input, layer_bytes: usize) -> Result<Self, CliError> {
        let seed = input.seed;
        let layers: Vec<usize> = [layer_bytes].into_iter().filter(|bytes| *bytes > 0).collect();
        let tag: Tag = DEFAULT_TAG.parse().map_err(|e| CliError::internal(format!("{e}")))?;
        let first = match &input.image {
            Some(dir) => load(dir)?,
            None => Image::generated(seed, tag.clone(), &layers),
        };
        let second = Image::generated(seed.wrapping_add(1), tag, &layers);
        let dir = input.image.as_ref().map(|dir| dir.display().to_string());
        Ok(Self { first, second, dir, seed, layer_bytes })
    }

    /// Why `what` cannot be done with them: an image is somebody's input, those that are generated are ours.
    pub fn refused(&self, what: &str, why: &dyn std::fmt::Display) -> CliError {
        match &self.dir {
            Some(dir) => CliError::bad_input(format!("{what} with the image in {dir}: {why}")),
            None => CliError::internal(format!("{what}: {why}")),
        }
    }

    /// The pair of workloads called `name`.
    pub fn pair(&self, name: &str) -> Result<Pair, WorkloadError> {
        Pair::named(name, &self.first, &self.second)
    }

    /// The command that shows a crash again.
    pub fn replay_line(&self, spec: &Spec) -> String {
        let mut line = "pullplug replay".to_owned();
        if self.seed != DEFAULT_SEED {
            line.push_str(&format!(" --seed {}", self.seed));
        }
        if self.layer_bytes != RECORDED_LAYER_BYTES[0] {
            line.push_str(&format!(" --layer-bytes {}", self.layer_bytes));
        }
        if let Some(dir) = &self.dir {
            line.push_str(&format!(" --image {}", quoted(dir)));
        }
        format!("{line} {spec}")
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
        let bad = |e: &dyn std::fmt::Display| images.refused(&format!("{strategy} cannot run {workload}"), e);
        let plan = Workload::named(workload, &images.first, &images.second).map_err(|e| bad(&e))?;
        let subject = RegistrySubject::new(strategy, plan).map_err(|e| bad(&e))?;
        let run = Run::of(&subject).map_err(|e| bad(&e))?;
        Ok(Self { images, subject, run })
    }

    /// Whether the strategy claims to keep an invariant.
    pub fn claims(&self, model: &str, loss: Loss, invariant: Invariant) -> bool {
        claims(self.subject.strategy(), model, loss, invariant)
    }

    /// Explores under one model.
    pub fn explore(&self, model: &dyn PersistenceModel, args: &Exploration) -> Result<Cell, CliError> {
        self.explore_with(&self.prover(), model, args)
    }

    /// What proves it, under as many models as one likes.
    pub fn prover(&self) -> Prover<'_, RegistrySubject> {
        Prover::new(&self.subject, &self.run)
    }

    /// Explores under one model, and goes by what was seen under others.
    pub fn explore_with(
        &self,
        prover: &Prover<'_, RegistrySubject>,
        model: &dyn PersistenceModel,
        args: &Exploration,
    ) -> Result<Cell, CliError> {
        self.explore_within(prover, model, args, Limits::default())
    }

    fn explore_within(
        &self,
        prover: &Prover<'_, RegistrySubject>,
        model: &dyn PersistenceModel,
        args: &Exploration,
        limits: Limits,
    ) -> Result<Cell, CliError> {
        let budget = Budget::of(args.states());
        let setting = Setting { model, loss: args.loss.into(), seed: args.input.seed, budget };
        let watch = args.timings.then(Stopwatch::start);
        let proof = args.proves().then(|| prover.prove(setting, limits));
        let enumerate = || explore::explore(&self.subject, &self.run, setting);
        let seen = Covered::of(proof, enumerate).map_err(|e| CliError::internal(e.to_string()))?;
        let seconds = watch.map(Stopwatch::seconds);
        let mut findings = Vec::new();
        for invariant in Invariant::ALL {
            if let Some(finding) = seen.findings.get(invariant.name()) {
                let told = self.case(model, setting.loss).counterexample(finding, |spec| self.images.replay_line(spec));
                findings.push(told.map_err(|e| {
                    CliError::internal(format!("a finding of {} cannot be reproduced: {e}", finding.invariant))
                })?);
            }
        }
        let claims = |i| self.claims(model.name(), setting.loss, i);
        let cell = cell(self.subject.strategy(), &self.subject.workload().name, &seen, setting, claims);
        Ok(Cell { findings, seconds, ..cell })
    }

    /// What was explored, for words.
    pub fn case<'a>(&'a self, model: &'a dyn PersistenceModel, loss: Loss) -> Case<'a, RegistrySubject, Op> {
        let workload = self.subject.workload();
        Case {
            subject: &self.subject,
            run: &self.run,
            model,
            loss,
            strategy: self.subject.strategy(),
            workload: &workload.name,
            ops: &workload.ops,
            together: None,
        }
    }
}

/// Whether a strategy claims to keep an invariant. Of a disk that lies, nobody claims anything.
pub fn claims(strategy: &str, model: &str, loss: Loss, invariant: Invariant) -> bool {
    let strategy = strategy::build(strategy, SimFs::new(), World::simulated(0));
    loss != Loss::LyingDisk && strategy.is_some_and(|s| s.claims(model, invariant.name()))
}

/// What was seen, but for its findings.
pub fn cell(
    strategy: &str,
    workload: &str,
    seen: &Covered<Probe>,
    setting: Setting<'_>,
    claims: impl Fn(Invariant) -> bool,
) -> Cell {
    let broken = |i: Invariant| seen.violations.get(i.name()).is_some_and(|n| *n > 0);
    let evaluated = |i: Invariant| (i.name(), seen.evaluated.get(i.name()).copied().unwrap_or_default());
    Cell {
        strategy: strategy.to_owned(),
        model: setting.model.name(),
        workload: workload.to_owned(),
        crash_points: seen.crash_points,
        crash_states: seen.crash_states.to_string(),
        restart_states: seen.restart_states.to_string(),
        failed_sync_states: seen.failed_sync_states.to_string(),
        recovery_states: seen.recovery_states.to_string(),
        coverage: seen.coverage,
        interleavings: None,
        is_counted: seen.counts().iter().all(|count| count.is_exact),
        recovers_always: seen.recovers_always,
        executions: seen.executions,
        evaluated: Invariant::ALL.into_iter().map(evaluated).collect(),
        violations: seen.violations.iter().filter(|(_, n)| **n > 0).map(|(i, n)| (*i, *n)).collect(),
        claimed_safe: Invariant::ALL.into_iter().all(&claims),
        broken_claims: Invariant::ALL.into_iter().filter(|i| claims(*i) && broken(*i)).map(Invariant::name).collect(),
        findings: Vec::new(),
        seconds: None,
    }
}

/// A document of these cells.
pub fn document(cells: Vec<Cell>, args: &Exploration, images: &Images) -> Document {
    Document {
        version: DOCUMENT_VERSION,
        cells,
        loss: Loss::from(args.loss).name(),
        seed: images.seed.to_string(),
        budget: args.states(),
        image: images.dir.clone(),
    }
}

/// `word` as a shell reads it as one word.
pub fn quoted(word: &str) -> String {
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
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::disk::model::Posix;
    use crate::report::{Coverage, matrix};

    #[test]
    fn what_is_not_proved_is_a_sample_and_says_so() {
        let line = "pullplug explore --strategy durable --model posix --workload delete --prove --budget 20";
        let Some(Command::Explore(args)) = Cli::parse_from(line.split(' ')).command else { panic!("{line}") };
        let images = Images::new(&args.explore.input).unwrap();
        let scene = Scene::new("durable", "delete", &images).unwrap();
        let all = Limits::default();
        for (limits, is_proved) in
            [(all, true), (Limits { executions: 10, ..all }, false), (Limits { recoveries: 10, ..all }, false)]
        {
            let cell = scene.explore_within(&scene.prover(), &Posix, &args.explore, limits).unwrap();
            let told = matrix::render(&document(vec![cell.clone()], &args.explore, &images));
            let expected = if is_proved { Coverage::Proved } else { Coverage::Sampled };
            assert_eq!(cell.coverage, expected, "{limits:?}");
            assert_eq!(told.contains("*  sampled"), !is_proved, "{limits:?}: {told}");
            assert_eq!(told.contains("proved"), is_proved, "{limits:?}: {told}");
        }
    }

    #[test]
    fn directories_are_quoted_for_a_shell() {
        assert_eq!(quoted("images/a-b_1.2"), "images/a-b_1.2");
        assert_eq!(quoted("my image"), "'my image'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("-x"), "'./-x'");
        assert_eq!(quoted(""), "''");
    }
}
