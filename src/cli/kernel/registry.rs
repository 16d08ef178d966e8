//! `pullplug kernel registry`: any registry, crashed on real file systems.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use super::super::args::{CrashedRegistryArgs, DEFAULT_LAYOUT, DEFAULT_SEED};
use super::super::cell::{claims, quoted};
use super::super::error::CliError;
use super::super::{compare, exit, files, output};
use super::{done, kinds, limits};
use crate::check::Invariant;
use crate::disk::crash::Loss;
use crate::kernel::image::Way;
use crate::kernel::registry::program::{PLACEHOLDERS, Start};
use crate::kernel::registry::verdict::{Judged, LIVE_AGAIN};
use crate::kernel::registry::{Size, Task, Verdict};
use crate::kernel::supervise::Limits;
use crate::kernel::worker::{self, Job, Outcome, Said};
use crate::kernel::{FileSystem, host};
use crate::report::words::grouped;
use crate::report::{
    BROKEN, BROKEN_CLAIM, Cell, Counterexample, Coverage, DOCUMENT_VERSION, Document, GOOD, STRONG, counterexample,
    matrix,
};

/// The workloads' names in reports: what lies on the image, and what the program makes of it.
const WORKLOADS: [&str; 2] = ["push", "restart"];
/// So many controls are enough to say that one of them should have broken something.
const ENOUGH_CONTROLS: u64 = 5;

/// Becomes the program that is judged, without what the environment may say to a registry.
pub fn contain(words: &[OsString]) -> Result<u8, CliError> {
    let Some((program, arguments)) = words.split_first() else { return Err(CliError::bad_input("no program")) };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REGISTRY_") || name == "PULLPLUG_STRATEGY" {
            command.env_remove(name);
        }
    }
    let e = host::become_program(&mut command);
    Err(CliError::unavailable(format!("{} cannot be started: {e}", program.to_string_lossy())))
}

/// A registry that is to be judged.
struct Program {
    /// Its name in reports.
    name: String,
    words: Vec<String>,
    layout: String,
    /// The option that names it.
    option: String,
    is_ours: bool,
}

/// One of them on one file system.
#[derive(Serialize)]
struct Seen {
    program: String,
    fs: &'static str,
    seed: String,
    clients: u32,
    images_each: u32,
    #[serde(flatten)]
    verdict: Verdict,
}

/// What a program is told beside the document: what it was taken from.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    document: &'a Document,
    runs: &'a [Seen],
}

/// Runs the command.
pub fn run(args: &CrashedRegistryArgs) -> Result<u8, CliError> {
    let json = match &args.json {
        Some(Some(path)) => Some(files::Output::reserve(path)?),
        _ => None,
    };
    let (kinds, programs) = (kinds(&args.fs)?, programs(args)?);
    let (mut all, mut cells) = (Vec::new(), Vec::new());
    for program in &programs {
        for kind in &kinds {
            let verdict = judge(args, program, *kind)?;
            cells.extend(judged_cells(args, program, *kind, &verdict));
            let (seed, clients, images_each) = (args.seed.to_string(), args.clients, args.images);
            all.push(Seen { program: program.name.clone(), fs: kind.name, seed, clients, images_each, verdict });
        }
    }
    let document = Document {
        version: DOCUMENT_VERSION,
        cells,
        loss: Loss::PowerCut.name(),
        seed: args.seed.to_string(),
        budget: args.crashes.saturating_mul(args.runs),
        image: None,
    };
    let told = Told { document: &document, runs: &all };
    let as_json = || serde_json::to_string_pretty(&told).map_err(|e| CliError::internal(e.to_string()));
    if let Some(json) = json {
        json.write(&(as_json()? + "\n"))?;
    }
    output::print(&if args.json == Some(None) { as_json()? + "\n" } else { text(&document, &all) })?;
    let is_well = |seen: &Seen| {
        let Verdict { raw, again, unmountable, .. } = &seen.verdict;
        raw.broken.is_empty() && again.broken.is_empty() && unmountable.0 == 0 && !is_blind(&seen.verdict)
    };
    Ok(if all.iter().all(is_well) { exit::NOTHING_FOUND } else { exit::FOUND })
}

/// What is to be judged.
fn programs(args: &CrashedRegistryArgs) -> Result<Vec<Program>, CliError> {
    let mut all = Vec::new();
    if let Some(serve) = &args.serve {
        all.push(foreign(serve, &args.layout)?);
    }
    let this = std::env::current_exe().map_err(|e| CliError::unavailable(format!("where is this program: {e}")))?;
    for strategy in &args.strategies {
        let words = ["serve", "--root", "{root}", "--addr", "{addr}", "--strategy", strategy];
        let words = [this.display().to_string()].into_iter().chain(words.map(str::to_owned)).collect();
        let (name, layout) = (strategy.clone(), strategy.clone());
        all.push(Program { name, words, layout, option: format!("--strategies {strategy}"), is_ours: true });
    }
    Ok(all)
}

fn foreign(serve: &str, layout: &str) -> Result<Program, CliError> {
    let bad = |why: String| CliError::bad_input(format!("--serve {}: {why}", quoted(serve)));
    let words = shlex::split(serve).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| bad("this is no command".to_owned()))?;
    let has = |placeholder: &str| words.iter().any(|word| word.contains(placeholder));
    let [config, root, addr, port] = PLACEHOLDERS;
    if !(has(config) || has(root) && (has(addr) || has(port))) {
        let why =
            format!("it must be told where to keep images and where to listen, by {config}, or {root} and {addr}");
        return Err(bad(why));
    }
    if !can_be_started(&words[0]) {
        return Err(CliError::unavailable(format!("there is no program {:?}", words[0]))
            .help("Debian's package docker-registry has distribution's 2.8.2"));
    }
    let name = Path::new(&words[0]).file_name().map_or_else(|| words[0].clone(), |n| n.to_string_lossy().into_owned());
    let mut option = format!("--serve {}", quoted(serve));
    if layout != DEFAULT_LAYOUT {
        option.push_str(&format!(" --layout {layout}"));
    }
    Ok(Program { name, words, layout: layout.to_owned(), option, is_ours: false })
}

/// Whether there is a program of this name, as a shell looks for it.
#[expect(clippy::disallowed_methods, reason = "where programs are is for the environment to say")]
fn can_be_started(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn judge(args: &CrashedRegistryArgs, program: &Program, kind: FileSystem) -> Result<Verdict, CliError> {
    let restarts = args.restart.map_or(0, |count| count.unwrap_or(args.crashes).min(args.crashes));
    let task = Task {
        start: Start { words: program.words.clone(), start_s: args.start_s },
        layout: program.layout.clone(),
        size: Size { clients: args.clients, images: args.images },
        runs: args.runs,
        crashes: args.crashes,
        restarts,
        save: args.save.as_deref().map(|dir| saved_as(dir, program, kind)).transpose()?,
    };
    let images = task.images();
    let job = Job {
        work: args.disk.work(),
        server: 0,
        fs: kind.name.to_owned(),
        seed: args.seed,
        task: worker::Task::Registry(task),
        panic_after: args.disk.panic_after,
    };
    let bar = compare::progress(usize::try_from(images).unwrap_or(usize::MAX));
    let mut hear = |said: &Said| match said {
        Said::Image => bar.inc(1),
        Said::Step(what) => bar.set_message(format!("{} on {}: {what}", program.name, kind.name)),
        _ => {}
    };
    // Until the program answers nothing comes on.
    let limits = limits(&args.disk);
    let limits = Limits { patience: limits.patience + Duration::from_secs(args.start_s), ..limits };
    let outcome = done(kind, job, limits, &mut hear);
    bar.finish_and_clear();
    match outcome? {
        Outcome::Registry(verdict) => Ok(verdict),
        Outcome::Soundness(_) => Err(CliError::internal("another job was done")),
    }
}

/// How the paths of saved images begin.
fn saved_as(dir: &Path, program: &Program, kind: FileSystem) -> Result<String, CliError> {
    files::make_dir(dir)?;
    let dir = dir.canonicalize().map_err(|e| CliError::bad_input(format!("cannot write {}: {e}", dir.display())))?;
    Ok(dir.join(format!("{}-{}", program.name, kind.name)).display().to_string())
}

/// The verdict as cells of a comparison: one of what lies there, and one of restarts if there were any.
fn judged_cells(args: &CrashedRegistryArgs, program: &Program, kind: FileSystem, verdict: &Verdict) -> Vec<Cell> {
    let model = kind.models().next().map_or(kind.name, |model| model.name());
    let claimed = |i: Invariant| program.is_ours && claims(&program.name, model, Loss::PowerCut, i);
    let judged = WORKLOADS.into_iter().zip([&verdict.raw, &verdict.again]);
    let cell = |(workload, judged): (&str, &Judged)| {
        let of = |counts: &BTreeMap<String, u64>, i: Invariant| counts.get(i.name()).copied().unwrap_or_default();
        let all = || Invariant::ALL.into_iter();
        let violations = all().map(|i| (i.name(), of(&judged.broken, i))).filter(|(_, n)| *n > 0);
        Cell {
            strategy: program.name.clone(),
            model: kind.name,
            workload: workload.to_owned(),
            crash_points: usize::try_from(verdict.log.0).unwrap_or(usize::MAX),
            crash_states: if workload == WORKLOADS[0] { judged.images } else { 0 }.to_string(),
            restart_states: if workload == WORKLOADS[0] { 0 } else { judged.images }.to_string(),
            failed_sync_states: "0".to_owned(),
            recovers_always: false,
            recovery_states: "0".to_owned(),
            coverage: Coverage::Sampled,
            interleavings: None,
            is_counted: true,
            executions: judged.images,
            evaluated: all().map(|i| (i.name(), of(&judged.looked, i))).collect(),
            violations: violations.collect(),
            claimed_safe: all().all(claimed),
            broken_claims: all().filter(|i| claimed(*i) && of(&judged.broken, *i) > 0).map(Invariant::name).collect(),
            findings: all().filter_map(|i| finding(args, program, kind, judged, i.name())).collect(),
            seconds: None,
        }
    };
    judged.filter(|(_, judged)| judged.images > 0).map(cell).collect()
}

fn finding(
    args: &CrashedRegistryArgs,
    program: &Program,
    kind: FileSystem,
    judged: &Judged,
    rule: &'static str,
) -> Option<Counterexample> {
    let example = judged.examples.get(rule)?;
    Some(Counterexample {
        invariant: rule,
        detail: example.detail.clone(),
        turns: None,
        restart_at: None,
        failed_sync: None,
        crash_at: example.cut.clone(),
        lost: example.lost.clone(),
        recovery: None,
        spec: format!("{}/{}/{}", program.name, kind.name, example.size.1),
        replay: match &example.saved {
            Some(file) => format!("mount -o loop {} /mnt", quoted(&file.display().to_string())),
            None => again_line(args, program, kind),
        },
        size: (0, example.size.0, u32::try_from(example.size.1).unwrap_or(u32::MAX)),
    })
}

/// The command that does the like again.
fn again_line(args: &CrashedRegistryArgs, program: &Program, kind: FileSystem) -> String {
    let mut line = format!("pullplug kernel registry --fs {} {}", kind.name, program.option);
    let defaults = [("clients", args.clients, 6), ("images", args.images, 4)].map(|(n, v, d)| (n, u64::from(v), d));
    let rest = [("crashes", args.crashes, 400), ("runs", args.runs, 1), ("seed", args.seed, DEFAULT_SEED)];
    for (name, value, default) in defaults.into_iter().chain(rest) {
        if value != default {
            line.push_str(&format!(" --{name} {value}"));
        }
    }
    if let Some(restart) = args.restart {
        line.push_str(&restart.map_or(" --restart".to_owned(), |n| format!(" --restart={n}")));
    }
    line
}

/// Whether the control broke nothing, though it looked often enough.
fn is_blind(verdict: &Verdict) -> bool {
    verdict.caught == 0 && controls(verdict) >= ENOUGH_CONTROLS
}

fn controls(verdict: &Verdict) -> u64 {
    verdict.images.get(&Way::Forgetful).copied().unwrap_or_default()
}

fn text(document: &Document, all: &[Seen]) -> String {
    let mut out: String = all.iter().map(|seen| told(seen) + "\n").collect();
    if document.cells.len() > 1 {
        out.push_str(&matrix::render(document));
        out.push('\n');
    }
    for (cell, finding) in smallest(&document.cells) {
        out.push_str(&(counterexample::short(cell, finding) + "\n"));
    }
    for seen in all {
        if let Some(example) = seen.verdict.again.examples.get(LIVE_AGAIN) {
            let (what, why, at) = (&seen.program, &example.detail, &example.cut);
            out.push_str(&format!(
                "{STRONG}{what}{STRONG:#} on {}, not live again: {why}\n  crash     {at}\n",
                seen.fs
            ));
        }
    }
    out
}

/// Of each program, the smallest example of each invariant that is broken.
fn smallest(cells: &[Cell]) -> Vec<(&Cell, &Counterexample)> {
    let mut found: BTreeMap<(&str, Invariant), (&Cell, &Counterexample)> = BTreeMap::new();
    for cell in cells {
        for (invariant, finding) in cell.broken().zip(&cell.findings) {
            let known = found.entry((&cell.strategy, invariant)).or_insert((cell, finding));
            if finding.size < known.1.size {
                *known = (cell, finding);
            }
        }
    }
    found.into_values().collect()
}

/// What was done, and how often each rule was broken.
fn told(seen: &Seen) -> String {
    let Verdict { operations, log, images, median_micros, raw, again, .. } = &seen.verdict;
    let of = |way: Way| grouped(images.get(&way).copied().unwrap_or_default());
    let mut out = format!(
        "{STRONG}{} on {}{STRONG:#}: {} clients, {} images each, seed {}; {} operations, {} acknowledged\n\
         {} entries of the disk's log, {} flushes; {} images: {} prefixes, {} reordered; {:.1} ms each (median)\n\
         control: {} of {} images of a disk that ignored flushes broke something\n",
        seen.program,
        seen.fs,
        seen.clients,
        seen.images_each,
        seen.seed,
        grouped(operations.0),
        grouped(operations.1),
        grouped(log.0),
        grouped(log.1),
        grouped(raw.images),
        of(Way::Prefix),
        of(Way::Reordered),
        *median_micros as f64 / 1000.0,
        seen.verdict.caught,
        controls(&seen.verdict),
    );
    if let Some(first) = &seen.verdict.first_failure {
        let failed = grouped(seen.verdict.failed);
        out.push_str(&format!("{BROKEN}failed{BROKEN:#}: {failed} requests, the first: {first}\n"));
    }
    if let (count @ 1.., Some(first)) = &seen.verdict.unmountable {
        out.push_str(&format!("{BROKEN_CLAIM}{count} images cannot be read{BROKEN_CLAIM:#}, the first: {first}\n"));
    }
    if is_blind(&seen.verdict) {
        out.push_str(&format!("{BROKEN_CLAIM}the control broke nothing: the recorder does not work{BROKEN_CLAIM:#}\n"));
    }
    out.push_str(&format!("\n{:<24}{:>16}", "images that break", "as they lie"));
    out.push_str(if again.images > 0 { "    after a restart\n" } else { "\n" });
    for rule in Invariant::ALL.into_iter().map(Invariant::name).chain([LIVE_AGAIN]) {
        if [raw, again].iter().all(|judged| !judged.looked.contains_key(rule)) {
            continue;
        }
        let broken: u64 = [raw, again].iter().filter_map(|judged| judged.broken.get(rule)).sum();
        let style = if broken > 0 { BROKEN } else { GOOD };
        let shown = |judged: &Judged| {
            let looked = judged.looked.get(rule)?;
            Some(format!("{} of {}", grouped(judged.broken.get(rule).copied().unwrap_or_default()), grouped(*looked)))
        };
        let [raw, again] = [raw, again].map(|judged| shown(judged).unwrap_or_default());
        let line = format!("{rule:<24}{raw:>16}{again:>19}");
        out.push_str(&format!("{style}{}{style:#}\n", line.trim_end()));
    }
    out
}
