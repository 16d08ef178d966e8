//! From choices to a crash state.
//!
//! A [`Family`] says which sets of atoms are legal; [`survivors`] asks a [`Chooser`] for one of them, atom by atom.
//! With [`crate::env::choice::DepthFirst`] that visits each legal set exactly once.

use std::sync::Arc;

use super::effect::{Cut, Record, What};
use super::model::{Families, Family, PersistenceModel, Posix};
use super::space::{AtomId, Bits, Space};
use super::tree::Tree;
use crate::env::choice::Chooser;

/// How the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The power fails: what was not synced may be lost, as the model says.
    PowerCut,
    /// The process dies: the running call is cut, everything before it is kept (and stays un-synced).
    ProcessCrash,
    /// The power fails and the disk had lied: syncs returned and forced nothing.
    LyingDisk,
}

impl Loss {
    /// The name in reports and replay files.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerCut => "power-cut",
            Self::ProcessCrash => "process-crash",
            Self::LyingDisk => "lying-disk",
        }
    }
}

/// What was executed after `base`, laid out for a machine that stops in that way.
///
/// A disk that lies completes no sync. No model has a say in what a process that crashes leaves, so it is laid out by the
/// one that holds the least together: a write that is cut has its first sectors, in a block that a power cut would leave
/// whole as well.
pub fn laid_out(base: Tree, log: &Arc<[Record]>, model: &dyn PersistenceModel, loss: Loss) -> Space {
    match loss {
        Loss::PowerCut => Space::new(base, log.clone(), model),
        Loss::ProcessCrash => Space::new(base, log.clone(), &Posix),
        Loss::LyingDisk => Space::new(base, without_syncs(log).into(), model),
    }
}

/// The log as a disk that ignores flushes would have it: no sync ever completed.
pub fn without_syncs(log: &[Record]) -> Vec<Record> {
    let is_sync = |r: &Record| matches!(r.what, What::SyncFile(_) | What::SyncDir(_) | What::SyncFs);
    log.iter()
        .map(|r| if is_sync(r) { Record { call: r.call.clone(), what: What::Effects(Vec::new()) } } else { r.clone() })
        .collect()
}

/// The families of crash states at `cut` of what was [laid out](laid_out). For a process crash: the one state in which
/// nothing is lost.
pub fn families(space: &Space, model: &dyn PersistenceModel, loss: Loss, cut: Cut) -> Vec<Family> {
    if loss == Loss::ProcessCrash {
        let all = whole(space, cut);
        return vec![Family { forced: all.clone(), allowed: all }];
    }
    model.families(space, cut)
}

/// The same at each of `cuts`, which ascend.
pub fn families_at(space: &Space, model: &dyn PersistenceModel, loss: Loss, cuts: &[Cut]) -> Families {
    if loss == Loss::ProcessCrash {
        return Families::of_each(cuts.len(), |at| families(space, model, loss, cuts[at]));
    }
    model.families_at(space, cuts)
}

/// Everything that was executed before `cut`: what the page cache shows. (Bytes that were written follow the stale ones
/// that they replace.)
pub fn whole(space: &Space, cut: Cut) -> Bits {
    space.executed(cut)
}

/// The atoms of a family about which there is something to choose, ascending.
pub fn free_atoms(family: &Family) -> Vec<AtomId> {
    let mut free = family.allowed.clone();
    free.subtract(&family.forced);
    free.iter().collect()
}

/// Picks a legal set of survivors: one choice for each atom that may survive, 0 for "it does".
pub fn survivors(space: &Space, family: &Family, free: &[AtomId], chooser: &mut dyn Chooser) -> Bits {
    let mut bits = family.forced.clone();
    for &id in free {
        if !space.preds(id).iter().all(|p| bits.contains(*p)) {
            continue;
        }
        let survives = match space.tied_to(id) {
            Some(first) => bits.contains(first),
            None => chooser.choose(2) == 0,
        };
        if survives {
            bits.insert(id);
        }
    }
    bits
}
