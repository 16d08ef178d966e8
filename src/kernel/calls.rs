//! Calls as short lines of text, made alike on any file system; random sequences of them.
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

use super::FileSystem;
use crate::disk::SimFs;
use crate::disk::tree::{Ino, Tree};
use crate::env::choice::{Chooser, Seeded};
use crate::env::run_now;
use crate::fs::{ErrorKind, File, FileExt, FileKind, Fs, FsError, OpenMode, Result};

/// One call, in words that were looked at: they make sense, on a disk where the paths do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(String);

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

impl FileSystem {
    /// Whether a call is one of those that are not compared; `base` is what the set-up made.
    fn skips(&self, call: &Call, actor: &Actor<SimFs>, base: &Tree) -> bool {
        match self.kind {
            "btrfs" => {
                let words: Vec<&str> = call.0.split(' ').collect();
                let nameless = matches!(words[..], ["fsync", path] if actor.has_lost(path));
                words[0] == "link" || nameless || call.renames_what_is_new(&actor.fs.tree(), base)
            }
            _ if self.name == "ext4-writeback" => call.0.starts_with("truncate"),
            _ => false,
        }
    }
}

impl Call {
    /// Whether it renames something over a file that was not there in `base`, or out of a directory that was not, or
    /// something that was elsewhere.
    fn renames_what_is_new(&self, tree: &Tree, base: &Tree) -> bool {
        let place = |path| tree.walk(path, |_, _| {}).ok();
        let before = |path| base.walk(path, |_, _| {}).ok().and_then(|place| place.ino);
        let mut words = self.0.split(' ');
        let (Some("rename"), Some(from), Some(to)) = (words.next(), words.next(), words.next()) else { return false };
        let moved = |ino: Ino| ino < base.next_ino() && before(from) != Some(ino);
        place(from).is_some_and(|from| from.dir >= base.next_ino() || from.ino.is_some_and(moved))
            || place(to).and_then(|to| to.ino).is_some_and(|replaced| before(to) != Some(replaced))
    }
}

impl Actor<SimFs> {
    /// Whether the file that is open as `path` has no name any more.
    fn has_lost(&self, path: &str) -> bool {
        let open = self.handles.get(path).and_then(|file| run_now(file.metadata()).ok());
        open.is_some_and(|file| self.fs.tree().names_of(Ino(file.ino as u32)) == 0)
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

/// Around the edges of sectors and blocks.
const LENGTHS: [&str; 9] = ["1", "71", "511", "512", "600", "1536", "4096", "5000", "9000"];
const OFFSETS: [&str; 6] = ["0", "0", "71", "512", "4096", "8192"];
const CUTS: [&str; 7] = ["0", "0", "10", "71", "600", "4096", "5000"];

/// A random script for a file system; every call of it succeeds.
pub fn random(kind: FileSystem, stream: &mut Seeded) -> Script {
    let mut actor = Actor::new(SimFs::new());
    let (setup, calls) = (stream.choose(8), 3 + stream.choose(10));
    let mut letter = b'A';
    let mut draw = |count: usize, stream: &mut Seeded, is_setup: bool| {
        let mut calls = Vec::new();
        let base = actor.fs.tree();
        // Most draws are of paths that are not there.
        for _ in 0..count * 40 {
            if calls.len() == count {
                break;
            }
            let call = Call(words(stream, char::from(letter)));
            if !is_setup && kind.skips(&call, &actor, &base) {
                continue;
            }
            if run_now(actor.call(&call)).is_ok() {
                letter = if letter == b'Z' { b'A' } else { letter + 1 };
                calls.push(call);
            }
        }
        actor.close_all();
        calls
    };
    let setup = draw(setup, stream, true);
    let mut calls = draw(calls, stream, false);
    // Brings what is only in memory to the disk: the power may go on the way.
    calls.push(Call("syncfs".to_owned()));
    Script { setup, calls }
}

fn words(stream: &mut Seeded, letter: char) -> String {
    let path = |stream: &mut Seeded| {
        let name = pick(stream, &["a", "b", "c"]);
        match stream.choose(5) {
            0 | 1 => format!("d/{name}"),
            2 => format!("e/{name}"),
            _ => name.to_owned(),
        }
    };
    let dir = |stream: &mut Seeded| pick(stream, &["d", "e", "d/e", "e/d"]).to_owned();
    let any = |stream: &mut Seeded| if stream.choose(6) == 0 { dir(stream) } else { path(stream) };
    match stream.choose(40) {
        0..=6 => format!("create {}", path(stream)),
        7..=11 => format!("append {} {} {letter}", path(stream), pick(stream, &LENGTHS)),
        12..=14 => format!("write {} {} {} {letter}", path(stream), pick(stream, &OFFSETS), pick(stream, &LENGTHS)),
        15..=20 => format!("fsync {}", path(stream)),
        21..=23 => format!("fsync {}", pick(stream, &["d", "e", "/"])),
        24..=28 => format!("rename {} {}", any(stream), any(stream)),
        29..=31 => format!("mkdir {}", dir(stream)),
        32..=33 => format!("truncate {} {}", path(stream), pick(stream, &CUTS)),
        34..=35 => format!("link {} {}", path(stream), path(stream)),
        36 => format!("unlink {}", path(stream)),
        37 => format!("close {}", path(stream)),
        38 => format!("rmdir {}", dir(stream)),
        _ => "syncfs".to_owned(),
    }
}

fn pick<'a>(stream: &mut Seeded, of: &[&'a str]) -> &'a str {
    of[stream.choose(of.len())]
}
