//! `pullplug kernel`: models held to real kernels, and registries crashed on them.

mod registry;

mod litmus;

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use super::args::{DiskArgs, KernelArgs, KernelCommand, SoundnessArgs};
use super::error::CliError;
use super::{compare, exit, output};
use crate::disk::litmus::Litmus;
use crate::fs::script::Script;
use crate::kernel::control::Places;
use crate::kernel::soundness::Disagreement;
use crate::kernel::supervise::{End, Limits, Unavailable, supervise};
use crate::kernel::worker::{Job, Outcome, Said, Scripts, Shown, Tally, Task};
use crate::kernel::{FILE_SYSTEMS, FileSystem, server, worker};
use crate::report::{BROKEN, STRONG};

/// So many of the outcomes that were never seen are shown.
const MOST_NEVER_SEEN: usize = 12;

/// Runs the command.
pub fn run(args: KernelArgs) -> Result<u8, CliError> {
    match args.command {
        KernelCommand::Soundness(args) => soundness(&args),
        KernelCommand::Registry(args) => registry::run(&args),
        KernelCommand::ServeDisk { work, size_bytes } => {
            let served = server::serve(&Places(work), size_bytes);
            served.map(|()| exit::NOTHING_FOUND).map_err(|e| CliError::unavailable(format!("no disk to serve: {e}")))
        }
        KernelCommand::Work { job, .. } => {
            let job: Job = serde_json::from_str(&job).map_err(|e| CliError::bad_input(format!("no job: {e}")))?;
            let done = worker::work(&job);
            done.map(|()| exit::NOTHING_FOUND).map_err(|e| CliError::unavailable(format!("nobody listens: {e}")))
        }
        KernelCommand::Contain { words } => registry::contain(&words),
    }
}

/// What was seen of one file system.
#[derive(Serialize)]
struct Seen {
    seed: u64,
    models: Vec<&'static str>,
    #[serde(flatten)]
    tally: Tally,
    shown: Vec<Disagreement>,
    /// What was seen of each litmus test, if these were played.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    litmus: Vec<litmus::Row>,
}

impl Seen {
    /// Whether the models stand, and the recorder works.
    fn is_sound(&self) -> bool {
        self.tally.disagreements.is_empty() && !self.is_blind()
    }

    /// Whether the control saw nothing, though it looked often enough.
    fn is_blind(&self) -> bool {
        self.tally.caught == 0 && self.tally.runs >= 10
    }
}

fn soundness(args: &SoundnessArgs) -> Result<u8, CliError> {
    for script in &args.calls {
        script.parse::<Script>().map_err(|why| CliError::bad_input(format!("--calls: {why}")))?;
    }
    let kinds = kinds(&args.fs)?;
    let mut all = Vec::new();
    for kind in kinds {
        let seen = watch(args, kind)?;
        if !args.json {
            output::print(&text(&seen))?;
        }
        all.push(seen);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&all).map_err(|e| CliError::internal(e.to_string()))?;
        output::print(&(text + "\n"))?;
    }
    Ok(if all.iter().all(Seen::is_sound) { exit::NOTHING_FOUND } else { exit::FOUND })
}

fn watch(args: &SoundnessArgs, kind: FileSystem) -> Result<Seen, CliError> {
    let scripts: Vec<String> =
        if args.litmus { Litmus::all().map(|case| case.script()).collect() } else { args.calls.clone() };
    let job = Job {
        work: args.disk.work(),
        server: 0,
        fs: kind.name.to_owned(),
        seed: args.seed,
        task: Task::Soundness(Scripts {
            runs: args.runs,
            images: args.images,
            seconds: args.seconds,
            scripts: scripts.clone(),
            noisy: args.litmus,
            shrink: args.shrink,
        }),
        panic_after: args.disk.panic_after,
    };
    let limits = limits(&args.disk);
    let bar = compare::progress(args.runs as usize * scripts.len().max(1));
    bar.set_message(kind.name);
    let mut shown = Vec::new();
    let mut hear = |said: &Said| match said {
        Said::Found(found) => shown.push(found.clone()),
        Said::Script => bar.inc(1),
        _ => {}
    };
    let outcome = done(kind, job, limits, &mut hear);
    bar.finish_and_clear();
    match outcome? {
        Outcome::Soundness(mut tally) => {
            let models = kind.models().map(|m| m.name()).collect();
            let litmus = if args.litmus { litmus::rows(&mut tally) } else { Vec::new() };
            Ok(Seen { seed: args.seed, models, tally, shown, litmus })
        }
        Outcome::Registry(_) => Err(CliError::internal("another job was done")),
    }
}

fn limits(args: &DiskArgs) -> Limits {
    Limits { most: Duration::from_secs(args.limit_s), patience: Duration::from_secs(args.patience_s) }
}

/// What a job came to.
fn done(kind: FileSystem, job: Job, limits: Limits, hear: &mut dyn FnMut(&Said)) -> Result<Outcome, CliError> {
    match supervise(kind, job, limits, hear) {
        Ok(End::Done(outcome)) => Ok(*outcome),
        Ok(End::Refused(why)) => Err(CliError::bad_input(format!("the program cannot be judged: {why}"))),
        Ok(End::Failed(why)) => Err(CliError::internal(format!("{}: {why}", kind.name))),
        Ok(End::Aborted(why)) => Err(CliError::no_verdict(format!("{}: {why}", kind.name))),
        Err(e @ Unavailable::Left(_)) => Err(CliError::internal(e.to_string())),
        Err(e) => Err(CliError::unavailable(format!("{}: {e}", kind.name))),
    }
}

/// The file systems of these names.
fn kinds(names: &[String]) -> Result<Vec<FileSystem>, CliError> {
    let known = |name: &String| {
        let names: Vec<&str> = FILE_SYSTEMS.iter().map(|fs| fs.name).collect();
        let unknown = || CliError::bad_input(format!("there is no file system {name:?}: {}", names.join(", ")));
        FileSystem::named(name).ok_or_else(unknown)
    };
    names.iter().map(known).collect()
}

fn text(seen: &Seen) -> String {
    const PLAIN: Style = Style::new();
    let tally = &seen.tally;
    let images: Vec<String> = tally.images.iter().map(|(way, n)| format!("{n} {}", way.name())).collect();
    let mut out = format!(
        "{STRONG}{}{STRONG:#}: {} scripts, seed {}, images: {}; {:.1} ms each (median)\n",
        tally.fs,
        tally.runs,
        seen.seed,
        images.join(", "),
        tally.median_micros as f64 / 1000.0
    );
    for model in &seen.models {
        let count = tally.disagreements.get(*model).copied().unwrap_or(0);
        let style = if count > 0 { BROKEN } else { PLAIN };
        out += &format!("  {style}{model:<20} disagrees in {count} scripts{style:#}\n");
    }
    out += &format!("  control: {} images on a disk that ignored flushes showed a loss\n", tally.caught);
    if seen.is_blind() {
        out += &format!("{BROKEN}the control saw no loss: the recorder does not work{BROKEN:#}\n");
    }
    out += &scripts(&tally.scripts);
    out += &litmus::table(&seen.litmus);
    for found in &seen.shown {
        out += &format!(
            "\n{BROKEN}{} does not allow{BROKEN:#}\n  calls    {}\n  power    {}\n  image    {}\n  shows    {}\n  nearest  {}\n",
            found.model, found.script, found.cut, found.image, found.tree, found.nearest
        );
    }
    out
}

/// What came of the scripts that were given: of one, all that was seen.
fn scripts(all: &BTreeMap<String, Shown>) -> String {
    let mut out = String::new();
    let mut sums = (0, 0);
    for (script, shown) in all {
        let never: Vec<&String> = shown.never_seen().collect();
        let (allowed, seen) = (shown.allowed.len(), shown.met_of_allowed());
        sums = (sums.0 + allowed, sums.1 + seen);
        out += &format!("  {allowed:>4} outcomes allowed, {seen:>3} seen: {script}\n");
        if all.len() == 1 {
            let mut before = None;
            for (_, cut, tree) in &shown.seen {
                let cut_told = if before == Some(cut) { "" } else { cut };
                out += &format!("  seen {cut_told:<30} {tree}\n");
                before = Some(cut);
            }
            out.extend(never.iter().take(MOST_NEVER_SEEN).map(|state| format!("  never seen {:<24} {state}\n", "")));
        }
    }
    if all.len() > 1 {
        out += &format!("  {:>4} outcomes allowed, {:>3} seen, in all {} scripts\n", sums.0, sums.1, all.len());
    }
    out
}
