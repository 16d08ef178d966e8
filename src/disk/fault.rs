//! Faults of a running disk: which, how often, and what each did so far.
//!
//! A fault fires by choice, never by itself: its rate says how many options one choice has, and the last of them is
//! the fault. Every fault that fired is counted, so that a campaign in which one never fired can say so.

use std::fmt;

use crate::env::choice::Chooser;

/// The kinds of faults that a call may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A read fails with EIO.
    ReadError,
    /// A read returns fewer bytes than there are.
    ShortRead,
    /// A write fails with EIO and changes nothing.
    WriteError,
    /// A write takes only a part.
    ShortWrite,
    /// fsync fails with EIO. What becomes of what it was to make durable is another matter ([`FailedPages`]).
    SyncFailure,
    /// A write takes fewer bytes, or fails with ENOSPC, because the byte budget is used up. (Not by choice: by the
    /// budget, and counted by the disk.)
    NoSpace,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::ReadError, Self::ShortRead, Self::WriteError, Self::ShortWrite, Self::SyncFailure, Self::NoSpace];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadError => "read-error",
            Self::ShortRead => "short-read",
            Self::WriteError => "write-error",
            Self::ShortWrite => "short-write",
            Self::SyncFailure => "sync-failure",
            Self::NoSpace => "no-space",
        }
    }
}

/// What a failed fsync does to the pages that it could not write (Rebello and others, USENIX ATC 2020). After one of a
/// directory or of the file system that turns read-only, unless they stay dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum FailedPages {
    /// Marked clean, the new bytes stay readable until the cache is dropped (ext4, xfs).
    #[default]
    KeepNew,
    /// Marked clean and reverted to what is on the disk (btrfs).
    Revert,
    /// Still dirty: a later sync brings them, and nothing is amiss but the answer.
    StayDirty,
}

impl FailedPages {
    /// All there is.
    pub const ALL: [Self; 3] = [Self::KeepNew, Self::Revert, Self::StayDirty];
    /// What differs after a failed sync of a directory or of the file system.
    pub const OF_NAMES: [Self; 2] = [Self::KeepNew, Self::StayDirty];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepNew => "clean",
            Self::Revert => "reverted",
            Self::StayDirty => "dirty",
        }
    }
}

/// How often each fault fires: one in so many calls, 0 for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// One in so many reads fails.
    pub read_error_one_in: u32,
    /// One in so many reads is short.
    pub short_read_one_in: u32,
    /// One in so many writes fails.
    pub write_error_one_in: u32,
    /// One in so many writes is short.
    pub short_write_one_in: u32,
    /// One in so many syncs fails.
    pub sync_failure_one_in: u32,
    /// What a failed fsync does to the page cache.
    pub failed_pages: FailedPages,
}

/// The faults of one disk.
pub struct Faults {
    chooser: Box<dyn Chooser>,
    /// How often each fires.
    pub rates: FaultRates,
    fired: [u64; FaultKind::ALL.len()],
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("rates", &self.rates).field("fired", &self.fired).finish_non_exhaustive()
    }
}

impl Faults {
    /// Faults at `rates`, chosen by `chooser`.
    pub fn new(rates: FaultRates, chooser: Box<dyn Chooser>) -> Self {
        Self { chooser, rates, fired: [0; FaultKind::ALL.len()] }
    }

    /// Asks whether a fault fires now, and counts it if so.
    pub fn fires(&mut self, kind: FaultKind) -> bool {
        let one_in = match kind {
            FaultKind::ReadError => self.rates.read_error_one_in,
            FaultKind::ShortRead => self.rates.short_read_one_in,
            FaultKind::WriteError => self.rates.write_error_one_in,
            FaultKind::ShortWrite => self.rates.short_write_one_in,
            FaultKind::SyncFailure => self.rates.sync_failure_one_in,
            FaultKind::NoSpace => 0,
        } as usize;
        let fires = one_in > 0 && self.chooser.choose(one_in) == one_in - 1;
        if fires {
            self.fired[kind as usize] += 1;
        }
        fires
    }

    /// How often a fault fired.
    pub fn fired(&self, kind: FaultKind) -> u64 {
        self.fired[kind as usize]
    }

    /// Picks a length in `1..len` for a short read or write; `len` when that cannot be shortened.
    pub fn shorten(&mut self, len: usize) -> usize {
        if len < 2 { len } else { 1 + self.chooser.choose(len - 1) }
    }
}
