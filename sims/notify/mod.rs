//! Notifications: what is told, to whom, and what happens when nobody listens.

mod delivery;
mod envelopes;
mod receiver;

use std::sync::Arc;

use axum::{Router, middleware};
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::http::auth::{Auth, Silly, require};
use pullplug::http::caller::{Callers, identify};
use pullplug::http::metrics::Metrics;
use pullplug::http::notify::{EndpointOptions, Notifier, NotifyOptions, Source, announce};
use pullplug::http::run::Run;
use pullplug::http::{Options, router};
use pullplug::registry::Registry;
use pullplug::strategy;

/// A registry with users, which tells `endpoints`.
struct Site {
    router: Router,
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
}

impl Site {
    fn new(endpoints: Vec<EndpointOptions>, include_references: bool) -> Self {
        let world = World::simulated(1);
        let strategy = strategy::build("durable", SimFs::new(), world.clone()).unwrap();
        let options = Options { run: Run::Task, ..Default::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        let source = Source { addr: "registry-1:5000".into(), instance_id: "instance".into() };
        let told = NotifyOptions { endpoints, include_references, source, ..Default::default() };
        let notifier = Arc::new(Notifier::start(told, World::simulated(2), &metrics).unwrap());
        let auth = Arc::new(Auth::Silly(Silly { realm: "r".into(), service: "s".into() }));
        let callers = Callers { world: World::simulated(3), peer: |_| Some("192.0.2.7:4711".into()) };
        let router = router(Registry::new(strategy, world), options)
            .layer(middleware::from_fn_with_state(Arc::clone(&notifier), announce))
            .layer(middleware::from_fn_with_state(auth, require))
            .layer(middleware::from_fn_with_state(callers, identify));
        Self { router, notifier, metrics }
    }

    /// Sends a request and returns its status.
    async fn send(&self, method: &str, uri: &str, content_type: &str, body: &[u8]) -> u16 {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("Host", "registry.example")
            .header("Authorization", "Basic c2VjcmV0OnNlY3JldA==")
            .header("User-Agent", "test/1.0")
            .header("Content-Type", content_type)
            .body(axum::body::Body::from(body.to_vec()))
            .unwrap();
        tower::ServiceExt::oneshot(self.router.clone(), request).await.unwrap().status().as_u16()
    }

    /// Pushes a blob in one request.
    async fn push(&self, repo: &str, content: &[u8]) {
        let digest = pullplug::oci::Digest::sha256(content);
        let uri = format!("/v2/{repo}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send("POST", &uri, "application/octet-stream", content).await, 201);
    }

    /// The value of a metric, by its name and labels as they are written.
    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
