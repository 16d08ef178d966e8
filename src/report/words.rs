//! Small pieces of text that all reports share.

use std::fmt::Display;

use crate::disk::effect::{Cut, Record, What};

/// Hexadecimal digits of a digest that are left in what people read.
const DIGEST_DIGITS: usize = 12;
/// A run of so many hexadecimal digits is a digest (or longer than anyone compares by eye).
const MIN_DIGEST_DIGITS: usize = 40;
/// Digits of a UUID that are left.
const ID_DIGITS: usize = 8;
/// Length of a UUID in characters.
const ID_CHARS: usize = 36;

/// `text` with digests and UUIDs cut to their first digits: `sha256:72a2f8d26433…`.
pub fn shortened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let run = rest.find(|c: char| !is_digit(c)).unwrap_or(rest.len());
        let id = rest.find(|c: char| !is_digit(c) && c != '-').unwrap_or(rest.len());
        let (taken, shown) = if run >= MIN_DIGEST_DIGITS {
            (run, DIGEST_DIGITS)
        } else if id == ID_CHARS && run == ID_DIGITS {
            (id, ID_DIGITS)
        } else {
            // The next thing that is no digit, and all digits before it.
            let taken = run + rest[run..].chars().next().map_or(0, char::len_utf8);
            (taken, taken)
        };
        out.push_str(&rest[..shown]);
        if shown < taken {
            out.push('…');
        }
        rest = &rest[taken..];
    }
    out
}

/// Digits above which a number is told by its magnitude alone.
const MAX_DIGITS: usize = 15;

/// A decimal number of any size: in groups, or, where it is large, as in `6.4e17`.
///
/// ```
/// use pullplug::report::words::magnitude;
/// assert_eq!(magnitude("12345"), "12,345");
/// assert_eq!(magnitude("643215678901234567"), "6.4e17");
/// ```
pub fn magnitude(digits: &str) -> String {
    match digits.parse::<u128>() {
        Ok(n) if digits.len() <= MAX_DIGITS => grouped(n),
        _ => format!("{}.{}e{}", &digits[..1], digits.get(1..2).unwrap_or("0"), digits.len().saturating_sub(1)),
    }
}

/// A number with commas: `1,234,567`.
pub fn grouped(n: impl Into<u128>) -> String {
    let digits = n.into().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 state`, `2 states`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A step of a schedule: the call, or which of `ops` began or was answered.
pub fn step<O: Display>(record: &Record, ops: &[O]) -> String {
    let What::Mark(mark) = record.what else { return record.call.clone() };
    let Some(op) = ops.get(mark as usize / 2) else { return record.call.clone() };
    let what = if mark % 2 == 0 { "begins" } else { "answered" };
    format!("-- {what}: {op}")
}

/// Where a schedule stops: `after step 57, rename a -> b`.
pub fn place<O: Display>(log: &[Record], cut: Cut, ops: &[O]) -> String {
    let at = cut.records as usize;
    match (cut.inside, at.checked_sub(1).and_then(|last| log.get(last)), log.get(at)) {
        (Some(done), _, Some(record)) => {
            let all = record.sectors_written();
            format!("in step {}, after {done} of {all} sectors: {}", at + 1, step(record, ops))
        }
        (_, Some(record), _) => format!("after step {at}: {}", step(record, ops)),
        _ => "before step 1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::op::Op;

    #[test]
    fn digests_and_ids_are_cut_and_nothing_else_is() {
        let digest = "72a2f8d2643328a2e03dcb1b66fdc6610b95ba3019d88d8849ce060d0be634ce";
        let text = format!("ü/_uploads/0b0e8c3a-55ad-4d66-9a0d-2f8f8f6c3b11/data -> blobs/72/{digest}/data");
        assert_eq!(shortened(&text), "ü/_uploads/0b0e8c3a…/data -> blobs/72/72a2f8d26433…/data");
        for whole in ["", "write data 40000", "cafe/ab-cd", "deadbeef-", "0123456789abcdef"] {
            assert_eq!(shortened(whole), whole);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0_u64), "0");
        assert_eq!(grouped(999_u64), "999");
        assert_eq!(grouped(1_234_567_u64), "1,234,567");
        assert_eq!(counted(1, "state"), "1 state");
        assert_eq!(counted(1000, "state"), "1,000 states");
    }

    #[test]
    fn places_name_the_step() {
        let call = |call: &str| Record { call: call.to_owned(), what: What::Effects(Vec::new()) };
        let log = [Record { call: "mark 0".to_owned(), what: What::Mark(0) }, call("mkdir a"), call("write a/b 9")];
        let ops = [Op::CollectLitter];
        assert_eq!(place(&log, Cut::after(0), &ops), "before step 1");
        assert_eq!(place(&log, Cut::after(1), &ops), "after step 1: -- begins: collect litter");
        assert_eq!(place(&log, Cut::after(2), &ops), "after step 2: mkdir a");
        let inside = Cut { records: 2, inside: Some(1) };
        assert_eq!(place(&log, inside, &ops), "in step 3, after 1 of 0 sectors: write a/b 9");
    }
}
