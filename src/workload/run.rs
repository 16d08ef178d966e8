//! Running operations against a registry, one after the other, with a mark where each begins and is answered.
//!
//! A workload is meant to go well: an operation that is refused, or that leaves the registry in another state than
//! the next one needs, ends the run with an error. Nothing is tried twice.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::op::{Op, UploadKey};
use crate::check::contents::{Contents, Kind};
use crate::check::oracle::Mark;
use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::fs::Fs;
use crate::oci::{Digest, Name, Reference, UploadId};
use crate::registry::{Error, OpenError, Registry};
use crate::strategy::{CollectOptions, Protocol};

/// The upload sessions that a run opened.
pub type Sessions = BTreeMap<UploadKey, Session>;

/// One upload session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The repository.
    pub repo: Name,
    /// What is being uploaded.
    pub content: Digest,
    /// The identifier that the registry gave it.
    pub id: UploadId,
    /// How many bytes were sent and answered.
    pub sent_bytes: u64,
}

/// An operation of a workload went wrong: the workload, the strategy or the harness has a bug, or a fault was
/// injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The registry refused it.
    #[error("the operation {op:?} was refused: {why}")]
    Refused {
        /// The operation, printed.
        op: String,
        /// The registry's answer.
        why: Error,
    },
    /// The registry could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It names an upload or content that the workload does not have, or an answer is not what it must be.
    #[error("the operation {op:?} makes no sense: {why}")]
    Senseless {
        /// The operation, printed.
        op: String,
        /// Why not.
        why: String,
    },
}

/// A registry and what its clients remember.
pub struct Runner<'c, F: Fs, P: Protocol + ?Sized = str> {
    strategy: &'c P,
    fs: F,
    world: World,
    contents: &'c Contents,
    registry: Registry<F>,
    sessions: Sessions,
}

/// Opens the registry on `fs` and runs `ops`; returns the upload sessions that they opened. `on_mark` is called when
/// an operation begins and when it was answered, with its index in `ops`.
pub async fn run<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    fs: F,
    world: World,
    contents: &Contents,
    ops: &[Op],
    mut on_mark: impl FnMut(Mark),
) -> Result<Sessions, RunError> {
    let mut runner = Runner::open(strategy, fs, world, contents).await?;
    for (i, op) in ops.iter().enumerate() {
        on_mark(Mark::Begin(i));
        runner.step(op).await?;
        on_mark(Mark::End(i));
    }
    Ok(runner.sessions)
}

/// As [`run`], and what is refused is tried again at once, as clients do that are told of an error: what was being
/// uploaded is sent again from its beginning. What is refused once more ends it.
pub async fn insist<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    fs: F,
    world: World,
    contents: &Contents,
    ops: &[Op],
    mut on_mark: impl FnMut(Mark),
) -> Result<(), RunError> {
    let mut runner = Runner::open(strategy, fs, world, contents).await?;
    for (i, op) in ops.iter().enumerate() {
        on_mark(Mark::Begin(i));
        if runner.step(op).await.is_err() {
            if let Some(upload) = op.upload() {
                runner.sessions.remove(&upload);
            }
            runner.again(op, ops).await?;
        }
        on_mark(Mark::End(i));
    }
    Ok(())
}

/// Goes on after a crash of the process behind the first `passed` of the marks of `ops`: opens the registry anew, tries
/// what was under way again, and runs the rest, as clients do that got no answer. A blob that was being uploaded is
/// sent again from its beginning; a deletion that finds nothing left has succeeded. `on_mark` is told of what is tried
/// again as well, though it had begun before.
pub async fn again<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    fs: F,
    world: World,
    contents: &Contents,
    ops: &[Op],
    passed: usize,
    mut on_mark: impl FnMut(Mark),
) -> Result<(), RunError> {
    let mut runner = Runner::open(strategy, fs, world, contents).await?;
    for (i, op) in ops.iter().enumerate().skip(passed / 2) {
        on_mark(Mark::Begin(i));
        runner.again(op, ops).await?;
        on_mark(Mark::End(i));
    }
    Ok(())
}

impl<'c, F: Fs, P: Protocol + ?Sized> Runner<'c, F, P> {
    /// Opens the registry that `fs` holds, as a restart does.
    pub async fn open(strategy: &'c P, fs: F, world: World, contents: &'c Contents) -> Result<Self, RunError> {
        let registry = Registry::open(strategy, fs.clone(), world.clone()).await?;
        Ok(Self { strategy, fs, world, contents, registry, sessions: Sessions::new() })
    }

    /// A further client of the same registry, who knows `sessions`.
    pub fn beside(&self, sessions: Sessions) -> Self {
        let (fs, world) = (self.fs.clone(), self.world.clone());
        Self { strategy: self.strategy, fs, world, contents: self.contents, registry: self.registry.clone(), sessions }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry<F> {
        &self.registry
    }

    /// The upload sessions so far.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Runs one operation to its answer.
    pub async fn step(&mut self, op: &Op) -> Result<(), RunError> {
        let registry = self.registry.clone();
        let refused = |why| RunError::Refused { op: op.to_string(), why };
        match op {
            Op::StartUpload { upload, repo, content } => {
                let id = registry.start_upload(repo).await.map_err(refused)?;
                let session = Session { repo: repo.clone(), content: *content, id, sent_bytes: 0 };
                self.sessions.insert(*upload, session);
            }
            Op::Append { upload, bytes } => {
                let sent_bytes = self.session(op, *upload)?.sent_bytes;
                self.append(op, *upload, sent_bytes, *bytes).await?;
            }
            Op::Resume { upload } => {
                let session = self.session(op, *upload)?;
                let offset = registry.upload_offset(&session.repo, &session.id).await.map_err(refused)?;
                self.append(op, *upload, offset, u64::MAX).await?;
            }
            Op::Commit { upload } => {
                let session = self.session(op, *upload)?.clone();
                let rest = self.chunk(op, &session.content, session.sent_bytes, u64::MAX)?;
                let mut body = Some(rest);
                let (at, digest) = (Some(session.sent_bytes), &session.content);
                registry.commit(&session.repo, &session.id, digest, at, &mut body).await.map_err(refused)?;
            }
            Op::Mount { repo, from, content } => drop(registry.mount(repo, from, content).await.map_err(refused)?),
            Op::PutManifest { repo, content, tag } => self.put_manifest(op, repo, content, tag.clone()).await?,
            Op::DeleteManifest { repo, content } => {
                registry.delete_manifest(repo, &Reference::Digest(*content)).await.map_err(refused)?;
            }
            Op::DeleteTag { repo, tag } => {
                registry.delete_manifest(repo, &Reference::Tag(tag.clone())).await.map_err(refused)?;
            }
            Op::DeleteBlob { repo, content } => registry.delete_blob(repo, content).await.map_err(refused)?,
            Op::Collect { exclusive } => {
                let options = CollectOptions { exclusive: *exclusive, ..CollectOptions::default() };
                registry.collect(options).await.map_err(refused)?;
            }
            Op::CollectLitter => drop(registry.collect_litter().await.map_err(refused)?),
            Op::PurgeUploads => {
                registry.strategy().purge_uploads(UnixSeconds(u64::MAX), false).await.map_err(refused)?;
            }
            Op::Restart => self.registry = Registry::open(self.strategy, self.fs.clone(), self.world.clone()).await?,
        }
        Ok(())
    }

    /// Runs one of `ops` that may have been tried before. An upload whose session is not known begins anew; a deletion
    /// that finds nothing left has succeeded.
    async fn again(&mut self, op: &Op, ops: &[Op]) -> Result<(), RunError> {
        if let Some(upload) = op.upload().filter(|upload| !self.sessions.contains_key(upload)) {
            let start = ops.iter().find(|o| matches!(o, Op::StartUpload { upload: u, .. } if *u == upload));
            self.step(start.unwrap_or(op)).await?;
        }
        match self.step(op).await {
            Err(RunError::Refused { why: Error::ManifestUnknown(_) | Error::BlobUnknown(_), .. })
                if matches!(op, Op::DeleteManifest { .. } | Op::DeleteTag { .. } | Op::DeleteBlob { .. }) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn put_manifest(
        &self,
        op: &Op,
        repo: &Name,
        content: &Digest,
        tag: Option<crate::oci::Tag>,
    ) -> Result<(), RunError> {
        let known = self.contents.get(content).and_then(|c| match &c.kind {
            Kind::Manifest { media_type, .. } => Some((media_type, &c.bytes)),
            Kind::Blob => None,
        });
        let (media_type, bytes) = known.ok_or_else(|| senseless(op, format!("{content} is no known manifest")))?;
        let reference = tag.map_or(Reference::Digest(*content), Reference::Tag);
        let answer = self.registry.put_manifest(repo, &reference, Some(media_type), bytes.clone()).await;
        let digest = answer.map_err(|why| RunError::Refused { op: op.to_string(), why })?;
        if digest == *content { Ok(()) } else { Err(senseless(op, format!("it was stored as {digest}"))) }
    }

    async fn append(&mut self, op: &Op, upload: UploadKey, at_bytes: u64, bytes: u64) -> Result<(), RunError> {
        let session = self.session(op, upload)?.clone();
        let chunk = self.chunk(op, &session.content, at_bytes, bytes)?;
        let expected = at_bytes + chunk.len() as u64;
        let answer = self.registry.append(&session.repo, &session.id, Some(at_bytes), &mut Some(chunk)).await;
        let offset = answer.map_err(|why| RunError::Refused { op: op.to_string(), why })?;
        if offset != expected {
            return Err(senseless(op, format!("the upload is at {offset} bytes and should be at {expected}")));
        }
        if let Some(session) = self.sessions.get_mut(&upload) {
            session.sent_bytes = offset;
        }
        Ok(())
    }

    fn session(&self, op: &Op, upload: UploadKey) -> Result<&Session, RunError> {
        self.sessions.get(&upload).ok_or_else(|| senseless(op, format!("upload {upload} was not started")))
    }

    /// At most `bytes` bytes of known content, from `at_bytes` on.
    fn chunk(&self, op: &Op, content: &Digest, at_bytes: u64, bytes: u64) -> Result<Bytes, RunError> {
        let whole = self.contents.get(content).map(|c| &c.bytes);
        let whole = whole.ok_or_else(|| senseless(op, format!("{content} is not known")))?;
        let len = whole.len() as u64;
        if at_bytes > len {
            return Err(senseless(op, format!("the upload is at {at_bytes} bytes, {content} has {len}")));
        }
        let end = at_bytes.saturating_add(bytes).min(len);
        Ok(whole.slice(at_bytes as usize..end as usize))
    }
}

fn senseless(op: &Op, why: String) -> RunError {
    RunError::Senseless { op: op.to_string(), why }
}
