//! `gc-keeps-reachable` and `gc-reclaims`: what a collection on the surviving disk takes, and what it leaves.
//!
//! What was readable before the collection is the measure: what a crash has already taken, the collection cannot
//! keep. It runs twice and alone, since a protocol may spare for one cycle what it cannot yet tell from a push under
//! way.

use std::collections::BTreeSet;

use super::contents::Contents;
use super::read::{self, Object, Sight};
use super::{Invariant, Observation, short};
use crate::fs::{Fs, FsExt};
use crate::oci::{Algorithm, Digest, Name};
use crate::registry::Registry;
use crate::strategy::CollectOptions;

/// How many collections it may take until garbage is gone.
const CYCLES: usize = 2;

/// Collects through `registry` on `fs`, and judges what is there before and after. `before` shows a disk that holds the
/// same; `manifests` are all that may be there.
pub async fn judge<F: Fs>(
    before: &Sight<'_, F>,
    registry: &Registry<F>,
    fs: &F,
    manifests: &[(Name, Digest)],
) -> Vec<Observation> {
    let contents = before.contents();
    let reachable = reachable(before, manifests).await;
    let garbage = garbage(registry, fs, contents, &reachable).await;
    let mut observations = Vec::new();
    let mut failed = None;
    for _ in 0..CYCLES {
        let options = CollectOptions { exclusive: true, ..CollectOptions::default() };
        failed = registry.collect(options).await.err();
        if failed.is_some() {
            break;
        }
    }
    for object in &reachable {
        let lost = read::see(registry, contents, object).await.complaint();
        let lost = lost.map(|how| format!("{object} was reachable before the collection; after it {how}"));
        observations.push(Observation::judged(Invariant::GcKeepsReachable, lost));
    }
    if let Some(e) = failed {
        observations.push(Observation::broken(Invariant::GcReclaims, format!("the collection fails: {e}")));
        return observations;
    }
    for digest in garbage {
        let path = registry.strategy().content_path(&digest);
        let left = fs.exists(&path).await.unwrap_or(false);
        let left = left.then(|| format!("nothing reaches {}, but two collections left {path}", short(&digest)));
        observations.push(Observation::judged(Invariant::GcReclaims, left));
    }
    observations
}

/// The readable manifests, and everything readable that they reference.
async fn reachable<F: Fs>(sight: &Sight<'_, F>, manifests: &[(Name, Digest)]) -> BTreeSet<Object> {
    let mut found = BTreeSet::new();
    for (repo, digest) in manifests {
        let manifest = Object::Manifest(repo.clone(), *digest);
        if !sight.see(&manifest).await.is_right() {
            continue;
        }
        found.insert(manifest);
        let (blobs, children) = sight.contents().references(digest);
        let blobs = blobs.iter().map(|d| Object::Blob(repo.clone(), *d));
        for object in blobs.chain(children.iter().map(|d| Object::Manifest(repo.clone(), *d))) {
            if sight.see(&object).await.is_right() {
                found.insert(object);
            }
        }
    }
    found
}

/// The known content that is on the disk and that nothing reaches. What a readable manifest references is reached, even
/// where its repository was told to forget it.
async fn garbage<F: Fs>(
    registry: &Registry<F>,
    fs: &F,
    contents: &Contents,
    reachable: &BTreeSet<Object>,
) -> BTreeSet<Digest> {
    let mut reached = BTreeSet::new();
    for object in reachable {
        let (Object::Blob(_, digest) | Object::Manifest(_, digest)) = object else { continue };
        let (blobs, manifests) = contents.references(digest);
        let named = [digest].into_iter().chain(blobs).chain(manifests);
        reached.extend(named.filter_map(|d| contents.canonical(d)));
    }
    let mut garbage = BTreeSet::new();
    let known = contents.digests().filter(|d| d.algorithm() == Algorithm::Sha256 && !reached.contains(d));
    for digest in known {
        if fs.exists(&registry.strategy().content_path(digest)).await.unwrap_or(false) {
            garbage.insert(*digest);
        }
    }
    garbage
}
