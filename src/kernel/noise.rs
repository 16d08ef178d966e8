//! What a kernel may do by itself at any moment: it writes back what is dirty, and commits.
//!
//! Done between the calls of a script, on the real file system alone. Nothing of it is promised to anybody, so all that
//! it leaves has to be a crash state of the calls as they are. So a file that the script has open is not opened once
//! more: to close it, be it a handle for reading, is something that a kernel does not do by itself, and that takes away the flush
//! which waits for the close of a truncated file.

#![expect(clippy::disallowed_methods, reason = "not the port: what the kernel does behind it")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, fadvise, syncfs};

use super::FileSystem;
use crate::env::choice::{Chooser, Seeded};
use crate::env::run_now;
use crate::fs::File as _;
use crate::fs::real::RealFs;
use crate::fs::script::Actor;

/// Enough for a file system that is mounted with `commit=1`.
const COMMIT_INTERVAL: Duration = Duration::from_millis(2100);

impl FileSystem {
    /// Something of it, or nothing, in what is mounted at `dir`, and of which `script` has some files open.
    ///
    /// Errors: a file cannot be opened, or the disk fails.
    pub fn noise(&self, dir: &Path, script: &Actor<RealFs>, stream: &mut Seeded) -> io::Result<()> {
        match stream.choose(12) {
            // The bytes of some files, and no more than it takes to have them there.
            0..=3 => {
                let files = files(dir)?;
                files.iter().filter(|_| stream.choose(2) == 0).try_for_each(|file| write_back(file, script))
            }
            // A journal is committed whatever is asked for; lengths and bytes that are only in memory do not come along.
            // (On btrfs a sync of one thing is logged, which nothing does by itself.)
            4 | 5 if self.kind != "btrfs" => File::open(dir)?.sync_all(),
            4 if stream.choose(3) == 0 => {
                std::thread::sleep(COMMIT_INTERVAL);
                Ok(())
            }
            6 => Ok(syncfs(File::open(dir)?)?),
            _ => Ok(()),
        }
    }

    /// All that is in memory goes to the disk, as it may when nothing more is done.
    ///
    /// Errors: the disk fails.
    pub fn write_all_back(&self, dir: &Path) -> io::Result<()> {
        Ok(syncfs(File::open(dir)?)?)
    }
}

/// Has the kernel write what is dirty of a file, and waits for nothing.
fn write_back(file: &Path, script: &Actor<RealFs>) -> io::Result<()> {
    let number = fs::metadata(file)?.ino();
    match script.open_handles().find(|handle| run_now(handle.metadata()).is_ok_and(|found| found.ino == number)) {
        Some(handle) => Ok(fadvise(handle, 0, None, Advice::DontNeed)?),
        None => Ok(fadvise(File::open(file)?, 0, None, Advice::DontNeed)?),
    }
}

/// All files below a directory.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() { dirs.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    Ok(found)
}
