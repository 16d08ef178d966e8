//! Whole exchanges, as they are on the wire: a snapshot for each family of endpoints.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pullplug::disk::SimFs;
use pullplug::fs::ErrorKind;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::http::Options;
use pullplug::http::headers::Urls;
use pullplug::http::run::Run;
use pullplug::oci::Digest;
use pullplug::oci::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::{Ask, Client, Reply, ask, client, on_runtime, simulated};

const UPLOADS: &str = "/v2/lib/app/blobs/uploads/";

/// Exchanges, written down.
struct Log {
    client: Client,
    text: String,
}

impl Log {
    async fn send(&mut self, ask: Ask) -> Reply {
        let request = ask.build();
        let _ = writeln!(self.text, "> {} {}", request.method(), request.uri());
        for (name, value) in request.headers() {
            let _ = writeln!(self.text, "> {name}: {}", value.to_str().unwrap());
        }
        let reply = self.client.request(request).await;
        let _ = writeln!(self.text, "< {}", reply.status);
        let mut headers: Vec<_> = reply.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        headers.sort();
        for header in headers {
            let _ = writeln!(self.text, "< {header}");
        }
        if !reply.body.is_empty() {
            let _ = writeln!(self.text, "< {}", String::from_utf8_lossy(&reply.body));
        }
        self.text.push('\n');
        reply
    }
}

/// A snapshot of the exchanges of `scenario`.
fn pinned(name: &str, options: Options, scenario: impl AsyncFnOnce(&mut Log)) {
    simulated("durable", options, async |client| {
        let mut log = Log { client, text: String::new() };
        scenario(&mut log).await;
        insta::with_settings!({ snapshot_path => "../../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, log.text);
        });
    });
}

async fn push_blob(log: &mut Log, content: &[u8]) -> Value {
    let digest = Digest::sha256(content).to_string();
    log.client.push_blob("lib/app", &digest, content).await;
    json!({ "mediaType": "application/octet-stream", "digest": digest, "size": content.len() })
}

#[test]
fn base() {
    pinned("http_base", Options::default(), async |log| {
        for path in ["/v2/", "/v2", "/", "/v2/lib/app", "/v2/Lib/tags/list", "/v2/lib/../app/tags/list"] {
            log.send(ask("GET", path)).await;
        }
        log.send(ask("HEAD", "/v2/")).await;
        log.send(ask("POST", "/v2/")).await;
    });
}

#[test]
fn uploads() {
    pinned("http_uploads", Options::default(), async |log| {
        let digest = Digest::sha256(b"hello");
        let url = log.send(ask("POST", UPLOADS)).await.location();
        log.send(ask("GET", &url)).await;
        log.send(ask("PATCH", &url).header("Content-Range", "0-2").body(b"hel")).await;
        log.send(ask("PATCH", &url).header("Content-Range", "0-2").body(b"hel")).await;
        log.send(ask("PATCH", &url).header("Content-Range", "3-9").body(b"lo")).await;
        log.send(ask("PATCH", &url).header("Content-Range", "x").body(b"lo")).await;
        log.send(ask("GET", &url)).await;
        log.send(ask("PUT", &url).body(b"lo")).await;
        log.send(ask("PUT", format!("{url}?digest={digest}")).header("Content-Range", "3-4").body(b"lo")).await;
        log.send(ask("GET", &url)).await;
        log.send(ask("POST", format!("{UPLOADS}?digest={}", Digest::sha256(b"other"))).body(b"hello")).await;
        log.send(ask("POST", format!("{UPLOADS}?digest=sha256:12")).body(b"hello")).await;
        log.send(ask("POST", format!("/v2/other/blobs/uploads/?mount={digest}&from=lib/app"))).await;
        let url = log.send(ask("POST", format!("/v2/other/blobs/uploads/?mount={digest}&from=none"))).await.location();
        log.send(ask("DELETE", url)).await;
    });
}

#[test]
fn blobs() {
    pinned("http_blobs", Options::default(), async |log| {
        push_blob(log, b"hello").await;
        let path = format!("/v2/lib/app/blobs/{}", Digest::sha256(b"hello"));
        log.send(ask("HEAD", &path)).await;
        let etag = log.send(ask("GET", &path)).await.header("etag").to_owned();
        log.send(ask("GET", &path).header("If-None-Match", etag)).await;
        log.send(ask("GET", &path).header("Range", "bytes=1-3")).await;
        log.send(ask("GET", &path).header("Range", "bytes=5-")).await;
        log.send(ask("PUT", &path)).await;
        log.send(ask("DELETE", &path)).await;
        log.send(ask("GET", &path)).await;
        log.send(ask("GET", "/v2/lib/app/blobs/sha256:12")).await;
    });
}

#[test]
fn manifests() {
    pinned("http_manifests", Options::default(), async |log| {
        let config = push_blob(log, b"{}").await;
        let missing = json!({ "mediaType": OCI_MANIFEST, "digest": Digest::sha256(b"missing"), "size": 7 });
        let image = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [], "subject": missing });
        let image = image.to_string();
        let digest = Digest::sha256(image.as_bytes());
        let path = |reference: &str| format!("/v2/lib/app/manifests/{reference}");
        let put = |reference: &str, media_type: &str, text: &str| {
            ask("PUT", path(reference)).header("Content-Type", media_type).body(text.as_bytes())
        };
        log.send(put("v1", OCI_MANIFEST, &image)).await;
        log.send(put(&format!("{digest}?tag=v2&tag=v3"), OCI_MANIFEST, &image)).await;
        log.send(ask("HEAD", path("v1"))).await;
        log.send(ask("GET", path("v1")).header("Accept", OCI_MANIFEST)).await;
        log.send(ask("GET", path("v1")).header("Accept", DOCKER_MANIFEST)).await;
        log.send(ask("GET", path("v1")).header("If-None-Match", format!("\"{digest}\""))).await;
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [missing] }).to_string();
        log.send(put("v1", OCI_INDEX, &index)).await;
        log.send(put("v1", OCI_MANIFEST, &index)).await;
        log.send(put("v1", "application/json", "{}")).await;
        log.send(put("v1", OCI_MANIFEST, "{")).await;
        log.send(put("v1", "application/vnd.docker.distribution.manifest.v1+json", r#"{"schemaVersion":1}"#)).await;
        log.send(put(&Digest::sha256(b"x").to_string(), OCI_MANIFEST, &image)).await;
        log.send(put(".x", OCI_MANIFEST, &image)).await;
        log.send(ask("DELETE", path("v2"))).await;
        log.send(ask("DELETE", path(&digest.to_string()))).await;
        log.send(ask("GET", path("v1"))).await;
    });
}

#[test]
fn lists() {
    pinned("http_lists", Options::default(), async |log| {
        let config = push_blob(log, b"{}").await;
        let image =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [] }).to_string();
        let put = |reference: &str, text: &str| {
            let ask = ask("PUT", format!("/v2/lib/app/manifests/{reference}"));
            ask.header("Content-Type", OCI_MANIFEST).body(text.as_bytes())
        };
        for tag in ["b", "a", "C"] {
            log.client.expect(201, put(tag, &image)).await;
        }
        log.client.push_blob("z", config["digest"].as_str().unwrap(), b"{}").await;
        for query in ["", "?n=2", "?n=2&last=a", "?n=0", "?n=-1", "?n=99999999999999999999", "?last=zz"] {
            log.send(ask("GET", format!("/v2/lib/app/tags/list{query}"))).await;
        }
        log.send(ask("GET", "/v2/none/tags/list")).await;
        for query in ["", "?n=1", "?n=1&last=lib/app", "?n=0", "?n=x"] {
            log.send(ask("GET", format!("/v2/_catalog{query}"))).await;
        }
        let subject =
            json!({ "mediaType": OCI_MANIFEST, "digest": Digest::sha256(image.as_bytes()), "size": image.len() });
        let referrer = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b+c", "config": config,
            "layers": [], "subject": subject, "annotations": { "k": "v" } });
        log.client.expect(201, put("referrer", &referrer.to_string())).await;
        let path = format!("/v2/lib/app/referrers/{}", Digest::sha256(image.as_bytes()));
        for query in ["", "?artifactType=a/b%2Bc", "?artifactType=a/b+c", "?artifactType=none"] {
            log.send(ask("GET", format!("{path}{query}"))).await;
        }
        log.send(ask("GET", "/v2/lib/app/referrers/sha256:12")).await;
    });
}

#[test]
fn what_is_switched_off() {
    let path = format!("/v2/lib/app/blobs/{}", Digest::sha256(b""));
    pinned("http_no_delete", Options { delete_enabled: false, ..Options::default() }, async |log| {
        log.send(ask("DELETE", &path)).await;
        let url = log.send(ask("POST", UPLOADS)).await.location();
        log.send(ask("DELETE", url)).await;
    });
    pinned("http_read_only", Options { read_only: true, ..Options::default() }, async |log| {
        for (method, path) in
            [("POST", UPLOADS), ("DELETE", &*path), ("PUT", "/v2/lib/app/manifests/v1"), ("GET", "/v2/")]
        {
            log.send(ask(method, path)).await;
        }
    });
}

#[test]
fn where_urls_begin() {
    type Case = (Urls, bool, &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 9] = [
        (Urls::Relative, true, &[("Host", "r.example")], ""),
        (Urls::Fixed("https://r.example/".into()), false, &[("Host", "other")], "https://r.example"),
        (Urls::OfRequest, false, &[], ""),
        (Urls::OfRequest, false, &[("Host", "r.example:5000")], "http://r.example:5000"),
        (Urls::OfRequest, true, &[("Host", "[::1]:5000")], "https://[::1]:5000"),
        (Urls::OfRequest, false, &[("Host", "a"), ("X-Forwarded-Proto", "https")], "https://a"),
        (Urls::OfRequest, true, &[("Host", "a"), ("X-Forwarded-Proto", "javascript")], "https://a"),
        (
            Urls::OfRequest,
            false,
            &[("Host", "a"), ("X-Forwarded-Host", "b, c"), ("X-Forwarded-Proto", "HTTPS, http")],
            "https://b",
        ),
        (Urls::OfRequest, false, &[("Host", "user@evil")], ""),
    ];
    for (urls, https, headers, expected) in cases {
        simulated("durable", Options { urls, https, ..Options::default() }, async |client| {
            let ask = headers.iter().fold(ask("POST", UPLOADS), |ask, (name, value)| ask.header(name, value));
            let begun = client.expect(202, ask).await;
            let (base, _) = begun.header("location").split_once("/v2/lib/app/blobs/uploads/").unwrap();
            assert_eq!(base, expected, "{headers:?}");
        });
    }
}

/// Errors of storage are no fault of the client's, tell it nothing of the server, and pass.
#[test]
fn storage_that_fails_and_recovers() {
    for (kind, status, code) in [
        (ErrorKind::NoSpace, 503, "UNAVAILABLE"),
        (ErrorKind::ReadOnly, 503, "UNAVAILABLE"),
        (ErrorKind::Io, 500, "UNKNOWN"),
    ] {
        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = Arc::clone(&broken);
        let fs = HookedFs::with_hook(SimFs::new(), move |call| match call {
            Call::Write { .. } if is_broken.load(Ordering::Relaxed) => Action::Fail(kind),
            _ => Action::Run,
        });
        on_runtime(async {
            let client = client("durable", fs, Options { run: Run::Task, ..Options::default() }).await;
            let url = client.expect(202, ask("POST", UPLOADS)).await.location();
            client.expect(202, ask("PATCH", &url).body(b"before")).await;
            broken.store(true, Ordering::Relaxed);
            let failed = client.expect(status, ask("PATCH", &url).header("Content-Range", "6-9").body(b"lost")).await;
            assert_eq!(failed.code(), code);
            assert!(!String::from_utf8_lossy(&failed.body).contains("_uploads"), "no paths: {failed:?}");
            assert_eq!(client.expect(status, ask("POST", UPLOADS)).await.code(), code);
            broken.store(false, Ordering::Relaxed);
            assert_eq!(client.expect(204, ask("GET", &url)).await.header("range"), "0-5");
            client.expect(202, ask("PATCH", &url).header("Content-Range", "6-10").body(b"after")).await;
            client.expect(201, ask("PUT", format!("{url}?digest={}", Digest::sha256(b"beforeafter")))).await;
        });
    }
}
