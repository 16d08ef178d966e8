//! What is counted, for Prometheus: names and labels as distribution has them, where it has them.
//!
//! A request counts from its head to the end of its response's body. Labels are bounded: the kind of endpoint (never a
//! repository), the method, the status, and the names of the notification endpoints. Counters belong to a [`Metrics`],
//! never to the process. Time is tokio's: it stands still where a test stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    exponential_buckets,
};
use tokio::time::Instant;

use super::event::{Action, Event};
use super::route::Route;
use super::watched;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGaugeVec,
    request_sizes: HistogramVec,
    response_sizes: HistogramVec,
    uploads: IntCounterVec,
    events: IntCounterVec,
    pending: IntGaugeVec,
    statuses: IntCounterVec,
}

impl Metrics {
    /// Counters at 0. Errors: none that depend on anything but this code.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let options = HistogramOpts::new(name, help).buckets(buckets);
            let histogram = HistogramVec::new(options, &["handler", "method"])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        // From a quarter of a millisecond to over a minute; from 256 bytes to 4 GiB.
        let (seconds, bytes) = (exponential_buckets(0.00025, 4.0, 10)?, exponential_buckets(256.0, 8.0, 9)?);
        Ok(Self {
            requests: counter(
                "registry_http_requests_total",
                "Requests that were answered.",
                &["handler", "method", "code"],
            )?,
            durations: histogram(
                "registry_http_request_duration_seconds",
                "Seconds from a request's head to the end of its response.",
                seconds,
            )?,
            in_flight: gauge("registry_http_in_flight_requests", "Requests being answered.", &["handler"])?,
            request_sizes: histogram("registry_http_request_size_bytes", "Bytes of request bodies.", bytes.clone())?,
            response_sizes: histogram("registry_http_response_size_bytes", "Bytes of response bodies.", bytes)?,
            uploads: counter(
                "registry_storage_uploads_total",
                "Uploads by what became of them: started, finished, cancelled; and mounted instead.",
                &["outcome"],
            )?,
            events: counter(
                "registry_notifications_events_total",
                "Events by what became of them: Events came; tries were Successes, Failures (refused), Errors \
                 (unanswered); Dropped were given up for want of room.",
                &["type", "endpoint"],
            )?,
            pending: gauge("registry_notifications_pending_total", "Events that are not sent yet.", &["endpoint"])?,
            statuses: counter(
                "registry_notifications_status_total",
                "Answers of notification endpoints.",
                &["code", "endpoint"],
            )?,
            registry,
        })
    }

    /// Everything in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        // Into memory: only a broken metric could fail, and then what was written so far is there.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The counters of one notification endpoint.
    pub fn notifications(&self, endpoint: &str) -> NotificationCounts {
        NotificationCounts {
            endpoint: endpoint.to_owned(),
            events: self.events.clone(),
            statuses: self.statuses.clone(),
            pending: self.pending.with_label_values(&[endpoint]),
        }
    }

    /// A router that tells everything at `path`.
    pub fn routes(self: Arc<Self>, path: &str) -> Router {
        let tell = async move || {
            let mut response = Response::new(Body::from(self.text()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(prometheus::TEXT_FORMAT));
            response
        };
        Router::new().route(path, get(tell))
    }

    fn ended(&self, request: &Ongoing, status: StatusCode, event: Option<&Event>) {
        let Ongoing { handler, method, .. } = *request;
        self.requests.with_label_values(&[handler, method, status.as_str()]).inc();
        let outcome = match (handler, method, status, event.map(|e| e.action)) {
            (BLOB_UPLOAD, "post", StatusCode::CREATED, Some(Action::Mount)) => "mounted",
            (BLOB_UPLOAD, "post", StatusCode::CREATED, _) => "finished",
            (BLOB_UPLOAD, "post", StatusCode::ACCEPTED, _) => "started",
            (BLOB_UPLOAD_CHUNK, "put", StatusCode::CREATED, _) => "finished",
            (BLOB_UPLOAD_CHUNK, "delete", StatusCode::NO_CONTENT, _) => "cancelled",
            _ => return,
        };
        self.uploads.with_label_values(&[outcome]).inc();
    }
}

const BLOB_UPLOAD: &str = "blob_upload";
const BLOB_UPLOAD_CHUNK: &str = "blob_upload_chunk";

/// What distribution calls an endpoint.
fn handler(path: &str) -> &'static str {
    match Route::parse(path) {
        Ok(Route::Uploads(_)) => BLOB_UPLOAD,
        Ok(Route::Upload(..)) => BLOB_UPLOAD_CHUNK,
        Ok(route) => route.kind(),
        Err(_) => "none",
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    }
}

/// A request that is being answered: counted as such until this is dropped.
struct Ongoing {
    metrics: Arc<Metrics>,
    handler: &'static str,
    method: &'static str,
    began: Instant,
    received: Arc<AtomicU64>,
    sent_bytes: u64,
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let (metrics, labels) = (&self.metrics, [self.handler, self.method]);
        metrics.in_flight.with_label_values(&[self.handler]).dec();
        metrics.durations.with_label_values(&labels).observe(self.began.elapsed().as_secs_f64());
        let received = self.received.load(Ordering::Relaxed);
        metrics.request_sizes.with_label_values(&labels).observe(received as f64);
        metrics.response_sizes.with_label_values(&labels).observe(self.sent_bytes as f64);
    }
}

/// The middleware, for `axum::middleware::from_fn_with_state`. It belongs outside all that may refuse a request.
pub async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let (handler, method) = (handler(request.uri().path()), method(request.method()));
    metrics.in_flight.with_label_values(&[handler]).inc();
    let received = Arc::new(AtomicU64::new(0));
    let (began, sent_bytes) = (Instant::now(), 0);
    let mut ongoing = Ongoing { metrics, handler, method, began, received: Arc::clone(&received), sent_bytes };
    let request = request.map(|body| watched::count(body, received));
    let response = next.run(request).await;
    ongoing.metrics.ended(&ongoing, response.status(), response.extensions().get());
    response.map(|body| {
        watched::on_end(body, move |ended| {
            ongoing.sent_bytes = ended.bytes;
            drop(ongoing);
        })
    })
}

/// The counters of one notification endpoint.
#[derive(Clone)]
pub struct NotificationCounts {
    endpoint: String,
    events: IntCounterVec,
    statuses: IntCounterVec,
    pending: IntGauge,
}

impl NotificationCounts {
    fn event(&self, kind: &str) {
        self.events.with_label_values(&[kind, &self.endpoint]).inc();
    }

    /// An event came into the queue.
    pub(super) fn came(&self) {
        self.event("Events");
        self.pending.inc();
    }

    /// An event was sent.
    pub(super) fn went(&self) {
        self.pending.dec();
    }

    /// An event was dropped for want of room.
    pub(super) fn lost(&self) {
        self.event("Dropped");
        self.pending.dec();
    }

    /// A try was answered.
    pub(super) fn answered(&self, status: StatusCode, is_taken: bool) {
        self.event(if is_taken { "Successes" } else { "Failures" });
        self.statuses.with_label_values(&[&status.to_string(), &self.endpoint]).inc();
    }

    /// A try was not answered.
    pub(super) fn failed(&self) {
        self.event("Errors");
    }

    /// How many events are not sent yet.
    pub(super) fn pending(&self) -> u64 {
        u64::try_from(self.pending.get()).unwrap_or(0)
    }
}
