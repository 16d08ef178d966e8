//! Probes: the single things to look at on a surviving disk, each by itself.
//!
//! A probe carries what is expected, reads little, and is evaluated on a fresh copy of the surviving disk; what it
//! says depends on nothing but the probe and what it reads there. So its verdict may be remembered by what it read.
//! A link is looked at before any recovery, all else through a registry that was opened, and so recovered, anew.

use std::sync::Arc;

use super::Workload;
use super::run::{Session, Sessions};
use crate::check::contents::Contents;
use crate::check::oracle::{Expect, Mark, Oracle, TagExpect};
use crate::check::read::{Object, Seen};
use crate::check::{Observation, closure, collection, link, read, recovery, tag, upload};
use crate::env::World;
use crate::fs::Fs;
use crate::oci::{Digest, Name, Tag, UploadId};
use crate::registry::{OpenError, Registry};
use crate::strategy;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// The links in a file, on the disk as the crash left it.
    RawLink(String),
    /// The links in a file, after recovery.
    RecoveredLink(String),
    /// A blob or a manifest.
    Read(Object, Expect),
    /// A tag.
    Tag(Name, Tag, TagExpect),
    /// A manifest, and one thing that it references.
    Closure {
        /// Where.
        repo: Name,
        /// The manifest.
        manifest: Digest,
        /// What it references.
        needed: Object,
    },
    /// An unfinished upload.
    Upload {
        /// Where.
        repo: Name,
        /// The session.
        id: UploadId,
        /// What is being uploaded.
        content: Digest,
    },
    /// A garbage collection; the manifests that may be there. Reads everything.
    Collect(Arc<[(Name, Digest)]>),
    /// A second recovery and the removal of litter; what was acknowledged. Reads everything.
    Recovery(Arc<[Object]>),
}

/// What to look at after a crash at which `passed` of the workload's marks had been passed. `sessions` are those
/// that the run opened; `possible_paths` are the files that may be links: those in which a strategy sees none cost
/// little and say nothing.
pub fn probes(workload: &Workload, sessions: &Sessions, passed: &[Mark], possible_paths: &[String]) -> Vec<Probe> {
    let events = workload.events();
    let oracle = Oracle::new(&events, &workload.history(passed));
    let open = oracle.unfinished_uploads();
    let open = sessions.iter().filter(|(key, _)| open.contains(key)).map(|(_, session)| session);
    expected(&oracle, &workload.contents, open, workload.collects(), possible_paths)
}

/// What to look at where `oracle` says what to expect. `open` are the upload sessions that were not finished; a
/// collection is tried if `collects`.
pub fn expected<'s>(
    oracle: &Oracle<'_>,
    contents: &Contents,
    open: impl Iterator<Item = &'s Session>,
    collects: bool,
    possible_paths: &[String],
) -> Vec<Probe> {
    let (blobs, manifests, tags) = (oracle.blobs(), oracle.manifests(), oracle.tags());
    let mut probes: Vec<Probe> = possible_paths.iter().cloned().map(Probe::RawLink).collect();
    probes.extend(possible_paths.iter().cloned().map(Probe::RecoveredLink));
    let mut acknowledged = Vec::new();
    let blob_objects = blobs.iter().map(|((repo, d), expect)| (Object::Blob(repo.clone(), *d), *expect));
    let manifest_objects = manifests.iter().map(|((repo, d), expect)| (Object::Manifest(repo.clone(), *d), *expect));
    for (object, expect) in blob_objects.chain(manifest_objects) {
        if expect == Expect::Must {
            acknowledged.push(object.clone());
        }
        probes.push(Probe::Read(object, expect));
    }
    let (deleted_blobs, deleted_manifests) = (oracle.deleted_blobs(), oracle.deleted_manifests());
    for (repo, manifest) in manifests.keys() {
        let (blobs, children) = contents.references(manifest);
        let kept = |deleted: &std::collections::BTreeSet<_>, d: &Digest| !deleted.contains(&(repo.clone(), *d));
        let blobs = blobs.iter().filter(|d| kept(&deleted_blobs, d)).map(|d| Object::Blob(repo.clone(), *d));
        let children =
            children.iter().filter(|d| kept(&deleted_manifests, d)).map(|d| Object::Manifest(repo.clone(), *d));
        let closure = |needed| Probe::Closure { repo: repo.clone(), manifest: *manifest, needed };
        probes.extend(blobs.chain(children).map(closure));
    }
    for ((repo, tag), expect) in tags {
        if !expect.moving && !expect.allowed.contains(&None) {
            acknowledged.push(Object::Tag(repo.clone(), tag.clone()));
        }
        probes.push(Probe::Tag(repo, tag, expect));
    }
    probes.extend(open.map(|s| Probe::Upload { repo: s.repo.clone(), id: s.id.clone(), content: s.content }));
    if collects {
        probes.push(Probe::Collect(manifests.into_keys().collect()));
    }
    probes.push(Probe::Recovery(acknowledged.into()));
    probes
}

/// Looks. `fs` is a fresh copy of the surviving disk, which the probe may change; `contents` are the workload's.
///
/// Errors: [`OpenError::UnknownStrategy`] alone. A registry that does not start is an observation.
pub async fn evaluate<F: Fs>(
    probe: &Probe,
    contents: &Contents,
    strategy: &str,
    fs: F,
    world: World,
) -> Result<Vec<Observation>, OpenError> {
    let unknown = || OpenError::UnknownStrategy(strategy.to_owned());
    match probe {
        Probe::RawLink(path) => {
            let strategy = strategy::build(strategy, fs.clone(), world).ok_or_else(unknown)?;
            Ok(link::judge(&*strategy, &fs, contents, path).await)
        }
        Probe::Recovery(objects) => Ok(recovery::judge(strategy, fs, world, contents, objects).await),
        _ => match Registry::open(strategy, fs.clone(), world).await {
            Ok(registry) => Ok(ask(probe, contents, &registry, &fs).await),
            Err(e @ OpenError::Recovery(_)) => Ok(not_started(probe, &e.to_string())),
            Err(e) => Err(e),
        },
    }
}

/// Looks at all of `probes`, those that change nothing on one disk and through one registry. `disk` makes a copy of the
/// surviving disk.
///
/// Errors: as [`evaluate`].
pub async fn evaluate_all<F: Fs>(
    probes: &[Probe],
    contents: &Contents,
    strategy: &str,
    disk: impl Fn() -> F,
    world: impl Fn() -> World,
) -> Result<Vec<Observation>, OpenError> {
    let raw = disk();
    let untouched = strategy::build(strategy, raw.clone(), world());
    let untouched = untouched.ok_or_else(|| OpenError::UnknownStrategy(strategy.to_owned()))?;
    let fs = disk();
    let registry = Registry::open(strategy, fs.clone(), world()).await;
    let mut all = Vec::new();
    for probe in probes {
        all.extend(match (probe, &registry) {
            (Probe::RawLink(path), _) => link::judge(&*untouched, &raw, contents, path).await,
            (Probe::Upload { .. } | Probe::Collect(_) | Probe::Recovery(_), _) => {
                evaluate(probe, contents, strategy, disk(), world()).await?
            }
            (_, Ok(registry)) => ask(probe, contents, registry, &fs).await,
            (_, Err(e)) => not_started(probe, &e.to_string()),
        });
    }
    Ok(all)
}

/// Looks through a registry that was opened on `fs`.
async fn ask<F: Fs>(probe: &Probe, contents: &Contents, registry: &Registry<F>, fs: &F) -> Vec<Observation> {
    match probe {
        Probe::RawLink(_) | Probe::Recovery(_) => Vec::new(),
        Probe::RecoveredLink(path) => link::judge(registry.strategy(), fs, contents, path).await,
        Probe::Read(object, expect) => {
            let seen = read::see(registry, contents, object).await;
            read::judge(object, *expect, &seen)
        }
        Probe::Tag(repo, tag, expect) => tag::judge(registry, contents, repo, tag, expect).await,
        Probe::Closure { repo, manifest, needed } => {
            closure::judge(registry, contents, repo, manifest, needed).await.into_iter().collect()
        }
        Probe::Upload { repo, id, content } => upload::judge(registry, contents, repo, id, content).await,
        Probe::Collect(manifests) => collection::judge(registry, fs, contents, manifests).await,
    }
}

/// What a probe says of a registry that does not come up: what must be there is lost, nothing else was looked at.
fn not_started(probe: &Probe, why: &str) -> Vec<Observation> {
    let why = &format!("the registry does not start: {why}");
    let mut lost = match probe {
        Probe::Read(object, Expect::Must) => read::judge(object, Expect::Must, &Seen::Refused(why.clone())),
        Probe::Tag(repo, tag, expect) => tag::judge_lost(repo, tag, expect, why).into_iter().collect(),
        _ => Vec::new(),
    };
    lost.retain(|observation| observation.violation.is_some());
    lost
}
