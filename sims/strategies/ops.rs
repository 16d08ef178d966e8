//! Operation lists of two runs in one form, so that they can be compared call by call.
//!
//! Content differs between the runs, so digests are numbered as they appear (`digest-N`, and `HH` for the directory
//! above a blob); so are the names of uploads and temporary files. A recursive removal visits the entries of a
//! directory in any order: they are sorted.

use std::collections::BTreeMap;

use pullplug::fs::trace::number_ids;

/// A list in comparable form.
pub fn comparable<L: AsRef<str>>(lines: &[L]) -> Vec<String> {
    sort_siblings(rename_digests(&number_ids(lines)))
}

/// The list in a recorded file.
pub fn recorded(file: &str) -> Vec<String> {
    file.lines().map(str::to_owned).collect()
}

/// The deletions of a collection in comparable form: blobs, then layer links (a set in each phase), where content is
/// called by what is removed of it.
pub fn deletions<L: AsRef<str>>(lines: &[L]) -> Vec<Vec<String>> {
    // What a digest is about: all lines with its own name left open.
    let mut about: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.iter().map(AsRef::as_ref) {
        let digest = digest_in(line).unwrap_or_else(|| panic!("{line} names no digest"));
        about.entry(digest.to_owned()).or_default().push(anonymous(line));
    }
    let mut phases: Vec<(bool, Vec<String>)> = Vec::new();
    for line in lines.iter().map(AsRef::as_ref) {
        let blobs = line.contains("/blobs/");
        if phases.last().is_none_or(|(of_blobs, _)| *of_blobs != blobs) {
            phases.push((blobs, Vec::new()));
        }
        let of = about[digest_in(line).unwrap()].join("; ");
        // The place within its own removals keeps the order of an unlink and the rmdir after it.
        let place = about[digest_in(line).unwrap()].iter().position(|l| *l == anonymous(line)).unwrap();
        phases.last_mut().unwrap().1.push(format!("[{of}] {place}: {}", anonymous(line)));
    }
    phases
        .into_iter()
        .map(|(_, mut lines)| {
            lines.sort();
            lines
        })
        .collect()
}

fn components(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '/'])
}

fn is_hex(s: &str) -> bool {
    matches!(s.len(), 64 | 128) && s.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digest_in(line: &str) -> Option<&str> {
    components(line).find(|c| is_hex(c))
}

fn anonymous(line: &str) -> String {
    map_components(line, |_| "digest".to_owned())
}

fn rename_digests(lines: &[String]) -> Vec<String> {
    let mut known = BTreeMap::new();
    let mut rename = |hex: &str| {
        let next = known.len() + 1;
        format!("digest-{}", known.entry(hex.to_owned()).or_insert(next))
    };
    lines.iter().map(|line| map_components(line, &mut rename)).collect()
}

/// The line with its digests renamed, and the directories that hold blobs of one beginning called `HH`.
fn map_components(line: &str, mut rename: impl FnMut(&str) -> String) -> String {
    let word = |word: &str, rename: &mut dyn FnMut(&str) -> String| {
        let mut out: Vec<String> = Vec::new();
        for component in word.split('/') {
            let in_blobs = out.len() >= 2 && out[out.len() - 2] == "blobs";
            out.push(match component {
                hex if is_hex(hex) => rename(hex),
                shard if in_blobs && shard.len() == 2 => "HH".to_owned(),
                other => other.to_owned(),
            });
        }
        out.join("/")
    };
    line.split(' ').map(|w| word(w, &mut rename)).collect::<Vec<_>>().join(" ")
}

/// A removal: of a file, or of a directory with what was removed below it just before.
struct Removal {
    line: String,
    path: String,
    below: Vec<Removal>,
}

impl Removal {
    fn into_lines(mut self, out: &mut Vec<String>) {
        self.below.sort_by(|a, b| a.path.cmp(&b.path));
        self.below.into_iter().for_each(|below| below.into_lines(out));
        out.push(self.line);
    }
}

/// Sorts what a recursive removal takes out of one directory; the directory itself stays last.
fn sort_siblings(lines: Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Vec<Removal> = Vec::new();
    for line in lines {
        match line.split_once(' ') {
            Some(("unlink", path)) => open.push(Removal { path: path.to_owned(), line, below: Vec::new() }),
            Some(("rmdir", path)) => {
                let prefix = format!("{path}/");
                let from = open.iter().rposition(|r| !r.path.starts_with(&prefix)).map_or(0, |i| i + 1);
                let below = open.split_off(from);
                open.push(Removal { path: path.to_owned(), line, below });
            }
            _ => {
                open.drain(..).for_each(|removal| removal.into_lines(&mut out));
                out.push(line);
            }
        }
    }
    open.into_iter().for_each(|removal| removal.into_lines(&mut out));
    out
}

mod tests {
    use super::*;

    #[test]
    fn names_and_the_order_of_siblings_do_not_count_all_else_does() {
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        let list = |x: &str, y: &str, states: [u32; 2]| {
            comparable(&[
                format!("mkdir r/blobs/sha256/{}", &x[..2]),
                format!("mkdir r/blobs/sha256/{}/{x}", &x[..2]),
                format!("rename u/data -> r/blobs/sha256/{}/{y}/data", &y[..2]),
                format!("unlink u/h/{}", states[0]),
                format!("unlink u/h/{}", states[1]),
                "rmdir u/h".to_owned(),
            ])
        };
        assert_eq!(list(&a, &b, [0, 9]), list(&b, &a, [9, 0]));
        assert_ne!(list(&a, &b, [0, 9]), list(&a, &a, [0, 9]));
        assert_ne!(list(&a, &b, [0, 9]), list(&a, &b, [0, 8]));
        // What is no part of one recursive removal stays in its order.
        let apart = ["rmdir u/h", "unlink u/h/2", "unlink u/h/1", "unlink u/a"];
        assert_eq!(comparable(&apart), apart);
        let trees = ["unlink t/b/y", "unlink t/b/x", "rmdir t/b", "unlink t/a/z", "rmdir t/a", "rmdir t"];
        let sorted = ["unlink t/a/z", "rmdir t/a", "unlink t/b/x", "unlink t/b/y", "rmdir t/b", "rmdir t"];
        assert_eq!(comparable(&trees), sorted);
    }

    #[test]
    fn deletions_are_sets_in_their_phases() {
        let blob =
            |hex: &str| [format!("unlink r/blobs/sha256/ab/{hex}/data"), format!("rmdir r/blobs/sha256/ab/{hex}")];
        let link = |hex: &str| format!("unlink r/repositories/a/_layers/sha256/{hex}/link");
        let (a, b) = ("ab".repeat(32), "cd".repeat(32));
        let [ab, ba] =
            [[&a, &b], [&b, &a]].map(|[x, y]| deletions(&[&blob(x)[..], &blob(y)[..], &[link(&a)]].concat()));
        assert_eq!(ab, ba);
        assert_ne!(ab, deletions(&[&blob(&a)[..], &blob(&b)[..], &[link(&a), link(&b)]].concat()));
        assert_ne!(ab, deletions(&[&[link(&a)], &blob(&a)[..], &blob(&b)[..]].concat()));
        assert_ne!(ab, deletions(&[&blob(&a)[..], &blob(&b)[..1], &[link(&a)]].concat()));
    }
}
