//! What strace recorded, replayed: the parser on traces written by hand, and programs that nobody adapted.

mod acks;
mod calls;
mod lines;
mod programs;

use pullplug::disk::SimFs;
use pullplug::disk::tree::Tree;
use pullplug::env::run_now;
use pullplug::fs::FsExt;
use pullplug::trace::{Recording, Roots, TraceError, replay};

/// A trace on the directory `/r`, which was empty.
fn read(text: &str) -> Result<Recording, TraceError> {
    replay(text, &Roots::new(["/r"]), Tree::default())
}

/// The same, where it can be read and nothing is missing.
#[track_caller]
fn whole(text: &str) -> Recording {
    let recording = read(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(recording.notes.gaps(), [], "{text}");
    recording
}

/// What a file of the directory holds in the end.
#[track_caller]
fn held(recording: &Recording, path: &str) -> String {
    let disk = SimFs::replayed(recording.run.base.clone(), recording.run.log.to_vec());
    let bytes = run_now(disk.read(path, 1 << 20)).unwrap_or_else(|e| panic!("{path}: {e}"));
    String::from_utf8(bytes.to_vec()).unwrap()
}
