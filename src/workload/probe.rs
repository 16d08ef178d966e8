//! Probes: the single things to look at on a surviving disk, each by itself.
//!
//! A probe carries what is expected, reads little, and is evaluated on a fresh copy of the surviving disk; what it
//! says depends on nothing but the probe and what it reads there. So its verdict may be remembered by what it read.
//! A link is looked at before any recovery, all else through a registry that was opened, and so recovered, anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Workload;
use super::run::{Session, Sessions};
use crate::check::contents::Contents;
use crate::check::oracle::{Expect, Mark, Oracle, TagExpect};
use crate::check::read::{Object, Seen, Sight};
use crate::check::{Observation, closure, collection, link, read, recovery, tag, upload};
use crate::env::World;
use crate::fs::Fs;
use crate::oci::{Digest, Name, Tag, UploadId};
use crate::registry::{OpenError, Registry};
use crate::strategy::Protocol;

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
    /// A second recovery and the removal of litter: what was acknowledged is still there after it. Without an object,
    /// that it succeeds.
    Recovery(Option<Object>),
    /// The same in one directory, where it goes by directories: that it succeeds.
    Litter(String),
}

impl Probe {
    /// Whether it looks at what lies there, and at nothing that a recovery or a later call makes of it.
    pub fn is_of_what_lies_there(&self) -> bool {
        matches!(self, Self::RawLink(_) | Self::Read(..) | Self::Tag(..) | Self::Closure { .. })
    }

    /// Whether looking may change the disk.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Upload { .. } | Self::Collect(_) | Self::Recovery(_) | Self::Litter(_))
    }
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
    probes.extend([None].into_iter().chain(acknowledged.into_iter().map(Some)).map(Probe::Recovery));
    probes
}

/// Looks. `fs` is a fresh copy of the surviving disk, which the probe may change; `contents` are the workload's.
///
/// Errors: [`OpenError::UnknownStrategy`] alone. A registry that does not start is an observation.
pub async fn evaluate<F: Fs, P: Protocol + ?Sized>(
    probe: &Probe,
    contents: &Contents,
    strategy: &P,
    fs: F,
    world: World,
) -> Result<Vec<Observation>, OpenError> {
    if let Probe::RawLink(path) = probe {
        let unknown = || OpenError::UnknownStrategy(strategy.name().to_owned());
        let strategy = strategy.build(fs.clone(), world).ok_or_else(unknown)?;
        return Ok(link::judge(&*strategy, &fs, contents, path).await);
    }
    let judged = match probe {
        Probe::Recovery(object) => recovery::judge_alone(strategy, contents, fs, world, object.as_ref()).await,
        Probe::Litter(place) => recovery::judge_place(strategy, contents, fs, world, place).await,
        _ => match Registry::open(strategy, fs.clone(), world).await {
            Ok(registry) => Ok(ask(probe, &Sight::new(&registry, contents), &registry, &fs).await),
            Err(e) => Err(e),
        },
    };
    judged.or_else(|e| not_started(probe, e))
}

/// Looks at all of `probes`, and sees what each would see alone. Those that change nothing share a disk, and what was read
/// there is what those that change something begin with. Where recovery changed nothing, links are what they were before
/// it. `raw` is the surviving disk, and `copy` makes one of it; `same` tells whether two disks hold the same, if it can.
///
/// Errors: as [`evaluate`].
pub async fn evaluate_all<F: Fs, P: Protocol + ?Sized>(
    probes: &[Probe],
    contents: &Contents,
    strategy: &P,
    raw: &F,
    copy: impl Fn(&F) -> F,
    same: impl Fn(&F, &F) -> bool,
    world: impl Fn() -> World,
) -> Result<Vec<Observation>, OpenError> {
    let untouched = strategy.build(raw.clone(), world());
    let untouched = untouched.ok_or_else(|| OpenError::UnknownStrategy(strategy.name().to_owned()))?;
    let mut links: BTreeMap<&str, Vec<Observation>> = BTreeMap::new();
    for probe in probes {
        if let Probe::RawLink(path) = probe {
            links.insert(path, link::judge(&*untouched, raw, contents, path).await);
        }
    }
    let fs = copy(raw);
    let registry = Registry::open(strategy, fs.clone(), world()).await;
    let sight = registry.as_ref().map(|registry| Sight::new(registry, contents));
    let is_unchanged = sight.is_ok() && same(raw, &fs);
    let mut recovered = None;
    let mut all = Vec::new();
    for probe in probes {
        all.extend(match (probe, &sight) {
            (Probe::RawLink(path), _) => links[path.as_str()].clone(),
            (Probe::RecoveredLink(path), _) if is_unchanged && links.contains_key(path.as_str()) => {
                links[path.as_str()].clone()
            }
            (_, Err(e)) => not_started(probe, (*e).clone())?,
            (Probe::Recovery(object), Ok(sight)) => {
                if recovered.is_none() {
                    // One start came before.
                    let fs = copy(raw);
                    drop(Registry::open(strategy, fs.clone(), world()).await?);
                    let unchanged = |fs: &F| is_unchanged && same(raw, fs);
                    recovered = Some(recovery::recover_twice(strategy, &fs, &world(), unchanged).await);
                }
                let seen = match object {
                    Some(object) => Some((object, sight.see(object).await)),
                    None => None,
                };
                match &recovered {
                    Some(all) => recovery::judge(all, contents, seen.as_ref().map(|(o, s)| (*o, s))).await,
                    None => Vec::new(),
                }
            }
            (Probe::Litter(place), Ok(_)) => {
                recovery::judge_place(strategy, contents, copy(raw), world(), place).await?
            }
            (Probe::Upload { .. } | Probe::Collect(_), Ok(sight)) => {
                let fs = copy(raw);
                match Registry::open(strategy, fs.clone(), world()).await {
                    Ok(registry) => ask(probe, sight, &registry, &fs).await,
                    Err(e) => not_started(probe, e)?,
                }
            }
            (_, Ok(sight)) => ask(probe, sight, sight.registry(), &fs).await,
        });
    }
    Ok(all)
}

/// Looks through `sight`; a probe that changes something changes `fs`, on which `registry` was opened and which holds the
/// same.
async fn ask<F: Fs>(probe: &Probe, sight: &Sight<'_, F>, registry: &Registry<F>, fs: &F) -> Vec<Observation> {
    let contents = sight.contents();
    match probe {
        Probe::RawLink(_) | Probe::Recovery(_) | Probe::Litter(_) => Vec::new(),
        Probe::RecoveredLink(path) => link::judge(registry.strategy(), fs, contents, path).await,
        Probe::Read(object, expect) => read::judge(object, *expect, &sight.see(object).await),
        Probe::Tag(repo, tag, expect) => tag::judge(sight, repo, tag, expect).await,
        Probe::Closure { repo, manifest, needed } => {
            closure::judge(sight, repo, manifest, needed).await.into_iter().collect()
        }
        Probe::Upload { repo, id, content } => upload::judge(registry, contents, repo, id, content).await,
        Probe::Collect(manifests) => collection::judge(sight, registry, fs, manifests).await,
    }
}

/// What a probe says of a registry that does not come up: what must be there is lost, nothing else was looked at.
fn not_started(probe: &Probe, error: OpenError) -> Result<Vec<Observation>, OpenError> {
    if matches!(error, OpenError::UnknownStrategy(_)) {
        return Err(error);
    }
    let why = &format!("the registry does not start: {error}");
    let mut lost = match probe {
        Probe::Recovery(_) => vec![recovery::broken(error.to_string())],
        Probe::Read(object, Expect::Must) => read::judge(object, Expect::Must, &Seen::Refused(why.clone())),
        Probe::Tag(repo, tag, expect) => tag::judge_lost(repo, tag, expect, why).into_iter().collect(),
        _ => Vec::new(),
    };
    lost.retain(|observation| observation.violation.is_some());
    Ok(lost)
}
