//! The client: the push and pull protocol over HTTP, each acknowledgement noted where the disk's log is then.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::goods::Goods;
use super::history::History;
use crate::check::contents::Contents;
use crate::check::oracle::Event;
use crate::check::read::{Object, Seen};
use crate::http::DOCKER_CONTENT_DIGEST;
use crate::http::client::Client as Http;
use crate::oci::manifest::{MEDIA_TYPES, OCI_MANIFEST};
use crate::oci::{Digest, Name, Tag};
use crate::workload::image::{Image, Part};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to find out whether anybody answers at all.
const UP_LIMIT: Duration = Duration::from_secs(1);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How often a push is tried.
const TRIES: u32 = 3;
/// Every other client sends its blobs in chunks of so many bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// What clients need to ask anybody.
pub struct Remote {
    runtime: Runtime,
    http: Http,
}

impl Remote {
    /// Asks nobody yet.
    ///
    /// Errors: the machine refuses it.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, http: Http::new().map_err(io::Error::other)? })
    }

    /// Whether a registry answers there.
    pub fn is_up(&self, addr: &str) -> bool {
        let client = self.client(addr);
        let answer = self.runtime.block_on(client.within(UP_LIMIT, Method::GET, "/v2/", &[], Bytes::new()));
        answer.is_ok_and(|answer| !answer.status.is_server_error() && answer.status != StatusCode::NOT_FOUND)
    }

    /// A client of the registry there.
    pub fn client(&self, addr: &str) -> Client {
        Client { http: self.http.clone(), base: format!("http://{addr}") }
    }

    /// Runs what clients do to its end.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        LocalSet::new().block_on(&self.runtime, work)
    }
}

/// What was answered, all of it.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// It, if it has the status that it should have.
    fn must_be(self, status: StatusCode, what: &str) -> Result<Self, String> {
        if self.status == status { Ok(self) } else { Err(format!("{what} is answered with {}", self.status)) }
    }
}

/// One client of one registry.
#[derive(Clone)]
pub struct Client {
    http: Http,
    base: String,
}

/// What pushes are noted in.
pub type Shared = Rc<RefCell<History>>;

impl Client {
    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, String> {
        self.within(ANSWER_LIMIT, method, path, &[], body).await
    }

    async fn within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let what = format!("{method} {path}");
        // Locations may be whole URLs.
        let uri = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|e| format!("{what}: {e}"))?;
        let whole = async {
            let (head, body) = self.http.ask(request, limit).await.map_err(|e| format!("{what}: {e}"))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|e| format!("{what}: {e}"))?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        let late = |_| Err(format!("{what}: no answer within {} s", limit.as_secs()));
        tokio::time::timeout(limit, whole).await.unwrap_or_else(late)
    }

    /// Pushes images, each by its own tag, and moves a tag to it; then moves that through all of them once more. What
    /// does not come to a good end is noted.
    pub async fn push(&self, number: usize, goods: &Goods, history: &Shared, step: fn(&str)) {
        for image in &goods.images {
            let mut done = Ok(());
            for _ in 0..TRIES {
                done = self.push_image(number, goods, image, history).await;
                match &done {
                    Ok(()) => break,
                    Err(why) => history.borrow_mut().fail(why),
                }
                step("a push fails");
            }
            step("pushes");
            if done.is_err() {
                return;
            }
        }
        for image in &goods.images {
            for manifest in image.manifests() {
                if let Err(why) = self.put_manifest(&goods.repo, image, manifest, &goods.moved, history).await {
                    history.borrow_mut().fail(&why);
                }
            }
        }
    }

    async fn push_image(&self, number: usize, goods: &Goods, image: &Image, history: &Shared) -> Result<(), String> {
        let repo = &goods.repo;
        for blob in image.blobs() {
            let path = format!("/v2/{repo}/blobs/{}", blob.digest);
            let head = self.ask(Method::HEAD, &path, Bytes::new()).await?;
            match head.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => self.upload(repo, blob, number % 2 == 1, history).await?,
                other => return Err(format!("HEAD {path} is answered with {other}")),
            }
        }
        for manifest in image.manifests() {
            for tag in image.tags_of(&manifest.digest).chain([&goods.moved]) {
                self.put_manifest(repo, image, manifest, tag, history).await?;
            }
        }
        Ok(())
    }

    /// POST, then in one piece PUT, or PATCH by PATCH and PUT without a body.
    async fn upload(&self, repo: &Name, blob: &Part, chunked: bool, history: &Shared) -> Result<(), String> {
        let started = self.ask(Method::POST, &format!("/v2/{repo}/blobs/uploads/"), Bytes::new()).await?;
        let mut at = started.must_be(StatusCode::ACCEPTED, "the start of an upload")?.header(&LOCATION).to_owned();
        let mut rest = blob.bytes.clone();
        let mut sent = 0;
        while chunked && !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            let range = format!("{sent}-{}", sent + chunk.len() - 1);
            sent += chunk.len();
            let patched = self.within(ANSWER_LIMIT, Method::PATCH, &at, &[(CONTENT_RANGE, range)], chunk).await?;
            at = patched.must_be(StatusCode::ACCEPTED, "a chunk")?.header(&LOCATION).to_owned();
        }
        let sign = if at.contains('?') { '&' } else { '?' };
        let path = format!("{at}{sign}digest={}", blob.digest);
        let event = Event::PutBlob { repo: repo.clone(), digest: blob.digest, upload: None };
        let op = history.borrow_mut().begin(format!("put blob {} into {repo}", blob.digest), event);
        let answer = self.ask(Method::PUT, &path, rest).await;
        settle(op, answer, "a blob", history)
    }

    async fn put_manifest(
        &self,
        repo: &Name,
        image: &Image,
        manifest: &Part,
        tag: &Tag,
        history: &Shared,
    ) -> Result<(), String> {
        let blobs = image.blobs().iter().map(|blob| blob.digest).collect();
        let (digest, tag) = (manifest.digest, tag.clone());
        let path = format!("/v2/{repo}/manifests/{tag}");
        let what = format!("put manifest {digest} as {repo}:{tag}");
        let op =
            history.borrow_mut().begin(what, Event::PutManifest { repo: repo.clone(), digest, blobs, tag: Some(tag) });
        let headers = [(CONTENT_TYPE, OCI_MANIFEST.to_owned())];
        let answer = self.within(ANSWER_LIMIT, Method::PUT, &path, &headers, manifest.bytes.clone()).await;
        settle(op, answer, "a manifest", history)
    }

    /// How a read of an object ends; of a tag, that of its manifest.
    pub async fn see(&self, object: &Object, contents: &Contents) -> Seen {
        let path = match object {
            Object::Blob(repo, digest) => format!("/v2/{repo}/blobs/{digest}"),
            Object::Manifest(repo, digest) => format!("/v2/{repo}/manifests/{digest}"),
            Object::Tag(repo, tag) => format!("/v2/{repo}/manifests/{tag}"),
        };
        // A registry may refuse a manifest of a type that nobody said to know.
        let accept = [(ACCEPT, MEDIA_TYPES.join(", "))];
        let answer = self.within(ANSWER_LIMIT, Method::GET, &path, &accept, Bytes::new()).await;
        let answer = match answer.and_then(|answer| answer.must_be(StatusCode::OK, &format!("GET {path}"))) {
            Ok(answer) => answer,
            Err(why) => return Seen::Refused(why),
        };
        let wanted = match object {
            Object::Blob(_, digest) | Object::Manifest(_, digest) => *digest,
            Object::Tag(..) => match answer.header(&DOCKER_CONTENT_DIGEST).parse::<Digest>() {
                Ok(digest) => digest,
                Err(_) => Digest::sha256(&answer.body),
            },
        };
        match contents.check(&wanted, &answer.body) {
            Ok(()) => Seen::Right(wanted),
            Err(how) => Seen::Wrong(how),
        }
    }
}

/// Notes how an operation ended that wants a 201.
fn settle(op: usize, answer: Result<Answer, String>, what: &str, history: &Shared) -> Result<(), String> {
    let answer = answer?;
    match answer.status {
        StatusCode::CREATED => history.borrow_mut().end(op),
        // A server that failed may have done anything before.
        status if status.is_client_error() => history.borrow_mut().refuse(op),
        _ => {}
    }
    answer.must_be(StatusCode::CREATED, what).map(drop)
}
