//! Who reads a disk whose state is one of many, and what it asked so far.
//!
//! What a run learns of the undecided is all that its verdict can depend on. A run that compares a file's digest learns
//! less than its bytes: whether the bytes that it did not write itself are the right ones. Where the content with that
//! digest is known, that is the question ([`Question::Prefix`], [`Ask::Is`]), since other bytes have another sha256. A
//! run that follows a path to nothing does not learn which of the directories on it is missing ([`Ask::Entry`]); one that
//! makes a directory and all above it learns nothing, unless a file is in the way ([`Ask::Blocked`]); and what it put
//! there itself tells it nothing ([`own`], [`names`]).

mod names;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::SECTOR_BYTES;
use super::space::{Ask, Library, Question, Space};
use super::tree::{Content, Ino, ROOT, Tree};
use crate::fs::split;
use names::{Known, Names};
use own::Own;

/// What a path is followed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// What is there.
    Find,
    /// What is below it as well.
    List,
    /// To put something there: that there is a directory for it counts.
    Put,
}

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
        /// What it did to names; `None` where each directory on a path counts.
        names: Option<Names>,
    },
}

impl Reader {
    /// Of whom questions are noted.
    pub(super) fn new(space: Arc<Space>) -> Self {
        Self { space, notes: Notes::Questions(Vec::new()), own: BTreeMap::new() }
    }

    /// Of whom everything is noted; what it writes depends on is, with `writes`.
    pub(super) fn transcribed(space: Arc<Space>, library: Arc<Library>, writes: bool) -> Self {
        // A log says which directories were made. And where one has two names, a path does not tell what is below it.
        let names = (!writes && space.is_tree()).then(Names::default);
        let asks = if writes { Vec::new() } else { vec![Ask::IsTree(ROOT)] };
        let (looked, asked) = (BTreeMap::new(), BTreeSet::new());
        let notes = Notes::Transcript { asks, looked, asked, library, writes, names };
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

    fn names(&mut self) -> Option<&mut Names> {
        if let Notes::Transcript { names, .. } = &mut self.notes { names.as_mut() } else { None }
    }

    /// It follows `path` as a whole, to do this. Tells whether that is noted; if not, each look on the way is to be.
    pub(super) fn follows(&mut self, path: &str, to: Aim) -> bool {
        let Some(names) = self.names() else { return false };
        if path.is_empty() {
            return true;
        }
        let known = names.known(path);
        if to == Aim::Put
            && let Some((parent, _)) = split(path)
        {
            self.follows(parent, Aim::Find);
        }
        if known == Known::Nothing || (known == Known::IsDir && to != Aim::Find) {
            self.looked(ROOT, path);
        }
        true
    }

    /// It put something at `path`, or took it away.
    pub(super) fn changed(&mut self, path: &str) {
        self.names().into_iter().for_each(|names| names.changed(path));
    }

    /// It gave a directory another name: from here on each directory on a path counts.
    pub(super) fn moved_dir(&mut self) {
        if let Notes::Transcript { names, .. } = &mut self.notes {
            *names = None;
        }
    }

    /// It makes `path` and all above it, as far as they are not there. Tells whether it does not matter which are.
    pub(super) fn makes_dirs(&mut self, path: &str) -> bool {
        let Some(names) = self.names() else { return false };
        if names.known(path) == Known::Nothing {
            self.note(|_| None, || Ask::Blocked { dir: ROOT, path: path.into() });
        }
        true
    }

    /// It made them.
    pub(super) fn made_dirs(&mut self, path: &str) {
        self.names().into_iter().for_each(|names| names.made_dirs(path));
    }

    /// It listed `dir`.
    pub(super) fn listed(&mut self, dir: Ino) {
        self.note(|space| space.asks_dir(dir), || Ask::Dir(dir));
    }

    /// It learned a file's length.
    pub(super) fn measured(&mut self, ino: Ino) {
        if !self.own.get(&ino).is_some_and(Own::is_len_own) {
            self.note(|space| space.asks_len(ino), || Ask::Len(ino));
        }
    }

    /// It read `len` bytes at `offset` of a file, which is `content` to it.
    pub(super) fn read(&mut self, ino: Ino, content: &Content, offset: u64, len: usize) {
        if let Notes::Questions(_) = self.notes {
            return self.note(|space| space.asks_content(ino), || Ask::Len(ino));
        }
        self.measured(ino);
        let end = content.len.min(offset.saturating_add(len as u64));
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            let own = self.own.get(&ino);
            if own.is_some_and(|own| own.has(start.max(offset)..end.min(start + SECTOR_BYTES))) {
                continue;
            }
            // Behind an end that it set itself there may have been more, and what it has not written may lie behind the
            // end that there was.
            let left = if own.is_some() { SECTOR_BYTES } else { (content.len - start).min(SECTOR_BYTES) };
            if own.is_some() {
                self.note(|space| space.asks_len(ino), || Ask::Len(ino));
            }
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
        self.own.entry(ino).or_insert_with(|| Own::of(len_bytes)).wrote(range);
    }

    /// The reader set the length of a file that had `before_bytes`.
    pub(super) fn set_len(&mut self, ino: Ino, before_bytes: u64, len_bytes: u64) {
        if let Notes::Transcript { writes: true, .. } = self.notes {
            self.measured(ino);
        }
        self.own.entry(ino).or_insert_with(|| Own::of(before_bytes)).set_len(len_bytes);
    }

    /// How many of a file's first bytes the reader did not write; `None` if these are not the first.
    fn not_own(&self, ino: Ino, len_bytes: u64) -> Option<u64> {
        self.own.get(&ino).map_or(Some(len_bytes), |own| own.untouched(len_bytes))
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
        let len_bytes = self.not_own(ino, len)?;
        if len_bytes > 0 || !self.own.contains_key(&ino) {
            self.note(|_| None, || Ask::Is { file: ino, known: known.clone(), len_bytes });
        }
        Some(content.read(0, len as usize) == known.content().read(0, len as usize))
    }
}
