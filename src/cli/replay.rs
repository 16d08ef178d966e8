//! `pullplug replay`: one crash, shown call by call, and judged anew.

use std::path::{Path, PathBuf};

use super::args::{DEFAULT_SEED, Input, ReplayArgs};
use super::cell::{Images, Scene};
use super::error::CliError;
use super::{concurrent, exit, files, output, simulate};
use crate::check::Invariant;
use crate::disk::model;
use crate::explore::{Run, Subject};
use crate::report::STRONG;
use crate::report::case::{self, Case};
use crate::report::spec::{ReplayFile, Spec, fingerprint};
use crate::synthesis::Altered;
use crate::workload::op::Op;
use crate::workload::pair::PAIRS;
use crate::{strategy, workload};

/// Runs the command.
pub fn run(args: ReplayArgs) -> Result<u8, CliError> {
    if !args.crash.contains("/crash@") {
        let path = Path::new(&args.crash);
        let text = files::read(path)?;
        if simulate::is_schedule(&text) {
            return simulate::replay(path, &text);
        }
    }
    let (spec, input) = read(&args)?;
    let model = check_names(&spec)?;
    let images = Images::with_layer(&input, args.layer_bytes as usize)?;
    match &spec.turns {
        None => {
            let scene = Scene::new(&spec.strategy, &spec.workload, &images)?;
            let Case { strategy, workload, ops, together, loss, .. } = scene.case(model, spec.loss);
            let Some(alteration) = args.altered else { return show(&spec, &scene.case(model, loss)) };
            let subject = &Altered::new(&scene.subject, alteration);
            let run = Run::of(subject).map_err(|e| CliError::bad_input(format!("the workload cannot run so: {e}")))?;
            show(&spec, &Case { subject, run: &run, model, loss, strategy, workload, ops, together })
        }
        Some(schedule) => {
            let stage = concurrent::stage(&spec.strategy, &spec.workload, &images)?;
            let run = stage.run(schedule).map_err(|e| CliError::bad_input(format!("there is no such order: {e}")))?;
            show(&spec, &concurrent::case(&stage, &run, model, spec.loss))
        }
    }
}

/// Prints the crash, and judges it.
fn show<S: Subject>(spec: &Spec, case: &Case<'_, S, Op>) -> Result<u8, CliError> {
    if spec.run.is_some_and(|run| run != fingerprint(&case.run.log)) {
        return Err(CliError::bad_input("this crash was found on another schedule than the one that is run now")
            .help("give the --seed and --image that it was found with, and use the same version of pullplug"));
    }
    let again = case.reproduce(&spec.crash).map_err(|e| CliError::bad_input(format!("there is no such crash: {e}")))?;
    let (verdict, broken) = case::verdict(spec.invariant.as_deref(), &again.judge(case.subject));
    let heading = format!("{STRONG}{} under {}, {}{STRONG:#}\n\n", spec.strategy, spec.model, spec.workload);
    output::print(&format!("{heading}{}{verdict}", case.story(&spec.crash, &again)))?;
    Ok(if broken { exit::FOUND } else { exit::NOTHING_FOUND })
}

/// The crash that is meant, and the image that it needs.
fn read(args: &ReplayArgs) -> Result<(Spec, Input), CliError> {
    if args.crash.contains("/crash@") {
        let spec = args
            .crash
            .parse()
            .map_err(|e| CliError::bad_input(format!("{e}")).help("pullplug replay --help describes the form"))?;
        return Ok((spec, Input { image: args.image.clone(), seed: args.seed.unwrap_or(DEFAULT_SEED) }));
    }
    let path = Path::new(&args.crash);
    let bad = |e: &dyn std::fmt::Display| CliError::bad_input(format!("cannot replay {}: {e}", path.display()));
    let file = ReplayFile::parse(&files::read(path)?).map_err(|e| bad(&e))?;
    let spec = file.replay.parse().map_err(|e| bad(&e))?;
    let seed = match args.seed {
        Some(seed) => seed,
        None => file.seed.parse().map_err(|_| bad(&format!("its seed {:?} is no number", file.seed)))?,
    };
    Ok((spec, Input { image: args.image.clone().or(file.image.map(PathBuf::from)), seed }))
}

/// Checks that everything that is named exists.
fn check_names(spec: &Spec) -> Result<&'static dyn model::PersistenceModel, CliError> {
    let unknown = |what: &str, name: &str, known: &[&str]| {
        CliError::bad_input(format!("there is no {what} {name:?}; known are {}", known.join(", ")))
    };
    if !strategy::NAMES.contains(&spec.strategy.as_str()) {
        return Err(unknown("strategy", &spec.strategy, &strategy::NAMES));
    }
    let workloads = if spec.turns.is_some() { &PAIRS[..] } else { &workload::NAMES };
    if !workloads.contains(&spec.workload.as_str()) {
        return Err(unknown("workload", &spec.workload, workloads));
    }
    if let Some(name) = &spec.invariant
        && Invariant::from_name(name).is_none()
    {
        return Err(unknown("invariant", name, &Invariant::ALL.map(Invariant::name)));
    }
    model::named(&spec.model).ok_or_else(|| unknown("model", &spec.model, &model::ALL.map(|m| m.name())))
}
