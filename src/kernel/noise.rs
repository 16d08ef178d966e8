//! What a kernel may do by itself at any moment: it writes back what is dirty, and commits.
//!
//! Done between the calls of a script, on the real file system alone. Nothing of it is promised to anybody, so all that
//! it leaves has to be a crash state of the calls as they are.

#![expect(clippy::disallowed_methods, reason = "not the port: what the kernel does behind it")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Advice, fadvise, syncfs};

use super::FileSystem;
use crate::env::choice::{Chooser, Seeded};

/// Enough for a file system that is mounted with `commit=1`.
const COMMIT_INTERVAL: Duration = Duration::from_millis(2100);

impl FileSystem {
    /// Something of it, or nothing, in what is mounted at `dir`.
    ///
    /// Errors: a file cannot be opened, or the disk fails.
    pub fn noise(&self, dir: &Path, stream: &mut Seeded) -> io::Result<()> {
        match stream.choose(12) {
            // The bytes of some files, and no more than it takes to have them there.
            0..=3 => {
                let files = files(dir)?;
                files.iter().filter(|_| stream.choose(2) == 0).try_for_each(|file| write_back(file))
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
fn write_back(file: &Path) -> io::Result<()> {
    Ok(fadvise(File::open(file)?, 0, None, Advice::DontNeed)?)
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
