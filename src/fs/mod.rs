//! The port: everything that a registry may ask of a file system, and nothing else.
//!
//! Two traits, [`Fs`] and [`File`], small enough to implement twice: on a real directory ([`real`]) and on the
//! fault-prone disk ([`crate::disk`]). A decorator ([`hooked`]) records the calls of either ([`trace`]), counts,
//! drops, delays or fails them.
//!
//! **What a method promises after a crash stands on the method.** "Volatile" means: visible to every reader at
//! once, kept over a crash of the process, and after a power cut there, not there, or (for written bytes) there in
//! part, as the persistence model decides. Only the four `sync_*` calls make anything durable, and nothing syncs
//! behind the caller's back: there are no default methods here, helpers live in [`FsExt`] and [`FileExt`].
//!
//! Paths are relative to the root that the implementation was given, `/`-separated, without `.`, `..` or empty
//! components ([`check_path`]); the root itself is the empty path. Of several errors that apply, Linux's wins, anywhere.

mod buffers;
pub mod hooked;
pub mod real;
pub mod script;
pub mod trace;

use std::future::Future;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::env::limits::IO_CHUNK_BYTES;

/// Result of a file-system call.
pub type Result<T> = std::result::Result<T, FsError>;

/// Longest path that any implementation accepts, in bytes (Linux: 4096 with the closing NUL).
pub const MAX_PATH_BYTES: usize = 4095;

/// Longest component of a path, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// ENOENT: a component of the path does not exist.
    NotFound,
    /// EEXIST: the name is taken.
    AlreadyExists,
    /// ENOTDIR: a component that must be a directory is not one.
    NotADirectory,
    /// EISDIR: the call needs a file and the path names a directory.
    IsADirectory,
    /// ENOTEMPTY: the directory still has entries.
    NotEmpty,
    /// ENOSPC or EDQUOT: the disk is full.
    NoSpace,
    /// EROFS: the file system takes no more writes.
    ReadOnly,
    /// EIO: the medium failed.
    Io,
    /// EINVAL, ENAMETOOLONG, ELOOP and the like: the path or an argument is not acceptable.
    InvalidInput,
    /// EACCES or EPERM.
    Denied,
}

/// A failed call: which one, on which path, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op} {path:?}: {detail}")]
pub struct FsError {
    /// The class of the failure.
    pub kind: ErrorKind,
    /// The call, named as in an operation list (`rename`, `fsync` …).
    pub op: &'static str,
    /// The path that the call was given (for handles: the path that they were opened by).
    pub path: String,
    /// The system's own words, or the model's.
    pub detail: String,
}

impl FsError {
    /// An error of class `kind` with that class's usual words.
    pub fn new(kind: ErrorKind, op: &'static str, path: &str) -> Self {
        let detail = match kind {
            ErrorKind::NotFound => "no such file or directory",
            ErrorKind::AlreadyExists => "file exists",
            ErrorKind::NotADirectory => "not a directory",
            ErrorKind::IsADirectory => "is a directory",
            ErrorKind::NotEmpty => "directory not empty",
            ErrorKind::NoSpace => "no space left on device",
            ErrorKind::ReadOnly => "read-only file system",
            ErrorKind::Io => "input/output error",
            ErrorKind::InvalidInput => "invalid argument",
            ErrorKind::Denied => "permission denied",
        };
        Self { kind, op, path: path.to_owned(), detail: detail.to_owned() }
    }

    /// `value` where nothing is there, or a file is in the way.
    fn unless_missing<T>(self, value: T) -> Result<T> {
        if matches!(self.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) { Ok(value) } else { Err(self) }
    }
}

/// How [`Fs::open`] treats a file that is, or is not, there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// O_RDONLY; the file must exist.
    Read,
    /// O_RDWR; the file must exist.
    Write,
    /// O_RDWR | O_CREAT; never truncates.
    Create,
    /// O_RDWR | O_CREAT | O_EXCL; the name must be free.
    CreateNew,
}

/// A file or a directory; the harness knows no other kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// What a stat tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// File or directory.
    pub kind: FileKind,
    /// Length in bytes; 0 for directories.
    pub len: u64,
    /// Inode number: two names with one number are one file.
    pub ino: u64,
    /// Another number after the file was written to or cut: what was read before may have changed. Nothing is promised
    /// about writes that follow one another at once, and a bad disk changes bytes without it.
    pub change: u64,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, one component.
    pub name: String,
    /// File or directory.
    pub kind: FileKind,
}

/// A file system under one root. Clones share the same file system.
///
/// Every call is one step: atomic for other callers in the same process, and the place where a simulator may let
/// another task run, fail the call, or cut the power.
pub trait Fs: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Opens a file. A name that this creates is volatile until a [`sync_dir`](Fs::sync_dir) of its directory
    /// (some models let a sync of the file carry it as well; nothing here relies on that).
    ///
    /// Errors: `NotFound`, `AlreadyExists` (`CreateNew`), `IsADirectory`, `NotADirectory`, `NoSpace`.
    fn open(&self, path: &str, mode: OpenMode) -> impl Future<Output = Result<Self::File>> + Send;

    /// Gives `from` the name `to`, replacing a file (or an empty directory by a directory) that has it. Atomic for
    /// readers and, in all models but `posix-split-rename`, over a power cut: one of the two names, never both and
    /// never neither (the old one with other bytes under `ext4-writeback`, if its file has no more names). Volatile; a
    /// sync of either directory makes it durable in part, of both in whole. It says nothing about the file's bytes.
    ///
    /// Two names of one inode: nothing happens, both stay. Errors: `NotFound`, `NotADirectory`, `IsADirectory`,
    /// `NotEmpty` (also: anything onto a directory that contains it), `InvalidInput` (a directory into itself, the root).
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = Result<()>> + Send;

    /// Gives the file `existing` a second name. Volatile. Errors: `AlreadyExists`, `NotFound`, `Denied` (directories).
    fn hard_link(&self, existing: &str, new: &str) -> impl Future<Output = Result<()>> + Send;

    /// Removes a name; the bytes stay as long as a handle or another name holds the inode. Volatile: until the
    /// directory is synced, a power cut may bring the name back. Errors: `NotFound`, `IsADirectory`.
    fn unlink(&self, path: &str) -> impl Future<Output = Result<()>> + Send;

    /// Creates a directory. Volatile. Errors: `AlreadyExists` (whatever has the name), `NotFound`, `NotADirectory`.
    fn mkdir(&self, path: &str) -> impl Future<Output = Result<()>> + Send;

    /// Makes a directory and all above it that are missing, where the caller need not know which were there: so a
    /// simulator that covers many trees at once tells none of these apart. `false`, and nothing done, where it takes a call
    /// for each, as on every real disk. Errors: `NotADirectory`, `NoSpace`.
    fn makes_dirs(&self, path: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Removes an empty directory. Volatile. Errors: `NotEmpty`, `NotADirectory`, `NotFound`.
    fn rmdir(&self, path: &str) -> impl Future<Output = Result<()>> + Send;

    /// Lists a directory, sorted by the bytes of the names. Errors: `NotFound`, `NotADirectory`.
    fn read_dir(&self, path: &str) -> impl Future<Output = Result<Vec<DirEntry>>> + Send;

    /// Stats a path. Errors: `NotFound`, `NotADirectory`.
    fn metadata(&self, path: &str) -> impl Future<Output = Result<Metadata>> + Send;

    /// fsync of a directory: its entries, additions and removals, survive a power cut from here on. Says nothing
    /// about the directory's own name in its parent. After an error nothing is known about any of them.
    fn sync_dir(&self, path: &str) -> impl Future<Output = Result<()>> + Send;

    /// syncfs: all before the call survives (overwrites that come alone may not, on xfs). Slow: never on a request's path.
    fn sync_fs(&self) -> impl Future<Output = Result<()>> + Send;
}

/// An open file. It stays bound to its inode: renaming or unlinking the path does not disturb it.
pub trait File: Send + Sync + 'static {
    /// Reads at most `len` bytes at `offset`; fewer at the end of the file or by a short read, none past the end.
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = Result<Bytes>> + Send;

    /// Whether all of the file's bytes hash to this sha256 (32 bytes). Reads the file to its end; that it is a call of
    /// its own lets a simulator answer without hashing. Errors: as [`read_at`](File::read_at).
    fn has_sha256(&self, sha256: &[u8]) -> impl Future<Output = Result<bool>> + Send;

    /// Whether the file's first `len` bytes are all there and hash to this sha256, where that is known without reading
    /// them; `None` where it takes reading them, as on every real disk. Lets a simulator that covers many contents at
    /// once tell the right ones from all others by one question. Errors: none of its own.
    fn knows_sha256(&self, len: u64, sha256: &[u8]) -> impl Future<Output = Result<Option<bool>>> + Send;

    /// Writes at `offset` and returns how many bytes were taken (a short write is legal; 0 only for no bytes).
    /// Extends the file when it must, with zeros in a gap. Volatile: after a power cut any of the 512-byte sectors
    /// may be old or new, and the length too. Errors: `NoSpace`, `Io`, `ReadOnly`, `InvalidInput` (opened for reading,
    /// or an end past `i64::MAX`).
    fn write_at(&self, offset: u64, data: Bytes) -> impl Future<Output = Result<usize>> + Send;

    /// ftruncate, down or up (up: zeros). Volatile. Errors: as [`write_at`](File::write_at).
    fn set_len(&self, len: u64) -> impl Future<Output = Result<()>> + Send;

    /// fstat.
    fn metadata(&self) -> impl Future<Output = Result<Metadata>> + Send;

    /// fdatasync: bytes and length survive from here on. Not the name. After an error the kernel may have marked
    /// the lost pages clean, so a second sync that succeeds proves nothing.
    fn sync_data(&self) -> impl Future<Output = Result<()>> + Send;

    /// fsync: as [`sync_data`](File::sync_data), and the inode's times.
    fn sync_all(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Checks that `path` is one that [`Fs`] takes: relative, normal, no NUL, at most [`MAX_PATH_BYTES`], each component
/// at most [`MAX_NAME_BYTES`].
pub fn check_path(op: &'static str, path: &str) -> Result<()> {
    let bad_name = |c: &[u8]| matches!(c, b"" | b"." | b"..") || c.len() > MAX_NAME_BYTES;
    let mut names = path.as_bytes().split(|b| *b == b'/');
    let bad = path.len() > MAX_PATH_BYTES || path.as_bytes().contains(&0) || (!path.is_empty() && names.any(bad_name));
    if bad { Err(FsError::new(ErrorKind::InvalidInput, op, path)) } else { Ok(()) }
}

/// Splits a path into its parent and its last component (`None` for the root).
///
/// ```
/// assert_eq!(pullplug::fs::split("a/b/c"), Some(("a/b", "c")));
/// assert_eq!(pullplug::fs::split("a"), Some(("", "a")));
/// assert_eq!(pullplug::fs::split(""), None);
/// ```
pub fn split(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() { None } else { Some(path.rsplit_once('/').unwrap_or(("", path))) }
}

/// Calls composed of several; each names what it costs.
pub trait FsExt: Fs {
    /// `mkdir -p`: one `mkdir` a missing component, from the top; one stat where all is there already. The names of what
    /// it created are volatile.
    fn create_dir_all(&self, path: &str) -> impl Future<Output = Result<()>> + Send {
        async move {
            if self.makes_dirs(path).await? {
                return Ok(());
            }
            let mut missing = Vec::new();
            let mut at = path;
            while !at.is_empty() {
                match self.metadata(at).await {
                    Ok(m) if m.kind == FileKind::Dir => break,
                    Ok(_) => return Err(FsError::new(ErrorKind::NotADirectory, "mkdir", at)),
                    Err(e) if e.kind == ErrorKind::NotFound => missing.push(at),
                    Err(e) => return Err(e),
                }
                at = split(at).map_or("", |(parent, _)| parent);
            }
            for dir in missing.into_iter().rev() {
                match self.mkdir(dir).await {
                    Err(e) if e.kind != ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        }
    }

    /// Reads a whole file of at most `limit_bytes`; a longer one is `InvalidInput`.
    fn read(&self, path: &str, limit_bytes: u64) -> impl Future<Output = Result<Bytes>> + Send {
        async move {
            let file = self.open(path, OpenMode::Read).await?;
            let len = file.metadata().await?.len;
            if len > limit_bytes {
                let mut e = FsError::new(ErrorKind::InvalidInput, "read", path);
                e.detail = format!("{len} bytes, more than the limit of {limit_bytes}");
                return Err(e);
            }
            file.read_full(0, len as usize).await
        }
    }

    /// Whether a path exists; other errors than "not there" are passed on.
    fn exists(&self, path: &str) -> impl Future<Output = Result<bool>> + Send {
        async move { self.metadata(path).await.map(|_| true).or_else(|e| e.unless_missing(false)) }
    }

    /// The listing of a directory; empty where there is none.
    fn list(&self, path: &str) -> impl Future<Output = Result<Vec<DirEntry>>> + Send {
        async move { self.read_dir(path).await.or_else(|e| e.unless_missing(Vec::new())) }
    }

    /// `rm -r`, children before parents, in sorted order; nothing to remove is no error. Syncs nothing.
    fn remove_tree(&self, path: &str) -> impl Future<Output = Result<()>> + Send {
        async move {
            // An explicit stack: a directory is visited twice, the second time to be removed, whatever is in it by
            // then: should a child not have gone, this ends with an error, and ends.
            enum Visit {
                Unknown,
                Known(FileKind),
                Emptied,
            }
            let mut stack = vec![(path.to_owned(), Visit::Unknown)];
            while let Some((at, visit)) = stack.pop() {
                let kind = match visit {
                    Visit::Unknown => match self.metadata(&at).await {
                        Ok(m) => Some(m.kind),
                        Err(e) if e.kind == ErrorKind::NotFound => continue,
                        Err(e) => return Err(e),
                    },
                    Visit::Known(kind) => Some(kind),
                    Visit::Emptied => None,
                };
                let result = match kind {
                    None => self.rmdir(&at).await,
                    Some(FileKind::File) => self.unlink(&at).await,
                    Some(FileKind::Dir) => {
                        let below = self.list(&at).await?.into_iter().rev();
                        let below: Vec<_> = below.map(|c| (format!("{at}/{}", c.name), Visit::Known(c.kind))).collect();
                        stack.push((at, Visit::Emptied));
                        stack.extend(below);
                        Ok(())
                    }
                };
                match result {
                    Err(e) if e.kind != ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        }
    }
}

impl<F: Fs> FsExt for F {}

/// Calls composed of several, on a handle.
pub trait FileExt: File {
    /// Reads `len` bytes at `offset`, through short reads; fewer only at the end of the file.
    fn read_full(&self, offset: u64, len: usize) -> impl Future<Output = Result<Bytes>> + Send {
        async move {
            let first = self.read_at(offset, len).await?;
            if first.len() == len || first.is_empty() {
                return Ok(first);
            }
            let mut all = BytesMut::from(&first[..]);
            while all.len() < len {
                let more = self.read_at(offset + all.len() as u64, len - all.len()).await?;
                if more.is_empty() {
                    break;
                }
                all.extend_from_slice(&more);
            }
            Ok(all.freeze())
        }
    }

    /// The sha256 of all of the file's bytes, by reading them: what [`File::has_sha256`] compares with.
    fn sha256(&self) -> impl Future<Output = Result<[u8; 32]>> + Send {
        async move {
            let (mut hasher, mut at) = (Sha256::new(), 0);
            loop {
                let piece = self.read_full(at, IO_CHUNK_BYTES).await?;
                if piece.is_empty() {
                    return Ok(hasher.finalize().into());
                }
                hasher.update(&piece);
                at += piece.len() as u64;
            }
        }
    }

    /// Writes all of `data` at `offset`, through short writes.
    fn write_full(&self, offset: u64, data: Bytes) -> impl Future<Output = Result<()>> + Send {
        async move {
            let mut done = 0;
            while done < data.len() {
                done += self.write_at(offset + done as u64, data.slice(done..)).await?;
            }
            Ok(())
        }
    }
}

impl<F: File> FileExt for F {}
