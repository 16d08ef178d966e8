//! Manifests, tags, catalog and referrers.

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::limits::MAX_MANIFEST_BYTES;
use pullplug::fs::Fs;
use pullplug::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use pullplug::oci::{Algorithm, Digest, Reference};
use pullplug::registry::{Error, Page};
use pullplug::workload::image::Image;

use super::{Stage, everywhere, noise, reference, repo, tag};

/// A manifest of any of the four kinds: with these children, or with a config that is also its layer.
fn manifest(media_type: &str, parts: &[(Digest, usize)], more: &str) -> Bytes {
    let is_index = [OCI_INDEX, DOCKER_LIST].contains(&media_type);
    let kind = if is_index { OCI_MANIFEST } else { "application/octet-stream" };
    let parts: Vec<_> = parts
        .iter()
        .map(|(digest, len)| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{len}}}"#))
        .collect();
    let body = if is_index {
        format!(r#""manifests":[{}]"#, parts.join(","))
    } else {
        format!(r#""config":{},"layers":[{}]"#, parts[0], parts.join(","))
    };
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}",{body}{more}}}"#).into()
}

#[test]
fn an_image_goes_in_and_comes_out_byte_by_byte() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, image) = (repo("lib/app"), Image::generated(1, tag("v1"), &[40_000, 300]));
        let digest = s.push(&name, &image).await;
        for by in [reference("v1"), digest.into()] {
            for registry in [s.registry.clone(), s.restarted().await] {
                let stored = registry.get_manifest(&name, &by).await.unwrap();
                assert_eq!((stored.digest, stored.media_type), (digest, OCI_MANIFEST));
                assert_eq!(stored.bytes, image.manifests()[0].bytes);
            }
            s.pull(&name, &by).await.unwrap();
        }
        let unknown = s.registry.get_manifest(&name, &reference("v2")).await;
        assert!(matches!(unknown, Err(Error::ManifestUnknown(_))), "{unknown:?}");
        let elsewhere = s.registry.get_manifest(&repo("other"), &digest.into()).await;
        assert!(matches!(elsewhere, Err(Error::ManifestUnknown(_) | Error::NameUnknown(_))), "{elsewhere:?}");
    }
    everywhere!(scenario);
}

#[test]
fn all_four_kinds_and_nested_indexes() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let blob = (s.push_blob(&name, b"{}").await, 2);
        let put = async |bytes: &Bytes, by: &str, media_type| {
            s.registry.put_manifest(&name, &reference(by), media_type, bytes.clone()).await
        };
        let mut children = Vec::new();
        for media_type in [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST] {
            let is_image = [OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type);
            let bytes = manifest(media_type, if is_image { std::slice::from_ref(&blob) } else { &children }, "");
            let by = Digest::sha256(&bytes);
            assert_eq!(put(&bytes, &by.to_string(), Some(media_type)).await, Ok(by));
            assert_eq!(put(&bytes, "v1", None).await, Ok(by));
            let stored = s.registry.get_manifest(&name, &reference("v1")).await.unwrap();
            assert_eq!((stored.digest, stored.media_type, &stored.bytes), (by, media_type, &bytes));
            children.push((by, bytes.len()));
        }
        s.pull(&name, &reference("v1")).await.unwrap();
    }
    everywhere!(scenario);
}

#[test]
fn what_a_manifest_needs_must_be_there_first() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (here, missing) = (s.push_blob(&name, b"here").await, Digest::sha256(b"missing"));
        s.push_blob(&repo("other"), b"missing").await;
        let image = manifest(OCI_MANIFEST, &[(here, 4), (missing, 7)], "");
        let child = Digest::sha256(&image);
        let index = manifest(OCI_INDEX, &[(child, image.len())], "");
        let put = async |bytes: &Bytes| s.registry.put_manifest(&name, &reference("v1"), None, bytes.clone()).await;
        assert_eq!(put(&image).await, Err(Error::ManifestBlobUnknown(missing)));
        assert_eq!(put(&index).await, Err(Error::ManifestBlobUnknown(child)));
        // Nothing of the refused ones can be seen.
        assert!(s.registry.get_manifest(&name, &reference("v1")).await.is_err());
        assert!(s.registry.get_manifest(&name, &child.into()).await.is_err());
        let tags = s.registry.tags(&name, &Page::default()).await;
        assert!(tags.as_ref().map_or_else(|e| matches!(e, Error::NameUnknown(_)), |t| t.items.is_empty()), "{tags:?}");
        s.push_blob(&name, b"missing").await;
        put(&image).await.unwrap();
        put(&index).await.unwrap();
        s.pull(&name, &reference("v1")).await.unwrap();
        // A subject may be missing, and so may a layer that is to be fetched from elsewhere.
        let subject = format!(r#","subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{missing}","size":7}}"#);
        put(&manifest(OCI_MANIFEST, &[(here, 4)], &subject)).await.unwrap();
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        let foreign = format!(
            r#""layers":[{{"mediaType":"{foreign}","digest":"{}","size":1,"urls":["https://example.com/"]}}]"#,
            Digest::sha256(b"far")
        );
        let plain = String::from_utf8(manifest(OCI_MANIFEST, &[(here, 4)], "").to_vec()).unwrap();
        let at = plain.find(r#""layers""#).unwrap();
        put(&format!("{}{foreign}}}", &plain[..at]).into()).await.unwrap();
    }
    everywhere!(scenario);
}

#[test]
fn manifests_that_are_refused() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let good = manifest(OCI_MANIFEST, &[(s.push_blob(&name, b"{}").await, 2)], "");
        let put = async |by: &Reference, media_type, bytes: &[u8]| {
            s.registry.put_manifest(&name, by, media_type, Bytes::copy_from_slice(bytes)).await
        };
        let by_tag = reference("v1");
        for bad in [&b""[..], b"{}", &[0; 300], &good[..good.len() - 1], br#"{"schemaVersion":1,"fsLayers":[]}"#] {
            let refused = put(&by_tag, None, bad).await;
            assert!(matches!(refused, Err(Error::ManifestInvalid(_))), "{refused:?}");
        }
        for wrong in [DOCKER_MANIFEST, OCI_INDEX, "application/json"] {
            assert!(matches!(put(&by_tag, Some(wrong), &good).await, Err(Error::ManifestInvalid(_))), "{wrong}");
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let other = Digest::of(algorithm, b"other");
            assert_eq!(put(&other.into(), None, &good).await, Err(Error::DigestInvalid(other)));
        }
    }
    everywhere!(scenario);
}

/// The size is judged before the content; exactly the limit is still stored and read.
#[test]
fn the_largest_manifest() {
    let limit_bytes = MAX_MANIFEST_BYTES;
    for strategy in pullplug::strategy::NAMES {
        pullplug::env::run_now(async {
            let (s, name) = (Stage::open(strategy, SimFs::new()).await, repo("lib/app"));
            let good = manifest(OCI_MANIFEST, &[(s.push_blob(&name, b"{}").await, 2)], "");
            let mut large = good.to_vec();
            large.resize(limit_bytes as usize, b' ');
            let put = async |bytes: &[u8]| {
                s.registry.put_manifest(&name, &reference("v1"), None, Bytes::copy_from_slice(bytes)).await.map(|_| ())
            };
            assert_eq!(put(&large).await, Ok(()), "{strategy}");
            large.push(b' ');
            let refused = Error::ManifestTooLarge { size_bytes: limit_bytes + 1, limit_bytes };
            assert_eq!(put(&large).await, Err(refused), "{strategy}");
            let stored = s.registry.get_manifest(&name, &reference("v1")).await.unwrap();
            assert_eq!(stored.bytes, large[..limit_bytes as usize], "{strategy}");
        });
    }
}

#[test]
fn a_tag_moves_and_everything_can_be_deleted() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (old, new) = (Image::generated(1, tag("v1"), &[100]), Image::generated(2, tag("v1"), &[100]));
        let (first, second) = (s.push(&name, &old).await, s.push(&name, &new).await);
        assert_eq!(s.registry.get_manifest(&name, &reference("v1")).await.unwrap().digest, second);
        s.pull(&name, &first.into()).await.unwrap();
        let part = &old.manifests()[0];
        s.registry.put_manifest(&name, &reference("old"), None, part.bytes.clone()).await.unwrap();
        s.registry.put_manifest(&name, &reference("also"), None, part.bytes.clone()).await.unwrap();
        // A tag alone; the manifest stays.
        assert_eq!(s.registry.delete_manifest(&name, &reference("also")).await, Ok(()));
        assert!(matches!(s.registry.get_manifest(&name, &reference("also")).await, Err(Error::ManifestUnknown(_))));
        s.pull(&name, &reference("old")).await.unwrap();
        // A manifest, and every tag that points at it.
        assert_eq!(s.registry.delete_manifest(&name, &first.into()).await, Ok(()));
        for registry in [s.registry.clone(), s.restarted().await] {
            for gone in [first.into(), reference("old"), reference("never")] {
                let get = registry.get_manifest(&name, &gone).await;
                assert!(matches!(get, Err(Error::ManifestUnknown(_))), "{get:?}");
                let delete = registry.delete_manifest(&name, &gone).await;
                assert!(matches!(delete, Err(Error::ManifestUnknown(_))), "{gone}: {delete:?}");
            }
            assert_eq!(registry.tags(&name, &Page::default()).await.unwrap().items, [tag("v1")]);
        }
        s.pull(&name, &reference("v1")).await.unwrap();
        // What was deleted can be pushed again.
        s.push(&name, &old).await;
        assert_eq!(s.registry.get_manifest(&name, &reference("v1")).await.unwrap().digest, first);
    }
    everywhere!(scenario);
}

#[test]
fn a_manifest_by_its_sha512_digest() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let bytes = manifest(OCI_MANIFEST, &[(s.push_blob(&name, b"{}").await, 2)], "");
        let long = Digest::of(Algorithm::Sha512, &bytes);
        let put = s.registry.put_manifest(&name, &long.into(), None, bytes.clone()).await;
        if s.is_distribution() {
            // It compares every reference with the sha256 digest.
            return assert_eq!(put, Err(Error::DigestInvalid(long)));
        }
        assert_eq!(put, Ok(long));
        for registry in [s.registry.clone(), s.restarted().await] {
            let stored = registry.get_manifest(&name, &long.into()).await.unwrap();
            assert_eq!((stored.digest, &stored.bytes), (long, &bytes));
        }
        let index = manifest(OCI_INDEX, &[(long, bytes.len())], "");
        s.registry.put_manifest(&name, &reference("v1"), None, index).await.unwrap();
        s.pull(&name, &reference("v1")).await.unwrap();
        assert_eq!(s.registry.delete_manifest(&name, &long.into()).await, Ok(()));
        let gone = s.registry.get_manifest(&name, &long.into()).await;
        assert!(matches!(gone, Err(Error::ManifestUnknown(_))), "{gone:?}");
    }
    everywhere!(scenario);
}

#[test]
fn tags_and_repositories_page_by_page() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let names = ["a", "a-b", "a/b", "b/c/d", "b0"].map(repo);
        let page = |n: Option<usize>, last: Option<&str>| Page { n, last: last.map(str::to_owned) };
        assert_eq!(s.registry.catalog(&page(None, None)).await.unwrap().items, []);
        assert_eq!(s.registry.tags(&names[0], &page(None, None)).await, Err(Error::NameUnknown(names[0].clone())));
        for name in names.iter().rev() {
            s.push(name, &Image::generated(1, tag("v1"), &[100])).await;
        }
        for t in ["v9", "v10", "V1", "_x", "2"] {
            s.push(&names[0], &Image::generated(1, tag(t), &[100])).await;
        }
        let all = s.registry.tags(&names[0], &page(None, None)).await.unwrap();
        assert_eq!(all.items, ["2", "V1", "_x", "v1", "v10", "v9"].map(tag));
        assert!(!all.more);
        let some = s.registry.tags(&names[0], &page(Some(2), Some("V1"))).await.unwrap();
        assert_eq!((some.items, some.more), (vec![tag("_x"), tag("v1")], true));
        let none = s.registry.tags(&names[0], &page(Some(0), None)).await.unwrap();
        assert_eq!((none.items, none.more), (vec![], false));
        assert_eq!(s.registry.catalog(&page(None, None)).await.unwrap().items, names);
        let some = s.registry.catalog(&page(Some(3), Some("a-b"))).await.unwrap();
        assert_eq!((some.items.as_slice(), some.more), (&names[2..], false));
    }
    everywhere!(scenario);
}

#[test]
fn referrers() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let subject = Digest::sha256(b"comes later, or never");
        assert_eq!(s.registry.referrers(&name, &subject, None).await, Ok(vec![]), "no such repository");
        let blob = (s.push_blob(&name, b"{}").await, 2);
        let about = format!(r#","subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":7}}"#);
        let signature = manifest(OCI_MANIFEST, &[blob], &format!(r#"{about},"artifactType":"a/sig""#));
        let sbom = manifest(OCI_MANIFEST, &[blob], &format!(r#"{about},"annotations":{{"k":"v"}}"#));
        let index = manifest(OCI_INDEX, &[], &about);
        let stranger = manifest(OCI_MANIFEST, &[blob], "");
        for bytes in [&signature, &sbom, &index, &stranger] {
            let by = Digest::sha256(bytes).into();
            s.registry.put_manifest(&name, &by, None, bytes.clone()).await.unwrap();
        }
        let found = s.registry.referrers(&name, &subject, None).await.unwrap();
        let mut wanted = [
            (Digest::sha256(&signature), OCI_MANIFEST, signature.len() as u64, Some("a/sig"), 0),
            (Digest::sha256(&sbom), OCI_MANIFEST, sbom.len() as u64, Some("application/octet-stream"), 1),
            (Digest::sha256(&index), OCI_INDEX, index.len() as u64, None, 0),
        ];
        wanted.sort();
        let shown: Vec<_> = found
            .iter()
            .map(|r| (r.digest, r.media_type, r.size, r.artifact_type.as_deref(), r.annotations.len()))
            .collect();
        assert_eq!(shown, wanted);
        let only = s.registry.referrers(&name, &subject, Some("a/sig")).await.unwrap();
        assert_eq!(only.iter().map(|r| r.digest).collect::<Vec<_>>(), [Digest::sha256(&signature)]);
        assert_eq!(s.registry.referrers(&name, &subject, Some("a/none")).await, Ok(vec![]));
        // A torn one hides none of the others; a deleted one is gone.
        s.damage(&Digest::sha256(&sbom), &[0; 40]).await;
        s.registry.delete_manifest(&name, &Digest::sha256(&index).into()).await.unwrap();
        let left = s.registry.referrers(&name, &subject, None).await.unwrap();
        assert_eq!(left, only);
    }
    everywhere!(scenario);
}

#[test]
fn damaged_manifests_are_said_to_be_corrupt() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, image) = (repo("lib/app"), Image::generated(1, tag("v1"), &[100]));
        let digest = s.push(&name, &image).await;
        let bytes = &image.manifests()[0].bytes;
        for damaged in [&bytes[..bytes.len() / 2], &vec![0; bytes.len()], b"", &noise("manifest", 99)] {
            s.damage(&digest, damaged).await;
            for by in [reference("v1"), digest.into()] {
                let get = s.registry.get_manifest(&name, &by).await;
                assert!(matches!(get, Err(Error::Corrupt { .. } | Error::ManifestUnknown(_))), "{get:?}");
            }
        }
        // Another valid manifest in its place is seen only by those who verify, and by them also where it has the
        // length of one that was read before.
        s.damage(&digest, bytes).await;
        s.pull(&name, &reference("v1")).await.unwrap();
        let (a, b) = (image.blobs()[0].digest.hex(), image.blobs()[1].digest.hex());
        let other = String::from_utf8(bytes.to_vec()).unwrap().replace(&a, &b);
        for other in [other.clone(), other + " "] {
            s.damage(&digest, other.as_bytes()).await;
            let get = s.registry.get_manifest(&name, &digest.into()).await;
            assert_eq!(get.is_err(), !s.is_distribution());
        }
    }
    everywhere!(scenario);
}
