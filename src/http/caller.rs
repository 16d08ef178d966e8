//! Who is at the other end of a request, and what the request is called: for logs and notifications.
//!
//! [`identify`] is the outermost middleware. Addresses that proxies tell (`X-Forwarded-For`, `X-Real-Ip`) are believed
//! as in distribution: they are for people to read, and nothing is decided by them.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderMap};

use crate::env::World;

/// What is known of a request before it is answered; stands in its extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The request's own identifier.
    pub id: String,
    /// The client's address; empty where nothing is known of it.
    pub addr: String,
}

/// Where callers come from.
#[derive(Clone)]
pub struct Callers {
    /// Gives identifiers.
    pub world: World,
    /// The other end of the connection, as the server tells it in a request's extensions.
    pub peer: fn(&Extensions) -> Option<String>,
}

/// The middleware, for `axum::middleware::from_fn_with_state`.
pub async fn identify(State(callers): State<Callers>, mut request: Request, next: Next) -> Response {
    let addr = forwarded(request.headers()).or_else(|| (callers.peer)(request.extensions()));
    let caller = Caller { id: callers.world.fresh_id(), addr: addr.unwrap_or_default() };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The client's address as a proxy tells it, if that is an address.
fn forwarded(headers: &HeaderMap) -> Option<String> {
    let first = |name| headers.get(name)?.to_str().ok()?.split(',').next()?.trim().parse::<IpAddr>().ok();
    first("x-forwarded-for").or_else(|| first("x-real-ip")).map(|addr| addr.to_string())
}
