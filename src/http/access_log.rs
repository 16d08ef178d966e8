//! One line a request, when its response is over: who asked for what, and what came of it.
//!
//! A `tracing` event of the target [`TARGET`], in one of two forms: a message in Apache's combined format, or fields
//! without a message, for subscribers that write JSON. Credentials are never in it: no header but those two that are
//! named in the format, and of a query only what the registry's endpoints read.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, Uri};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::auth::Actor;
use super::caller::Caller;
use super::watched;
use crate::env::clock::{Clock, UnixSeconds};

/// The target of the events.
pub const TARGET: &str = "pullplug::access";

/// Parameters whose values are logged.
const PLAIN_PARAMETERS: [&str; 8] = ["digest", "mount", "from", "n", "last", "tag", "artifactType", "digest-algorithm"];

/// Longest header value that is logged, in bytes.
const MAX_VALUE_BYTES: usize = 512;

/// How requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A message in Apache's combined format.
    #[default]
    Combined,
    /// Fields.
    Fields,
}

/// What the log needs.
#[derive(Clone)]
pub struct AccessLog {
    /// How requests are logged.
    pub format: Format,
    /// Tells the date.
    pub clock: Arc<dyn Clock>,
}

/// A request, as it is logged.
struct Entry {
    caller: Caller,
    actor: String,
    method: String,
    path: String,
    version: http::Version,
    status: u16,
    referer: String,
    user_agent: String,
    at: UnixSeconds,
}

/// The middleware, for `axum::middleware::from_fn_with_state`. It belongs right inside
/// [`identify`](super::caller::identify), outside all else.
pub async fn log(State(log): State<AccessLog>, request: Request, next: Next) -> Response {
    let mut entry = Entry {
        caller: request.extensions().get().cloned().unwrap_or_default(),
        actor: String::new(),
        method: request.method().to_string(),
        path: path(request.uri()),
        version: request.version(),
        status: 0,
        referer: header(request.headers(), &REFERER),
        user_agent: header(request.headers(), &USER_AGENT),
        at: log.clock.now(),
    };
    let began = Instant::now();
    let response = next.run(request).await;
    entry.actor = response.extensions().get::<Actor>().map(|actor| printable(&actor.0)).unwrap_or_default();
    entry.status = response.status().as_u16();
    response.map(|body| watched::on_end(body, move |ended| entry.write(log.format, ended, began.elapsed())))
}

impl Entry {
    fn write(&self, format: Format, ended: watched::Ended, duration: Duration) {
        match format {
            Format::Combined => tracing::info!(target: TARGET, "{}", self.combined(ended.bytes)),
            Format::Fields => tracing::info!(
                target: TARGET,
                id = self.caller.id,
                remote = self.caller.addr,
                actor = self.actor,
                method = self.method,
                path = self.path,
                status = self.status,
                bytes = ended.bytes,
                complete = ended.is_whole,
                duration_seconds = duration.as_secs_f64(),
                referer = self.referer,
                user_agent = self.user_agent,
            ),
        }
    }

    fn combined(&self, bytes: u64) -> String {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let time = i64::try_from(self.at.0).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let form = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
        let time = time.and_then(|time| time.format(form).ok()).unwrap_or_default();
        format!(
            "{} - {} [{time}] \"{} {} {:?}\" {} {bytes} \"{}\" \"{}\"",
            or_dash(&self.caller.addr),
            // A space would end the field.
            or_dash(&self.actor.replace(' ', "\\x20")),
            self.method,
            self.path,
            self.version,
            self.status,
            or_dash(&self.referer),
            or_dash(&self.user_agent),
        )
    }
}

/// A header's value, so that it can stand between quotes.
fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    printable(&String::from_utf8_lossy(&value[..value.len().min(MAX_VALUE_BYTES)]))
}

/// A text in which nothing ends a line or a quotation.
fn printable(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
        out
    })
}

/// What was asked for, without the values of parameters that the registry does not know.
fn path(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return printable(uri.path()) };
    let parameters = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if !PLAIN_PARAMETERS.contains(&key) => format!("{key}=..."),
        _ => pair.to_owned(),
    });
    printable(&format!("{}?{}", uri.path(), parameters.collect::<Vec<_>>().join("&")))
}
