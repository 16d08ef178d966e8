//! Random calls for a real file system, but for those that its model does not know.

use super::FileSystem;
use crate::disk::SimFs;
use crate::disk::tree::{Ino, Tree};
use crate::env::choice::{Chooser, Seeded};
use crate::env::run_now;
use crate::fs::File;
use crate::fs::script::{Actor, Call, Script};

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
        let open = self.open_handle(path).and_then(|file| run_now(file.metadata()).ok());
        open.is_some_and(|file| self.fs.tree().names_of(Ino(file.ino as u32)) == 0)
    }
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
