//! skopeo copies images in and out.

use std::path::Path;
use std::process::Command;

use pullplug::oci::Digest;
use pullplug::oci::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::program::{Program, configure};
use super::{STRATEGIES, lacks};
use crate::strategies::content;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Runs skopeo; what it printed.
#[track_caller]
fn skopeo(args: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(args).output().unwrap();
    assert!(output.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Copies an image into the registry, or out of it.
#[track_caller]
fn copy(options: &[&str], from: &str, to: &str) {
    skopeo(&[&["copy", "--src-tls-verify=false", "--dest-tls-verify=false"], options, &[from, to]].concat());
}

/// The manifest at `image`, as the registry gives it.
#[track_caller]
fn raw(image: &str) -> Vec<u8> {
    skopeo(&["inspect", "--raw", "--tls-verify=false", image])
}

fn media_type(manifest: &[u8]) -> String {
    serde_json::from_slice::<Value>(manifest).unwrap()["mediaType"].as_str().unwrap().to_owned()
}

/// An OCI image layout: `one` is an image, `all` an index of images for two platforms.
struct Layout {
    dir: tempfile::TempDir,
    one: Vec<u8>,
    all: Vec<u8>,
}

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        write(&dir.path().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut layout = Self { dir, one: Vec::new(), all: Vec::new() };
        let images = ["amd64", "arm64"].map(|architecture| {
            let mut image = layout.image(architecture);
            image["platform"] = json!({"os": "linux", "architecture": architecture});
            image
        });
        layout.one = layout.blob(images[0]["digest"].as_str().unwrap());
        layout.all = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}).to_string().into_bytes();
        let named = |mut descriptor: Value, name: &str| {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            descriptor
        };
        let all = layout.add(OCI_INDEX, &layout.all);
        let index = json!({"schemaVersion": 2, "manifests": [named(images[0].clone(), "one"), named(all, "all")]});
        write(&layout.dir.path().join("index.json"), index.to_string().as_bytes());
        layout
    }

    fn image(&self, architecture: &str) -> Value {
        // Long enough for more than one piece.
        let layers = [300_000, 1000].map(|len| content(&format!("{architecture} {len}"), len));
        let diff_ids = layers.each_ref().map(|layer| Digest::sha256(layer).to_string());
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {}, "history": [],
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.add(CONFIG, config.to_string().as_bytes());
        let layers = layers.each_ref().map(|layer| self.add(LAYER, layer));
        let image = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        self.add(OCI_MANIFEST, image.to_string().as_bytes())
    }

    /// Adds a blob; its descriptor.
    fn add(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::sha256(content);
        write(&self.dir.path().join("blobs/sha256").join(digest.hex()), content);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": content.len()})
    }

    #[expect(clippy::disallowed_methods, reason = "a layout that another program reads")]
    fn blob(&self, digest: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join("blobs/sha256").join(digest.split_once(':').unwrap().1)).unwrap()
    }

    /// What skopeo calls the image `name` of this layout.
    fn name(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.dir.path().display())
    }
}

#[expect(clippy::disallowed_methods, reason = "a layout that another program reads")]
fn write(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap();
}

#[test]
fn skopeo_copies_images_in_and_out() {
    if lacks("skopeo") {
        return;
    }
    let layout = Layout::new();
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().unwrap();
        let server = Program::pullplug(&configure(dir.path()).1, strategy);
        let at = |reference: &str| format!("docker://{}/lib/app{reference}", server.address());
        let out = |name: &str| format!("dir:{}", dir.path().join(name).display());

        // By tag and by digest, byte for byte.
        copy(&["--preserve-digests"], &layout.name("one"), &at(":one"));
        assert_eq!(raw(&at(":one")), layout.one);
        let digest = format!("@{}", Digest::sha256(&layout.one));
        copy(&["--preserve-digests"], &at(":one"), &out("by-tag"));
        copy(&["--preserve-digests"], &at(&digest), &out("by-digest"));
        let other = |reference: &str| at(reference).replace("lib/app", "lib/other");
        copy(&["--preserve-digests"], &layout.name("one"), &other(&digest));
        assert_eq!(raw(&other(&digest)), layout.one);
        // Between two repositories of one registry: by mounts.
        copy(&["--preserve-digests"], &at(":one"), &at(":copy").replace("lib/app", "lib/mounted"));

        // As skopeo likes it best (layers compressed on their way, of a length that it does not know), and as Docker's
        // schema 2; and back.
        copy(&[], &layout.name("one"), &at(":compressed"));
        copy(&["--format", "v2s2"], &layout.name("one"), &at(":docker"));
        assert_eq!(media_type(&raw(&at(":docker"))), DOCKER_MANIFEST);
        copy(&["--preserve-digests"], &at(":docker"), &out("docker"));
        copy(&["--format", "oci"], &at(":docker"), &out("docker-as-oci"));

        // All platforms.
        copy(&["--all", "--preserve-digests"], &layout.name("all"), &at(":all"));
        assert_eq!(raw(&at(":all")), layout.all);
        copy(&["--all", "--preserve-digests"], &at(":all"), &out("all"));
        copy(&["--all", "--format", "v2s2"], &layout.name("all"), &at(":docker-all"));
        assert_eq!(media_type(&raw(&at(":docker-all"))), DOCKER_LIST);
        copy(&["--all"], &at(":docker-all"), &out("docker-all"));

        let tags: Value =
            serde_json::from_slice(&skopeo(&["list-tags", "--tls-verify=false", at("").as_str()])).unwrap();
        assert_eq!(tags["Tags"], json!(["all", "compressed", "docker", "docker-all", "one"]));
        skopeo(&["delete", "--tls-verify=false", &at(":all")]);
        let gone =
            Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &at(":all")]).output().unwrap();
        assert!(!gone.status.success());
    }
}
