//! A recording, read by a registry's layout, as something whose crashes can be explored.
//!
//! The run was made by another program, so it cannot be made again: nothing is restarted, and no recovery runs. Looked
//! at is what the crash left: links as they lie there, and what the layout's registry reads of what was acknowledged.

use super::Recording;
use crate::check::Observation as Seen;
use crate::check::oracle::Oracle;
use crate::disk::SimFs;
use crate::env::{World, run_now};
use crate::explore::{Observation, Subject};
use crate::fs::FileKind;
use crate::workload::probe::{self, Probe};

/// The stream of identifiers of what looks: it needs none.
const LOOKING_IDS: u64 = 1;

/// A recording and the strategy that reads it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What was done.
    pub recording: Recording,
    /// The strategy, one of [`NAMES`](crate::strategy::NAMES), whose layout the directory has.
    pub layout: String,
}

impl Subject for Recorded {
    type Probe = Probe;

    /// Never asked for: it has been run.
    fn prepare(&self, _: &SimFs) -> Result<(), String> {
        Err("it was run".to_owned())
    }

    /// As above.
    fn run(&self, _: &SimFs) -> Result<(), String> {
        Err("it was run".to_owned())
    }

    /// What the program itself would write is not known.
    fn recover(&self, _: &SimFs) -> Result<(), String> {
        Ok(())
    }

    /// As above.
    fn restart(&self, _: &SimFs, _: usize) -> Result<(), String> {
        Err("the program does not go on".to_owned())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        let Recording { events, passed, contents, .. } = &self.recording;
        let files = paths.iter().filter(|(_, kind)| *kind == FileKind::File);
        let files: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        let oracle = Oracle::new(events, &passed[..marks]);
        let mut probes = probe::expected(&oracle, contents, std::iter::empty(), false, &files);
        probes.retain(Probe::is_of_what_lies_there);
        probes
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        let contents = &self.recording.contents;
        let world = World::simulated(LOOKING_IDS);
        // The one error there can be is an unknown layout, under which nothing is seen.
        let seen = run_now(probe::evaluate(probe, contents, self.layout.as_str(), disk.clone(), world));
        let told = |o: Seen| Observation { invariant: o.invariant.name(), violation: o.violation };
        seen.unwrap_or_default().into_iter().map(told).collect()
    }
}
