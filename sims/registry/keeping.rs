//! What runs beside the requests: recovery, garbage collection, the purge of uploads.

use pullplug::env::limits::UPLOAD_PURGE_AGE_SECONDS;
use pullplug::fs::Fs;
use pullplug::oci::manifest::OCI_INDEX;
use pullplug::registry::Error;
use pullplug::strategy::{CollectOptions, Collected};
use pullplug::workload::image::Image;

use super::{Stage, body, everywhere, reference, repo, tag};

const ALONE: CollectOptions = CollectOptions { delete_untagged: false, dry_run: false, exclusive: true };

#[test]
fn collection_takes_what_nothing_reaches_and_nothing_else() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        // The same first layer in both images; the second layer and the config differ.
        let (kept, deleted) = (Image::generated(1, tag("v1"), &[100]), Image::generated(1, tag("v2"), &[100, 200]));
        s.push(&name, &kept).await;
        let gone = s.push(&name, &deleted).await;
        s.push(&repo("other"), &kept).await;
        let nothing = s.registry.collect(ALONE).await.unwrap();
        assert_eq!(nothing, Collected::default(), "everything is in use");
        s.pull(&name, &reference("v2")).await.unwrap();
        s.registry.delete_manifest(&name, &gone.into()).await.unwrap();
        let mut wanted: Vec<_> = deleted.blobs()[1..].iter().map(|b| b.digest).chain([gone]).collect();
        wanted.sort();
        let planned = s.registry.collect(CollectOptions { dry_run: true, ..ALONE }).await.unwrap();
        assert_eq!(planned.blobs, wanted);
        for digest in &wanted[..] {
            let path = s.registry.strategy().content_path(digest);
            assert!(s.fs.metadata(&path).await.is_ok(), "a dry run removes nothing");
        }
        assert_eq!(s.registry.collect(ALONE).await.unwrap(), planned);
        for digest in &wanted {
            let path = s.registry.strategy().content_path(digest);
            assert!(s.fs.metadata(&path).await.is_err(), "{path} is still there");
            assert!(s.registry.stat_blob(&name, digest).await.is_err());
        }
        for registry in [&name, &repo("other")] {
            s.pull(registry, &reference("v1")).await.unwrap();
        }
        assert_eq!(s.registry.collect(ALONE).await.unwrap().blobs, []);
        s.push(&name, &deleted).await;
        s.pull(&name, &reference("v2")).await.unwrap();
    }
    everywhere!(scenario);
}

#[test]
fn collection_of_what_no_tag_names() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (tagged, untagged) = (Image::generated(1, tag("v1"), &[100]), Image::generated(2, tag("v1"), &[100]));
        let replaced = s.push(&name, &untagged).await;
        s.push(&name, &tagged).await;
        assert_eq!(s.registry.collect(ALONE).await.unwrap(), Collected::default());
        s.pull(&name, &replaced.into()).await.unwrap();
        let collected = s.registry.collect(CollectOptions { delete_untagged: true, ..ALONE }).await.unwrap();
        assert_eq!(collected.manifests, [(name.clone(), replaced)]);
        assert_eq!(collected.blobs.len(), 3, "its layer, its config and itself");
        let get = s.registry.get_manifest(&name, &replaced.into()).await;
        assert!(matches!(get, Err(Error::ManifestUnknown(_))), "{get:?}");
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    everywhere!(scenario);
}

/// The children of an index are in use as long as the index is: through their own links, whether or not a collection
/// follows the index.
#[test]
fn collection_spares_the_children_of_an_index() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let image = Image::generated(1, tag("v1"), &[100]);
        let child = s.push(&name, &image).await;
        let part = &image.manifests()[0];
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{}","digest":"{child}","size":{}}}]}}"#,
            part.media_type,
            part.bytes.len()
        );
        s.registry.put_manifest(&name, &reference("v1"), None, index.into()).await.unwrap();
        assert_eq!(s.registry.collect(ALONE).await.unwrap(), Collected::default());
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    everywhere!(scenario);
}

#[test]
fn old_uploads_are_purged_by_the_clock() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let old = s.registry.start_upload(&name).await.unwrap();
        s.registry.append(&name, &old, None, &mut body(b"half")).await.unwrap();
        s.clock.advance(UPLOAD_PURGE_AGE_SECONDS);
        let new = s.registry.start_upload(&name).await.unwrap();
        assert_eq!(s.registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, false).await, Ok(0), "not older than the age");
        s.clock.advance(1);
        assert_eq!(s.registry.purge_uploads(u64::MAX, false).await, Ok(0));
        assert_eq!(s.registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, true).await, Ok(1), "looked at");
        assert_eq!(s.registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, false).await, Ok(1));
        assert_eq!(s.registry.upload_offset(&name, &old).await, Err(Error::UploadUnknown(old)));
        assert_eq!(s.registry.upload_offset(&name, &new).await, Ok(0));
        assert_eq!(s.registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, false).await, Ok(0));
    }
    everywhere!(scenario);
}

#[test]
fn a_restart_and_a_sweep_of_litter_change_nothing_that_was_acknowledged() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        s.push(&name, &Image::generated(1, tag("v1"), &[100, 50])).await;
        let id = s.registry.start_upload(&name).await.unwrap();
        s.registry.append(&name, &id, None, &mut body(b"half")).await.unwrap();
        for _ in 0..2 {
            let registry = s.restarted().await;
            registry.recover().await.unwrap();
            registry.collect_litter().await.unwrap();
            s.pull(&name, &reference("v1")).await.unwrap();
            assert_eq!(registry.upload_offset(&name, &id).await, Ok(4));
        }
        assert_eq!(s.restarted().await.collect_litter().await, Ok(0), "litter is gone once it was collected");
    }
    everywhere!(scenario);
}
