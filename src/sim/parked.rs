//! A file system whose every call waits at a [`Gate`].
//!
//! Between the gate and the file system underneath nothing waits, so a call is one step: other tasks run before it or
//! after it. Dropping a file is no call, as closing one is none.

use bytes::Bytes;

use super::gate::Gate;
use crate::fs::{DirEntry, File, Fs, Metadata, OpenMode, Result};

/// The decorator. Clones share the gate.
#[derive(Clone)]
pub struct ParkedFs<F: Fs> {
    inner: F,
    gate: Gate,
}

/// An open file of a [`ParkedFs`].
pub struct ParkedFile<H> {
    inner: H,
    gate: Gate,
}

impl<F: Fs> ParkedFs<F> {
    /// `inner`, behind `gate`.
    pub fn new(inner: F, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

/// Implements calls by waiting, making the call, and going on if the machine still runs.
macro_rules! parked {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        $(async fn $name(&self, $($arg: $ty),*) -> Result<$out> {
            let pass = self.gate.pass().await;
            let result = self.inner.$name($($arg),*).await;
            pass.done().await;
            result
        })*
    };
}

impl<F: Fs> Fs for ParkedFs<F> {
    type File = ParkedFile<F::File>;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<Self::File> {
        let pass = self.gate.pass().await;
        let result = self.inner.open(path, mode).await;
        pass.done().await;
        result.map(|inner| ParkedFile { inner, gate: self.gate.clone() })
    }

    async fn makes_dirs(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    parked! {
        rename(from: &str, to: &str) -> ();
        hard_link(existing: &str, new: &str) -> ();
        unlink(path: &str) -> ();
        mkdir(path: &str) -> ();
        rmdir(path: &str) -> ();
        read_dir(path: &str) -> Vec<DirEntry>;
        metadata(path: &str) -> Metadata;
        sync_dir(path: &str) -> ();
        sync_fs() -> ();
    }
}

impl<H: File> File for ParkedFile<H> {
    async fn knows_sha256(&self, _: u64, _: &[u8]) -> Result<Option<bool>> {
        Ok(None)
    }

    parked! {
        read_at(offset: u64, len: usize) -> Bytes;
        has_sha256(sha256: &[u8]) -> bool;
        write_at(offset: u64, data: Bytes) -> usize;
        set_len(len: u64) -> ();
        metadata() -> Metadata;
        sync_data() -> ();
        sync_all() -> ();
    }
}
