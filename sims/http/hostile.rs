//! Bad input: each kind gets the error that the specification has for it, and changes nothing.

use std::sync::Arc;

use axum::body::Body;
use pullplug::disk::SimFs;
use pullplug::env::World;
use pullplug::env::clock::SimClock;
use pullplug::env::limits::{MAX_MANIFEST_BYTES, UPLOAD_PURGE_AGE_SECONDS};
use pullplug::http::run::Run;
use pullplug::http::{Options, router};
use pullplug::oci::Digest;
use pullplug::oci::manifest::OCI_MANIFEST;
use pullplug::registry::Registry;
use serde_json::{Value, json};

use super::{Ask, Client, ask, everywhere, on_runtime, simulated};

#[test]
fn names() {
    let long = "a".repeat(256);
    let deep = "a/".repeat(127) + "aa";
    simulated("durable", Options::default(), async |client| {
        let digest = Digest::sha256(b"");
        for name in [
            "a/../b", "..", "a//b", "/a", "a/", "A", "a_", "a___b", "a..b", "-a", "a b", "%C3%A4", &long, &deep,
            "a%00b",
        ] {
            for (method, rest) in [
                ("GET", "tags/list".to_owned()),
                ("GET", format!("blobs/{digest}")),
                ("POST", "blobs/uploads/".to_owned()),
                ("PATCH", "blobs/uploads/x".to_owned()),
                ("PUT", "manifests/v1".to_owned()),
                ("GET", format!("referrers/{digest}")),
            ] {
                let path = format!("/v2/{}/{rest}", name.replace(' ', "%20"));
                let refused = client.expect(400, ask(method, path).body(b"x")).await;
                assert_eq!(refused.code(), "NAME_INVALID", "{name}");
            }
        }
        client.expect(202, ask("POST", format!("/v2/{}/blobs/uploads/", &long[1..]))).await;
    });
}

#[test]
fn digests() {
    simulated("durable", Options::default(), async |client| {
        let hex = "0".repeat(64);
        let upper = format!("sha256:{}", "A".repeat(64));
        for digest in
            ["sha256:", &format!("sha256:{hex}0"), &format!("sha512:{hex}"), &format!("md5:{hex}"), &upper, &hex]
        {
            for (method, path) in [
                ("GET", format!("blobs/{digest}")),
                ("DELETE", format!("blobs/{digest}")),
                ("GET", format!("referrers/{digest}")),
                ("POST", format!("blobs/uploads/?digest={digest}")),
                ("POST", format!("blobs/uploads/?mount={digest}")),
            ] {
                let refused = client.expect(400, ask(method, format!("/v2/a/{path}"))).await;
                assert_eq!(refused.code(), "DIGEST_INVALID", "{digest}");
            }
        }
    });
}

fn put(text: &[u8]) -> Ask {
    ask("PUT", "/v2/a/manifests/v1").header("Content-Type", OCI_MANIFEST).body(text)
}

/// A manifest with everything it needs, after which `change` made it another.
async fn manifest(client: &Client, change: impl Fn(&mut Value)) -> Vec<u8> {
    let digest = Digest::sha256(b"{}").to_string();
    client.push_blob("a", &digest, b"{}").await;
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 2 });
    let mut document = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [config] });
    change(&mut document);
    document.to_string().into_bytes()
}

#[test]
fn manifests_too_large_and_just_not() {
    everywhere(Options::default(), async |client| {
        let whole = manifest(&client, |m| m["annotations"] = json!({ "a": "" })).await;
        for (len, status) in [(MAX_MANIFEST_BYTES, 201), (MAX_MANIFEST_BYTES + 1, 413), (5 << 20, 413)] {
            let padding = "x".repeat(len as usize - whole.len());
            let large = manifest(&client, |m| m["annotations"] = json!({ "a": padding })).await;
            assert_eq!(large.len() as u64, len);
            client.expect(status, put(&large)).await;
            let streamed =
                ask("PUT", "/v2/a/manifests/v1").header("Content-Type", OCI_MANIFEST).stream(Body::from(large));
            let reply = client.expect(status, streamed).await;
            assert!(status == 201 || reply.code() == "SIZE_INVALID");
        }
    });
}

#[test]
fn manifests_that_no_reader_should_meet() {
    simulated("durable", Options::default(), async |client| {
        let nested = |n: usize| serde_json::from_str::<Value>(&("[".repeat(n) + &"]".repeat(n))).unwrap();
        client.expect(201, put(&manifest(&client, |m| m["x"] = nested(90)).await)).await;
        let deep = String::from_utf8(manifest(&client, |m| m["x"] = "DEEP".into()).await).unwrap();
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = open.repeat(10_000) + "1" + &close.repeat(10_000);
            let refused = client.expect(400, put(deep.replace("\"DEEP\"", &nested).as_bytes())).await;
            assert_eq!(refused.code(), "MANIFEST_INVALID");
            let refused = client.expect(400, put(open.repeat(10_000).as_bytes())).await;
            assert_eq!(refused.code(), "MANIFEST_INVALID");
        }
        let brackets = "\\\"[".repeat(10_000);
        client.expect(201, put(deep.replace("DEEP", &brackets).as_bytes())).await;
        for size in [json!(-1), json!(i64::MIN), json!(1.5), json!("2"), json!(u64::MAX), Value::Null] {
            let refused =
                client.expect(400, put(&manifest(&client, |m| m["layers"][0]["size"] = size.clone()).await)).await;
            assert_eq!(refused.code(), "MANIFEST_INVALID", "{size}");
        }
        let missing = Digest::sha256(b"missing").to_string();
        let refused =
            client.expect(400, put(&manifest(&client, |m| m["layers"][0]["digest"] = json!(missing)).await)).await;
        assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(refused.json()["errors"][0]["detail"]["digest"], missing);
        for text in [&b""[..], b"null", b"\xff\xfe", b"{}", b"[]", &[0; 100]] {
            assert_eq!(client.expect(400, put(text)).await.code(), "MANIFEST_INVALID");
        }
    });
}

#[test]
fn content_ranges() {
    everywhere(Options::default(), async |client| {
        let url = client.expect(202, ask("POST", "/v2/a/blobs/uploads/")).await.location();
        client.expect(202, ask("PATCH", &url).body(b"0123456789")).await;
        for (range, status, code) in [
            ("5-9", 416, "RANGE_INVALID"),
            ("0-4", 416, "RANGE_INVALID"),
            ("11-15", 416, "RANGE_INVALID"),
            ("14-10", 416, "RANGE_INVALID"),
            ("10-18446744073709551615", 416, "RANGE_INVALID"),
            ("10-99999999999999999999", 416, "RANGE_INVALID"),
            ("99999999999999999999-5", 416, "RANGE_INVALID"),
            ("10-15", 400, "SIZE_INVALID"),
            ("10-13", 400, "SIZE_INVALID"),
            ("", 400, "BLOB_UPLOAD_INVALID"),
            ("10", 400, "BLOB_UPLOAD_INVALID"),
            ("-10--6", 400, "BLOB_UPLOAD_INVALID"),
            ("10-+14", 400, "BLOB_UPLOAD_INVALID"),
            ("x-y", 400, "BLOB_UPLOAD_INVALID"),
        ] {
            for method in ["PATCH", "PUT"] {
                let url = super::with_query(&url, &format!("digest={}", Digest::sha256(b"")));
                let refused =
                    client.expect(status, ask(method, &url).header("Content-Range", range).body(b"abcde")).await;
                assert_eq!(refused.code(), code, "{range}");
                assert_eq!(client.expect(204, ask("GET", &url)).await.header("range"), "0-9");
            }
        }
        // A body of unknown length is held to its range as it comes.
        let longer = ask("PATCH", &url).header("Content-Range", "10-12").stream(Body::from("abcde"));
        assert_eq!(client.expect(400, longer).await.code(), "BLOB_UPLOAD_INVALID");
        let shorter = ask("PATCH", &url).header("Content-Range", "10-99").stream(Body::from("abcde"));
        assert_eq!(client.expect(400, shorter).await.code(), "BLOB_UPLOAD_INVALID");
        assert_eq!(client.expect(204, ask("GET", &url)).await.header("range"), "0-14", "what came is kept");
        client.expect(202, ask("PATCH", &url).header("Content-Range", "bytes 15-19/*").body(b"abcde")).await;
    });
}

#[test]
fn ten_thousand_uploads_started_and_left() {
    on_runtime(async {
        let clock = SimClock::default();
        let world = World::new(Arc::new(clock.clone()), 1);
        let registry = Registry::open("durable", SimFs::new(), world).await.unwrap();
        let options = Options { run: Run::Task, ..Options::default() };
        let client = Client { router: router(registry.clone(), options), strategy: "durable" };
        let mut last = String::new();
        for i in 0..10_000 {
            last = client.expect(202, ask("POST", format!("/v2/left/r{}/blobs/uploads/", i % 10))).await.location();
        }
        client.expect(204, ask("GET", &last)).await;
        client.push_blob("a", &Digest::sha256(b"x").to_string(), b"x").await;
        assert_eq!(client.expect(200, ask("GET", "/v2/_catalog")).await.json(), json!({ "repositories": ["a"] }));
        client.expect(204, ask("DELETE", &last)).await;
        clock.advance(UPLOAD_PURGE_AGE_SECONDS + 1);
        assert_eq!(registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, false).await, Ok(9_999));
        client.expect(404, ask("GET", last)).await;
    });
}
