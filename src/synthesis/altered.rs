//! A strategy with other syncs than its own, or another order, under a workload.
//!
//! The change is made from outside, between the strategy and the disk, in every process that serves clients: the one
//! that is restarted and the one that recovers included. What looks at the disk afterwards is as it was: it does not
//! crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use super::roles::{Role, START, general, verb};
use crate::check::oracle::Mark;
use crate::disk::SimFs;
use crate::env::run_now;
use crate::env::sync::hold;
use crate::explore::{Observation, Subject};
use crate::fs::hooked::{Action, HookedFs, Syncs};
use crate::fs::trace::{Call, Trace};
use crate::fs::{FileKind, Fs};
use crate::strategy::Protocol;
use crate::workload::op::Op;
use crate::workload::probe::Probe;
use crate::workload::subject::RegistrySubject;

/// What is synced after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The file, under its new name if it got one.
    File,
    /// The directory that holds its name, or its new name.
    Dir,
    /// The directory that held its old name.
    OldDir,
    /// Everything, before a process that starts does anything: what a killed one left is there, and may not be durable.
    All,
}

impl What {
    /// The sync in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "fsync of the file",
            Self::Dir => "fsync of its directory",
            Self::OldDir => "fsync of its old directory",
            Self::All => "syncfs",
        }
    }
}

/// A sync that a strategy does not make: after each call of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addition {
    /// The calls.
    pub after: Role,
    /// What is synced.
    pub what: What,
}

/// How a strategy is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alteration {
    /// Leave out all calls of this role.
    pub without: Option<Role>,
    /// In each process, swap the so many-th of the same call, from 0, with the change that comes next.
    pub swapped: Option<(Role, usize)>,
    /// Add these syncs.
    pub added: BTreeSet<Addition>,
}

impl Alteration {
    /// Leaves out all calls of a role.
    pub fn without(role: &Role) -> Self {
        Self { without: Some(role.clone()), ..Self::default() }
    }

    /// Swaps a call with the next.
    pub fn swapped(role: &Role, nth: usize) -> Self {
        Self { swapped: Some((role.clone(), nth)), ..Self::default() }
    }

    /// Adds syncs.
    pub fn adding<'a>(added: impl IntoIterator<Item = &'a Addition>) -> Self {
        Self { added: added.into_iter().cloned().collect(), ..Self::default() }
    }

    /// What becomes of a call; `seen` counts those that might be swapped.
    fn judge(&self, call: &Call, verb: &'static str, seen: &mut usize) -> Action {
        if let Some(role) = &self.without
            && call.is_sync()
            && role.is_of(verb, call)
        {
            return Action::Drop;
        }
        if let Some((role, nth)) = &self.swapped
            && general(call) == role.call
        {
            *seen += 1;
            if *seen == nth + 1 {
                return Action::Delay;
            }
        }
        let mut syncs = Syncs::default();
        if !call.is_sync() && self.added.iter().any(|a| a.after.verb == verb) {
            let role = Role::of(verb, call);
            for addition in self.added.iter().filter(|a| a.after == role) {
                match addition.what {
                    What::File => syncs.file = true,
                    What::Dir => syncs.dir = true,
                    What::OldDir => syncs.old_dir = true,
                    What::All => {}
                }
            }
        }
        if syncs == Syncs::default() { Action::Run } else { Action::RunThenSync(syncs) }
    }
}

/// What is left out or swapped; what is added is no part of it.
impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.without, &self.swapped) {
            (Some(role), _) => write!(f, "without {role}"),
            (None, Some((role, nth))) => write!(f, "swapped {nth} {role}"),
            (None, None) => Ok(()),
        }
    }
}

impl FromStr for Alteration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(role) = text.strip_prefix("without ") {
            return Ok(Self::without(&role.parse()?));
        }
        let swapped = text.strip_prefix("swapped ").and_then(|rest| rest.split_once(' '));
        let swapped = swapped.and_then(|(nth, role)| Some((role, nth.parse().ok()?)));
        let (role, nth) = swapped.ok_or_else(|| format!("{text:?} is neither `without SITE` nor `swapped N SITE`"))?;
        Ok(Self::swapped(&role.parse()?, nth))
    }
}

/// The calls that change something, by operation.
type Calls = BTreeMap<&'static str, BTreeSet<Call>>;

/// A workload on an altered strategy.
pub struct Altered<'a, P> {
    inner: &'a RegistrySubject<P>,
    alteration: Arc<Alteration>,
    /// All calls that were made, if anybody wants to know.
    calls: Option<Arc<Mutex<Calls>>>,
}

/// What stands between one process and the disk, and which operation is under way.
struct Process {
    fs: HookedFs<SimFs>,
    verb: Arc<Mutex<&'static str>>,
}

impl Process {
    /// Notes the operation that a mark begins.
    fn passes(&self, mark: Mark, ops: &[Op]) {
        if let Mark::Begin(i) = mark {
            *hold(&self.verb) = verb(&ops[i]);
        }
    }

    /// Ends it.
    fn end<T, E: ToString>(self, outcome: Result<T, E>) -> Result<(), String> {
        outcome.map_err(|e| e.to_string())?;
        run_now(self.fs.settle()).map_err(|e| e.to_string())
    }
}

impl<'a, P: Protocol> Altered<'a, P> {
    /// The workload of `inner` on its strategy, altered.
    pub fn new(inner: &'a RegistrySubject<P>, alteration: Alteration) -> Self {
        Self { inner, alteration: Arc::new(alteration), calls: None }
    }

    /// As it is, and notes the calls that are made.
    pub fn noting(inner: &'a RegistrySubject<P>) -> Self {
        Self { calls: Some(Arc::default()), ..Self::new(inner, Alteration::default()) }
    }

    /// The workload and the strategy as it is.
    pub fn inner(&self) -> &'a RegistrySubject<P> {
        self.inner
    }

    /// The roles of all calls that were noted: those of one role once, with one such call.
    pub fn roles(&self) -> BTreeMap<Role, Call> {
        let mut roles = BTreeMap::new();
        for (verb, calls) in self.calls.iter().flat_map(|calls| hold(calls).clone()) {
            for call in calls {
                roles.entry(Role::of(verb, &call)).or_insert(call);
            }
        }
        roles
    }

    fn process(&self, disk: &SimFs) -> Process {
        let verb = Arc::new(Mutex::new(START));
        let (alteration, calls, current) = (self.alteration.clone(), self.calls.clone(), verb.clone());
        let seen = Mutex::new(0);
        let hook = move |call: &Call| {
            if !call.is_change() {
                return Action::Run;
            }
            let verb = *hold(&current);
            if let Some(calls) = &calls {
                let mut calls = hold(calls);
                let known = calls.entry(verb).or_default();
                if !known.contains(call) {
                    known.insert(call.clone());
                }
            }
            alteration.judge(call, verb, &mut hold(&seen))
        };
        if self.alteration.added.iter().any(|addition| addition.what == What::All) {
            // It fails on a disk that is broken, and the strategy sees that for itself.
            let _ = run_now(disk.sync_fs());
        }
        Process { fs: HookedFs::with_trace(disk.clone(), Trace::off(), hook), verb }
    }
}

impl<P: Protocol> Subject for Altered<'_, P> {
    type Probe = Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        self.inner.prepare(disk)
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        let (process, mut passed) = (self.process(disk), 0);
        let ended = self.inner.run_on(process.fs.clone(), |mark| {
            process.passes(mark, &self.inner.workload().ops);
            disk.mark(passed);
            passed += 1;
        });
        process.end(ended)
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        let process = self.process(disk);
        let ended = self.inner.recover_on(process.fs.clone());
        process.end(ended)
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        let (process, mut passed) = (self.process(disk), marks as u32);
        let known = (marks % 2 == 1).then_some(Mark::Begin(marks / 2));
        let ended = self.inner.again_telling(process.fs.clone(), marks, |mark| {
            process.passes(mark, &self.inner.workload().ops);
            if Some(mark) != known {
                disk.mark(passed);
                passed += 1;
            }
        });
        process.end(ended)
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        self.inner.probes(marks, paths)
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        self.inner.evaluate(probe, disk)
    }
}
