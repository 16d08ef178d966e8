//! Bugs of a server: what stands between its clients and its endpoints, and breaks a promise of theirs. Each is made
//! anew with every start of the registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, Method, StatusCode};
use pullplug::env::sync::hold;

/// A bug: its name, and who plants it.
type ServerBug = (&'static str, fn(Router) -> Router);

/// All of them.
pub const ALL: [ServerBug; 7] = [
    ("it is not checked where a chunk begins", forgetful),
    ("a chunk is written again when its answer is late", repeats_chunks),
    ("a cached manifest outlives its deletion", |router| caches(router, Method::GET, "/manifests/")),
    ("a blob is known after it has gone", |router| caches(router, Method::HEAD, "/blobs/")),
    ("a push is answered before it is done", |router| answers_early(router, Method::PUT, StatusCode::CREATED)),
    ("a deletion is answered before it is done", |router| answers_early(router, Method::DELETE, StatusCode::ACCEPTED)),
    ("a failed write is answered like one that succeeded", hides_failures),
];

/// Chunks lose the range that they say they carry.
fn forgetful(router: Router) -> Router {
    router.layer(from_fn(|mut request: Request, next: Next| {
        if request.method() == Method::PATCH {
            request.headers_mut().remove(CONTENT_RANGE);
        }
        next.run(request)
    }))
}

/// A proxy before the endpoints tries what has no side effects again, and takes chunks for such.
fn repeats_chunks(router: Router) -> Router {
    let again = router.clone();
    router.layer(from_fn(move |request: Request, next: Next| {
        let again = again.clone();
        async move {
            if request.method() != Method::PATCH {
                return next.run(request).await;
            }
            let (mut head, body) = request.into_parts();
            let bytes = whole(body).await;
            let first = next.run(Request::from_parts(head.clone(), Body::from(bytes.clone()))).await;
            head.headers.remove(CONTENT_RANGE);
            let second = Request::from_parts(head, Body::from(bytes));
            if first.status().is_success() { send(again, second).await } else { first }
        }
    }))
}

/// What was answered once with success to this method, in these paths, is answered again, until somebody puts
/// something else there. Nobody is thought to delete.
fn caches(router: Router, method: Method, paths: &'static str) -> Router {
    let known: Arc<Mutex<BTreeMap<String, (HeaderMap, Bytes)>>> = Arc::default();
    router.layer(from_fn(move |request: Request, next: Next| {
        let (known, method) = (Arc::clone(&known), method.clone());
        async move {
            let path = request.uri().path().to_owned();
            if request.method() == Method::PUT {
                hold(&known).remove(&path);
            }
            if *request.method() != method || !path.contains(paths) {
                return next.run(request).await;
            }
            if let Some((headers, bytes)) = hold(&known).get(&path).cloned() {
                return answer(StatusCode::OK, headers, bytes);
            }
            let (head, body) = next.run(request).await.into_parts();
            let bytes = whole(body).await;
            if head.status == StatusCode::OK {
                hold(&known).insert(path, (head.headers.clone(), bytes.clone()));
            }
            answer(head.status, head.headers, bytes)
        }
    }))
}

/// What is asked for by this method is answered at once, and done later.
fn answers_early(router: Router, method: Method, status: StatusCode) -> Router {
    let inner = router.clone();
    router.layer(from_fn(move |request: Request, next: Next| {
        let (inner, method) = (inner.clone(), method.clone());
        async move {
            if *request.method() != method {
                return next.run(request).await;
            }
            tokio::task::spawn_local(send(inner, request));
            answer(status, HeaderMap::new(), Bytes::new())
        }
    }))
}

/// Whatever fails on the server's side is said to have been done.
fn hides_failures(router: Router) -> Router {
    router.layer(from_fn(|request: Request, next: Next| async move {
        let is_put = request.method() == Method::PUT;
        let mut response = next.run(request).await;
        if is_put && response.status().is_server_error() {
            *response.status_mut() = StatusCode::CREATED;
        }
        response
    }))
}

async fn send(router: Router, request: Request) -> Response {
    use tower::ServiceExt;
    router.oneshot(request).await.unwrap_or_else(|never| match never {})
}

async fn whole(body: Body) -> Bytes {
    axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default()
}

fn answer(status: StatusCode, headers: HeaderMap, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
