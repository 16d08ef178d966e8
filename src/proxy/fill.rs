//! Filling: a blob comes once, whoever asks for it, and goes to the first client while it is stored.
//!
//! The first to ask for a digest leads a **flight**; who asks meanwhile waits for its end, and then reads what was
//! stored, or is told what went wrong. A flight ends even if all who wait for it have gone.
//!
//! The last piece is held back until the whole is verified and stored: wrong bytes may begin to travel, but no response
//! completes with them. Where nothing has travelled yet, a failure is an error response.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot, watch};

use super::upstream::Upstream;
use crate::env::sync::hold;
use crate::http::errors::Failure;
use crate::http::origin::Passing;
use crate::http::run::Lost;
use crate::oci::{Digest, Name};
use crate::registry::{Body, Error, Result};

/// Pieces that wait for the first client.
const PASSING_PIECES: usize = 4;
/// How long that client may let a piece wait: others wait for the whole. It is cut off then; the blob is not.
const CLIENT_STALL_SECONDS: u64 = 10;

/// How a flight ended.
pub type Outcome = std::result::Result<(), Failure>;

/// The flights under way.
#[derive(Default)]
pub struct Flights(Mutex<BTreeMap<Digest, Flight>>);

struct Flight {
    /// The repository that it is for: another one may not even be allowed to have the blob.
    repo: Name,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What part somebody has who asks for a blob.
pub enum Part {
    /// The first: to see to it that the blob comes.
    Lead(Landing),
    /// There is a flight for this repository.
    Follow(watch::Receiver<Option<Outcome>>),
    /// There is a flight for another repository; ask again after it.
    After(watch::Receiver<Option<Outcome>>),
}

/// The end of a flight; if this is dropped, an unhappy one.
pub struct Landing {
    flights: Arc<Flights>,
    digest: Digest,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// Joins the flight of a digest, or begins one.
    pub fn join(self: &Arc<Self>, repo: &Name, digest: &Digest) -> Part {
        let mut flights = hold(&self.0);
        if let Some(Flight { repo: of, outcome }) = flights.get(digest) {
            let outcome = outcome.clone();
            return if of == repo { Part::Follow(outcome) } else { Part::After(outcome) };
        }
        let (sender, outcome) = watch::channel(None);
        flights.insert(*digest, Flight { repo: repo.clone(), outcome });
        Part::Lead(Landing { flights: Arc::clone(self), digest: *digest, outcome: sender })
    }
}

/// Waits for the end of a flight.
pub async fn landed(mut outcome: watch::Receiver<Option<Outcome>>) -> Outcome {
    match outcome.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        _ => Err(Lost.into()),
    }
}

impl Landing {
    /// To wait for the end.
    pub fn outcome(&self) -> watch::Receiver<Option<Outcome>> {
        self.outcome.subscribe()
    }

    /// Ends the flight.
    pub fn end(self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&self, outcome: Outcome) {
        // First from the list: who comes after the end begins anew, and finds what is stored.
        hold(&self.flights.0).remove(&self.digest);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.outcome.borrow().is_none() {
            self.close(Err(Lost.into()));
        }
    }
}

/// What the first client is told: nothing until there is something to send, then all of it.
pub type Beginning = oneshot::Receiver<std::result::Result<Passing, Failure>>;

/// The first client.
pub struct Outlet {
    /// Until something is sent.
    begin: Option<(oneshot::Sender<std::result::Result<Passing, Failure>>, Passing)>,
    /// Until the client is gone.
    pieces: Option<mpsc::Sender<Bytes>>,
}

impl Outlet {
    /// A client that wants a blob of this length, if that is known.
    pub fn new(len_bytes: Option<u64>) -> (Self, Beginning) {
        let (begin, beginning) = oneshot::channel();
        let (pieces, passing) = mpsc::channel(PASSING_PIECES);
        let passing = Passing::new(passing, len_bytes);
        (Self { begin: Some((begin, passing)), pieces: Some(pieces) }, beginning)
    }

    /// An empty piece is the end.
    async fn send(&mut self, piece: Bytes) {
        self.begin();
        if let Some(pieces) = &self.pieces
            && pieces.send_timeout(piece, Duration::from_secs(CLIENT_STALL_SECONDS)).await.is_err()
        {
            self.pieces = None;
        }
    }

    fn begin(&mut self) {
        if let Some((begin, passing)) = self.begin.take()
            && begin.send(Ok(passing)).is_err()
        {
            self.pieces = None;
        }
    }

    /// The last bytes, and that they are the last.
    pub async fn finish(mut self, last: Option<Bytes>) {
        for piece in last.into_iter().chain([Bytes::new()]) {
            self.send(piece).await;
        }
    }

    /// That it went wrong: an error response, or one that breaks off.
    pub fn fail(mut self, failure: Failure) {
        if let Some((begin, _)) = self.begin.take() {
            // Nobody may be waiting any more.
            drop(begin.send(Err(failure)));
        }
    }
}

/// An answer's body on its way into the registry, and out to the first client one piece later.
pub struct Tee {
    upstream: Arc<Upstream>,
    body: Incoming,
    len_bytes: Option<u64>,
    outlet: Outlet,
    held: Option<Bytes>,
}

impl Tee {
    /// The body of an answer, on its way to `outlet` too.
    pub fn new(upstream: Arc<Upstream>, body: Incoming, len_bytes: Option<u64>, outlet: Outlet) -> Self {
        Self { upstream, body, len_bytes, outlet, held: None }
    }

    /// The client, and what it has not got yet.
    pub fn into_rest(self) -> (Outlet, Option<Bytes>) {
        (self.outlet, self.held)
    }
}

#[async_trait]
impl Body for Tee {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.upstream.next(&mut self.body).await.map_err(|e| Error::Body(e.to_string()))?;
        if let Some(piece) = &piece
            && let Some(held) = self.held.replace(piece.clone())
        {
            self.outlet.send(held).await;
        }
        Ok(piece)
    }

    fn declared_bytes(&self) -> Option<u64> {
        self.len_bytes
    }
}
