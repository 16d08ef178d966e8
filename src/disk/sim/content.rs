//! What calls do to one file: bytes, lengths, syncs, and what a failed sync or the byte budget makes of them.

use std::sync::Arc;

use bytes::Bytes;

use super::{Disk, apply};
use crate::disk::effect::{Effect, Record, SECTOR_BYTES, SECTORS_PER_BLOCK, SectorWrite, What};
use crate::disk::fault::{FailedPages, FaultKind};
use crate::disk::tree::{Ino, Node};
use crate::fs::{ErrorKind, FileKind, FsError, Metadata, Result};

impl Disk {
    fn used_bytes(&self) -> u64 {
        let sectors = |n: &Arc<Node>| if let Node::File(c) = &**n { c.sectors.len() as u64 } else { 0 };
        self.tree.nodes().map(|(_, n)| sectors(n)).sum::<u64>() * SECTOR_BYTES
    }

    /// How many of `len` bytes at `offset` fit into the byte budget: all, or those before the first sector that
    /// cannot be allocated.
    fn fitting(&self, ino: Ino, offset: u64, len: usize) -> usize {
        let Some(capacity) = self.capacity_bytes else { return len };
        let mut free = capacity.saturating_sub(self.used_bytes()) / SECTOR_BYTES;
        let end = offset + len as u64;
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            if self.tree.file(ino).is_some_and(|c| c.sectors.contains_key(&sector)) {
                continue;
            }
            if free == 0 {
                return (sector * SECTOR_BYTES).saturating_sub(offset) as usize;
            }
            free -= 1;
        }
        len
    }

    /// Whether a file's bytes hash to `sha256`, where that is known without reading them.
    pub(super) fn has_sha256(&mut self, ino: Ino, sha256: &[u8]) -> Option<bool> {
        // Faults fire at reads.
        let reader = self.reader.as_mut().filter(|_| self.faults.is_none())?;
        reader.has_sha256(&self.tree, ino, sha256)
    }

    /// Whether a file's first bytes hash to `sha256`, where that is known without reading them.
    pub(super) fn knows_sha256(&mut self, ino: Ino, len: u64, sha256: &[u8]) -> Option<bool> {
        let reader = self.reader.as_mut().filter(|_| self.faults.is_none())?;
        reader.knows_sha256(&self.tree, ino, len, sha256)
    }

    pub(super) fn write(&mut self, ino: Ino, path: &str, offset: u64, data: &Bytes) -> Result<usize> {
        self.writable("write", path)?;
        if data.is_empty() {
            return Ok(0);
        }
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(FsError::new(ErrorKind::InvalidInput, "write", path));
        }
        if self.fires(FaultKind::WriteError) {
            return Err(FsError::new(ErrorKind::Io, "write", path));
        }
        let mut len = data.len();
        if len > 1 && self.fires(FaultKind::ShortWrite) {
            len = self.faults.as_mut().map_or(len, |f| f.shorten(len));
        }
        let fits = self.fitting(ino, offset, len);
        if fits < len {
            self.no_space += 1;
            if fits == 0 {
                return Err(FsError::new(ErrorKind::NoSpace, "write", path));
            }
        }
        let data = data.slice(..fits);
        let Some(content) = self.tree.file(ino) else { return Err(FsError::new(ErrorKind::NotFound, "write", path)) };
        let end = offset + data.len() as u64;
        *self.changes.entry(ino).or_default() += 1;
        if let Some(reader) = &mut self.reader {
            reader.wrote(ino, offset..end, content.len);
        }
        let mut effects: Vec<Effect> = Vec::new();
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let write = SectorWrite {
                sector,
                bytes: content.merged(sector, offset, &data),
                fresh: !content.sectors.contains_key(&sector),
            };
            let block = sector / SECTORS_PER_BLOCK;
            match effects.last_mut() {
                Some(Effect::Block { index, sectors, .. }) if *index == block => sectors.push(write),
                _ => effects.push(Effect::Block { inode: ino, index: block, sectors: vec![write] }),
            }
        }
        if end > content.len {
            effects.push(Effect::Size { inode: ino, before: content.len, after: end });
        }
        self.execute(|| format!("write {path} {}", data.len()), effects);
        Ok(data.len())
    }

    pub(super) fn set_len(&mut self, ino: Ino, path: &str, len: u64) -> Result<()> {
        self.writable("truncate", path)?;
        if len > i64::MAX as u64 {
            return Err(FsError::new(ErrorKind::InvalidInput, "truncate", path));
        }
        let Some(content) = self.tree.file(ino) else {
            return Err(FsError::new(ErrorKind::NotFound, "truncate", path));
        };
        *self.changes.entry(ino).or_default() += 1;
        if let Some(reader) = &mut self.reader {
            reader.set_len(ino, content.len, len);
        }
        let effects = if content.len == len {
            Vec::new()
        } else {
            vec![Effect::Size { inode: ino, before: content.len, after: len }]
        };
        self.execute(|| format!("truncate {path} {len}"), effects);
        Ok(())
    }

    /// fsync: `what` is what a success logs.
    pub(super) fn sync(&mut self, call: &'static str, path: &str, what: What) -> Result<()> {
        self.writable(call, path)?;
        if !self.fires(FaultKind::SyncFailure) {
            let shown = if path.is_empty() { call.to_owned() } else { format!("{call} {path}") };
            self.push(|| shown, || what);
            return Ok(());
        }
        match (what, self.faults.as_ref().map(|faults| faults.rates.failed_pages).unwrap_or_default()) {
            (_, FailedPages::StayDirty) => {}
            (What::SyncFile(ino), pages) => {
                self.push(|| format!("{call} {path} = EIO"), || What::SyncFailed(ino));
                if pages == FailedPages::Revert {
                    self.revert(ino, path);
                }
            }
            _ => self.read_only = true,
        }
        Err(FsError::new(ErrorKind::Io, call, path))
    }

    /// Puts a file's bytes back to what the last completed sync of it left, and logs that as a change.
    fn revert(&mut self, ino: Ino, path: &str) {
        let covers = |r: &Record| matches!(&r.what, What::SyncFs) || r.what == What::SyncFile(ino);
        let synced = self.log.iter().rposition(covers).map_or(0, |i| i + 1);
        let mut tree = self.base.clone();
        tree.ensure(ino, || Node::empty(FileKind::File));
        for effect in self.log[..synced].iter().flat_map(Record::effects) {
            if let Effect::Size { .. } | Effect::Block { .. } = effect {
                apply(&mut tree, effect);
            }
        }
        let (Some(old), Some(now)) = (tree.file(ino), self.tree.file(ino)) else { return };
        let size = Effect::Size { inode: ino, before: now.len, after: old.len };
        let (shrinks, grows) = (old.len < now.len, old.len > now.len);
        let mut effects: Vec<Effect> = shrinks.then(|| size.clone()).into_iter().collect();
        for (sector, bytes) in old.sectors.iter().filter(|(s, b)| now.sectors.get(s) != Some(b)) {
            let write = SectorWrite { sector: *sector, bytes: bytes.clone(), fresh: false };
            effects.push(Effect::Block { inode: ino, index: sector / SECTORS_PER_BLOCK, sectors: vec![write] });
        }
        // As a write does, it grows last.
        effects.extend(grows.then_some(size));
        self.execute(|| format!("revert {path}"), effects);
    }

    pub(super) fn overwrite_at_rest(&mut self, ino: Ino, offset: u64, data: Bytes) {
        for tree in [&mut self.tree, &mut self.base] {
            if let Some(content) = tree.file_mut(ino) {
                let sector = offset / SECTOR_BYTES;
                let merged = content.merged(sector, offset, &data);
                content.sectors.insert(sector, merged);
            }
        }
    }

    pub(super) fn metadata(&mut self, ino: Ino) -> Metadata {
        if let (Some(reader), Some(_)) = (&mut self.reader, self.tree.file(ino)) {
            reader.measured(ino);
        }
        let (kind, len) = match self.tree.node(ino).map(|n| &**n) {
            Some(Node::File(content)) => (FileKind::File, content.len),
            _ => (FileKind::Dir, 0),
        };
        let change = self.changes.get(&ino).copied().unwrap_or_default();
        Metadata { kind, len, ino: u64::from(ino.0), change }
    }
}
