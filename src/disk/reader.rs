//! Who reads a disk whose state is one of many, and what it asked so far.
//!
//! What a run learns of the undecided is all that its verdict can depend on. A run that compares a file's digest learns
//! less than its bytes: whether the bytes that it did not write itself are the right ones. Where the content with that
//! digest is known, that is the question ([`Question::Prefix`], [`Ask::Is`]), since other bytes have another sha256.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::SECTOR_BYTES;
use super::space::{Ask, Library, Question, Space};
use super::tree::{Content, Ino, Tree};

/// A reader of an undecided disk.
#[derive(Debug)]
pub(super) struct Reader {
    space: Arc<Space>,
    notes: Notes,
    /// What it changed of a file itself.
    own: BTreeMap<Ino, Own>,
}

/// What is noted, in order, each thing once.
#[derive(Debug)]
enum Notes {
    /// What crash states may answer differently.
    Questions(Vec<Question>),
    /// Everything.
    Transcript {
        asks: Vec<Ask<Ino>>,
        /// The names that were looked up, by directory, and all else that was asked.
        looked: BTreeMap<Ino, BTreeSet<Arc<str>>>,
        asked: BTreeSet<Ask<Ino>>,
        library: Arc<Library>,
        /// Whether what is written counts as well: it is, of what is asked, a part of the log.
        writes: bool,
    },
}

/// A reader's own changes of a file.
#[derive(Debug, Clone, Copy)]
enum Own {
    /// It wrote on from a place within the file, to what is now its end.
    From(u64),
    /// Something else.
    Mixed,
}

impl Reader {
    /// Of whom questions are noted.
    pub(super) fn new(space: Arc<Space>) -> Self {
        Self { space, notes: Notes::Questions(Vec::new()), own: BTreeMap::new() }
    }

    /// Of whom everything is noted; what it writes depends on is, with `writes`.
    pub(super) fn transcribed(space: Arc<Space>, library: Arc<Library>, writes: bool) -> Self {
        let notes =
            Notes::Transcript { asks: Vec::new(), looked: BTreeMap::new(), asked: BTreeSet::new(), library, writes };
        Self { space, notes, own: BTreeMap::new() }
    }

    /// The questions; asking begins anew.
    pub(super) fn take_questions(&mut self) -> Vec<Question> {
        if let Notes::Questions(questions) = &mut self.notes { std::mem::take(questions) } else { Vec::new() }
    }

    /// The transcript; asking begins anew.
    pub(super) fn take_asks(&mut self) -> Vec<Ask<Ino>> {
        let Notes::Transcript { asks, looked, asked, .. } = &mut self.notes else { return Vec::new() };
        looked.clear();
        asked.clear();
        std::mem::take(asks)
    }

    fn note(&mut self, question: impl FnOnce(&Space) -> Option<Question>, ask: impl FnOnce() -> Ask<Ino>) {
        match &mut self.notes {
            Notes::Questions(questions) => {
                if let Some(question) = question(&self.space)
                    && !questions.contains(&question)
                {
                    questions.push(question);
                }
            }
            Notes::Transcript { asks, asked, .. } => {
                let ask = ask();
                if self.space.has(ask.about()) && asked.insert(ask.clone()) {
                    asks.push(ask);
                }
            }
        }
    }

    /// It looked `name` up.
    pub(super) fn looked(&mut self, dir: Ino, name: &str) {
        if let Notes::Transcript { asks, looked, .. } = &mut self.notes {
            // Paths are walked again and again: no allocation for a name that is known.
            if self.space.has(dir) && !looked.get(&dir).is_some_and(|names| names.contains(name)) {
                let name: Arc<str> = name.into();
                looked.entry(dir).or_default().insert(name.clone());
                asks.push(Ask::Entry { dir, name });
            }
            return;
        }
        self.note(|space| space.asks_entry(dir, name), || Ask::Entry { dir, name: name.into() });
    }

    /// It listed `dir`.
    pub(super) fn listed(&mut self, dir: Ino) {
        self.note(|space| space.asks_dir(dir), || Ask::Dir(dir));
    }

    /// It learned a file's length.
    pub(super) fn measured(&mut self, ino: Ino) {
        self.note(|space| space.asks_len(ino), || Ask::Len(ino));
    }

    /// It read `len` bytes at `offset` of a file, which is `content` to it.
    pub(super) fn read(&mut self, ino: Ino, content: &Content, offset: u64, len: usize) {
        if let Notes::Questions(_) = self.notes {
            return self.note(|space| space.asks_content(ino), || Ask::Len(ino));
        }
        self.measured(ino);
        let end = content.len.min(offset.saturating_add(len as u64));
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            // Behind an end that it set itself there may have been more.
            let own = self.own.contains_key(&ino);
            let left = if own { SECTOR_BYTES } else { (content.len - sector * SECTOR_BYTES).min(SECTOR_BYTES) };
            self.sector(ino, sector, left as usize);
        }
    }

    fn sector(&mut self, file: Ino, sector: u64, visible: usize) {
        self.note(|_| None, || Ask::Sector { file, sector, visible });
    }

    /// The reader wrote the bytes of `range` to a file that had `len_bytes`.
    pub(super) fn wrote(&mut self, ino: Ino, range: std::ops::Range<u64>, len_bytes: u64) {
        if let Notes::Transcript { writes: true, .. } = self.notes {
            // The log says how long the file was, what stands beside the new bytes, and what is allocated anew.
            self.measured(ino);
            let sectors = range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES);
            sectors.for_each(|sector| self.sector(ino, sector, SECTOR_BYTES as usize));
        }
        let goes_on = range.start == len_bytes || (range.start < len_bytes && range.end >= len_bytes);
        let own = match self.own.get(&ino) {
            None if goes_on => Own::From(range.start),
            Some(Own::From(from)) if goes_on => Own::From(range.start.min(*from)),
            _ => Own::Mixed,
        };
        self.own.insert(ino, own);
    }

    /// The reader set a file's length.
    pub(super) fn set_len(&mut self, ino: Ino) {
        if let Notes::Transcript { writes: true, .. } = self.notes {
            self.measured(ino);
        }
        self.own.insert(ino, Own::Mixed);
    }

    /// How many of a file's bytes the reader did not write; `None` if these are not its first.
    fn not_own(&self, ino: Ino, len_bytes: u64) -> Option<u64> {
        match self.own.get(&ino) {
            None => Some(len_bytes),
            Some(Own::From(from)) => Some(*from),
            Some(Own::Mixed) => None,
        }
    }

    /// Whether all bytes of a file in `tree` hash to `sha256`; `None` if that takes reading them.
    pub(super) fn has_sha256(&mut self, tree: &Tree, ino: Ino, sha256: &[u8]) -> Option<bool> {
        // First: what counts as own depends on it.
        self.measured(ino);
        let content = tree.file(ino)?;
        if let Notes::Transcript { .. } = self.notes {
            return self.knows_sha256(tree, ino, content.len, sha256);
        }
        let space = self.space.clone();
        let whole = space.whole(ino)?;
        if whole.sha256 != *sha256 {
            return None;
        }
        let not_own = self.not_own(ino, content.len)?;
        self.note(|space| space.asks_prefix(ino, not_own), || Ask::Len(ino));
        let len = content.len as usize;
        Some(content.len == whole.content.len && content.read(0, len) == whole.content.read(0, len))
    }

    /// Whether the first `len` bytes of a file in `tree` are there and hash to `sha256`, where a transcript is written
    /// and the content with that digest is known.
    pub(super) fn knows_sha256(&mut self, tree: &Tree, ino: Ino, len: u64, sha256: &[u8]) -> Option<bool> {
        let Notes::Transcript { library, .. } = &self.notes else { return None };
        let known = library.find(len, sha256)?;
        self.measured(ino);
        let content = tree.file(ino)?;
        if content.len < len {
            return Some(false);
        }
        let len_bytes = self.not_own(ino, len)?.min(len);
        self.note(|_| None, || Ask::Is { file: ino, known: known.clone(), len_bytes });
        Some(content.read(0, len as usize) == known.content().read(0, len as usize))
    }
}
