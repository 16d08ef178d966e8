//! Bodies that come slowly, break off or are abandoned; many requests at once; storage that is wrong or worse.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use pullplug::disk::SimFs;
use pullplug::env::limits::IO_CHUNK_BYTES;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::real::RealFs;
use pullplug::fs::trace::Call;
use pullplug::http::Options;
use pullplug::http::run::Run;
use pullplug::oci::Digest;
use pullplug::oci::manifest::OCI_MANIFEST;
use serde_json::json;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::{Client, ask, client, everywhere, on_runtime, simulated, with_query};
use crate::registry::noise;

/// A request body that is sent by hand. To drop the sender is a connection that was lost; an empty piece is the end.
struct ByHand(mpsc::Receiver<Bytes>);

impl http_body::Body for ByHand {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| match piece {
            Some(piece) if piece.is_empty() => None,
            Some(piece) => Some(Ok(Frame::data(piece))),
            None => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
        })
    }
}

fn by_hand() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Body::new(ByHand(receiver)))
}

async fn begin(client: &Client) -> String {
    client.expect(202, ask("POST", "/v2/a/blobs/uploads/")).await.location()
}

#[test]
fn a_client_that_vanishes_leaves_the_upload_where_it_was() {
    everywhere(Options::default(), async |client| {
        for handler_dropped in [false, true] {
            let url = begin(&client).await;
            let (sender, body) = by_hand();
            let request = ask("PATCH", &url).stream(body).build();
            let router = client.router.clone();
            let handler = tokio::spawn(async move { router.oneshot(request).await });
            for piece in [b"0123", b"4567"] {
                sender.send(Bytes::from_static(piece)).await.unwrap();
            }
            // The second piece is taken when the channel has room again.
            sender.reserve().await.unwrap();
            if handler_dropped {
                // A server drops the handler of a connection that is gone; the registry's call goes on.
                handler.abort();
            }
            drop(sender);
            assert_eq!(client.expect(204, ask("GET", &url)).await.header("range"), "0-7");
            client.expect(202, ask("PATCH", &url).header("Content-Range", "8-9").body(b"89")).await;
            let digest = format!("digest={}", Digest::sha256(b"0123456789"));
            client.expect(201, ask("PUT", with_query(&url, &digest)).body(b"")).await;
        }
    });
}

#[test]
fn a_whole_blob_that_breaks_off_leaves_nothing() {
    everywhere(Options::default(), async |client| {
        let (sender, body) = by_hand();
        let digest = Digest::sha256(b"whole");
        let push = ask("POST", format!("/v2/a/blobs/uploads/?digest={digest}")).stream(body);
        let (reply, ()) = tokio::join!(client.send(push), async move {
            sender.send(Bytes::from_static(b"who")).await.unwrap();
        });
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "BLOB_UPLOAD_INVALID"));
        client.expect(404, ask("GET", format!("/v2/a/blobs/{digest}"))).await;
    });
}

#[test]
fn two_writers_on_one_session_take_turns() {
    let scenario = async |client: Client| {
        let url = begin(&client).await;
        // Who was first is told by the ranges: with threads, the two responses may be seen in either order.
        let write = async |letter: &'static str| {
            let (sender, body) = by_hand();
            let feed = async move {
                for _ in 0..40 {
                    sender.send(Bytes::from_static(letter.as_bytes())).await.unwrap();
                    tokio::task::yield_now().await;
                }
                sender.send(Bytes::new()).await.unwrap();
            };
            let (reply, ()) = tokio::join!(client.send(ask("PATCH", &url).stream(body)), feed);
            assert_eq!(reply.status, 202, "{reply:?}");
            (reply.header("Range").to_owned(), letter.repeat(40))
        };
        let (a, b) = tokio::join!(write("aaa"), write("bbb"));
        let (first, second) = if a.0 == "0-119" { (a, b) } else { (b, a) };
        assert_eq!((first.0.as_str(), second.0.as_str()), ("0-119", "0-239"));
        let digest = format!("digest={}", Digest::sha256([first.1, second.1].concat().as_bytes()));
        client.expect(201, ask("PUT", with_query(&url, &digest)).body(b"")).await;
    };
    everywhere(Options::default(), scenario);
    simulated("distribution-2.8", Options::default(), scenario);
}

/// Two chunks that both belong at the same place: one is taken, the other is told so, whichever comes first.
#[test]
fn two_chunks_for_one_place() {
    for strategy in pullplug::strategy::NAMES {
        simulated(strategy, Options::default(), async |client| {
            let url = begin(&client).await;
            let chunk = |content| client.send(ask("PATCH", &url).header("Content-Range", "0-4").body(content));
            let (a, b) = tokio::join!(chunk(b"aaaaa"), chunk(b"bbbbb"));
            let mut statuses = [a.status.as_u16(), b.status.as_u16()];
            statuses.sort_unstable();
            assert_eq!(statuses, [202, 416], "{strategy}");
        });
    }
}

#[test]
fn the_same_content_pushed_by_many_at_once() {
    everywhere(Options::default(), async |client| {
        let content = noise("same", 100_000);
        let digest = Digest::sha256(&content).to_string();
        let config = json!({ "mediaType": "a/b", "digest": digest, "size": content.len() });
        let image =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [config] }).to_string();
        let push = async |client: Client| {
            client.push_blob("a", &digest, &content).await;
            let put = ask("PUT", "/v2/a/manifests/v1").header("Content-Type", OCI_MANIFEST).body(image.as_bytes());
            client.expect(201, put).await;
            assert_eq!(client.expect(200, ask("GET", "/v2/a/manifests/v1")).await.body, image);
            assert_eq!(client.expect(200, ask("GET", format!("/v2/a/blobs/{digest}"))).await.body, content);
        };
        let all = || push(client.clone());
        tokio::join!(all(), all(), all(), all(), all(), all(), all(), all());
    });
}

#[test]
fn a_waiting_client_holds_no_thread() {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::open_root(dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let client = client("durable", fs, Options::default()).await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let url = begin(&client).await;
            let (sender, body) = by_hand();
            let (router, request) = (client.router.clone(), ask("PATCH", &url).stream(body).build());
            let handler = tokio::spawn(async move { router.oneshot(request).await.unwrap().status() });
            sender.send(Bytes::from_static(b"one")).await.unwrap();
            waiting.push((url, sender, handler));
        }
        // The only thread is free again for others, and in the end for those that waited.
        client.push_blob("a", &Digest::sha256(b"x").to_string(), b"x").await;
        for (url, sender, handler) in waiting {
            sender.send(Bytes::from_static(b"two")).await.unwrap();
            sender.send(Bytes::new()).await.unwrap();
            assert_eq!(handler.await.unwrap(), 202);
            assert_eq!(client.expect(204, ask("GET", &url)).await.header("range"), "0-5");
        }
    });
}

#[test]
fn a_pull_reads_ahead_no_further_than_two_batches() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reads);
    let fs = HookedFs::with_hook(SimFs::new(), move |call| {
        if matches!(call, Call::Read { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Action::Run
    });
    on_runtime(async {
        let client = client("durable", fs, Options { run: Run::Task, ..Options::default() }).await;
        let content = noise("long", 20 * IO_CHUNK_BYTES + 1);
        let path = format!("/v2/a/blobs/{}", Digest::sha256(&content));
        client.push_blob("a", &Digest::sha256(&content).to_string(), &content).await;
        client.expect(200, ask("HEAD", &path)).await;
        let before = reads.load(Ordering::Relaxed);
        let Ok(response) = client.router.clone().oneshot(ask("GET", &path).build()).await;
        let mut body = response.into_body();
        let mut received = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // Two pieces a batch, and the link that was followed first.
        let ahead = reads.load(Ordering::Relaxed) - before;
        assert!((4..=5).contains(&ahead), "{ahead} pieces were read for a client that took one");
        while let Some(frame) = body.frame().await {
            received.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert_eq!(received, content);
        let part = client.expect(206, ask("GET", &path).header("Range", "bytes=1-")).await;
        assert_eq!(part.body, content[1..]);
    });
}

#[test]
fn wrong_bytes_are_not_served() {
    on_runtime(async {
        let fs = SimFs::new();
        let client = client("durable", fs.clone(), Options { run: Run::Task, ..Options::default() }).await;
        let content = noise("damaged", 5 * IO_CHUNK_BYTES);
        let digest = Digest::sha256(&content);
        client.push_blob("a", &digest.to_string(), &content).await;
        let hex = digest.hex();
        let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let file = pullplug::fs::Fs::open(&fs, &path, pullplug::fs::OpenMode::Write).await.unwrap();
        pullplug::fs::File::write_at(&file, 7, Bytes::from_static(b"damage")).await.unwrap();
        let reply = client.expect(404, ask("GET", format!("/v2/a/blobs/{digest}"))).await;
        assert_eq!(reply.code(), "BLOB_UNKNOWN");
    });
}

#[test]
fn a_panic_below_is_an_error_to_one_client_alone() {
    for run in [Run::Task, Run::Blocking] {
        let fs = HookedFs::with_hook(SimFs::new(), |call| match call {
            Call::Mkdir { path } if path.contains("/bad") => panic!("planted"),
            _ => Action::Run,
        });
        on_runtime(async {
            let client = client("durable", fs, Options { run, ..Options::default() }).await;
            assert_eq!(client.expect(500, ask("POST", "/v2/bad/blobs/uploads/")).await.code(), "UNKNOWN");
            client.expect(202, ask("POST", "/v2/good/blobs/uploads/")).await;
        });
    }
}
