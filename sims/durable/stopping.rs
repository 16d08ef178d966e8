//! A sync that fails: nothing is acknowledged on its strength, nothing is written after it, reading goes on, and a
//! start makes everything possible again.

use pullplug::disk::SimFs;
use pullplug::env::choice::Seeded;
use pullplug::env::{World, run_now};
use pullplug::fs::ErrorKind;
use pullplug::fs::hooked::{Action, HookedFs, Nth};
use pullplug::fs::trace::Call;
use pullplug::registry::{Error, Registry};
use pullplug::strategy::CollectOptions;
use pullplug::workload::image::Image;

use super::interleave::after_a_power_cut;
use crate::registry::{Stage, body, reference, repo, tag};

/// Opens the registry on `disk`; from then on the `k`-th sync fails. The calls are recorded.
async fn failing(disk: &SimFs, k: u64) -> (Stage<HookedFs<SimFs>>, std::sync::Arc<Nth>) {
    // The start's own sync is not counted: it is the one of the whole file system.
    let nth = Nth::new(k, Action::Fail(ErrorKind::Io), |call| call.is_sync() && *call != Call::SyncFs);
    let judge = nth.clone();
    let stage = Stage::open("durable", HookedFs::with_hook(disk.clone(), move |call| judge.judge(call))).await;
    (stage, nth)
}

/// What can be done with an image, one operation after the other; the first error ends it.
async fn everything(s: &Stage<HookedFs<SimFs>>, image: &Image) -> Result<(), Error> {
    let name = repo("lib/app");
    for blob in image.blobs() {
        let id = s.registry.start_upload(&name).await?;
        s.registry.commit(&name, &id, &blob.digest, None, &mut Some(blob.bytes.clone())).await?;
        s.registry.mount(&repo("other"), &name, &blob.digest).await?;
    }
    let manifest = &image.manifests()[0];
    s.registry.put_manifest(&name, &reference("v2"), None, manifest.bytes.clone()).await?;
    s.registry.put_manifest(&name, &reference("v1"), None, manifest.bytes.clone()).await?;
    s.registry.delete_manifest(&name, &reference("v2")).await?;
    s.registry.delete_manifest(&name, &manifest.digest.into()).await?;
    s.registry.delete_blob(&name, &image.blobs()[0].digest).await
}

#[test]
fn after_any_failed_sync_nothing_is_written_until_the_next_start() {
    run_now(async {
        let name = repo("lib/app");
        let (old, new) = (Image::generated(1, tag("v1"), &[700]), Image::generated(2, tag("v1"), &[700]));
        let mut k = 0;
        loop {
            let disk = SimFs::new();
            Stage::open("durable", disk.clone()).await.push(&name, &old).await;
            let (s, nth) = failing(&disk, k).await;
            let id = s.registry.start_upload(&name).await.unwrap();
            let outcome = everything(&s, &new).await;
            if !nth.fired() {
                assert_eq!(outcome, Ok(()));
                break;
            }
            assert!(matches!(outcome, Err(Error::Fs(ref e)) if e.kind == ErrorKind::Io), "sync {k}: {outcome:?}");
            s.fs.trace().take();
            let stopped = |result: Result<(), Error>| {
                assert!(matches!(result, Err(Error::Stopped(_))), "sync {k}: {result:?}");
            };
            stopped(s.registry.start_upload(&name).await.map(|_| ()));
            stopped(s.registry.append(&name, &id, None, &mut body(b"x")).await.map(|_| ()));
            stopped(s.registry.commit(&name, &id, &old.blobs()[0].digest, None, &mut body(b"x")).await.map(|_| ()));
            stopped(s.registry.cancel_upload(&name, &id).await);
            stopped(s.registry.mount(&repo("third"), &name, &old.blobs()[0].digest).await.map(|_| ()));
            let bytes = old.manifests()[0].bytes.clone();
            stopped(s.registry.put_manifest(&name, &reference("v9"), None, bytes).await.map(|_| ()));
            stopped(s.registry.delete_blob(&name, &old.blobs()[0].digest).await);
            stopped(s.registry.delete_manifest(&name, &old.roots()[0].digest.into()).await);
            stopped(s.registry.collect(CollectOptions::default()).await.map(|_| ()));
            assert_eq!(s.fs.trace().take(), [], "sync {k}: something was written");
            s.pull(&name, &old.roots()[0].digest.into()).await.unwrap();
            // Of what was being changed nothing is told that could turn out otherwise.
            let seen = s.registry.get_manifest(&name, &reference("v1")).await;
            if !matches!(seen, Err(Error::Stopped(_))) {
                for left in after_a_power_cut(&disk, &mut Seeded::stream(k, "crashes")) {
                    assert_eq!(left.registry.get_manifest(&name, &reference("v1")).await, seen, "sync {k}");
                }
            }
            let registry = Registry::open("durable", disk.clone(), World::simulated(9)).await.unwrap();
            let s = Stage { strategy: "durable", registry, fs: disk, clock: s.clock };
            s.push(&name, &new).await;
            s.pull(&name, &reference("v1")).await.unwrap();
            k += 1;
        }
        assert!(k > 30, "only {k} syncs");
    });
}

#[test]
fn a_start_whose_sync_fails_does_not_serve() {
    let nth = Nth::new(0, Action::Fail(ErrorKind::Io), |call| *call == Call::SyncFs);
    let fs = HookedFs::with_hook(SimFs::new(), move |call| nth.judge(call));
    let opened = run_now(Registry::open("durable", fs, World::simulated(1)));
    assert!(opened.is_err());
}
