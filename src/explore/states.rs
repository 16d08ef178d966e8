//! Which crash states are visited at a cut, and in which order.
//!
//! Where a family is small it is enumerated whole. Where it is not: first nothing lost and everything lost, then
//! every state that loses one effect (and what depends on it), every one that keeps one, every one that loses two,
//! and then a seeded sample. That order finds small counterexamples first.

use crate::disk::crash::{self, Loss};
use crate::disk::effect::{Cut, Effect, Record, SECTORS_PER_BLOCK, What, cuts};
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

/// However small the budget: at least so many states at each cut.
pub(super) const MIN_STATES_PER_CUT: usize = 16;
/// The share of a cut that is like no other, in shares of one that is like its neighbours.
const SHARES: usize = 16;

/// How the budget `states` is spread over `cuts`, in their order.
///
/// Inside one long write the cuts are alike: a sector more, a length more. Those at its first and last sectors and at
/// the borders of blocks get what any other cut does, the rest of them less.
pub fn budgets(cuts: &[Cut], log: &[Record], states: usize) -> Vec<usize> {
    let shares = |cut: &Cut| match (cut.inside.map(u64::from), log.get(cut.records as usize)) {
        (Some(done), Some(write)) => {
            let is_edge = done == 1 || done + 1 == write.sectors_written() as u64;
            if is_edge || done.is_multiple_of(SECTORS_PER_BLOCK) { SHARES } else { 1 }
        }
        _ => SHARES,
    };
    let all: usize = cuts.iter().map(shares).sum();
    cuts.iter().map(|cut| (states * shares(cut) / all).max(MIN_STATES_PER_CUT)).collect()
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
    if let Some(all) = enumerated(space, family, &free, budget) {
        all.iter().for_each(visit);
        return true;
    }
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
    let is_sector =
        |id: AtomId| matches!(space.atoms()[id].piece, Piece::Data { .. } | Piece::Stale { .. } | Piece::Zero { .. });
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

/// All sets of survivors of `family`, if they are at most `budget`.
fn enumerated(space: &Space, family: &Family, free: &[AtomId], budget: usize) -> Option<Vec<Bits>> {
    // Atoms that depend on nothing that may be lost are free of each other: each doubles the number of sets.
    let independent =
        |id: &AtomId| space.tied_to(*id).is_none() && space.preds(*id).iter().all(|p| family.forced.contains(*p));
    let doublings = free.iter().filter(|id| independent(id)).count() as u32;
    if 1usize.checked_shl(doublings).is_none_or(|least| least > budget) {
        return None;
    }
    let mut all = DepthFirst::default();
    let mut sets = Vec::new();
    loop {
        if sets.len() == budget {
            return None;
        }
        sets.push(crash::survivors(space, family, free, &mut all));
        if !all.advance() {
            return Some(sets);
        }
    }
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
