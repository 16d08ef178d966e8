//! A decorator that watches the calls of any [`Fs`] and may spoil them.
//!
//! Every call is shown to one hook before it is made; the hook answers with an [`Action`]. Counting calls, failing or
//! dropping the k-th ([`Nth`]), and swapping a call with the one after it ([`Action::Delay`]) are all such hooks. What
//! was carried out is recorded in a [`Trace`].
//!
//! It is for planting bugs in a strategy and for comparing call lists. The faults of the disk itself (torn writes, a
//! sync that fails and leaves its pages clean, bit rot) are not here: they need the disk's state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::trace::{Call, Trace};
use super::{DirEntry, ErrorKind, File, FileExt, Fs, FsError, Metadata, OpenMode, Result, split};

/// What a hook does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make it.
    Run,
    /// Do not make it, and say that it failed.
    Fail(ErrorKind),
    /// Make it, and say that it failed all the same: the acknowledgement is lost.
    RunThenFail(ErrorKind),
    /// Do not make it, and say that it succeeded. Only for calls whose success carries no news: all that change
    /// something, except opening. For the others it is an `InvalidInput` error.
    Drop,
    /// Say that it succeeded, and make it right after the next call that changes something (whoever makes that), or
    /// in [`HookedFs::settle`]. Should it fail then, that call fails with its error. Several wait in their order.
    /// Reads in between do not see it. Only for calls that return nothing; for the others it is an `InvalidInput`
    /// error.
    Delay,
    /// Make it and, where it succeeds, make more of what it did durable before it returns.
    RunThenSync(Syncs),
}

/// Syncs after a call, made in this order. What has no name (any more) is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// fsync of the file that the call named: of a rename or a link under its new name.
    pub file: bool,
    /// fsync of the directory of that name.
    pub dir: bool,
    /// fsync of the directory of the old name, where there is one.
    pub old_dir: bool,
}

/// A hook that acts on one call: the `index`-th (from 0) of those that match. It counts all that match, so with an
/// index that is never reached it is a counter, and afterwards it tells whether it ever acted.
pub struct Nth {
    index: u64,
    action: Action,
    matches: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    seen: AtomicU64,
}

impl Nth {
    /// Acts with `action` on the `index`-th call for which `matches` holds; share it with `Arc` to ask it later.
    pub fn new(index: u64, action: Action, matches: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { index, action, matches: Box::new(matches), seen: AtomicU64::new(0) })
    }

    /// The answer to one call.
    pub fn judge(&self, call: &Call) -> Action {
        if (self.matches)(call) && self.seen.fetch_add(1, Ordering::Relaxed) == self.index {
            self.action
        } else {
            Action::Run
        }
    }

    /// How many calls matched so far.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Whether it has acted.
    pub fn fired(&self) -> bool {
        self.seen() > self.index
    }
}

/// A file system whose calls go through a hook. Clones share the hook, the trace and what is delayed.
pub struct HookedFs<F: Fs> {
    inner: F,
    shared: Arc<Shared<F::File>>,
}

struct Shared<H> {
    hook: Box<dyn Fn(&Call) -> Action + Send + Sync>,
    /// Whether digests are asked of the file system underneath.
    digests_below: bool,
    trace: Trace,
    delayed: Mutex<Vec<Delayed<H>>>,
}

/// A call for later, and the open file that it goes to if it goes to one.
type Delayed<H> = (Call, Option<Arc<H>>);

impl<H> Shared<H> {
    fn delayed(&self) -> MutexGuard<'_, Vec<Delayed<H>>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open file of a [`HookedFs`].
pub struct HookedFile<F: Fs> {
    fs: HookedFs<F>,
    file: Arc<F::File>,
    path: String,
}

impl<F: Fs> Clone for HookedFs<F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<F: Fs> HookedFs<F> {
    /// Only traces, what changes something.
    pub fn new(inner: F) -> Self {
        Self::with_hook(inner, |_| Action::Run)
    }

    /// Traces what changes something, and asks `hook` about every call.
    pub fn with_hook(inner: F, hook: impl Fn(&Call) -> Action + Send + Sync + 'static) -> Self {
        Self::with_trace(inner, Trace::default(), hook)
    }

    /// Records in `trace`, and asks `hook` about every call.
    pub fn with_trace(inner: F, trace: Trace, hook: impl Fn(&Call) -> Action + Send + Sync + 'static) -> Self {
        Self::over(inner, trace, false, hook)
    }

    /// Asks `hook` about every call, and the file system underneath about digests: reads for these are not shown.
    pub fn watched(inner: F, hook: impl Fn(&Call) -> Action + Send + Sync + 'static) -> Self {
        Self::over(inner, Trace::default(), true, hook)
    }

    fn over(
        inner: F,
        trace: Trace,
        digests_below: bool,
        hook: impl Fn(&Call) -> Action + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { hook: Box::new(hook), digests_below, trace, delayed: Mutex::default() };
        Self { inner, shared: Arc::new(shared) }
    }

    /// The file system underneath; calls on it are neither shown to the hook nor recorded.
    pub fn inner(&self) -> &F {
        &self.inner
    }

    /// The record, shared.
    pub fn trace(&self) -> &Trace {
        &self.shared.trace
    }

    /// Makes the calls that are still delayed, in their order; the first error is returned, after all were made.
    pub async fn settle(&self) -> Result<()> {
        let delayed = std::mem::take(&mut *self.shared.delayed());
        let mut outcome = Ok(());
        for (call, file) in delayed {
            let result = self.make(&call, file.as_deref()).await;
            if result.is_ok() {
                self.shared.trace.record(&call);
            }
            outcome = outcome.and(result);
        }
        outcome
    }

    /// A call that returns nothing: the only kind that can be kept for later.
    async fn change(&self, call: Call, file: Option<&Arc<F::File>>) -> Result<()> {
        match (self.shared.hook)(&call) {
            Action::Drop => Ok(()),
            Action::Delay => {
                self.shared.delayed().push((call, file.cloned()));
                Ok(())
            }
            action => {
                let made = self.make(&call, file.map(|f| &**f));
                self.answer(action, call.clone(), made, |_, ()| {}).await
            }
        }
    }

    async fn make(&self, call: &Call, file: Option<&F::File>) -> Result<()> {
        match (call, file) {
            (Call::Truncate { len, .. }, Some(file)) => file.set_len(*len).await,
            (Call::SyncData { .. }, Some(file)) => file.sync_data().await,
            (Call::SyncAll { .. }, Some(file)) => file.sync_all().await,
            (Call::SyncDir { path }, _) => self.inner.sync_dir(path).await,
            (Call::SyncFs, _) => self.inner.sync_fs().await,
            (Call::Rename { from, to }, _) => self.inner.rename(from, to).await,
            (Call::Link { existing, new }, _) => self.inner.hard_link(existing, new).await,
            (Call::Unlink { path }, _) => self.inner.unlink(path).await,
            (Call::Mkdir { path }, _) => self.inner.mkdir(path).await,
            (Call::Rmdir { path }, _) => self.inner.rmdir(path).await,
            _ => Err(refused(call, "made without its arguments")),
        }
    }

    /// Carries out `made` as `action` has it; `amend` puts what came out of it into the record.
    async fn answer<T>(
        &self,
        action: Action,
        mut call: Call,
        made: impl Future<Output = Result<T>> + Send,
        amend: impl FnOnce(&mut Call, &T),
    ) -> Result<T> {
        let spoilt = |kind, call: &Call| Err(FsError::new(kind, call.name(), call.path()));
        match action {
            Action::Drop => return Err(refused(&call, "dropped: it has something to return")),
            Action::Delay => return Err(refused(&call, "delayed: it has something to return")),
            Action::Fail(kind) => return spoilt(kind, &call),
            Action::Run | Action::RunThenFail(_) | Action::RunThenSync(_) => {}
        }
        let result = made.await;
        if let Ok(value) = &result {
            amend(&mut call, value);
            self.shared.trace.record(&call);
        }
        let settled = if call.is_change() { self.settle().await } else { Ok(()) };
        match action {
            Action::RunThenFail(kind) => spoilt(kind, &call),
            Action::RunThenSync(syncs) => {
                let value = result?;
                settled?;
                self.sync_behind(&call, syncs).await.map(|()| value)
            }
            _ => result.and_then(|value| settled.map(|()| value)),
        }
    }

    async fn sync_behind(&self, call: &Call, syncs: Syncs) -> Result<()> {
        let name = call.target().unwrap_or(call.path());
        let dir_of = |path| split(path).map_or("", |(dir, _)| dir).to_owned();
        if syncs.file
            && let Some(file) = there(self.inner.open(name, OpenMode::Read).await)?
        {
            file.sync_all().await?;
            self.shared.trace.record(&Call::SyncAll { path: name.to_owned() });
        }
        for (wanted, path) in [(syncs.dir, dir_of(name)), (syncs.old_dir, dir_of(call.path()))] {
            if wanted && there(self.inner.sync_dir(&path).await)?.is_some() {
                self.shared.trace.record(&Call::SyncDir { path });
            }
        }
        Ok(())
    }

    async fn look<T>(&self, call: Call, made: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let action = (self.shared.hook)(&call);
        self.answer(action, call, made, |_, _| {}).await
    }
}

fn there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn refused(call: &Call, what: &str) -> FsError {
    let mut e = FsError::new(ErrorKind::InvalidInput, call.name(), call.path());
    e.detail = format!("this call cannot be {what}");
    e
}

impl<F: Fs> Fs for HookedFs<F> {
    type File = HookedFile<F>;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<HookedFile<F>> {
        let name = path.to_owned();
        let call = match mode {
            OpenMode::Read | OpenMode::Write => Call::Open { path: name },
            OpenMode::Create | OpenMode::CreateNew => Call::OpenCreate { path: name },
        };
        let file = Arc::new(self.look(call, async { self.inner.open(path, mode).await }).await?);
        Ok(HookedFile { fs: self.clone(), file, path: path.to_owned() })
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.change(Call::Rename { from: from.to_owned(), to: to.to_owned() }, None).await
    }

    async fn hard_link(&self, existing: &str, new: &str) -> Result<()> {
        self.change(Call::Link { existing: existing.to_owned(), new: new.to_owned() }, None).await
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        self.change(Call::Unlink { path: path.to_owned() }, None).await
    }

    async fn mkdir(&self, path: &str) -> Result<()> {
        self.change(Call::Mkdir { path: path.to_owned() }, None).await
    }

    async fn makes_dirs(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        self.change(Call::Rmdir { path: path.to_owned() }, None).await
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
        self.look(Call::ReadDir { path: path.to_owned() }, async { self.inner.read_dir(path).await }).await
    }

    async fn metadata(&self, path: &str) -> Result<Metadata> {
        self.look(Call::Stat { path: path.to_owned() }, async { self.inner.metadata(path).await }).await
    }

    async fn sync_dir(&self, path: &str) -> Result<()> {
        self.change(Call::SyncDir { path: path.to_owned() }, None).await
    }

    async fn sync_fs(&self) -> Result<()> {
        self.change(Call::SyncFs, None).await
    }
}

impl<F: Fs> File for HookedFile<F> {
    async fn knows_sha256(&self, len: u64, sha256: &[u8]) -> Result<Option<bool>> {
        // No call of a real disk: where it is answered, nobody looks at a hook's reads.
        self.file.knows_sha256(len, sha256).await
    }

    async fn has_sha256(&self, sha256: &[u8]) -> Result<bool> {
        if self.fs.shared.digests_below {
            return self.file.has_sha256(sha256).await;
        }
        Ok(self.sha256().await? == *sha256)
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let call = Call::Read { path: self.path.clone(), offset, len: len as u64 };
        let action = (self.fs.shared.hook)(&call);
        let delivered = |call: &mut Call, data: &Bytes| set_bytes(call, data.len());
        self.fs.answer(action, call, async { self.file.read_at(offset, len).await }, delivered).await
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> Result<usize> {
        let call = Call::Write { path: self.path.clone(), offset, len: data.len() as u64 };
        match (self.fs.shared.hook)(&call) {
            Action::Drop => Ok(data.len()),
            action => {
                let taken = |call: &mut Call, n: &usize| set_bytes(call, *n);
                self.fs.answer(action, call, async { self.file.write_at(offset, data).await }, taken).await
            }
        }
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        self.fs.change(Call::Truncate { path: self.path.clone(), len }, Some(&self.file)).await
    }

    async fn metadata(&self) -> Result<Metadata> {
        self.fs.look(Call::Stat { path: self.path.clone() }, async { self.file.metadata().await }).await
    }

    async fn sync_data(&self) -> Result<()> {
        self.fs.change(Call::SyncData { path: self.path.clone() }, Some(&self.file)).await
    }

    async fn sync_all(&self) -> Result<()> {
        self.fs.change(Call::SyncAll { path: self.path.clone() }, Some(&self.file)).await
    }
}

fn set_bytes(call: &mut Call, n: usize) {
    if let Call::Read { len, .. } | Call::Write { len, .. } = call {
        *len = n as u64;
    }
}
