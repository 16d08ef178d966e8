//! The port on the simulated disk: each call is one step under the lock of [`Disk`], and no call waits.

use std::sync::MutexGuard;

use bytes::Bytes;

use super::{Disk, SimFs};
use crate::disk::effect::What;
use crate::disk::fault::FaultKind;
use crate::disk::tree::Ino;
use crate::fs::{DirEntry, ErrorKind, File, FileExt, FileKind, Fs, FsError, Metadata, OpenMode, Result};

impl Fs for SimFs {
    type File = SimFile;

    async fn open(&self, path: &str, mode: OpenMode) -> Result<SimFile> {
        let ino = self.lock().open(path, mode)?;
        Ok(SimFile { fs: self.clone(), ino, path: path.to_owned(), writable: mode != OpenMode::Read })
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.lock().rename(from, to)
    }

    async fn hard_link(&self, existing: &str, new: &str) -> Result<()> {
        self.lock().hard_link(existing, new)
    }

    async fn unlink(&self, path: &str) -> Result<()> {
        self.lock().remove("unlink", path, FileKind::File)
    }

    async fn mkdir(&self, path: &str) -> Result<()> {
        self.lock().mkdir(path)
    }

    async fn makes_dirs(&self, path: &str) -> Result<bool> {
        self.lock().make_dirs(path)
    }

    async fn rmdir(&self, path: &str) -> Result<()> {
        self.lock().remove("rmdir", path, FileKind::Dir)
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
        self.lock().read_dir(path)
    }

    async fn metadata(&self, path: &str) -> Result<Metadata> {
        let mut disk = self.lock();
        let ino = disk.existing("stat", path)?;
        Ok(disk.metadata(ino))
    }

    async fn sync_dir(&self, path: &str) -> Result<()> {
        let mut disk = self.lock();
        let ino = disk.existing("fsync", path)?;
        if disk.tree.dir(ino).is_none() {
            return Err(FsError::new(ErrorKind::NotADirectory, "fsync", path));
        }
        disk.sync("fsync", path, What::SyncDir(ino))
    }

    async fn sync_fs(&self) -> Result<()> {
        self.lock().sync("syncfs", "", What::SyncFs)
    }
}

/// An open file of a [`SimFs`].
#[derive(Debug)]
pub struct SimFile {
    fs: SimFs,
    ino: Ino,
    path: String,
    writable: bool,
}

impl SimFile {
    fn for_writing(&self, op: &'static str) -> Result<MutexGuard<'_, Disk>> {
        if self.writable { Ok(self.fs.lock()) } else { Err(FsError::new(ErrorKind::InvalidInput, op, &self.path)) }
    }
}

impl File for SimFile {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let mut disk = self.fs.lock();
        let disk = &mut *disk;
        if let (Some(reader), Some(content)) = (&mut disk.reader, disk.tree.file(self.ino)) {
            reader.read(self.ino, content, offset, len);
        }
        if disk.fires(FaultKind::ReadError) {
            return Err(FsError::new(ErrorKind::Io, "read", &self.path));
        }
        let mut bytes = disk.tree.file(self.ino).map_or_else(Bytes::new, |c| c.read(offset, len));
        if bytes.len() > 1 && disk.fires(FaultKind::ShortRead) {
            let len = disk.faults.as_mut().map_or(bytes.len(), |f| f.shorten(bytes.len()));
            bytes.truncate(len);
        }
        Ok(bytes)
    }

    async fn has_sha256(&self, sha256: &[u8]) -> Result<bool> {
        let known = self.fs.lock().has_sha256(self.ino, sha256);
        match known {
            Some(known) => Ok(known),
            None => Ok(self.sha256().await? == *sha256),
        }
    }

    async fn knows_sha256(&self, len: u64, sha256: &[u8]) -> Result<Option<bool>> {
        Ok(self.fs.lock().knows_sha256(self.ino, len, sha256))
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> Result<usize> {
        self.for_writing("write")?.write(self.ino, &self.path, offset, &data)
    }

    async fn set_len(&self, len: u64) -> Result<()> {
        let mut disk = self.for_writing("truncate")?;
        disk.set_len(self.ino, &self.path, len)?;
        if len == 0 {
            disk.emptied.insert(self.ino);
        }
        Ok(())
    }

    async fn metadata(&self) -> Result<Metadata> {
        Ok(self.fs.lock().metadata(self.ino))
    }

    async fn sync_data(&self) -> Result<()> {
        self.fs.lock().sync("fdatasync", &self.path, What::SyncFile(self.ino))
    }

    async fn sync_all(&self) -> Result<()> {
        self.fs.lock().sync("fsync", &self.path, What::SyncFile(self.ino))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.fs.lock();
        if disk.emptied.remove(&self.ino) {
            disk.push(|| format!("close {}", self.path), || What::CloseTruncated(self.ino));
        }
        if let Some(count) = disk.handles.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                disk.handles.remove(&self.ino);
                disk.forget_if_unused(self.ino);
            }
        }
    }
}
