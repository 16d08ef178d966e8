//! Calls as values, the record of those that were carried out, and operation lists made of it.
//!
//! An operation list has one line a call, in the form in which those of real registries were recorded: `mkdir P`,
//! `open-create P` (any open that may create), `truncate P N`, `write P N`, `fsync P`, `fdatasync P`, `syncfs`,
//! `rename A -> B`, `link A -> B`, `unlink P`, `rmdir P`; calls that failed are left out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One call with its arguments. Displayed as a line of an operation list; paths of handles are those that they were
/// opened by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are the arguments of the calls")]
pub enum Call {
    /// [`Fs::open`](super::Fs::open) of a file that must exist.
    Open { path: String },
    /// [`Fs::open`](super::Fs::open) that may create ([`OpenMode::Create`](super::OpenMode::Create), [`OpenMode::CreateNew`](super::OpenMode::CreateNew)), whether it did or not.
    OpenCreate { path: String },
    /// [`File::read_at`](super::File::read_at); `len` as asked for, in a trace as delivered.
    Read { path: String, offset: u64, len: u64 },
    /// [`File::write_at`](super::File::write_at); `len` as asked for, in a trace as taken.
    Write { path: String, offset: u64, len: u64 },
    /// [`File::set_len`](super::File::set_len).
    Truncate { path: String, len: u64 },
    /// [`File::sync_data`](super::File::sync_data).
    SyncData { path: String },
    /// [`File::sync_all`](super::File::sync_all).
    SyncAll { path: String },
    /// [`Fs::sync_dir`](super::Fs::sync_dir).
    SyncDir { path: String },
    /// [`Fs::sync_fs`](super::Fs::sync_fs).
    SyncFs,
    /// [`Fs::rename`](super::Fs::rename).
    Rename { from: String, to: String },
    /// [`Fs::hard_link`](super::Fs::hard_link).
    Link { existing: String, new: String },
    /// [`Fs::unlink`](super::Fs::unlink).
    Unlink { path: String },
    /// [`Fs::mkdir`](super::Fs::mkdir).
    Mkdir { path: String },
    /// [`Fs::rmdir`](super::Fs::rmdir).
    Rmdir { path: String },
    /// [`Fs::read_dir`](super::Fs::read_dir).
    ReadDir { path: String },
    /// [`Fs::metadata`](super::Fs::metadata) and [`File::metadata`](super::File::metadata).
    Stat { path: String },
}

impl Call {
    /// The word that an operation list has for it; a directory's sync and a file's are both `fsync`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::OpenCreate { .. } => "open-create",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Truncate { .. } => "truncate",
            Self::SyncData { .. } => "fdatasync",
            Self::SyncAll { .. } | Self::SyncDir { .. } => "fsync",
            Self::SyncFs => "syncfs",
            Self::Rename { .. } => "rename",
            Self::Link { .. } => "link",
            Self::Unlink { .. } => "unlink",
            Self::Mkdir { .. } => "mkdir",
            Self::Rmdir { .. } => "rmdir",
            Self::ReadDir { .. } => "read-dir",
            Self::Stat { .. } => "stat",
        }
    }

    /// The path, the first one where there are two, the root's for `syncfs`.
    pub fn path(&self) -> &str {
        match self {
            Self::SyncFs => "",
            Self::Rename { from: path, .. }
            | Self::Link { existing: path, .. }
            | Self::Open { path }
            | Self::OpenCreate { path }
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Truncate { path, .. }
            | Self::SyncData { path }
            | Self::SyncAll { path }
            | Self::SyncDir { path }
            | Self::Unlink { path }
            | Self::Mkdir { path }
            | Self::Rmdir { path }
            | Self::ReadDir { path }
            | Self::Stat { path } => path,
        }
    }

    /// The second path: what a rename or a link makes.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Rename { to: path, .. } | Self::Link { new: path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether it makes something durable.
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::SyncData { .. } | Self::SyncAll { .. } | Self::SyncDir { .. } | Self::SyncFs)
    }

    /// Whether it changes anything, in memory or on the medium; the others only look.
    pub fn is_change(&self) -> bool {
        !matches!(self, Self::Open { .. } | Self::Read { .. } | Self::ReadDir { .. } | Self::Stat { .. })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.path(), self.target()) {
            (Self::SyncFs, ..) => f.write_str(self.name()),
            (_, from, Some(to)) => write!(f, "{} {from} -> {to}", self.name()),
            (Self::Read { len, .. } | Self::Write { len, .. } | Self::Truncate { len, .. }, path, _) => {
                write!(f, "{} {path} {len}", self.name())
            }
            (_, "", None) => write!(f, "{} .", self.name()),
            (_, path, None) => write!(f, "{} {path}", self.name()),
        }
    }
}

/// What was carried out, in the order in which it was; failed and dropped calls are left out. Clones share the record.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    calls: Arc<Mutex<Vec<Call>>>,
    keeps: Keeps,
}

/// What a record keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Keeps {
    Nothing,
    #[default]
    Changes,
    All,
}

impl Trace {
    /// A record that holds the calls that only look as well; the default one holds those that change something.
    pub fn with_reads() -> Self {
        Self { keeps: Keeps::All, ..Self::default() }
    }

    /// One that stays empty: nobody will look at it.
    pub fn off() -> Self {
        Self { keeps: Keeps::Nothing, ..Self::default() }
    }

    /// The calls so far, each write by itself.
    pub fn calls(&self) -> Vec<Call> {
        self.locked().clone()
    }

    /// The calls so far, and begins anew.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.locked())
    }

    /// The calls so far as an operation list ([`lines`]).
    pub fn lines(&self) -> Vec<String> {
        lines(&self.locked())
    }

    pub(super) fn record(&self, call: &Call) {
        if self.keeps == Keeps::All || (self.keeps == Keeps::Changes && call.is_change()) {
            self.locked().push(call.clone());
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation list: one line a call, writes to one file that follow each other as one line with the sum.
pub fn lines(calls: &[Call]) -> Vec<String> {
    let mut merged: Vec<Call> = Vec::new();
    for call in calls {
        match (merged.last_mut(), call) {
            (Some(Call::Write { path, len, .. }), Call::Write { path: again, len: more, .. }) if path == again => {
                *len += more;
            }
            _ => merged.push(call.clone()),
        }
    }
    merged.iter().map(Call::to_string).collect()
}

/// Replaces the UUIDs in an operation list (names of uploads and of temporary files) by `upload-1`, `upload-2`, … in
/// the order in which they first appear, so that two runs, or a run and a recording, can be compared.
pub fn number_ids<L: AsRef<str>>(lines: &[L]) -> Vec<String> {
    const ID_BYTES: usize = 36;
    let is_id = |s: &str| {
        let well_placed =
            |(i, b): (usize, u8)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() };
        s.bytes().enumerate().all(well_placed)
    };
    let mut known = BTreeMap::new();
    let mut number = |mut rest: &str| {
        let mut out = String::with_capacity(rest.len());
        while let Some(first) = rest.chars().next() {
            if let Some(id) = rest.get(..ID_BYTES).filter(|s| is_id(s)) {
                let next = known.len() + 1;
                out.push_str(&format!("upload-{}", known.entry(id.to_owned()).or_insert(next)));
                rest = &rest[ID_BYTES..];
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    };
    lines.iter().map(|line| number(line.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &str, len: u64) -> Call {
        Call::Write { path: path.to_owned(), offset: 0, len }
    }

    #[test]
    fn writes_that_follow_each_other_are_one_line() {
        let sync = Call::SyncDir { path: String::new() };
        let calls = [write("a", 1), write("a", 2), write("b", 3), write("a", 4), sync, write("a", 5), Call::SyncFs];
        assert_eq!(lines(&calls), ["write a 3", "write b 3", "write a 4", "fsync .", "write a 5", "syncfs"]);
    }

    #[test]
    fn ids_are_numbered_as_they_appear() {
        let (a, b) = ("0b0e8c3a-55ad-4d66-9a0d-2f8f8f6c3b11", "ffffffff-0000-4000-8000-00000000000A");
        let list = [
            format!("mkdir r/{b}"),
            format!("open-create r/{b}/startedat.{a}.tmp"),
            format!("rename r/{b}/startedat.{a}.tmp -> r/ü{b}"),
            format!("unlink r/{}", &a[..35]),
        ];
        let numbered = [
            "mkdir r/upload-1",
            "open-create r/upload-1/startedat.upload-2.tmp",
            "rename r/upload-1/startedat.upload-2.tmp -> r/üupload-1",
            &list[3],
        ];
        assert_eq!(number_ids(&list), numbered);
    }
}
