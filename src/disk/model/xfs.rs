//! `xfs`: one log for changes of the tree and shrinks; a length grows only after its own blocks.
//!
//! A file cut off before its sync has length 0, never zeros at full length (measured). Overwrites are free. A rename
//! flushes nothing. The close of a file that was truncated to 0 and rewritten starts to write it, and nothing waits for
//! that. (Measured, Linux 6.18: of 71 bytes `truncate a 0; append a 71 B; close a; mkdir d; fsync d` leaves `d` and no
//! byte.) fsync forces the inode's bytes and length and every logged effect up to its own last one. syncfs flushes the
//! disk's cache only if the log has something to write: overwrites that come alone are written and may be lost (measured).

use super::{
    Family, PersistenceModel, Preds, Timeline, force_by_syncfs, force_journalled, one_family,
    order_growth_after_blocks, order_metadata,
};
use crate::disk::effect::{Cut, What};
use crate::disk::fault::FailedPages;
use crate::disk::space::Space;

/// The model `xfs`.
#[derive(Debug, Clone, Copy)]
pub struct Xfs;

impl PersistenceModel for Xfs {
    fn name(&self) -> &'static str {
        "xfs"
    }

    fn grows_last_block_first(&self) -> bool {
        false // The length is changed when the bytes have been written.
    }

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::KeepNew]
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        order_metadata(timeline, preds);
        order_growth_after_blocks(timeline, preds);
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, |timeline, at, what, forced| match what {
            What::SyncFs => force_by_syncfs(timeline, at, forced),
            _ => force_journalled(timeline, at, what, forced),
        })
    }
}
