//! What each call of a workload is for. Calls of one role (the same call of the same operation, for another blob or
//! digest) stand for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::check::oracle::Mark;
use crate::disk::SimFs;
use crate::fs::hooked::HookedFs;
use crate::fs::trace::{Call, number_ids};
use crate::strategy::Protocol;
use crate::workload::op::Op;
use crate::workload::run::RunError;
use crate::workload::subject::RegistrySubject;

/// What a call is for: which call it is, in general terms, and of which operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Role {
    /// The operation ([`verb`]).
    pub verb: &'static str,
    /// The call ([`general`]).
    pub call: String,
}

impl Role {
    /// The role of `call` in an operation.
    pub fn of(verb: &'static str, call: &Call) -> Self {
        Self { verb, call: general(call) }
    }

    /// Whether `call` has this role.
    pub fn is_of(&self, verb: &str, call: &Call) -> bool {
        let word = self.call.split(' ').next();
        self.verb == verb && word == Some(call.name()) && general(call) == self.call
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verb, self.call)
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = text.split_once(": ").and_then(|(verb, call)| {
            let verb = VERBS.into_iter().find(|known| *known == verb)?;
            Some(Self { verb, call: call.to_owned() })
        });
        known.ok_or_else(|| format!("{text:?} is not an operation ({}), a colon, and a call", VERBS.join(", ")))
    }
}

/// A call of a workload that changes something.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it is for.
    pub role: Role,
    /// Whether it makes something durable.
    pub is_sync: bool,
    /// How many of the same call, in general terms, come before it.
    pub nth: usize,
    /// How many syncs come before it.
    pub syncs_before: u64,
    /// The next call that changes something, in general terms.
    pub next: String,
}

impl Step {
    /// The first of those that stand for each other, by what `role` takes for one.
    pub fn firsts(steps: Vec<Self>, known: &mut BTreeSet<String>, role: impl Fn(&Self) -> String) -> Vec<Self> {
        steps.into_iter().filter(|step| known.insert(role(step))).collect()
    }
}

/// The operation before the first of a process.
pub const START: &str = "start";

/// What operations are called.
const VERBS: [&str; 9] =
    [START, "start upload", "append", "resume", "commit", "put manifest", "delete manifest", "collect", "other"];

/// What an operation is called.
pub fn verb(op: &Op) -> &'static str {
    match op {
        Op::Restart => START,
        Op::StartUpload { .. } => "start upload",
        Op::Append { .. } => "append",
        Op::Resume { .. } => "resume",
        Op::Commit { .. } => "commit",
        Op::PutManifest { .. } => "put manifest",
        Op::DeleteManifest { .. } => "delete manifest",
        Op::Collect { .. } => "collect",
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
///
/// Errors: an operation is refused.
pub fn steps<P: Protocol>(subject: &RegistrySubject<P>) -> Result<Vec<Step>, RunError> {
    let disk = SimFs::new();
    subject.set_up(&disk)?;
    let fs = HookedFs::new(disk);
    let ops = &subject.workload().ops;
    let (mut begins, trace) = (Vec::new(), fs.trace().clone());
    let note = |mark| {
        if let Mark::Begin(i) = mark {
            begins.push((trace.calls().len(), verb(&ops[i])));
        }
    };
    subject.run_on(fs.clone(), note)?;
    let calls = trace.calls();
    let lines: Vec<String> = calls.iter().map(general).collect();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut steps, mut syncs_before) = (Vec::new(), 0);
    for (at, call) in calls.iter().enumerate() {
        let nth = seen.entry(&lines[at]).or_default();
        *nth += 1;
        let verb = begins.iter().rev().find(|(from, _)| *from <= at).map_or(START, |(_, verb)| *verb);
        steps.push(Step {
            role: Role { verb, call: lines[at].clone() },
            is_sync: call.is_sync(),
            nth: *nth - 1,
            syncs_before,
            next: lines.get(at + 1).cloned().unwrap_or_default(),
        });
        syncs_before += u64::from(call.is_sync());
    }
    Ok(steps)
}
