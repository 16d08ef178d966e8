//! A small HTTP client, over HTTP or HTTPS: one request and its status, for those who are told and those who are asked
//! (notifications, health checks); or one request and its answer, for whoever reads that ([`crate::proxy`]).

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};

use super::query::percent_decode;

/// How much of an answer's body is read, so that the connection can be used again.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Why there was no answer; without the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No http or https URL.
    #[error("the URL is not valid: it must be http://HOST/PATH or https://HOST/PATH")]
    Url,
    /// The request failed.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

/// Where requests go, checked and without the user and password that were in it.
#[derive(Debug, Clone)]
pub struct Target {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// The target that a URL names; user and password in it become an `Authorization` header.
    pub fn parse(url: &str) -> Result<Self, ClientError> {
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let mut parts = uri.into_parts();
        let is_http = parts.scheme.as_ref().is_some_and(|s| ["http", "https"].contains(&s.as_str()));
        let authority = parts.authority.take().filter(|a| is_http && !a.host().is_empty()).ok_or(ClientError::Url)?;
        let (user, host) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
        let user = percent_decode(user).ok_or(ClientError::Url)?;
        let user = if user.is_empty() || user.contains(':') { user } else { format!("{user}:") };
        let header = |user: &str| HeaderValue::from_str(&format!("Basic {}", BASE64.encode(user.as_bytes())));
        let authorization = (!user.is_empty()).then(|| header(&user)).transpose().map_err(|_| ClientError::Url)?;
        let authorization = authorization.map(|mut header| {
            header.set_sensitive(true);
            header
        });
        parts.authority = Some(host.parse().map_err(|_| ClientError::Url)?);
        Ok(Self { uri: Uri::from_parts(parts).map_err(|_| ClientError::Url)?, authorization })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uri)
    }
}

/// The client. Clones share its connections.
#[derive(Clone)]
pub struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    /// A client that trusts the authorities that the machine trusts; where there are none, https fails.
    pub fn new() -> Result<Self, ClientError> {
        let failed = |e: rustls::Error| ClientError::Failed(e.to_string());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(default_provider().into());
        let config = config.with_safe_default_protocol_versions().map_err(failed)?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self(legacy::Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends a request and returns the answer's status, within `timeout` if there is one. Redirects are not followed.
    pub async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: &HeaderMap,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<StatusCode, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers.clone();
        if let Some(authorization) = &target.authorization {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|e| ClientError::Failed(causes(&e)))?;
            let status = answer.status();
            // What the body says is nobody's affair; a connection whose body is too long is closed.
            let _ = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok(status)
        };
        match timeout {
            None => exchange.await,
            Some(limit) => tokio::time::timeout(limit, exchange).await.unwrap_or(Err(ClientError::Late(limit))),
        }
    }

    /// Sends a request without a body and returns the answer when its head is there, which must be within `timeout`;
    /// how long its body takes is the caller's affair. Redirects are not followed.
    pub async fn fetch(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::new(Bytes::new());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        self.ask(request, timeout).await
    }

    /// As [`fetch`](Self::fetch), with any request.
    pub async fn ask(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Incoming>, ClientError> {
        let answer = tokio::time::timeout(timeout, self.0.request(request.map(Full::new))).await;
        answer.map_err(|_| ClientError::Late(timeout))?.map_err(|e| ClientError::Failed(causes(&e)))
    }
}

/// An error and what caused it, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
