//! The registry that this one is a cache of: one question, one answer; with its tokens, passwords and redirects.
//!
//! A password goes to the registry and to the token server that it names, if that one is to be trusted with it
//! ([`is_trusted`]); to a redirect's target goes neither it nor a token. Every wait is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::challenge::{Challenge, is_trusted};
use crate::env::World;
use crate::env::clock::UnixSeconds;
use crate::env::sync::hold;
use crate::http::client::{Client, ClientError};
use crate::http::query::percent_encode;
use crate::oci::Name;

/// Most redirects that one question follows.
const MAX_REDIRECTS: usize = 5;
/// Most bytes of a token server's answer.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// How long a token is good for if that is not said.
const DEFAULT_TOKEN_SECONDS: u64 = 60;
/// Most repositories whose tokens are remembered.
const MAX_TOKENS: usize = 10_000;

/// Where the other registry is, and how long it is waited for.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// `http://HOST` or `https://HOST`, perhaps with a path.
    pub url: String,
    /// User and password there.
    pub credentials: Option<(String, String)>,
    /// From a question to the head of its answer.
    pub answer_timeout: Duration,
    /// Between two pieces of an answer's body.
    pub body_timeout: Duration,
}

impl UpstreamOptions {
    /// Without a password, with timeouts of 15 and 60 seconds.
    pub fn new(url: impl Into<String>) -> Self {
        let (answer_timeout, body_timeout) = (Duration::from_secs(15), Duration::from_secs(60));
        Self { url: url.into(), credentials: None, answer_timeout, body_timeout }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// There is no such thing, or we may not have it: many registries do not tell the two apart.
    #[error("the upstream registry does not give it (status {0})")]
    Absent(StatusCode),
    /// It cannot be asked now, or answers nonsense.
    #[error("the upstream registry cannot be asked: {0}")]
    Unavailable(String),
}

impl From<ClientError> for UpstreamError {
    fn from(error: ClientError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The registry that this one is a cache of.
pub struct Upstream {
    base: Uri,
    options: UpstreamOptions,
    basic: Option<HeaderValue>,
    client: Client,
    world: World,
    /// What each repository was last let in with, and until when that is good.
    tokens: Mutex<BTreeMap<Name, (HeaderValue, UnixSeconds)>>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.base)
    }
}

/// Token servers give a token under either name, or under both.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Upstream {
    /// Checks the options; asks nothing yet. Errors: no URL of a registry, or a password that no header can hold.
    pub fn new(options: UpstreamOptions, world: World) -> Result<Self, ClientError> {
        let base: Uri = options.url.trim_end_matches('/').parse().map_err(|_| ClientError::Url)?;
        let is_http = base.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme));
        let is_plain = base.authority().is_some_and(|a| !a.as_str().contains('@')) && base.query().is_none();
        if !is_http || !is_plain {
            return Err(ClientError::Url);
        }
        let basic = options.credentials.as_ref().map(|(user, password)| {
            sensitive(&format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())))
        });
        let client = Client::new()?;
        Ok(Self { base, options, basic: basic.transpose()?, client, world, tokens: Mutex::default() })
    }

    /// The answer to a GET or HEAD of `/v2/REPO/PATH`: one of status 200.
    pub async fn ask(
        &self,
        method: Method,
        repo: &Name,
        path: &str,
        accept: &str,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let url = format!("{}/v2/{repo}/{path}", self.options.url.trim_end_matches('/'));
        let (mut answer, mut is_redirected) = self.follow(&method, &url, accept, self.token(repo)).await?;
        // What a redirect's target wants to know is not for it to know.
        if answer.status() == StatusCode::UNAUTHORIZED
            && !is_redirected
            && let Some(challenge) = Challenge::read(answer.headers())
            && let Some(authorization) = self.authorize(repo, challenge).await?
        {
            (answer, is_redirected) = self.follow(&method, &url, accept, Some(authorization)).await?;
        }
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status @ (StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) if !is_redirected => {
                Err(UpstreamError::Absent(status))
            }
            status => Err(UpstreamError::Unavailable(format!("it answers with status {status}"))),
        }
    }

    /// The next piece of an answer's body.
    pub async fn next(&self, body: &mut Incoming) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let frame = timeout(self.options.body_timeout, body.frame()).await;
            let Some(frame) = frame.map_err(|_| ClientError::Late(self.options.body_timeout))? else { return Ok(None) };
            let frame = frame.map_err(|e| UpstreamError::Unavailable(format!("its answer breaks off: {e}")))?;
            if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                return Ok(Some(data));
            }
        }
    }

    /// The whole of an answer's body, of at most so many bytes.
    pub async fn read_all(&self, body: Incoming, limit_bytes: usize) -> Result<Bytes, UpstreamError> {
        let all = timeout(self.options.body_timeout, Limited::new(body, limit_bytes).collect()).await;
        let all = all.map_err(|_| ClientError::Late(self.options.body_timeout))?;
        Ok(all.map_err(|e| UpstreamError::Unavailable(format!("its answer cannot be read: {e}")))?.to_bytes())
    }

    /// The answer at the end of all redirects, and whether there were any.
    async fn follow(
        &self,
        method: &Method,
        url: &str,
        accept: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<(Response<Incoming>, bool), UpstreamError> {
        let mut uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let mut headers = HeaderMap::new();
        headers
            .extend(HeaderValue::from_str(accept).ok().filter(|_| !accept.is_empty()).map(|accept| (ACCEPT, accept)));
        headers.extend(authorization.map(|authorization| (AUTHORIZATION, authorization)));
        for redirects in 0..=MAX_REDIRECTS {
            let (method, timeout) = (method.clone(), self.options.answer_timeout);
            let answer = self.client.fetch(method, uri.clone(), headers.clone(), timeout).await?;
            if ![301, 302, 303, 307, 308].contains(&answer.status().as_u16()) {
                return Ok((answer, redirects > 0));
            }
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            uri = location
                .and_then(|location| target(&uri, location))
                .ok_or_else(|| UpstreamError::Unavailable("it redirects to where nobody should follow".to_owned()))?;
            headers.remove(AUTHORIZATION);
        }
        Err(UpstreamError::Unavailable(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// What let us into a repository, if it still does.
    fn token(&self, repo: &Name) -> Option<HeaderValue> {
        let tokens = hold(&self.tokens);
        tokens.get(repo).filter(|(_, until)| self.world.now() < *until).map(|(header, _)| header.clone())
    }

    /// Does what a challenge asks; `None` where that cannot be done.
    async fn authorize(&self, repo: &Name, challenge: Challenge) -> Result<Option<HeaderValue>, UpstreamError> {
        let (header, seconds) = match challenge {
            Challenge::Basic => match &self.basic {
                Some(basic) => (basic.clone(), u64::MAX),
                None => return Ok(None),
            },
            Challenge::Bearer { realm, service } => self.fetch_token(repo, &realm, &service).await?,
        };
        let mut tokens = hold(&self.tokens);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(repo.clone(), (header.clone(), UnixSeconds(self.world.now().0.saturating_add(seconds))));
        Ok(Some(header))
    }

    /// A token to pull from a repository, as a header, and for how many seconds it is good.
    async fn fetch_token(&self, repo: &Name, realm: &str, service: &str) -> Result<(HeaderValue, u64), UpstreamError> {
        let separator = if realm.contains('?') { '&' } else { '?' };
        let scope = percent_encode(&format!("repository:{repo}:pull"));
        let url = format!("{realm}{separator}service={}&scope={scope}", percent_encode(service));
        let uri: Uri = url.parse().map_err(|_| ClientError::Url)?;
        let is_trusted = is_trusted(&self.base, &uri);
        if self.basic.is_some() && !is_trusted {
            tracing::warn!(realm, "the upstream registry's token server is a stranger: it is not told the password");
        }
        let authorization = self.basic.clone().filter(|_| is_trusted);
        let (answer, _) = self.follow(&Method::GET, &url, "", authorization).await?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(UpstreamError::Absent(status));
            }
            status => return Err(UpstreamError::Unavailable(format!("its token server answers with {status}"))),
        }
        let text = self.read_all(answer.into_body(), MAX_TOKEN_BYTES).await?;
        let nonsense = || UpstreamError::Unavailable("its token server gives no token".to_owned());
        let answer: TokenAnswer = serde_json::from_slice(&text).map_err(|_| nonsense())?;
        let token = answer.token.or(answer.access_token).ok_or_else(nonsense)?;
        let header = sensitive(&format!("Bearer {token}"))?;
        Ok((header, answer.expires_in.unwrap_or(DEFAULT_TOKEN_SECONDS)))
    }
}

/// A header's value that is not to be printed.
fn sensitive(value: &str) -> Result<HeaderValue, ClientError> {
    let header = HeaderValue::from_str(value);
    let mut header = header.map_err(|_| ClientError::Failed("a password or token is no header".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Where a redirect leads; never from https to http.
fn target(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let absolute = match location.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') => format!("{scheme}:{location}"),
        Some(_) => format!("{scheme}://{authority}{location}"),
        None => location.to_owned(),
    };
    let to: Uri = absolute.parse().ok()?;
    let is_no_worse = to.scheme_str() == Some("https") || (to.scheme_str() == Some("http") && scheme == "http");
    is_no_worse.then_some(to)
}
