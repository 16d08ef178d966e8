//! Manifests, tags and lists.
//!
//! All that changes the manifests of one repository holds that repository's lock, and takes digest locks inside it.
//! Lists show only what resolves, so a directory that a crash left behind is nothing.

use bytes::Bytes;

use super::{Durable, blob::link_target, names::Aside};
use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::env::sync::KeyGuard;
use crate::fs::{ErrorKind, FileExt, Fs, FsExt, split};
use crate::oci::{Algorithm, Digest, Name, Tag};
use crate::strategy::layout::{
    blob_data, blob_dir, layer_link, repository_dir, revision_link, revisions_dir, tag_current_link, tag_dir,
    tag_index_link,
};
use crate::strategy::{Error, Result};

impl<F: Fs> Durable<F> {
    /// The lock of a repository's manifests and tags.
    pub(super) async fn lock_manifests(&self, repo: &Name) -> KeyGuard<'_> {
        self.locks.lock(&repository_dir(repo)).await
    }

    pub(super) async fn store_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        manifest: &Bytes,
        references: &[Digest],
        tag: Option<&Tag>,
    ) -> Result<()> {
        self.names.writable()?;
        if Digest::of(digest.algorithm(), manifest) != *digest {
            return Err(Error::DigestInvalid(*digest));
        }
        let canonical = Digest::sha256(manifest);
        let _hold = self.fence.hold(references.iter().copied().chain([canonical, *digest]));
        let _manifests = self.lock_manifests(repo).await;
        for reference in references {
            self.require(repo, reference).await?;
        }
        self.put_content(&canonical, manifest).await?;
        self.put_link(&revision_link(repo, &canonical), &canonical).await?;
        if *digest != canonical {
            self.put_link(&revision_link(repo, digest), &canonical).await?;
        }
        match tag {
            Some(tag) => self.point_tag(repo, tag, &canonical).await,
            None => Ok(()),
        }
    }

    /// Checks that the repository has what a manifest references, in whole and durably. A manifest's 201 binds all
    /// that it references: what is torn is "not known", so that the client pushes it again.
    async fn require(&self, repo: &Name, digest: &Digest) -> Result<()> {
        // Under the lock nobody removes the link: the collection sees that the digest is held, or we see it gone.
        let _lock = self.lock_digests(&[*digest]).await;
        for link in [layer_link(repo, digest), revision_link(repo, digest)] {
            if let Some(target) = self.follow(&link, digest).await?
                && self.verified(digest, &target).await?.is_some()
            {
                return Ok(());
            }
        }
        Err(Error::ManifestBlobUnknown(*digest))
    }

    async fn put_content(&self, digest: &Digest, content: &Bytes) -> Result<()> {
        let _lock = self.lock_digests(&[*digest]).await;
        if self.verified(digest, digest).await?.is_some() {
            return Ok(());
        }
        self.names.make_dir(&blob_dir(digest)).await?;
        self.names.put(&blob_data(digest), content.clone()).await
    }

    async fn point_tag(&self, repo: &Name, tag: &Tag, target: &Digest) -> Result<()> {
        let current = tag_current_link(repo, tag);
        if self.layout.read_link(&current).await? == Some(Ok(*target)) {
            return self.names.settle(&current).await;
        }
        self.names.make_dir(split(&current).map_or("", |(dir, _)| dir)).await?;
        self.put_index_entry(repo, tag, target).await?;
        self.names.put(&current, Bytes::from(target.to_string())).await
    }

    /// Notes in the tag's index that it points at `target`. Nobody resolves anything through the index: distribution
    /// only removes its entries together with their manifest, and passes over those that are not there. So its name
    /// may be lost, and needs no sync; its content must not be torn, and is the one of the revision's link, which
    /// holds the same words for ever: a second name of that file does, without a sync either.
    async fn put_index_entry(&self, repo: &Name, tag: &Tag, target: &Digest) -> Result<()> {
        let entry = tag_index_link(repo, tag, target);
        match self.layout.read_link(&entry).await? {
            Some(Ok(found)) if found == *target => return Ok(()),
            Some(_) => self.fs.unlink(&entry).await?,
            None => {}
        }
        self.fs.create_dir_all(split(&entry).map_or("", |(dir, _)| dir)).await?;
        match self.fs.hard_link(&revision_link(repo, target), &entry).await {
            // A file system without hard links does without the index.
            Err(e) if !matches!(e.kind, ErrorKind::Denied | ErrorKind::InvalidInput) => Err(e.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn read_manifest(&self, repo: &Name, digest: &Digest) -> Result<Bytes> {
        let unknown = || Error::ManifestUnknown(digest.to_string());
        let target = self.follow(&revision_link(repo, digest), digest).await?.ok_or_else(unknown)?;
        let blob = self.verified(digest, &target).await?.filter(|blob| blob.len <= MAX_MANIFEST_BYTES);
        let blob = blob.ok_or_else(unknown)?;
        Ok(blob.file.read_full(0, blob.len as usize).await?)
    }

    /// Whether a manifest can be read.
    async fn resolves(&self, repo: &Name, digest: &Digest) -> Result<bool> {
        match self.follow(&revision_link(repo, digest), digest).await? {
            Some(target) => Ok(self.verified(digest, &target).await?.is_some()),
            None => Ok(false),
        }
    }

    pub(super) async fn remove_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.names.writable()?;
        let _manifests = self.lock_manifests(repo).await;
        let link = self.layout.read_link(&revision_link(repo, digest)).await?;
        if link.is_none() {
            self.names.settle(&revision_link(repo, digest)).await?;
            return Err(Error::ManifestUnknown(digest.to_string()));
        }
        // A torn link is named well enough to be deleted.
        let target = link_target(digest, link).unwrap_or(*digest);
        // First the tags, for good: a tag must not outlive its manifest.
        let mut tags = Vec::new();
        for tag in self.tags_of(repo).await? {
            let current = tag_current_link(repo, &tag);
            if self.layout.read_link(&current).await? == Some(Ok(target)) {
                tags.push((self.names.unlink(&current).await?, tag));
            }
        }
        for (_, tag) in &tags {
            self.names.settle(&tag_current_link(repo, tag)).await?;
        }
        // The entry in a tag's index goes before the link that it is another name of.
        for (current, tag) in tags {
            self.discard_tag(repo, &tag, current).await;
        }
        for name in self.names_of(repo, digest, &target).await? {
            self.remove_link(&revision_link(repo, &name)).await?;
        }
        Ok(())
    }

    /// All names of a manifest in a repository: its own, and the aliases by other algorithms.
    async fn names_of(&self, repo: &Name, digest: &Digest, target: &Digest) -> Result<Vec<Digest>> {
        let mut names = vec![*digest, *target];
        let algorithm = Algorithm::Sha512.name();
        for entry in self.fs.list(&format!("{}/{algorithm}", revisions_dir(repo))).await? {
            let Ok(alias) = Digest::from_parts(algorithm, &entry.name) else { continue };
            if self.layout.read_link(&revision_link(repo, &alias)).await? == Some(Ok(*target)) {
                names.push(alias);
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(super) async fn tag_target(&self, repo: &Name, tag: &Tag) -> Result<Digest> {
        let current = tag_current_link(repo, tag);
        let link = self.layout.read_link(&current).await?;
        self.names.settle(&current).await?;
        link.and_then(std::result::Result::ok).ok_or_else(|| Error::ManifestUnknown(tag.to_string()))
    }

    pub(super) async fn remove_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        self.names.writable()?;
        let _manifests = self.lock_manifests(repo).await;
        let current = tag_current_link(repo, tag);
        if self.layout.read_link(&current).await?.is_none() {
            self.names.settle(&current).await?;
            return Err(Error::ManifestUnknown(tag.to_string()));
        }
        let removed = self.names.unlink(&current).await?;
        self.names.settle(&current).await?;
        self.discard_tag(repo, tag, removed).await;
        Ok(())
    }

    /// Removes what is left of a tag that is durably gone: nobody reads it. Index entries that a crash brings back
    /// are of content that is there until a collection, and a collection makes all removals of links durable before
    /// it removes content.
    async fn discard_tag(&self, repo: &Name, tag: &Tag, current: Aside) {
        self.names.let_go(current).await;
        let dir = tag_dir(repo, tag);
        let _loosely = self.names.loosely();
        if self.remove_lone_entries(repo, tag).await.is_ok()
            && self.names.writable().is_ok()
            && self.fs.remove_tree(&dir).await.is_ok()
        {
            self.names.forget_below(&dir);
        }
    }

    /// Removes for good the entries of a tag's index that are no other names of revisions: of revisions that are gone, and
    /// those that distribution wrote.
    pub(super) async fn remove_lone_entries(&self, repo: &Name, tag: &Tag) -> Result<()> {
        for digest in self.layout.tag_index(repo, tag).await? {
            let entry = tag_index_link(repo, tag, &digest);
            let names = [self.fs.metadata(&entry).await, self.fs.metadata(&revision_link(repo, &digest)).await];
            match names.map(|file| file.map(|file| file.ino)) {
                [Ok(entry), Ok(revision)] if entry == revision => {}
                _ => drop(self.remove_link(&entry).await?),
            }
        }
        Ok(())
    }

    /// The tags that have a directory, sorted.
    pub(super) async fn tags_of(&self, repo: &Name) -> Result<Vec<Tag>> {
        match self.layout.tags(repo).await {
            Err(Error::NameUnknown(_)) => Ok(Vec::new()),
            other => other,
        }
    }

    pub(super) async fn list_tags(&self, repo: &Name) -> Result<Vec<Tag>> {
        let mut tags = Vec::new();
        for tag in self.tags_of(repo).await? {
            match self.tag_target(repo, &tag).await {
                Ok(target) if self.resolves(repo, &target).await? => tags.push(tag),
                Ok(_) | Err(Error::ManifestUnknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if tags.is_empty() && !self.is_known(repo).await? {
            return Err(Error::NameUnknown(repo.clone()));
        }
        Ok(tags)
    }

    pub(super) async fn list_revisions(&self, repo: &Name) -> Result<Vec<Digest>> {
        let mut revisions = Vec::new();
        let linked = self.layout.revisions(repo).await?;
        self.names.settle_below(&revisions_dir(repo)).await?;
        for digest in linked {
            // Aliases are further names of manifests that are listed.
            if digest.algorithm() == Algorithm::Sha256 && self.resolves(repo, &digest).await? {
                revisions.push(digest);
            }
        }
        if revisions.is_empty() && !self.is_known(repo).await? {
            return Err(Error::NameUnknown(repo.clone()));
        }
        Ok(revisions)
    }

    pub(super) async fn list_repositories(&self) -> Result<Vec<Name>> {
        let mut repositories = Vec::new();
        for repo in self.layout.repositories().await? {
            if self.is_known(&repo).await? {
                repositories.push(repo);
            }
        }
        Ok(repositories)
    }

    /// Whether a repository has a manifest or a blob. Bytes are not looked at: a repository does not come and go
    /// with the medium.
    async fn is_known(&self, repo: &Name) -> Result<bool> {
        let revisions = self.layout.revisions(repo).await?.into_iter().map(|d| (revision_link(repo, &d), d));
        let layers = self.layout.layer_links(repo).await?.into_iter().map(|d| (layer_link(repo, &d), d));
        for (link, digest) in revisions.chain(layers) {
            if let Some(target) = self.follow(&link, &digest).await?
                && self.fs.exists(&blob_data(&target)).await?
            {
                return Ok(true);
            }
        }
        // What is gone must be gone for good before anyone is told so.
        self.names.settle_below(&repository_dir(repo)).await?;
        Ok(false)
    }
}
