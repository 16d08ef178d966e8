//! A file system at which tasks take turns.
//!
//! Around every call there are two places at which a task may be stopped: before it and behind it. So what a task does
//! in memory between two calls is a turn of its own, apart from both. What each turn touches is noted
//! ([`touched`]): directory entries, listings, and the bytes of files.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;

use crate::env::touched::{self, Touch};
use crate::fs::{DirEntry, File, FileKind, Fs, Metadata, OpenMode, Result, split};

/// Where tasks stop. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stops(Arc<StopsState>);

#[derive(Debug, Default)]
struct StopsState {
    /// Whether tasks stop at all.
    active: AtomicBool,
    /// Whether the task that runs has come to a stop.
    stopped: AtomicBool,
}

impl Stops {
    /// From now on tasks stop, or do not.
    pub(super) fn set_active(&self, active: bool) {
        self.0.active.store(active, Ordering::Relaxed);
    }

    /// Whether a task came to a stop since this was asked last. If it did not, and waits, it waits for another task.
    pub(super) fn take_stopped(&self) -> bool {
        self.0.stopped.swap(false, Ordering::Relaxed)
    }

    async fn stop(&self) {
        let mut goes_on = !self.0.active.load(Ordering::Relaxed);
        poll_fn(|_| {
            if std::mem::replace(&mut goes_on, true) {
                return Poll::Ready(());
            }
            self.0.stopped.store(true, Ordering::Relaxed);
            Poll::Pending
        })
        .await;
    }

    async fn call<T>(
        &self,
        made: impl Future<Output = Result<T>>,
        touches: impl FnOnce(&Result<T>) -> Vec<Touch>,
    ) -> Result<T> {
        self.stop().await;
        let result = made.await;
        touched::note(|| touches(&result));
        self.stop().await;
        result
    }
}

/// The decorator. Clones share the stops.
#[derive(Debug, Clone)]
pub struct Stepped<F> {
    inner: F,
    stops: Stops,
}

/// An open file of a [`Stepped`].
#[derive(Debug)]
pub struct SteppedFile<H> {
    inner: H,
    stops: Stops,
    /// The inode, once a call has told it.
    ino: OnceLock<u64>,
}

impl<F> Stepped<F> {
    /// `inner`, with stops.
    pub fn new(inner: F, stops: Stops) -> Self {
        Self { inner, stops }
    }
}

/// The entry of `path`, and those on the way to it.
fn look(path: &str) -> Vec<Touch> {
    let mut touches = vec![entry(path, false)];
    let mut at = path;
    while let Some((parent, _)) = split(at) {
        touches.push(entry(parent, false));
        at = parent;
    }
    touches
}

/// The entry of `path` is set or cleared: if that failed it was only looked at.
fn change<T>(path: &str, result: &Result<T>) -> Vec<Touch> {
    let mut touches = look(path);
    if result.is_ok() {
        let parent = split(path).map_or("", |(parent, _)| parent);
        touches.extend([entry(path, true), Touch::of(&("listing", parent), true)]);
    }
    touches
}

fn entry(path: &str, writes: bool) -> Touch {
    Touch::of(&("entry", path), writes)
}

fn listing(path: &str) -> Vec<Touch> {
    let mut touches = look(path);
    touches.push(Touch::of(&("listing", path), false));
    touches
}

fn bytes(ino: u64, writes: bool) -> Touch {
    Touch::of(&("bytes", ino), writes)
}

impl<F: Fs> Fs for Stepped<F> {
    type File = SteppedFile<F::File>;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<Self::File> {
        let creates = matches!(mode, OpenMode::Create | OpenMode::CreateNew);
        let made = async {
            let inner = self.inner.open(path, mode).await?;
            let ino = OnceLock::new();
            // What is opened can be told; if it ever could not, the file would be in everybody's way.
            let _ = ino.set(inner.metadata().await.map_or(0, |m| m.ino));
            Ok(SteppedFile { inner, stops: self.stops.clone(), ino })
        };
        self.stops.call(made, |result| if creates { change(path, result) } else { look(path) }).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let touches = |result: &_| [change(from, result), change(to, result), listing(to)].concat();
        self.stops.call(self.inner.rename(from, to), touches).await
    }

    async fn hard_link(&self, existing: &str, new: &str) -> Result<()> {
        self.stops.call(self.inner.hard_link(existing, new), |r| [look(existing), change(new, r)].concat()).await
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        self.stops.call(self.inner.unlink(path), |r| change(path, r)).await
    }

    async fn mkdir(&self, path: &str) -> Result<()> {
        self.stops.call(self.inner.mkdir(path), |r| change(path, r)).await
    }

    async fn makes_dirs(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        self.stops.call(self.inner.rmdir(path), |r| [change(path, r), listing(path)].concat()).await
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
        self.stops.call(self.inner.read_dir(path), |_| listing(path)).await
    }

    async fn metadata(&self, path: &str) -> Result<Metadata> {
        let touches = |result: &Result<Metadata>| {
            let mut touches = look(path);
            let file = result.as_ref().ok().filter(|m| m.kind == FileKind::File);
            touches.extend(file.map(|m| bytes(m.ino, false)));
            touches
        };
        self.stops.call(self.inner.metadata(path), touches).await
    }

    async fn sync_dir(&self, path: &str) -> Result<()> {
        self.stops.call(self.inner.sync_dir(path), |_| listing(path)).await
    }

    async fn sync_fs(&self) -> Result<()> {
        self.stops.call(self.inner.sync_fs(), |_| Vec::new()).await
    }
}

/// Calls on a file: which touch its bytes, and how.
macro_rules! on_bytes {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty, $writes:literal;)*) => {
        $(async fn $name(&self, $($arg: $ty),*) -> Result<$out> {
            let ino = self.ino.get().copied().unwrap_or_default();
            self.stops.call(self.inner.$name($($arg),*), |r| vec![bytes(ino, $writes && r.is_ok())]).await
        })*
    };
}

impl<H: File> File for SteppedFile<H> {
    async fn knows_sha256(&self, _: u64, _: &[u8]) -> Result<Option<bool>> {
        Ok(None)
    }

    on_bytes! {
        read_at(offset: u64, len: usize) -> Bytes, false;
        has_sha256(sha256: &[u8]) -> bool, false;
        write_at(offset: u64, data: Bytes) -> usize, true;
        set_len(len: u64) -> (), true;
        metadata() -> Metadata, false;
        sync_data() -> (), false;
        sync_all() -> (), false;
    }
}
