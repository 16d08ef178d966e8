//! Who reads a disk whose state is one of many, and what it asked so far.
//!
//! What a run learns of the undecided is all that its verdict can depend on. A run that compares a file's digest learns
//! less than its bytes: whether the bytes that it did not write itself are the right ones. Where the digest asked for is
//! that of the file's content at the end of the log, that is the question ([`Question::Prefix`]), since other bytes have
//! another sha256.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::space::{Question, Space};
use super::tree::{Ino, Tree};

/// A reader of an undecided disk.
#[derive(Debug)]
pub(super) struct Reader {
    space: Arc<Space>,
    questions: Vec<Question>,
    /// What it changed of a file itself.
    own: BTreeMap<Ino, Own>,
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
    /// Nothing is asked yet.
    pub(super) fn new(space: Arc<Space>) -> Self {
        Self { space, questions: Vec::new(), own: BTreeMap::new() }
    }

    /// What was asked, in order, each thing once; asking begins anew.
    pub(super) fn take(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Notes a question, if the space has one there.
    pub(super) fn asks(&mut self, question: impl FnOnce(&Space) -> Option<Question>) {
        if let Some(question) = question(&self.space)
            && !self.questions.contains(&question)
        {
            self.questions.push(question);
        }
    }

    /// The reader wrote the bytes of `range` to a file that had `len_bytes`.
    pub(super) fn wrote(&mut self, ino: Ino, range: std::ops::Range<u64>, len_bytes: u64) {
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
        self.own.insert(ino, Own::Mixed);
    }

    /// Whether all bytes of a file in `tree` hash to `sha256`; `None` if that takes reading them.
    pub(super) fn has_sha256(&mut self, tree: &Tree, ino: Ino, sha256: &[u8]) -> Option<bool> {
        // First: what counts as own depends on it.
        self.asks(|space| space.asks_len(ino));
        let space = self.space.clone();
        let (content, whole) = (tree.file(ino)?, space.whole(ino)?);
        if whole.sha256 != *sha256 {
            return None;
        }
        let not_own = match self.own.get(&ino) {
            None => content.len,
            Some(Own::From(from)) => *from,
            Some(Own::Mixed) => return None,
        };
        self.asks(|space| space.asks_prefix(ino, not_own));
        let len = content.len as usize;
        Some(content.len == whole.content.len && content.read(0, len) == whole.content.read(0, len))
    }
}
