//! Which disks a power cut may leave, of one log.
//!
//! - **Prefixes**: the power goes when so much was written, and all of it is there.
//! - **Reordered**: all up to the last flush is there, and of what was written after it anything: a write, none of it, or
//!   some of its sectors.
//! - **Forgetful**: a disk that lies: less than what was flushed is there. A control: who compares must see losses.

use super::store::Part;
pub use super::store::{Image, Logged};
use crate::disk::effect::SECTOR_BYTES;
use crate::env::choice::{Chooser, Seeded};

/// How an image came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// All that was written.
    Prefix,
    /// Any of what was written since the last flush.
    Reordered,
    /// A control: flushed writes are gone.
    Forgetful,
}

impl Way {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefixes",
            Self::Reordered => "reordered",
            Self::Forgetful => "without flushes",
        }
    }
}

/// An image, and how much had been written when the power went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// How it came about.
    pub way: Way,
    /// The image.
    pub image: Image,
    /// How many entries the log had.
    pub position: usize,
}

impl Chosen {
    fn prefix(position: usize) -> Self {
        Self { way: Way::Prefix, image: Image { whole: position, parts: Vec::new() }, position }
    }

    /// What was written until then and is not there, or not whole.
    pub fn lost(&self, log: &[Logged]) -> Vec<String> {
        let until = log.iter().enumerate().take(self.position).skip(self.image.whole);
        let of = |entry: usize| self.image.parts.iter().find(|part| part.entry == entry);
        let lost = |(entry, logged): (usize, &Logged)| match (logged, of(entry)) {
            (Logged::Write { offset, len }, None) => Some(format!("{len} B at {offset}")),
            (Logged::Write { offset, len }, Some(part)) if !part.ranges.is_empty() => {
                let there: u64 = part.ranges.iter().map(|(from, to)| to - from).sum();
                Some(format!("{} of {len} B at {offset}", len - there))
            }
            _ => None,
        };
        until.filter_map(lost).collect()
    }

    /// It in words.
    pub fn told(&self, log: &[Logged]) -> String {
        let of = format!("{} of {} entries of the disk's log", self.position, log.len());
        match self.way {
            Way::Prefix => format!("all of {of}"),
            Way::Reordered => {
                let whole = self.image.whole;
                let parts: Vec<String> = self.image.parts.iter().map(|part| part.told()).collect();
                let parts = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
                format!("after {of}: the first {whole}, and of the later ones {parts}")
            }
            Way::Forgetful => format!("after {of}, the first {} on a disk that ignored flushes", self.image.whole),
        }
    }
}

impl Part {
    fn told(&self) -> String {
        if self.ranges.is_empty() { format!("{}", self.entry + 1) } else { format!("{} (torn)", self.entry + 1) }
    }
}

/// All prefixes that differ, the fullest first, each with the latest position that it stands for.
pub fn prefixes(log: &[Logged]) -> Vec<Chosen> {
    let changes = |at: &usize| log.get(*at).is_none_or(|next| *next != Logged::Flush);
    (0..=log.len()).rev().filter(changes).map(Chosen::prefix).collect()
}

/// So many images in which what was written since the last flush is there in part; none, where nothing was. Writes are
/// torn at sectors, but what lies in `superblock` is there whole or not at all.
pub fn reordered(log: &[Logged], count: usize, superblock: (u64, u64), stream: &mut Seeded) -> Vec<Chosen> {
    let one = |stream: &mut Seeded| {
        let position = 1 + stream.choose(log.len());
        let whole = flushed(log, position);
        let entries = (whole..position).filter_map(|entry| match log[entry] {
            Logged::Write { offset, len } => Some((entry, offset, len)),
            Logged::Flush => None,
        });
        let parts = entries.filter_map(|(entry, at, len)| part(entry, at, len, superblock, stream)).collect();
        Chosen { way: Way::Reordered, image: Image { whole, parts }, position }
    };
    if log.is_empty() { Vec::new() } else { (0..count).map(|_| one(stream)).collect() }
}

/// So many images on which flushed writes are gone.
pub fn forgetful(log: &[Logged], count: usize, stream: &mut Seeded) -> Vec<Chosen> {
    let position = log.len();
    let flushed = flushed(log, position);
    let one = |_| {
        let image = Image { whole: stream.choose(flushed), parts: Vec::new() };
        Chosen { way: Way::Forgetful, image, position }
    };
    if flushed == 0 { Vec::new() } else { (0..count).map(one).collect() }
}

/// How many entries a flush has brought to the medium, of the first `position`.
fn flushed(log: &[Logged], position: usize) -> usize {
    log[..position].iter().rposition(|entry| *entry == Logged::Flush).map_or(0, |at| at + 1)
}

/// What is there of one write of `len` bytes at `offset`.
fn part(entry: usize, offset: u64, len: u64, superblock: (u64, u64), stream: &mut Seeded) -> Option<Part> {
    match stream.choose(5) {
        0 | 1 => Some(Part { entry, ranges: Vec::new() }),
        2 | 3 => None,
        _ => {
            let has_superblock = stream.choose(2) == 0;
            let sectors = (0..len.div_ceil(SECTOR_BYTES)).filter(|sector| {
                let at = offset + sector * SECTOR_BYTES;
                let survives = stream.choose(2) == 0;
                if superblock.0 <= at && at < superblock.1 { has_superblock } else { survives }
            });
            let ranges: Vec<_> = sectors.map(|s| (s * SECTOR_BYTES, len.min((s + 1) * SECTOR_BYTES))).collect();
            (!ranges.is_empty()).then_some(Part { entry, ranges })
        }
    }
}
