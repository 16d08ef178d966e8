//! What a crash, or another registry, left torn: it is not known, it breaks nothing else, and a push repairs it.

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::{Call, Trace};
use pullplug::fs::{Fs, FsExt};
use pullplug::oci::{Digest, Name};
use pullplug::registry::Error;
use pullplug::strategy::CollectOptions;
use pullplug::strategy::durable::VERIFIED_FOR_SECONDS;
use pullplug::strategy::layout::{
    Layout, blob_data, layer_link, revision_link, tag_current_link, tag_index_link, upload_data, upload_dir,
    upload_started_at,
};
use pullplug::workload::image::Image;

use super::{on_both, plant, restarted, tree};
use crate::registry::{Stage, body, nothing, reference, repo, tag};

/// What files are found holding after a crash, instead of `right`.
fn torn(right: &[u8]) -> [Vec<u8>; 5] {
    let mut flipped = right.to_vec();
    flipped[right.len() / 2] ^= 1;
    [vec![], vec![0; right.len()], right[..right.len() / 2].to_vec(), [right, b"\n"].concat(), flipped]
}

/// Pushes an image, damages one file of it, restarts, and pushes the image again.
async fn heals<F: Fs>(s: &Stage<F>, name: &Name, seed: u64, path: impl Fn(&Image) -> String, unknown: Unknown) {
    let image = Image::generated(seed, tag("v1"), &[3000]);
    let root = s.push(name, &image).await;
    let path = path(&image);
    let right = s.fs.read(&path, 1 << 20).await.unwrap();
    for content in torn(&right) {
        plant(&s.fs, &path, &content).await;
        let s = restarted(s).await;
        match unknown {
            Unknown::Layer => {
                let layer = image.blobs()[0].digest;
                assert_eq!(s.registry.stat_blob(name, &layer).await, Err(Error::BlobUnknown(layer)), "{path}");
                // A manifest that needs it says so, instead of binding what is not there.
                let (v2, bytes) = (reference("v2"), image.manifests()[0].bytes.clone());
                let put = s.registry.put_manifest(name, &v2, None, bytes).await;
                assert_eq!(put, Err(Error::ManifestBlobUnknown(layer)));
            }
            Unknown::Manifest => {
                let got = s.registry.get_manifest(name, &root.into()).await;
                assert_eq!(got, Err(Error::ManifestUnknown(root.to_string())), "{path}");
                assert_eq!(s.registry.tags(name, &Default::default()).await.unwrap().items, [], "{path}");
            }
            Unknown::Tag => {
                let got = s.registry.get_manifest(name, &reference("v1")).await;
                assert!(matches!(got, Err(Error::ManifestUnknown(_))), "{path}: {got:?}");
                assert!(s.registry.get_manifest(name, &root.into()).await.is_ok());
                assert_eq!(s.registry.tags(name, &Default::default()).await.unwrap().items, []);
            }
        }
        let options = CollectOptions { exclusive: true, delete_untagged: false, dry_run: true };
        let planned = s.registry.collect(options).await.unwrap();
        assert_eq!((planned.blobs.len(), planned.layer_links.len()), (0, 0), "damage spreads from {path}");
        s.push(name, &image).await;
        s.pull(name, &reference("v1")).await.unwrap();
        assert_eq!(s.fs.read(&path, 1 << 20).await.unwrap(), right, "{path}");
        restarted(&s).await.pull(name, &reference("v1")).await.unwrap();
    }
}

#[derive(Clone, Copy)]
enum Unknown {
    Layer,
    Manifest,
    Tag,
}

#[test]
fn every_torn_file_of_an_image_is_healed_by_pushing_it_again() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let layer = |image: &Image| image.blobs()[0].digest;
        let root = |image: &Image| image.roots()[0].digest;
        heals(s, &name, 1, |i| blob_data(&layer(i)), Unknown::Layer).await;
        heals(s, &name, 2, |i| layer_link(&name, &layer(i)), Unknown::Layer).await;
        heals(s, &name, 3, |i| blob_data(&root(i)), Unknown::Manifest).await;
        heals(s, &name, 4, |i| revision_link(&name, &root(i)), Unknown::Manifest).await;
        heals(s, &name, 5, |_| tag_current_link(&name, &tag("v1")), Unknown::Tag).await;
    }
    on_both!(scenario);
}

#[test]
fn a_torn_index_entry_matters_to_nobody_and_is_replaced() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (first, second) = (Image::generated(1, tag("v1"), &[9]), Image::generated(2, tag("v1"), &[9]));
        let root = s.push(&name, &first).await;
        let entry = tag_index_link(&name, &tag("v1"), &root);
        let layout = Layout::new(s.fs.clone());
        assert_eq!(layout.read_link(&entry).await, Ok(Some(Ok(root))));
        // Not in place: the entry shares its file with the revision.
        s.fs.unlink(&entry).await.unwrap();
        plant(&s.fs, &entry, b"").await;
        s.push(&name, &second).await;
        s.push(&name, &first).await;
        s.pull(&name, &reference("v1")).await.unwrap();
        assert_eq!(layout.read_link(&entry).await, Ok(Some(Ok(root))));
    }
    on_both!(scenario);
}

/// A pull reads a blob once; only the first after a start, or after somebody wrote to it, also looks at its bytes before.
#[test]
fn a_blob_is_hashed_once() {
    let trace = Trace::with_reads();
    let fs = HookedFs::with_trace(SimFs::new(), trace.clone(), |_| Action::Run);
    run_now(async {
        let s = Stage::open("durable", fs).await;
        let (name, content) = (repo("lib/app"), [7; 3000]);
        let digest = s.push_blob(&name, &content).await;
        let reads = async |s: &Stage<_>| {
            trace.take();
            assert_eq!(s.read(&name, &digest).await.unwrap(), content);
            let of_blob = |call: &&Call| matches!(call, Call::Read { path, .. } if *path == blob_data(&digest));
            trace.take().iter().filter(of_blob).count()
        };
        assert_eq!(reads(&s).await, 1, "the push has hashed it");
        let s = restarted(&s).await;
        assert_eq!((reads(&s).await, reads(&s).await), (2, 1));
        plant(&s.fs, &blob_data(&digest), &content).await;
        assert_eq!((reads(&s).await, reads(&s).await), (2, 1));
        s.clock.advance(VERIFIED_FOR_SECONDS);
        assert_eq!((reads(&s).await, reads(&s).await), (2, 1));
    });
}

#[test]
fn what_rots_under_a_running_server_is_found_within_a_day_and_healed() {
    let fs = SimFs::new();
    run_now(async {
        let s = Stage::open("durable", fs.clone()).await;
        let (name, content) = (repo("lib/app"), [7; 3000]);
        let digest = s.push_blob(&name, &content).await;
        fs.corrupt(&blob_data(&digest), 1000, 1).unwrap();
        s.clock.advance(VERIFIED_FOR_SECONDS);
        assert_eq!(s.read(&name, &digest).await, Err(Error::BlobUnknown(digest)));
        s.push_blob(&name, &content).await;
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    });
}

#[test]
fn a_blob_that_is_gone_is_pushed_again_whatever_links_to_it() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, other) = (repo("lib/app"), repo("other"));
        let image = Image::generated(1, tag("v1"), &[3000]);
        s.push(&name, &image).await;
        let layer = image.blobs()[0].digest;
        s.fs.unlink(&blob_data(&layer)).await.unwrap();
        let s = restarted(s).await;
        assert_eq!(s.registry.stat_blob(&name, &layer).await, Err(Error::BlobUnknown(layer)));
        assert_eq!(s.registry.mount(&other, &name, &layer).await, Err(Error::BlobUnknown(layer)));
        s.push_blob(&other, &image.blobs()[0].bytes).await;
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    on_both!(scenario);
}

#[test]
fn half_removed_uploads_are_unknown_and_litter() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let digest = s.push_blob(&name, b"kept").await;
        let [whole, no_data, no_start, torn_start] = [0, 1, 2, 3].map(|_| ());
        let mut ids = Vec::new();
        for () in [whole, no_data, no_start, torn_start] {
            let id = s.registry.start_upload(&name).await.unwrap();
            s.registry.append(&name, &id, None, &mut body(b"some bytes")).await.unwrap();
            ids.push(id);
        }
        s.fs.unlink(&upload_data(&name, &ids[1])).await.unwrap();
        s.fs.unlink(&upload_started_at(&name, &ids[2])).await.unwrap();
        plant(&s.fs, &upload_started_at(&name, &ids[3]), &[0; 20]).await;
        let left = [layer_link(&name, &digest), blob_data(&digest)].map(|p| format!("{p}.0b8e.tmp"));
        for path in &left {
            plant(&s.fs, path, b"sha2").await;
        }
        let s = restarted(s).await;
        for id in &ids[1..] {
            assert_eq!(s.registry.upload_offset(&name, id).await, Err(Error::UploadUnknown(id.clone())));
            assert_eq!(s.registry.cancel_upload(&name, id).await, Err(Error::UploadUnknown(id.clone())));
        }
        assert!(s.registry.collect_litter().await.unwrap() >= 3 + 2);
        for path in ids[1..].iter().map(|id| upload_dir(&name, id)).chain(left) {
            assert!(!s.fs.exists(&path).await.unwrap(), "{path}");
        }
        assert_eq!(s.registry.collect_litter().await.unwrap(), 0, "nothing is left");
        assert_eq!(s.registry.upload_offset(&name, &ids[0]).await, Ok(10));
        assert_eq!(s.read(&name, &digest).await.unwrap(), b"kept");
    }
    on_both!(scenario);
}

#[test]
fn litter_of_deletions_goes_and_what_is_in_use_stays() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let image = Image::generated(1, tag("v1"), &[9]);
        let root = s.push(&name, &image).await;
        let id = s.registry.start_upload(&name).await.unwrap();
        s.registry.append(&name, &id, None, &mut body(b"some bytes")).await.unwrap();
        let before = tree(&s.fs, "").await;
        let gone = tag_index_link(&name, &tag("gone"), &root);
        plant(&s.fs, &gone, root.to_string().as_bytes()).await;
        let lost = Digest::sha256(b"lost");
        for link in [layer_link(&name, &lost), revision_link(&name, &lost), blob_data(&lost)] {
            s.fs.create_dir_all(pullplug::fs::split(&link).unwrap().0).await.unwrap();
        }
        let stray = format!("{}.0b8e.tmp", tag_current_link(&name, &tag("v1")));
        plant(&s.fs, &stray, b"").await;
        assert_eq!(s.registry.tags(&name, &Default::default()).await.unwrap().items, [tag("v1")]);
        s.registry.collect_litter().await.unwrap();
        let mut after = tree(&s.fs, "").await;
        // Shards of blobs are left for others to come.
        let shard = format!("docker/registry/v2/blobs/sha256/{}", &lost.hex()[..2]);
        after.retain(|path| *path != shard);
        assert_eq!(after, before);
        let digest = Digest::sha256(b"some bytes");
        s.registry.commit(&name, &id, &digest, Some(10), &mut nothing()).await.unwrap();
    }
    on_both!(scenario);
}

#[test]
fn a_directory_goes_back_and_forth_between_registries() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        for (seed, strategy) in (1..).zip(["durable", "distribution-2.8", "durable", "distribution-3.1", "durable"]) {
            let other = Stage { strategy, registry: s.registry.clone(), fs: s.fs.clone(), clock: s.clock.clone() };
            let s = restarted(&other).await;
            let image = Image::generated(seed, format!("v{seed}").parse().unwrap(), &[3000]);
            s.push(&name, &image).await;
            for earlier in 1..=seed {
                let v = reference(&format!("v{earlier}"));
                s.pull(&name, &v).await.unwrap();
            }
            let moved = Bytes::copy_from_slice(&image.manifests()[0].bytes);
            s.registry.put_manifest(&name, &reference("latest"), None, moved).await.unwrap();
            let latest = s.registry.get_manifest(&name, &reference("latest")).await.unwrap();
            assert_eq!(latest.digest, image.roots()[0].digest);
        }
    }
    on_both!(scenario);
}
