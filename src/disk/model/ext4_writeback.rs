//! `ext4-writeback`: ext4 with `data=writeback`: as `ext4-ordered`, but an allocated block that was not written may
//! show stale bytes.
//!
//! **It is known to allow too little.** In writeback mode the kernel lets freed blocks be used anew before the transaction
//! that freed them has committed (`ext4_free_blocks` waits for it in the other modes only). Measured on Linux 6.18: of
//! `unlink a; create c; append c 9000 C; fsync c` an `a` may be left that holds the bytes of `c`; by the same rule it may
//! be so with a file that a rename replaces. So whoever replaces or removes a link in place, `durable` included, may find it torn
//! there, and no verdict says so yet. What the model lacks are atoms that show anything in the blocks of a file that was
//! cut, or lost its last name, on each of which that change of the tree depends.

use super::{Family, PersistenceModel, Preds, Timeline, ext4_ordered, force_journalled, one_family};
use crate::disk::effect::Cut;
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

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::KeepNew]
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        ext4_ordered::order(timeline, preds);
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, force_journalled)
    }
}
