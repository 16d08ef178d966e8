//! Random calls for a real file system.

use crate::disk::SimFs;
use crate::env::choice::{Chooser, Seeded};
use crate::env::run_now;
use crate::fs::script::{Actor, Call, Script};

/// Around the edges of sectors and blocks.
const LENGTHS: [&str; 9] = ["1", "71", "511", "512", "600", "1536", "4096", "5000", "9000"];
const OFFSETS: [&str; 6] = ["0", "0", "71", "512", "4096", "8192"];
const CUTS: [&str; 7] = ["0", "0", "10", "71", "600", "4096", "5000"];

/// A random script; every call of it succeeds.
pub fn random(stream: &mut Seeded) -> Script {
    let mut actor = Actor::new(SimFs::new());
    let (setup, calls) = (stream.choose(8), 3 + stream.choose(10));
    let mut letter = b'A';
    let mut draw = |count: usize, stream: &mut Seeded| {
        let mut calls = Vec::new();
        // Most draws are of paths that are not there.
        for _ in 0..count * 40 {
            if calls.len() == count {
                break;
            }
            let call = Call(words(stream, char::from(letter)));
            if run_now(actor.call(&call)).is_ok() {
                letter = if letter == b'Z' { b'A' } else { letter + 1 };
                calls.push(call);
            }
        }
        actor.close_all();
        calls
    };
    let setup = draw(setup, stream);
    let mut calls = draw(calls, stream);
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
