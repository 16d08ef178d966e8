//! Blobs and the links to them: commit, mount, open, delete.
//!
//! "It exists" says neither that it is durable nor that it is right. Whoever relies on a blob looks at its bytes
//! ([`Durable::verified`]) and settles its path. What does not hold is treated as absent, so that the client is told to
//! push it again, and the push puts a new file in its place. A file that was looked at is trusted for
//! [`VERIFIED_FOR_SECONDS`], in this process, unless somebody writes to it: hashing every pull would cost more than
//! the pull.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;

use super::{Durable, fence::Hold, upload::Session};
use crate::env::clock::UnixSeconds;
use crate::env::limits::IO_CHUNK_BYTES;
use crate::env::sync::{KeyGuard, hold_part, see_part};
use crate::fs::{ErrorKind, File, FileExt, Fs, Metadata, OpenMode, split};
use crate::oci::{Algorithm, Digest, Hasher, Name, UploadId};
use crate::strategy::layout::{LinkFile, blob_data, blob_dir, layer_link, upload_data, upload_dir};
use crate::strategy::{Blob, Body, Error, Result};

/// How many verified files are remembered: about 16 MiB.
const MAX_VERIFIED: usize = 1 << 16;
/// How long a file is trusted after its bytes were looked at, in seconds.
pub const VERIFIED_FOR_SECONDS: u64 = 24 * 60 * 60;

/// The files whose bytes were seen to have the digest `named`, by (`named`, the digest they lie under): what the file
/// was then, so that another one at the same place is looked at again, and when that was.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<BTreeMap<(Digest, Digest), (Metadata, UnixSeconds)>>);

impl Verified {
    fn knows(&self, named: &Digest, target: &Digest, file: Metadata, now: UnixSeconds) -> bool {
        let key = (*named, *target);
        let known = see_part(&self.0, &key).get(&key).copied();
        known.is_some_and(|(seen, at)| seen == file && now.0.abs_diff(at.0) < VERIFIED_FOR_SECONDS)
    }

    fn remember(&self, named: &Digest, target: &Digest, file: Metadata, now: UnixSeconds) {
        let mut known = hold_part(&self.0, &(*named, *target));
        if known.len() >= MAX_VERIFIED {
            known.pop_first();
        }
        known.insert((*named, *target), (file, now));
    }
}

/// The digest that a link named `named` leads to: `None` where it is torn, or leads elsewhere than its name says.
/// Content lies under its sha256 digest alone; a link by another algorithm is an alias.
pub(super) fn link_target(named: &Digest, link: Option<LinkFile>) -> Option<Digest> {
    let target = link?.ok()?;
    let is_alias = named.algorithm() != Algorithm::Sha256;
    (target.algorithm() == Algorithm::Sha256 && (is_alias || target == *named)).then_some(target)
}

impl<F: Fs> Durable<F> {
    pub(super) async fn commit_upload(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        last: &mut dyn Body,
    ) -> Result<u64> {
        let dir = upload_dir(repo, id);
        let _session = self.locks.lock(&dir).await;
        let mut session = self.session(repo, id).await?;
        let done = async {
            self.receive(repo, id, &mut session, at_bytes, last).await?;
            self.make_blob(repo, id, digest, &mut session).await
        };
        let done = done.await;
        let len_bytes = session.offset_bytes;
        if done.is_ok() {
            self.end_session(repo, id).await;
        } else {
            hold_part(&self.sessions, &dir).insert(dir, session);
        }
        // Held to the end: a client that has no answer yet cannot have pushed what references the blob.
        done.map(|_held| len_bytes)
    }

    /// Makes a whole session a blob of the repository, named by its sha256 digest and, if that is another, `digest`.
    async fn make_blob(&self, repo: &Name, id: &UploadId, digest: &Digest, session: &mut Session) -> Result<Hold<'_>> {
        let canonical = session.digest();
        if digest.algorithm() == Algorithm::Sha256 && *digest != canonical {
            return Err(Error::DigestInvalid(*digest));
        }
        let held = self.fence.hold([canonical, *digest]);
        let _locks = self.lock_digests(&[canonical, *digest]).await;
        if self.verified(&canonical, &canonical).await?.is_none() {
            let data = self.open_data(repo, id, session).await?;
            if data.metadata().await?.len != session.offset_bytes {
                // The rest of a write that failed.
                data.set_len(session.offset_bytes).await?;
            }
            if *digest != canonical && !has_digests(&data, session.offset_bytes, &[*digest]).await? {
                return Err(Error::DigestInvalid(*digest));
            }
            self.names.sync_file(&data).await?;
            self.names.make_dir(&blob_dir(&canonical)).await?;
            let path = blob_data(&canonical);
            self.names.rename(&upload_data(repo, id), &path).await?;
            self.names.settle(&path).await?;
            self.verified.remember(&canonical, &canonical, data.metadata().await?, self.world.now());
        } else if self.verified(digest, &canonical).await?.is_none() {
            return Err(Error::DigestInvalid(*digest));
        }
        self.link_blob(repo, digest, &canonical).await?;
        Ok(held)
    }

    /// Links a blob under its own digest and under `digest`. The locks of both are held, and the blob is durable.
    async fn link_blob(&self, repo: &Name, digest: &Digest, canonical: &Digest) -> Result<()> {
        self.put_link(&layer_link(repo, canonical), canonical).await?;
        if digest != canonical {
            self.put_link(&layer_link(repo, digest), canonical).await?;
        }
        Ok(())
    }

    pub(super) async fn mount_blob(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<u64> {
        self.names.writable()?;
        let unknown = || Error::BlobUnknown(*digest);
        let source = layer_link(from, digest);
        let _hold = self.fence.hold([*digest]);
        let target = link_target(digest, self.layout.read_link(&source).await?).ok_or_else(unknown)?;
        let _hold_target = self.fence.hold([target]);
        let _locks = self.lock_digests(&[target, *digest]).await;
        // Before the locks were ours the link may have been deleted.
        if link_target(digest, self.layout.read_link(&source).await?) != Some(target) {
            return Err(unknown());
        }
        let blob = self.verified(digest, &target).await?.ok_or_else(unknown)?;
        self.link_blob(repo, digest, &target).await?;
        Ok(blob.len)
    }

    pub(super) async fn find_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>> {
        let target = self.follow(&layer_link(repo, digest), digest).await?;
        let blob = match target {
            Some(target) => self.verified(digest, &target).await?,
            None => None,
        };
        blob.ok_or(Error::BlobUnknown(*digest))
    }

    pub(super) async fn unlink_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let _lock = self.lock_digests(&[*digest]).await;
        self.remove_link(&layer_link(repo, digest)).await?.ok_or(Error::BlobUnknown(*digest))
    }

    /// Locks digests, in the one order that all tasks share.
    pub(super) async fn lock_digests(&self, digests: &[Digest]) -> Vec<KeyGuard<'_>> {
        let mut digests = digests.to_vec();
        digests.sort();
        digests.dedup();
        let mut guards = Vec::with_capacity(digests.len());
        for digest in digests {
            guards.push(self.locks.lock(&digest.to_string()).await);
        }
        guards
    }

    /// Where the link at `path`, whose name is `named`, leads; nothing that a crash could take back, or bring back.
    pub(super) async fn follow(&self, path: &str, named: &Digest) -> Result<Option<Digest>> {
        let link = self.layout.read_link(path).await?;
        self.names.settle(path).await?;
        Ok(link_target(named, link))
    }

    /// Puts a link, unless the right one is there. Its object's lock is held, and the content is durable.
    pub(super) async fn put_link(&self, path: &str, target: &Digest) -> Result<()> {
        if self.layout.read_link(path).await? == Some(Ok(*target)) {
            return self.names.settle(path).await;
        }
        self.names.make_dir(split(path).map_or("", |(dir, _)| dir)).await?;
        self.names.put(path, Bytes::from(target.to_string())).await
    }

    /// Removes a link, torn or not, for good, and then its directory; `None` if there is none.
    pub(super) async fn remove_link(&self, path: &str) -> Result<Option<()>> {
        self.names.writable()?;
        let found = self.layout.read_link(path).await?;
        let removed = if found.is_some() { Some(self.names.unlink(path).await?) } else { None };
        self.names.settle(path).await?;
        if let Some(removed) = removed {
            self.names.let_go(removed).await;
        }
        if let (Some(_), Some((dir, _))) = (&found, split(path)) {
            // The promise is kept by now: where this fails, an empty directory is litter.
            let _ = self.names.remove_dir(dir).await;
        }
        Ok(found.map(|_| ()))
    }

    /// Opens the content of `target` (a sha256 digest) if its bytes are those of `target` and of `named`, durably.
    pub(super) async fn verified(&self, named: &Digest, target: &Digest) -> Result<Option<Blob<F::File>>> {
        let path = blob_data(target);
        let file = match self.fs.open(&path, OpenMode::Read).await {
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
                return Ok(None);
            }
            other => other?,
        };
        self.names.settle(&path).await?;
        let found = file.metadata().await?;
        let now = self.world.now();
        if !self.verified.knows(named, target, found, now) {
            if !has_digests(&file, found.len, &[*target, *named]).await? {
                return Ok(None);
            }
            self.verified.remember(named, target, found, now);
        }
        Ok(Some(Blob { file, len: found.len, path }))
    }
}

/// Whether the first `len` bytes of a file, all of which must be there, have all of `digests`.
async fn has_digests<H: File>(file: &H, len: u64, digests: &[Digest]) -> Result<bool> {
    if let Some(known) = knows_digests(file, len, digests).await? {
        return Ok(known);
    }
    let mut hashers: Vec<(Digest, Hasher)> = digests.iter().map(|d| (*d, Hasher::new(d.algorithm()))).collect();
    hashers.dedup_by_key(|(digest, _)| *digest);
    let mut at = 0;
    while at < len {
        let piece = file.read_full(at, (len - at).min(IO_CHUNK_BYTES as u64) as usize).await?;
        if piece.is_empty() {
            return Ok(false);
        }
        hashers.iter_mut().for_each(|(_, hasher)| hasher.update(&piece));
        at += piece.len() as u64;
    }
    Ok(hashers.into_iter().all(|(digest, hasher)| hasher.finish() == digest))
}

/// The same, where the file system knows it without reading.
async fn knows_digests<H: File>(file: &H, len: u64, digests: &[Digest]) -> Result<Option<bool>> {
    for digest in digests {
        match (digest.algorithm(), file.knows_sha256(len, digest.as_bytes()).await?) {
            (Algorithm::Sha256, Some(true)) => {}
            (Algorithm::Sha256, known) => return Ok(known),
            _ => return Ok(None),
        }
    }
    Ok(Some(true))
}
