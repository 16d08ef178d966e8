//! Notifications: what was done to the registry, posted to whoever wants to know, as distribution posts it.
//!
//! [`announce`] is the middleware: it takes the [`Event`] that an endpoint left on its response, writes an envelope
//! and puts that into the queue of each endpoint; the response never waits. Queues are in memory: what is in them
//! when the process is killed is lost, and [`Notifier::drain`] empties them at an orderly end.

mod endpoint;
mod envelope;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName};

use super::auth::Actor;
use super::caller::Caller;
use super::client::{Client, ClientError};
use super::event::Event;
use super::headers::{Urls, text};
use super::metrics::Metrics;
use crate::env::World;
use crate::env::sync::hold;
pub use endpoint::{
    DEFAULT_BACKOFF, DEFAULT_QUEUE_EVENTS, DEFAULT_THRESHOLD, DEFAULT_TIMEOUT, EndpointOptions, MAX_QUEUE_BYTES,
};
pub use envelope::{MEDIA_TYPE, Source};

/// Who is told, and what events say of this registry.
#[derive(Clone, Default)]
pub struct NotifyOptions {
    /// Who is told.
    pub endpoints: Vec<EndpointOptions>,
    /// Whether events of manifests list what the manifests reference.
    pub include_references: bool,
    /// What the events say they come from.
    pub source: Source,
    /// How the URLs in events begin: as those in responses.
    pub urls: Urls,
    /// Whether clients connect by TLS.
    pub https: bool,
}

/// Why notifications cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notification endpoint {name:?}: {cause}")]
pub struct NotifyError {
    /// The endpoint.
    pub name: String,
    /// What is wrong.
    pub cause: ClientError,
}

/// Tells the endpoints.
pub struct Notifier {
    options: NotifyOptions,
    world: World,
    /// Emptied when they are drained.
    endpoints: std::sync::Mutex<Vec<endpoint::Endpoint>>,
}

impl Notifier {
    /// Starts one task an endpoint. Must be called inside a tokio runtime.
    pub fn start(options: NotifyOptions, world: World, metrics: &Metrics) -> Result<Self, NotifyError> {
        let mut endpoints = Vec::new();
        if let Some(first) = options.endpoints.first() {
            let client = Client::new().map_err(|cause| NotifyError { name: first.name.clone(), cause })?;
            for options in &options.endpoints {
                let counts = metrics.notifications(&options.name);
                let started = endpoint::Endpoint::start(options.clone(), client.clone(), counts);
                endpoints.push(started.map_err(|cause| NotifyError { name: options.name.clone(), cause })?);
            }
        }
        Ok(Self { options, world, endpoints: endpoints.into() })
    }

    /// Takes no more events, and waits until those in the queues are sent, at most for `limit`. Returns how many were
    /// not.
    pub async fn drain(&self, limit: Duration) -> u64 {
        let deadline = tokio::time::Instant::now() + limit;
        let endpoints = std::mem::take(&mut *hold(&self.endpoints));
        endpoints.iter().for_each(endpoint::Endpoint::close);
        let mut left = 0;
        for endpoint in endpoints {
            left += endpoint.drained(deadline).await;
        }
        left
    }

    fn tell(&self, event: &Event, headers: &HeaderMap, request: &envelope::RequestRecord, actor: &str) {
        let endpoints = hold(&self.endpoints);
        let action = envelope::action(event.action);
        let mut wanting = endpoints.iter().filter(|e| e.wants(action, &event.media_type)).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let bytes = envelope::write(envelope::About {
            id: self.world.fresh_id(),
            now: self.world.now(),
            event,
            url: envelope::url(event, &self.options.urls, headers, self.options.https),
            request,
            actor,
            source: &self.options.source,
            include_references: self.options.include_references,
        });
        wanting.for_each(|endpoint| endpoint.add(bytes.clone()));
    }
}

/// The middleware, for `axum::middleware::from_fn_with_state`. It belongs right around the router, inside [`require`]
/// (which tells the actor) and [`identify`] (which tells the caller).
///
/// [`require`]: super::auth::require
/// [`identify`]: super::caller::identify
pub async fn announce(State(notifier): State<Arc<Notifier>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
    let actor = request.extensions().get::<Actor>().map(|actor| actor.0.clone()).unwrap_or_default();
    let (method, headers) = (request.method().to_string(), request.headers().clone());
    let response = next.run(request).await;
    if let Some(event) = response.extensions().get::<Event>() {
        let header = |name: &HeaderName| text(&headers, name).unwrap_or_default().to_owned();
        let (host, useragent) = (header(&HOST), header(&USER_AGENT));
        let request = envelope::RequestRecord { id: caller.id, addr: caller.addr, host, method, useragent };
        notifier.tell(event, &headers, &request, &actor);
    }
    response
}
