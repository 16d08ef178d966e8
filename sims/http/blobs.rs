//! Blobs over HTTP: every way in that the distribution-spec knows, for both digest algorithms, in order and out of
//! it; what is then to be read, in whole and in part; and what a wrong digest leaves.

use axum::body::Body;
use bytes::Bytes;
use pullplug::http::Options;
use pullplug::oci::{Algorithm, Digest};

use super::{Ask, Client, Reply, ask, everywhere, may_pull, simulated, with_query};
use crate::registry::noise;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
const UPLOADS: &str = "/v2/lib/app/blobs/uploads/";

/// `scenario` for both algorithms, everywhere, and with sha256 for every other strategy.
fn for_all(scenario: impl AsyncFn(&Client, Algorithm)) {
    for algorithm in ALGORITHMS {
        everywhere(Options::default(), async |client| scenario(&client, algorithm).await);
        for strategy in ["distribution-2.0", "distribution-2.8", "distribution-3.1"] {
            simulated(strategy, Options::default(), async |client| scenario(&client, algorithm).await);
        }
    }
}

/// That a blob is there in whole, and that it can be deleted.
async fn is_there(client: &Client, created: &Reply, digest: &Digest, content: &[u8]) {
    let path = format!("/v2/lib/app/blobs/{digest}");
    assert_eq!(created.location(), path);
    for method in ["HEAD", "GET"] {
        let reply = client.expect(200, ask(method, &path)).await;
        assert_eq!(reply.header("content-length"), content.len().to_string());
        assert_eq!(reply.header("docker-content-digest"), digest.to_string());
        assert_eq!(reply.body, if method == "HEAD" { b"" } else { content });
    }
    client.expect(202, ask("DELETE", &path)).await;
    client.expect(404, ask("HEAD", &path)).await;
    assert_eq!(client.expect(404, ask("GET", &path)).await.code(), "BLOB_UNKNOWN");
    assert_eq!(client.expect(404, ask("DELETE", &path)).await.code(), "BLOB_UNKNOWN");
}

/// Where a new session is.
async fn begin(client: &Client) -> String {
    let reply = client.expect(202, ask("POST", UPLOADS)).await;
    assert_eq!(reply.header("range"), "0-0");
    assert!(reply.location().ends_with(reply.header("docker-upload-uuid")));
    reply.location()
}

fn chunk(method: &str, url: &str, content: &[u8], from: usize, to: usize) -> Ask {
    ask(method, url).header("Content-Range", format!("{from}-{}", to - 1)).body(&content[from..to])
}

/// Pushes in three chunks; the last rides along with the PUT, and a chunk out of order goes before each, if asked.
async fn push_chunked(client: &Client, digest: &Digest, content: &[u8], put_last: bool, out_of_order: bool) -> Reply {
    let (mut url, step) = (begin(client).await, content.len().div_ceil(3));
    let digest = format!("digest={digest}");
    let mut at = 0;
    while at < content.len() {
        let end = (at + step).min(content.len());
        if out_of_order {
            let wrong = if at + step < content.len() { at + step } else { 0 };
            let refused =
                client.expect(416, chunk("PATCH", &url, content, wrong, (wrong + step).min(content.len()))).await;
            assert_eq!(refused.code(), "RANGE_INVALID");
            let status = client.expect(204, ask("GET", &url)).await;
            assert_eq!(status.header("range"), format!("0-{}", at.saturating_sub(1)));
            url = status.location();
        }
        if put_last && end == content.len() {
            return client.send(chunk("PUT", &with_query(&url, &digest), content, at, end)).await;
        }
        let reply = client.expect(202, chunk("PATCH", &url, content, at, end)).await;
        assert_eq!(reply.header("range"), format!("0-{}", end - 1));
        (url, at) = (reply.location(), end);
    }
    client.send(ask("PUT", with_query(&url, &digest)).body(b"")).await
}

#[test]
fn every_way_in() {
    for_all(async |client, algorithm| {
        for (content, name) in [(noise("blob", 3067), "noise"), (b"{}".to_vec(), "json"), (Vec::new(), "empty")] {
            println!("{} {algorithm:?} {name}", client.strategy);
            let digest = Digest::of(algorithm, &content);
            let query = format!("digest={digest}");
            let at_once = client.expect(201, ask("POST", with_query(UPLOADS, &query)).body(&content)).await;
            is_there(client, &at_once, &digest, &content).await;
            let url = begin(client).await;
            let put = client.expect(201, ask("PUT", with_query(&url, &query)).body(&content)).await;
            is_there(client, &put, &digest, &content).await;
            client.expect(404, ask("GET", url)).await;
            let streamed = ask("PATCH", begin(client).await).stream(Bytes::from(content.clone()).into());
            let url = client.expect(202, streamed).await.location();
            let put = client.expect(201, ask("PUT", with_query(&url, &query)).body(b"")).await;
            is_there(client, &put, &digest, &content).await;
            for (put_last, out_of_order) in [(false, false), (true, false), (false, true), (true, true)] {
                let put = push_chunked(client, &digest, &content, put_last, out_of_order).await;
                assert_eq!(put.status, 201, "{put:?}");
                is_there(client, &put, &digest, &content).await;
            }
        }
    });
}

#[test]
fn a_wrong_digest_makes_no_blob() {
    for_all(async |client, algorithm| {
        let (content, wrong) = (noise("blob", 3067), Digest::of(algorithm, b"other"));
        let query = format!("digest={wrong}");
        let at_once = client.expect(400, ask("POST", with_query(UPLOADS, &query)).body(&content)).await;
        let url = begin(client).await;
        let put = client.expect(400, ask("PUT", with_query(&url, &query)).body(&content)).await;
        let chunked = push_chunked(client, &wrong, &content, false, false).await;
        let put_last = push_chunked(client, &wrong, &content, true, false).await;
        for reply in [at_once, put, chunked, put_last] {
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "DIGEST_INVALID"));
        }
        client.expect(404, ask("GET", format!("/v2/lib/app/blobs/{wrong}"))).await;
        let right = Digest::of(algorithm, &content);
        client.expect(404, ask("GET", format!("/v2/lib/app/blobs/{right}"))).await;
        for bad in ["", "digest=sha256:12", "digest=md5:d41d8cd98f00b204e9800998ecf8427e", "digest=x"] {
            let url = begin(client).await;
            let put = client.expect(400, ask("PUT", with_query(&url, bad)).body(&content)).await;
            assert_eq!(put.code(), "DIGEST_INVALID");
        }
    });
}

#[test]
fn mounts() {
    for_all(async |client, algorithm| {
        // distribution mounts an alias as if it were content: the link leads nowhere.
        if client.strategy != "durable" && algorithm == Algorithm::Sha512 {
            return;
        }
        let content = noise("mounted", 700);
        let digest = Digest::of(algorithm, &content);
        client.push_blob("from/here", &digest.to_string(), &content).await;
        // That version knows only repositories that have manifests.
        let finds = client.strategy != "distribution-3.1";
        for from in ["&from=from/here", "&from=from%2Fhere", "", "&from="].into_iter().take(if finds { 4 } else { 2 }) {
            let mounted = client.expect(201, ask("POST", format!("{UPLOADS}?mount={digest}{from}"))).await;
            let event = mounted.event.clone().unwrap();
            assert_eq!(event.from_repo.unwrap().as_str(), "from/here");
            assert_eq!(mounted.header("docker-content-digest"), digest.to_string());
            is_there(client, &mounted, &digest, &content).await;
        }
        let missing = Digest::of(algorithm, b"missing");
        for (blob, from) in
            [(digest, "&from=other"), (digest, "&from=NOT/VALID"), (missing, "&from=from/here"), (missing, "")]
        {
            let begun = client.expect(202, ask("POST", format!("{UPLOADS}?mount={blob}{from}"))).await;
            assert_eq!(begun.event, None);
            client.expect(204, ask("DELETE", begun.location())).await;
        }
        let sealed = async |from: &str, allowed| {
            let mut request = ask("POST", format!("{UPLOADS}?mount={digest}{from}")).build();
            request.extensions_mut().insert(may_pull(allowed));
            client.request(request).await.status.as_u16()
        };
        for from in ["", "&from=from/here"] {
            assert_eq!(sealed(from, "other").await, 202, "a digest alone opens nobody's repository");
            assert_eq!(sealed(from, "from/here").await, if finds || !from.is_empty() { 201 } else { 202 });
        }
    });
}

#[test]
fn a_session_can_be_asked_and_cancelled() {
    for_all(async |client, _| {
        let url = begin(client).await;
        client.expect(202, ask("PATCH", &url).body(b"1234")).await;
        for method in ["GET", "HEAD"] {
            let status = client.expect(204, ask(method, &url)).await;
            assert_eq!((status.header("range"), status.location()), ("0-3", url.clone()));
        }
        client.expect(204, ask("DELETE", &url)).await;
        for method in ["GET", "DELETE", "PATCH"] {
            assert_eq!(client.expect(404, ask(method, &url)).await.code(), "BLOB_UPLOAD_UNKNOWN");
        }
        let unknown =
            client.expect(404, ask("PUT", with_query(&url, &format!("digest={}", Digest::sha256(b""))))).await;
        assert_eq!(unknown.code(), "BLOB_UPLOAD_UNKNOWN");
    });
}

#[test]
fn parts_of_a_blob() {
    for_all(async |client, algorithm| {
        let content = noise("parts", 2048);
        let digest = Digest::of(algorithm, &content);
        client.push_blob("lib/app", &digest.to_string(), &content).await;
        let path = format!("/v2/lib/app/blobs/{digest}");
        for (range, from, to) in [
            ("500-1499", 500, 1499),
            ("500-", 500, 2047),
            ("-500", 1548, 2047),
            ("-9999", 0, 2047),
            ("2000-5000", 2000, 2047),
            ("0-0", 0, 0),
            ("2047-99999999999999999999999", 2047, 2047),
        ] {
            let part = client.expect(206, ask("GET", &path).header("Range", format!("bytes={range}"))).await;
            assert_eq!(part.body, content[from..=to], "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{to}/2048"));
            assert_eq!(part.header("content-length"), (to - from + 1).to_string());
        }
        for range in
            ["500-0", "5000-10000", "2048-", "-0", "x-y", "-", "18446744073709551615-", "99999999999999999999-"]
        {
            let refused = client.expect(416, ask("GET", &path).header("Range", format!("bytes={range}"))).await;
            assert_eq!(refused.code(), "RANGE_INVALID", "{range}");
        }
        for (name, value) in [("Range", "lines=1-2"), ("Range", "bytes=0-1,4-5"), ("X", "y")] {
            let whole = client.expect(200, ask("GET", &path).header(name, value)).await;
            assert_eq!((whole.header("accept-ranges"), &whole.body), ("bytes", &Bytes::from(content.clone())));
        }
        let changed = ask("GET", &path).header("Range", "bytes=1-2").header("If-Range", "\"other\"");
        client.expect(200, changed).await;
        let etag = client.expect(200, ask("HEAD", &path).header("Range", "bytes=1-2")).await.header("etag").to_owned();
        client.expect(206, ask("GET", &path).header("Range", "bytes=1-2").header("If-Range", &etag)).await;
        for known in [etag.clone(), format!("\"x\", W/{etag}"), "*".into(), digest.to_string()] {
            let reply = client.expect(304, ask("GET", &path).header("If-None-Match", known)).await;
            assert_eq!((reply.header("etag"), reply.body.len()), (etag.as_str(), 0));
        }
        client.expect(200, ask("GET", &path).header("If-None-Match", "\"sha256:other\"")).await;
        let missing = path.replace(&digest.hex()[..4], "0000");
        client.expect(404, ask("GET", missing).header("If-None-Match", "*")).await;
    });
}

#[test]
fn an_empty_blob_has_no_parts() {
    everywhere(Options::default(), async |client| {
        let digest = Digest::sha256(b"").to_string();
        client.push_blob("lib/app", &digest, b"").await;
        for range in ["0-0", "-1", "0-"] {
            let ask = ask("GET", format!("/v2/lib/app/blobs/{digest}")).header("Range", format!("bytes={range}"));
            assert_eq!(client.expect(416, ask).await.header("content-range"), "bytes */0");
        }
    });
}

#[test]
fn a_client_is_told_the_least_chunk_and_may_name_an_algorithm() {
    let options = Options { chunk_min_bytes: Some(65_536), ..Options::default() };
    everywhere(options, async |client| {
        let begun = client.expect(202, ask("POST", format!("{UPLOADS}?digest-algorithm=sha512"))).await;
        assert_eq!(begun.header("oci-chunk-min-length"), "65536");
        let refused = client.expect(400, ask("POST", format!("{UPLOADS}?digest-algorithm=md5"))).await;
        assert_eq!(refused.code(), "DIGEST_INVALID");
        client
            .expect(201, ask("POST", format!("{UPLOADS}?digest={}", Digest::sha256(b""))).stream(Body::empty()))
            .await;
    });
}
