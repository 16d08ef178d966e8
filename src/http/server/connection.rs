//! One connection, over whatever transport it comes: HTTP/1.1 or HTTP/2, requests to a service, limits on all of it.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service as _;
use tower_http::timeout::TimeoutBody;

use super::limits::{Limits, MAX_HEADER_BYTES, MAX_HEADER_FIELDS, MAX_HTTP2_STREAMS};
use super::timed::{Activity, Ongoing, Timed};

/// Who is at the other end of a connection. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A client on the network.
    Tcp(SocketAddr),
    /// A client on this machine, through a socket in the file system.
    Unix,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Which versions of HTTP a connection may speak. The client chooses: with TLS by ALPN, otherwise by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// HTTP/1.1 and HTTP/2.
    #[default]
    Both,
    /// HTTP/1.1.
    Http1,
}

/// What answers the requests of a listener, and how.
#[derive(Debug, Clone)]
pub struct Site {
    /// What answers.
    pub router: Router,
    /// Headers that every response carries beside its own.
    pub headers: HeaderMap,
    /// Which versions are spoken.
    pub versions: Versions,
    /// The limits.
    pub limits: Limits,
}

impl Site {
    /// `router` with defaults for all else.
    pub fn new(router: Router) -> Self {
        Self { router, headers: HeaderMap::new(), versions: Versions::default(), limits: Limits::default() }
    }
}

/// Serves one connection to its end. `watcher` tells it to finish: then the request under way is the last one.
pub async fn serve<I>(io: I, peer: Peer, site: Arc<Site>, watcher: Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Timed::new(io, Arc::clone(&activity), &site.limits));
    let builder = builder(&site);
    let service = service_fn(move |request: Request<Incoming>| {
        let ongoing = activity.begin(request.version());
        answer(request, peer, Arc::clone(&site), ongoing)
    });
    let connection = builder.serve_connection(io, service);
    if let Err(error) = pin!(watcher.watch(connection)).await {
        tracing::debug!(peer = %peer, error = %error, "a connection ended early");
    }
}

fn builder(site: &Site) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if site.versions == Versions::Http1 {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        // Ours is finer: it knows an idle client from a slow one.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADER_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(site.limits.idle_timeout)
        .keep_alive_timeout(site.limits.header_timeout);
    builder
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    site: Arc<Site>,
    ongoing: Ongoing,
) -> Result<Response<Body>, std::convert::Infallible> {
    let timeout = site.limits.body_timeout;
    let mut request = request.map(|body| Body::new(Box::pin(TimeoutBody::new(timeout, body))));
    request.extensions_mut().insert(peer);
    // HTTP/2 says elsewhere what HTTP/1.1 says in a header.
    if let (None, Some(authority)) = (request.headers().get(HOST), request.uri().authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    // A router is always ready.
    let mut response = match site.router.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    for (name, value) in &site.headers {
        response.headers_mut().append(name, value.clone());
    }
    Ok(response.map(|body| Body::new(Answered { body, _ongoing: ongoing })))
}

/// A response body that knows when it has been sent.
struct Answered {
    body: Body,
    _ongoing: Ongoing,
}

impl http_body::Body for Answered {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
