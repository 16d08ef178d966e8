//! Calls as short lines of text, made alike on any file system: so that a litmus test, a counterexample and a snapshot
//! read the same.
//!
//! A script is calls separated by `;`, those of the set-up before a `|`: when the others begin, the set-up is durable.
//!
//! | call | meaning |
//! | --- | --- |
//! | `create P`, `open P`, `close P` | a new file, an existing one; the handle stays open until `close` |
//! | `write P OFFSET LEN L` | LEN times the letter L at OFFSET; opens the file, if it must be |
//! | `append P LEN L`, `truncate P LEN` | as they say, through the same handle |
//! | `fsync P` | of a file or of a directory; `fsync /` of the root |
//! | `mkdir`, `rmdir`, `unlink`, `rename A B`, `link A B`, `syncfs` | as in the port |

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::{ErrorKind, File, FileExt, FileKind, Fs, FsError, OpenMode, Result};

/// One call, in words that were looked at: they make sense, on a disk where the paths do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(pub(crate) String);

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<u32>().is_ok();
        let letter = |word: &str| word.len() == 1;
        let is_call = match words.as_slice() {
            ["create" | "open" | "close" | "fsync" | "mkdir" | "rmdir" | "unlink", _] => true,
            ["rename" | "link", _, _] | ["syncfs"] => true,
            ["write", _, offset, len, with] => number(offset) && number(len) && letter(with),
            ["append", _, len, with] => number(len) && letter(with),
            ["truncate", _, len] => number(len),
            _ => false,
        };
        if is_call { Ok(Self(words.join(" "))) } else { Err(format!("{text:?} is no call")) }
    }
}

/// Calls, and a set-up that is durable before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// The set-up.
    pub setup: Vec<Call>,
    /// What is watched.
    pub calls: Vec<Call>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |calls: &[Call]| calls.iter().map(Call::to_string).collect::<Vec<_>>().join("; ");
        match self.setup.is_empty() {
            true => f.write_str(&joined(&self.calls)),
            false => write!(f, "{} | {}", joined(&self.setup), joined(&self.calls)),
        }
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let calls = |text: &str| -> std::result::Result<Vec<Call>, String> {
            text.split(';').filter(|c| !c.trim().is_empty()).map(str::parse).collect()
        };
        let (setup, text) = text.split_once('|').unwrap_or(("", text));
        Ok(Self { setup: calls(setup)?, calls: calls(text)? })
    }
}

/// A file system, and the handles that calls hold open, by the path that they were opened by.
#[derive(Debug)]
pub struct Actor<F: Fs> {
    /// The file system.
    pub fs: F,
    handles: BTreeMap<String, F::File>,
}

impl<F: Fs> Actor<F> {
    /// Nothing is open.
    pub fn new(fs: F) -> Self {
        Self { fs, handles: BTreeMap::new() }
    }

    /// Closes all.
    pub fn close_all(&mut self) {
        self.handles.clear();
    }

    /// Makes a call.
    ///
    /// Errors: as the file system's.
    pub async fn call(&mut self, call: &Call) -> Result<()> {
        let fs = self.fs.clone();
        match call.0.split(' ').collect::<Vec<_>>().as_slice() {
            ["create", path] => self.keep(path, fs.open(path, OpenMode::CreateNew).await?),
            ["open", path] => self.keep(path, fs.open(path, OpenMode::Write).await?),
            ["close", path] => drop(self.handles.remove(*path)),
            ["write", path, offset, len, letter] => {
                self.handle(path).await?.write_full(number(offset), filled(len, letter)).await?;
            }
            ["append", path, len, letter] => {
                let file = self.handle(path).await?;
                file.write_full(file.metadata().await?.len, filled(len, letter)).await?;
            }
            ["truncate", path, len] => self.handle(path).await?.set_len(number(len)).await?,
            ["fsync", "/"] => fs.sync_dir("").await?,
            ["fsync", path] if fs.metadata(path).await?.kind == FileKind::Dir => fs.sync_dir(path).await?,
            ["fsync", path] => self.handle(path).await?.sync_all().await?,
            ["syncfs"] => fs.sync_fs().await?,
            ["mkdir", path] => fs.mkdir(path).await?,
            ["rmdir", path] => fs.rmdir(path).await?,
            ["unlink", path] => fs.unlink(path).await?,
            ["rename", from, to] => fs.rename(from, to).await?,
            ["link", from, to] => fs.hard_link(from, to).await?,
            _ => return Err(FsError::new(ErrorKind::InvalidInput, "script", &call.0)),
        }
        Ok(())
    }

    /// The handle that is open as `path`, if one is.
    pub fn open_handle(&self, path: &str) -> Option<&F::File> {
        self.handles.get(path)
    }

    /// All handles that are open.
    pub fn open_handles(&self) -> impl Iterator<Item = &F::File> {
        self.handles.values()
    }

    async fn handle(&mut self, path: &str) -> Result<&F::File> {
        if !self.handles.contains_key(path) {
            let file = self.fs.open(path, OpenMode::Write).await?;
            self.keep(path, file);
        }
        Ok(&self.handles[path])
    }

    fn keep(&mut self, path: &str, file: F::File) {
        self.handles.insert(path.to_owned(), file);
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_default()
}

fn filled(len: &str, letter: &str) -> Bytes {
    letter.repeat(number(len) as usize).into()
}
