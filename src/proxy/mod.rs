//! A registry that is a cache of another one: what it lacks it fetches, keeps for a time, and serves meanwhile.
//!
//! [`Proxy`] is the [`Origin`] of the endpoints in [`crate::http`]. What it keeps:
//!
//! * Content by digest comes from here if it is here; else it is fetched once, however many ask.
//! * A tag is asked for upstream each time, by HEAD. Only when the upstream registry cannot be asked is the tag served as
//!   it was last seen; that it does not exist (any more) is an answer.
//! * Nothing is stored or served in whole that does not have its digest, and a fetch that fails leaves nothing behind.
//! * A manifest comes without what it references: that comes when it is asked for.
//! * What expires, expires by repository ([`schedule`]).
//!
//! Lists (tags, repositories, referrers) tell what is here. Not for a registry that is pushed to: a push is refused.

pub mod challenge;
mod fill;
pub mod schedule;
pub mod upstream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::env::sync::LockTable;
use crate::fs::Fs;
use crate::http::DOCKER_CONTENT_DIGEST;
use crate::http::errors::{Code, Failure};
use crate::http::origin::{Fetched, Origin};
use crate::http::run::{Lost, Run};
use crate::oci::manifest::MEDIA_TYPES;
use crate::oci::{Digest, Name, Reference};
use crate::registry::{Error, Registry};
use fill::{Flights, Landing, Outlet, Part, Tee, landed};
use schedule::{Kind, Schedule, TURN_SECONDS};
use upstream::{Upstream, UpstreamError};

/// The cache's side of a registry that is one. Clones share it.
pub struct Proxy<F: Fs> {
    registry: Registry<F>,
    upstream: Arc<Upstream>,
    schedule: Arc<Schedule<F>>,
    run: Run,
    flights: Arc<Flights>,
    /// One lock a manifest that is fetched.
    manifests: Arc<LockTable>,
}

impl<F: Fs> Clone for Proxy<F> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            upstream: Arc::clone(&self.upstream),
            schedule: Arc::clone(&self.schedule),
            run: self.run,
            flights: Arc::clone(&self.flights),
            manifests: Arc::clone(&self.manifests),
        }
    }
}

impl<F: Fs> fmt::Debug for Proxy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({:?})", self.upstream)
    }
}

impl<F: Fs> Proxy<F> {
    /// `registry` as a cache of `upstream`; its calls run on `run`.
    pub fn new(registry: Registry<F>, upstream: Upstream, schedule: Schedule<F>, run: Run) -> Self {
        let (upstream, schedule) = (Arc::new(upstream), Arc::new(schedule));
        Self { registry, upstream, schedule, run, flights: Arc::default(), manifests: Arc::default() }
    }

    /// When what expires.
    pub fn schedule(&self) -> &Schedule<F> {
        &self.schedule
    }

    /// Lets things expire, for ever. With `collect`, their bytes go at once if no repository needs them; only for a
    /// strategy that can collect beside requests.
    pub async fn expire(self, collect: bool) {
        loop {
            let schedule = Arc::clone(&self.schedule);
            // A call that panicked has been told; the next turn comes.
            let _ = self.run.call(async move { schedule.turn(collect).await }).await;
            sleep(Duration::from_secs(TURN_SECONDS)).await;
        }
    }

    /// Fetches a blob as the leader of its flight.
    async fn lead(self, repo: Name, digest: Digest, landing: Landing, begin: oneshot::Sender<Begun>) {
        let (registry, of) = (self.registry.clone(), repo.clone());
        // The one who led before may have landed after we looked.
        if let Ok(Ok(_)) = self.run.call(async move { registry.stat_blob(&of, &digest).await }).await {
            landing.end(Ok(()));
            drop(begin.send(Begun::Landed(Ok(()))));
            return;
        }
        let answer = match self.upstream.ask(Method::GET, &repo, &format!("blobs/{digest}"), "").await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = refused(error, Error::BlobUnknown(digest));
                landing.end(Err(failure.clone()));
                drop(begin.send(Begun::Landed(Err(failure))));
                return;
            }
        };
        let len_bytes = len_bytes(answer.headers());
        let (outlet, beginning) = Outlet::new(len_bytes);
        drop(begin.send(Begun::Passing(beginning)));
        let mut tee = Tee::new(Arc::clone(&self.upstream), answer.into_body(), len_bytes, outlet);
        let call = self.run.call(async move {
            let pushed = self.registry.push_blob(&repo, &digest, &mut tee).await;
            if pushed.is_ok() {
                self.schedule.add(&repo, &digest, Kind::Blob);
            }
            // Others may read it from here on; the first client may take its time.
            let outcome = pushed.map(|_| ()).map_err(|error| unfit(error, &repo, &digest));
            landing.end(outcome.clone());
            (outcome, tee)
        });
        if let Ok((outcome, tee)) = call.await {
            let (outlet, held) = tee.into_rest();
            match outcome {
                Ok(()) => outlet.finish(held).await,
                Err(failure) => outlet.fail(failure),
            }
        }
    }

    /// Fetches and stores the manifest that `asked` names; where `digest` is known already, that one.
    async fn fetch_manifest(
        &self,
        repo: &Name,
        asked: &Reference,
        digest: Option<Digest>,
    ) -> Result<(), UpstreamError> {
        let wanted = digest.map_or_else(|| asked.clone(), Reference::Digest);
        let _turn = self.manifests.lock(&format!("{repo}@{wanted}")).await;
        if self.stored(repo, asked).await.is_some_and(|stored| Some(stored) == digest) {
            return Ok(());
        }
        let path = format!("manifests/{wanted}");
        let answer = self.upstream.ask(Method::GET, repo, &path, &MEDIA_TYPES.join(", ")).await?;
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).map(str::to_owned);
        let bytes = self.upstream.read_all(answer.into_body(), MAX_MANIFEST_BYTES as usize).await?;
        let digest = digest.unwrap_or_else(|| Digest::sha256(&bytes));
        let (proxy, repo, tag) = (self.clone(), repo.clone(), asked.tag().cloned());
        let call = self.run.call(async move {
            let media_type = media_type.as_deref();
            proxy.registry.mirror_manifest(&repo, &digest, tag.as_ref(), media_type, bytes).await?;
            proxy.schedule.add(&repo, &digest, Kind::Manifest);
            Ok::<_, Error>(())
        });
        let stored = call.await.map_err(|lost| UpstreamError::Unavailable(lost.to_string()))?;
        stored
            .map_err(|error| UpstreamError::Unavailable(format!("the manifest that it sends cannot be kept: {error}")))
    }

    /// The digest of the manifest that a reference names here, if it can be read.
    async fn stored(&self, repo: &Name, reference: &Reference) -> Option<Digest> {
        let (registry, repo, reference) = (self.registry.clone(), repo.clone(), reference.clone());
        let found = self.run.call(async move { registry.get_manifest(&repo, &reference).await }).await;
        found.ok()?.ok().map(|stored| stored.digest)
    }

    /// Brings a tag up to date.
    async fn refresh(&self, repo: &Name, asked: &Reference, here: Option<Digest>) -> Result<(), UpstreamError> {
        let path = format!("manifests/{asked}");
        let answer = self.upstream.ask(Method::HEAD, repo, &path, &MEDIA_TYPES.join(", ")).await?;
        let told = answer.headers().get(DOCKER_CONTENT_DIGEST).and_then(|d| d.to_str().ok()?.parse().ok());
        if told.is_some() && told == here {
            return Ok(());
        }
        self.fetch_manifest(repo, asked, told).await
    }
}

/// How a blob that was asked for begins.
enum Begun {
    Landed(fill::Outcome),
    Passing(fill::Beginning),
}

#[async_trait]
impl<F: Fs> Origin for Proxy<F> {
    async fn manifest(&self, repo: &Name, reference: &Reference) -> Result<(), Failure> {
        let here = self.stored(repo, reference).await;
        let fresh = match reference {
            Reference::Digest(_) if here.is_some() => return Ok(()),
            Reference::Digest(digest) => self.fetch_manifest(repo, reference, Some(*digest)).await,
            Reference::Tag(_) => self.refresh(repo, reference, here).await,
        };
        match fresh {
            Err(UpstreamError::Unavailable(why)) if here.is_some() => {
                tracing::warn!(%repo, %reference, why, "the tag is served as it was last seen upstream");
                Ok(())
            }
            Err(error) => Err(refused(error, Error::ManifestUnknown(reference.to_string()))),
            Ok(()) => Ok(()),
        }
    }

    async fn blob_bytes(&self, repo: &Name, digest: &Digest) -> Result<Option<u64>, Failure> {
        let answer = self.upstream.ask(Method::HEAD, repo, &format!("blobs/{digest}"), "").await;
        let answer = answer.map_err(|error| refused(error, Error::BlobUnknown(*digest)))?;
        Ok(len_bytes(answer.headers()))
    }

    async fn blob(&self, repo: &Name, digest: &Digest, is_streamed: bool) -> Result<Fetched, Failure> {
        loop {
            match self.flights.join(repo, digest) {
                Part::Follow(outcome) => return landed(outcome).await.map(|()| Fetched::Stored),
                Part::After(outcome) => drop(landed(outcome).await),
                Part::Lead(landing) => {
                    let (begin, begun) = oneshot::channel();
                    let outcome = landing.outcome();
                    tokio::spawn(self.clone().lead(repo.clone(), *digest, landing, begin));
                    if !is_streamed {
                        return landed(outcome).await.map(|()| Fetched::Stored);
                    }
                    let lost = |_| Failure::from(Lost);
                    return match begun.await.map_err(lost)? {
                        Begun::Landed(outcome) => outcome.map(|()| Fetched::Stored),
                        Begun::Passing(beginning) => beginning.await.map_err(lost)?.map(Fetched::Passing),
                    };
                }
            }
        }
    }
}

fn len_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the client is told where the upstream registry does not give `unknown`.
fn refused(error: UpstreamError, unknown: Error) -> Failure {
    match error {
        UpstreamError::Absent(status) => {
            tracing::debug!(%status, %unknown, "the upstream registry does not give it");
            unknown.into()
        }
        UpstreamError::Unavailable(_) => {
            let message = "the upstream registry cannot be asked; try again later";
            Failure::internal(Code::Unavailable, message, format!("{unknown}: {error}"))
        }
    }
}

/// What clients are told of a blob that could not be stored.
fn unfit(error: Error, repo: &Name, digest: &Digest) -> Failure {
    match error {
        Error::DigestInvalid(_) | Error::Body(_) => {
            let log = format!("{repo}@{digest} was not fetched: {error}");
            let message = "the upstream registry did not send what was asked for; try again later";
            Failure::internal(Code::Unavailable, message, log).with_detail(json!({ "digest": digest }))
        }
        other => other.into(),
    }
}
