//! Atoms: the smallest pieces of a log that can persist alone.

use crate::disk::tree::Ino;

/// The number of an atom: its place in time.
pub type AtomId = usize;

/// What an atom is, for the models and for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A name is set or cleared (a piece of a rename, where renames split).
    Name {
        /// The directory.
        dir: Ino,
        /// Who had the name.
        before: Option<Ino>,
        /// Who has it.
        after: Option<Ino>,
    },
    /// A rename, whole.
    Rename {
        /// What is renamed.
        inode: Ino,
        /// What had the new name.
        replaced: Option<Ino>,
        /// Where it was.
        from_dir: Ino,
        /// Where it goes.
        to_dir: Ino,
    },
    /// The first half of a rename: a file has its new name, and its old one in another directory still.
    Arrival {
        /// The file.
        inode: Ino,
        /// What had the new name.
        replaced: Option<Ino>,
        /// Where it goes.
        dir: Ino,
    },
    /// A length shrinks, and what lies behind it is freed.
    Shrink {
        /// The file.
        inode: Ino,
    },
    /// What a shrink cuts off of one sector becomes zeros where it lies.
    Zero {
        /// The file.
        inode: Ino,
        /// Which sector of the file.
        sector: u64,
    },
    /// A length grows.
    Grow {
        /// The file.
        inode: Ino,
        /// For a write that was cut: after so many of its sectors.
        partial: Option<u32>,
    },
    /// One sector's bytes.
    Data {
        /// The file.
        inode: Ino,
        /// Which sector of the file.
        sector: u64,
        /// Which sector of its write, from 0.
        nth: u32,
    },
    /// A sector is allocated and shows stale bytes.
    Stale {
        /// The file.
        inode: Ino,
        /// Which sector of the file.
        sector: u64,
        /// Which sector of its write, from 0.
        nth: u32,
    },
}

/// The smallest piece of the log that can persist alone.
#[derive(Debug, Clone)]
pub struct Atom {
    /// The record that it comes from.
    pub record: u32,
    /// What it is.
    pub piece: Piece,
}

impl Atom {
    /// Whether it is there only if its write was cut in the middle.
    pub fn is_partial(&self) -> bool {
        matches!(self.piece, Piece::Grow { partial: Some(_), .. })
    }
}
