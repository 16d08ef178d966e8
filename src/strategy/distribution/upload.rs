//! Upload sessions: `data`, `startedat` and the states of the hash, and how they become a blob.
//!
//! Nothing is kept in memory between two requests: each opens the session anew and closes it, and most of what
//! happens on the disk happens at that close. A state of the hash that stands at the length of `data` is trusted
//! without a look at `data`, so an upload can pass its verification over bytes that a crash has lost.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Distribution;
use super::driver::{Driver, FileWriter};
use crate::env::clock::UnixSeconds;
use crate::env::limits::IO_CHUNK_BYTES;
use crate::fs::{ErrorKind, File, FileExt, Fs, FsExt, OpenMode};
use crate::oci::{Algorithm, Digest, Hasher, Name, UploadId};
use crate::strategy::{Body, Error, Result, hashstate, layout};

/// Longest `startedat` that is read; RFC 3339 with nanoseconds and an offset takes 35 bytes.
const MAX_STARTED_AT_BYTES: u64 = 64;
/// The last second of year 9999, the last that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// A session that is open for one request.
pub(super) struct BlobWriter<'a, F: Fs> {
    store: &'a Distribution<F>,
    repo: &'a Name,
    id: &'a UploadId,
    hasher: Sha256,
    /// How many bytes the hash has seen, as far as this request knows.
    hashed_bytes: u64,
    file: FileWriter<F>,
}

impl<'a, F: Fs> BlobWriter<'a, F> {
    /// Begins a session.
    pub async fn create(store: &'a Distribution<F>, repo: &'a Name, id: &'a UploadId) -> Result<Self> {
        let started_at = Bytes::from(rfc3339(store.driver.world.now()));
        store.driver.put_content(&layout::upload_started_at(repo, id), started_at).await?;
        Self::open(store, repo, id, false).await
    }

    /// Goes on with a session, which must be `at_bytes` long if that is given.
    pub async fn resume(
        store: &'a Distribution<F>,
        repo: &'a Name,
        id: &'a UploadId,
        at_bytes: Option<u64>,
    ) -> Result<Self> {
        started_at(&store.driver, repo, id).await?.ok_or_else(|| Error::UploadUnknown(id.clone()))?;
        let mut writer = Self::open(store, repo, id, true).await?;
        match at_bytes {
            Some(given_bytes) if given_bytes != writer.size() => {
                writer.close().await.ok();
                Err(Error::RangeInvalid { at_bytes: writer.size(), given_bytes })
            }
            _ => Ok(writer),
        }
    }

    async fn open(store: &'a Distribution<F>, repo: &'a Name, id: &'a UploadId, append: bool) -> Result<Self> {
        let file = store.driver.writer(&layout::upload_data(repo, id), append).await?;
        Ok(Self { store, repo, id, hasher: Sha256::new(), hashed_bytes: 0, file })
    }

    /// How many bytes the session holds.
    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Appends all of `body`. An empty one leaves the hash untouched, at 0.
    pub async fn read_from(&mut self, body: &mut dyn Body) -> Result<()> {
        let mut next = body.next().await;
        if matches!(next, Ok(None)) {
            return Ok(());
        }
        self.resume_hash().await?;
        while let Some(piece) = next? {
            let before = self.size();
            let written = self.file.write(piece.clone()).await;
            let taken = self.size() - before;
            self.hasher.update(&piece[..taken as usize]);
            self.hashed_bytes += taken;
            written?;
            next = body.next().await;
        }
        Ok(())
    }

    /// Puts the hash state, then closes `data`. When the first fails, the second is not tried.
    pub async fn close(&mut self) -> Result<()> {
        if self.driver().version.hash_states {
            let path = layout::hash_state(self.repo, self.id, Algorithm::Sha256, self.hashed_bytes);
            let state = hashstate::encode(&self.hasher);
            self.driver().put_content(&path, Bytes::copy_from_slice(&state)).await?;
        }
        Ok(self.file.close().await?)
    }

    /// Makes the session a blob and ends it. Returns the blob's length in bytes.
    pub async fn finish(&mut self, digest: &Digest) -> Result<u64> {
        self.file.commit().await?;
        self.close().await.ok();
        let (canonical, len) = self.validate(digest).await?;
        self.move_blob(&canonical).await?;
        self.store.link(&layout::layer_link(self.repo, &canonical), &canonical).await?;
        if *digest != canonical {
            self.store.link(&layout::layer_link(self.repo, digest), &canonical).await?;
        }
        self.remove().await?;
        Ok(len)
    }

    /// Ends the session without a blob: `data` first, and then, with what the close puts, all of it.
    pub async fn cancel(&mut self) -> Result<()> {
        if self.driver().version.cancels_data_first {
            if !self.file.cancel().await? {
                return Ok(());
            }
            self.close().await.ok();
        }
        self.remove().await
    }

    fn driver(&self) -> &Driver<F> {
        &self.store.driver
    }

    async fn remove(&self) -> Result<()> {
        self.driver().delete_if_there(&layout::upload_dir(self.repo, self.id)).await?;
        Ok(())
    }

    /// Brings the hash to the end of `data` if it is not there: from the state that was stored for just that length.
    /// Tells whether it is there now.
    async fn resume_hash(&mut self) -> Result<bool> {
        if !self.driver().version.hash_states {
            return Ok(false);
        }
        let size = self.size();
        if size == self.hashed_bytes {
            return Ok(true);
        }
        let path = layout::hash_state(self.repo, self.id, Algorithm::Sha256, size);
        match self.driver().fs.read(&path, 2 * hashstate::LEN_BYTES as u64).await {
            Ok(state) => {
                let corrupt = |e: hashstate::Invalid| Error::Corrupt { path, detail: e.to_string() };
                // The name tells the offset, whatever the state says of itself.
                (self.hasher, _) = hashstate::decode(&state).map_err(corrupt)?;
                self.hashed_bytes = size;
                Ok(true)
            }
            Err(e) if e.kind == ErrorKind::NotFound => {
                self.hasher = Sha256::new();
                Ok(size < self.hashed_bytes)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The canonical digest and the length of `data`, if it is what `digest` says.
    async fn validate(&mut self, digest: &Digest) -> Result<(Digest, u64)> {
        let path = layout::upload_data(self.repo, self.id);
        let size = match self.driver().fs.metadata(&path).await {
            Ok(m) if self.size() > 0 && self.size() != m.len => {
                let detail = format!("it has {} bytes, {} were written", m.len, self.size());
                return Err(Error::Corrupt { path, detail });
            }
            Ok(m) => m.len,
            Err(e) if e.kind == ErrorKind::NotFound => 0,
            Err(e) => return Err(e.into()),
        };
        let resumed = self.resume_hash().await?;
        if digest.algorithm() == Algorithm::Sha256 {
            if resumed {
                return if self.hashed() == *digest { Ok((*digest, size)) } else { Err(Error::DigestInvalid(*digest)) };
            }
            if self.hashed_bytes == size && self.hashed() == *digest {
                return Ok((*digest, size));
            }
        }
        let canonical = self.hash_data(&path, digest).await?;
        canonical.map(|canonical| (canonical, size)).ok_or(Error::DigestInvalid(*digest))
    }

    fn hashed(&self) -> Digest {
        Hasher::Sha256(self.hasher.clone()).finish()
    }

    /// Reads all of `data` (nothing where it is missing): its canonical digest, if it matches `digest`.
    async fn hash_data(&self, path: &str, digest: &Digest) -> Result<Option<Digest>> {
        let file = match self.driver().fs.open(path, OpenMode::Read).await {
            Ok(file) => Some(file),
            Err(e) if e.kind == ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        if let (Some(file), Algorithm::Sha256) = (&file, digest.algorithm()) {
            return Ok(file.has_sha256(digest.as_bytes()).await?.then_some(*digest));
        }
        let mut hashers = [Hasher::new(Algorithm::Sha256), Hasher::new(digest.algorithm())];
        let mut at = 0;
        while let Some(file) = &file {
            let piece = file.read_full(at, IO_CHUNK_BYTES).await?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            hashers.iter_mut().for_each(|hasher| hasher.update(&piece));
        }
        let [canonical, given] = hashers.map(Hasher::finish);
        Ok((given == *digest).then_some(canonical))
    }

    /// Moves `data` to its place. A place that is taken stays as it is, whatever lies there.
    async fn move_blob(&self, canonical: &Digest) -> Result<()> {
        let (data, blob) = (layout::upload_data(self.repo, self.id), layout::blob_data(canonical));
        let driver = self.driver();
        if driver.fs.exists(&blob).await? {
            return Ok(());
        }
        if *canonical == Digest::sha256(b"") && !driver.fs.exists(&data).await? {
            return Ok(driver.put_content(&blob, Bytes::new()).await?);
        }
        Ok(driver.rename(&data, &blob).await?)
    }
}

/// When a session began; `None` if there is no such session.
pub(super) async fn started_at<F: Fs>(driver: &Driver<F>, repo: &Name, id: &UploadId) -> Result<Option<UnixSeconds>> {
    let path = layout::upload_started_at(repo, id);
    let text = match driver.fs.read(&path, MAX_STARTED_AT_BYTES).await {
        Ok(text) => text,
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let time = std::str::from_utf8(&text).ok().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    match time {
        Some(time) => Ok(Some(UnixSeconds(u64::try_from(time.unix_timestamp()).unwrap_or(0)))),
        None => Err(Error::Corrupt { path, detail: format!("its {} bytes are no RFC 3339 time", text.len()) }),
    }
}

fn rfc3339(at: UnixSeconds) -> String {
    let seconds = i64::try_from(at.0.min(LAST_SECOND)).unwrap_or(0);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // Only years beyond 9999 cannot be written, and none gets here.
    time.format(&Rfc3339).unwrap_or_default()
}
