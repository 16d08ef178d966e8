//! What a reader made of a file itself: it learns nothing by reading it back.

use std::ops::Range;

/// A reader's own changes of a file.
#[derive(Debug)]
pub(super) struct Own {
    /// How long the file was before.
    before_bytes: u64,
    /// Whether its length is what the reader set it to.
    is_len_own: bool,
    /// Where its bytes are those that the reader left there: in order, and none next to another.
    ranges: Vec<Range<u64>>,
}

impl Own {
    /// Nothing is changed yet of a file of that length.
    pub fn of(before_bytes: u64) -> Self {
        Self { before_bytes, is_len_own: false, ranges: Vec::new() }
    }

    /// It wrote these bytes.
    pub fn wrote(&mut self, mut range: Range<u64>) {
        self.ranges.retain(|other| {
            let meets = other.start <= range.end && range.start <= other.end;
            if meets {
                range = range.start.min(other.start)..range.end.max(other.end);
            }
            !meets
        });
        let at = self.ranges.partition_point(|other| other.start < range.start);
        self.ranges.insert(at, range);
    }

    /// It set the length: nothing is left behind it, and whoever writes there finds zeros.
    pub fn set_len(&mut self, len_bytes: u64) {
        self.is_len_own = true;
        self.ranges.retain(|range| range.start < len_bytes);
        self.wrote(len_bytes..u64::MAX);
    }

    /// Whether its length is what the reader set it to.
    pub fn is_len_own(&self) -> bool {
        self.is_len_own
    }

    /// Whether all of these bytes are the reader's.
    pub fn has(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.ranges.iter().any(|own| own.start <= range.start && range.end <= own.end)
    }

    /// How many of the file's first `len_bytes` bytes are as they were, where all behind them are the reader's; `None` if
    /// they are not parted so.
    pub fn untouched(&self, len_bytes: u64) -> Option<u64> {
        let untouched = match self.ranges.as_slice() {
            [] => len_bytes,
            [own, ..] if own.start >= len_bytes => len_bytes,
            [own, ..] if own.end >= len_bytes => own.start,
            _ => return None,
        };
        (untouched == 0 || (!self.is_len_own && untouched <= self.before_bytes)).then_some(untouched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_own() {
        let mut own = Own::of(100);
        assert_eq!(own.untouched(100), Some(100));
        own.wrote(100..200);
        assert_eq!(own.untouched(200), Some(100));
        assert_eq!(own.untouched(50), Some(50));
        own.wrote(90..120);
        assert_eq!(own.untouched(200), Some(90));
        assert!(own.has(90..200) && !own.has(89..91) && own.has(0..0));
        own.wrote(0..10);
        assert_eq!(own.untouched(200), None, "it wrote in two places");
        own.wrote(10..90);
        assert_eq!(own.untouched(200), Some(0));
        assert!(!own.is_len_own());
    }

    #[test]
    fn a_gap_that_it_left_is_not_as_it_was() {
        let mut own = Own::of(100);
        own.wrote(150..200);
        assert_eq!(own.untouched(200), None, "there were 100 bytes, and zeros behind them");
    }

    #[test]
    fn nothing_is_left_behind_a_length_that_was_set() {
        let mut own = Own::of(100);
        own.wrote(0..71);
        own.set_len(71);
        assert!(own.is_len_own() && own.has(0..71));
        own.wrote(80..90);
        assert!(own.has(0..90), "zeros between");
        own.set_len(20);
        own.set_len(30);
        assert!(own.has(0..30));
        let mut own = Own::of(100);
        own.set_len(50);
        assert!(!own.has(0..50));
        assert_eq!(own.untouched(50), None, "whether they were there its length does not tell any more");
        own.set_len(0);
        assert_eq!(own.untouched(10), Some(0));
    }
}
