//! Arbitrary requests and arbitrary bytes: no answer is a panic, and none blames the server.

use http::header::{ACCEPT, CONTENT_RANGE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use pullplug::disk::SimFs;
use pullplug::http::Options;
use pullplug::http::headers;
use pullplug::http::run::Run;
use pullplug::oci::manifest::{MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST};
use pullplug::oci::{Digest, Manifest, Name, Reference, Tag};

use super::{client, on_runtime};

/// The digest of `{}`.
const KNOWN: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// Segments of paths: the words of the endpoints, names, digests, and whatever else.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["blobs", "uploads", "manifests", "tags", "list", "referrers", "_catalog", "a", "b"])
            .prop_map(str::to_owned),
        2 => Just(KNOWN.to_owned()),
        1 => "sha(256|512):[0-9a-f]{0,130}",
        1 => "[a-zA-Z0-9._-]{0,12}",
        1 => "(%[0-9a-fA-F]{2}|[!-~]){0,6}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec!["blobs/uploads/", "manifests/v1", "tags/list"]);
    let path = prop_oneof![
        1 => prop::collection::vec(segment(), 0..6).prop_map(|segments| segments.join("/")),
        1 => known.prop_map(|rest| format!("a/{rest}")),
        3 => segment().prop_map(|last| format!("a/blobs/{last}")),
        1 => segment().prop_map(|last| format!("a/manifests/{last}")),
    ];
    let parameter = (
        prop::sample::select(vec!["digest", "mount", "from", "n", "last", "tag", "artifactType", "digest-algorithm"]),
        prop_oneof![segment(), "[0-9]{0,25}"],
    );
    let query = prop::collection::vec(parameter, 0..3);
    (path, query).prop_map(|(path, query)| {
        let query: Vec<_> = query.into_iter().map(|(key, value)| format!("{key}={}", value.replace('#', ""))).collect();
        format!("/v2/{path}?{}", query.join("&")).replace('#', "")
    })
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names = vec![
        "range",
        "range",
        "range",
        "if-none-match",
        "content-range",
        "if-none-match",
        "if-range",
        "accept",
        "content-type",
        "content-length",
        "host",
        "expect",
        "x-forwarded-proto",
        "x-forwarded-host",
    ];
    let value = prop_oneof![
        prop::sample::select(vec!["*", "bytes=0-", "bytes=1-1", "host", "0-1", KNOWN])
            .prop_map(|v| v.as_bytes().to_vec()),
        "bytes=[0-9]{0,22}-[0-9]{0,22}".prop_map(String::into_bytes),
        "[0-9]{0,22}-[0-9]{0,22}".prop_map(String::into_bytes),
        prop::sample::select(MEDIA_TYPES.to_vec()).prop_map(|t| t.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    (prop::sample::select(names), value)
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{KNOWN}","size":2}}"#);
    let valid = [
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{descriptor},"layers":[{descriptor}]}}"#),
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"subject":{descriptor}}}"#),
    ];
    let mangled = (prop::sample::select(valid.to_vec()), any::<prop::sample::Index>(), any::<Option<u8>>());
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..200),
        mangled.prop_map(|(text, at, byte)| {
            let (mut bytes, at) = (text.into_bytes(), at);
            let at = at.index(bytes.len());
            match byte {
                Some(byte) => bytes[at] = byte,
                None => bytes.truncate(at),
            }
            bytes
        }),
    ]
}

#[test]
fn any_request_has_an_answer_that_is_no_fault_of_ours() {
    let methods = vec!["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "X"];
    let request = (prop::sample::select(methods), path(), prop::collection::vec(header(), 0..4), document());
    let mut statuses = std::collections::BTreeSet::new();
    on_runtime(async {
        let client = client("durable", SimFs::new(), Options { run: Run::Task, ..Options::default() }).await;
        let mut runner = TestRunner::deterministic();
        for i in 0..6000 {
            if i % 10 == 0 {
                // Some of the requests delete it.
                client.push_blob("a", KNOWN, b"{}").await;
            }
            let (method, path, headers, body) = request.new_tree(&mut runner).unwrap().current();
            let mut builder = Request::builder().method(method.parse::<Method>().unwrap()).uri(&path);
            for (name, value) in &headers {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    builder = builder.header(*name, value);
                }
            }
            let Ok(request) = builder.body(body.clone().into()) else { continue };
            let reply = client.request(request).await;
            assert!(!reply.status.is_server_error() && reply.whole, "{method} {path} {headers:?} {body:?}: {reply:?}");
            statuses.insert(reply.status.as_u16());
        }
    });
    // That this reaches the endpoints, not only the refusals.
    for status in [200, 201, 202, 206, 304, 400, 404, 405, 416] {
        assert!(statuses.contains(&status), "never {status}: {statuses:?}");
    }
}

proptest! {
    #[test]
    fn any_header_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut map = HeaderMap::new();
        for name in [ACCEPT, CONTENT_RANGE, IF_NONE_MATCH, RANGE] {
            map.insert(name, value.clone());
        }
        let digest: Digest = KNOWN.parse().unwrap();
        if let Ok(Some(range)) = headers::content_range(&map) {
            prop_assert!(range.start() <= range.end());
        }
        let _ = (headers::range(&map, &digest), headers::none_match(&map, &digest), headers::accepts(&map, OCI_INDEX));
    }

    #[test]
    fn any_range_is_read_without_harm(from in any::<u64>(), to in any::<u64>(), unit in "(bytes )?", total in "(/[0-9*]{1,3})?") {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_RANGE, format!("{unit}{from}-{to}{total}").parse().unwrap());
        let read = headers::content_range(&map);
        prop_assert_eq!(read.is_ok(), from <= to && to < u64::MAX);
        if let Ok(Some(range)) = read {
            prop_assert_eq!((*range.start(), *range.end()), (from, to));
        }
    }

    #[test]
    fn any_word_is_refused_or_comes_back(text in "\\PC{0,80}") {
        if let Ok(word) = text.parse::<Digest>() { prop_assert_eq!(word.to_string(), text.clone()); }
        if let Ok(word) = text.parse::<Name>() { prop_assert_eq!(word.to_string(), text.clone()); }
        if let Ok(word) = text.parse::<Tag>() { prop_assert_eq!(word.to_string(), text.clone()); }
        if let Ok(word) = text.parse::<Reference>() { prop_assert_eq!(word.to_string(), text.clone()); }
    }

    #[test]
    fn any_document_is_a_manifest_or_is_none(bytes in document(), media_type in prop::option::of(prop::sample::select(MEDIA_TYPES.to_vec()))) {
        if let Ok(manifest) = Manifest::parse(&bytes, media_type) {
            prop_assert!(MEDIA_TYPES.contains(&manifest.media_type()));
            prop_assert!(media_type.is_none_or(|t| t == manifest.media_type()));
        }
    }
}
