//! Which crash states are visited at a cut, and in which order.
//!
//! Where a family is small it is enumerated whole. Where it is not: first nothing lost and everything lost, then
//! every state that loses one effect (and what depends on it), every one that keeps one, every one that loses two,
//! and then a seeded sample. That order finds small counterexamples first.

use crate::disk::crash::{self, Loss};
use crate::disk::effect::{Cut, Effect, Record, What, cuts};
use crate::disk::model::{Family, PersistenceModel};
use crate::disk::space::{AtomId, Bits, Piece, Space};
use crate::env::choice::{Chooser, DepthFirst, Seeded};

/// The cuts at which states are generated: all of them but those whose states are a subset of the next cut's.
///
/// Executing one more effect only adds states: nothing new is forced until a sync completes. So it is enough to stop
/// right before each sync and each mark (an acknowledgement changes what is expected), at the end, and inside writes
/// that grow a file (the partial length is seen nowhere else). A process crash loses nothing, so there each cut is
/// its own state.
pub fn telling_cuts(log: &[Record], model: &dyn PersistenceModel, loss: Loss) -> Vec<Cut> {
    let decides = |cut: &Cut| match (cut.inside, log.get(cut.records as usize)) {
        (None, Some(next)) => {
            matches!(
                next.what,
                What::SyncFile(_) | What::SyncDir(_) | What::SyncFs | What::SyncFailed(_) | What::Mark(_)
            )
        }
        (None, None) => true,
        (Some(_), Some(next)) => {
            let grows = |e: &Effect| matches!(e, Effect::Size { before, after, .. } if after > before);
            model.keeps_blocks_whole() || next.effects().iter().any(grows)
        }
        (Some(_), None) => false,
    };
    cuts(log).into_iter().filter(|cut| loss == Loss::ProcessCrash || decides(cut)).collect()
}

/// Calls `visit` with sets of survivors of `family`: all of them if they are at most `budget`, and then returns true.
/// Else about `budget` of them, and in any case those that lose a single name or length.
pub fn visit(
    space: &Space,
    family: &Family,
    budget: usize,
    seed: u64,
    stream: &str,
    visit: &mut dyn FnMut(&Bits),
) -> bool {
    let free = crash::free_atoms(family);
    let mut all = DepthFirst::default();
    let mut enumerated = Vec::new();
    // A state a choice at least: more than this many independent atoms are never enumerated within the budget.
    let exhaustive = loop {
        if enumerated.len() == budget {
            break false;
        }
        enumerated.push(crash::survivors(space, family, &free, &mut all));
        if !all.advance() {
            break true;
        }
    };
    if exhaustive {
        enumerated.iter().for_each(&mut *visit);
        return true;
    }
    drop(enumerated);
    let mut left = budget;
    let mut offer = |bits: Bits| {
        visit(&bits);
        left = left.saturating_sub(1);
        left
    };
    offer(family.allowed.clone());
    offer(family.forced.clone());
    let lost: Vec<Bits> = free.iter().map(|id| lost_with(space, family, &free, *id)).collect();
    let without = |closures: &[&Bits]| {
        let mut bits = family.allowed.clone();
        closures.iter().for_each(|c| bits.subtract(c));
        bits
    };
    // One lost effect is what most findings need: these states are visited whatever the budget. Sectors of large
    // writes are too many and too alike for that.
    let is_sector = |id: AtomId| matches!(space.atoms()[id].piece, Piece::Data { .. } | Piece::Stale { .. });
    let (names, sectors): (Vec<usize>, Vec<usize>) = (0..free.len()).rev().partition(|at| !is_sector(free[*at]));
    for at in names.into_iter().chain(sectors.into_iter().take(budget)) {
        offer(without(&[&lost[at]]));
    }
    for &id in free.iter().rev() {
        let mut only = family.forced.clone();
        only.insert(id);
        space.close(&mut only);
        if offer(only) == 0 {
            return false;
        }
    }
    // Half of what is left for pairs, nearest effects first; the rest for the sample.
    let pairs = (1..free.len()).flat_map(|apart| (apart..free.len()).map(move |second| (second - apart, second)));
    let for_pairs = (budget.saturating_sub(2 * free.len() + 2)) / 2;
    for (first, second) in pairs.take(for_pairs) {
        offer(without(&[&lost[first], &lost[second]]));
    }
    let mut chooser = Seeded::stream(seed, stream);
    while offer(sampled(space, family, &free, &mut chooser)) > 0 {}
    false
}

/// The atoms that are lost when `id` is: itself, what depends on it, and its tied block.
fn lost_with(space: &Space, family: &Family, free: &[AtomId], id: AtomId) -> Bits {
    let mut lost = Bits::new(space.atoms().len());
    let root = space.tied_to(id).unwrap_or(id);
    lost.insert(root);
    for &other in free.iter().filter(|o| **o > root) {
        let depends = space.preds(other).iter().any(|p| lost.contains(*p));
        if depends || space.tied_to(other).is_some_and(|t| lost.contains(t)) {
            lost.insert(other);
        }
    }
    debug_assert!(!lost.iter().any(|l| family.forced.contains(l)), "what is forced depends on nothing that is not");
    lost
}

/// A random legal set: first how much is lost, then atom by atom.
fn sampled(space: &Space, family: &Family, free: &[AtomId], chooser: &mut Seeded) -> Bits {
    const LOST_OF_256: [usize; 6] = [4, 16, 48, 128, 208, 248];
    let lost = LOST_OF_256[chooser.choose(LOST_OF_256.len())];
    let mut biased = Biased { inner: chooser, lost_of_256: lost };
    crash::survivors(space, family, free, &mut biased)
}

struct Biased<'a> {
    inner: &'a mut Seeded,
    lost_of_256: usize,
}

impl Chooser for Biased<'_> {
    fn choose(&mut self, n: usize) -> usize {
        debug_assert_eq!(n, 2, "survives or is lost");
        usize::from(self.inner.choose(256) < self.lost_of_256)
    }
}
