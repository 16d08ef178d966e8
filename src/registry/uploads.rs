//! Upload sessions: start, append, ask, cancel, commit; and the mount, which is an upload that needs none.

use super::{Body, Error, Registry, Result, blob_descriptor};
use crate::fs::Fs;
use crate::oci::{Descriptor, Digest, Name, UploadId};

impl<F: Fs> Registry<F> {
    /// Opens an upload session.
    pub async fn start_upload(&self, repo: &Name) -> Result<UploadId> {
        self.strategy.start_upload(repo).await
    }

    /// How many bytes the session holds: where the next chunk has to begin.
    pub async fn upload_offset(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        self.strategy.upload_offset(repo, id).await
    }

    /// Appends a chunk, piece by piece as it comes, and returns the new offset. With `at_bytes`, a chunk that does
    /// not begin at the end is refused ([`Error::RangeInvalid`]) and nothing is lost. When the
    /// body breaks off, what came so far is kept.
    pub async fn append(&self, repo: &Name, id: &UploadId, at_bytes: Option<u64>, body: &mut dyn Body) -> Result<u64> {
        self.strategy.append(repo, id, at_bytes, body).await
    }

    /// Ends the session without a blob.
    pub async fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.strategy.cancel_upload(repo, id).await
    }

    /// Appends a last chunk (none where the body is empty), verifies the whole against `digest`, and makes it a blob
    /// of `repo`; the session is over.
    pub async fn commit(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        body: &mut dyn Body,
    ) -> Result<Descriptor> {
        let size = self.strategy.commit(repo, id, digest, at_bytes, body).await?;
        Ok(blob_descriptor(digest, size))
    }

    /// A whole blob at once: a session that begins and ends here, whatever comes of it.
    pub async fn push_blob(&self, repo: &Name, digest: &Digest, body: &mut dyn Body) -> Result<Descriptor> {
        let id = self.start_upload(repo).await?;
        let pushed = self.commit(repo, &id, digest, None, body).await;
        if pushed.is_err() {
            // Some strategies have ended it already; what is left is purged in the end.
            let _ = self.cancel_upload(repo, &id).await;
        }
        pushed
    }

    /// Makes a blob of `from` a blob of `repo` too, without its bytes travelling.
    pub async fn mount(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<Descriptor> {
        let size = self.strategy.mount(repo, from, digest).await?;
        Ok(blob_descriptor(digest, size))
    }

    /// As [`mount`](Self::mount), from the first repository that has the blob and that `may_pull` lets through.
    /// Returns that repository too. [`Error::BlobUnknown`] where there is none.
    pub async fn mount_from_any(
        &self,
        repo: &Name,
        digest: &Digest,
        may_pull: impl Fn(&Name) -> bool + Send + Sync,
    ) -> Result<(Descriptor, Name)> {
        // Most blobs that are asked for are new: they must not cost a look into every repository.
        if self.strategy.has_content(digest).await? {
            for from in self.strategy.repositories().await? {
                if !may_pull(&from) {
                    continue;
                }
                match self.mount(repo, &from, digest).await {
                    Err(Error::BlobUnknown(_) | Error::NameUnknown(_)) => {}
                    mounted => return Ok((mounted?, from)),
                }
            }
        }
        Err(Error::BlobUnknown(*digest))
    }
}
