//! An upstream registry that sends what it should not: nothing of it is served in whole, and nothing of it stays.

use pullplug::fs::FsExt;
use pullplug::strategy::layout::{Layout, blob_data};

use super::*;

fn bytes(cut: Option<usize>, flip: Option<usize>, is_length_told: bool) -> Manner {
    Manner::Bytes { cut, flip, is_length_told }
}

/// That nothing of a blob is here: no bytes, no link, no upload.
async fn assert_nothing_of(cache: &Cache, digest: &Digest) {
    let repo: Name = REPO.parse().unwrap();
    let layout = Layout::new(cache.fs.clone());
    assert!(!cache.fs.exists(&blob_data(digest)).await.unwrap(), "bytes of {digest} stay");
    assert_eq!(layout.layer_links(&repo).await.unwrap(), []);
    assert_eq!(layout.uploads(&repo).await.unwrap(), []);
}

#[test]
fn wrong_bytes_are_never_served_in_whole_and_never_stored() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        for blob in image.blobs() {
            let (digest, len) = (blob.digest, blob.bytes.len());
            let path = blob_path(REPO, &digest);
            for is_length_told in [true, false] {
                for (cut, flip) in [
                    (None, Some(0)),
                    (None, Some(len - 1)),
                    (Some(len - 1), None),
                    (Some(0), None),
                    (Some(len / 2), None),
                ] {
                    let what = format!("{len} bytes, {cut:?} {flip:?} {is_length_told}");
                    let cache = Cache::of(&remote).await;
                    remote.behave(bytes(cut, flip, is_length_told));
                    let reply = cache.get(&path).await;
                    assert!(reply.status == 503 || !reply.whole, "{what}: a client believes it: {}", reply.status);
                    assert!(len > 1000 || reply.status == 503, "{what}: nothing was sent, so it can be told");
                    assert_nothing_of(&cache, &digest).await;
                    remote.behave(Manner::Good);
                    let reply = cache.get(&path).await;
                    assert!(reply.status == 200 && reply.whole && reply.body == blob.bytes, "{what}: it heals");
                }
            }
        }
    });
}

#[test]
fn an_answer_without_a_length_is_served_too() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        remote.behave(bytes(None, None, false));
        let cache = Cache::of(&remote).await;
        for blob in image.blobs() {
            let reply = cache.get(blob_path(REPO, &blob.digest)).await;
            assert!(reply.status == 200 && reply.whole && reply.body == blob.bytes);
            cache.settled(REPO, &blob.digest).await;
        }
    });
}

#[test]
fn a_wrong_manifest_is_never_stored() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        let root = image.roots()[0].digest;
        // Another length of the config: a manifest, but not this one.
        let size = image.manifests()[0].bytes.windows(7).position(|w| w == b"\"size\":").unwrap() + 7;
        for manner in [
            bytes(None, Some(size), true),
            bytes(None, Some(0), true),
            bytes(Some(10), None, true),
            bytes(Some(0), None, false),
        ] {
            for reference in [root.to_string(), "v1".to_owned()] {
                // The HEAD of a tag has no body to be wrong.
                if let (Manner::Bytes { flip: Some(_), .. }, "v1") = (&manner, &*reference) {
                    continue;
                }
                remote.behave(manner.clone());
                let reply = cache.get(format!("/v2/{REPO}/manifests/{reference}")).await;
                assert_eq!(reply.code(), "UNAVAILABLE");
                assert!(!cache.fs.exists(&blob_data(&root)).await.unwrap());
            }
        }
        remote.behave(Manner::Good);
        cache.pull(REPO, &image).await;
    });
}

#[test]
fn statuses_of_all_kinds_are_answers() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        let (digest, _) = big(&image);
        for (status, seen) in
            [(401, 404), (403, 404), (404, 404), (429, 503), (500, 503), (503, 503), (204, 503), (302, 503), (416, 503)]
        {
            remote.behave(Manner::Status(status));
            for path in [blob_path(REPO, &digest), format!("/v2/{REPO}/manifests/v1")] {
                assert_eq!(cache.get(path).await.status, seen, "{status}");
            }
        }
        assert_nothing_of(&cache, &digest).await;
    });
}

#[test]
fn who_is_late_is_not_waited_for() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let short = UpstreamOptions { answer_timeout: Duration::from_millis(50), ..options(&remote) };
        let cache = Cache::on(SimFs::new(), SimClock::default(), short, WEEK).await;
        remote.behave(Manner::After(Arc::default()));
        let (digest, _) = big(&image);
        for path in [blob_path(REPO, &digest), format!("/v2/{REPO}/manifests/v1")] {
            assert_eq!(cache.get(path).await.code(), "UNAVAILABLE");
        }
    });
}
