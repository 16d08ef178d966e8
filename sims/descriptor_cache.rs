//! The blob-descriptor cache: a registry that has one answers as one that has none.

use bytes::Bytes;
use proptest::prelude::*;
use pullplug::disk::SimFs;
use pullplug::env::choice::{Chooser, Recorded, Seeded, recorded};
use pullplug::env::{World, run_now};
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Trace;
use pullplug::fs::{FileExt, Fs, OpenMode};
use pullplug::oci::{Digest, Name};
use pullplug::registry::{Error, Registry};
use pullplug::strategy::layout::blob_data;
use pullplug::strategy::{self, CollectOptions};
use pullplug::workload::image::Image;

use crate::durable::interleave::{Task, Yielding, run_together};
use crate::registry::{body, noise, reference, repo, tag};

fn registry<F: Fs>(strategy: &str, fs: F) -> Registry<F> {
    Registry::new(strategy::build(strategy, fs, World::simulated(1)).unwrap(), World::simulated(1))
}

fn blobs() -> Vec<Bytes> {
    let image = Image::generated(1, tag("v1"), &[30]);
    image.blobs().iter().map(|b| b.bytes.clone()).chain([Bytes::from(noise("x", 40))]).collect()
}

/// Does what `choices` say to a registry, and tells what it answered.
fn story(registry: &Registry<SimFs>, mut choices: Recorded) -> Vec<String> {
    let repos: [Name; 2] = [repo("a"), repo("b")];
    let (blobs, image) = (blobs(), Image::generated(1, tag("v1"), &[30]));
    let mut told = Vec::new();
    run_now(async {
        for _ in 0..40 {
            let (name, other) = if choices.choose(2) == 0 { (&repos[0], &repos[1]) } else { (&repos[1], &repos[0]) };
            let blob = &blobs[choices.choose(blobs.len())];
            let digest = Digest::sha256(blob);
            told.push(match choices.choose(9) {
                0..=2 => format!("stat {:?}", registry.stat_blob(name, &digest).await),
                3 => format!("push {:?}", registry.push_blob(name, &digest, &mut body(blob)).await),
                4 => format!("mount {:?}", registry.mount(name, other, &digest).await),
                5 => format!("delete {:?}", registry.delete_blob(name, &digest).await),
                6 => {
                    let bytes = image.manifests()[0].bytes.clone();
                    format!("put {:?}", registry.put_manifest(name, &reference("v1"), None, bytes).await)
                }
                7 => {
                    let root = image.roots()[0].digest.into();
                    format!("delete manifest {:?}", registry.delete_manifest(name, &root).await)
                }
                _ => {
                    let options = CollectOptions { delete_untagged: true, exclusive: true, ..Default::default() };
                    format!("collect {:?}", registry.collect(options).await)
                }
            });
        }
    });
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn it_changes_no_answer(choices in recorded(160), entries in 2usize..8) {
        for name in strategy::NAMES {
            let plain = registry(name, SimFs::new());
            let cached = registry(name, SimFs::new()).with_descriptor_cache(entries);
            prop_assert_eq!(story(&cached, choices.clone()), story(&plain, choices.clone()), "{}", name);
        }
    }
}

#[test]
fn it_saves_the_way_to_the_storage() {
    for name in strategy::NAMES {
        let trace = Trace::with_reads();
        let fs = HookedFs::with_trace(SimFs::new(), trace.clone(), |_| Action::Run);
        let cached = registry(name, fs.clone()).with_descriptor_cache(10);
        run_now(async {
            let (a, content) = (repo("a"), noise("1", 50));
            let digest = Digest::sha256(&content);
            cached.push_blob(&a, &digest, &mut body(&content)).await.unwrap();
            trace.take();
            cached.stat_blob(&a, &digest).await.unwrap();
            assert_ne!(trace.take(), [], "{name}: nobody has asked before");
            assert_eq!(cached.stat_blob(&a, &digest).await.unwrap().size, 50);
            assert_eq!(trace.take(), [], "{name}: it is known");
            assert_eq!(cached.stat_blob(&repo("b"), &digest).await, Err(Error::BlobUnknown(digest)));
        });
    }
}

/// A client that is told that a blob is not there, and looks again before it pushes it, must not be told that it is.
#[test]
fn what_a_read_finds_damaged_is_no_longer_known() {
    let fs = SimFs::new();
    let cached = registry("durable", fs.clone()).with_descriptor_cache(10);
    run_now(async {
        let (a, content) = (repo("a"), noise("1", 50));
        let digest = Digest::sha256(&content);
        cached.push_blob(&a, &digest, &mut body(&content)).await.unwrap();
        assert_eq!(cached.stat_blob(&a, &digest).await.unwrap().size, 50);
        let file = fs.open(&blob_data(&digest), OpenMode::Write).await.unwrap();
        file.write_full(7, Bytes::from_static(b"damage")).await.unwrap();
        assert_eq!(cached.read_blob(&a, &digest, None).await.err(), Some(Error::BlobUnknown(digest)));
        assert_eq!(cached.stat_blob(&a, &digest).await, Err(Error::BlobUnknown(digest)));
    });
}

/// While some ask, others take away: after the answer to a deletion nobody is told that the blob is there.
#[test]
fn what_is_deleted_is_not_seen_again_in_any_order() {
    for seed in 0..300 {
        let disk = SimFs::new();
        let (a, content) = (repo("a"), [noise("1", 50), noise("2", 60)]);
        let digests = [Digest::sha256(&content[0]), Digest::sha256(&content[1])];
        run_now(async {
            let setup = registry("durable", disk.clone());
            for (digest, content) in digests.iter().zip(&content) {
                setup.push_blob(&a, digest, &mut body(content)).await.unwrap();
            }
        });
        let cached = registry("durable", Yielding(disk.clone())).with_descriptor_cache(10);
        let chooser = &mut Seeded::stream(seed, "cache");
        let mut tasks: Vec<Task<'_>> = Vec::new();
        for _ in 0..3 {
            tasks.push(Box::pin(async {
                for digest in digests.iter().chain(&digests) {
                    let _ = cached.stat_blob(&a, digest).await;
                }
            }));
        }
        let collects = chooser.choose(2) == 1;
        tasks.push(Box::pin(async {
            if collects {
                cached.collect(CollectOptions { exclusive: true, ..Default::default() }).await.unwrap();
                for digest in &digests {
                    assert_eq!(cached.stat_blob(&a, digest).await, Err(Error::BlobUnknown(*digest)), "seed {seed}");
                }
            } else {
                cached.delete_blob(&a, &digests[0]).await.unwrap();
                for _ in 0..3 {
                    let found = cached.stat_blob(&a, &digests[0]).await;
                    assert_eq!(found, Err(Error::BlobUnknown(digests[0])), "seed {seed}");
                }
                assert_eq!(cached.stat_blob(&a, &digests[1]).await.unwrap().size, 60);
            }
        }));
        run_together(tasks, chooser);
    }
}
