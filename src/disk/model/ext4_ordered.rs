//! `ext4-ordered`: ext4 with its default `data=ordered` and delayed allocation.
//!
//! Changes of the tree and shrinks persist in order, all directories together: one journal, which may commit at any
//! moment. A grown length is delayed and not ordered with them, so a file can have its name and length 0; once its
//! blocks are allocated as unwritten extents the full length can be there and the bytes not: zeros, never stale bytes
//! (measured: a 71-byte link of 71 zero bytes). A rename over an existing file, and the first
//! close of a file since it was truncated to 0, allocate first (`auto_da_alloc`): what is journalled from there on has the
//! length with it. That close is of any handle, of a reader's too, and what is written after it waits for nothing
//! (`ext4_release_file`, Linux 6.18). fsync forces the inode's bytes and length and every change of the tree up to its own
//! last change of metadata.

use super::{Family, PersistenceModel, Preds, Timeline, force_journalled, one_family, order_metadata};
use crate::disk::effect::{Cut, What};
use crate::disk::fault::FailedPages;
use crate::disk::space::{Piece, Space};

/// The model `ext4-ordered`.
#[derive(Debug, Clone, Copy)]
pub struct Ext4Ordered;

impl PersistenceModel for Ext4Ordered {
    fn name(&self) -> &'static str {
        "ext4-ordered"
    }

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::KeepNew]
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        order(timeline, preds);
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, force_journalled)
    }
}

/// The order of both journal modes.
pub(super) fn order(timeline: Timeline<'_>, preds: &mut Preds) {
    order_metadata(timeline, preds);
    order_growth_before_what_follows_a_close(timeline, preds);
    for (id, atom) in timeline.atoms.iter().enumerate() {
        if let Piece::Rename { inode, replaced: Some(_), .. } = atom.piece {
            let grown = timeline.atoms[..id].iter().enumerate().filter(|(_, a)| a.grows(inode)).map(|(grown, _)| grown);
            preds[id].extend(grown.filter(|grown| !timeline.failed.contains(*grown)));
        }
    }
}

/// Lets the first change of the tree after each such close need the lengths that the file had grown to.
fn order_growth_before_what_follows_a_close(timeline: Timeline<'_>, preds: &mut Preds) {
    for (at, record) in timeline.records.iter().enumerate() {
        let What::CloseTruncated(inode) = record.what else { continue };
        let next = timeline.atoms.iter().position(|a| a.record as usize > at && a.is_logged_metadata());
        if let Some(next) = next {
            let before = timeline.atoms.iter().enumerate().filter(|(_, a)| (a.record as usize) < at);
            let grown = before.filter(|(id, a)| !timeline.failed.contains(*id) && a.grows(inode));
            preds[next].extend(grown.map(|(id, _)| id));
        }
    }
}
