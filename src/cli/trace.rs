//! `pullplug trace`: from the system calls of any program to the crashes of its directory.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{DEFAULT_LAYOUT, TraceArgs};
use super::cell::{cell, quoted};
use super::error::CliError;
use super::{exit, files, output};
use crate::check::Invariant;
use crate::disk::SimFs;
use crate::disk::model::{self, PersistenceModel};
use crate::disk::tree::Tree;
use crate::env::run_now;
use crate::explore::lazy::{Limits, prove};
use crate::explore::replay::Crash;
use crate::explore::{self, Budget, Setting};
use crate::fs::real::RealFs;
use crate::fs::trace::number_ids;
use crate::fs::{FileExt, FileKind, Fs, FsExt, OpenMode};
use crate::report::case::{Case, verdict};
use crate::report::covered::Covered;
use crate::report::spec::{Spec, fingerprint};
use crate::report::words::{counted, grouped, magnitude};
use crate::report::{
    BROKEN, BROKEN_CLAIM, Cell, Counterexample, Coverage, DOCUMENT_VERSION, Document, STRONG, counterexample, detail,
    matrix,
};
use crate::trace::notes::Note;
use crate::trace::subject::Recorded;
use crate::trace::{Roots, TraceError, replay};

/// Longest trace that is read.
const MAX_TRACE_BYTES: u64 = 4 << 30;
/// Longest file that was there before.
const MAX_BASE_FILE_BYTES: u64 = 4 << 30;
/// The workload's name in reports: what it was is the program's business.
const WORKLOAD: &str = "trace";

/// Runs the command.
pub fn run(args: TraceArgs) -> Result<u8, CliError> {
    let json = match &args.json {
        Some(Some(path)) => Some(files::Output::reserve(path)?),
        _ => None,
    };
    let scene = Scene::new(args)?;
    let args = &scene.args;
    if args.ops {
        output::print(
            &number_ids(&scene.subject.recording.calls).iter().map(|line| format!("{line}\n")).collect::<String>(),
        )?;
        scene.warn();
        return Ok(scene.clean());
    }
    if let Some(crash) = &args.crash {
        return scene.show(crash);
    }
    let models = model::ALL.into_iter().filter(|m| args.model.as_ref().is_none_or(|name| name == m.name()));
    let cells = models.map(|model| scene.explore(model)).collect::<Result<Vec<Cell>, CliError>>()?;
    let found = cells.iter().any(|cell| !cell.violations.is_empty());
    let document = Document {
        version: DOCUMENT_VERSION,
        cells,
        loss: scene.loss().name(),
        seed: args.seed.to_string(),
        budget: args.budget.get(),
        image: None,
    };
    if let Some(json) = json {
        json.write(&scene.json(&document)?)?;
    }
    output::print(&if args.json == Some(None) { scene.json(&document)? } else { scene.text(&document)? })?;
    Ok(if found { exit::FOUND } else { scene.clean() })
}

/// What was recorded, and how to look at it.
struct Scene {
    args: TraceArgs,
    subject: Recorded,
    /// What the program is called in reports.
    name: String,
    gaps: Vec<Note>,
}

/// What a program is told of the trace itself, beside the document.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    document: &'a Document,
    trace: TraceTold<'a>,
}

/// What was recorded.
#[derive(Serialize)]
struct TraceTold<'a> {
    file: String,
    root: String,
    layout: &'a str,
    calls: usize,
    calls_replayed: u64,
    operations: &'a [String],
    acknowledged: usize,
    not_replayed: &'a [Note],
    ignored: Vec<Note>,
}

impl Scene {
    fn new(args: TraceArgs) -> Result<Self, CliError> {
        let shown = args.file.display();
        let bytes = files::read_up_to(&args.file, MAX_TRACE_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| CliError::bad_input(format!("{shown} is no text")))?;
        let base = args.base.as_deref().map(load).transpose()?.unwrap_or_default();
        let recording = replay(&text, &roots(&args.root)?, base).map_err(|e: TraceError| {
            let error = CliError::bad_input(format!("cannot replay {shown}: {e}"));
            if let Some(help) = e.help { error.help(help) } else { error }
        })?;
        let gaps = recording.notes.gaps();
        if recording.calls_replayed == 0 && gaps.is_empty() {
            return Err(CliError::bad_input(format!("nothing in {shown} changes {}", args.root.display()))
                .help("name the directory by the path that the program used"));
        }
        let name = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "-");
        let subject = Recorded { recording, layout: args.layout.clone() };
        Ok(Self { args, subject, name, gaps })
    }

    fn loss(&self) -> crate::disk::crash::Loss {
        self.args.loss.into()
    }

    /// The exit code where nothing was found.
    fn clean(&self) -> u8 {
        if self.gaps.is_empty() { exit::NOTHING_FOUND } else { exit::BAD_INPUT }
    }

    fn warn(&self) {
        self.gaps.iter().for_each(|gap| output::print_warning(&format!("not replayed: {}", note(gap))));
    }

    fn case<'a>(&'a self, model: &'a dyn PersistenceModel) -> Case<'a, Recorded, String> {
        Case {
            subject: &self.subject,
            run: &self.subject.recording.run,
            model,
            loss: self.loss(),
            strategy: &self.name,
            workload: WORKLOAD,
            ops: &self.subject.recording.ops,
            together: None,
        }
    }

    fn explore(&self, model: &dyn PersistenceModel) -> Result<Cell, CliError> {
        let states = usize::try_from(self.args.budget.get()).unwrap_or(usize::MAX);
        let budget = Budget { states, recovery_states: 0, restart_states: 0 };
        let setting = Setting { model, loss: self.loss(), seed: self.args.seed, budget };
        let run = &self.subject.recording.run;
        let proof = self.args.prove.then(|| prove(&self.subject, run, setting, Limits::default()));
        let enumerate = || explore::explore(&self.subject, run, setting);
        let seen = Covered::of(proof, enumerate).map_err(|e| CliError::internal(e.to_string()))?;
        let mut findings = Vec::new();
        for finding in Invariant::ALL.iter().filter_map(|invariant| seen.findings.get(invariant.name())) {
            let told = self.case(model).counterexample(finding, |spec| self.replay_line(spec));
            findings.push(told.map_err(|e| {
                CliError::internal(format!("a finding of {} cannot be reproduced: {e}", finding.invariant))
            })?);
        }
        // Nothing is restarted: what a proof says of it is what it says of the run itself.
        let restart_states = "0".to_owned();
        Ok(Cell { findings, restart_states, ..cell(&self.name, WORKLOAD, &seen, setting, |_| false) })
    }

    /// The command that shows a crash again.
    fn replay_line(&self, spec: &Spec) -> String {
        let path = |path: &Path| quoted(&path.display().to_string());
        let mut line = format!("pullplug trace {} --root {}", path(&self.args.file), path(&self.args.root));
        if let Some(base) = &self.args.base {
            line.push_str(&format!(" --base {}", path(base)));
        }
        if self.args.layout != DEFAULT_LAYOUT {
            line.push_str(&format!(" --layout {}", self.args.layout));
        }
        format!("{line} --crash {spec}")
    }

    /// One crash again.
    fn show(&self, crash: &str) -> Result<u8, CliError> {
        let (story, seen, spec) = self.story(crash)?;
        let (verdict, broken) = verdict(spec.invariant.as_deref(), &seen);
        output::print(&(story + &verdict))?;
        self.warn();
        Ok(if broken { exit::FOUND } else { self.clean() })
    }

    fn story(&self, crash: &str) -> Result<(String, Vec<explore::Observation>, Spec), CliError> {
        let bad = |e: &dyn std::fmt::Display| CliError::bad_input(format!("{crash:?} is no crash of this trace: {e}"));
        let spec: Spec = crash.parse().map_err(|e| bad(&e))?;
        let model = model::named(&spec.model).ok_or_else(|| bad(&format!("there is no model {:?}", spec.model)))?;
        if spec.run.is_some_and(|hash| hash != fingerprint(&self.subject.recording.run.log)) {
            return Err(bad(&"it was found in another one, or with another directory"));
        }
        let case = Case { loss: spec.loss, ..self.case(model) };
        let crash: &Crash = &spec.crash;
        let again = case.reproduce(crash).map_err(|e| bad(&e))?;
        Ok((case.story(crash, &again), again.judge(&self.subject), spec))
    }

    fn json(&self, document: &Document) -> Result<String, CliError> {
        let recording = &self.subject.recording;
        let trace = TraceTold {
            file: self.args.file.display().to_string(),
            root: self.args.root.display().to_string(),
            layout: &self.args.layout,
            calls: recording.calls_in_trace,
            calls_replayed: recording.calls_replayed,
            operations: &recording.ops,
            acknowledged: recording.acknowledged(),
            not_replayed: &self.gaps,
            ignored: recording.notes.others(),
        };
        let text = serde_json::to_string_pretty(&Told { document, trace });
        text.map(|text| text + "\n").map_err(|e| CliError::internal(e.to_string()))
    }

    fn text(&self, document: &Document) -> Result<String, CliError> {
        let recording = &self.subject.recording;
        let mut out = format!(
            "{STRONG}{}{STRONG:#}: {}, {} of them on {}; {}, {} acknowledged\n",
            self.args.file.display(),
            counted(recording.calls_in_trace as u64, "call"),
            grouped(recording.calls_replayed),
            self.args.root.display(),
            counted(recording.ops.len() as u64, "operation"),
            grouped(recording.acknowledged() as u64),
        );
        for gap in &self.gaps {
            out.push_str(&format!("{BROKEN_CLAIM}not replayed{BROKEN_CLAIM:#}  {}\n", note(gap)));
        }
        if !self.gaps.is_empty() {
            out.push_str("What follows is said of the calls that were replayed, not of the program.\n");
        }
        for ignored in recording.notes.others() {
            out.push_str(&format!("{BROKEN}left out{BROKEN:#}  {}\n", note(&ignored)));
        }
        out.push('\n');
        match &document.cells[..] {
            cells if !cells.iter().any(Cell::looked) => out.push_str(&self.unjudged(cells)),
            [cell] => out.push_str(&detail::render(document, cell, |_| false)),
            cells => {
                out.push_str(&matrix::render(document));
                for (cell, finding) in smallest(cells) {
                    out.push_str(&format!("\n{}", counterexample::short(cell, finding)));
                }
            }
        }
        let all = smallest(&document.cells);
        if let Some((_, finding)) = all.iter().min_by_key(|(_, finding)| finding.size) {
            let (story, ..) = self.story(&finding.spec)?;
            out.push_str(&format!("\n{STRONG}The smallest of them, call by call{STRONG:#}\n\n{story}"));
        }
        Ok(out)
    }

    /// What is said where there was nothing to judge.
    fn unjudged(&self, cells: &[Cell]) -> String {
        let mut out = format!(
            "No content was acknowledged, and no file is a link of {}: no invariant looked at anything.\n\
             --ops lists the calls. What crashes may leave of them:\n\n",
            self.args.layout
        );
        for cell in cells {
            let sampled = if cell.coverage == Coverage::Sampled { ", a sample" } else { "" };
            let (points, states) = (counted(cell.crash_points as u64, "crash point"), magnitude(&cell.crash_states));
            out.push_str(&format!("{:<20}{points}, crash states: {states}{sampled}\n", cell.model));
        }
        out
    }
}

/// The smallest counterexample of each broken invariant.
fn smallest(cells: &[Cell]) -> Vec<(&Cell, &Counterexample)> {
    let all = || cells.iter().flat_map(|cell| cell.findings.iter().map(move |finding| (cell, finding)));
    let of = |invariant: Invariant| {
        all().filter(|(_, finding)| finding.invariant == invariant.name()).min_by_key(|(_, finding)| finding.size)
    };
    Invariant::ALL.into_iter().filter_map(of).collect()
}

fn note(note: &Note) -> String {
    format!("{}, {}, first in line {}: {}", note.what, counted(note.count, "time"), note.first_line, note.why)
}

/// The directory as the program may have named it, and as the kernel does.
fn roots(root: &Path) -> Result<Roots, CliError> {
    let absolute = std::path::absolute(root)
        .map_err(|e| CliError::bad_input(format!("{} names no directory: {e}", root.display())))?;
    let canonical: Option<PathBuf> = absolute.canonicalize().ok();
    Ok(Roots::new([Some(absolute), canonical].into_iter().flatten().map(|path| path.as_os_str().as_bytes().to_vec())))
}

/// What is in a directory.
fn load(dir: &Path) -> Result<Tree, CliError> {
    let disk = SimFs::new();
    let loaded = RealFs::open_root(dir).and_then(|real| {
        run_now(async {
            let mut dirs = vec![String::new()];
            while let Some(dir) = dirs.pop() {
                for entry in real.list(&dir).await? {
                    let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
                    if entry.kind == FileKind::Dir {
                        disk.mkdir(&path).await?;
                        dirs.push(path);
                    } else {
                        let bytes = real.read(&path, MAX_BASE_FILE_BYTES).await?;
                        disk.open(&path, OpenMode::CreateNew).await?.write_full(0, bytes).await?;
                    }
                }
            }
            Ok(disk.tree())
        })
    });
    loaded.map_err(|e| CliError::bad_input(format!("cannot read {}: {e}", dir.display())))
}
