//! What is fetched, how often, and what is served when nothing can be.

use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::ServiceExt;

use super::*;

#[test]
fn what_is_missing_is_fetched_once_and_then_served_without_upstream() {
    on_runtime(async {
        let (mut remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        cache.pull(REPO, &image).await;
        for blob in image.blobs() {
            assert_eq!(remote.asked(&format!("GET {}", blob_path(REPO, &blob.digest))), 1);
        }
        assert_eq!(remote.asked(&format!("GET /v2/{REPO}/manifests/")), image.manifests().len());
        assert_eq!(remote.asked(&format!("HEAD /v2/{REPO}/manifests/v1")), 2, "a tag may have moved");
        remote.vanish().await;
        cache.pull(REPO, &image).await;
        assert_eq!(cache.get(format!("/v2/{REPO}/manifests/v2")).await.code(), "UNAVAILABLE");
        let reply = cache.get(blob_path(REPO, &Digest::sha256(b"never seen"))).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (503, "UNAVAILABLE".to_owned()));
    });
}

#[test]
fn a_look_fetches_nothing_and_a_part_comes_out_of_the_whole() {
    on_runtime(async {
        let (remote, image, cache) = remote_and_cache().await;
        let (digest, bytes) = big(&image);
        let reply = cache.client.expect(200, ask("HEAD", blob_path(REPO, &digest))).await;
        assert_eq!(reply.header("content-length"), bytes.len().to_string());
        assert_eq!(remote.asked(&format!("GET {}", blob_path(REPO, &digest))), 0);
        assert!(cache.registry.stat_blob(&REPO.parse().unwrap(), &digest).await.is_err());
        let part = ask("GET", blob_path(REPO, &digest)).header("Range", "bytes=100-199");
        let reply = cache.client.expect(206, part).await;
        assert_eq!(reply.body, bytes.slice(100..200));
        cache.settled(REPO, &digest).await;
    });
}

#[test]
fn what_upstream_does_not_have_is_not_known() {
    on_runtime(async {
        let (_remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        let (digest, _) = big(&image);
        // That the bytes are here for one repository opens them in no other.
        for method in ["GET", "HEAD"] {
            cache.client.expect(404, ask(method, blob_path("lib/other", &digest))).await;
        }
        assert_eq!(cache.get(blob_path("lib/other", &digest)).await.code(), "BLOB_UNKNOWN");
        let root = image.roots()[0].digest;
        assert_eq!(cache.get(format!("/v2/lib/other/manifests/{root}")).await.code(), "MANIFEST_UNKNOWN");
        assert_eq!(cache.get(format!("/v2/{REPO}/manifests/v2")).await.code(), "MANIFEST_UNKNOWN");
    });
}

#[test]
fn eight_clients_cost_one_fetch_and_one_failure() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let (digest, bytes) = big(&image);
        for is_good in [false, true] {
            let cache = Cache::of(&remote).await;
            let told = Arc::new(Notify::new());
            remote.behave(Manner::After(Arc::clone(&told)));
            let before = remote.asked("GET");
            let clients: Vec<_> = (0..8)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.get(blob_path(REPO, &digest)).await })
                })
                .collect();
            while remote.asked("GET") == before {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(remote.asked("GET"), before + 1);
            // Whoever asks again must not find the gate closed.
            remote.behave(Manner::Good);
            if is_good {
                told.notify_one();
            } else {
                remote.registry.delete_blob(&REPO.parse().unwrap(), &digest).await.unwrap();
                told.notify_one();
            }
            for client in clients {
                let reply = client.await.unwrap();
                assert_eq!(reply.status, if is_good { 200 } else { 404 });
                assert!(!is_good || (reply.whole && reply.body == bytes));
            }
            assert_eq!(remote.asked("GET"), before + 1);
            remote.push(REPO, &image).await;
        }
    });
}

#[test]
fn two_repositories_fetch_a_blob_one_after_the_other() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        let cache = Cache::of(&remote).await;
        remote.push("a", &image).await;
        remote.push("b", &image).await;
        let (digest, bytes) = big(&image);
        let (a, b, c) = tokio::join!(
            cache.get(blob_path("a", &digest)),
            cache.get(blob_path("b", &digest)),
            cache.get(blob_path("c", &digest))
        );
        assert!(a.whole && a.body == bytes && b.whole && b.body == bytes);
        assert_eq!(c.status, 404);
    });
}

#[test]
fn a_tag_that_moves_or_goes_upstream_does_so_here() {
    on_runtime(async {
        let (mut remote, [old, new]) = (Remote::start().await, [1, 2].map(image));
        remote.push(REPO, &old).await;
        let cache = Cache::of(&remote).await;
        cache.pull(REPO, &old).await;
        remote.push(REPO, &new).await;
        cache.pull(REPO, &new).await;
        // Who cannot be asked says nothing about the tag: it is as it was last seen.
        remote.behave(Manner::Status(500));
        cache.pull(REPO, &new).await;
        remote.behave(Manner::Good);
        let (repo, tag): (Name, Reference) = (REPO.parse().unwrap(), "v1".parse().unwrap());
        remote.registry.delete_manifest(&repo, &tag).await.unwrap();
        assert_eq!(cache.get(format!("/v2/{REPO}/manifests/v1")).await.code(), "MANIFEST_UNKNOWN");
        remote.vanish().await;
        let by_digest = cache.get(format!("/v2/{REPO}/manifests/{}", old.roots()[0].digest)).await;
        assert_eq!(by_digest.status, 200, "the content itself is not gone");
    });
}

#[test]
fn a_client_that_goes_takes_nothing_with_it() {
    on_runtime(async {
        let (remote, image) = (Remote::start().await, image(1));
        remote.push(REPO, &image).await;
        let (digest, _) = big(&image);
        // Once with its first piece in hand, once before any answer.
        let cache = Cache::of(&remote).await;
        let Ok(response) = cache.client.router.clone().oneshot(ask("GET", blob_path(REPO, &digest)).build()).await;
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        drop(body);
        cache.settled(REPO, &digest).await;

        let cache = Cache::of(&remote).await;
        let told = Arc::new(Notify::new());
        remote.behave(Manner::After(Arc::clone(&told)));
        let before = remote.asked("GET");
        let other = cache.clone();
        let client = tokio::spawn(async move { other.get(blob_path(REPO, &digest)).await });
        while remote.asked("GET") == before {
            tokio::task::yield_now().await;
        }
        client.abort();
        told.notify_one();
        cache.settled(REPO, &digest).await;
    });
}

#[test]
fn nothing_is_pushed_to_a_cache_or_deleted_from_it() {
    on_runtime(async {
        let (_remote, image, cache) = remote_and_cache().await;
        cache.pull(REPO, &image).await;
        let (digest, _) = big(&image);
        for (method, path) in [
            ("POST", format!("/v2/{REPO}/blobs/uploads/")),
            ("POST", format!("/v2/new/blobs/uploads/?mount={digest}&from={REPO}")),
            ("PATCH", format!("/v2/{REPO}/blobs/uploads/x")),
            ("PUT", format!("/v2/{REPO}/blobs/uploads/x?digest={digest}")),
            ("PUT", format!("/v2/{REPO}/manifests/v1")),
            ("DELETE", format!("/v2/{REPO}/manifests/v1")),
            ("DELETE", blob_path(REPO, &digest)),
        ] {
            let reply = cache.client.expect(405, ask(method, path).stream(Body::from("x"))).await;
            assert_eq!(reply.code(), "UNSUPPORTED");
        }
        cache.pull(REPO, &image).await;
    });
}
