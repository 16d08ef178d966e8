//! `posix-split-rename`: `posix`, and a rename persists in up to three pieces (ALICE's default model, OSDI'14).
//!
//! Clearing the replaced destination, clearing the source and setting the destination persist independently, but for
//! the order of the two pieces at the destination. "Neither name", "both names" and "the replaced name is gone" are
//! legal outcomes.

use super::{Family, PersistenceModel, Preds, Timeline, one_family, posix};
use crate::disk::effect::Cut;
use crate::disk::space::Space;

/// The model `posix-split-rename`.
#[derive(Debug, Clone, Copy)]
pub struct PosixSplitRename;

impl PersistenceModel for PosixSplitRename {
    fn name(&self) -> &'static str {
        "posix-split-rename"
    }

    fn splits_rename(&self) -> bool {
        true
    }

    fn shows_stale_bytes(&self) -> bool {
        true
    }

    fn orders_shrinks(&self) -> bool {
        false
    }

    fn order(&self, _: Timeline<'_>, _: &mut Preds) {}

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, posix::forces)
    }
}
