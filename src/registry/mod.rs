//! The registry core: the rules of the distribution-spec on top of a commit protocol, without HTTP.
//!
//! A [`Strategy`] stores; this module knows what a manifest is, that it goes in only when everything it references
//! is there, what a range, a page or a referrer is, and that no read **completes** that is shorter than it should be. It
//! holds no state beyond the strategy (a [`descriptor_cache`] knows nothing that the storage does not): a registry
//! dropped and opened anew over the same file system is the same registry, and what survives a power cut is the
//! strategy's affair.
//!
//! Names, tags and digests come in as checked types; every method may be called from many tasks at once.

mod blobs;
pub mod descriptor_cache;
mod listing;
mod manifests;
pub mod quota;
mod referrers;
mod uploads;

use std::sync::Arc;

use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::fs::Fs;
use crate::oci::{Algorithm, Descriptor, Digest};
use crate::strategy::{self, CollectOptions, Collected, Protocol, Strategy};

pub use crate::strategy::{Body, Error, Result};
pub use blobs::BlobReader;
use descriptor_cache::DescriptorCache;
pub use listing::{Listing, Page};
pub use manifests::StoredManifest;
pub use referrers::Referrer;

/// Media type of a blob: what it is, only the manifests that name it say.
pub const BLOB_MEDIA_TYPE: &str = "application/octet-stream";

/// Why a registry could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No strategy has that name.
    #[error("there is no strategy {0:?}; known are {known}", known = strategy::NAMES.join(", "))]
    UnknownStrategy(String),
    /// The recovery failed.
    #[error("recovery failed: {0}")]
    Recovery(#[from] Error),
}

/// A registry on a file system of type `F`. Clones share it.
pub struct Registry<F: Fs> {
    strategy: Arc<dyn Strategy<F>>,
    world: World,
    descriptors: Option<Arc<DescriptorCache>>,
}

impl<F: Fs> Clone for Registry<F> {
    fn clone(&self) -> Self {
        Self { strategy: Arc::clone(&self.strategy), world: self.world.clone(), descriptors: self.descriptors.clone() }
    }
}

impl<F: Fs> std::fmt::Debug for Registry<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({})", self.strategy.name())
    }
}

impl<F: Fs> Registry<F> {
    /// A registry over `strategy`, **not recovered**: call [`recover`](Self::recover) before anything else, unless
    /// the file system is empty.
    pub fn new(strategy: Box<dyn Strategy<F>>, world: World) -> Self {
        Self { strategy: strategy.into(), world, descriptors: None }
    }

    /// The same registry, which remembers the lengths of at most so many blobs.
    pub fn with_descriptor_cache(self, max_entries: usize) -> Self {
        Self { descriptors: Some(Arc::new(DescriptorCache::new(max_entries))), ..self }
    }

    /// Opens the registry that `fs` holds, and recovers it: as a restart does.
    pub async fn open<P: Protocol + ?Sized>(strategy: &P, fs: F, world: World) -> std::result::Result<Self, OpenError> {
        let built = strategy.build(fs, world.clone());
        let strategy = built.ok_or_else(|| OpenError::UnknownStrategy(strategy.name().to_owned()))?;
        let registry = Self::new(strategy, world);
        registry.recover().await?;
        Ok(registry)
    }

    /// The strategy below: for those who look at the disk, not at the registry.
    pub fn strategy(&self) -> &dyn Strategy<F> {
        &*self.strategy
    }

    /// Whether there are other clones of this, as every call under way holds one.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.strategy) > 1
    }

    /// What has to happen between a crash and the first request.
    pub async fn recover(&self) -> Result<()> {
        self.strategy.recover().await
    }

    /// Removes what crashes left behind and nobody can use; returns how many files and directories went.
    pub async fn collect_litter(&self) -> Result<u64> {
        self.strategy.collect_litter().await
    }

    /// Garbage collection: removes what no manifest reaches.
    pub async fn collect(&self, options: CollectOptions) -> Result<Collected> {
        let _removal = self.descriptors.as_ref().map(|cache| cache.removing_any());
        self.strategy.collect(options).await
    }

    /// Removes upload sessions that were started more than `age_seconds` ago, or with `dry_run` only looks; returns
    /// how many.
    pub async fn purge_uploads(&self, age_seconds: u64, dry_run: bool) -> Result<u64> {
        let UnixSeconds(now) = self.world.now();
        self.strategy.purge_uploads(UnixSeconds(now.saturating_sub(age_seconds)), dry_run).await
    }

    /// That content asked for as `digest` is not what it should be.
    fn corrupt(&self, digest: &Digest, detail: impl Into<String>) -> Error {
        // Only canonical digests have a place of their own; an alias is named as itself.
        let path = match digest.algorithm() {
            Algorithm::Sha256 => self.strategy.content_path(digest),
            Algorithm::Sha512 => digest.to_string(),
        };
        Error::Corrupt { path, detail: detail.into() }
    }
}

/// The descriptor of a blob.
fn blob_descriptor(digest: &Digest, size: u64) -> Descriptor {
    Descriptor { digest: *digest, size, media_type: BLOB_MEDIA_TYPE.to_owned(), is_manifest: false }
}
