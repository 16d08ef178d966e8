//! The strategies that reproduce real registries: the same requests make the same calls.
//!
//! The lists in `snapshots/traces` were recorded from the real programs.

mod links;
pub mod ops;
mod uploads;

use std::sync::Arc;

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::env::choice::Seeded;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs, Nth};
use pullplug::fs::real::RealFs;
use pullplug::fs::trace::Call;
use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode};
use pullplug::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use pullplug::oci::{Algorithm, Digest, Name, Reference, UploadId};
use pullplug::registry::Registry;
use pullplug::strategy::{self, CollectOptions, Error, layout};
use serde_json::json;

const DISTRIBUTIONS: [&str; 3] = ["distribution-2.0", "distribution-2.8", "distribution-3.1"];

/// The lists of one version.
struct Recording {
    strategy: &'static str,
    push: &'static str,
    chunked: &'static str,
    gc: &'static str,
}

const RECORDINGS: [Recording; 2] = [
    Recording {
        strategy: "distribution-2.8",
        push: include_str!("../snapshots/traces/distribution-2.8.2-push.ops"),
        chunked: include_str!("../snapshots/traces/distribution-2.8.2-chunked.ops"),
        gc: include_str!("../snapshots/traces/distribution-2.8.2-gc.ops"),
    },
    Recording {
        strategy: "distribution-3.1",
        push: include_str!("../snapshots/traces/distribution-3.1.1-push.ops"),
        chunked: include_str!("../snapshots/traces/distribution-3.1.1-chunked.ops"),
        gc: include_str!("../snapshots/traces/distribution-3.1.1-gc.ops"),
    },
];

/// Compares two lists in comparable form, and shows where they part.
#[track_caller]
pub fn assert_same_calls(made: &[String], recorded: &[String], what: &str) {
    let same = made.iter().zip(recorded).take_while(|(a, b)| a == b).count();
    let around = |list: &[String]| list[same.saturating_sub(2)..list.len().min(same + 4)].join("\n  ");
    let parted = made.len() != same || recorded.len() != same;
    assert!(!parted, "{what}, line {same}: made\n  {}\nrecorded\n  {}", around(made), around(recorded));
}

fn registry<F: Fs>(name: &str, fs: &F) -> Registry<F> {
    let world = World::simulated(7);
    Registry::new(strategy::build(name, fs.clone(), world.clone()).unwrap(), world)
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

fn tag(tag: &str) -> Reference {
    Reference::Tag(tag.parse().unwrap())
}

/// Content that is told apart by `of`.
pub fn content(of: &str, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    Seeded::stream(1, of).fill(&mut bytes);
    bytes.into()
}

/// A manifest of `config` and `layers`, filled up with spaces to `len` bytes.
pub fn manifest(config: &Bytes, layers: &[&Bytes], len: usize) -> Bytes {
    let layers: Vec<_> =
        layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", config);
    let image = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    filled(&image, len)
}

/// An index of `children`.
fn index(children: &[&Bytes]) -> Bytes {
    let manifests: Vec<_> = children.iter().map(|child| descriptor(OCI_MANIFEST, child)).collect();
    filled(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}), 0)
}

fn descriptor(media_type: &str, content: &Bytes) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content).to_string(), "size": content.len()})
}

fn filled(document: &serde_json::Value, len: usize) -> Bytes {
    let mut bytes = document.to_string().into_bytes();
    assert!(len == 0 || bytes.len() <= len, "{} bytes are more than {len}", bytes.len());
    bytes.resize(len.max(bytes.len()), b' ');
    bytes.into()
}

/// POST, then PUT of all.
async fn push_blob<F: Fs>(registry: &Registry<F>, repo: &Name, blob: &Bytes) -> Result<UploadId, Error> {
    let id = registry.start_upload(repo).await?;
    registry.commit(repo, &id, &Digest::sha256(blob), Some(0), &mut Some(blob.clone())).await?;
    Ok(id)
}

/// A layer, a config and a manifest of exactly 397 bytes, as the recorded client pushed them.
async fn push<F: Fs>(registry: &Registry<F>) -> Result<(), Error> {
    let repo = name("lib/app");
    let (layer, config) = (content("layer", 40_000), content("config", 79));
    push_blob(registry, &repo, &layer).await?;
    push_blob(registry, &repo, &config).await?;
    let image = manifest(&config, &[&layer], 397);
    registry.put_manifest(&repo, &tag("v1"), Some(OCI_MANIFEST), image).await?;
    Ok(())
}

/// A repository with one image behind the tag `v1`: its manifest, layer and config.
async fn image<F: Fs>(registry: &Registry<F>, repo: &Name) -> [Bytes; 3] {
    let (layer, config) = (content("image layer", 5000), content("image config", 79));
    push_blob(registry, repo, &layer).await.unwrap();
    push_blob(registry, repo, &config).await.unwrap();
    let image = manifest(&config, &[&layer], 0);
    registry.put_manifest(repo, &tag("v1"), Some(OCI_MANIFEST), image.clone()).await.unwrap();
    [image, layer, config]
}

/// Replaces a file's content behind the registry's back.
async fn overwrite<F: Fs>(fs: &F, path: &str, content: &[u8]) {
    let file = fs.open(path, OpenMode::Write).await.unwrap();
    file.set_len(content.len() as u64).await.unwrap();
    file.write_full(0, Bytes::copy_from_slice(content)).await.unwrap();
}

/// Three PATCHes and a PUT without a body.
async fn push_chunked<F: Fs>(registry: &Registry<F>) -> Result<(), Error> {
    let repo = name("lib/chunk");
    let layer = content("chunks", 30_000);
    let id = registry.start_upload(&repo).await?;
    for at in [0, 10_000, 20_000] {
        let chunk = layer.slice(at..at + 10_000);
        registry.append(&repo, &id, Some(at as u64), &mut Some(chunk)).await?;
    }
    registry.commit(&repo, &id, &Digest::sha256(&layer), Some(30_000), &mut None).await?;
    Ok(())
}

/// A root in which a push into another repository has been.
fn root_for_chunked() -> SimFs {
    let fs = SimFs::new();
    let hex = Digest::sha256(&content("chunks", 30_000)).hex();
    run_now(async {
        fs.create_dir_all("docker/registry/v2/repositories/lib").await.unwrap();
        fs.create_dir_all(&format!("docker/registry/v2/blobs/sha256/{}", &hex[..2])).await.unwrap();
    });
    fs
}

#[test]
fn a_push_makes_the_recorded_calls() {
    for recording in RECORDINGS {
        let fs = HookedFs::new(SimFs::new());
        run_now(push(&registry(recording.strategy, &fs))).unwrap();
        let expected = ops::comparable(&ops::recorded(recording.push));
        assert_same_calls(&ops::comparable(&fs.trace().lines()), &expected, recording.strategy);

        let dir = tempfile::tempdir().unwrap();
        let fs = HookedFs::new(RealFs::open_root(dir.path()).unwrap());
        run_now(push(&registry(recording.strategy, &fs))).unwrap();
        assert_same_calls(&ops::comparable(&fs.trace().lines()), &expected, "on a real directory");
    }
}

#[test]
fn a_chunked_push_makes_the_recorded_calls() {
    for recording in RECORDINGS {
        let fs = HookedFs::new(root_for_chunked());
        run_now(push_chunked(&registry(recording.strategy, &fs))).unwrap();
        let expected = ops::comparable(&ops::recorded(recording.chunked));
        assert_same_calls(&ops::comparable(&fs.trace().lines()), &expected, recording.strategy);
    }
}

#[test]
fn a_collection_makes_the_recorded_calls() {
    for recording in RECORDINGS {
        let fs = HookedFs::new(root_for_chunked());
        let registry = registry(recording.strategy, &fs);
        run_now(async {
            push(&registry).await.unwrap();
            push_chunked(&registry).await.unwrap();
            let image = registry.get_manifest(&name("lib/app"), &tag("v1")).await.unwrap().digest;
            registry.delete_manifest(&name("lib/app"), &Reference::Digest(image)).await.unwrap();
            fs.trace().take();
            registry.collect(CollectOptions::default()).await.unwrap();
        });
        let expected = ops::deletions(&ops::recorded(recording.gc));
        assert_eq!(ops::deletions(&fs.trace().lines()), expected, "{}", recording.strategy);
    }
}

/// Each call of a push is left out once: the comparison must tell.
#[test]
fn the_comparison_notices_every_missing_call() {
    // An open cannot be dropped, and a removal that had no effect is made again.
    let spared = ["open-create", "unlink", "rmdir"];
    for recording in RECORDINGS {
        let expected = ops::comparable(&ops::recorded(recording.push));
        let mut index = 0;
        loop {
            let below = HookedFs::new(SimFs::new());
            let nth = Nth::new(index, Action::Drop, move |c: &Call| c.is_change() && !spared.contains(&c.name()));
            let judge = Arc::clone(&nth);
            let fs = HookedFs::with_hook(below.clone(), move |c| judge.judge(c));
            let done = run_now(push(&registry(recording.strategy, &fs)));
            if !nth.fired() {
                break;
            }
            assert!(done.is_err() || ops::comparable(&below.trace().lines()) != expected, "call {index}");
            index += 1;
        }
        let droppable = expected.iter().filter(|line| !spared.contains(&line.split(' ').next().unwrap())).count();
        assert_eq!(index as usize, droppable);
    }
}

/// What the real registry also does, where one would not expect it; recorded from 2.8.2.
#[test]
fn requests_that_are_refused_make_the_recorded_calls() {
    let expected = include_str!("../snapshots/traces/distribution-2.8.2-refused.ops");
    let (repo, blob) = (name("lib/app"), content("refused", 1000));
    let fs = HookedFs::new(SimFs::new());
    let registry = registry("distribution-2.8", &fs);
    run_now(async {
        let id = registry.start_upload(&repo).await.unwrap();
        let (first, rest) = (blob.slice(..400), blob.slice(400..));
        assert_eq!(registry.append(&repo, &id, Some(0), &mut Some(first)).await, Ok(400));
        assert_eq!(registry.upload_offset(&repo, &id).await, Ok(400));
        let e = registry.append(&repo, &id, Some(0), &mut Some(rest.clone())).await.unwrap_err();
        assert_eq!(e, Error::RangeInvalid { at_bytes: 400, given_bytes: 0 });
        let other = Digest::sha256(b"other");
        let e = registry.commit(&repo, &id, &other, Some(400), &mut Some(rest)).await.unwrap_err();
        assert_eq!(e, Error::DigestInvalid(other));
    });
    assert_same_calls(&ops::comparable(&fs.trace().lines()), &ops::comparable(&ops::recorded(expected)), "2.8.2");
}

#[test]
fn a_cancelled_upload_makes_the_recorded_calls() {
    let expected = include_str!("../snapshots/traces/distribution-2.8.2-cancel.ops");
    let repo = name("lib/app");
    let fs = HookedFs::new(SimFs::new());
    let registry = registry("distribution-2.8", &fs);
    run_now(async {
        let id = registry.start_upload(&repo).await.unwrap();
        registry.append(&repo, &id, Some(0), &mut Some(content("cancelled", 400))).await.unwrap();
        registry.cancel_upload(&repo, &id).await.unwrap();
    });
    assert_same_calls(&ops::comparable(&fs.trace().lines()), &ops::comparable(&ops::recorded(expected)), "2.8.2");
}

#[test]
fn aliases_and_mounts_make_the_recorded_calls() {
    let expected = include_str!("../snapshots/traces/distribution-2.8.2-alias.ops");
    let (repo, blob) = (name("lib/app"), content("alias", 1000));
    let alias = Digest::of(Algorithm::Sha512, &blob);
    let fs = HookedFs::new(SimFs::new());
    let registry = registry("distribution-2.8", &fs);
    run_now(async {
        let id = registry.start_upload(&repo).await.unwrap();
        registry.commit(&repo, &id, &alias, Some(0), &mut Some(blob.clone())).await.unwrap();
        push_blob(&registry, &repo, &blob).await.unwrap();
        registry.mount(&name("lib/two"), &repo, &Digest::sha256(&blob)).await.unwrap();
        registry.mount(&name("lib/three"), &repo, &alias).await.unwrap();
    });
    assert_same_calls(&ops::comparable(&fs.trace().lines()), &ops::comparable(&ops::recorded(expected)), "2.8.2");
}

#[test]
fn moving_and_deleting_tags_makes_the_recorded_calls() {
    let expected = include_str!("../snapshots/traces/distribution-2.8.2-retag.ops");
    let repo = name("lib/app");
    let (layer, config) = (content("retagged layer", 1000), content("retagged config", 79));
    let [old, new] = [500, 600].map(|len| manifest(&config, &[&layer], len));
    assert_eq!((old.len(), new.len()), (500, 600));
    let fs = HookedFs::new(SimFs::new());
    let registry = registry("distribution-2.8", &fs);
    run_now(async {
        push_blob(&registry, &repo, &layer).await.unwrap();
        push_blob(&registry, &repo, &config).await.unwrap();
        for (at, image) in [("v1", &old), ("v1", &old), ("v2", &old), ("v1", &new)] {
            registry.put_manifest(&repo, &tag(at), Some(OCI_MANIFEST), image.clone()).await.unwrap();
        }
        for image in [&new, &old] {
            registry.delete_manifest(&repo, &Reference::Digest(Digest::sha256(image))).await.unwrap();
        }
        registry.delete_blob(&repo, &Digest::sha256(&layer)).await.unwrap();
    });
    assert_same_calls(&ops::comparable(&fs.trace().lines()), &ops::comparable(&ops::recorded(expected)), "2.8.2");
}
