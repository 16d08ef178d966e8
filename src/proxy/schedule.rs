//! When the content of a cache expires.
//!
//! Each manifest and each layer of a repository is kept for a time. Then its links go, and only these: the bytes stay
//! until a collection finds that no repository needs them, so that what expires in one is still there in the others.
//!
//! The times are kept in [`STATE`], in distribution's form, so that either program goes on where the other stopped. The
//! file is replaced in whole, and it is not trusted: what is stored and not in it begins anew, what is in it and
//! not stored is dropped. So a file that is torn, old or lost costs some days of disk space, never a start.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::env::sync::{LockTable, hold};
use crate::fs::{ErrorKind, File, FileExt, Fs, FsError, FsExt, OpenMode};
use crate::oci::{Digest, Name, Reference};
use crate::registry::{Error, Registry, Result};
use crate::strategy::CollectOptions;
use crate::strategy::layout::Layout;

/// Where the times are kept, below the registry's root.
pub const STATE: &str = "scheduler-state.json";
const NEW_STATE: &str = "scheduler-state.json.tmp";
/// How long content is kept if nothing else is said: a week.
pub const DEFAULT_TTL_SECONDS: u64 = 168 * 3600;
/// From one [turn](Schedule::turn) to the next.
pub const TURN_SECONDS: u64 = 5;
/// Longest file of times that is read.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// What a link is for; numbered as in distribution's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A layer or config.
    Blob = 0,
    /// A manifest.
    Manifest = 1,
}

type Key = (Name, Digest, Kind);

/// One entry as distribution writes it.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "ExpiryData")]
    expiry: String,
    #[serde(rename = "EntryType")]
    kind: u8,
}

/// What expires when, in a registry on a file system of type `F`.
pub struct Schedule<F: Fs> {
    registry: Registry<F>,
    fs: F,
    world: World,
    /// `None`: never.
    ttl_seconds: Option<u64>,
    times: Mutex<BTreeMap<Key, UnixSeconds>>,
    is_changed: AtomicBool,
    /// Two who save at once would write into one file.
    saving: LockTable,
}

impl<F: Fs> Schedule<F> {
    /// Reads the times of what `registry` holds on `fs`. A time to live of zero seconds means for ever.
    pub async fn open(registry: Registry<F>, fs: F, world: World, ttl_seconds: u64) -> Result<Self> {
        let ttl_seconds = Some(ttl_seconds).filter(|seconds| *seconds > 0);
        let (times, saving, is_changed) = (Mutex::default(), LockTable::default(), AtomicBool::new(true));
        let schedule = Self { registry, fs, world, ttl_seconds, times, is_changed, saving };
        let Some(latest) = schedule.next_expiry() else { return Ok(schedule) };
        let noted = schedule.read_state().await;
        let mut times = BTreeMap::new();
        let layout = Layout::new(schedule.fs.clone());
        for repo in layout.repositories().await? {
            let manifests = layout.revisions(&repo).await?.into_iter().map(|digest| (digest, Kind::Manifest));
            let blobs = layout.layer_links(&repo).await?.into_iter().map(|digest| (digest, Kind::Blob));
            for (digest, kind) in manifests.chain(blobs) {
                let key = (repo.clone(), digest, kind);
                // Nothing stays longer than what comes now, whatever the file says.
                let time = noted.get(&key).map_or(latest, |time| latest.min(*time));
                times.insert(key, time);
            }
        }
        *hold(&schedule.times) = times;
        Ok(schedule)
    }

    /// That something has come.
    pub fn add(&self, repo: &Name, digest: &Digest, kind: Kind) {
        if let Some(expiry) = self.next_expiry() {
            hold(&self.times).insert((repo.clone(), *digest, kind), expiry);
            self.is_changed.store(true, Ordering::Relaxed);
        }
    }

    /// How many things have a time.
    pub fn len(&self) -> usize {
        hold(&self.times).len()
    }

    /// Whether nothing has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the links of what has expired, and returns how many went. What cannot be removed is tried again.
    pub async fn expire(&self) -> usize {
        let now = self.world.now();
        let due: Vec<Key> =
            hold(&self.times).iter().filter(|(_, time)| **time <= now).map(|(k, _)| k.clone()).collect();
        let mut removed = 0;
        for key in due {
            // The time goes first: what comes back as soon as the link is gone has a new one.
            let Some(time) = hold(&self.times).remove(&key) else { continue };
            self.is_changed.store(true, Ordering::Relaxed);
            let (repo, digest, kind) = &key;
            let gone = match kind {
                Kind::Manifest => self.registry.delete_manifest(repo, &Reference::Digest(*digest)).await,
                Kind::Blob => self.registry.delete_blob(repo, digest).await,
            };
            match gone {
                Ok(()) => removed += 1,
                Err(Error::BlobUnknown(_) | Error::ManifestUnknown(_) | Error::NameUnknown(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, %repo, %digest, "what has expired cannot be removed yet");
                    hold(&self.times).entry(key).or_insert(time);
                }
            }
        }
        removed
    }

    /// One turn: what has expired goes, with `collect` also the bytes that nobody needs then, and the times are saved.
    pub async fn turn(&self, collect: bool) {
        let removed = self.expire().await;
        if removed > 0 {
            tracing::info!(removed, "removed what had expired");
        }
        if removed > 0
            && collect
            && let Err(error) = self.registry.collect(CollectOptions::default()).await
        {
            tracing::warn!(%error, "cannot collect what has expired");
        }
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "cannot save when content expires");
        }
    }

    /// Writes the times down, if they have changed; they survive from then on.
    pub async fn save(&self) -> std::result::Result<(), FsError> {
        let _turn = self.saving.lock(STATE).await;
        if self.ttl_seconds.is_none() || !self.is_changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let saved = self.replace(self.text()).await;
        if saved.is_err() {
            self.is_changed.store(true, Ordering::Relaxed);
        }
        saved
    }

    async fn replace(&self, text: Bytes) -> std::result::Result<(), FsError> {
        let file = self.fs.open(NEW_STATE, OpenMode::Create).await?;
        file.set_len(0).await?;
        file.write_full(0, text).await?;
        file.sync_all().await?;
        self.fs.rename(NEW_STATE, STATE).await?;
        self.fs.sync_dir("").await
    }

    fn text(&self) -> Bytes {
        let times = hold(&self.times);
        let entries = times.iter().map(|((repo, digest, kind), UnixSeconds(seconds))| {
            let key = format!("{repo}@{digest}");
            let at = i64::try_from(*seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
            let expiry = at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
            (key.clone(), Entry { key, expiry, kind: *kind as u8 })
        });
        let entries: BTreeMap<String, Entry> = entries.collect();
        serde_json::to_vec(&entries).unwrap_or_default().into()
    }

    /// What the file says, as far as it can be understood.
    async fn read_state(&self) -> BTreeMap<Key, UnixSeconds> {
        let text = match self.fs.read(STATE, MAX_STATE_BYTES).await {
            Ok(text) => text,
            Err(e) if e.kind == ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => {
                tracing::warn!(%error, "when content expires is not known: its time begins anew");
                return BTreeMap::new();
            }
        };
        match serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&text) {
            Ok(entries) => entries.into_values().filter_map(understand).collect(),
            Err(error) => {
                tracing::warn!(%error, "{STATE} is damaged: the time of all content begins anew");
                BTreeMap::new()
            }
        }
    }

    fn next_expiry(&self) -> Option<UnixSeconds> {
        self.ttl_seconds.map(|ttl| UnixSeconds(self.world.now().0.saturating_add(ttl)))
    }
}

/// One entry of the file; one that makes no sense is as good as none.
fn understand(entry: serde_json::Value) -> Option<(Key, UnixSeconds)> {
    let Entry { key, expiry, kind } = serde_json::from_value(entry).ok()?;
    let (repo, digest) = key.split_once('@')?;
    let kind = [Kind::Blob, Kind::Manifest].into_iter().find(|known| *known as u8 == kind)?;
    let expiry = OffsetDateTime::parse(&expiry, &Rfc3339).ok()?.unix_timestamp();
    Some(((repo.parse().ok()?, digest.parse().ok()?, kind), UnixSeconds(u64::try_from(expiry).unwrap_or(0))))
}
