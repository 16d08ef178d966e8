//! Somebody else on the same file system: now and then a file beside the registry's is synced, or all of it.
//!
//! A kernel writes back what is in memory whenever it likes, and commits its journal for anybody's fsync. Left alone it
//! waits for seconds, longer than a push takes; this makes it do so at moments that are as legal, only nearer.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, syncfs};

use crate::env::choice::{Chooser, Seeded};

/// The file that is synced.
const FILE: &str = "somebody-else";
/// Between two syncs it pauses for less than this.
const MAX_PAUSE_MS: usize = 60;
/// One of so many syncs is of the whole file system.
const ALL_OF: usize = 3;

/// It goes on until it is dropped.
#[derive(Debug)]
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Noise {
    /// Begins, in a directory of the file system.
    ///
    /// Errors: there can be no thread.
    pub fn start(dir: PathBuf, stream: Seeded) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("noise".to_owned()).spawn(move || make(&dir, stream, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it.
    ///
    /// Errors: those of the file system.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        // Whoever wants to know has called `stop`.
        let _ = self.end();
    }
}

fn make(dir: &Path, mut stream: Seeded, stop: &AtomicBool) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join(FILE))?;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(stream.choose(MAX_PAUSE_MS) as u64));
        if stream.choose(ALL_OF) == 0 {
            sync_all(dir)?;
        } else {
            file.write_all(b".")?;
            file.sync_all()?;
        }
    }
    Ok(())
}

/// Everything that is only in memory goes to the disk.
///
/// Errors: those of the file system.
pub fn sync_all(dir: &Path) -> io::Result<()> {
    Ok(syncfs(open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)?)
}
