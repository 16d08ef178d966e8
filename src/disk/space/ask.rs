//! What a reader asks of an undecided disk, in words that hold on any disk.
//!
//! Unlike a [`Question`](super::Question), an [`Ask`] is noted even where every crash state answers it alike: the list
//! of what a reader asked, with the answers, then determines its run on **any** disk, so that runs on one space are
//! known on another.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::hash::{clipped_hash, mix, sector_hash, visible};
use super::{Space, View};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::tree::{Content, Ino};
use crate::fs::FileKind;

/// One look at the disk. `I` names inodes: by their numbers, or by the order in which a run met them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask<I> {
    /// Whether no directory has two names, whatever survives: where none has, paths are followed as a whole. Of the root.
    IsTree(I),
    /// What `name` in `dir` is.
    Entry {
        /// The directory.
        dir: I,
        /// The name in it; or a path that leads on from there, of which it does not matter where it ends too early.
        name: Arc<str>,
    },
    /// Whether a file is in the way of directories that are made: any of a path's names may be that of a directory, or free.
    Blocked {
        /// Where the path begins.
        dir: I,
        /// The path.
        path: Arc<str>,
    },
    /// Which names a directory has, each with its kind.
    Dir(I),
    /// How long a file is.
    Len(I),
    /// The first bytes of one sector of a file, or that it has none.
    Sector {
        /// The file.
        file: I,
        /// Which sector.
        sector: u64,
        /// How many of its bytes matter.
        visible: usize,
    },
    /// Whether a file's first bytes are those of a content that is known.
    Is {
        /// The file.
        file: I,
        /// The content.
        known: Arc<Known>,
        /// How many bytes; at most as many as the content has.
        len_bytes: u64,
    },
}

impl<I: Copy> Ask<I> {
    /// The inode that is asked about.
    pub fn about(&self) -> I {
        match self {
            Self::IsTree(inode)
            | Self::Entry { dir: inode, .. }
            | Self::Blocked { dir: inode, .. }
            | Self::Dir(inode)
            | Self::Len(inode)
            | Self::Sector { file: inode, .. }
            | Self::Is { file: inode, .. } => *inode,
        }
    }

    /// The same look at the inode called `inode`.
    pub fn of<J>(&self, inode: J) -> Ask<J> {
        match self {
            Self::IsTree(_) => Ask::IsTree(inode),
            Self::Entry { name, .. } => Ask::Entry { dir: inode, name: name.clone() },
            Self::Blocked { path, .. } => Ask::Blocked { dir: inode, path: path.clone() },
            Self::Dir(_) => Ask::Dir(inode),
            Self::Len(_) => Ask::Len(inode),
            Self::Sector { sector, visible, .. } => Ask::Sector { file: inode, sector: *sector, visible: *visible },
            Self::Is { known, len_bytes, .. } => Ask::Is { file: inode, known: known.clone(), len_bytes: *len_bytes },
        }
    }
}

/// What a reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// The name stands for nothing.
    Nothing,
    /// The name stands for this inode.
    Inode(Ino, FileKind),
    /// A length, or a number that is equal for two disks if and only if the reader learns the same.
    Value(u64),
}

/// A content that is known by its bytes.
#[derive(Debug)]
pub struct Known {
    content: Content,
    /// The hash of each of its sectors.
    hashes: BTreeMap<u64, u64>,
    sha256: [u8; 32],
}

impl Known {
    fn new(content: Content) -> Self {
        let sha256 = Sha256::digest(content.read(0, content.len as usize)).into();
        let hashes = content.sectors.iter().map(|(at, bytes)| (*at, sector_hash(bytes))).collect();
        Self { content, hashes, sha256 }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.content.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.content.len == 0
    }

    /// The bytes, to be compared.
    pub(in crate::disk) fn content(&self) -> &Content {
        &self.content
    }

    /// The hash of the first `visible` bytes of a sector.
    pub(super) fn hash(&self, sector: u64, visible: usize) -> u64 {
        self.content.sectors.get(&sector).map_or(0, |bytes| clipped_hash(bytes, self.hashes[&sector], visible))
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for Known {}

impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Known {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sha256.cmp(&other.sha256)
    }
}

/// The content that a digest names: some known content, or a beginning of one.
type ByDigest = BTreeMap<(u64, [u8; 32]), Option<Arc<Known>>>;

/// The contents that files of a space have once all of its log is done. The same for all runs whose transcripts are
/// compared: which digests are known decides what a run asks.
#[derive(Debug, Default)]
pub struct Library {
    contents: BTreeSet<Arc<Known>>,
    found: Mutex<ByDigest>,
}

impl Library {
    /// The content of which the first `len` bytes hash to `sha256`.
    pub fn find(&self, len: u64, sha256: &[u8]) -> Option<Arc<Known>> {
        let key = (len, sha256.try_into().ok()?);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let search = || {
            let begins = |known: &&Arc<Known>| {
                known.len() >= len && (known.len() > len || known.sha256 == key.1) && {
                    known.len() == len || Sha256::digest(known.content.read(0, len as usize))[..] == key.1
                }
            };
            self.contents.iter().find(begins).cloned()
        };
        found.entry(key).or_insert_with(search).clone()
    }
}

impl Space {
    /// The contents that files have at the end of the log.
    pub fn library(&self) -> Library {
        let files = (0..self.nodes.len()).map(|at| Ino(at as u32)).filter(|ino| self.file(*ino).is_some());
        let end = self.end();
        let contents = files.map(|ino| Arc::new(Known::new(self.view(&end).content(ino)))).collect();
        Library { contents, found: Mutex::default() }
    }

    /// Whether the space has this inode: those of a reader it has not.
    pub(in crate::disk) fn has(&self, ino: Ino) -> bool {
        ino.0 < self.inodes()
    }

    /// How many inodes the space has: their numbers are smaller.
    pub fn inodes(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// What an inode is.
    pub(super) fn kind(&self, ino: Ino) -> FileKind {
        if self.dir(ino).is_some() { FileKind::Dir } else { FileKind::File }
    }
}

/// The number that tells a sector that has bytes.
pub(super) fn sector_value(hash: u64) -> u64 {
    mix(hash, 0x5EC7) | 1
}

impl View<'_> {
    /// What the state replies.
    pub fn reply(&self, ask: &Ask<Ino>) -> Reply {
        match ask {
            Ask::IsTree(_) => Reply::Value(u64::from(self.space.is_tree())),
            Ask::Entry { dir, name } => self.way(*dir, name).found(self.space),
            Ask::Blocked { dir, path } => self.way(*dir, path).blocked(self.space, path),
            Ask::Dir(dir) => Reply::Value(self.listing(*dir)),
            Ask::Len(ino) => Reply::Value(self.len(*ino)),
            Ask::Sector { file, sector, visible } => Reply::Value(self.sector_reply(*file, *sector, *visible)),
            Ask::Is { file, known, len_bytes } => Reply::Value(u64::from(self.is(*file, known, *len_bytes))),
        }
    }

    /// A hash of the names in `dir` and their kinds.
    fn listing(&self, dir: Ino) -> u64 {
        let entries = self.space.dir(dir).map_or(&[][..], Vec::as_slice);
        let there = entries.iter().filter_map(|e| Some((e.hash, self.value_of(e)?)));
        there.fold(0, |sum, (name, ino)| listed(sum, name, self.space.kind(ino)))
    }

    fn sector_reply(&self, ino: Ino, sector: u64, visible: usize) -> u64 {
        let Some(file) = self.space.file(ino) else { return 0 };
        let versions = file.sectors.get(&sector).map_or(&[][..], Vec::as_slice);
        match self.sector(file, sector, versions) {
            (Some(bytes), hash, keep) if keep > 0 => sector_value(clipped_hash(bytes, hash, keep.min(visible))),
            _ => 0,
        }
    }

    /// Whether a file's first `len` bytes are those of `known`.
    fn is(&self, ino: Ino, known: &Known, len: u64) -> bool {
        let Some(file) = self.space.file(ino) else { return false };
        len <= self.len(ino)
            && (0..len.div_ceil(SECTOR_BYTES)).all(|at| {
                let versions = file.sectors.get(&at).map_or(&[][..], Vec::as_slice);
                let (bytes, hash, keep) = self.sector(file, at, versions);
                let compared = visible(at, len);
                bytes.map_or(0, |b| clipped_hash(b, hash, keep.min(compared))) == known.hash(at, compared)
            })
    }
}

/// Adds an entry to the hash of a listing.
pub(super) fn listed(sum: u64, name: u64, kind: FileKind) -> u64 {
    mix(sum ^ name, u64::from(kind == FileKind::Dir) + 1)
}
