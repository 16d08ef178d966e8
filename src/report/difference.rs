//! Two trees, told apart: the one that survived a crash, and the one that was there before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bytes::Bytes;

use super::words::{counted, grouped, shortened};
use super::{BROKEN, GOOD};
use crate::disk::effect::SECTOR_BYTES;
use crate::disk::space::STALE_BYTE;
use crate::disk::tree::{Content, Tree};

/// Longest content that is shown instead of described, in bytes.
const MAX_SHOWN_BYTES: u64 = 160;

/// What `survived` has otherwise than `expected`, a line an entry, and how much is the same.
pub fn render(survived: &Tree, expected: &Tree) -> String {
    let survived: Entries<'_> = survived.paths().into_iter().collect();
    let expected: Entries<'_> = expected.paths().into_iter().collect();
    let paths: BTreeSet<&String> = survived.keys().chain(expected.keys()).collect();
    let mut out = String::new();
    let mut same: u64 = 0;
    for path in paths {
        let (has, wanted) = (survived.get(path).copied(), expected.get(path).copied());
        let name = shortened(path);
        let _ = match (has, wanted) {
            (Some(has), Some(wanted)) if equal(has, wanted) => {
                same += 1;
                Ok(())
            }
            (Some(has), Some(wanted)) => {
                let (has, wanted) = (seen(has, wanted), kind(wanted));
                writeln!(out, "{BROKEN}  ~ {name}{BROKEN:#}\n      has       {has}\n      expected  {wanted}")
            }
            (Some(has), None) => writeln!(out, "{GOOD}  + {name}{GOOD:#}  {}", kind(has)),
            (None, wanted) => writeln!(out, "{BROKEN}  - {name}{BROKEN:#}  {}", wanted.map(kind).unwrap_or_default()),
        };
    }
    let noun = if same == 1 { "entry is" } else { "entries are" };
    let _ = writeln!(out, "  {} {noun} the same", grouped(same));
    out
}

/// Paths with the content of files, nothing for directories.
type Entries<'t> = BTreeMap<String, Option<&'t Content>>;

fn bytes(content: &Content) -> Bytes {
    content.read(0, content.len as usize)
}

fn equal(a: Option<&Content>, b: Option<&Content>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.len == b.len && bytes(a) == bytes(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn kind(content: Option<&Content>) -> String {
    content.map_or_else(|| "directory".to_owned(), describe)
}

/// What is there, and of two long files, where they differ.
fn seen(has: Option<&Content>, wanted: Option<&Content>) -> String {
    let (Some(a), Some(b)) = (has, wanted) else { return kind(has) };
    let (a, b) = (bytes(a), bytes(b));
    let chunks = a.chunks(SECTOR_BYTES as usize).zip(b.chunks(SECTOR_BYTES as usize));
    let differ: Vec<_> = chunks.enumerate().filter(|(_, (a, b))| a != b).collect();
    let (Some((first, _)), true) = (differ.first(), a.len() as u64 > MAX_SHOWN_BYTES) else { return kind(has) };
    let among = |byte: u8| differ.iter().all(|(_, (a, _))| a.iter().all(|x| *x == byte));
    let how = if among(0) {
        ", zero there"
    } else if among(STALE_BYTE) {
        ", stale there"
    } else {
        ""
    };
    format!("{}; {} other, the first is {first}{how}", kind(has), counted(differ.len() as u64, "sector"))
}

/// A file's bytes: themselves where they are few and readable.
fn describe(content: &Content) -> String {
    let bytes = bytes(content);
    let len = counted(content.len, "byte");
    let all = |byte: u8| bytes.iter().all(|b| *b == byte);
    match std::str::from_utf8(&bytes) {
        _ if bytes.is_empty() => "empty".to_owned(),
        _ if all(0) => format!("{len}, all zero"),
        _ if all(STALE_BYTE) => format!("{len}, all stale"),
        Ok(text) if content.len <= MAX_SHOWN_BYTES && !text.contains(char::is_control) => {
            format!("{len}: {}", shortened(text))
        }
        _ if bytes.contains(&STALE_BYTE) && content.len <= MAX_SHOWN_BYTES => format!("{len}, some stale"),
        _ => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimFs;
    use crate::env::run_now;
    use crate::fs::{File, Fs, OpenMode};

    fn tree(files: &[(&str, &[u8])]) -> Tree {
        let disk = SimFs::new();
        run_now(async {
            disk.mkdir("d").await.unwrap();
            for (path, content) in files {
                let file = disk.open(path, OpenMode::CreateNew).await.unwrap();
                file.write_at(0, content.to_vec().into()).await.unwrap();
            }
        });
        disk.tree()
    }

    #[test]
    fn only_differences_are_shown() {
        let (long, mut torn) = ([7; 2000], [7; 2000]);
        torn[512..1024].fill(0);
        let expected = tree(&[("d/link", b"sha256:ab"), ("lost", &[1]), ("same", b"x"), ("long", &long)]);
        let survived = tree(&[("d/link", &[0; 9]), ("found", &[STALE_BYTE; 4]), ("same", b"x"), ("long", &torn)]);
        let text = anstream::adapter::strip_str(&render(&survived, &expected)).to_string();
        let lines = [
            "  ~ d/link",
            "      has       9 bytes, all zero",
            "      expected  9 bytes: sha256:ab",
            "  + found  4 bytes, all stale",
            "  ~ long",
            "      has       2,000 bytes; 1 sector other, the first is 1, zero there",
            "      expected  2,000 bytes",
            "  - lost  1 byte",
            "  2 entries are the same",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }
}
