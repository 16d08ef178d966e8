//! `journal`: data journalling, the strongest model ("prefix").
//!
//! Everything persists in the order in which it was executed; only the last write may be torn, at 4 KiB blocks, and
//! only inside it may zeros stand under a grown length. Any sync forces everything before it.
//!
//! "At 4 KiB" is meant for the moment of the power cut as well: of a block that a running write had filled in part,
//! nothing survives, nor a length inside it. (The page is locked while it is filled, and journalled as a whole.) A process crash does cut a
//! write at any sector, as in every model.

use super::{Family, PersistenceModel, Preds, Timeline, force_all, one_family};
use crate::disk::effect::{Cut, Effect, What};
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

    fn zeroes_in_place(&self) -> bool {
        false
    }

    fn grows_last_block_first(&self) -> bool {
        false
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        // Pages that a failed sync marked clean are in no transaction, and nothing later waits for them.
        let counts = |id: &usize| !timeline.atoms[*id].is_partial() && !timeline.failed.contains(*id);
        let whole: Vec<usize> = (0..timeline.atoms.len()).filter(counts).collect();
        for (id, atom) in timeline.atoms.iter().enumerate() {
            // All atoms of the last record before this one.
            let before = whole.partition_point(|w| timeline.atoms[*w].record < atom.record);
            let Some(last) = before.checked_sub(1).map(|i| timeline.atoms[whole[i]].record) else { continue };
            let from = whole.partition_point(|w| timeline.atoms[*w].record < last);
            preds[id].extend(&whole[from..before]);
        }
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        let mut families = one_family(space, cut, |timeline, at, what, forced| {
            if matches!(what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs) {
                force_all(timeline, at, forced);
            }
        });
        let whole = space.executed(whole_blocks(space, cut));
        families.iter_mut().for_each(|f| f.allowed.intersect(&whole));
        families
    }
}

/// The last place at or before `cut` at which every block was filled.
fn whole_blocks(space: &Space, cut: Cut) -> Cut {
    let Some(done) = cut.inside else { return cut };
    let record = &space.timeline().records[cut.records as usize];
    let ends = record.effects().iter().scan(0, |end, effect| {
        *end += if let Effect::Block { sectors, .. } = effect { sectors.len() as u32 } else { 0 };
        Some(*end)
    });
    Cut { inside: ends.filter(|end| *end <= done).max(), ..cut }
}
