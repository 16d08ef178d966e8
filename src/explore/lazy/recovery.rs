//! Crashes during the recovery from a crash.
//!
//! Recovery is a reader like any other, that writes. What it may do after the crashes of the workload are executions of
//! their own: each of them on all the states on which recovery does the same, whatever it read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::shared::Runs;
use super::stage::{Kind, Place, Stage};
use super::trie::{Met, Trie};
use super::walk::{Columns, Part, Under, Walk};
use crate::disk::SimFs;
use crate::disk::crash;
use crate::disk::effect::{Effect, Record};
use crate::disk::space::{Library, Space, View};
use crate::disk::tree::{Ino, Tree};
use crate::explore::{Setting, Subject, states};

/// A recovery that ran: what it did, and the inodes as it met them.
#[derive(Clone)]
pub(super) struct Ran {
    log: Arc<[Record]>,
    met: Met,
    /// Later inodes are its own.
    inodes: u32,
}

impl Ran {
    /// What it does on another space, of so many inodes, where it meets these.
    fn log_on(&self, met: &Met, inodes: u32) -> Arc<[Record]> {
        let there = |ino: Ino| {
            let is_own = ino.0 >= self.inodes;
            let there = if is_own { Some(Ino(ino.0 - self.inodes + inodes)) } else { self.met.elsewhere(ino, met) };
            assert!(there.is_some(), "recovery changes what it never met: {ino:?}");
            there.unwrap_or(ino)
        };
        self.log
            .iter()
            .map(|record| Record { call: record.call.clone(), what: record.what.with_inodes(there) })
            .collect()
    }
}

/// A recovery on some states of a space: one of them, and what it does on all.
struct Does {
    tree: Tree,
    log: Arc<[Record]>,
}

/// The recoveries from all crashes of `own`, and how often recovery ran to learn of them; `None` if that is more than
/// `most` times. `known` is what recovery did on stages before, and `runs`, if that is kept, what it did anywhere.
pub(super) fn stages<S: Subject>(
    subject: &S,
    own: &Stage,
    setting: Setting<'_>,
    library: &Arc<Library>,
    most: u64,
    known: &mut Trie<Ran>,
    runs: Option<&Runs<Ran>>,
) -> Option<(Vec<Stage>, u64)> {
    let all: Vec<u32> = (0..own.intervals.len() as u32).collect();
    let ground = own.ground(&all);
    let inodes = own.space.inodes();
    let recover = |view: &View<'_>| {
        let disk = SimFs::transcribed(view.tree(), own.space.clone(), library.clone(), true);
        // What recovery cannot do, the probes see: they recover too.
        let _ = subject.recover(&disk);
        let asks = disk.asks();
        (Ran { log: disk.snapshot().1.into(), met: Met::by(view, &asks), inodes }, asks)
    };
    let run = |view: &View<'_>| match runs {
        Some(runs) => runs.on(view, || recover(view)),
        None => recover(view),
    };
    let mut different: Vec<(Does, Vec<Under>)> = Vec::new();
    let end = |ran: &Ran, met: &Met, parts: &[Part]| {
        if ran.log.iter().all(|record| record.effects().is_empty()) {
            return;
        }
        // The log says what is laid out: how long a file was is in it where that matters.
        let log = ran.log_on(met, inodes);
        let at = different.iter().position(|(other, _)| other.log == log).unwrap_or_else(|| {
            let tree = own.space.view(&ground.one_of(&parts[0])).tree();
            different.push((Does { tree, log }, Vec::new()));
            different.len() - 1
        });
        let under = |part: &Part| Under { region: part.region.clone(), met: ground.met(part).collect() };
        different[at].1.extend(parts.iter().map(under));
    };
    let mut walk = Walk::new(&ground, known, run, end);
    let came_to_all = walk.all(most);
    let executions = walk.executions;
    drop(walk);
    let stages = different.par_iter().map(|(does, regions)| stage(own, does, regions, setting));
    came_to_all.then(|| (stages.collect(), executions))
}

fn stage(own: &Stage, does: &Does, regions: &[Under], setting: Setting<'_>) -> Stage {
    let recovery = crash::laid_out(does.tree.clone(), &does.log, setting.model, setting.loss);
    let (space, layers) = Space::layered(&own.space, &recovery);
    let (mut intervals, mut places) = (Vec::new(), Vec::new());
    let mut of: BTreeMap<u32, Vec<u32>> =
        regions.iter().flat_map(|under| under.met.iter().map(|at| (*at, Vec::new()))).collect();
    let cuts = states::telling_cuts(recovery.records(), setting.model, setting.loss);
    let families = crash::families_at(&recovery, setting.model, setting.loss, &cuts);
    for (nth, cut) in cuts.into_iter().enumerate() {
        let executed = crash::whole(&recovery, cut).len();
        for (at, both) in &mut of {
            let first = own.places[*at as usize];
            for family in families.of(nth) {
                both.push(intervals.len() as u32);
                intervals.push(layers.interval(&own.intervals[*at as usize], family));
                places.push(Place { in_recovery: Some(cut), executed: first.executed + 1 + executed, ..first });
            }
        }
    }
    let lifted = |under: &Under| {
        let met: BTreeSet<u32> = under.met.iter().flat_map(|at| of[at].iter().copied()).collect();
        Under { region: under.region.lifted(layers), met: met.into_iter().collect() }
    };
    let changes = recovery.records().iter().flat_map(|record| record.effects()).map(Effect::changes);
    Stage {
        changed: changes.collect(),
        kind: Kind::Recovery {
            restarted_at: own.restarted_at(),
            failed_sync: own.failed_sync(),
            workload: own.space.clone(),
            recovery: Arc::new(recovery),
            layers,
        },
        regions: regions.iter().map(lifted).collect(),
        columns: Columns::of(&intervals, space.atoms().len()),
        space: Arc::new(space),
        intervals,
        places,
        probes: Vec::new(),
    }
}
