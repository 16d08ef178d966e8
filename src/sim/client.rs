//! A client: the push and pull protocol over HTTP, on a connection that may break at any byte.
//!
//! One connection at a time, kept while it works. A request that was sent is written into the ledger when it begins and
//! when it is answered; it is never sent twice under one entry. Retries are bounded, and each is an operation of its
//! own: a retry that hides a violation would be a bug of the harness.

mod transfer;
mod wire;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::sync::mpsc;

use super::host::SharedLedger;
use super::schedule::Goods;
use super::step::{Send, Step, repo_name, tag_name};
use crate::check::Invariant;
use crate::check::contents::Kind;
use crate::check::oracle::Event;
use crate::env::sync::hold;
use crate::oci::{Digest, Name, Tag};
use wire::{Answer, Effect, NoAnswer, Wire};

/// How often a client tries what fails for no fault of its own.
const TRIES: u32 = 3;

/// What a client is told to do.
#[derive(Debug, Clone)]
pub enum Order {
    /// A step of the schedule.
    Step(Step),
    /// Whatever was pushed is pushed again and pulled; the answer says whether that worked.
    Again(Vec<(u8, u8)>),
}

/// What the world knows of a client.
#[derive(Default)]
pub struct Desk {
    /// It is at work.
    pub busy: Cell<bool>,
    /// Whether the last [`Order::Again`] worked, or what went wrong.
    pub again: RefCell<Option<Result<(), String>>>,
    /// Its connection, to be cut.
    pub connection: RefCell<Option<tokio::task::AbortHandle>>,
}

/// A client.
pub struct Client {
    index: u8,
    goods: Arc<Goods>,
    ledger: SharedLedger,
    desk: Rc<Desk>,
    wire: Wire,
}

/// How an operation ended, as far as whoever goes on needs to know.
type Done = Result<(), String>;

impl Client {
    /// Client number `index`.
    pub fn new(index: u8, goods: Arc<Goods>, ledger: SharedLedger, desk: Rc<Desk>) -> Self {
        let wire = Wire::new(index, Arc::clone(&ledger), Rc::clone(&desk));
        Self { index, goods, ledger, desk, wire }
    }

    /// Carries out orders until there are no more.
    pub async fn work(mut self, mut orders: mpsc::UnboundedReceiver<Order>) -> turmoil::Result {
        while let Some(order) = orders.recv().await {
            match order {
                Order::Step(step) => {
                    let done = self.step(step).await;
                    let mut ledger = hold(&self.ledger);
                    ledger.count(if done.is_ok() { "operations that succeeded" } else { "operations that failed" });
                    if let Err(why) = done {
                        ledger.note(&format!("client {}", self.index), || format!("gives up: {why}"));
                    }
                }
                Order::Again(pushed) => {
                    let done = self.again(&pushed).await;
                    *self.desk.again.borrow_mut() = Some(done);
                }
            }
            self.desk.busy.set(false);
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Done {
        match step {
            Step::Push { repo, image, tag, send, from, .. } => {
                self.push_image(repo, image, Some(tag), send, from).await
            }
            Step::PushIndex { repo, index, tag, .. } => {
                let (images, digest) = self.goods.indexes[usize::from(index)].clone();
                for image in images {
                    self.push_image(repo, image, None, Send::Session, None).await?;
                }
                self.put_manifest(&name(repo)?, &digest, Some(tag)).await.map(drop)
            }
            Step::Pull { repo, tag, .. } => self.pull(&name(repo)?, &self::tag(tag)?).await,
            Step::Tag { repo, image, tag, .. } => {
                let digest = self.goods.images[usize::from(image)].1;
                self.put_manifest(&name(repo)?, &digest, Some(tag)).await.map(drop)
            }
            Step::DeleteTag { repo, tag, .. } => {
                let (repo, tag) = (name(repo)?, self::tag(tag)?);
                let path = format!("/v2/{repo}/manifests/{tag}");
                self.delete(&path, Event::DeleteTag(repo, tag)).await
            }
            Step::DeleteManifest { repo, image, .. } => {
                let (repo, digest) = (name(repo)?, self.goods.images[usize::from(image)].1);
                let path = format!("/v2/{repo}/manifests/{digest}");
                self.delete(&path, Event::DeleteManifest(repo, digest)).await
            }
            Step::DeleteBlob { repo, blob, .. } => {
                let (repo, digest) = (name(repo)?, self.goods.blobs[usize::from(blob)]);
                let path = format!("/v2/{repo}/blobs/{digest}");
                self.delete(&path, Event::DeleteBlob(repo, digest)).await
            }
            Step::Begin { repo, blob, bytes, .. } => {
                let digest = self.goods.blobs[usize::from(blob)];
                self.begin_upload(&name(repo)?, &digest, bytes as usize).await
            }
            Step::Resume { .. } => self.resume_upload().await,
            _ => Ok(()),
        }
    }

    async fn delete(&mut self, path: &str, event: Event) -> Done {
        let answer = self.wire.ask(Method::DELETE, path, &[], None, Effect::Change(event)).await;
        expect(answer, &[StatusCode::ACCEPTED]).map(drop)
    }

    /// Layers, config, then the manifest: by a tag, or by its digest.
    async fn push_image(&mut self, repo: u8, image: u8, tag: Option<u8>, send: Send, from: Option<u8>) -> Done {
        let (blobs, manifest) = self.goods.images[usize::from(image)].clone();
        let (repo, from) = (name(repo)?, from.map(name).transpose()?);
        let mut why = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                hold(&self.ledger).count("pushes tried again");
                self.wire.pause(attempt).await;
            }
            match self.push_once(&repo, &blobs, &manifest, tag, send, from.as_ref()).await {
                Ok(()) => return Ok(()),
                Err(e) => why = e,
            }
        }
        Err(why)
    }

    async fn push_once(
        &mut self,
        repo: &Name,
        blobs: &[Digest],
        manifest: &Digest,
        tag: Option<u8>,
        send: Send,
        from: Option<&Name>,
    ) -> Done {
        for blob in blobs {
            let path = format!("/v2/{repo}/blobs/{blob}");
            let head = self.wire.ask(Method::HEAD, &path, &[], None, Effect::Nothing).await;
            let head = head.map_err(|e| e.to_string())?;
            match head.status {
                StatusCode::OK => hold(&self.ledger).count("blobs that were there already"),
                StatusCode::NOT_FOUND => self.upload(repo, blob, send, from).await?,
                other => return Err(format!("HEAD of a blob is answered with {other}")),
            }
        }
        let put = self.put_manifest(repo, manifest, tag).await?;
        if put == StatusCode::CREATED { Ok(()) } else { Err(format!("the manifest is refused with {put}")) }
    }

    /// PUT of a manifest; the answer's status, where it was one that a client can go on from.
    async fn put_manifest(&mut self, repo: &Name, digest: &Digest, tag: Option<u8>) -> Result<StatusCode, String> {
        let content = self.goods.contents.get(digest).cloned().ok_or("no such manifest")?;
        let Kind::Manifest { media_type, blobs, .. } = content.kind else { return Err("no manifest".to_owned()) };
        let tag = tag.map(self::tag).transpose()?;
        let reference = tag.as_ref().map_or_else(|| digest.to_string(), Tag::to_string);
        let path = format!("/v2/{repo}/manifests/{reference}");
        let event = Event::PutManifest { repo: repo.clone(), digest: *digest, blobs, tag };
        let headers = [("content-type", media_type)];
        let answer = self.wire.ask(Method::PUT, &path, &headers, Some(content.bytes), Effect::Change(event)).await;
        let status = expect(answer, &[StatusCode::CREATED, StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST])?.status;
        if status != StatusCode::CREATED {
            hold(&self.ledger).count("manifests refused for a missing blob");
        }
        Ok(status)
    }

    /// Resolves a tag and reads all that it leads to. What is missing may just have been deleted: only wrong bytes are
    /// judged here.
    async fn pull(&mut self, repo: &Name, tag: &Tag) -> Done {
        let path = format!("/v2/{repo}/manifests/{tag}");
        let answer = self.wire.ask(Method::GET, &path, &[], None, Effect::Resolve(repo.clone(), tag.clone())).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status == StatusCode::NOT_FOUND {
            hold(&self.ledger).count("pulls of no tag");
            return Ok(());
        }
        let digest = answer.digest.filter(|_| answer.status == StatusCode::OK);
        let digest = digest.ok_or_else(|| format!("the tag is answered with {}", answer.status))?;
        self.verify(repo, &digest, &answer);
        let mut manifests = vec![digest];
        while let Some(manifest) = manifests.pop() {
            let (blobs, children) = self.goods.contents.references(&manifest);
            let (blobs, children) = (blobs.to_vec(), children.to_vec());
            for (kind, wanted) in blobs.iter().map(|d| ("blobs", d)).chain(children.iter().map(|d| ("manifests", d))) {
                let path = format!("/v2/{repo}/{kind}/{wanted}");
                let answer = self.wire.ask(Method::GET, &path, &[], None, Effect::Nothing).await;
                let answer = expect(answer, &[StatusCode::OK])?;
                self.verify(repo, wanted, &answer);
            }
            manifests.extend(children);
        }
        hold(&self.ledger).count("images pulled and verified");
        Ok(())
    }

    /// A response that completed has the bytes that were asked for.
    fn verify(&self, repo: &Name, digest: &Digest, answer: &Answer) {
        if let Err(how) = self.goods.contents.check(digest, &answer.body) {
            let what = format!("reading {digest} of {repo} completes with {how}");
            hold(&self.ledger).find(Invariant::ReadsVerify.name(), what);
        }
    }

    /// Pushes everything again, as clients do whose registry is back, and pulls it by a tag of its own.
    async fn again(&mut self, pushed: &[(u8, u8)]) -> Done {
        for (repo, image) in pushed {
            let failed = |why| format!("image {image} cannot be pushed to {} again: {why}", repo_name(*repo));
            self.push_image(*repo, *image, Some(0), Send::Session, None).await.map_err(failed)?;
            let failed = |why| format!("image {image} was pushed to {} and cannot be pulled: {why}", repo_name(*repo));
            let before = hold(&self.ledger).counted("images pulled and verified");
            self.pull(&name(*repo)?, &tag(0)?).await.map_err(failed)?;
            if hold(&self.ledger).counted("images pulled and verified") == before {
                return Err(failed("its tag is not there".to_owned()));
            }
        }
        Ok(())
    }
}

fn name(repo: u8) -> Result<Name, String> {
    repo_name(repo).parse().map_err(|e| format!("{e}"))
}

fn tag(tag: u8) -> Result<Tag, String> {
    tag_name(tag).parse().map_err(|e| format!("{e}"))
}

/// An answer with one of these statuses.
fn expect(answer: Result<Answer, NoAnswer>, statuses: &[StatusCode]) -> Result<Answer, String> {
    let answer = answer.map_err(|e| e.to_string())?;
    if statuses.contains(&answer.status) { Ok(answer) } else { Err(format!("it is answered with {}", answer.status)) }
}
