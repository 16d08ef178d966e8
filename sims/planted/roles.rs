//! What each call of a workload is for. Calls of one role (the same call of the same operation, for another blob or
//! digest) stand for each other.

use std::collections::{BTreeMap, BTreeSet};

use pullplug::check::oracle::Mark;
use pullplug::disk::SimFs;
use pullplug::explore::Subject;
use pullplug::fs::hooked::HookedFs;
use pullplug::fs::trace::{Call, number_ids};
use pullplug::workload::op::Op;
use pullplug::workload::subject::RegistrySubject;

/// A call of a workload.
pub struct Step {
    /// The call, in general terms.
    pub call: String,
    pub is_sync: bool,
    /// How many such calls come before it.
    pub nth: usize,
    /// How many syncs come before it.
    pub syncs_before: u64,
    /// The operation.
    pub verb: &'static str,
    /// The next call that changes something, in general terms.
    pub next: String,
}

impl Step {
    /// The first of those that stand for each other, by what `role` takes for one.
    pub fn firsts(steps: Vec<Self>, known: &mut BTreeSet<String>, role: impl Fn(&Self) -> String) -> Vec<Self> {
        steps.into_iter().filter(|step| known.insert(role(step))).collect()
    }
}

fn verb(op: &Op) -> &'static str {
    match op {
        Op::StartUpload { .. } => "start upload",
        Op::Append { .. } => "append",
        Op::Resume { .. } => "resume",
        Op::Commit { .. } => "commit",
        Op::PutManifest { .. } => "put manifest",
        Op::DeleteManifest { .. } => "delete manifest",
        Op::Collect { .. } => "collect",
        Op::Restart => "start",
        _ => "other",
    }
}

/// A call with the root, the repository, lengths and all digests and identifiers left out.
pub fn general(call: &Call) -> String {
    let line = generalised(&call.to_string());
    match call {
        Call::Write { .. } | Call::Truncate { .. } => line.rsplit_once(' ').map_or(line.clone(), |(l, _)| l.to_owned()),
        _ => line,
    }
}

/// As [`general`], of a call or an effect that was written down, and lengths stay.
pub fn generalised(line: &str) -> String {
    let line = number_ids(&[line]).remove(0);
    line.split(' ')
        .map(|word| if word.contains('/') { path(word) } else { word.to_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

fn path(path: &str) -> String {
    let path = path.strip_prefix("docker/registry/v2/").unwrap_or(path);
    let path = path.strip_prefix("repositories/lib/app/").unwrap_or(path);
    let is_hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let part = |part: &str| match part.len() {
        64 if is_hex(part) => "HEX".to_owned(),
        _ if path.contains("/hashstates/") && is_number(part) => "OFFSET".to_owned(),
        2 if is_hex(part) => "HE".to_owned(),
        _ => part.replace("upload-1", "ID").replace("upload-2", "ID"),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The calls that change something, of the workload as it should be.
pub fn steps(subject: &RegistrySubject) -> Vec<Step> {
    let disk = SimFs::new();
    subject.prepare(&disk).unwrap();
    let fs = HookedFs::new(disk);
    let ops = &subject.workload().ops;
    let (mut begins, trace) = (Vec::new(), fs.trace().clone());
    let note = |mark| {
        if let Mark::Begin(i) = mark {
            begins.push((trace.calls().len(), verb(&ops[i])));
        }
    };
    subject.run_on(fs.clone(), note).unwrap();
    let calls = trace.calls();
    let lines: Vec<String> = calls.iter().map(general).collect();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut steps, mut syncs_before) = (Vec::new(), 0);
    for (at, call) in calls.iter().enumerate() {
        let nth = seen.entry(&lines[at]).or_default();
        *nth += 1;
        steps.push(Step {
            call: lines[at].clone(),
            is_sync: call.is_sync(),
            nth: *nth - 1,
            syncs_before,
            verb: begins.iter().rev().find(|(from, _)| *from <= at).map_or("start", |(_, verb)| *verb),
            next: lines.get(at + 1).cloned().unwrap_or_default(),
        });
        syncs_before += u64::from(call.is_sync());
    }
    steps
}
