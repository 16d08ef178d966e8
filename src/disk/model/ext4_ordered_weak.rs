//! `ext4-ordered-weak`: the weaker reading of ext4 (Ferrite, ASPLOS'16, Definition 7).
//!
//! Ordered are only: the metadata of one file, the updates of one directory, and (as in every model) writes of one
//! sector. `auto_da_alloc` starts a flush and does not wait, so it orders nothing. fsync forces what it forces under
//! `ext4-ordered`.
//!
//! Definition 7 also orders a write with a later extension of the same file, and writes of one block. Both are left
//! out on purpose: `ext4-ordered` allows a file whose full length is there and whose bytes are not (measured), however
//! many writes made it, and orders no two sectors; with the two clauses this model would forbid what the stronger one
//! allows. For the same reason a growth of the length, which is delayed, is not "metadata of one file" here.

use std::collections::BTreeMap;

use super::{Family, PersistenceModel, Preds, Timeline, force_journalled, one_family};
use crate::disk::effect::Cut;
use crate::disk::fault::FailedPages;
use crate::disk::space::{Piece, Space};

/// The model `ext4-ordered-weak`.
#[derive(Debug, Clone, Copy)]
pub struct Ext4OrderedWeak;

impl PersistenceModel for Ext4OrderedWeak {
    fn name(&self) -> &'static str {
        "ext4-ordered-weak"
    }

    fn failed_pages(&self) -> &'static [FailedPages] {
        &[FailedPages::KeepNew]
    }

    fn order(&self, timeline: Timeline<'_>, preds: &mut Preds) {
        let mut of_file = BTreeMap::new();
        let mut of_dir = BTreeMap::new();
        for (id, atom) in timeline.atoms.iter().enumerate() {
            let (files, dirs) = match atom.piece {
                Piece::Name { dir, before, after, .. } => ([after, before], [Some(dir), None]),
                Piece::Rename { inode, replaced, from_dir, to_dir } => {
                    ([Some(inode), replaced], [Some(from_dir), Some(to_dir).filter(|d| *d != from_dir)])
                }
                Piece::Shrink { inode } => ([Some(inode), None], [None, None]),
                Piece::Grow { .. }
                | Piece::Data { .. }
                | Piece::Stale { .. }
                | Piece::Zero { .. }
                | Piece::Arrival { .. } => continue,
            };
            preds[id].extend(files.into_iter().flatten().filter_map(|file| of_file.insert(file, id)));
            preds[id].extend(dirs.into_iter().flatten().filter_map(|dir| of_dir.insert(dir, id)));
        }
    }

    fn families(&self, space: &Space, cut: Cut) -> Vec<Family> {
        one_family(space, cut, force_journalled)
    }
}
