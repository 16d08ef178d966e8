//! Every kind of content that the distribution-spec knows, taken through a repository's life as its conformance
//! program does: push by digest and by tag, list, head, pull, referrers, delete.

mod kinds;

use pullplug::http::Options;
use pullplug::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use pullplug::oci::{Algorithm, Digest};
use serde_json::{Value, json};

use super::{Client, ask, everywhere, simulated};
use crate::registry::noise;

const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EXAMPLE: &str = "application/vnd.example.oci.conformance.v1";

/// Content as it is pushed: blobs, then manifests in this order, then tags.
#[derive(Default)]
struct Data {
    algorithm: Option<Algorithm>,
    blobs: Vec<(String, Vec<u8>)>,
    manifests: Vec<Pushed>,
    tags: Vec<(&'static str, String)>,
    /// Further fields of every manifest.
    extra: Option<(&'static str, Value)>,
    /// Whether descriptors carry their content.
    with_data: bool,
}

struct Pushed {
    digest: String,
    media_type: &'static str,
    bytes: Vec<u8>,
    subject: Option<String>,
    /// As the referrers API lists it.
    listed: Value,
}

impl Data {
    fn digest(&self, content: &[u8]) -> String {
        Digest::of(self.algorithm.unwrap_or(Algorithm::Sha256), content).to_string()
    }

    fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = self.digest(content);
        let mut descriptor = json!({ "mediaType": media_type, "digest": digest, "size": content.len() });
        if self.with_data {
            // The alphabet of base64 is of no interest here, only that the field is there.
            descriptor["data"] = json!("AAAA");
        }
        self.blobs.push((digest, content.to_vec()));
        descriptor
    }

    fn manifest(&mut self, media_type: &'static str, mut document: Value) -> Value {
        document["schemaVersion"] = 2.into();
        document["mediaType"] = media_type.into();
        if let Some((key, value)) = &self.extra {
            document[*key] = value.clone();
        }
        let bytes = document.to_string().into_bytes();
        let digest = self.digest(&bytes);
        let mut listed = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        let descriptor = listed.clone();
        let artifact_type = document.get("artifactType").or(document["config"].get("mediaType"));
        if let Some(artifact_type) = artifact_type {
            listed["artifactType"] = artifact_type.clone();
        }
        if let Some(annotations) = document.get("annotations") {
            listed["annotations"] = annotations.clone();
        }
        let subject = document["subject"]["digest"].as_str().map(str::to_owned);
        self.manifests.push(Pushed { digest, media_type, bytes, subject, listed });
        descriptor
    }

    fn image(&mut self, name: &str, more: Value) -> Value {
        let config = self.blob(CONFIG, format!(r#"{{"author":"{name}","rootfs":{{}}}}"#).as_bytes());
        let layers = [self.blob(LAYER, &noise(name, 300)), self.blob(LAYER, &noise(&format!("{name}2"), 400))];
        self.manifest(OCI_MANIFEST, merge(json!({ "config": config, "layers": layers }), more))
    }

    fn artifact(&mut self, name: &str, more: Value) -> Value {
        let config = self.blob(EMPTY_JSON, b"{}");
        let layers = [self.blob(EXAMPLE, &noise(name, 2048))];
        let document = json!({ "config": config, "layers": layers, "artifactType": EXAMPLE });
        self.manifest(OCI_MANIFEST, merge(document, more))
    }

    fn index(&mut self, name: &str, more: Value) -> Value {
        let children: Vec<Value> = ["amd64", "arm64"]
            .into_iter()
            .map(|architecture| {
                let child = self.image(&format!("{name}-{architecture}"), json!({}));
                merge(child, json!({ "platform": { "os": "linux", "architecture": architecture } }))
            })
            .collect();
        self.manifest(OCI_INDEX, merge(json!({ "manifests": children }), more))
    }

    fn tag(&mut self, tag: &'static str, descriptor: &Value) {
        self.tags.push((tag, descriptor["digest"].as_str().unwrap().to_owned()));
    }

    fn find(&self, digest: &str) -> &Pushed {
        self.manifests.iter().find(|m| m.digest == digest).unwrap()
    }
}

fn merge(mut document: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

/// The whole life of some content in a repository.
async fn live(client: &Client, data: &Data) {
    for (digest, content) in &data.blobs {
        client.push_blob("lib/app", digest, content).await;
    }
    for pushed in &data.manifests {
        put(client, &pushed.digest, pushed).await;
    }
    for (tag, digest) in &data.tags {
        put(client, tag, data.find(digest)).await;
    }
    list(client, data).await;
    for (tag, digest) in &data.tags {
        get(client, tag, data.find(digest)).await;
    }
    for pushed in &data.manifests {
        get(client, &pushed.digest, pushed).await;
        refer(client, data, pushed).await;
    }
    delete(client, data).await;
}

async fn put(client: &Client, reference: &str, pushed: &Pushed) {
    let path = format!("/v2/lib/app/manifests/{reference}");
    let reply =
        client.expect(201, ask("PUT", path).header("Content-Type", pushed.media_type).body(&pushed.bytes)).await;
    assert_eq!(reply.header("docker-content-digest"), pushed.digest);
    assert_eq!(reply.header("oci-subject"), pushed.subject.as_deref().unwrap_or_default());
    let there = client.expect(200, ask("GET", reply.location())).await;
    assert_eq!((there.header("content-type"), &there.body[..]), (pushed.media_type, &pushed.bytes[..]));
}

async fn get(client: &Client, reference: &str, pushed: &Pushed) {
    for method in ["HEAD", "GET"] {
        let ask = ask(method, format!("/v2/lib/app/manifests/{reference}"));
        let reply = client.expect(200, ask.header("Accept", OCI_INDEX).header("Accept", OCI_MANIFEST)).await;
        assert_eq!(reply.header("content-type"), pushed.media_type);
        assert_eq!(reply.header("content-length"), pushed.bytes.len().to_string());
        assert_eq!(reply.header("docker-content-digest"), pushed.digest);
        assert_eq!(reply.body, if method == "HEAD" { &[][..] } else { &pushed.bytes });
    }
}

async fn list(client: &Client, data: &Data) {
    let tags = |reply: super::Reply| reply.json()["tags"].as_array().unwrap().clone();
    let all = tags(client.expect(200, ask("GET", "/v2/lib/app/tags/list")).await);
    let mut expected: Vec<_> = data.tags.iter().map(|(tag, _)| json!(tag)).collect();
    expected.sort_by_key(Value::to_string);
    assert_eq!(all, expected);
    for at in 0..all.len() {
        let last = all[at].as_str().unwrap();
        let rest = tags(client.expect(200, ask("GET", format!("/v2/lib/app/tags/list?last={last}"))).await);
        assert_eq!(rest, all[at + 1..]);
    }
}

/// That those who name `subject` are listed, and by artifact type only those of it.
async fn refer(client: &Client, data: &Data, subject: &Pushed) {
    for subject in subject.subject.iter().chain([&subject.digest]) {
        let path = format!("/v2/lib/app/referrers/{subject}");
        let mut expected: Vec<_> = data.manifests.iter().filter(|m| m.subject.as_ref() == Some(subject)).collect();
        expected.sort_by_key(|m| &m.digest);
        let expected: Vec<_> = expected.into_iter().map(|m| m.listed.clone()).collect();
        let reply = client.expect(200, ask("GET", &path)).await;
        assert_eq!(reply.header("content-type"), OCI_INDEX);
        assert_eq!(reply.json(), json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": expected }));
        for listed in &expected {
            let of_type = listed["artifactType"].as_str().unwrap();
            let reply = client.expect(200, ask("GET", format!("{path}?artifactType={of_type}"))).await;
            assert_eq!(reply.header("oci-filters-applied"), "artifactType");
            let wanted: Vec<_> = expected.iter().filter(|l| l["artifactType"] == of_type).cloned().collect();
            assert_eq!(reply.json()["manifests"], json!(wanted));
        }
    }
}

async fn delete(client: &Client, data: &Data) {
    for (tag, digest) in &data.tags {
        client.expect(202, ask("DELETE", format!("/v2/lib/app/manifests/{tag}"))).await;
        client.expect(404, ask("HEAD", format!("/v2/lib/app/manifests/{tag}"))).await;
        client.expect(200, ask("HEAD", format!("/v2/lib/app/manifests/{digest}"))).await;
    }
    for pushed in data.manifests.iter().rev() {
        let path = format!("/v2/lib/app/manifests/{}", pushed.digest);
        client.expect(202, ask("DELETE", &path)).await;
        client.expect(404, ask("HEAD", &path)).await;
    }
    for (digest, _) in &data.blobs {
        let path = format!("/v2/lib/app/blobs/{digest}");
        let status = client.send(ask("DELETE", &path)).await.status.as_u16();
        assert!([202, 404].contains(&status), "content that is there twice goes once: {status}");
        client.expect(404, ask("HEAD", &path)).await;
    }
}

#[test]
fn every_kind_of_content_lives_and_goes() {
    for (name, data) in kinds::all() {
        println!("{name}");
        everywhere(Options::default(), async |client| live(&client, &data).await);
        for strategy in ["distribution-2.8", "distribution-3.1"] {
            simulated(strategy, Options::default(), async |client| live(&client, &data).await);
        }
    }
}

#[test]
fn sha512_all_the_way_down() {
    let mut data = Data { algorithm: Some(Algorithm::Sha512), ..Data::default() };
    data.index("a", json!({}));
    // Tags cannot go with the push by tag: it names the content by its canonical digest.
    everywhere(Options::default(), async |client| {
        for (digest, content) in &data.blobs {
            client.push_blob("lib/app", digest, content).await;
        }
        for pushed in &data.manifests {
            put(&client, &pushed.digest, pushed).await;
            get(&client, &pushed.digest, pushed).await;
        }
        delete(&client, &data).await;
    });
}

#[test]
fn tags_ride_along_with_a_push_by_digest() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let mut data = Data { algorithm: Some(algorithm), ..Data::default() };
        data.index("a", json!({}));
        everywhere(Options::default(), async |client| {
            for (digest, content) in &data.blobs {
                client.push_blob("lib/app", digest, content).await;
            }
            for (i, pushed) in data.manifests.iter().enumerate() {
                let tags = [format!("tag-{i}"), format!("tag-{i}-again")];
                let path = format!("/v2/lib/app/manifests/{}?tag={}&tag={}", pushed.digest, tags[0], tags[1]);
                let put = ask("PUT", path).header("Content-Type", pushed.media_type).body(&pushed.bytes);
                let reply = client.expect(201, put).await;
                let told: Vec<_> = reply.headers.get_all("oci-tag").iter().map(|v| v.to_str().unwrap()).collect();
                assert_eq!(told, tags);
                for tag in &tags {
                    let by_tag = client.expect(200, ask("GET", format!("/v2/lib/app/manifests/{tag}"))).await;
                    // A tag holds the canonical digest, whatever the content was pushed as.
                    let digest = Digest::sha256(&pushed.bytes).to_string();
                    assert_eq!(
                        (by_tag.header("docker-content-digest"), &by_tag.body[..]),
                        (&*digest, &pushed.bytes[..])
                    );
                }
            }
        });
    }
    everywhere(Options::default(), async |client| {
        let tags: String = (0..65).map(|i| format!("&tag=t{i}")).collect();
        let path = format!("/v2/lib/app/manifests/{}?{}", Digest::sha256(b"x"), &tags[1..]);
        assert_eq!(client.expect(414, ask("PUT", path).body(b"x")).await.code(), "TAG_INVALID");
        let path = format!("/v2/lib/app/manifests/{}?tag=.x", Digest::sha256(b"x"));
        assert_eq!(client.expect(400, ask("PUT", path).body(b"x")).await.code(), "TAG_INVALID");
    });
}

#[test]
fn what_is_not_there_or_not_right() {
    everywhere(Options::default(), async |client| {
        client.expect(200, ask("GET", "/v2/")).await;
        let missing = Digest::sha256(b"missing");
        assert_eq!(client.expect(404, ask("GET", "/v2/lib/app/tags/list")).await.code(), "NAME_UNKNOWN");
        let none = client.expect(200, ask("GET", format!("/v2/lib/app/referrers/{missing}"))).await;
        assert_eq!(none.json()["manifests"], json!([]));
        for reference in ["missing", &missing.to_string()] {
            let path = format!("/v2/lib/app/manifests/{reference}");
            assert_eq!(client.expect(404, ask("GET", path)).await.code(), "MANIFEST_UNKNOWN");
        }
        let mut data = Data::default();
        data.image("a", json!({}));
        for (digest, content) in &data.blobs {
            client.push_blob("lib/app", digest, content).await;
        }
        let pushed = &data.manifests[0];
        let put = |reference: &str, bytes: &[u8]| {
            let ask = ask("PUT", format!("/v2/lib/app/manifests/{reference}"));
            ask.header("Content-Type", pushed.media_type).body(bytes)
        };
        let malformed = client.expect(400, put("sha256:baddigeststring", &pushed.bytes)).await;
        assert_eq!(malformed.code(), "DIGEST_INVALID");
        client.expect(400, ask("GET", "/v2/lib/app/manifests/sha256:baddigeststring")).await;
        let other = client.expect(400, put(&pushed.digest, &[&pushed.bytes, &b"  "[..]].concat())).await;
        assert_eq!(other.code(), "DIGEST_INVALID");
        client.expect(404, ask("GET", format!("/v2/lib/app/manifests/{}", pushed.digest))).await;
    });
}
