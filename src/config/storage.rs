//! `storage`: where images are kept, and what happens to them there.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Error, GoDuration};
use crate::env::limits::UPLOAD_PURGE_AGE_SECONDS;

/// From one purge of uploads to the next, as in distribution: 24 hours.
pub const UPLOAD_PURGE_INTERVAL: GoDuration = GoDuration::seconds(24 * 3600);

/// `storage`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Storage {
    /// The only driver.
    pub filesystem: Option<Filesystem>,
    /// Deletion over HTTP.
    pub delete: Switch,
    /// The descriptor cache.
    pub cache: Cache,
    /// Purging and read-only mode.
    pub maintenance: Maintenance,
    /// Accepted, and without effect: blobs are always sent by the registry itself.
    pub redirect: Redirect,
}

impl Storage {
    /// Where the images are.
    pub fn root(&self) -> PathBuf {
        self.filesystem.clone().unwrap_or_default().rootdirectory
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let Some(filesystem) = &self.filesystem else {
            return Err(Error::of("storage", "names no driver").help("set storage.filesystem.rootdirectory"));
        };
        if filesystem.rootdirectory.as_os_str().is_empty() {
            return Err(Error::of("storage.filesystem.rootdirectory", "is empty").help("name a directory"));
        }
        if filesystem.maxthreads == 0 {
            return Err(Error::of("storage.filesystem.maxthreads", "must not be zero"));
        }
        let purging = &self.maintenance.uploadpurging;
        if purging.enabled && purging.interval == GoDuration::seconds(0) {
            return Err(Error::of("storage.maintenance.uploadpurging.interval", "must not be zero"));
        }
        Ok(())
    }
}

/// `storage.filesystem`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// The directory; `/var/lib/registry` if not set.
    pub rootdirectory: PathBuf,
    /// Most threads that work on the directory at once; as in distribution at least [`MIN_STORAGE_THREADS`].
    pub maxthreads: u32,
}

/// What [`Filesystem::maxthreads`] is if it is not set.
const DEFAULT_STORAGE_THREADS: u32 = 100;
/// Fewer threads than this are not set up, whatever [`Filesystem::maxthreads`] says.
pub const MIN_STORAGE_THREADS: u32 = 25;

impl Default for Filesystem {
    fn default() -> Self {
        Self { rootdirectory: "/var/lib/registry".into(), maxthreads: DEFAULT_STORAGE_THREADS }
    }
}

/// A key with `enabled` below it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// On or off.
    pub enabled: bool,
}

/// `storage.cache`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// The cache of blob descriptors; none if not set.
    pub blobdescriptor: Option<BlobDescriptorCache>,
    /// How many descriptors it holds at most.
    pub blobdescriptorsize: Option<u32>,
}

/// [`Cache::blobdescriptorsize`] if it is not set: some megabytes.
pub const DEFAULT_CACHED_DESCRIPTORS: u32 = 10_000;

/// `storage.cache.blobdescriptor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobDescriptorCache {
    /// In the memory of the process.
    InMemory,
}

/// `storage.maintenance`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// Removal of uploads that nobody finishes.
    pub uploadpurging: UploadPurging,
    /// Nothing may be pushed or deleted.
    pub readonly: Switch,
}

/// `storage.maintenance.uploadpurging`: on if not set, as in distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UploadPurging {
    /// Whether to.
    pub enabled: bool,
    /// Older ones go; 168 hours if not set.
    pub age: GoDuration,
    /// From one to the next; 24 hours if not set.
    pub interval: GoDuration,
    /// Only say in the log which would go.
    pub dryrun: bool,
}

impl Default for UploadPurging {
    fn default() -> Self {
        Self {
            enabled: true,
            age: GoDuration::seconds(UPLOAD_PURGE_AGE_SECONDS),
            interval: UPLOAD_PURGE_INTERVAL,
            dryrun: false,
        }
    }
}

/// `storage.redirect`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// Whether there are no redirects: never, either way.
    pub disable: bool,
}
