//! The registry over HTTP: the OCI distribution-spec 1.1, and what Docker clients expect beside it.
//!
//! [`router`] makes one value that answers requests. It knows no transport and no time: a server runs it over TCP,
//! TLS or a unix socket, a test calls it, a simulator gives it connections of its own. What must happen before or
//! after an endpoint (authorisation, metrics, notifications, logs) is layered around it; [`route`] tells such a layer
//! what a request is about, [`event`] what came of it, and [`MayPull`] is how it tells the endpoints what a client
//! may see.
//!
//! The layers, from the outside: [`caller::identify`], [`access_log::log`], [`metrics::measure`], [`health::guard`],
//! [`auth::require`], [`notify::announce`], the router. Each is a middleware with options of its own and works without
//! the others; [`registry::quota`] and [`registry::descriptor_cache`] belong to the registry below.
//!
//! A registry that is a cache of another one is given an [`origin`]. Each family of endpoints is a file. Storage waits for no one here: see [`run`].

pub mod access_log;
pub mod auth;
mod base;
mod blobs;
mod body;
pub mod caller;
mod catalog;
pub mod client;
pub mod errors;
pub mod event;
pub mod headers;
pub mod health;
mod manifests;
pub mod metrics;
pub mod notify;
pub mod origin;
pub mod query;
mod referrers;
pub mod route;
pub mod run;
pub mod server;
mod tags;
mod uploads;
mod watched;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::env::sync::LockTable;
use crate::fs::Fs;
use crate::oci::{Digest, Name};
use crate::registry::{self, Page, Registry};
use body::Incoming;
use errors::{Answer, Code, Failure};
use headers::Urls;
use origin::Origin;
use query::Query;
use route::Route;
use run::Run;

/// Most entries of the catalog in one response, if no other number is wanted.
pub const MAX_CATALOG_ENTRIES: usize = 1000;

/// The digest of what a response is about, in the algorithm in which the client asked.
pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The identifier of an upload session.
pub const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// How the endpoints behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the registry's work runs.
    pub run: Run,
    /// Whether blobs, manifests and tags can be deleted; else a DELETE is UNSUPPORTED. Uploads can always be cancelled.
    pub delete_enabled: bool,
    /// Whether every request that would change something is DENIED.
    pub read_only: bool,
    /// How the URLs in responses begin.
    pub urls: Urls,
    /// Whether clients connect by TLS, so that URLs made from their requests begin with `https`.
    pub https: bool,
    /// The least length in bytes that clients are asked to give all chunks but the last (OCI-Chunk-Min-Length).
    pub chunk_min_bytes: Option<u64>,
    /// Most entries of the catalog in one response.
    pub catalog_entries: usize,
    /// The registry that this one is a cache of, if it is one.
    pub origin: Option<Arc<dyn Origin>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            run: Run::default(),
            delete_enabled: true,
            read_only: false,
            urls: Urls::default(),
            https: false,
            chunk_min_bytes: None,
            catalog_entries: MAX_CATALOG_ENTRIES,
            origin: None,
        }
    }
}

/// A request extension: the repositories that the client may pull from. Without it, it may pull from all. A blob is
/// mounted from no other, so that knowing a digest opens nobody's repository.
#[derive(Clone)]
pub struct MayPull(pub Arc<dyn Fn(&Name) -> bool + Send + Sync>);

/// The endpoints of `registry` as one service. Must be called inside a tokio runtime.
pub fn router<F: Fs>(registry: Registry<F>, options: Options) -> Router {
    let app = Arc::new(App { registry, options, sessions: Arc::default() });
    Router::new().fallback(serve::<F>).with_state(app)
}

/// What all endpoints share.
struct App<F: Fs> {
    registry: Registry<F>,
    options: Options,
    /// One lock an upload session: what two requests send never interleaves, whatever the strategy.
    sessions: Arc<LockTable>,
}

/// A request, its query read.
struct Asked {
    parts: Parts,
    query: Query,
    body: Body,
}

async fn serve<F: Fs>(State(app): State<Arc<App<F>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut asked = Asked { query: Query::parse(parts.uri.query()), parts, body };
    let mut response = match answer(&app, &mut asked).await {
        Ok(response) => response,
        Err(failure) => {
            asked.take_body(None).drain().await;
            failure.into_response()
        }
    };
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn answer<F: Fs>(app: &App<F>, asked: &mut Asked) -> Answer {
    let route = Route::parse(asked.parts.uri.path())?;
    let method = asked.parts.method.clone();
    let allowed = allowed(&route);
    if !allowed.contains(&method.as_str()) {
        return Err(Failure::new(Code::Unsupported, format!("{method} is not supported here"))
            .with_header(ALLOW, &allowed.join(", ")));
    }
    app.check_change(&route, &method)?;
    let is_read = [Method::GET, Method::HEAD].contains(&method);
    match route {
        Route::Base => Ok(base::get()),
        Route::Catalog => catalog::get(app, asked).await,
        Route::Tags(repo) => tags::get(app, asked, repo).await,
        Route::Referrers(repo, subject) => referrers::get(app, asked, repo, subject).await,
        Route::Blob(repo, digest) if is_read => blobs::get(app, asked, repo, digest).await,
        Route::Blob(repo, digest) => blobs::delete(app, repo, digest).await,
        Route::Uploads(repo) => uploads::start(app, asked, repo).await,
        Route::Upload(repo, id) => match method {
            Method::PATCH => uploads::append(app, asked, repo, id).await,
            Method::PUT => uploads::commit(app, asked, repo, id).await,
            Method::DELETE => uploads::cancel(app, repo, id).await,
            _ => uploads::status(app, asked, repo, id).await,
        },
        Route::Manifest(repo, reference) => match method {
            Method::PUT => manifests::put(app, asked, repo, reference).await,
            Method::DELETE => manifests::delete(app, repo, reference).await,
            _ => manifests::get(app, asked, repo, reference).await,
        },
    }
}

/// The methods of an endpoint.
fn allowed(route: &Route) -> &'static [&'static str] {
    match route {
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => &["GET", "HEAD"],
        Route::Blob(..) => &["GET", "HEAD", "DELETE"],
        Route::Uploads(_) => &["POST"],
        Route::Upload(..) => &["GET", "HEAD", "PATCH", "PUT", "DELETE"],
        Route::Manifest(..) => &["GET", "HEAD", "PUT", "DELETE"],
    }
}

impl<F: Fs> App<F> {
    /// That the request changes nothing, or may.
    fn check_change(&self, route: &Route, method: &Method) -> Result<(), Failure> {
        if [Method::GET, Method::HEAD].contains(method) {
            return Ok(());
        }
        if self.options.origin.is_some() {
            let message = "this registry is a cache of another one; what is to change must change there";
            return Err(Failure::new(Code::Unsupported, message));
        }
        if self.options.read_only {
            return Err(Failure::new(Code::Denied, "the registry is in read-only mode; try again later"));
        }
        if *method == Method::DELETE && !self.options.delete_enabled && !matches!(route, Route::Upload(..)) {
            return Err(Failure::new(Code::Unsupported, "deletion is disabled; storage.delete.enabled turns it on"));
        }
        Ok(())
    }

    /// Runs the registry's work where it belongs. It ends even if nobody waits for its answer any more.
    async fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = registry::Result<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.options.run.call(work).await??)
    }

    /// The URL of `path` for the client that sent `headers`.
    fn url(&self, headers: &HeaderMap, path: &str) -> String {
        self.options.urls.url(headers, self.options.https, path)
    }
}

impl Asked {
    /// The body, once; with `len_bytes`, it must have exactly so many.
    fn take_body(&mut self, len_bytes: Option<u64>) -> Incoming {
        Incoming::new(&self.parts.headers, std::mem::take(&mut self.body), len_bytes)
    }

    /// What may be pulled by this client.
    fn may_pull(&self) -> MayPull {
        self.parts.extensions.get().cloned().unwrap_or_else(|| MayPull(Arc::new(|_| true)))
    }

    fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// The page of a list that the query asks for.
    fn page(&self) -> Result<Page, Failure> {
        let n = match self.query.get("n") {
            None => None,
            Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => Some(n.parse().unwrap_or(usize::MAX)),
            Some(n) => {
                let message = format!("n={:?} is not a number of entries", headers::cut(n));
                return Err(Failure::new(Code::PaginationNumberInvalid, message));
            }
        };
        Ok(Page { n, last: self.query.get("last").map(str::to_owned) })
    }
}

/// A response without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// A response with a JSON document.
fn json(media_type: &'static str, document: &serde_json::Value) -> Response {
    let text = document.to_string();
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    *response.body_mut() = text.into();
    response
}

/// Sets a header; a value that cannot stand in one is left out.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Names the content that a response is about.
fn set_digest(response: &mut Response, digest: &Digest) {
    set(response, DOCKER_CONTENT_DIGEST, &digest.to_string());
    set(response, ETAG, &headers::etag(digest));
}

/// Says where something is that was made.
fn set_location(response: &mut Response, url: &str) {
    set(response, LOCATION, url);
}

/// Says where the next page of a list is, if there is one: after `last`.
fn set_next(response: &mut Response, url: &str, page: &Page, last: Option<&str>) {
    if let (Some(n), Some(last)) = (page.n, last) {
        set(response, LINK, &format!("<{url}?n={n}&last={}>; rel=\"next\"", query::percent_encode(last)));
    }
}
