//! The registry over HTTP, called in process: no socket, no time.
//!
//! Every scenario runs on the simulated disk, its calls as tasks, and on a directory of this machine, its calls on
//! blocking threads.

mod blobs;
mod data;
mod fuzz;
mod hostile;
mod streams;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::fs::Fs;
use pullplug::fs::real::RealFs;
use pullplug::http::event::Event;
use pullplug::http::run::Run;
use pullplug::http::{Options, router};
use pullplug::registry::Registry;
use tower::ServiceExt;

/// Where requests go.
#[derive(Clone)]
pub struct Client {
    pub router: Router,
    pub strategy: &'static str,
}

/// A request under construction.
pub struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub event: Option<Event>,
    /// Whether the body came to its end.
    pub whole: bool,
}

/// Runs a future on a runtime of its own.
pub fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The registry on an empty file system.
pub async fn client<F: Fs>(strategy: &'static str, fs: F, options: Options) -> Client {
    let registry = Registry::open(strategy, fs, World::simulated(1)).await.unwrap();
    Client { router: router(registry, options), strategy }
}

/// `scenario` with `strategy` on the simulated disk.
pub fn simulated(strategy: &'static str, options: Options, scenario: impl AsyncFnOnce(Client)) {
    let options = Options { run: Run::Task, ..options };
    on_runtime(async { scenario(client(strategy, SimFs::new(), options).await).await });
}

/// `scenario` with `durable` on both file systems.
pub fn everywhere(options: Options, scenario: impl AsyncFn(Client)) {
    simulated("durable", options.clone(), &scenario);
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::open_root(dir.path()).unwrap();
    on_runtime(async { scenario(client("durable", fs, options).await).await });
}

pub fn ask(method: &str, path: impl Into<String>) -> Ask {
    Ask { method: method.parse().unwrap(), path: path.into(), headers: Vec::new(), body: Body::empty() }
}

impl Ask {
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// A body of known length.
    pub fn body(self, content: &[u8]) -> Self {
        let mut ask = self.header("Content-Length", content.len());
        ask.body = Bytes::copy_from_slice(content).into();
        ask
    }

    /// A body of whatever length.
    pub fn stream(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub fn build(self) -> Request<Body> {
        let builder = Request::builder().method(self.method).uri(self.path);
        let builder = self.headers.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        builder.body(self.body).unwrap()
    }
}

impl Client {
    pub async fn send(&self, ask: Ask) -> Reply {
        self.request(ask.build()).await
    }

    pub async fn request(&self, request: Request<Body>) -> Reply {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, mut body) = response.into_parts();
        let (mut content, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => content.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let event = parts.extensions.get().cloned();
        Reply { status: parts.status, headers: parts.headers, body: content.into(), event, whole }
    }

    /// Sends, and expects a status.
    pub async fn expect(&self, status: u16, ask: Ask) -> Reply {
        let what = format!("{} {} {:?}", ask.method, ask.path, ask.headers);
        let reply = self.send(ask).await;
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
        if reply.status.is_client_error() && !what.starts_with("HEAD") {
            assert!(reply.code().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{what}: {reply:?}");
        }
        reply
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, repo: &str, digest: &str, content: &[u8]) {
        self.expect(201, ask("POST", format!("/v2/{repo}/blobs/uploads/?digest={digest}")).body(content)).await;
    }
}

impl Reply {
    /// A header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The path that the Location names, with its query.
    pub fn location(&self) -> String {
        let location = self.header("location");
        assert!(location.starts_with('/'), "{self:?}");
        location.to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the first error.
    pub fn code(&self) -> String {
        let error = &self.json()["errors"][0];
        assert!(error["message"].is_string() && error.get("detail").is_some(), "{self:?}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// Adds a query parameter to a URL that may have some.
pub fn with_query(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

/// A predicate over repositories as the authorisation gives it.
pub fn may_pull(allowed: &'static str) -> pullplug::http::MayPull {
    pullplug::http::MayPull(Arc::new(move |repo| repo.as_str() == allowed))
}
