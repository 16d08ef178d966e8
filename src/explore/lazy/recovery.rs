//! Crashes during the recovery from a crash.
//!
//! Recovery is a reader like any other, that writes. Each of its ways through the crash states of the workload is an
//! execution of its own, on all the states that led there.

use std::sync::Arc;

use super::stage::{Kind, Place, Stage};
use super::trie::Trie;
use super::walk::{Ground, Part, Walk};
use crate::disk::SimFs;
use crate::disk::crash::{self, Loss};
use crate::disk::effect::Record;
use crate::disk::space::{Library, Space, View};
use crate::disk::tree::Tree;
use crate::explore::{Setting, Subject, states};

/// Ways in which recovery may run after which they are given up: each is an execution of its own.
const MAX_RECOVERIES: u64 = 5_000;

/// A recovery that ran: on which state, and what it did.
struct Ran {
    tree: Tree,
    log: Arc<[Record]>,
}

/// The recoveries from all crashes of `own`, and how often recovery ran to learn of them; `None` if they are too many.
pub(super) fn stages<S: Subject>(
    subject: &S,
    own: &Stage,
    setting: Setting<'_>,
    library: &Arc<Library>,
) -> Option<(Vec<Stage>, u64)> {
    let all: Vec<u32> = (0..own.intervals.len() as u32).collect();
    let ground = Ground { space: &own.space, intervals: &own.intervals, of: &all, region: &own.region };
    let run = |view: &View<'_>| {
        let tree = view.tree();
        let disk = SimFs::transcribed(tree.clone(), own.space.clone(), library.clone(), true);
        // What recovery cannot do, the probes see: they recover too.
        let _ = subject.recover(&disk);
        let asks = disk.asks();
        (Ran { tree, log: disk.snapshot().1.into() }, asks)
    };
    let mut stages = Vec::new();
    let end = |ran: &Ran, parts: &[Part]| {
        if ran.log.iter().any(|record| !record.effects().is_empty()) {
            parts.iter().for_each(|part| stages.push(stage(own, &ground, ran, part, setting)));
        }
    };
    let mut trie = Trie::by_number();
    let mut walk = Walk::new(&ground, &mut trie, run, end);
    let came_to_all = walk.all(MAX_RECOVERIES);
    let executions = walk.executions;
    came_to_all.then_some((stages, executions))
}

fn stage(own: &Stage, ground: &Ground<'_>, ran: &Ran, part: &Part, setting: Setting<'_>) -> Stage {
    let log = if setting.loss == Loss::LyingDisk { crash::without_syncs(&ran.log).into() } else { ran.log.clone() };
    let recovery = Space::new(ran.tree.clone(), log, setting.model);
    let (space, layers) = Space::layered(&own.space, &recovery);
    let (mut intervals, mut places) = (Vec::new(), Vec::new());
    for cut in states::telling_cuts(recovery.records(), setting.model, setting.loss) {
        let executed = crash::whole(&recovery, cut).len();
        let families = crash::families(&recovery, setting.model, setting.loss, cut);
        for at in ground.met(&part.region) {
            let first = own.places[at as usize];
            for family in &families {
                intervals.push(layers.interval(&own.intervals[at as usize], family));
                places.push(Place { in_recovery: Some(cut), executed: first.executed + 1 + executed, ..first });
            }
        }
    }
    Stage {
        kind: Kind::Recovery { workload: own.space.clone(), recovery: Arc::new(recovery), layers },
        region: part.region.lifted(layers),
        space: Arc::new(space),
        intervals,
        places,
        probes: Vec::new(),
    }
}
