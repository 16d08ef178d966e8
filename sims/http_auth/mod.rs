//! Authentication: who gets in, what is told to those who do not, and that nothing else is.

mod chains;
mod htpasswd;
mod keys;
mod rules;
mod token;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use http_body_util::BodyExt;
use pullplug::http::MayPull;
use pullplug::http::auth::{Actor, Auth, require};
use tower::ServiceExt;

/// A router that tells who asked, and for what, behind `auth`.
fn guarded(auth: Auth) -> Router {
    let tell = async |request: Request| {
        let actor = request.extensions().get::<Actor>().expect("nobody gets here without an actor");
        let told = format!("{} {} {}", actor.0, request.method(), request.uri());
        let Some(MayPull(may_pull)) = request.extensions().get() else { return told };
        let readable: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| may_pull(&name.parse().unwrap())).collect();
        format!("{told}; may pull from {}", readable.join(" "))
    };
    Router::new().fallback(tell).layer(middleware::from_fn_with_state(Arc::new(auth), require))
}

/// What is answered to one request; `authorization` empty for none.
async fn ask(router: &Router, method: &str, uri: &str, authorization: &str) -> Response {
    let mut request = Request::builder().method(method).uri(uri);
    if !authorization.is_empty() {
        request = request.header("Authorization", authorization);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// A response as text: status, headers but the length, body.
async fn text(response: Response) -> String {
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter().filter(|(name, _)| *name != "content-length");
    let headers: String = headers.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    let body = body.collect().await.unwrap().to_bytes();
    format!("{}\n{headers}\n{}", parts.status, String::from_utf8_lossy(&body))
}

/// Runs a scenario on a runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
