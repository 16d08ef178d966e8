//! `ext4-writeback`: ext4 with `data=writeback`: as `ext4-ordered`, but an allocated block that was not written may
//! show stale bytes, and so may a block that was freed, by a shrink or with a file's last name, while that is not
//! durable: it may have been used anew. So even an atomic replacement by rename and fsync may leave neither the old nor
//! the new text.
//!
//! This allows more than ext4 does: a file that is still open frees nothing, and blocks are used anew only if
//! something is written.
//!
//! The zeros that a shrink writes into the last block that it leaves are bytes, too: nothing waits for them but an fsync
//! of the file and a syncfs. Where it grows again, by a truncation or by a write whose bytes are lost, what they were to
//! cover may show. (Measured, Linux 6.18: of 71 bytes after `truncate a 10; truncate a 40` all 40 are as they were. With
//! `data=ordered` the transaction of the shrink waits for them; xfs writes them before it grows the length.)

use super::{Family, PersistenceModel, Preds, Timeline, ext4_ordered, force, force_journalled, one_family};
use crate::disk::effect::{Cut, What};
use crate::disk::fault::FailedPages;
use crate::disk::space::Space;

/// The model `ext4-writeback`.
#[derive(Debug, Clone, Copy)]
pub struct Ext4Writeback;

impl PersistenceModel for Ext4Writeback {
    fn name(&self) -> &'static str {
        "ext4-writeback"
    }

    fn shows_stale_bytes(&self) -> bool {
        true
    }

    fn waits_for_zeros(&self) -> bool {
        false
    }

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::KeepNew]
    }

    fn reuses_freed_blocks(&self) -> bool {
        true
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        ext4_ordered::order(timeline, preds);
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, |timeline, at, what, forced| {
            force_journalled(timeline, at, what, forced);
            if let What::SyncFile(inode) = *what {
                force(timeline, at, forced, |atom| atom.zeroes(inode));
            }
        })
    }
}
