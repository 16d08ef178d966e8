//! Collection in a registry that is in service: what it spares, for how long, and what damage makes it spare.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::choice::Seeded;
use pullplug::env::{World, run_now};
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::fs::{Fs, FsExt};
use pullplug::oci::Digest;
use pullplug::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use pullplug::registry::{Error, Registry};
use pullplug::strategy::layout::{blob_data, layer_link, revision_link, tag_current_link, tag_index_link};
use pullplug::strategy::{CollectOptions, Collected};
use pullplug::workload::image::Image;

use super::interleave::{Task, Yielding, after_a_power_cut, finish, no_link_dangles, run_together};
use super::{on_both, plant, restarted, tree};
use crate::registry::{Stage, body, reference, repo, tag};

const IN_SERVICE: CollectOptions = CollectOptions { delete_untagged: false, dry_run: false, exclusive: false };
const ALONE: CollectOptions = CollectOptions { exclusive: true, ..IN_SERVICE };
const UNTAGGED: CollectOptions = CollectOptions { delete_untagged: true, ..ALONE };

fn index(children: &[(Digest, usize)]) -> Bytes {
    let child = |(d, len): &(Digest, usize)| format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{d}","size":{len}}}"#);
    let children: Vec<_> = children.iter().map(child).collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, children.join(",")).into()
}

#[test]
fn links_are_spared_for_one_cycle_after_their_push_and_after_a_start() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let old = s.push_blob(&name, b"old").await;
        let s = restarted(s).await;
        assert_eq!(s.registry.collect(IN_SERVICE).await.unwrap(), Collected::default(), "found at the start");
        let new = s.push_blob(&name, b"new").await;
        let pushed_again = s.push_blob(&name, b"again").await;
        let mounted = s.push_blob(&repo("other"), b"mounted").await;
        s.registry.mount(&name, &repo("other"), &mounted).await.unwrap();
        let second = s.registry.collect(IN_SERVICE).await.unwrap();
        assert_eq!((second.blobs, second.layer_links), (vec![old], vec![(name.clone(), old)]));
        s.push_blob(&name, b"again").await;
        let third = s.registry.collect(IN_SERVICE).await.unwrap();
        let mut gone = vec![new, mounted];
        gone.sort();
        assert_eq!(third.blobs, gone);
        assert_eq!(s.registry.stat_blob(&name, &pushed_again).await.unwrap().size, 5);
        assert_eq!(s.registry.collect(IN_SERVICE).await.unwrap().blobs, [pushed_again]);
        assert_eq!(s.registry.collect(IN_SERVICE).await.unwrap(), Collected::default());
        // Only empty shards and the parts of repositories are left.
        let left = tree(&s.fs, "").await;
        assert!(left.iter().all(|path| !path.ends_with("/link") && !path.ends_with("/data")), "{left:?}");
    }
    on_both!(scenario);
}

/// A blob is linked, but its push has still to clear its session away: however many collections go by until then, the
/// client that is told of the blob afterwards finds it.
#[test]
fn a_push_outlives_any_number_of_collections() {
    let registry: Arc<OnceLock<Registry<HookedFs<SimFs>>>> = Arc::default();
    let (shared, collections) = (Arc::clone(&registry), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&collections);
    let fs = HookedFs::with_hook(SimFs::new(), move |call| {
        if let (Call::Unlink { path }, Some(registry)) = (call, shared.get())
            && path.contains("/_uploads/")
        {
            for _ in 0..3 {
                run_now(registry.collect(IN_SERVICE)).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        Action::Run
    });
    run_now(async {
        let s = Stage::open("durable", fs).await;
        assert!(registry.set(s.registry.clone()).is_ok());
        let digest = s.push_blob(&repo("lib/app"), b"new").await;
        assert!(collections.load(Ordering::Relaxed) >= 3);
        assert_eq!(s.read(&repo("lib/app"), &digest).await.unwrap(), b"new");
        s.registry.collect(IN_SERVICE).await.unwrap();
        assert_eq!(s.read(&repo("lib/app"), &digest).await.unwrap(), b"new", "one cycle after the answer");
    });
}

/// Collections that were asked for before a push was answered take nothing of it, though they wait for one another.
#[test]
fn collections_that_queue_spare_a_push_that_was_answered_meanwhile() {
    let mut overtaken = 0;
    for seed in 0..200 {
        let (fs, name) = (Yielding(SimFs::new()), repo("lib/app"));
        let registry = finish(Registry::open("durable", fs, World::simulated(7))).unwrap();
        finish(registry.collect(IN_SERVICE)).unwrap();
        let (asked, overtook) = (Cell::new(0), Cell::new(false));
        let digest = Digest::sha256(b"new");
        let collection = || {
            let task: Task<'_> = Box::pin(async {
                asked.set(asked.get() + 1);
                registry.collect(IN_SERVICE).await.unwrap();
            });
            task
        };
        let mut tasks: Vec<Task<'_>> = (0..4).map(|_| collection()).collect();
        tasks.push(Box::pin(async {
            registry.push_blob(&name, &digest, &mut body(b"new")).await.unwrap();
            overtook.set(asked.get() == 4);
        }));
        run_together(tasks, &mut Seeded::stream(seed, "queue"));
        if overtook.get() {
            overtaken += 1;
            assert_eq!(finish(registry.stat_blob(&name, &digest)).map(|found| found.size), Ok(3), "seed {seed}");
        }
    }
    assert!(overtaken > 20, "{overtaken} pushes were answered after all collections were asked for");
}

#[test]
fn content_without_links_goes_at_once() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let digest = Digest::sha256(b"a commit was cut before its link");
        plant(&s.fs, &blob_data(&digest), b"a commit was cut before its link").await;
        assert_eq!(s.registry.collect(IN_SERVICE).await.unwrap().blobs, [digest]);
        assert!(!s.fs.exists(&blob_data(&digest)).await.unwrap());
    }
    on_both!(scenario);
}

#[test]
fn index_entries_go_before_the_content_that_they_name() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (first, second) = (Image::generated(1, tag("v1"), &[9]), Image::generated(2, tag("v1"), &[9]));
        let old = s.push(&name, &first).await;
        s.push(&name, &second).await;
        s.registry.delete_manifest(&name, &old.into()).await.unwrap();
        let entry = tag_index_link(&name, &tag("v1"), &old);
        assert!(s.fs.exists(&entry).await.unwrap(), "history");
        let links = s.registry.strategy().links_at(&entry).await.unwrap();
        assert_eq!(links[0].needs, [blob_data(&old)]);
        s.registry.collect(ALONE).await.unwrap();
        assert!(!s.fs.exists(&entry).await.unwrap() && !s.fs.exists(&blob_data(&old)).await.unwrap());
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    on_both!(scenario);
}

#[test]
fn what_no_tag_names_goes_with_its_children_unless_something_live_leads_to_it() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let images = [1, 2, 3, 4].map(|seed| Image::generated(seed, tag("t"), &[9]));
        let mut roots = Vec::new();
        for image in &images {
            roots.push(s.push(&name, image).await);
        }
        s.registry.delete_manifest(&name, &reference("t")).await.unwrap();
        let len = |i: usize| images[i].manifests()[0].bytes.len();
        let dead = index(&[(roots[0], len(0)), (roots[1], len(1))]);
        let live = index(&[(roots[1], len(1)), (roots[2], len(2))]);
        let put = async |by: &str, bytes: &Bytes| {
            let digest = Digest::sha256(bytes);
            let by = if by.is_empty() { digest.into() } else { reference(by) };
            s.registry.put_manifest(&name, &by, None, bytes.clone()).await.unwrap()
        };
        let dead = put("", &dead).await;
        let outer = put("", &index(&[(dead, 1)])).await;
        put("keep", &live).await;
        let planned = s.registry.collect(CollectOptions { dry_run: true, ..UNTAGGED }).await.unwrap();
        let collected = s.registry.collect(UNTAGGED).await.unwrap();
        assert_eq!(planned, collected);
        let mut gone =
            vec![(name.clone(), outer), (name.clone(), dead), (name.clone(), roots[0]), (name.clone(), roots[3])];
        gone.sort();
        assert_eq!(collected.manifests, gone);
        assert_eq!(collected.layer_links.len(), 2 * 2);
        s.pull(&name, &reference("keep")).await.unwrap();
        let spared = CollectOptions { exclusive: false, ..UNTAGGED };
        s.push(&name, &images[0]).await;
        s.registry.delete_manifest(&name, &reference("t")).await.unwrap();
        assert_eq!(s.registry.collect(spared).await.unwrap(), Collected::default(), "pushed since");
        assert_eq!(s.registry.collect(spared).await.unwrap().manifests, [(name.clone(), roots[0])]);
    }
    on_both!(scenario);
}

#[test]
fn damage_does_not_spread() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let image = Image::generated(1, tag("v1"), &[9]);
        let root = s.push(&name, &image).await;
        let stray = s.push_blob(&name, b"stray").await;
        let right = s.fs.read(&blob_data(&root), 1 << 20).await.unwrap();
        // An unreadable manifest: nobody knows what it needs.
        for content in [Vec::new(), vec![0; right.len()], right[..10].to_vec()] {
            plant(&s.fs, &blob_data(&root), &content).await;
            assert_eq!(s.registry.collect(ALONE).await.unwrap(), Collected::default());
            assert_eq!(s.registry.collect(UNTAGGED).await.unwrap(), Collected::default());
        }
        plant(&s.fs, &blob_data(&root), &right).await;
        // A torn revision link counts for the digest in its path, a torn tag for every manifest.
        for link in [revision_link(&name, &root), tag_current_link(&name, &tag("v1"))] {
            let words = s.fs.read(&link, 100).await.unwrap();
            plant(&s.fs, &link, b"").await;
            for options in [CollectOptions { dry_run: true, ..ALONE }, CollectOptions { dry_run: true, ..UNTAGGED }] {
                let planned = s.registry.collect(options).await.unwrap();
                assert_eq!((planned.blobs, planned.manifests), (vec![stray], vec![]), "{link}");
            }
            plant(&s.fs, &link, &words).await;
        }
        // A torn layer link that nothing references just goes.
        plant(&s.fs, &layer_link(&name, &stray), b"").await;
        let collected = s.registry.collect(ALONE).await.unwrap();
        assert_eq!((collected.blobs, collected.layer_links), (vec![stray], vec![(name.clone(), stray)]));
        s.pull(&name, &reference("v1")).await.unwrap();
        // A manifest of a kind that is not known, from another registry.
        let unknown = Bytes::from_static(br#"{"schemaVersion":1,"fsLayers":[]}"#);
        let digest = Digest::sha256(&unknown);
        plant(&s.fs, &blob_data(&digest), &unknown).await;
        plant(&s.fs, &revision_link(&name, &digest), digest.to_string().as_bytes()).await;
        plant(&s.fs, &tag_current_link(&name, &tag("old")), digest.to_string().as_bytes()).await;
        s.push_blob(&name, b"stray").await;
        assert_eq!(s.registry.collect(UNTAGGED).await.unwrap(), Collected::default());
        s.registry.delete_manifest(&name, &digest.into()).await.unwrap();
        assert!(s.registry.collect(UNTAGGED).await.unwrap().blobs.contains(&stray));
    }
    on_both!(scenario);
}

#[test]
fn a_manifest_over_something_collected_is_refused_until_it_is_pushed_again() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let image = Image::generated(1, tag("v1"), &[9]);
        for blob in image.blobs() {
            s.push_blob(&name, &blob.bytes).await;
        }
        s.registry.collect(ALONE).await.unwrap();
        let put = s.registry.put_manifest(&name, &reference("v1"), None, image.manifests()[0].bytes.clone()).await;
        assert!(matches!(put, Err(Error::ManifestBlobUnknown(_))), "{put:?}");
        s.push(&name, &image).await;
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    on_both!(scenario);
}

/// Index entries of deleted tags are removed without a sync, by another operation than the one that removes what they
/// lead to.
#[test]
fn no_crash_brings_back_a_link_to_collected_content() {
    let mut crashes = Seeded::stream(1, "crashes");
    let (disk, name, image) = (SimFs::new(), repo("lib/app"), Image::generated(1, tag("v1"), &[9]));
    run_now(async {
        let s = Stage::open("durable", disk.clone()).await;
        s.push(&name, &image).await;
        s.registry.delete_manifest(&name, &image.roots()[0].digest.into()).await.unwrap();
        let collected = s.registry.collect(ALONE).await.unwrap();
        assert_eq!((collected.blobs.len(), collected.layer_links.len()), (3, 2));
    });
    for _ in 0..20 {
        for left in after_a_power_cut(&disk, &mut crashes) {
            run_now(no_link_dangles(&left));
        }
    }
}
