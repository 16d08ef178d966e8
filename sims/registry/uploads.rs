//! Upload sessions.

use pullplug::fs::Fs;
use pullplug::oci::{Algorithm, Digest};
use pullplug::registry::Error;

use super::{Stage, body, everywhere, noise, nothing, pieces, repo};

#[test]
fn a_blob_in_one_piece() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 40_000));
        let digest = Digest::sha256(&content);
        assert!(matches!(s.registry.stat_blob(&name, &digest).await, Err(Error::BlobUnknown(d)) if d == digest));
        let id = s.registry.start_upload(&name).await.unwrap();
        assert_eq!(s.registry.upload_offset(&name, &id).await, Ok(0));
        let descriptor = s.registry.commit(&name, &id, &digest, None, &mut body(&content)).await.unwrap();
        assert_eq!((descriptor.digest, descriptor.size, descriptor.is_manifest), (digest, 40_000, false));
        assert_eq!(s.registry.stat_blob(&name, &digest).await.unwrap(), descriptor);
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
        let gone = Error::UploadUnknown(id.clone());
        assert_eq!(s.registry.upload_offset(&name, &id).await, Err(gone.clone()));
        assert_eq!(s.registry.append(&name, &id, None, &mut body(b"x")).await, Err(gone.clone()));
        assert_eq!(s.registry.commit(&name, &id, &digest, None, &mut nothing()).await, Err(gone));
    }
    everywhere!(scenario);
}

#[test]
fn an_empty_blob_and_one_pushed_twice() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        for content in [&b""[..], b"twice"] {
            for _ in 0..2 {
                let digest = s.push_blob(&name, content).await;
                assert_eq!(s.read(&name, &digest).await.unwrap(), content);
            }
        }
    }
    everywhere!(scenario);
}

#[test]
fn chunks_over_a_restart() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 30_000));
        let digest = Digest::sha256(&content);
        let id = s.registry.start_upload(&name).await.unwrap();
        let append = s.registry.append(&name, &id, Some(0), &mut pieces(&content[..10_000], 999, false)).await;
        assert_eq!(append, Ok(10_000));
        let append = s.registry.append(&name, &id, None, &mut pieces(&content[10_000..15_000], 5_000, false)).await;
        assert_eq!(append, Ok(15_000));
        let registry = s.restarted().await;
        assert_eq!(registry.upload_offset(&name, &id).await, Ok(15_000));
        let append = registry.append(&name, &id, Some(15_000), &mut body(&content[15_000..20_000])).await;
        assert_eq!(append, Ok(20_000));
        // The last chunk rides along.
        let last = &mut body(&content[20_000..]);
        assert_eq!(registry.commit(&name, &id, &digest, Some(20_000), last).await.unwrap().size, 30_000);
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    everywhere!(scenario);
}

#[test]
fn a_chunk_out_of_order_changes_nothing() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 2_000));
        let digest = Digest::sha256(&content);
        let id = s.registry.start_upload(&name).await.unwrap();
        s.registry.append(&name, &id, None, &mut body(&content[..1_000])).await.unwrap();
        for given_bytes in [0, 999, 1_001, u64::MAX] {
            let refused = Error::RangeInvalid { at_bytes: 1_000, given_bytes };
            let rest = || body(&content[1_000..]);
            assert_eq!(s.registry.append(&name, &id, Some(given_bytes), &mut rest()).await, Err(refused.clone()));
            let commit = s.registry.commit(&name, &id, &digest, Some(given_bytes), &mut rest()).await;
            assert_eq!(commit, Err(refused));
            assert_eq!(s.registry.upload_offset(&name, &id).await, Ok(1_000));
        }
        s.registry.commit(&name, &id, &digest, Some(1_000), &mut body(&content[1_000..])).await.unwrap();
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    everywhere!(scenario);
}

#[test]
fn what_came_before_the_body_broke_off_is_kept() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 3_000));
        let id = s.registry.start_upload(&name).await.unwrap();
        let broken = s.registry.append(&name, &id, None, &mut pieces(&content[..2_000], 500, true)).await;
        assert!(matches!(broken, Err(Error::Body(_))), "{broken:?}");
        assert_eq!(s.registry.upload_offset(&name, &id).await, Ok(2_000));
        let digest = Digest::sha256(&content);
        s.registry.commit(&name, &id, &digest, Some(2_000), &mut body(&content[2_000..])).await.unwrap();
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    everywhere!(scenario);
}

#[test]
fn wrong_bytes_become_no_blob() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 2_000));
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, &content);
            for wrong in [&content[..1_999], &noise("other", 2_000)[..], b""] {
                let id = s.registry.start_upload(&name).await.unwrap();
                let commit = s.registry.commit(&name, &id, &digest, None, &mut body(wrong)).await;
                assert_eq!(commit, Err(Error::DigestInvalid(digest)));
                assert_eq!(s.registry.stat_blob(&name, &digest).await, Err(Error::BlobUnknown(digest)));
                let canonical = Digest::sha256(wrong);
                assert_eq!(s.registry.stat_blob(&name, &canonical).await, Err(Error::BlobUnknown(canonical)));
            }
        }
        // Nothing of it stands in the way of the right ones.
        let digest = s.push_blob(&name, &content).await;
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    everywhere!(scenario);
}

#[test]
fn sha512_is_another_name_of_the_same_blob() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, content) = (repo("lib/app"), noise("layer", 20_000));
        let long = Digest::of(Algorithm::Sha512, &content);
        let id = s.registry.start_upload(&name).await.unwrap();
        s.registry.append(&name, &id, None, &mut body(&content[..7_000])).await.unwrap();
        let registry = s.restarted().await;
        let descriptor = registry.commit(&name, &id, &long, None, &mut body(&content[7_000..])).await.unwrap();
        assert_eq!((descriptor.digest, descriptor.size), (long, 20_000));
        for digest in [long, Digest::sha256(&content)] {
            assert_eq!(s.read(&name, &digest).await.unwrap(), content, "{digest}");
        }
        // The bytes lie there once.
        let path = s.registry.strategy().content_path(&Digest::sha256(&content));
        assert_eq!(s.fs.metadata(&path).await.unwrap().len, 20_000);
        s.registry.mount(&repo("other"), &name, &long).await.unwrap();
        // distribution's mount links the alias to itself, where no content is.
        let wanted = if s.is_distribution() { Err(Error::BlobUnknown(long)) } else { Ok(content) };
        assert_eq!(s.read(&repo("other"), &long).await, wanted);
    }
    everywhere!(scenario);
}

#[test]
fn a_cancelled_upload_is_gone() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (id, other) =
            (s.registry.start_upload(&name).await.unwrap(), s.registry.start_upload(&name).await.unwrap());
        assert_ne!(id, other);
        s.registry.append(&name, &id, None, &mut body(b"half")).await.unwrap();
        s.registry.append(&name, &other, None, &mut body(b"whole")).await.unwrap();
        assert_eq!(s.registry.cancel_upload(&name, &id).await, Ok(()));
        let gone = Err(Error::UploadUnknown(id.clone()));
        assert_eq!(s.registry.upload_offset(&name, &id).await, gone);
        assert_eq!(s.registry.cancel_upload(&name, &id).await, Err(Error::UploadUnknown(id)));
        // A session belongs to its repository.
        let elsewhere = s.registry.upload_offset(&repo("other"), &other).await;
        assert_eq!(elsewhere, Err(Error::UploadUnknown(other.clone())));
        assert_eq!(s.registry.upload_offset(&name, &other).await, Ok(5));
        let stranger = "no-such-upload".parse().unwrap();
        assert_eq!(s.registry.upload_offset(&name, &stranger).await, Err(Error::UploadUnknown(stranger)));
    }
    everywhere!(scenario);
}

#[test]
fn mounts() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (from, to, content) = (repo("lib/a"), repo("lib/b"), noise("layer", 5_000));
        let digest = Digest::sha256(&content);
        assert_eq!(s.registry.mount(&to, &from, &digest).await, Err(Error::BlobUnknown(digest)));
        s.push_blob(&from, &content).await;
        assert_eq!(s.registry.stat_blob(&to, &digest).await, Err(Error::BlobUnknown(digest)));
        for _ in 0..2 {
            assert_eq!(s.registry.mount(&to, &from, &digest).await.unwrap().size, 5_000);
        }
        s.registry.delete_blob(&from, &digest).await.unwrap();
        assert_eq!(s.read(&to, &digest).await.unwrap(), content);
        assert_eq!(s.registry.stat_blob(&from, &digest).await, Err(Error::BlobUnknown(digest)));
    }
    everywhere!(scenario);
}
