//! The port on a directory of this machine: every call is one or two system calls on descriptors, none waits.
//!
//! **Nothing reaches out of the root.** Paths are checked by [`check_path`], directories are resolved by `openat2`
//! beneath the root's descriptor (component by component on kernels without it), and the last component is handed to
//! an `*at` call that does not follow symbolic links. So a link planted in the tree is an error ([`InvalidInput`]
//! with the words "symbolic link"), never a way out; only calls on the name itself (rename, unlink) touch it. Another
//! file system mounted below the root is refused as well: [`sync_fs`](Fs::sync_fs) would not reach it.
//!
//! It is not for anything but files and directories with UTF-8 names; whatever else lies about is reported, not hidden.
//!
//! [`InvalidInput`]: ErrorKind::InvalidInput

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    Access, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat, accessat, fdatasync, flock,
    fstat, fsync, ftruncate, linkat, mkdir, mkdirat, open, openat, openat2, renameat, stat, statat, syncfs, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::buffers::Buffers;
use super::{DirEntry, ErrorKind, File, FileExt, FileKind, Fs, FsError, Metadata, OpenMode, Result, check_path, split};

/// Most bytes that one [`read_at`](File::read_at) returns: a caller may ask for any length, the buffer stays bounded.
pub const MAX_READ_BYTES: usize = 4 << 20;

/// How directories below the root are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// One `openat2` (Linux 5.6): the kernel itself keeps the walk beneath the root.
    Openat2,
    /// One `openat` a component, none of which follows a link: for kernels and sandboxes without `openat2`.
    Walk,
}

/// A directory as a file system. Clones share the descriptor of the root.
#[derive(Debug, Clone)]
pub struct RealFs {
    root: Arc<OwnedFd>,
    device: u64,
    resolve: Resolve,
    buffers: Buffers,
}

/// The exclusive lock on a root ([`RealFs::lock_root`]); dropping it, or the end of the process, releases it.
#[derive(Debug)]
pub struct RootLock {
    _root: OwnedFd,
}

/// An open file of a [`RealFs`].
#[derive(Debug)]
pub struct RealFile {
    fd: OwnedFd,
    path: String,
    buffers: Buffers,
}

impl RealFs {
    /// Opens the directory `path`, which must exist, as the root. Links on the way to it are followed: it is the
    /// operator's own path.
    ///
    /// Errors: `NotFound`, `NotADirectory`, `Denied`.
    pub fn open_root(path: &Path) -> Result<Self> {
        let walking = Self::open_root_with(path, Resolve::Walk)?;
        // Sandboxes that do not know openat2 refuse it with EPERM instead of ENOSYS.
        match (Self { resolve: Resolve::Openat2, ..walking.clone() }).dir("open-root", "") {
            Ok(_) => Ok(Self { resolve: Resolve::Openat2, ..walking }),
            Err(_) => Ok(walking),
        }
    }

    /// As [`open_root`](RealFs::open_root), with the given way to find directories instead of the best one.
    pub fn open_root_with(path: &Path, resolve: Resolve) -> Result<Self> {
        let shown = path.to_string_lossy();
        let failed = |e| failure(e, "open-root", &shown);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = retry_on_intr(|| open(path, flags, Mode::empty())).map_err(failed)?;
        let device = fstat(&root).map_err(failed)?.st_dev;
        Ok(Self { root: Arc::new(root), device, resolve, buffers: Buffers::default() })
    }

    /// Opens the directory `path` as the root; it, and what is missing on the way to it, is made and made durable.
    ///
    /// Errors: as [`open_root`](Self::open_root), `ReadOnly`, `NoSpace`.
    pub fn create_root(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && stat(*dir).is_err_and(|e| e == Errno::NOENT);
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        for dir in missing.into_iter().rev() {
            let failed = |e| failure(e, "mkdir", &dir.to_string_lossy());
            match retry_on_intr(|| mkdir(dir, Mode::from_raw_mode(0o777))) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(failed(e)),
            }
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let parent = retry_on_intr(|| open(parent, flags, Mode::empty())).map_err(failed)?;
            retry_on_intr(|| fsync(&parent)).map_err(failed)?;
        }
        Self::open_root(path)
    }

    /// Whether entries can be made in the root.
    ///
    /// Errors: `Denied`, `ReadOnly`.
    pub fn check_writable(&self) -> Result<()> {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        retry_on_intr(|| accessat(&self.root, ".", access, AtFlags::EACCESS)).map_err(|e| failure(e, "access", ""))
    }

    /// How directories are found here.
    pub fn resolve(&self) -> Resolve {
        self.resolve
    }

    /// Takes the exclusive lock on the root (`flock` on the directory itself: no file appears), so that an offline
    /// command and a server keep off the same directory. Does not wait.
    ///
    /// Errors: `Denied` when another holder, in this process or another one, has it.
    pub fn lock_root(&self) -> Result<RootLock> {
        // A lock belongs to one open() of the directory; sharing the root's own would let every clone lock it again.
        let fd = self.open_dir("lock-root", "")?;
        match retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(RootLock { _root: fd }),
            Err(Errno::WOULDBLOCK) => {
                let mut e = FsError::new(ErrorKind::Denied, "lock-root", "");
                e.detail = "another process works on this directory; stop it, or wait for its end".to_owned();
                Err(e)
            }
            Err(errno) => Err(failure(errno, "lock-root", "")),
        }
    }

    /// A descriptor of the directory `path` that only serves as the base of other calls (O_PATH).
    fn dir(&self, op: &'static str, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = match self.resolve {
            Resolve::Openat2 => {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
                let path = if path.is_empty() { "." } else { path };
                retry_on_intr(|| openat2(&self.root, path, flags | OFlags::DIRECTORY, Mode::empty(), resolve))
            }
            Resolve::Walk => self.walk(path, flags | OFlags::NOFOLLOW),
        };
        found.map_err(|e| failure(e, op, path))
    }

    fn walk(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let mut at = retry_on_intr(|| openat(&self.root, ".", flags, Mode::empty()))?;
        for component in path.split('/').filter(|c| !c.is_empty()) {
            at = retry_on_intr(|| openat(&at, component, flags, Mode::empty()))?;
            let stat = fstat(&at)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if stat.st_dev == self.device => {}
                FileType::Directory => return Err(Errno::XDEV),
                FileType::Symlink => return Err(Errno::LOOP),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(at)
    }

    /// The directory `path` opened for reading and for fsync.
    fn open_dir(&self, op: &'static str, path: &str) -> Result<OwnedFd> {
        let base = self.dir(op, path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| openat(&base, ".", flags, Mode::empty())).map_err(|e| failure(e, op, path))
    }

    /// The directory that holds `path`, and the last component; for the root itself these are the root and `.`, on
    /// which the kernel's own answers are the right ones.
    fn parent<'p>(&self, op: &'static str, path: &'p str) -> Result<(OwnedFd, &'p str)> {
        check_path(op, path)?;
        let (parent, name) = split(path).unwrap_or(("", "."));
        let dir = self.dir(op, parent).map_err(|e| FsError { path: path.to_owned(), ..e })?;
        Ok((dir, name))
    }
}

impl Fs for RealFs {
    type File = RealFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<RealFile> {
        let how = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Write => OFlags::RDWR,
            OpenMode::Create => OFlags::RDWR | OFlags::CREATE,
            OpenMode::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let (dir, name) = self.parent("open", path)?;
        // NONBLOCK: a planted FIFO must not hang the caller; it means nothing for regular files.
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let failed = |e| failure(e, "open", path);
        let fd = retry_on_intr(|| openat(&dir, name, flags, Mode::from_raw_mode(0o666))).map_err(failed)?;
        match metadata_of(&fstat(&fd).map_err(failed)?, "open", path)?.kind {
            FileKind::File => Ok(RealFile { fd, path: path.to_owned(), buffers: self.buffers.clone() }),
            FileKind::Dir => Err(FsError::new(ErrorKind::IsADirectory, "open", path)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_path("rename", to)?;
        let (from_dir, from_name) = self.parent("rename", from)?;
        let (to_dir, to_name) = self.parent("rename", to)?;
        retry_on_intr(|| renameat(&from_dir, from_name, &to_dir, to_name))
            .map_err(|e| failure(not_empty(e), "rename", from))
    }

    async fn hard_link(&self, existing: &str, new: &str) -> Result<()> {
        check_path("link", new)?;
        // The kernel looks `existing` up before it turns to `new`; and a symbolic link gets no second name.
        Fs::metadata(self, existing).await.map_err(|e| FsError { op: "link", ..e })?;
        let (from_dir, from_name) = self.parent("link", existing)?;
        let (to_dir, to_name) = self.parent("link", new)?;
        retry_on_intr(|| linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty()))
            .map_err(|e| failure(e, "link", if e == Errno::EXIST { new } else { existing }))
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        let (dir, name) = self.parent("unlink", path)?;
        retry_on_intr(|| unlinkat(&dir, name, AtFlags::empty())).map_err(|e| failure(e, "unlink", path))
    }

    async fn mkdir(&self, path: &str) -> Result<()> {
        let (dir, name) = self.parent("mkdir", path)?;
        retry_on_intr(|| mkdirat(&dir, name, Mode::from_raw_mode(0o777))).map_err(|e| failure(e, "mkdir", path))
    }

    async fn makes_dirs(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        let (dir, name) = self.parent("rmdir", path)?;
        retry_on_intr(|| unlinkat(&dir, name, AtFlags::REMOVEDIR)).map_err(|e| failure(not_empty(e), "rmdir", path))
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
        check_path("read-dir", path)?;
        let failed = |e| failure(e, "read-dir", path);
        let fd = self.open_dir("read-dir", path)?;
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let raw = entry.file_name();
            if matches!(raw.to_bytes(), b"." | b"..") {
                continue;
            }
            let name = raw.to_str().map_err(|_| stranger("read-dir", path, &format!("{raw:?} is not UTF-8")))?;
            let kind = match entry.file_type() {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Dir,
                // Some file systems do not tell in the listing, and what is of no known kind is named by its path.
                _ => match statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => metadata_of(&stat, "read-dir", &below(name))?.kind,
                    Err(Errno::NOENT) => continue,
                    Err(e) => return Err(failed(e)),
                },
            };
            entries.push(DirEntry { name: name.to_owned(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    async fn metadata(&self, path: &str) -> Result<Metadata> {
        let failed = |e| failure(e, "stat", path);
        let (dir, name) = self.parent("stat", path)?;
        metadata_of(&statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?, "stat", path)
    }

    async fn sync_dir(&self, path: &str) -> Result<()> {
        check_path("fsync", path)?;
        let fd = self.open_dir("fsync", path)?;
        retry_on_intr(|| fsync(&fd)).map_err(|e| failure(e, "fsync", path))
    }

    async fn sync_fs(&self) -> Result<()> {
        retry_on_intr(|| syncfs(&self.root)).map_err(|e| failure(e, "syncfs", ""))
    }
}

impl File for RealFile {
    async fn knows_sha256(&self, _: u64, _: &[u8]) -> Result<Option<bool>> {
        Ok(None)
    }

    async fn has_sha256(&self, sha256: &[u8]) -> Result<bool> {
        Ok(self.sha256().await? == *sha256)
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        // Past what an offset can be (i64) there is nothing to read either.
        let len = (i64::MAX as u64).saturating_sub(offset).min(len.min(MAX_READ_BYTES) as u64) as usize;
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.buffers.filled(len, |buffer| {
            retry_on_intr(|| pread(&self.fd, spare_capacity(buffer), offset)).map_err(|e| self.failed(e, "read"))?;
            buffer.truncate(len);
            Ok(())
        })
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> Result<usize> {
        // No bytes fit anywhere, as long as the file may be written.
        let offset = if data.is_empty() { 0 } else { offset };
        retry_on_intr(|| pwrite(&self.fd, &data, offset)).map_err(|e| self.failed(e, "write"))
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        retry_on_intr(|| ftruncate(&self.fd, len)).map_err(|e| self.failed(e, "truncate"))
    }

    async fn metadata(&self) -> Result<Metadata> {
        metadata_of(&fstat(&self.fd).map_err(|e| self.failed(e, "stat"))?, "stat", &self.path)
    }

    async fn sync_data(&self) -> Result<()> {
        retry_on_intr(|| fdatasync(&self.fd)).map_err(|e| self.failed(e, "fdatasync"))
    }

    async fn sync_all(&self) -> Result<()> {
        retry_on_intr(|| fsync(&self.fd)).map_err(|e| self.failed(e, "fsync"))
    }
}

impl AsFd for RealFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RealFile {
    fn failed(&self, errno: Errno, op: &'static str) -> FsError {
        failure(errno, op, &self.path)
    }
}

/// What POSIX lets a file system say in place of ENOTEMPTY (xfs does, in rename).
fn not_empty(errno: Errno) -> Errno {
    if errno == Errno::EXIST { Errno::NOTEMPTY } else { errno }
}

fn metadata_of(stat: &Stat, op: &'static str, path: &str) -> Result<Metadata> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => return Err(failure(Errno::LOOP, op, path)),
        _ => return Err(stranger(op, path, "neither a file nor a directory")),
    };
    let len = if kind == FileKind::File { stat.st_size.unsigned_abs() } else { 0 };
    // The time of the last change of content or attributes, which no program can set.
    let change = (stat.st_ctime as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.st_ctime_nsec);
    Ok(Metadata { kind, len, ino: stat.st_ino, change })
}

/// Something in the tree that the port has no words for.
fn stranger(op: &'static str, path: &str, what: &str) -> FsError {
    let mut e = FsError::new(ErrorKind::InvalidInput, op, path);
    e.detail = format!("{what}: it does not belong into this tree, move it away");
    e
}

fn failure(errno: Errno, op: &'static str, path: &str) -> FsError {
    let kind = match errno {
        Errno::NOENT => ErrorKind::NotFound,
        Errno::EXIST => ErrorKind::AlreadyExists,
        Errno::NOTDIR => ErrorKind::NotADirectory,
        Errno::ISDIR => ErrorKind::IsADirectory,
        Errno::NOTEMPTY => ErrorKind::NotEmpty,
        Errno::NOSPC | Errno::DQUOT => ErrorKind::NoSpace,
        Errno::ROFS => ErrorKind::ReadOnly,
        Errno::ACCESS | Errno::PERM => ErrorKind::Denied,
        Errno::LOOP => return stranger(op, path, "a symbolic link, and links are not followed"),
        Errno::XDEV => return stranger(op, path, "on another file system than the root"),
        Errno::INVAL | Errno::NAMETOOLONG | Errno::BUSY | Errno::FBIG | Errno::MLINK | Errno::BADF | Errno::NXIO => {
            ErrorKind::InvalidInput
        }
        // Among them what says nothing about the medium (EMFILE, ENOMEM): the system's words tell.
        _ => ErrorKind::Io,
    };
    let detail = std::io::Error::from(errno).to_string();
    FsError { kind, op, path: path.to_owned(), detail }
}
