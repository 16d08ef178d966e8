//! `journal`: data journalling, the strongest model ("prefix").
//!
//! Everything persists in the order in which it was executed; only the last write may be torn, at 4 KiB blocks, and
//! only inside it may zeros stand under a grown length. Any sync forces everything before it.

use super::{Family, PersistenceModel, Preds, Timeline, force_all, one_family};
use crate::disk::effect::{Cut, What};
use crate::disk::space::Space;

/// The model `journal`.
#[derive(Debug, Clone, Copy)]
pub struct Journal;

impl PersistenceModel for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn keeps_blocks_whole(&self) -> bool {
        true
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        let whole: Vec<usize> = (0..timeline.atoms.len()).filter(|id| !timeline.atoms[*id].is_partial()).collect();
        for (id, atom) in timeline.atoms.iter().enumerate() {
            // All atoms of the last record before this one.
            let before = whole.partition_point(|w| timeline.atoms[*w].record < atom.record);
            let Some(last) = before.checked_sub(1).map(|i| timeline.atoms[whole[i]].record) else { continue };
            let from = whole.partition_point(|w| timeline.atoms[*w].record < last);
            preds[id].extend(&whole[from..before]);
        }
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, |timeline, at, what, forced| {
            if matches!(what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs) {
                force_all(timeline, at, forced);
            }
        })
    }
}
