//! What the recorded disk holds, the log of what was written to it, and the disks that a power cut may leave of that.
//!
//! Kept by pages, and only those that were ever written: an image costs what it changed. What was never written reads
//! as `FILL`, so that zeros in a file are zeros which a file system has put there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::space::STALE_BYTE;

/// The unit in which contents are kept.
const PAGE_BYTES: usize = 4096;
/// What a disk's bytes are before they are written.
const FILL: u8 = STALE_BYTE;

type Pages = BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>;

/// What the disk was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// Bytes were written.
    Write { offset: u64, bytes: Arc<[u8]> },
    /// A range became zeros.
    Zero { offset: u64, len: u64 },
    /// All before it reached the medium.
    Flush,
}

/// The same, less the bytes: what a client needs to choose an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Logged {
    /// So many bytes were written, or became zeros, at this place.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// All before it reached the medium.
    Flush,
}

/// A disk that a power cut may leave: the base, the first `whole` entries of the log, and parts of later ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// How many entries are there whole.
    pub whole: usize,
    /// Of later entries, ascending.
    pub parts: Vec<Part>,
}

/// A part of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which entry of the log.
    pub entry: usize,
    /// The ranges of its bytes that are there, from and to; all of them, if there is none.
    pub ranges: Vec<(u64, u64)>,
}

/// A disk, its base, and the log of what was written since.
#[derive(Debug)]
pub struct Store {
    size_bytes: u64,
    now: Pages,
    base: Pages,
    log: Option<Vec<Entry>>,
    /// The last log that was ended, for images.
    ended: Vec<Entry>,
    /// The base and the first so many entries of that log, as they were last wanted.
    whole: (usize, Pages),
}

impl Store {
    /// A disk of so many bytes that was never written to.
    pub fn new(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            now: Pages::new(),
            base: Pages::new(),
            log: None,
            ended: Vec::new(),
            whole: (0, Pages::new()),
        }
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads; nothing lies behind the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = len.min(self.size_bytes.saturating_sub(offset) as usize);
        let mut out = vec![FILL; len];
        for (page, at, from, n) in pieces(offset, len as u64) {
            if let Some(bytes) = self.now.get(&page) {
                out[at..at + n].copy_from_slice(&bytes[from..from + n]);
            }
        }
        out
    }

    /// Writes.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.log_as(|| Entry::Write { offset, bytes: bytes.into() });
        write_into(&mut self.now, offset, bytes);
    }

    /// Turns a range to zeros: discards, and writes of zeros.
    pub fn zero(&mut self, offset: u64, len: u64) {
        self.log_as(|| Entry::Zero { offset, len });
        zero_in(&mut self.now, offset, len);
    }

    /// Flushes.
    pub fn flush(&mut self) {
        self.log_as(|| Entry::Flush);
    }

    fn log_as(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(log) = &mut self.log {
            log.push(entry());
        }
    }

    /// What the disk holds is the base from now on, and the log begins.
    pub fn begin(&mut self) {
        self.base.clone_from(&self.now);
        self.log = Some(Vec::new());
    }

    /// How many entries the log has.
    pub fn position(&self) -> usize {
        self.log.as_ref().map_or(0, Vec::len)
    }

    /// Ends the log, and tells what is in it.
    pub fn end(&mut self) -> Vec<Logged> {
        self.ended = self.log.take().unwrap_or_default();
        self.whole = (0, self.base.clone());
        let told = |entry: &Entry| match entry {
            Entry::Write { offset, bytes } => Logged::Write { offset: *offset, len: bytes.len() as u64 },
            Entry::Zero { offset, len } => Logged::Write { offset: *offset, len: *len },
            Entry::Flush => Logged::Flush,
        };
        self.ended.iter().map(told).collect()
    }

    /// What the disk holds, to come back to.
    pub fn saved(&self) -> Saved {
        Saved(self.now.clone())
    }

    /// The disk holds what it held then. Gives back which ranges of it are others now: where, how many bytes.
    pub fn restore(&mut self, saved: &Saved) -> Vec<(u64, u64)> {
        self.log = None;
        self.hold(saved.0.clone())
    }

    fn hold(&mut self, pages: Pages) -> Vec<(u64, u64)> {
        let before = std::mem::replace(&mut self.now, pages);
        differences(&before, &self.now)
    }

    /// The disk holds an image of the last log. Gives back which ranges are others now.
    pub fn show(&mut self, image: &Image) -> Vec<(u64, u64)> {
        if self.whole.0 > image.whole {
            self.whole = (0, self.base.clone());
        }
        let (done, pages) = &mut self.whole;
        self.ended.iter().take(image.whole).skip(*done).for_each(|entry| apply(pages, entry, &[]));
        *done = image.whole;
        let mut pages = pages.clone();
        for part in &image.parts {
            if let Some(entry) = self.ended.get(part.entry) {
                apply(&mut pages, entry, &part.ranges);
            }
        }
        self.hold(pages)
    }
}

/// The ranges in which two disks differ, or may: pages that were written apart are taken for different.
fn differences(a: &Pages, b: &Pages) -> Vec<(u64, u64)> {
    const PAGE: u64 = PAGE_BYTES as u64;
    let without = |other: &Pages, of: &Pages| -> Vec<u64> {
        let is_there = |page, bytes| other.get(page).is_some_and(|other| Arc::ptr_eq(other, bytes));
        of.iter().filter(|(page, bytes)| !is_there(page, bytes)).map(|(page, _)| *page).collect()
    };
    let pages: BTreeSet<u64> = without(a, b).into_iter().chain(without(b, a)).collect();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for page in pages {
        match ranges.last_mut().filter(|(offset, len)| offset + len == page * PAGE) {
            Some((_, len)) => *len += PAGE,
            None => ranges.push((page * PAGE, PAGE)),
        }
    }
    ranges
}

impl Store {
    /// Writes what the disk holds into a file, with holes where it was never written.
    ///
    /// Errors: those of the file.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.set_len(self.size_bytes)?;
        self.now.iter().try_for_each(|(page, bytes)| file.write_all_at(&bytes[..], page * PAGE_BYTES as u64))
    }
}

/// What a disk held.
#[derive(Debug)]
pub struct Saved(Pages);

/// Applies ranges of an entry; all of it, if there are none.
fn apply(pages: &mut Pages, entry: &Entry, ranges: &[(u64, u64)]) {
    match entry {
        Entry::Flush => {}
        Entry::Zero { offset, len } if ranges.is_empty() => zero_in(pages, *offset, *len),
        Entry::Zero { offset, .. } => ranges.iter().for_each(|(from, to)| zero_in(pages, offset + from, to - from)),
        Entry::Write { offset, bytes } if ranges.is_empty() => write_into(pages, *offset, bytes),
        Entry::Write { offset, bytes } => {
            for (from, to) in ranges {
                let bytes = bytes.get(*from as usize..*to as usize).unwrap_or_default();
                write_into(pages, offset + from, bytes);
            }
        }
    }
}

/// The pages of a range: which, where in the range, where in the page, how many bytes.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    const PAGE: u64 = PAGE_BYTES as u64;
    let end = offset + len;
    (offset / PAGE..end.div_ceil(PAGE)).filter(move |_| len > 0).map(move |page| {
        let from = offset.max(page * PAGE);
        let to = end.min((page + 1) * PAGE);
        (page, (from - offset) as usize, (from - page * PAGE) as usize, (to - from) as usize)
    })
}

fn write_into(pages: &mut Pages, offset: u64, bytes: &[u8]) {
    for (page, at, from, n) in pieces(offset, bytes.len() as u64) {
        let whole = pages.entry(page).or_insert_with(|| Arc::new([FILL; PAGE_BYTES]));
        Arc::make_mut(whole)[from..from + n].copy_from_slice(&bytes[at..at + n]);
    }
}

fn zero_in(pages: &mut Pages, offset: u64, len: u64) {
    for (page, _, from, n) in pieces(offset, len) {
        let whole = pages.entry(page).or_insert_with(|| Arc::new([FILL; PAGE_BYTES]));
        Arc::make_mut(whole)[from..from + n].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads two bytes, around the end of the first page.
    fn read(store: &Store) -> Vec<u8> {
        store.read(4095, 2)
    }

    #[test]
    fn images_are_prefixes_and_parts() {
        let mut store = Store::new(3 * 4096);
        assert_eq!(read(&store), [FILL, FILL]);
        store.write(4095, b"ab");
        let saved = store.saved();
        store.begin();
        store.write(4095, b"cd");
        store.flush();
        store.zero(4096, 4096);
        assert_eq!((store.position(), read(&store)), (3, vec![b'c', 0]));
        let write = |offset, len| Logged::Write { offset, len };
        assert_eq!(store.end(), [write(4095, 2), Logged::Flush, write(4096, 4096)]);
        let mut shown = |whole, parts: &[Part]| {
            let changed = store.show(&Image { whole, parts: parts.to_vec() });
            (read(&store), changed)
        };
        assert_eq!(shown(0, &[]), (b"ab".to_vec(), vec![(0, 8192)]), "pages beside each other are one range");
        assert_eq!(shown(1, &[]), (b"cd".to_vec(), vec![(0, 8192)]));
        assert_eq!(shown(3, &[]), (vec![b'c', 0], vec![(4096, 4096)]));
        assert_eq!(shown(3, &[]).1, []);
        assert_eq!(shown(0, &[Part { entry: 2, ranges: Vec::new() }]).0, [b'a', 0]);
        assert_eq!(shown(0, &[Part { entry: 0, ranges: vec![(1, 2)] }]).0, b"ad");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("image");
        store.write_to(&file).unwrap();
        let mut written = vec![0; 4097];
        OpenOptions::new().read(true).open(&file).unwrap().read_exact_at(&mut written, 0).unwrap();
        assert_eq!((&written[4095..], file.metadata().unwrap().len()), (&b"ad"[..], 3 * 4096));
        assert_eq!(store.restore(&saved), [(4096, 4096)]);
        store.write(8192, b"as a mount does");
        assert_eq!(store.restore(&saved), [(8192, 4096)], "what was not there before is gone");
        assert_eq!((read(&store), store.position()), (b"ab".to_vec(), 0));
        assert_eq!(store.read(3 * 4096 - 1, 10), [FILL]);
    }
}
