//! The kinds of content: images, indexes, artifacts, and what is odd yet allowed.

use pullplug::oci::Digest;
use pullplug::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::{CONFIG, Data, EMPTY_JSON, EXAMPLE, LAYER};

/// All of them, by name.
pub fn all() -> Vec<(&'static str, Data)> {
    let mut all = Vec::new();
    let mut kind = |name: &'static str, make: &dyn Fn(&mut Data)| {
        let mut data = Data::default();
        make(&mut data);
        all.push((name, data));
    };
    images(&mut kind);
    artifacts(&mut kind);
    oddities(&mut kind);
    all
}

type Kind<'a> = dyn FnMut(&'static str, &dyn Fn(&mut Data)) + 'a;

fn images(kind: &mut Kind<'_>) {
    kind("image", &|d| {
        let image = d.image("a", json!({}));
        d.tag("image", &image);
    });
    kind("large manifest", &|d| {
        let annotations: Value = (0..390).map(|i| (format!("large-{i}"), json!("A".repeat(10_000)))).collect();
        let image = d.image("a", json!({ "annotations": annotations }));
        d.tag("large", &image);
    });
    kind("index", &|d| {
        let index = d.index("a", json!({}));
        d.tag("index", &index);
    });
    kind("nested index", &|d| {
        let children = [d.index("a", json!({})), d.index("b", json!({}))];
        let index = d.manifest(OCI_INDEX, json!({ "manifests": children }));
        d.tag("nested", &index);
    });
    kind("empty index", &|d| {
        let index = d.manifest(OCI_INDEX, json!({ "manifests": [] }));
        d.tag("empty", &index);
    });
}

fn artifacts(kind: &mut Kind<'_>) {
    kind("artifact", &|d| {
        let artifact = d.artifact("a", json!({}));
        d.tag("artifact", &artifact);
    });
    kind("artifact index", &|d| {
        let children = [d.artifact("a", json!({})), d.artifact("b", json!({}))];
        let index = d.manifest(OCI_INDEX, json!({ "manifests": children, "artifactType": EXAMPLE }));
        d.tag("artifact-index", &index);
    });
    kind("artifact without layers", &|d| {
        let empty = d.blob(EMPTY_JSON, b"{}");
        let document = json!({ "config": empty, "layers": [empty], "artifactType": EXAMPLE });
        let artifact = d.manifest(OCI_MANIFEST, document);
        d.tag("no-layers", &artifact);
    });
    kind("artifacts with a subject", &|d| {
        let image = d.image("a", json!({}));
        let plain = d.image("b", json!({ "subject": image }));
        let note = json!({ "org.opencontainers.conformance": "hello", "org.example.unique": "1" });
        let one = d.artifact("c", json!({ "subject": image, "annotations": note }));
        let other = json!({ "subject": image, "annotations": note, "artifactType": "application/vnd.example.v2" });
        let two = d.artifact("d", other);
        for (tag, descriptor) in [("image", image), ("artifact1", one), ("artifact2", two), ("plain", plain)] {
            d.tag(tag, &descriptor);
        }
    });
    kind("index with a subject", &|d| {
        let subject = d.index("a", json!({}));
        let more = json!({ "subject": subject, "artifactType": EXAMPLE, "annotations": { "a": "b" } });
        let index = d.index("b", more);
        d.tag("index", &subject);
        d.tag("referrer", &index);
    });
    kind("a subject that is missing", &|d| {
        let digest = Digest::sha256(b"missing").to_string();
        let subject = json!({ "mediaType": OCI_MANIFEST, "digest": digest, "size": 123 });
        let artifact = d.artifact("a", json!({ "subject": subject }));
        d.tag("artifact", &artifact);
    });
}

fn oddities(kind: &mut Kind<'_>) {
    kind("data in descriptors", &|d| {
        d.with_data = true;
        let image = d.image("a", json!({}));
        d.tag("data", &image);
    });
    kind("layers that are elsewhere", &|d| {
        let config = d.blob(CONFIG, b"{\"a\":1}");
        let elsewhere = |kind: &str, n| {
            let digest = Digest::sha256(&[n]).to_string();
            json!({ "mediaType": format!("application/vnd.oci.image.layer.nondistributable.v1.{kind}"),
                "digest": digest, "size": 123_456, "urls": ["https://store.example.com/blobs/x"] })
        };
        let layers = [elsewhere("tar+gzip", 1), elsewhere("tar", 2), d.blob(LAYER, b"layer")];
        let image = d.manifest(OCI_MANIFEST, json!({ "config": config, "layers": layers }));
        d.tag("elsewhere", &image);
    });
    kind("fields of one's own", &|d| {
        d.extra = Some(("org.example.custom", json!({ "nested": [1, { "deeper": "x" }] })));
        let index = d.index("a", json!({}));
        d.tag("custom", &index);
    });
    kind("no layers", &|d| {
        let config = d.blob(CONFIG, b"{}");
        let image = d.manifest(OCI_MANIFEST, json!({ "config": config, "layers": [] }));
        d.tag("none", &image);
    });
}
