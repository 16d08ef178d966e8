//! Every registry operation with every strategy, on a directory of this machine and on the simulated disk.
//!
//! A scenario is written once, against [`Stage`], and says what the registry promises whatever stores below it; where
//! a strategy is known to promise less, the scenario asks the strategy and says so.

mod blobs;
mod keeping;
mod manifests;
mod streaming;
mod uploads;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pullplug::env::World;
use pullplug::env::choice::Seeded;
use pullplug::env::clock::SimClock;
use pullplug::fs::{File, FileExt, Fs, OpenMode};
use pullplug::oci::{Digest, Name, Reference, Tag};
use pullplug::registry::{Body, Error, OpenError, Registry};
use pullplug::strategy::Result;
use pullplug::workload::image::Image;

/// A registry on an empty file system, and what is behind it.
pub struct Stage<F: Fs> {
    pub strategy: &'static str,
    pub registry: Registry<F>,
    pub fs: F,
    pub clock: SimClock,
}

/// Runs a scenario (an `async fn` generic over the file system) with every strategy on every file system.
macro_rules! everywhere {
    ($scenario:ident) => {
        for strategy in pullplug::strategy::NAMES {
            println!("{strategy} on a real directory");
            let dir = tempfile::tempdir().unwrap();
            let fs = pullplug::fs::real::RealFs::open_root(dir.path()).unwrap();
            pullplug::env::run_now(async { $scenario(&crate::registry::Stage::open(strategy, fs).await).await });
            println!("{strategy} on the simulated disk");
            let fs = pullplug::disk::SimFs::new();
            pullplug::env::run_now(async { $scenario(&crate::registry::Stage::open(strategy, fs).await).await });
        }
    };
}
use everywhere;

impl<F: Fs> Stage<F> {
    pub async fn open(strategy: &'static str, fs: F) -> Self {
        let clock = SimClock::default();
        let world = World::new(Arc::new(clock.clone()), 1);
        let registry = Registry::open(strategy, fs.clone(), world).await.unwrap();
        Self { strategy, registry, fs, clock }
    }

    /// Whether the strategy does as distribution does, also where that is wrong.
    pub fn is_distribution(&self) -> bool {
        self.strategy.starts_with("distribution-")
    }

    /// The registry after a restart, with identifiers that have not been given out.
    pub async fn restarted(&self) -> Registry<F> {
        let world = World::new(Arc::new(self.clock.clone()), 2);
        Registry::open(self.strategy, self.fs.clone(), world).await.unwrap()
    }

    pub async fn push_blob(&self, repo: &Name, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let id = self.registry.start_upload(repo).await.unwrap();
        let descriptor = self.registry.commit(repo, &id, &digest, Some(0), &mut body(content)).await.unwrap();
        assert_eq!((descriptor.digest, descriptor.size), (digest, content.len() as u64));
        digest
    }

    /// Pushes an image as a client does: blobs, then manifests, then its tags.
    pub async fn push(&self, repo: &Name, image: &Image) -> Digest {
        for blob in image.blobs() {
            self.push_blob(repo, &blob.bytes).await;
        }
        for part in image.manifests() {
            let tags: Vec<_> = image.tags_of(&part.digest).cloned().map(Reference::Tag).collect();
            let references = if tags.is_empty() { vec![part.digest.into()] } else { tags };
            for reference in references {
                let put = self.registry.put_manifest(repo, &reference, Some(&part.media_type), part.bytes.clone());
                assert_eq!(put.await, Ok(part.digest));
            }
        }
        image.roots()[0].digest
    }

    /// Pulls what `reference` names, with everything below it; the first error, if there is one.
    pub async fn pull(&self, repo: &Name, reference: &Reference) -> Result<()> {
        let mut wanted = vec![reference.clone()];
        while let Some(reference) = wanted.pop() {
            let stored = self.registry.get_manifest(repo, &reference).await?;
            let manifest = pullplug::oci::Manifest::parse(&stored.bytes, Some(stored.media_type)).unwrap();
            for part in manifest.references() {
                if part.is_manifest {
                    wanted.push(part.digest.into());
                } else {
                    let content = self.read(repo, &part.digest).await?;
                    assert_eq!(Digest::of(part.digest.algorithm(), &content), part.digest);
                }
            }
        }
        Ok(())
    }

    /// All bytes of a blob.
    pub async fn read(&self, repo: &Name, digest: &Digest) -> Result<Vec<u8>> {
        let mut reader = self.registry.read_blob(repo, digest, None).await?;
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Replaces what is stored as `digest`, behind the registry's back.
    pub async fn damage(&self, digest: &Digest, content: &[u8]) {
        let path = self.registry.strategy().content_path(digest);
        let file = self.fs.open(&path, OpenMode::Write).await.unwrap();
        let before = file.metadata().await.unwrap().change;
        // A file system's clock may stand still for some milliseconds.
        while file.metadata().await.unwrap().change == before {
            file.set_len(0).await.unwrap();
            file.write_full(0, Bytes::copy_from_slice(content)).await.unwrap();
        }
    }
}

/// A body that comes in pieces, and may break off after the last of them.
pub struct Pieces {
    left: VecDeque<Bytes>,
    breaks_off: bool,
}

#[async_trait]
impl Body for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.left.pop_front() {
            None if self.breaks_off => Err(Error::Body("the client hung up".into())),
            piece => Ok(piece),
        }
    }
}

/// `content` by `piece_bytes` at a time.
pub fn pieces(content: &[u8], piece_bytes: usize, breaks_off: bool) -> Pieces {
    Pieces { left: content.chunks(piece_bytes).map(Bytes::copy_from_slice).collect(), breaks_off }
}

pub fn body(content: &[u8]) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(content))
}

pub fn nothing() -> Option<Bytes> {
    None
}

pub fn repo(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Bytes of which no two streams are alike.
pub fn noise(stream: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Seeded::stream(1, stream).fill(&mut bytes);
    bytes
}

#[test]
fn an_unknown_strategy_is_refused_with_the_names_of_all() {
    let opened = Registry::open("distribution-9", pullplug::disk::SimFs::new(), World::simulated(1));
    let error = pullplug::env::run_now(opened).unwrap_err();
    assert_eq!(error, OpenError::UnknownStrategy("distribution-9".into()));
    let known = "distribution-2.0, distribution-2.8, distribution-3.1, durable";
    assert_eq!(error.to_string(), format!("there is no strategy \"distribution-9\"; known are {known}"));
}

/// A server moves these futures between threads; that they can be is checked by the compiler.
#[test]
fn operations_can_move_between_threads() {
    fn on_any_thread<T: Send>(future: T) -> T {
        future
    }
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let image = Image::generated(1, tag("v1"), &[100]);
        on_any_thread(s.push(&name, &image)).await;
        on_any_thread(s.pull(&name, &reference("v1"))).await.unwrap();
        on_any_thread(s.registry.referrers(&name, &image.roots()[0].digest, None)).await.unwrap();
    }
    everywhere!(scenario);
}
