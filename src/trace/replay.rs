//! From a trace to a run: the calls in their order, the marks between them, the contents that they left.

use bytes::Bytes;

use super::calls::Failure;
use super::descriptors::{Machine, is_about_names};
use super::line::{Call, Event as Line, events};
use super::notes::Notes;
use super::place::Roots;
use super::process::Processes;
use super::{TraceError, acks};
use crate::check::contents::{Content, Contents, Kind};
use crate::check::oracle::{Event, Mark};
use crate::disk::SimFs;
use crate::disk::tree::Tree;
use crate::env::run_now;
use crate::explore::Run;
use crate::fs::{FileKind, Fs, FsExt};
use crate::oci::{Algorithm, Digest};
use crate::strategy::layout;

/// Longest file that is taken for the content of a blob.
const MAX_BLOB_BYTES: u64 = 1 << 32;

/// Calls that make, move or take names: those whose order others can see.
const NAMING: [&str; 14] = [
    "open",
    "openat",
    "openat2",
    "creat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
];

/// What a trace tells.
#[derive(Debug, Clone)]
pub struct Recording {
    /// What was durable at the beginning, and what was done then.
    pub run: Run,
    /// The calls as an operation list.
    pub calls: Vec<String>,
    /// The operations that were asked for, in words. Marks `2 * i` and `2 * i + 1` are of operation `i`.
    pub ops: Vec<String>,
    /// What each of them changes.
    pub events: Vec<Option<Event>>,
    /// The marks, in the order in which they were passed.
    pub passed: Vec<Mark>,
    /// The bytes that were stored, as far as they are known.
    pub contents: Contents,
    /// What is not part of the run.
    pub notes: Notes,
    /// Calls of the trace, whatever they touch.
    pub calls_in_trace: usize,
    /// Calls of the trace that were replayed.
    pub calls_replayed: u64,
}

impl Recording {
    /// How many operations were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.passed.iter().filter(|mark| matches!(mark, Mark::End(_))).count()
    }
}

/// Makes the calls of `text`, the output of strace, that touch the directory `roots`; `base` is what was in it before.
///
/// Errors: the trace cannot be read, or it does not begin with what is in `base`.
pub fn replay(text: &str, roots: &Roots, base: Tree) -> Result<Recording, TraceError> {
    let (lines, open) = events(text)?;
    let mut notes = Notes::default();
    let acks::Acknowledged { ops, events, marks, contents } = acks::read(&lines, &mut notes)?;
    let disk = SimFs::with_tree(base);
    let machine = Machine::new(disk.clone(), roots, Processes::of(&lines), &mut notes);
    let mut replay = Replay { machine, lines: &lines, done: vec![false; lines.len()] };
    let mut contents = Known { disk: disk.clone(), contents };
    let mut passed = Vec::new();
    for at in 0..lines.len() {
        replay.step(at)?;
        for mark in marks.get(&at).into_iter().flatten() {
            let (op, number) = match mark {
                Mark::Begin(op) => (*op, 2 * op),
                Mark::End(op) | Mark::Lost(op) => (*op, 2 * op + 1),
            };
            if let (Mark::End(_), Some(Event::PutBlob { digest, .. })) = (mark, &events[op]) {
                contents.learn_from_layout(digest);
            }
            disk.mark(number as u32);
            passed.push(*mark);
        }
    }
    let Machine { fs, notes, touched, .. } = replay.end(&open);
    let notes = std::mem::take(notes);
    contents.learn_from_files(&events);
    let (base, log) = disk.snapshot();
    Ok(Recording {
        run: Run { base, log: log.into(), restarted_at: None, failed: None },
        calls: fs.trace().lines(),
        ops,
        events,
        passed,
        contents: contents.contents,
        notes,
        calls_in_trace: lines.iter().filter(|line| matches!(line, Line::Call(_))).count(),
        calls_replayed: touched,
    })
}

struct Replay<'a> {
    machine: Machine<'a>,
    lines: &'a [Line<'a>],
    /// What was taken before its turn.
    done: Vec<bool>,
}

impl<'a> Replay<'a> {
    fn step(&mut self, at: usize) -> Result<(), TraceError> {
        let lines = self.lines;
        let call = match &lines[at] {
            Line::Exit(process) => {
                self.machine.processes.ended(*process);
                return Ok(());
            }
            Line::Call(call) => call,
        };
        if std::mem::replace(&mut self.done[at], true) {
            return Ok(());
        }
        let mut refused = match self.machine.call(call) {
            Ok(()) => return Ok(()),
            Err(Failure::Trace(e)) => return Err(e),
            Err(Failure::Refused(e)) => e,
        };
        // A call that overlaps this one and came back later may have been first.
        let overlaps = |line: &Line<'_>| match line {
            Line::Call(other) => other.begun < call.ended && NAMING.contains(&other.name),
            Line::Exit(_) => false,
        };
        let others: Vec<usize> = (at + 1..lines.len()).filter(|i| !self.done[*i] && overlaps(&lines[*i])).collect();
        for other in others {
            if !is_about_names(&refused) {
                break;
            }
            let Line::Call(other_call) = &lines[other] else { continue };
            match self.machine.call(other_call) {
                Ok(()) => self.done[other] = true,
                Err(Failure::Trace(e)) => return Err(e),
                Err(Failure::Refused(_)) => continue,
            }
            match self.machine.call(call) {
                Ok(()) => return Ok(()),
                Err(Failure::Trace(e)) => return Err(e),
                Err(Failure::Refused(e)) => refused = e,
            }
        }
        if self.machine.notes.gaps().is_empty() {
            let what = format!("{} did what cannot be done in this directory: {refused}", call.name);
            return Err(TraceError::new(call.ended, what).help(
                "the directory was not empty when the trace began, or another process changed it: give a copy of it as \
                 it was then with --base DIR",
            ));
        }
        self.machine.notes.gap(call.name, "it needs what could not be replayed", call.begun);
        Ok(())
    }

    /// Looks at the calls that never came back.
    fn end(self, open: &[Call<'_>]) -> Machine<'a> {
        let machine = self.machine;
        for call in open {
            let changes = NAMING.contains(&call.name) || call.name.contains("write") || call.name.contains("truncate");
            if changes && machine.mentions(&call.arguments) {
                machine.notes.gap(call.name, "it never came back, and may have happened", call.begun);
            }
        }
        machine
    }
}

/// The bytes that are known, and where more may be found.
struct Known {
    disk: SimFs,
    contents: Contents,
}

impl Known {
    /// Learns a blob from where distribution's layout has it.
    fn learn_from_layout(&mut self, digest: &Digest) {
        if self.contents.get(digest).is_none() {
            self.learn(&layout::blob_data(digest), |found| found == digest);
        }
    }

    /// Learns what blobs and manifests are asked for and not known yet, from whichever file has it in the end.
    fn learn_from_files(&mut self, events: &[Option<Event>]) {
        let mut wanted: Vec<Digest> = Vec::new();
        for event in events.iter().flatten() {
            match event {
                Event::PutBlob { digest, .. } => wanted.push(*digest),
                Event::PutManifest { blobs, .. } => wanted.extend(blobs),
                _ => {}
            }
        }
        wanted.retain(|digest| self.contents.get(digest).is_none());
        if wanted.is_empty() {
            return;
        }
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for entry in run_now(self.disk.read_dir(&dir)).unwrap_or_default() {
                let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
                match entry.kind {
                    FileKind::Dir => dirs.push(path),
                    FileKind::File => self.learn(&path, |found| wanted.contains(found)),
                }
            }
        }
    }

    /// Learns what a file holds, if that is wanted.
    fn learn(&mut self, path: &str, is_wanted: impl Fn(&Digest) -> bool) {
        let Ok(bytes) = run_now(self.disk.read(path, MAX_BLOB_BYTES)) else { return };
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, &bytes);
            if is_wanted(&digest) && self.contents.get(&digest).is_none() {
                self.contents.insert(algorithm, Content { bytes: Bytes::clone(&bytes), kind: Kind::Blob });
            }
        }
    }
}
