//! `posix`: what the standard promises, and no more.
//!
//! Nothing is ordered but effects on one object; a rename is atomic. fsync of a file forces its bytes and its length,
//! not its name; fsync of a directory forces its entries, removals included; syncfs, which the standard does not know,
//! forces everything but overwrites that come alone (see `xfs`). A block under a grown length may be zeros or stale
//! bytes. An fsync of a file that has no name any more makes void what earlier ones forced of it: what the standard does
//! not say, and btrfs does.

use super::{Family, PersistenceModel, Preds, Timeline, force, force_by_syncfs, force_data, one_family};
use crate::disk::effect::{Cut, What};
use crate::disk::space::{Atom, Bits, Piece, Space};

/// The model `posix`.
#[derive(Debug, Clone, Copy)]
pub struct Posix;

impl PersistenceModel for Posix {
    fn name(&self) -> &'static str {
        "posix"
    }

    fn shows_stale_bytes(&self) -> bool {
        true
    }

    fn orders_shrinks(&self) -> bool {
        false
    }

    fn order(&self, _: Timeline<'_>, _: &mut Preds) {}

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, forces)
    }
}

/// What a sync forces in both posix models: a rename's atom belongs to both of its directories where it is one atom,
/// and each piece to its own where it is split.
pub(super) fn forces(timeline: Timeline<'_>, at: usize, what: &What, forced: &mut Bits) {
    match *what {
        What::SyncFile(inode) if timeline.has_name(inode, at) => force_data(timeline, at, inode, forced),
        What::SyncDir(dir) => force(timeline, at, forced, |a| a.changes_dir(dir)),
        What::SyncFs => force_by_syncfs(timeline, at, forced),
        What::SyncFile(inode) => {
            let of_it = |atom: &Atom| match atom.piece {
                Piece::Data { inode: i, .. } | Piece::Stale { inode: i, .. } | Piece::Zero { inode: i, .. } => {
                    i == inode
                }
                _ => atom.sizes(inode),
            };
            timeline.atoms.iter().enumerate().filter(|(_, a)| of_it(a)).for_each(|(id, _)| forced.remove(id));
            let syncs = (0..at).filter(|at| timeline.records[*at].what == What::SyncFs);
            syncs.for_each(|at| force_by_syncfs(timeline, at, forced));
        }
        What::Effects(_) | What::SyncFailed(_) | What::CloseTruncated(_) | What::Mark(_) => {}
    }
}
