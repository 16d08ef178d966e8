//! Authentication and authorisation, before anything else is told.
//!
//! [`require`] is the middleware: it works out what a request needs ([`needed`]), asks the configured method, and
//! either passes the request on with its [`Actor`] or answers 401 with a challenge. A request that no endpoint takes
//! needs credentials too, so that nobody without them learns which paths there are.
//!
//! Three methods, as distribution has them: [`htpasswd`], [`token`], [`silly`]. Not here: TLS, and what a request does.

pub mod access;
mod file;
pub mod header;
pub mod htpasswd;
pub mod keys;
pub mod silly;
pub mod token;

pub use access::Access;
pub use file::FileError;
pub use htpasswd::{Htpasswd, HtpasswdOptions};
pub use silly::Silly;
pub use token::{Token, TokenError, TokenOptions};

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::json;

use super::errors::{Code, Failure};
use super::query::Query;
use super::route::Route;
use super::{API_VERSION, MayPull};

/// Who a request comes from: stands in the extensions of the request, and of its response for the layers outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(
    /// The user's name; empty for a token without a subject.
    pub String,
);

/// A method of authentication.
pub enum Auth {
    /// Users from a file.
    Htpasswd(Htpasswd),
    /// Tokens of an authorization server.
    Token(Token),
    /// Anybody who sends credentials.
    Silly(Silly),
}

/// Who a request comes from, and what else it may read.
struct Grant {
    actor: Actor,
    /// The repositories that may be pulled from, where that is not all.
    may_pull: Option<MayPull>,
}

impl Grant {
    /// Everything, for a user who is known.
    fn all(user: String) -> Self {
        Self { actor: Actor(user), may_pull: None }
    }
}

/// Why a request is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// Credentials are missing, wrong, or not enough.
    Challenge {
        /// The challenge.
        www_authenticate: String,
        /// Why, for the log.
        reason: &'static str,
    },
    /// Nobody can be authenticated now; for the log alone.
    Unavailable(String),
}

impl Auth {
    async fn authorize(&self, headers: &HeaderMap, needed: &[Access]) -> Result<Grant, Refusal> {
        match self {
            Self::Htpasswd(htpasswd) => htpasswd.authorize(headers).await,
            Self::Token(token) => token.authorize(headers, needed),
            Self::Silly(silly) => silly.authorize(headers, needed),
        }
    }
}

/// The middleware, for `axum::middleware::from_fn_with_state`. It belongs outside all that answers a client, and
/// inside what only watches (logs, metrics).
pub async fn require(State(auth): State<Arc<Auth>>, mut request: Request, next: Next) -> Response {
    let needed = needed(request.method(), request.uri());
    match auth.authorize(request.headers(), &needed).await {
        Ok(Grant { actor, may_pull }) => {
            request.extensions_mut().insert(actor.clone());
            if let Some(may_pull) = may_pull {
                request.extensions_mut().insert(may_pull);
            }
            let mut response = next.run(request).await;
            response.extensions_mut().insert(actor);
            response
        }
        Err(refusal) => refuse(refusal, &needed),
    }
}

/// What a request needs: as in distribution, a push needs to pull too, and a mount needs to pull from its source. What
/// no endpoint takes needs nothing but credentials.
///
/// ```
/// use pullplug::http::auth::{access::scopes, needed};
/// let uri = "/v2/a/blobs/uploads/?mount=sha256:00&from=b".parse().unwrap();
/// assert_eq!(scopes(&needed(&http::Method::POST, &uri)), "repository:a:pull,push repository:b:pull");
/// ```
pub fn needed(method: &Method, uri: &Uri) -> Vec<Access> {
    let route = match Route::parse(uri.path()) {
        Ok(Route::Catalog) => return vec![Access::catalog()],
        Ok(route) => route,
        Err(_) => return Vec::new(),
    };
    let Some(name) = route.name() else { return Vec::new() };
    let actions: &[_] = match *method {
        Method::GET | Method::HEAD => &["pull"],
        Method::POST | Method::PUT | Method::PATCH => &["pull", "push"],
        Method::DELETE => &["delete"],
        _ => &[],
    };
    let mut needed: Vec<_> = actions.iter().map(|action| Access::repository(name.as_str(), action)).collect();
    if *method == Method::POST {
        let query = Query::parse(uri.query());
        // Of several sources each is asked for: which one counts is the endpoint's affair.
        needed.extend(
            query.all("from").filter(|from| *from != name.as_str()).map(|from| Access::repository(from, "pull")),
        );
    }
    needed
}

fn refuse(refusal: Refusal, needed: &[Access]) -> Response {
    let failure = match refusal {
        Refusal::Challenge { www_authenticate, reason } => {
            tracing::info!(reason, "request not authorized");
            Failure::new(Code::Unauthorized, "authentication required")
                .with_detail(if needed.is_empty() { json!(null) } else { json!(needed) })
                .with_header(WWW_AUTHENTICATE, &www_authenticate)
        }
        Refusal::Unavailable(reason) => {
            tracing::error!(reason, "nobody can be authenticated");
            Failure::new(Code::Unavailable, "authentication is not possible now; try again later")
        }
    };
    let mut response = failure.into_response();
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}
