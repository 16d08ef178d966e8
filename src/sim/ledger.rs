//! What happened: the history that the oracles judge, the timeline that people read, and what was counted.
//!
//! An operation begins when its request is sent, on a connection that stands; so once the machine has stopped, a
//! request that was not answered can no longer take effect, and is noted as lost. A request that was refused had no
//! effect and is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sha2::{Digest as _, Sha256};

use crate::check::oracle::{Event, Mark};
use crate::workload::run::Session;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it breaks: an [`Invariant`](crate::check::Invariant) by its name, or one of the [`rules`].
    pub invariant: &'static str,
    /// How, in one sentence.
    pub detail: String,
}

/// The rules that only a whole world can break.
pub mod rules {
    /// What clients were told of a tag is what one register would have told them.
    pub const TAGS_LINEARIZABLE: &str = "tags-linearizable";
    /// After the last fault everything can be pushed and pulled again, in bounded time.
    pub const LIVE_AGAIN: &str = "live-again";
    /// Both.
    pub const ALL: [&str; 2] = [TAGS_LINEARIZABLE, LIVE_AGAIN];
}

/// The record of one run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Milliseconds of simulated time.
    pub now_ms: u64,
    /// What each operation does; nothing for those that were refused or are not known yet.
    pub events: Vec<Option<Event>>,
    /// In which order they began and were answered.
    pub marks: Vec<Mark>,
    /// The uploads that clients left unfinished, by client.
    pub sessions: BTreeMap<u32, Session>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// How often what happened: faults that fired, states that were reached, operations.
    pub counts: BTreeMap<&'static str, u64>,
    open: BTreeSet<usize>,
    timeline: Option<Timeline>,
}

#[derive(Debug)]
struct Timeline {
    text: String,
    names: BTreeMap<String, String>,
}

impl Ledger {
    /// An empty one; with `names` (digests in hexadecimal and what to call them) it keeps a timeline.
    pub fn new(names: Option<BTreeMap<String, String>>) -> Self {
        let timeline = names.map(|names| Timeline { text: String::new(), names });
        Self { timeline, ..Self::default() }
    }

    /// An operation begins; what it does may be known only from its answer.
    pub fn begin(&mut self, event: Option<Event>) -> usize {
        let op = self.events.len();
        self.events.push(event);
        self.marks.push(Mark::Begin(op));
        self.open.insert(op);
        op
    }

    /// It was answered with success.
    pub fn end(&mut self, op: usize) {
        if self.open.remove(&op) {
            self.marks.push(Mark::End(op));
        }
    }

    /// It was a question, and this is the answer.
    pub fn learn(&mut self, op: usize, event: Event) {
        if self.open.contains(&op) {
            self.events[op] = Some(event);
            self.end(op);
        }
    }

    /// It was refused, and so had no effect.
    pub fn refuse(&mut self, op: usize) {
        if self.open.remove(&op) {
            self.events[op] = None;
        }
    }

    /// Whoever was to carry out what is open is gone.
    pub fn lose_all(&mut self) {
        for op in std::mem::take(&mut self.open) {
            self.marks.push(Mark::Lost(op));
        }
    }

    /// How many operations are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a collection is under way.
    pub fn is_collecting(&self) -> bool {
        self.open.iter().any(|op| self.events[*op] == Some(Event::Collect))
    }

    /// Counts something.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// How often something was counted.
    pub fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Notes a finding.
    pub fn find(&mut self, invariant: &'static str, detail: impl Into<String>) {
        let finding = Finding { invariant, detail: detail.into() };
        self.note("!!", || format!("{invariant}: {}", finding.detail));
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Writes a line of the timeline, if there is one.
    pub fn note(&mut self, who: &str, what: impl FnOnce() -> String) {
        let Some(timeline) = &mut self.timeline else { return };
        let mut text = what();
        for (hex, name) in &timeline.names {
            if text.contains(&hex[..12]) {
                text = text.replace(hex.as_str(), name).replace(&hex[..12], name);
            }
        }
        let _ = writeln!(timeline.text, "{:>6} ms  {who:<9} {text}", self.now_ms);
    }

    /// The timeline, if one was kept.
    pub fn timeline(&self) -> Option<&str> {
        self.timeline.as_ref().map(|t| t.text.as_str())
    }

    /// A number that differs between runs that differ: of the history and the counts.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}{:?}{:?}{:?}", self.events, self.marks, self.counts, self.now_ms));
        let digest = hash.finalize();
        digest[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
    }
}
