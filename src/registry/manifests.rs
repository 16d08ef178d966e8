//! Manifests by tag and by digest.
//!
//! A manifest goes in only if its bytes are what the reference says, it is of an accepted kind, and the repository
//! has everything that it references; its subject alone may come later. What comes out is what went in, byte by byte.

use bytes::Bytes;

use super::{Error, Registry, Result};
use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::fs::Fs;
use crate::oci::{Descriptor, Digest, Manifest, Name, Reference, Tag, manifest};

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest that it was asked for by, or that its tag holds.
    pub digest: Digest,
    /// One of [`crate::oci::manifest::MEDIA_TYPES`].
    pub media_type: &'static str,
    /// The bytes.
    pub bytes: Bytes,
}

impl<F: Fs> Registry<F> {
    /// Stores a manifest and, where `reference` is a tag, points the tag at it. Returns its digest: the one of the
    /// reference, or the sha256 one.
    ///
    /// Errors: [`Error::ManifestTooLarge`]; [`Error::DigestInvalid`] where the reference names another content;
    /// [`Error::ManifestInvalid`]; [`Error::ManifestBlobUnknown`] for the first reference that the repository lacks.
    /// In none of these cases was anything written.
    pub async fn put_manifest(
        &self,
        repo: &Name,
        reference: &Reference,
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Digest> {
        self.push_manifest(repo, reference, &[], media_type, bytes).await.map(|(digest, _)| digest)
    }

    /// As [`put_manifest`](Self::put_manifest), and points further tags at it, one after the other. Returns also what
    /// the manifest says.
    pub async fn push_manifest(
        &self,
        repo: &Name,
        reference: &Reference,
        tags: &[Tag],
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<(Digest, Manifest)> {
        let size_bytes = bytes.len() as u64;
        if size_bytes > MAX_MANIFEST_BYTES {
            return Err(Error::ManifestTooLarge { size_bytes, limit_bytes: MAX_MANIFEST_BYTES });
        }
        let digest = match reference {
            Reference::Tag(_) => Digest::sha256(&bytes),
            Reference::Digest(digest) => *digest,
        };
        if reference.tag().is_none() && Digest::of(digest.algorithm(), &bytes) != digest {
            return Err(Error::DigestInvalid(digest));
        }
        let manifest = Manifest::parse(&bytes, media_type).map_err(|e| Error::ManifestInvalid(e.to_string()))?;
        let mut references = Vec::with_capacity(manifest.references().len());
        for needed in manifest.references() {
            self.require(repo, needed).await?;
            references.push(needed.digest);
        }
        let mut tags = reference.tag().into_iter().chain(tags);
        self.strategy.put_manifest(repo, &digest, &bytes, &references, tags.next()).await?;
        for tag in tags {
            self.strategy.put_manifest(repo, &digest, &bytes, &references, Some(tag)).await?;
        }
        Ok((digest, manifest))
    }

    /// Stores a manifest of another registry, of which this is a cache: what it references comes when it is asked for.
    ///
    /// Errors: as [`put_manifest`](Self::put_manifest), but for references.
    pub async fn mirror_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        tag: Option<&Tag>,
        media_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<()> {
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            return Err(Error::DigestInvalid(*digest));
        }
        Manifest::parse(&bytes, media_type).map_err(|e| Error::ManifestInvalid(e.to_string()))?;
        self.strategy.put_manifest(repo, digest, &bytes, &[], tag).await
    }

    /// That `repo` has what a manifest references.
    async fn require(&self, repo: &Name, needed: &Descriptor) -> Result<()> {
        let found = if needed.is_manifest {
            self.strategy.get_manifest(repo, &needed.digest).await.map(|_| ())
        } else {
            self.blob_bytes(repo, &needed.digest).await.map(|_| ())
        };
        found.map_err(|e| match e {
            Error::BlobUnknown(_) | Error::ManifestUnknown(_) | Error::NameUnknown(_) => {
                Error::ManifestBlobUnknown(needed.digest)
            }
            other => other,
        })
    }

    /// The manifest that `reference` names.
    ///
    /// Errors: [`Error::ManifestUnknown`]; [`Error::Corrupt`] where the stored bytes are no manifest or, if the
    /// strategy verifies reads, do not have their digest.
    pub async fn get_manifest(&self, repo: &Name, reference: &Reference) -> Result<StoredManifest> {
        let digest = match reference {
            Reference::Tag(tag) => self.strategy.resolve_tag(repo, tag).await?,
            Reference::Digest(digest) => *digest,
        };
        let bytes = self.strategy.get_manifest(repo, &digest).await?;
        let media_type = manifest::media_type(&bytes).map_err(|e| self.corrupt(&digest, e.to_string()))?;
        Ok(StoredManifest { digest, media_type, bytes })
    }

    /// Deletes what `reference` names: a tag (its manifest stays), or a manifest and the tags that point at it.
    pub async fn delete_manifest(&self, repo: &Name, reference: &Reference) -> Result<()> {
        match reference {
            Reference::Tag(tag) => self.strategy.delete_tag(repo, tag).await,
            Reference::Digest(digest) => self.strategy.delete_manifest(repo, digest).await,
        }
    }

    /// A manifest, and what it says.
    pub(super) async fn load(&self, repo: &Name, digest: &Digest) -> Result<(StoredManifest, Manifest)> {
        let bytes = self.strategy.get_manifest(repo, digest).await?;
        let manifest = Manifest::parse(&bytes, None).map_err(|e| self.corrupt(digest, e.to_string()))?;
        Ok((StoredManifest { digest: *digest, media_type: manifest.media_type(), bytes }, manifest))
    }
}
