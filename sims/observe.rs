//! What is seen of a running registry: the access log, the metrics, the state of health.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::{Router, middleware};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::env::clock::SimClock;
use pullplug::fs::ErrorKind;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::http::access_log::{self, AccessLog, Format};
use pullplug::http::auth::{Auth, Htpasswd, HtpasswdOptions, require};
use pullplug::http::caller::{Callers, identify};
use pullplug::http::client::Client;
use pullplug::http::health::{self, Check, Health};
use pullplug::http::metrics::{Metrics, measure};
use pullplug::http::run::Run;
use pullplug::http::{Options, router};
use pullplug::oci::Digest;
use pullplug::registry::Registry;
use pullplug::strategy;
use tower::ServiceExt;
use tracing_subscriber::fmt::MakeWriter;

use crate::script::assert_snapshot;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A registry with everything around it that watches it.
fn site(format: Format, metrics: &Arc<Metrics>, users: PathBuf) -> Router {
    let world = World::simulated(1);
    let strategy = strategy::build("durable", SimFs::new(), world.clone()).unwrap();
    let options = Options { run: Run::Task, ..Default::default() };
    let htpasswd = HtpasswdOptions { realm: "r".into(), path: users, salt: [1; 32] };
    let auth = Arc::new(Auth::Htpasswd(Htpasswd::new(htpasswd).unwrap()));
    let log = AccessLog { format, clock: Arc::new(SimClock::default()) };
    let callers = Callers { world: World::simulated(3), peer: |_| Some("192.0.2.7:4711".into()) };
    router(Registry::new(strategy, world), options)
        .layer(middleware::from_fn_with_state(auth, require))
        .layer(middleware::from_fn_with_state(Arc::clone(metrics), measure))
        .layer(middleware::from_fn_with_state(log, access_log::log))
        .layer(middleware::from_fn_with_state(callers, identify))
}

#[expect(clippy::disallowed_methods, reason = "the file is the operator's, not the registry's")]
fn users(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("htpasswd");
    std::fs::write(&path, format!("me:{}\n", bcrypt::hash("hunter2", 4).unwrap())).unwrap();
    path
}

/// `me:hunter2`.
const CREDENTIALS: &str = "Basic bWU6aHVudGVyMg==";

/// Requests of every kind, some of them nasty; each response is read to its end.
async fn visit(router: &Router) {
    let content = b"some bytes of a layer";
    let digest = Digest::sha256(content);
    let push = format!("/v2/lib/app/blobs/uploads/?digest={digest}");
    let blob = format!("/v2/lib/app/blobs/{digest}");
    for (method, uri, authorization, agent, body) in [
        ("GET", "/v2/", "", "", &b""[..]),
        ("GET", "/v2/", "Basic bWU6aHVudGVyMjI=", "docker/1.0", b""),
        ("POST", &push, CREDENTIALS, "docker/1.0", content),
        ("POST", "/v2/lib/app/blobs/uploads/", CREDENTIALS, "docker/1.0", b""),
        ("GET", &blob, CREDENTIALS, "say \"hi\" \\ \u{e4}", b""),
        ("HEAD", &blob, CREDENTIALS, "docker/1.0", b""),
        ("GET", "/v2/lib/app/tags/list?n=1&token=hunter2&last=a", CREDENTIALS, "docker/1.0", b""),
        ("BREW", "/v2/lib/app/manifests/v1", CREDENTIALS, "", b""),
        ("DELETE", &blob, CREDENTIALS, "", b""),
        ("GET", "/somewhere/else", CREDENTIALS, "", b""),
    ] {
        let mut request = Request::builder().method(method).uri(uri).header("User-Agent", agent);
        if !authorization.is_empty() {
            request = request.header("Authorization", authorization).header("Cookie", "hunter2");
        }
        if method == "DELETE" {
            request = request.header("X-Forwarded-For", "203.0.113.9, 10.0.0.1").header("Referer", "http://x/");
        }
        let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
}

/// Everything that is logged while `f` runs, down to the finest level.
fn logged(json: bool, f: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).without_time().with_ansi(false);
    if json {
        tracing::subscriber::with_default(subscriber.json().with_writer(log.clone()).finish(), f);
    } else {
        tracing::subscriber::with_default(subscriber.with_writer(log.clone()).finish(), f);
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("bWU6"), "secrets: {text}");
    text
}

#[test]
fn the_access_log_in_the_combined_format() {
    let dir = tempfile::tempdir().unwrap();
    let router = site(Format::Combined, &Arc::new(Metrics::new().unwrap()), users(&dir));
    let text = logged(false, || block_on(visit(&router)));
    let prefix = format!(" INFO {}: ", access_log::TARGET);
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert_snapshot("access_log_combined", &lines.join("\n"));
}

#[test]
fn the_access_log_in_fields() {
    let dir = tempfile::tempdir().unwrap();
    let router = site(Format::Fields, &Arc::new(Metrics::new().unwrap()), users(&dir));
    let text = logged(true, || block_on(visit(&router)));
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let entries = entries.filter(|entry| entry["target"] == access_log::TARGET).map(|mut entry| {
        let duration = entry["fields"]["duration_seconds"].take();
        assert!(duration.as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{duration}");
        entry["fields"].to_string()
    });
    assert_snapshot("access_log_fields", &entries.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_response_that_is_given_up_is_logged_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let router = site(Format::Fields, &Arc::new(Metrics::new().unwrap()), users(&dir));
    let text = logged(true, || {
        block_on(async {
            let request = Request::get("/v2/_catalog").header("Authorization", CREDENTIALS);
            drop(router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap());
        });
    });
    let line = text.lines().find(|line| line.contains(access_log::TARGET)).unwrap();
    assert!(line.contains("\"complete\":false") && line.contains("\"bytes\":0"), "{line}");
}

#[test]
fn the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let router = site(Format::Combined, &metrics, users(&dir));
    block_on(visit(&router));
    // Buckets and times depend on the machine.
    let text = metrics.text();
    let stable = |line: &&str| !line.contains("_bucket{") && !line.contains("duration_seconds_sum");
    assert_snapshot("metrics", &text.lines().filter(stable).collect::<Vec<_>>().join("\n"));
    let series = text.lines().count();
    block_on(async {
        for i in 0..50 {
            for uri in [format!("/v2/repo{i}/tags/list"), format!("/x{i}"), format!("/v2/r/blobs/uploads/{i}")] {
                let request = Request::builder().method(format!("M{i}").as_str()).uri(uri);
                let request = request.header("Authorization", CREDENTIALS).body(Body::empty()).unwrap();
                router.clone().oneshot(request).await.unwrap();
            }
        }
    });
    let grown = metrics.text().lines().count() - series;
    assert!(grown < 200, "{grown} new series: what clients write must not be a label");
    assert!(metrics.text().contains("registry_http_in_flight_requests{handler=\"tags\"} 0"));

    let told = block_on(async {
        let routes = Arc::clone(&metrics).routes("/metrics");
        let response = routes.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
        response.into_body().collect().await.unwrap().to_bytes()
    });
    assert_eq!(told, metrics.text().as_bytes());
}

/// Whether requests are let through, and what the debug address says.
async fn state(health: &Arc<Health>) -> (u16, String) {
    let get = |router: Router, path: &str| router.oneshot(Request::get(path).body(Body::empty()).unwrap());
    let told = get(Arc::clone(health).routes(), health::PATH).await.unwrap();
    let guarded = Router::new().fallback(async || "served");
    let guarded = guarded.layer(middleware::from_fn_with_state(Arc::clone(health), health::guard));
    let served = get(guarded, "/v2/").await.unwrap();
    assert_eq!(told.status(), served.status());
    let status = served.status().as_u16();
    let body = served.into_body().collect().await.unwrap().to_bytes();
    if status == 200 {
        assert_eq!(body, "served");
    } else {
        let error = r#"{"errors":[{"code":"UNAVAILABLE","detail":"health check failed: please see /debug/health","message":"service unavailable"}]}"#;
        assert_eq!(body, error);
    }
    let told = told.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(told.to_vec()).unwrap())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn storage_that_fails_so_often_takes_the_registry_out_of_service() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let broken = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&broken);
        let fs = HookedFs::with_hook(SimFs::new(), move |_| {
            if hook.load(Ordering::Relaxed) { Action::Fail(ErrorKind::Io) } else { Action::Run }
        });
        let check = Check::storage(fs, Run::Task).every(10 * SECOND).after(3);
        let health = Arc::new(Health::start(vec![check]));
        let well = (200, "{}".to_owned());
        tokio::time::sleep(15 * SECOND).await;
        assert_eq!(state(&health).await, well);
        broken.store(true, Ordering::Relaxed);
        tokio::time::sleep(20 * SECOND).await;
        assert_eq!(state(&health).await, well, "two failures are no trouble");
        tokio::time::sleep(10 * SECOND).await;
        let (status, told) = state(&health).await;
        assert_eq!(told, r#"{"storagedriver_filesystem":"read-dir \"\": input/output error"}"#);
        assert_eq!(status, 503);
        broken.store(false, Ordering::Relaxed);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(state(&health).await, well, "well again with the first success");
    });
}

#[test]
fn files_ports_and_urls_are_checked() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("maintenance");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let url = format!("http://me:secret@{addr}/up");
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/up", axum::routing::get(async || "up"))).await
        });
        let quick = Duration::from_millis(10);
        let checked = |status| Check::http(&url, HeaderMap::new(), status, Client::new().unwrap()).unwrap();
        let health = Arc::new(Health::start(vec![
            Check::no_file(file.clone(), Run::Blocking).every(quick),
            Check::tcp(addr.clone()).every(quick),
            checked(StatusCode::OK).every(quick),
        ]));
        let until = async |status| {
            for _ in 0..1000 {
                let found = state(&health).await;
                if found.0 == status {
                    return found.1;
                }
                tokio::time::sleep(quick).await;
            }
            panic!("never {status}: {:?}", health.failing());
        };
        tokio::time::sleep(10 * quick).await;
        assert_eq!(state(&health).await, (200, "{}".to_owned()));
        let touched = tempfile::NamedTempFile::new_in(&dir).unwrap().persist(&file).unwrap();
        assert_eq!(until(503).await, format!("{{\"{}\":\"file exists\"}}", file.display()));
        drop(touched);
        dir.close().unwrap();
        until(200).await;
        // The wrong status is as bad as none.
        let teapot = Arc::new(Health::start(vec![checked(StatusCode::IM_A_TEAPOT).every(quick)]));
        tokio::time::sleep(20 * quick).await;
        let (_, told) = state(&teapot).await;
        assert_eq!(told, format!("{{\"http://{addr}/up\":\"it answers 200 OK, not 418 I'm a teapot\"}}"));
        drop(teapot);
        server.abort();
        until(503).await;
        tokio::time::sleep(20 * quick).await;
        let told = state(&health).await.1;
        assert!(told.contains(&format!("\"{addr}\":\"Connection refused")), "{told}");
        assert!(!told.contains("secret"), "{told}");
    });
}

#[test]
fn a_check_that_gives_no_answer_has_failed_and_is_not_started_again() {
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let streams = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                streams.lock().unwrap().push(stream);
            }
        });
        let check = Check::http(&url, HeaderMap::new(), StatusCode::OK, Client::new().unwrap()).unwrap();
        let quick = Duration::from_millis(20);
        let health = Arc::new(Health::start(vec![check.every(quick).within(quick).after(2)]));
        tokio::time::sleep(20 * quick).await;
        assert_eq!(state(&health).await.0, 503);
        assert!(health.failing()[&url].contains("no answer within 20ms"), "{:?}", health.failing());
        assert_eq!(accepted.lock().unwrap().len(), 1);
    });
}
