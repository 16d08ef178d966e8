//! Requests and answers on one connection, with bounded patience.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION, RANGE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use turmoil::net::TcpStream;

use super::Desk;
use crate::check::oracle::Event;
use crate::env::sync::hold;
use crate::http::{DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID};
use crate::oci::{Digest, Name, Tag};
use crate::sim::host::{PORT, REGISTRY, SharedLedger};

/// How long a client waits for a connection or an answer.
const PATIENCE: Duration = Duration::from_millis(80);
/// How long it waits between two tries to connect, and how many it makes.
const RECONNECT: (Duration, u32) = (Duration::from_millis(5), 4);

/// What a request changes or asks, for the ledger.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Nothing that anybody relies on.
    Nothing,
    /// This, if it succeeds.
    Change(Event),
    /// This, if it is answered with 201; with another success, nothing.
    Created(Event),
    /// It asks what a tag points at.
    Resolve(Name, Tag),
}

/// What was answered, all of it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Where to go on; empty if it was not said.
    pub location: String,
    /// How many bytes an upload has.
    pub offset: usize,
    /// The identifier of an upload.
    pub upload: Option<String>,
    /// The digest that the answer is about.
    pub digest: Option<Digest>,
    /// The body.
    pub body: Bytes,
    /// How many crashes there had been when the request was sent: what was told before a crash may not hold after it.
    pub crashes: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody could be reached: nothing was sent.
    #[error("nobody answers the call")]
    Unreachable,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// No answer in time.
    #[error("no answer in time")]
    Late,
}

/// The connection of one client.
pub struct Wire {
    who: String,
    ledger: SharedLedger,
    desk: Rc<Desk>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Wire {
    /// Not connected yet.
    pub fn new(index: u8, ledger: SharedLedger, desk: Rc<Desk>) -> Self {
        Self { who: format!("client {index}"), ledger, desk, sender: None }
    }

    /// Waits before another try.
    pub async fn pause(&self, attempt: u32) {
        tokio::time::sleep(RECONNECT.0 * attempt).await;
    }

    /// Sends a request once, and waits for its answer.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Option<Bytes>,
        effect: Effect,
    ) -> Result<Answer, NoAnswer> {
        let mut sender = self.connection().await.ok_or(NoAnswer::Unreachable)?;
        let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, REGISTRY);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body.unwrap_or_default())).map_err(|_| NoAnswer::Broken)?;
        let (op, crashes) = {
            let mut ledger = hold(&self.ledger);
            ledger.note(&self.who, || format!("{method} {path}"));
            ledger.count("requests");
            let op = match &effect {
                Effect::Nothing => None,
                Effect::Change(event) | Effect::Created(event) => Some(ledger.begin(Some(event.clone()))),
                Effect::Resolve(..) => Some(ledger.begin(None)),
            };
            (op, ledger.counted("crashes"))
        };
        let answer = match timeout(PATIENCE, exchange(&mut sender, request)).await {
            Ok(answer) => answer.map(|answer| Answer { crashes, ..answer }),
            Err(_) => Err(NoAnswer::Late),
        };
        match &answer {
            Ok(_) => self.sender = Some(sender),
            // Whatever comes now belongs to nobody: the connection is given up.
            Err(_) => self.hang_up(),
        }
        self.record(op, effect, &answer);
        answer
    }

    fn record(&self, op: Option<usize>, effect: Effect, answer: &Result<Answer, NoAnswer>) {
        let mut ledger = hold(&self.ledger);
        match answer {
            Ok(answer) => ledger.note(&self.who, || format!("  {}", answer.status)),
            Err(why) => {
                ledger.note(&self.who, || format!("  {why}"));
                ledger.count("requests without an answer");
            }
        }
        let (Some(op), Ok(answer)) = (op, answer) else { return };
        let status = answer.status;
        match effect {
            Effect::Resolve(repo, tag) => match (status, answer.digest) {
                (StatusCode::OK, Some(digest)) => ledger.learn(op, Event::ReadTag(repo, tag, Some(digest))),
                (StatusCode::NOT_FOUND, _) => ledger.learn(op, Event::ReadTag(repo, tag, None)),
                _ => ledger.refuse(op),
            },
            Effect::Created(_) if status.is_success() && status != StatusCode::CREATED => ledger.refuse(op),
            _ if status.is_success() => ledger.end(op),
            _ if status.is_client_error() => ledger.refuse(op),
            // A server that failed may have done anything before.
            _ => ledger.count("requests that the server failed"),
        }
    }

    /// The connection that stands, or a new one.
    async fn connection(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        if let Some(sender) = self.sender.take().filter(|s| !s.is_closed()) {
            return Some(sender);
        }
        self.hang_up();
        for attempt in 0..RECONNECT.1 {
            if attempt > 0 {
                tokio::time::sleep(RECONNECT.0).await;
            }
            let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect((REGISTRY, PORT))).await else { continue };
            let Ok((sender, connection)) = http1::handshake(TokioIo::new(stream)).await else { continue };
            let task = tokio::task::spawn_local(connection);
            *self.desk.connection.borrow_mut() = Some(task.abort_handle());
            return Some(sender);
        }
        None
    }

    fn hang_up(&mut self) {
        self.sender = None;
        if let Some(connection) = self.desk.connection.borrow_mut().take() {
            connection.abort();
        }
    }
}

/// One request, one whole answer.
async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
    sender.ready().await.map_err(|_| NoAnswer::Broken)?;
    let response = sender.send_request(request).await.map_err(|_| NoAnswer::Broken)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| NoAnswer::Broken)?.to_bytes();
    let text = |name: &http::HeaderName| text(&head.headers, name);
    let last = text(&RANGE).and_then(|r| r.rsplit_once('-').and_then(|(_, last)| last.parse::<usize>().ok()));
    Ok(Answer {
        status: head.status,
        location: text(&LOCATION).unwrap_or_default(),
        // `0-0` is said of no byte and of one; a client takes it for none.
        offset: last.filter(|last| *last > 0).map_or(0, |last| last + 1),
        upload: text(&DOCKER_UPLOAD_UUID),
        digest: text(&DOCKER_CONTENT_DIGEST).and_then(|d| d.parse().ok()),
        body,
        crashes: 0,
    })
}

fn text(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}
