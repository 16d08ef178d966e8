//! distribution's protocol in three of its versions: [`v2_0`], [`v2_8`] and [`v3_1`].
//!
//! One implementation stands on a storage driver that holds most of what differs; the rest is plain data of the
//! version. The calls are those of the real registry, in its order, also where they are of no use and where an error
//! is dropped; each version's module has their table and what they promise. Reads verify nothing, nothing is done at
//! a start, litter is not collected, and nothing is claimed: these strategies are here to be judged.
//!
//! Left out: the cache of blob descriptors, redirects, quotas; several tags are looked up one after the other.

mod driver;
mod gc;
mod upload;
pub mod v2_0;
pub mod v2_8;
pub mod v3_1;
mod version;

use async_trait::async_trait;
use bytes::Bytes;

use super::layout::{self, Layout};
use super::{Blob, Body, CollectOptions, Collected, Error, Link, Result, Strategy};
use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::fs::{ErrorKind, File, FileKind, Fs, FsExt, OpenMode};
use crate::oci::{Algorithm, Digest, InvalidWord, Name, Tag, UploadId};
use driver::Driver;
use upload::BlobWriter;
use version::Version;

/// distribution on a file system of type `F`, in one of its versions.
pub struct Distribution<F> {
    driver: Driver<F>,
    layout: Layout<F>,
}

impl<F: Fs> Distribution<F> {
    /// Version 2.0, see [`v2_0`].
    pub fn v2_0(fs: F, world: World) -> Self {
        Self::new(fs, world, &v2_0::V2_0)
    }

    /// Version 2.8, see [`v2_8`].
    pub fn v2_8(fs: F, world: World) -> Self {
        Self::new(fs, world, &v2_8::V2_8)
    }

    /// Version 3.1, see [`v3_1`].
    pub fn v3_1(fs: F, world: World) -> Self {
        Self::new(fs, world, &v3_1::V3_1)
    }

    fn new(fs: F, world: World, version: &'static Version) -> Self {
        Self { layout: Layout::new(fs.clone()), driver: Driver { fs, world, version } }
    }

    /// Puts a link file.
    async fn link(&self, path: &str, target: &Digest) -> Result<()> {
        Ok(self.driver.put_content(path, Bytes::from(target.to_string())).await?)
    }

    /// Follows the first of `links` that is there. The digest and the length of the blob, if there is one behind it.
    async fn stat(&self, links: &[String]) -> Result<Option<(Digest, u64)>> {
        for link in links {
            let Some(target) = self.layout.follow(link).await? else { continue };
            return match self.driver.fs.metadata(&layout::blob_data(&target)).await {
                Ok(m) if m.kind == FileKind::File => Ok(Some((target, m.len))),
                Ok(_) => Ok(None),
                Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
                Err(e) => Err(e.into()),
            };
        }
        Ok(None)
    }

    async fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<Option<(Digest, u64)>> {
        self.stat(&[layout::layer_link(repo, digest)]).await
    }

    async fn stat_manifest(&self, repo: &Name, digest: &Digest) -> Result<Option<(Digest, u64)>> {
        self.stat(&self.manifest_links(repo, digest)).await
    }

    /// The links by which a manifest may be found.
    fn manifest_links(&self, repo: &Name, digest: &Digest) -> Vec<String> {
        let mut links = vec![layout::revision_link(repo, digest)];
        if self.driver.version.manifests_among_layers {
            links.push(layout::layer_link(repo, digest));
        }
        links
    }

    /// The bytes of a manifest.
    async fn manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes> {
        let unknown = || Error::ManifestUnknown(digest.to_string());
        let (canonical, _) = self.stat_manifest(repo, digest).await?.ok_or_else(unknown)?;
        match self.driver.fs.read(&layout::blob_data(&canonical), MAX_MANIFEST_BYTES).await {
            Err(e) if e.kind == ErrorKind::NotFound => Err(unknown()),
            other => Ok(other?),
        }
    }

    /// The tags that point at a manifest. Ends with the first that cannot be read.
    async fn tags_at(&self, repo: &Name, digest: &Digest) -> Result<Vec<Tag>> {
        let tags = match self.layout.tags(repo).await {
            Err(Error::NameUnknown(_)) => Vec::new(),
            other => other?,
        };
        let mut found = Vec::new();
        for tag in tags {
            if self.layout.follow(&layout::tag_current_link(repo, &tag)).await? == Some(*digest) {
                found.push(tag);
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl<F: Fs> Strategy<F> for Distribution<F> {
    fn name(&self) -> &'static str {
        self.driver.version.name
    }

    fn claims(&self, _model: &str, _invariant: &str) -> bool {
        false
    }

    async fn recover(&self) -> Result<()> {
        Ok(())
    }

    async fn collect_litter(&self) -> Result<u64> {
        Ok(0)
    }

    async fn start_upload(&self, repo: &Name) -> Result<UploadId> {
        let id: UploadId = self
            .driver
            .world
            .fresh_id()
            .parse()
            .map_err(|e: InvalidWord| Error::Corrupt { path: layout::uploads_dir(repo), detail: e.to_string() })?;
        let mut writer = BlobWriter::create(self, repo, &id).await?;
        writer.close().await.ok();
        Ok(id)
    }

    async fn upload_offset(&self, repo: &Name, id: &UploadId) -> Result<u64> {
        let mut writer = BlobWriter::resume(self, repo, id, None).await?;
        // The answer closes the session and so does the end of the request; neither looks at the result.
        writer.close().await.ok();
        writer.close().await.ok();
        Ok(writer.size())
    }

    async fn append(&self, repo: &Name, id: &UploadId, at_bytes: Option<u64>, body: &mut dyn Body) -> Result<u64> {
        let mut writer = BlobWriter::resume(self, repo, id, at_bytes).await?;
        let read = writer.read_from(body).await;
        if read.is_ok() {
            writer.close().await.ok();
        }
        writer.close().await.ok();
        read.map(|()| writer.size())
    }

    async fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        let mut writer = BlobWriter::resume(self, repo, id, None).await?;
        let cancelled = writer.cancel().await;
        writer.close().await.ok();
        cancelled
    }

    async fn commit(
        &self,
        repo: &Name,
        id: &UploadId,
        digest: &Digest,
        at_bytes: Option<u64>,
        last: &mut dyn Body,
    ) -> Result<u64> {
        let mut writer = BlobWriter::resume(self, repo, id, at_bytes).await?;
        let result = match writer.read_from(last).await {
            Ok(()) => {
                let finished = writer.finish(digest).await;
                if finished.is_err() {
                    writer.cancel().await.ok();
                }
                finished
            }
            Err(e) => Err(e),
        };
        if result.is_err() {
            writer.close().await.ok();
        }
        result
    }

    async fn mount(&self, repo: &Name, from: &Name, digest: &Digest) -> Result<u64> {
        let (_, len) = self.stat_blob(from, digest).await?.ok_or(Error::BlobUnknown(*digest))?;
        self.link(&layout::layer_link(repo, digest), digest).await?;
        Ok(len)
    }

    async fn has_content(&self, digest: &Digest) -> Result<bool> {
        // Content lies under its sha256 digest; which one belongs to another, only the repositories' links say.
        Ok(digest.algorithm() != Algorithm::Sha256 || self.driver.fs.exists(&layout::blob_data(digest)).await?)
    }

    async fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>> {
        let (canonical, _) = self.stat_blob(repo, digest).await?.ok_or(Error::BlobUnknown(*digest))?;
        let path = layout::blob_data(&canonical);
        let file = self.driver.fs.open(&path, OpenMode::Read).await?;
        let len = file.metadata().await?.len;
        Ok(Blob { file, len, path })
    }

    async fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.stat_blob(repo, digest).await?.ok_or(Error::BlobUnknown(*digest))?;
        self.driver.delete_if_there(&layout::layer_link(repo, digest)).await?;
        Ok(())
    }

    async fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        manifest: &Bytes,
        _references: &[Digest],
        tag: Option<&Tag>,
    ) -> Result<()> {
        if digest.algorithm() != Algorithm::Sha256 {
            // The payload's digest is always taken with sha256, and compared.
            return Err(Error::DigestInvalid(*digest));
        }
        let blob = layout::blob_data(digest);
        if !self.driver.fs.exists(&blob).await? {
            self.driver.put_content(&blob, manifest.clone()).await?;
        }
        let revision = layout::revision_link(repo, digest);
        if self.driver.version.relinks_revisions || !self.driver.fs.exists(&revision).await? {
            self.link(&revision, digest).await?;
        }
        if let Some(tag) = tag {
            self.link(&layout::tag_index_link(repo, tag, digest), digest).await?;
            self.link(&layout::tag_current_link(repo, tag), digest).await?;
        }
        Ok(())
    }

    async fn get_manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes> {
        self.manifest(repo, digest).await
    }

    async fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let unknown = || Error::ManifestUnknown(digest.to_string());
        self.stat_manifest(repo, digest).await?.ok_or_else(unknown)?;
        for link in self.manifest_links(repo, digest) {
            self.driver.delete_if_there(&link).await?;
        }
        for tag in self.tags_at(repo, digest).await? {
            self.driver.delete_if_there(&layout::tag_dir(repo, &tag)).await?;
        }
        Ok(())
    }

    async fn resolve_tag(&self, repo: &Name, tag: &Tag) -> Result<Digest> {
        let target = self.layout.follow(&layout::tag_current_link(repo, tag)).await?;
        target.ok_or_else(|| Error::ManifestUnknown(tag.to_string()))
    }

    async fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        let deleted = self.driver.delete_if_there(&layout::tag_dir(repo, tag)).await?;
        if deleted { Ok(()) } else { Err(Error::ManifestUnknown(tag.to_string())) }
    }

    async fn tags(&self, repo: &Name) -> Result<Vec<Tag>> {
        self.layout.tags(repo).await
    }

    async fn revisions(&self, repo: &Name) -> Result<Vec<Digest>> {
        self.layout.revisions(repo).await
    }

    async fn repositories(&self) -> Result<Vec<Name>> {
        self.layout.repositories_with(&[self.driver.version.repository_mark]).await
    }

    async fn collect(&self, options: CollectOptions) -> Result<Collected> {
        self.mark_and_sweep(options).await
    }

    async fn purge_uploads(&self, before: UnixSeconds, dry_run: bool) -> Result<u64> {
        self.purge(before, dry_run).await
    }

    async fn links_at(&self, path: &str) -> Result<Vec<Link>> {
        self.layout.links_at(path).await
    }

    fn content_path(&self, digest: &Digest) -> String {
        layout::blob_data(digest)
    }
}
