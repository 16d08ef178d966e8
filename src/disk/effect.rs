//! The effect log: what every call did to the disk, in the order in which it was executed.
//!
//! A call that changes something leaves one [`Record`]. Its [`Effect`]s are the pieces that a power cut may separate;
//! completed syncs, and closes that start a flush, are records too, since they decide what survives. Marks are the
//! workload's own (an operation began, an operation was acknowledged).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::tree::Ino;
use crate::fs::FileKind;

/// What the disk writes in one piece: a sector is never torn. 512 bytes, the smallest unit of today's media.
pub const SECTOR_BYTES: u64 = 512;
/// The block size of the modelled file systems.
pub const BLOCK_BYTES: u64 = 4096;
/// Sectors in a block.
pub const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;

/// The new content of one sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorWrite {
    /// Which 512-byte sector of the file.
    pub sector: u64,
    /// Its whole content in the page cache after the write; bytes missing at the end are zero.
    pub bytes: Bytes,
    /// Whether the sector had never been written (or was freed by a truncation): such a sector is allocated by this
    /// write, and may show stale bytes where the model says so.
    pub fresh: bool,
}

/// One thing that a call changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A directory entry was set or cleared.
    Dentry {
        /// The directory.
        dir: Ino,
        /// The name in it.
        name: Arc<str>,
        /// The inode that had the name.
        before: Option<Ino>,
        /// The inode that has it now.
        after: Option<Ino>,
        /// Whether that inode (or, for a cleared name, the one before) is a file or a directory.
        kind: FileKind,
    },
    /// A file's length changed.
    Size {
        /// The file.
        inode: Ino,
        /// Length before, in bytes.
        before: u64,
        /// Length after, in bytes.
        after: u64,
    },
    /// Bytes of one 4 KiB block of a file changed; on the disk sector by sector.
    Block {
        /// The file.
        inode: Ino,
        /// Which block.
        index: u64,
        /// The sectors that were touched, ascending.
        sectors: Vec<SectorWrite>,
    },
}

impl Effect {
    /// The inode that it changes.
    pub fn changes(&self) -> Ino {
        match self {
            Self::Dentry { dir: inode, .. } | Self::Size { inode, .. } | Self::Block { inode, .. } => *inode,
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The call changed this. A write has its blocks first, then its size; a rename has the entry that is set first,
    /// then the one that is cleared.
    Effects(Vec<Effect>),
    /// fsync or fdatasync of a file completed.
    SyncFile(Ino),
    /// fsync of a directory completed.
    SyncDir(Ino),
    /// syncfs completed.
    SyncFs,
    /// fsync of a file failed: its dirty pages are marked clean, and no later sync forces them.
    SyncFailed(Ino),
    /// The first close of a file, through whatever handle, since it was truncated to 0: some file systems flush here.
    CloseTruncated(Ino),
    /// The workload passed a point.
    Mark(u32),
}

impl What {
    /// The same of other inodes.
    pub fn with_inodes(&self, other: impl Fn(Ino) -> Ino) -> Self {
        let effect = |effect: &Effect| {
            let mut effect = effect.clone();
            match &mut effect {
                Effect::Dentry { dir, before, after, .. } => {
                    *dir = other(*dir);
                    [before, after].into_iter().flatten().for_each(|ino| *ino = other(*ino));
                }
                Effect::Size { inode, .. } | Effect::Block { inode, .. } => *inode = other(*inode),
            }
            effect
        };
        match self {
            Self::Effects(effects) => Self::Effects(effects.iter().map(effect).collect()),
            Self::SyncFile(ino) => Self::SyncFile(other(*ino)),
            Self::SyncDir(ino) => Self::SyncDir(other(*ino)),
            Self::SyncFailed(ino) => Self::SyncFailed(other(*ino)),
            Self::CloseTruncated(ino) => Self::CloseTruncated(other(*ino)),
            Self::SyncFs | Self::Mark(_) => self.clone(),
        }
    }
}

/// One call that changed something, a completed sync, or a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The call as an operation list shows it (`rename a -> b`).
    pub call: String,
    /// What it did.
    pub what: What,
}

impl Record {
    /// The effects; none for a sync or a mark.
    pub fn effects(&self) -> &[Effect] {
        match &self.what {
            What::Effects(effects) => effects,
            _ => &[],
        }
    }

    /// How many sectors a write touched; 0 for every other call.
    pub fn sectors_written(&self) -> usize {
        self.effects().iter().map(|e| if let Effect::Block { sectors, .. } = e { sectors.len() } else { 0 }).sum()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)
    }
}

/// A place at which the machine may stop: after the first `records` records, and, when `inside` is set, in the middle
/// of the write that is record number `records`, after so many of its sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cut {
    /// Records that were executed.
    pub records: u32,
    /// Sectors of the next record, a write, that were executed; `None` or at least 1.
    pub inside: Option<u32>,
}

impl Cut {
    /// After the first `records` records, between two calls.
    pub fn after(records: usize) -> Self {
        Self { records: records as u32, inside: None }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inside {
            None => write!(f, "after call {}", self.records),
            Some(n) => write!(f, "in call {}, after {n} of its sectors", self.records + 1),
        }
    }
}

/// Every place at which the machine may stop in `log`: before the first record, after each, inside each write.
pub fn cuts(log: &[Record]) -> Vec<Cut> {
    let mut all = vec![Cut::after(0)];
    for (i, record) in log.iter().enumerate() {
        let inner = (1..record.sectors_written()).map(|n| Cut { records: i as u32, inside: Some(n as u32) });
        all.extend(inner);
        all.push(Cut::after(i + 1));
    }
    all
}

/// What was executed of `log` before `cut`: the records before it, and of a write that is cut its first sectors, with
/// the length that these give the file.
pub fn executed(log: &[Record], cut: Cut) -> Vec<Record> {
    let mut done = log[..cut.records as usize].to_vec();
    let (Some(sectors), Some(next)) = (cut.inside, log.get(cut.records as usize)) else { return done };
    let mut left = sectors as usize;
    let mut end = 0;
    let mut effects = Vec::new();
    for effect in next.effects() {
        match effect {
            Effect::Block { inode, index, sectors } if left > 0 => {
                let sectors = sectors[..sectors.len().min(left)].to_vec();
                left -= sectors.len();
                end = sectors.last().map_or(end, |s| (s.sector + 1) * SECTOR_BYTES);
                effects.push(Effect::Block { inode: *inode, index: *index, sectors });
            }
            Effect::Size { inode, before, after } if end > *before => {
                effects.push(Effect::Size { inode: *inode, before: *before, after: end.min(*after) });
            }
            Effect::Block { .. } | Effect::Size { .. } | Effect::Dentry { .. } => {}
        }
    }
    done.push(Record { call: format!("{} (cut after {sectors} sectors)", next.call), what: What::Effects(effects) });
    done
}
