//! A registry that is a cache: the other one is ours too, in this process, over TCP, and does what a test tells it.

mod auth;
mod expiry;
mod faults;
mod fetch;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http_body_util::BodyExt;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::env::clock::SimClock;
use pullplug::http::run::Run;
use pullplug::http::server::{Address, Drained, Server, Site};
use pullplug::http::{Options, router};
use pullplug::oci::{Digest, Name, Reference};
use pullplug::proxy::Proxy;
use pullplug::proxy::schedule::Schedule;
use pullplug::proxy::upstream::{Upstream, UpstreamOptions};
use pullplug::registry::Registry;
use pullplug::workload::image::Image;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::http::{Ask, Client, Reply};

const REPO: &str = "lib/app";
const WEEK: u64 = 168 * 3600;

/// What is done with requests.
#[derive(Clone, Default)]
enum Manner {
    /// They are answered.
    #[default]
    Good,
    /// Every one gets this status.
    Status(u16),
    /// They are answered when this is told.
    After(Arc<Notify>),
    /// So many bytes of each body come, of which the last is wrong if that is wanted; and whether its length is told.
    Bytes { cut: Option<usize>, flip: Option<usize>, is_length_told: bool },
    /// They are sent elsewhere.
    Redirect(String),
    /// Whoever lacks this header gets these two: a status and a challenge.
    Guarded { authorization: String, challenge: String },
}

/// The other registry.
struct Remote {
    url: String,
    registry: Registry<SimFs>,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<Drained>,
}

#[derive(Default)]
struct Shared {
    manner: Manner,
    /// `METHOD PATH AUTHORIZATION` of every request.
    asked: Vec<String>,
    /// What `/token` gives, and to whom.
    token: Option<(String, serde_json::Value)>,
}

impl Remote {
    async fn start() -> Self {
        let registry = Registry::open("durable", SimFs::new(), World::simulated(7)).await.unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let options = Options { run: Run::Task, ..Options::default() };
        let router = router(registry.clone(), options).layer(from_fn_with_state(Arc::clone(&shared), answer));
        let server = Server::bind(&Address::Tcp("127.0.0.1:0".to_owned()), None).await.unwrap();
        let url = format!("http://{}", server.address());
        let run = async move { server.run(Site::new(router), std::future::pending()).await };
        Self { url, registry, shared, server: tokio::spawn(run) }
    }

    fn behave(&self, manner: Manner) {
        self.shared.lock().unwrap().manner = manner;
    }

    /// How many requests there were whose line begins so.
    fn asked(&self, begin: &str) -> usize {
        self.shared.lock().unwrap().asked.iter().filter(|line| line.starts_with(begin)).count()
    }

    /// Nobody is there any more.
    async fn vanish(&mut self) {
        self.server.abort();
        assert!((&mut self.server).await.unwrap_err().is_cancelled());
    }

    async fn push(&self, repo: &str, image: &Image) {
        let repo: Name = repo.parse().unwrap();
        for blob in image.blobs() {
            self.registry.push_blob(&repo, &blob.digest, &mut Some(blob.bytes.clone())).await.unwrap();
        }
        for manifest in image.manifests() {
            let tags: Vec<_> = image.tags_of(&manifest.digest).cloned().collect();
            let (by, bytes) = (Reference::Digest(manifest.digest), manifest.bytes.clone());
            self.registry.push_manifest(&repo, &by, &tags, Some(&manifest.media_type), bytes).await.unwrap();
        }
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get("authorization").map_or("", |a| a.to_str().unwrap()).to_owned();
    let path = request.uri().to_string();
    let (manner, token) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(format!("{} {path} {authorization}", request.method()));
        (shared.manner.clone(), shared.token.clone())
    };
    let refuse = |status: u16| Response::builder().status(status);
    if path.starts_with("/token?") {
        return match token {
            Some((whom, token)) if whom == authorization => Response::new(Body::from(token.to_string())),
            _ => refuse(401).body(Body::empty()).unwrap(),
        };
    }
    match manner {
        Manner::Good => next.run(request).await,
        Manner::Status(status) => refuse(status).body(Body::empty()).unwrap(),
        Manner::After(told) => {
            told.notified().await;
            next.run(request).await
        }
        Manner::Bytes { cut, flip, is_length_told } => {
            let (mut parts, body) = next.run(request).await.into_parts();
            let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
            bytes.truncate(cut.unwrap_or(bytes.len()));
            if let Some(at) = flip {
                bytes[at] ^= 1;
            }
            parts.headers.remove("content-length");
            if is_length_told {
                parts.headers.insert("content-length", bytes.len().into());
                return Response::from_parts(parts, Body::from(bytes));
            }
            // In pieces, so that some of it is on its way before the end.
            let (sender, pieces) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                for piece in bytes.chunks(50_000).map(bytes::Bytes::copy_from_slice).chain([bytes::Bytes::new()]) {
                    sender.send(piece).await.unwrap();
                }
            });
            Response::from_parts(parts, Body::new(pullplug::http::origin::Passing::new(pieces, None)))
        }
        Manner::Redirect(to) => refuse(307).header("location", format!("{to}{path}")).body(Body::empty()).unwrap(),
        Manner::Guarded { authorization: wanted, challenge } if wanted != authorization => {
            refuse(401).header("www-authenticate", challenge).body(Body::empty()).unwrap()
        }
        Manner::Guarded { .. } => next.run(request).await,
    }
}

/// The cache.
#[derive(Clone)]
struct Cache {
    client: Client,
    proxy: Proxy<SimFs>,
    registry: Registry<SimFs>,
    fs: SimFs,
    clock: SimClock,
}

/// A registry that has an image, the image, and an empty cache of the registry.
async fn remote_and_cache() -> (Remote, Image, Cache) {
    let (remote, image) = (Remote::start().await, image(1));
    remote.push(REPO, &image).await;
    let cache = Cache::of(&remote).await;
    (remote, image, cache)
}

impl Cache {
    /// An empty one of `remote`.
    async fn of(remote: &Remote) -> Self {
        Self::on(SimFs::new(), SimClock::default(), options(remote), WEEK).await
    }

    /// What is on `fs`, as after a start.
    async fn on(fs: SimFs, clock: SimClock, upstream: UpstreamOptions, ttl_seconds: u64) -> Self {
        let world = World::new(Arc::new(clock.clone()), 1);
        let registry = Registry::open("durable", fs.clone(), world.clone()).await.unwrap();
        let schedule = Schedule::open(registry.clone(), fs.clone(), world.clone(), ttl_seconds).await.unwrap();
        let upstream = Upstream::new(upstream, world).unwrap();
        let proxy = Proxy::new(registry.clone(), upstream, schedule, Run::Task);
        let options = Options { run: Run::Task, origin: Some(Arc::new(proxy.clone())), ..Options::default() };
        let client = Client { router: router(registry.clone(), options), strategy: "durable" };
        Self { client, proxy, registry, fs, clock }
    }

    async fn get(&self, path: impl Into<String>) -> Reply {
        self.client.send(ask("GET", path)).await
    }

    /// Pulls all of an image, and checks every byte.
    async fn pull(&self, repo: &str, image: &Image) {
        let tag = image.roots()[0].tag.as_ref().unwrap();
        let by_tag = self.client.expect(200, ask("GET", format!("/v2/{repo}/manifests/{tag}"))).await;
        assert_eq!(by_tag.header("docker-content-digest"), image.roots()[0].digest.to_string());
        for manifest in image.manifests() {
            let reply = self.client.expect(200, ask("GET", format!("/v2/{repo}/manifests/{}", manifest.digest))).await;
            assert_eq!((reply.body, reply.whole), (manifest.bytes.clone(), true));
        }
        for blob in image.blobs() {
            let reply = self.client.expect(200, ask("GET", blob_path(repo, &blob.digest))).await;
            assert_eq!(reply.header("content-length"), blob.bytes.len().to_string());
            assert!(reply.whole && reply.body == blob.bytes, "{}", blob.digest);
            self.settled(repo, &blob.digest).await;
        }
    }

    /// Waits until a blob is here.
    async fn settled(&self, repo: &str, digest: &Digest) {
        let repo = repo.parse().unwrap();
        for _ in 0..3000 {
            if self.registry.stat_blob(&repo, digest).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{digest} does not come");
    }
}

fn options(remote: &Remote) -> UpstreamOptions {
    UpstreamOptions::new(&remote.url)
}

fn ask(method: &str, path: impl Into<String>) -> Ask {
    crate::http::ask(method, path)
}

fn blob_path(repo: &str, digest: &Digest) -> String {
    format!("/v2/{repo}/blobs/{digest}")
}

/// An image with a layer of several pieces; its tag is `v1`.
fn image(seed: u64) -> Image {
    Image::generated(seed, "v1".parse().unwrap(), &[200_000, 600])
}

/// Its big layer.
fn big(image: &Image) -> (Digest, bytes::Bytes) {
    let blob = image.blobs().iter().max_by_key(|blob| blob.bytes.len()).unwrap();
    (blob.digest, blob.bytes.clone())
}

/// Runs a test on one thread, with sockets and timers.
fn on_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
