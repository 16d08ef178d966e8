//! Where directories are, by their paths: so that a call near the last one walks one step instead of ten.
//!
//! Holds only what is there. A directory that is made changes nothing here; one that goes is taken out, and when one is
//! renamed, whatever was known below it is forgotten with all the rest.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::disk::effect::Effect;
use crate::disk::tree::{Ino, Place, Tree};
use crate::fs::{FileKind, MAX_NAME_BYTES, MAX_PATH_BYTES};

/// Directories by path.
#[derive(Debug, Default, Clone)]
pub(super) struct Paths(HashTable<(Arc<str>, Ino)>);

impl Paths {
    /// Where `path` leads, if its directory is known and there is nothing to say against its last name.
    pub(super) fn place<'p>(&self, tree: &Tree, path: &'p str) -> Option<Place<'p>> {
        let (parent, name) = path.rsplit_once('/')?;
        let is_plain = !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains('\0');
        if !is_plain || path.len() > MAX_PATH_BYTES {
            return None;
        }
        let (_, dir) = self.0.find(hash(parent), |(known, _)| **known == *parent)?;
        Some(Place { dir: *dir, name, ino: tree.dir(*dir)?.get(name).copied() })
    }

    /// `path`, which was walked, has led to `place`.
    pub(super) fn learn(&mut self, path: &str, place: &Place<'_>) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.0.insert_unique(hash(parent), (parent.into(), place.dir), |(known, _)| hash(known));
        }
    }

    /// A call changed the tree.
    pub(super) fn changed(&mut self, effects: &[Effect]) {
        match effects {
            [Effect::Dentry { kind: FileKind::Dir, .. }, Effect::Dentry { .. }] => self.0.clear(),
            [Effect::Dentry { kind: FileKind::Dir, before: Some(gone), .. }] => self.0.retain(|(_, dir)| dir != gone),
            _ => {}
        }
    }
}

/// Of eight bytes at a time; nobody chooses paths to collide.
fn hash(path: &str) -> u64 {
    path.as_bytes().chunks(8).fold(0, |hash: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    })
}
