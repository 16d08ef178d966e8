//! A limit on the bytes that a repository holds: a decorator of a [`Strategy`].
//!
//! What counts is content, once each: the blobs that the repository links and its manifests, whoever else has them. It
//! is admitted before it is linked, never after:
//!
//! - A commit is admitted when its body has ended, so that its length is known, before it is verified and linked; where
//!   the request says how long it is, it is refused before it is read. Until then an upload is let in, unless it is
//!   longer than the whole limit. What came stays in the session, as with any error.
//! - A mount and a manifest are admitted before anything is written. What the repository has already is free.
//! - What was admitted is reserved until it is linked, or is not: two pushes never share what is left, and two pushes
//!   of one blob need its bytes once.
//!
//! Counts are kept in memory and taken from storage: when a repository is first written to after a start, after each
//! deletion and collection, and after an operation of which it is not known what it did. What a repository holds when
//! its limit is set stays, whatever the limit.

mod usage;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Body, Result};
use crate::env::clock::UnixSeconds;
use crate::fs::Fs;
use crate::oci::{Digest, Name, Tag, UploadId};
use crate::strategy::{Blob, CollectOptions, Collected, Link, Strategy};
use usage::{Books, Ticket, denied};

/// How much repositories may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaOptions {
    /// For every repository that has no limit of its own; `None` for any amount.
    pub default_limit_bytes: Option<u64>,
    /// For single repositories.
    pub limit_bytes: BTreeMap<Name, u64>,
}

/// See the [module's documentation](self).
pub struct Quota<F: Fs> {
    inner: Box<dyn Strategy<F>>,
    options: QuotaOptions,
    books: Books<F>,
}

impl<F: Fs> Quota<F> {
    /// Limits what is written through `inner`, a strategy on `fs`.
    pub fn new(inner: Box<dyn Strategy<F>>, fs: F, options: QuotaOptions) -> Self {
        Self { inner, options, books: Books::new(fs) }
    }

    /// How many bytes `repo` may hold; `None` for any amount.
    pub fn limit_bytes(&self, repo: &Name) -> Option<u64> {
        self.options.limit_bytes.get(repo).copied().or(self.options.default_limit_bytes)
    }

    /// How many bytes `repo` holds, with those that are on their way.
    pub async fn used_bytes(&self, repo: &Name) -> Result<u64> {
        self.books.used_bytes(repo).await
    }

    fn weighed<'a>(
        &'a self,
        repo: &'a Name,
        limit_bytes: u64,
        body: &'a mut dyn Body,
        at_bytes: u64,
        digest: Option<&'a Digest>,
    ) -> Weighed<'a, F> {
        Weighed { quota: self, repo, limit_bytes, body, at_bytes, is_begun: false, digest, ticket: None }
    }

    /// Runs `link`, which makes content of this digest and length the repository's, if it is admitted.
    async fn admitted<T>(
        &self,
        repo: &Name,
        digest: &Digest,
        len_bytes: u64,
        link: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(limit_bytes) = self.limit_bytes(repo) else { return link.await };
        let ticket = self.books.reserve(repo, digest, len_bytes, limit_bytes).await?;
        let linked = link.await?;
        ticket.settle();
        Ok(linked)
    }
}

/// A body whose bytes are weighed as they come.
struct Weighed<'a, F: Fs> {
    quota: &'a Quota<F>,
    repo: &'a Name,
    limit_bytes: u64,
    body: &'a mut dyn Body,
    /// Bytes of the upload so far.
    at_bytes: u64,
    is_begun: bool,
    /// What the upload becomes when the body ends; `None` where it goes on.
    digest: Option<&'a Digest>,
    ticket: Option<Ticket>,
}

impl<F: Fs> Weighed<'_, F> {
    /// What can be said before the body is read, or of what was read so far.
    async fn check(&mut self, len_bytes: u64) -> Result<()> {
        match self.digest {
            Some(digest) => self.quota.books.check(self.repo, digest, len_bytes, self.limit_bytes).await,
            None if len_bytes > self.limit_bytes => {
                let used_bytes = self.quota.books.used_bytes(self.repo).await?;
                Err(denied(self.repo, self.limit_bytes, used_bytes, len_bytes))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl<F: Fs> Body for Weighed<'_, F> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if !std::mem::replace(&mut self.is_begun, true)
            && let Some(declared_bytes) = self.body.declared_bytes()
        {
            self.check(self.at_bytes.saturating_add(declared_bytes)).await?;
        }
        let piece = self.body.next().await?;
        match (&piece, self.digest) {
            (Some(piece), _) => {
                let before = self.at_bytes;
                self.at_bytes += piece.len() as u64;
                // What is longer than the limit is refused as soon as it is, and then only asked about once.
                if before <= self.limit_bytes && self.at_bytes > self.limit_bytes {
                    self.check(self.at_bytes).await?;
                }
            }
            (None, Some(digest)) => {
                let reserved = self.quota.books.reserve(self.repo, digest, self.at_bytes, self.limit_bytes);
                self.ticket = Some(reserved.await?);
            }
            (None, None) => {}
        }
        Ok(piece)
    }

    fn declared_bytes(&self) -> Option<u64> {
        self.body.declared_bytes()
    }
}

#[async_trait]
impl<F: Fs> Strategy<F> for Quota<F> {
    async fn append(&self, repo: &Name, id: &UploadId, at_bytes: Option<u64>, body: &mut dyn Body) -> Result<u64> {
        let Some(limit_bytes) = self.limit_bytes(repo) else {
            return self.inner.append(repo, id, at_bytes, body).await;
        };
        let offset = self.inner.upload_offset(repo, id).await?;
        let mut body = self.weighed(repo, limit_bytes, body, offset, None);
        self.inner.append(repo, id, at_bytes, &mut body).await
    }

    async fn commit(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        last: &mut dyn Body,
    ) -> Result<u64> {
        let Some(limit_bytes) = self.limit_bytes(repo) else {
            return self.inner.commit(repo, id, digest, at_bytes, last).await;
        };
        let offset = self.inner.upload_offset(repo, id).await?;
        let mut body = self.weighed(repo, limit_bytes, last, offset, Some(digest));
        let len_bytes = self.inner.commit(repo, id, digest, at_bytes, &mut body).await?;
        if let Some(ticket) = body.ticket {
            ticket.settle();
        }
        Ok(len_bytes)
    }

    async fn mount(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<u64> {
        if self.limit_bytes(repo).is_none() {
            return self.inner.mount(repo, from, digest).await;
        }
        let len_bytes = self.inner.open_blob(from, digest).await?.len;
        self.admitted(repo, digest, len_bytes, self.inner.mount(repo, from, digest)).await
    }

    async fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        manifest: &Bytes,
        references: &[Digest],
        tag: Option<&Tag>,
    ) -> Result<()> {
        let put = self.inner.put_manifest(repo, digest, manifest, references, tag);
        self.admitted(repo, digest, manifest.len() as u64, put).await
    }

    async fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let deleted = self.inner.delete_blob(repo, digest).await;
        self.books.forget_count(repo);
        deleted
    }

    async fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let deleted = self.inner.delete_manifest(repo, digest).await;
        self.books.forget_count(repo);
        deleted
    }

    async fn collect(&self, options: CollectOptions) -> Result<Collected> {
        let collected = self.inner.collect(options).await;
        self.books.forget_counts();
        collected
    }

    // All else adds nothing and takes nothing away.

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn claims(&self, model: &str, invariant: &str) -> bool {
        self.inner.claims(model, invariant)
    }

    async fn recover(&self) -> Result<()> {
        self.inner.recover().await
    }

    async fn collect_litter(&self) -> Result<u64> {
        self.inner.collect_litter().await
    }

    async fn start_upload(&self, repo: &Name) -> Result<UploadId> {
        self.inner.start_upload(repo).await
    }

    async fn upload_offset(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        self.inner.upload_offset(repo, id).await
    }

    async fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.inner.cancel_upload(repo, id).await
    }

    async fn has_content(&self, digest: &Digest) -> Result<bool> {
        self.inner.has_content(digest).await
    }

    async fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>> {
        self.inner.open_blob(repo, digest).await
    }

    async fn get_manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes> {
        self.inner.get_manifest(repo, digest).await
    }

    async fn resolve_tag(&self, repo: &Name, tag: &Tag) -> Result<Digest> {
        self.inner.resolve_tag(repo, tag).await
    }

    async fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        self.inner.delete_tag(repo, tag).await
    }

    async fn tags(&self, repo: &Name) -> Result<Vec<Tag>> {
        self.inner.tags(repo).await
    }

    async fn revisions(&self, repo: &Name) -> Result<Vec<Digest>> {
        self.inner.revisions(repo).await
    }

    async fn repositories(&self) -> Result<Vec<Name>> {
        self.inner.repositories().await
    }

    async fn purge_uploads(&self, before: UnixSeconds, dry_run: bool) -> Result<u64> {
        self.inner.purge_uploads(before, dry_run).await
    }

    async fn links_at(&self, path: &str) -> Result<Vec<Link>> {
        self.inner.links_at(path).await
    }

    fn content_path(&self, digest: &Digest) -> String {
        self.inner.content_path(digest)
    }
}
