//! Reading and deleting blobs.

use pullplug::env::limits::IO_CHUNK_BYTES;
use pullplug::fs::Fs;
use pullplug::oci::{Algorithm, Digest};
use pullplug::registry::Error;

use super::{Stage, everywhere, noise, repo};

#[test]
fn ranges() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let len = 2 * IO_CHUNK_BYTES + 77;
        let (name, content) = (repo("lib/app"), noise("layer", len));
        let digest = s.push_blob(&name, &content).await;
        let chunk = IO_CHUNK_BYTES as u64;
        for (start, end) in
            [(0, 1), (5, 6), (0, u64::MAX), (chunk - 1, chunk + 1), (3, 2 * chunk), (len as u64 - 1, 1 << 60)]
        {
            let mut reader = s.registry.read_blob(&name, &digest, Some(start..end)).await.unwrap();
            let wanted = &content[start as usize..end.min(len as u64) as usize];
            assert_eq!((reader.remaining_bytes(), reader.blob_bytes()), (wanted.len() as u64, len as u64));
            let mut read = Vec::new();
            while let Some(piece) = reader.next().await.unwrap() {
                assert!(piece.len() <= IO_CHUNK_BYTES);
                read.extend_from_slice(&piece);
            }
            assert!(read == wanted, "{start}..{end}");
            assert_eq!((reader.remaining_bytes(), reader.next().await), (0, Ok(None)));
        }
        let len_bytes = len as u64;
        for (from_bytes, end) in [(len_bytes, len_bytes + 1), (u64::MAX, u64::MAX), (7, 7), (9, 3)] {
            let refused = s.registry.read_blob(&name, &digest, Some(from_bytes..end)).await.map(|_| ());
            assert_eq!(refused, Err(Error::RangeNotSatisfiable { from_bytes, len_bytes }));
        }
        let empty = s.push_blob(&name, b"").await;
        let refused = s.registry.read_blob(&name, &empty, Some(0..1)).await.map(|_| ());
        assert_eq!(refused, Err(Error::RangeNotSatisfiable { from_bytes: 0, len_bytes: 0 }));
    }
    everywhere!(scenario);
}

#[test]
fn a_deleted_blob_is_unknown_and_can_be_pushed_again() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let (name, other, content) = (repo("lib/a"), repo("lib/b"), noise("layer", 1_000));
        let digest = s.push_blob(&name, &content).await;
        s.push_blob(&other, &content).await;
        assert_eq!(s.registry.delete_blob(&name, &digest).await, Ok(()));
        for gone in
            [s.registry.stat_blob(&name, &digest).await.map(|_| ()), s.registry.delete_blob(&name, &digest).await]
        {
            assert_eq!(gone, Err(Error::BlobUnknown(digest)));
        }
        assert!(s.registry.read_blob(&name, &digest, None).await.is_err());
        assert_eq!(s.read(&other, &digest).await.unwrap(), content, "the blob of another repository stays");
        s.push_blob(&name, &content).await;
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    everywhere!(scenario);
}

/// What somebody wrote over a blob is not handed out where content is verified, and what must be seen without hashing is
/// seen in any case.
#[test]
fn damaged_blobs() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let content = noise("layer", IO_CHUNK_BYTES + 10);
        let digest = s.push_blob(&name, &content).await;
        let mut flipped = content.clone();
        flipped[0] ^= 1;
        for damaged in
            [&flipped[..], &content[..IO_CHUNK_BYTES], &content[..1], b"", &[content.clone(), vec![0]].concat()]
        {
            s.damage(&digest, damaged).await;
            let read = s.read(&name, &digest).await;
            if s.is_distribution() {
                assert!(read.as_deref() == Ok(damaged) || read.is_err(), "{} bytes", damaged.len());
            } else {
                assert_eq!(read, Err(Error::BlobUnknown(digest)), "{} bytes", damaged.len());
            }
        }
        // To distribution a blob that exists is a blob; only a strategy that looks can heal it.
        for torn in [&content[..1], b""] {
            s.damage(&digest, torn).await;
            s.push_blob(&name, &content).await;
            let wanted = if s.is_distribution() { torn } else { &content[..] };
            assert!(s.read(&name, &digest).await.unwrap() == wanted, "{} bytes", torn.len());
        }
    }
    everywhere!(scenario);
}

#[test]
fn nothing_is_known_of_what_was_never_pushed() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        for name in ["lib/app", "other"].map(repo) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = Digest::of(algorithm, b"never");
                let unknown = Err(Error::BlobUnknown(digest));
                assert_eq!(s.registry.stat_blob(&name, &digest).await.map(|_| ()), unknown);
                assert_eq!(s.registry.read_blob(&name, &digest, None).await.map(|_| ()), unknown);
                assert_eq!(s.registry.delete_blob(&name, &digest).await, unknown);
            }
            s.push_blob(&repo("other"), b"something").await;
        }
    }
    everywhere!(scenario);
}
