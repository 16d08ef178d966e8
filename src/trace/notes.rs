//! What a replay could not take over from a trace: nothing is passed over in silence.

use std::collections::BTreeMap;

use serde::Serialize;

/// Calls of one kind that are not part of the replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What was done: the call, or what is special about it.
    pub what: String,
    /// Why it is not replayed, or what that means.
    pub why: String,
    /// How often.
    pub count: u64,
    /// The line of the trace in which it was seen first.
    pub first_line: usize,
}

/// All that is not part of the replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    gaps: BTreeMap<(String, String), (u64, usize)>,
    ignored: BTreeMap<(String, String), (u64, usize)>,
}

impl Notes {
    /// Files were changed, or may have been, and the replay does not know how.
    pub fn gap(&mut self, what: impl Into<String>, why: impl Into<String>, line: usize) {
        add(&mut self.gaps, what.into(), why.into(), line);
    }

    /// What was done does not matter to what a crash leaves, or makes no more durable than without.
    pub fn ignored(&mut self, what: impl Into<String>, why: impl Into<String>, line: usize) {
        add(&mut self.ignored, what.into(), why.into(), line);
    }

    /// The changes that the replay lacks, in the order in which they were met.
    pub fn gaps(&self) -> Vec<Note> {
        told(&self.gaps)
    }

    /// What may be left out, in the order in which it was met.
    pub fn others(&self) -> Vec<Note> {
        told(&self.ignored)
    }
}

fn add(to: &mut BTreeMap<(String, String), (u64, usize)>, what: String, why: String, line: usize) {
    let (count, first) = to.entry((what, why)).or_insert((0, line));
    *count += 1;
    *first = line.min(*first);
}

fn told(of: &BTreeMap<(String, String), (u64, usize)>) -> Vec<Note> {
    let note = |((what, why), (count, first_line)): (&(String, String), &(u64, usize))| Note {
        what: what.clone(),
        why: why.clone(),
        count: *count,
        first_line: *first_line,
    };
    let mut all: Vec<Note> = of.iter().map(note).collect();
    all.sort_by_key(|note| note.first_line);
    all
}
