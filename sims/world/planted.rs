//! Planted bugs: calls taken out of `durable`, one kind at a time, and mistakes of a server; and which seed is the first
//! to catch each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use pullplug::fs::hooked::Action;
use pullplug::fs::trace::Call;
use pullplug::sim::campaign;
use pullplug::sim::host::{Around, Hook};
use pullplug::sim::world::Options;

use super::wanted;

/// Seeds within which a bug must be caught.
const SEEDS: u64 = 200;

/// A bug: its name, and the calls that it leaves out or swaps with the next one.
type Bug = (&'static str, Action, fn(&Call) -> bool);

const BUGS: [Bug; 8] = [
    (
        "a blob is named before its bytes are synced",
        Action::Drop,
        |c| matches!(c, Call::SyncData { path } if path.contains("/_uploads/")),
    ),
    (
        "a blob's name is not synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/blobs/sha256/")),
    ),
    (
        "a link is named before its bytes are synced",
        Action::Drop,
        |c| matches!(c, Call::SyncData { path } if path.contains("/repositories/") && !path.contains("/_uploads/")),
    ),
    (
        "the answer to a push comes before its link is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/_layers/")),
    ),
    (
        "a tag is answered before it is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/tags/")),
    ),
    (
        "a deletion is answered before it is synced",
        Action::Drop,
        |c| matches!(c, Call::SyncDir { path } if path.contains("/_manifests/")),
    ),
    ("a start does not settle what a killed process left", Action::Drop, |c| matches!(c, Call::SyncFs)),
    ("a rename comes after the call that follows it", Action::Delay, |c| matches!(c, Call::Rename { .. })),
];

/// A cache of tags that nobody empties.
fn stale_tags() -> Around {
    Arc::new(|endpoints| {
        let cache = Arc::new(Mutex::new(BTreeMap::<String, (StatusCode, HeaderMap, Bytes)>::new()));
        endpoints.layer(from_fn(move |request: Request, next: Next| {
            let cache = Arc::clone(&cache);
            async move {
                let path = request.uri().path().to_owned();
                let by_tag = request.method() == Method::GET && path.contains("/manifests/v");
                if by_tag && let Some((status, headers, body)) = cache.lock().unwrap().get(&path).cloned() {
                    let mut response = Response::new(Body::from(body));
                    (*response.status_mut(), *response.headers_mut()) = (status, headers);
                    return response;
                }
                let (head, body) = next.run(request).await.into_parts();
                let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                if by_tag && head.status == StatusCode::OK {
                    cache.lock().unwrap().insert(path, (head.status, head.headers.clone(), body.clone()));
                }
                Response::from_parts(head, body.into())
            }
        }))
    })
}

/// Answers a PUT of a manifest before anything is stored; the work goes on.
fn early_answers() -> Around {
    Arc::new(|endpoints| {
        endpoints.layer(from_fn(|request: Request, next: Next| async move {
            if request.method() != Method::PUT || !request.uri().path().contains("/manifests/") {
                return next.run(request).await;
            }
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
            let request = Request::from_parts(head, body.into());
            tokio::spawn(async move { drop(next.run(request).await) });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::CREATED;
            response
        }))
    })
}

/// Takes every chunk, wherever it begins, and one in a while twice: a proxy that tries again.
fn chunks_twice() -> Around {
    Arc::new(|endpoints| {
        let seen = Arc::new(AtomicU64::new(0));
        endpoints.layer(from_fn(move |mut request: Request, next: Next| {
            let seen = Arc::clone(&seen);
            async move {
                request.headers_mut().remove(CONTENT_RANGE);
                if request.method() != Method::PATCH {
                    return next.run(request).await;
                }
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                let again = Request::from_parts(head.clone(), Body::from(body.clone()));
                let once = next.clone().run(Request::from_parts(head, body.into())).await;
                if seen.fetch_add(1, Ordering::Relaxed) % 5 == 4 { next.run(again).await } else { once }
            }
        }))
    })
}

#[test]
fn each_is_caught() {
    let strategy = |hits: fn(&Call) -> bool, action| {
        let hook: Hook = Arc::new(move |call| if hits(call) { action } else { Action::Run });
        Options { hook: Some(hook), ..Options::default() }
    };
    let server = |around| Options { around: Some(around), ..Options::default() };
    let mut bugs: Vec<_> = BUGS.into_iter().map(|(name, action, hits)| (name, strategy(hits, action))).collect();
    bugs.push(("the server keeps tags that were moved or deleted", server(stale_tags())));
    bugs.push(("the server answers before a manifest is stored", server(early_answers())));
    bugs.push(("the server takes a chunk twice, and does not check where it begins", server(chunks_twice())));
    let mut table = String::new();
    for (name, options) in bugs {
        let mut seed = 1;
        let caught = loop {
            if seed > SEEDS {
                break None;
            }
            let batch = campaign::runs(seed, 8, &wanted("durable", "posix"), &options);
            if let Some((seed, findings)) = batch.found.first() {
                break Some((*seed, findings[0].invariant));
            }
            seed += 8;
        };
        let _ = match caught {
            Some((seed, invariant)) => writeln!(table, "{seed:>4}  {name}: {invariant}"),
            None => writeln!(table, "   -  {name}: not caught by {SEEDS} seeds"),
        };
    }
    println!("{table}");
    assert!(!table.contains("not caught"), "{table}");
    crate::script::assert_snapshot("world_planted", &table);
}
