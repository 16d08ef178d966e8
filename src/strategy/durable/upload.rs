//! Upload sessions: nothing in them is synced, and yet the offset that they report is true.
//!
//! In the process that began a session, its hash and its offset stand in memory. After every chunk the hash goes to
//! `hashstates/sha256/OFFSET` too, in distribution's form. These files work as checksums: a session that is found on
//! disk is read, and the longest prefix whose hash equals a state stored for its length is what the session holds.
//! Lost, short, zeroed or stale bytes only make that prefix shorter; at worst the upload starts over.
//!
//! The inode that was found is never written to: after a torn rename it may be a blob, and after a failed sync the
//! page cache may show bytes that the disk does not have and will not get. Before the first write, what was verified
//! is copied to a file of our own, which takes its name.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Durable;
use crate::env::clock::UnixSeconds;
use crate::env::limits::{IO_CHUNK_BYTES, MAX_LINK_BYTES};
use crate::env::sync::{hold_part, see_part};
use crate::fs::{ErrorKind, File, FileExt, Fs, FsExt, OpenMode};
use crate::oci::{Algorithm, Digest, Hasher, Name, UploadId};
use crate::strategy::layout::{hash_state, hash_states_dir, upload_data, upload_dir, upload_started_at, uploads_dir};
use crate::strategy::{Body, Error, Result, hashstate};

/// A session, as far as it is verified.
#[derive(Debug, Clone)]
pub(super) struct Session {
    sha256: Sha256,
    /// How many bytes the hash covers: the session's offset. The file may be longer after a failed write.
    pub(super) offset_bytes: u64,
    /// Whether this process created the inode of `data`.
    is_ours: bool,
}

impl Session {
    /// The digest of what the session holds.
    pub(super) fn digest(&self) -> Digest {
        Hasher::Sha256(self.sha256.clone()).finish()
    }
}

impl<F: Fs> Durable<F> {
    pub(super) async fn begin_upload(&self, repo: &Name) -> Result<UploadId> {
        self.names.writable()?;
        let id: UploadId = self.world.fresh_id().parse().map_err(|e: crate::oci::InvalidWord| Error::Corrupt {
            path: uploads_dir(repo),
            detail: format!("the world gave an unusable identifier: {e}"),
        })?;
        let dir = upload_dir(repo, &id);
        let _session = self.locks.lock(&dir).await;
        // The repository's directories are relied on by links later; what is in `_uploads` is by nobody.
        self.names.make_dir(&uploads_dir(repo)).await?;
        let created = async {
            self.fs.mkdir(&dir).await?;
            let started_at = self.fs.open(&upload_started_at(repo, &id), OpenMode::CreateNew).await?;
            started_at.write_full(0, Bytes::from(format_time(self.world.now()))).await?;
            self.fs.open(&upload_data(repo, &id), OpenMode::CreateNew).await.map(|_| ())
        };
        if let Err(error) = created.await {
            let _ = self.fs.remove_tree(&dir).await;
            return Err(error.into());
        }
        let session = Session { sha256: Sha256::new(), offset_bytes: 0, is_ours: true };
        hold_part(&self.sessions, &dir).insert(dir, session);
        Ok(id)
    }

    pub(super) async fn offset_of(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        let dir = upload_dir(repo, id);
        let _session = self.locks.lock(&dir).await;
        let session = self.session(repo, id).await?;
        let offset_bytes = session.offset_bytes;
        hold_part(&self.sessions, &dir).insert(dir, session);
        Ok(offset_bytes)
    }

    pub(super) async fn append_chunk(
        &self,
        repo: &Name,
        id: &UploadId,
        at_bytes: Option<u64>,
        body: &mut dyn Body,
    ) -> Result<u64> {
        let dir = upload_dir(repo, id);
        let _session = self.locks.lock(&dir).await;
        let mut session = self.session(repo, id).await?;
        let begin = session.offset_bytes;
        let received = self.receive(repo, id, &mut session, at_bytes, body).await;
        let offset_bytes = session.offset_bytes;
        let state = Bytes::copy_from_slice(&hashstate::encode(&session.sha256));
        hold_part(&self.sessions, &dir).insert(dir, session);
        if offset_bytes > begin {
            self.write_hash_state(repo, id, offset_bytes, state).await?;
        }
        received.map(|()| offset_bytes)
    }

    /// Appends a body to a session whose lock is held. What came is in the session, even if this fails.
    pub(super) async fn receive(
        &self,
        repo: &Name,
        id: &UploadId,
        session: &mut Session,
        at_bytes: Option<u64>,
        body: &mut dyn Body,
    ) -> Result<()> {
        self.names.writable()?;
        if let Some(given_bytes) = at_bytes.filter(|at| *at != session.offset_bytes) {
            return Err(Error::RangeInvalid { at_bytes: session.offset_bytes, given_bytes });
        }
        let mut data = None;
        while let Some(piece) = body.next().await? {
            self.names.writable()?;
            let data = match &data {
                Some(data) => data,
                None => data.insert(self.open_data(repo, id, session).await?),
            };
            data.write_full(session.offset_bytes, piece.clone()).await?;
            session.sha256.update(&piece);
            session.offset_bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Ends a session whose lock is held. Leftovers are litter: this cannot fail what was done before.
    pub(super) async fn end_session(&self, repo: &Name, id: &UploadId) {
        let dir = upload_dir(repo, id);
        hold_part(&self.sessions, &dir).remove(&dir);
        if self.names.writable().is_ok() {
            let _ = self.fs.remove_tree(&dir).await;
        }
    }

    pub(super) async fn cancel(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.names.writable()?;
        let dir = upload_dir(repo, id);
        let _session = self.locks.lock(&dir).await;
        self.session(repo, id).await?;
        hold_part(&self.sessions, &dir).remove(&dir);
        Ok(self.fs.remove_tree(&dir).await?)
    }

    /// The session, from memory or from the disk.
    pub(super) async fn session(&self, repo: &Name, id: &UploadId) -> Result<Session> {
        let dir = upload_dir(repo, id);
        let known = see_part(&self.sessions, &dir).get(&dir).cloned();
        match known {
            Some(session) => Ok(session),
            None => self.find_session(repo, id).await,
        }
    }

    /// A session that someone left on disk: the longest prefix of its data that a hash state vouches for.
    async fn find_session(&self, repo: &Name, id: &UploadId) -> Result<Session> {
        let unknown = || Error::UploadUnknown(id.clone());
        self.started_at(repo, id).await?.ok_or_else(unknown)?;
        let data = match self.fs.open(&upload_data(repo, id), OpenMode::Read).await {
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::IsADirectory) => return Err(unknown()),
            other => other?,
        };
        let len_bytes = data.metadata().await?.len;
        let mut best = Session { sha256: Sha256::new(), offset_bytes: 0, is_ours: false };
        let mut hasher = best.sha256.clone();
        let mut hashed_bytes = 0;
        for offset_bytes in self.layout.hash_states(repo, id, Algorithm::Sha256).await? {
            if offset_bytes > len_bytes {
                break;
            }
            let path = hash_state(repo, id, Algorithm::Sha256, offset_bytes);
            let stored = match self.fs.read(&path, hashstate::LEN_BYTES as u64).await {
                // Longer than any state, removed, or no file: nothing that vouches for anything.
                Err(e) if e.kind != ErrorKind::Io => continue,
                other => other?,
            };
            let Some(state) = hashstate::decode(&stored).ok().filter(|(_, at)| *at == offset_bytes) else { continue };
            let is_right = match data.knows_sha256(offset_bytes, &state.0.clone().finalize()).await? {
                Some(is_right) => is_right,
                None => {
                    hash_range(&data, &mut hasher, hashed_bytes, offset_bytes).await?;
                    hashed_bytes = offset_bytes;
                    stored[..] == hashstate::encode(&hasher)
                }
            };
            if is_right {
                best = Session { sha256: state.0, offset_bytes, is_ours: false };
            }
        }
        Ok(best)
    }

    /// Opens the session's data for writing; replaces a file that was found by a copy of what is verified of it.
    pub(super) async fn open_data(&self, repo: &Name, id: &UploadId, session: &mut Session) -> Result<F::File> {
        let path = upload_data(repo, id);
        if !session.is_ours {
            self.adopt(repo, id, session).await?;
            session.is_ours = true;
        }
        match self.fs.open(&path, OpenMode::Write).await {
            Err(e) if e.kind == ErrorKind::NotFound => {
                let dir = upload_dir(repo, id);
                hold_part(&self.sessions, &dir).remove(&dir);
                Err(Error::UploadUnknown(id.clone()))
            }
            other => Ok(other?),
        }
    }

    async fn adopt(&self, repo: &Name, id: &UploadId, session: &Session) -> Result<()> {
        self.names.writable()?;
        let path = upload_data(repo, id);
        let found = self.fs.open(&path, OpenMode::Read).await?;
        let temporary = self.names.temporary(&path);
        let copy = self.fs.open(&temporary, OpenMode::CreateNew).await?;
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < session.offset_bytes {
            let len = (session.offset_bytes - at).min(IO_CHUNK_BYTES as u64) as usize;
            let piece = found.read_full(at, len).await?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
            at += piece.len() as u64;
            copy.write_full(at - piece.len() as u64, piece).await?;
        }
        // The hash that goes on counts for the copy: it must be the hash of what was copied.
        if hashstate::encode(&hasher) != hashstate::encode(&session.sha256) {
            let detail = "two reads of it gave different bytes".to_owned();
            return Err(Error::Corrupt { path, detail });
        }
        // States beyond the copy are of bytes that are gone; another registry would believe them.
        for offset_bytes in self.layout.hash_states(repo, id, Algorithm::Sha256).await? {
            if offset_bytes > session.offset_bytes {
                self.fs.unlink(&hash_state(repo, id, Algorithm::Sha256, offset_bytes)).await?;
            }
        }
        Ok(self.fs.rename(&temporary, &path).await?)
    }

    /// Writes a hash state, in place and without a sync: a torn one vouches for nothing.
    async fn write_hash_state(&self, repo: &Name, id: &UploadId, offset_bytes: u64, state: Bytes) -> Result<()> {
        self.names.writable()?;
        self.fs.create_dir_all(&hash_states_dir(repo, id, Algorithm::Sha256)).await?;
        let path = hash_state(repo, id, Algorithm::Sha256, offset_bytes);
        let file = self.fs.open(&path, OpenMode::Create).await?;
        Ok(file.write_full(0, state).await?)
    }

    /// When a session was started; `None` where that is not there or torn: then it could not be purged by its age,
    /// and counts as litter.
    pub(super) async fn started_at(&self, repo: &Name, id: &UploadId) -> Result<Option<UnixSeconds>> {
        match self.fs.read(&upload_started_at(repo, id), MAX_LINK_BYTES).await {
            Ok(content) => Ok(parse_time(&content)),
            Err(e) if e.kind == ErrorKind::Io => Err(e.into()),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn purge(&self, before: UnixSeconds, dry_run: bool) -> Result<u64> {
        if !dry_run {
            self.names.writable()?;
        }
        let mut purged = 0;
        for repo in self.layout.repositories().await? {
            for id in self.layout.uploads(&repo).await? {
                let dir = upload_dir(&repo, &id);
                let _session = self.locks.lock(&dir).await;
                if self.started_at(&repo, &id).await?.is_some_and(|at| at < before) {
                    if !dry_run {
                        hold_part(&self.sessions, &dir).remove(&dir);
                        self.fs.remove_tree(&dir).await?;
                    }
                    purged += 1;
                }
            }
        }
        Ok(purged)
    }
}

/// Adds the bytes `from..to` of a file, as far as it has them, to a hash.
async fn hash_range<H: File>(file: &H, hasher: &mut Sha256, from: u64, to: u64) -> Result<()> {
    let mut at = from;
    while at < to {
        let piece = file.read_full(at, (to - at).min(IO_CHUNK_BYTES as u64) as usize).await?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        at += piece.len() as u64;
    }
    Ok(())
}

/// RFC 3339, as distribution writes it.
fn format_time(at: UnixSeconds) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

fn parse_time(content: &[u8]) -> Option<UnixSeconds> {
    let time = OffsetDateTime::parse(std::str::from_utf8(content).ok()?, &Rfc3339).ok()?;
    Some(UnixSeconds(u64::try_from(time.unix_timestamp()).unwrap_or(0)))
}
