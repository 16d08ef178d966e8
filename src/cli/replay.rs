//! `pullplug replay`: one crash, shown call by call, and judged anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::args::{DEFAULT_SEED, Input, ReplayArgs};
use super::cell::{Images, Scene};
use super::error::CliError;
use super::{exit, files, output, simulate};
use crate::check::Invariant;
use crate::disk::crash::Loss;
use crate::disk::model;
use crate::explore::Observation;
use crate::explore::replay::{Reproduced, Stage, reproduce};
use crate::report::spec::{ReplayFile, Spec, fingerprint};
use crate::report::words::{counted, shortened};
use crate::report::{BROKEN_CLAIM, GOOD, STRONG, difference, schedule};
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
    let images = Images::new(&input)?;
    let scene = Scene::new(&spec.strategy, &spec.workload, &images)?;
    if spec.run.is_some_and(|run| run != fingerprint(&scene.run.log)) {
        return Err(CliError::bad_input("this crash was found on another schedule than the one that is run now")
            .help("give the --seed and --image that it was found with, and use the same version of pullplug"));
    }
    let again = reproduce(&scene.subject, &scene.run, model, spec.loss, &spec.crash)
        .map_err(|e| CliError::bad_input(format!("there is no such crash: {e}")))?;
    let seen = again.judge(&scene.subject);
    let (verdict, code) = verdict(&spec, &seen);
    output::print(&format!("{}{verdict}", show(&spec, &again, &scene)))?;
    Ok(code)
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
    if !workload::NAMES.contains(&spec.workload.as_str()) {
        return Err(unknown("workload", &spec.workload, &workload::NAMES));
    }
    if let Some(name) = &spec.invariant
        && Invariant::from_name(name).is_none()
    {
        return Err(unknown("invariant", name, &Invariant::ALL.map(Invariant::name)));
    }
    model::named(&spec.model).ok_or_else(|| unknown("model", &spec.model, &model::ALL.map(|m| m.name())))
}

/// The calls, the losses and the trees.
fn show(spec: &Spec, again: &Reproduced, scene: &Scene<'_>) -> String {
    let ops = &scene.subject.workload().ops;
    let what = match spec.loss {
        Loss::PowerCut => "the power fails",
        Loss::ProcessCrash => "the process crashes",
        Loss::LyingDisk => "the power fails, and the disk had ignored all syncs,",
    };
    let mut out = format!("{STRONG}{} under {}, {}{STRONG:#}\n\n", spec.strategy, spec.model, spec.workload);
    let restarted = spec.crash.restarted_at.map(|cut| cut.records as usize + usize::from(cut.inside.is_some()));
    out.push_str(&schedule::render(&again.workload, ops, what, restarted));
    out.push_str(&trees(&again.workload));
    if let Some(recovery) = &again.recovery {
        out.push_str(&format!("\n{STRONG}Recovery from that{STRONG:#}\n\n"));
        out.push_str(&schedule::render(recovery, ops, what, None));
        out.push_str(&trees(recovery));
    }
    out
}

fn trees(stage: &Stage) -> String {
    let what =
        format!("\n{STRONG}What survived, against what was there{STRONG:#} (- lost, + found again, ~ other)\n\n");
    what + &difference::render(&stage.surviving(), &stage.executed())
}

/// What is broken, and the exit code.
fn verdict(spec: &Spec, seen: &[Observation]) -> (String, u8) {
    let asked = |o: &Observation| spec.invariant.as_ref().is_none_or(|i| i == o.invariant);
    let broken: BTreeSet<(bool, &str, &str)> =
        seen.iter().filter_map(|o| Some((!asked(o), o.invariant, o.violation.as_deref()?))).collect();
    let mut out = format!("\n{STRONG}Verdict{STRONG:#}\n\n");
    for (_, invariant, detail) in &broken {
        out.push_str(&format!("  {BROKEN_CLAIM}{invariant}{BROKEN_CLAIM:#}: {}\n", shortened(detail)));
    }
    if broken.iter().any(|(other, ..)| !other) {
        return (out, exit::FOUND);
    }
    let name = spec.invariant.as_deref().unwrap_or("every invariant");
    let looked = counted(seen.iter().filter(|o| asked(o)).count() as u64, "time");
    out.push_str(&format!("  {GOOD}{name} holds{GOOD:#}, looked at {looked}\n"));
    (out, exit::NOTHING_FOUND)
}
