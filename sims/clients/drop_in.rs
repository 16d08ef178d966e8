//! One directory, two registries: what either wrote, changed or collected, the other serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use pullplug::oci::Digest;
use pullplug::oci::manifest::OCI_MANIFEST;

use super::program::{Program, clean, configure};
use super::wire::Wire;
use super::{STRATEGIES, lacks};
use crate::strategies::{content, manifest};

const REPO: &str = "lib/app";

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Theirs,
}

const BOTH: [Who; 2] = [Who::Ours, Who::Theirs];

/// What the registry must hold.
#[derive(Default)]
struct Expected {
    tags: BTreeMap<String, Bytes>,
    blobs: BTreeMap<String, Bytes>,
    /// Manifests that were deleted.
    gone: BTreeSet<String>,
    /// Blobs that nothing reaches any more: a collection must take them.
    dead: BTreeMap<String, Bytes>,
}

/// A directory and who may serve it.
struct Shared {
    root: PathBuf,
    config: PathBuf,
    strategy: &'static str,
    expected: Expected,
}

impl Shared {
    fn serve(&self, who: Who) -> Program {
        match who {
            Who::Ours => Program::pullplug(&self.config, self.strategy),
            Who::Theirs => Program::docker_registry(&self.config),
        }
    }

    /// A push, a push over the same tag, a deletion.
    fn change(&mut self, who: Who, round: usize) {
        let server = self.serve(who);
        let mut wire = Wire::connect(server.address());
        let tag = format!("r{round}");
        let shared = content("shared by all", 2000);
        let [kept, moved, deleted] = ["kept", "moved", "deleted"].map(|of| {
            let (layer, config) =
                (content(&format!("{of} {round}"), 30_000), content(&format!("{of} config {round}"), 79));
            let image = manifest(&config, &[&layer, &shared], 0);
            (image, [layer, config, shared.clone()])
        });
        for ((image, blobs), tag) in [(&deleted, "deleted"), (&moved, &*tag), (&kept, &*tag), (&moved, "moving")] {
            for blob in blobs {
                wire.push_blob(REPO, &digest(blob), blob);
            }
            put_manifest(&mut wire, tag, image);
        }
        self.expected.blobs.extend(kept.1.iter().chain(&moved.1).map(|blob| (digest(blob), blob.clone())));
        self.expected.tags.insert(tag, kept.0);
        self.expected.tags.insert("moving".to_owned(), moved.0);
        delete_manifest(&mut wire, &deleted.0);
        self.expected.gone.insert(digest(&deleted.0));
        self.expected.dead.extend(deleted.1[..2].iter().map(|blob| (digest(blob), blob.clone())));
        server.stop();
    }

    fn collect(&self, who: Who) {
        let mut command = match who {
            Who::Ours => Command::new(env!("CARGO_BIN_EXE_pullplug")),
            Who::Theirs => Command::new("docker-registry"),
        };
        command.arg("garbage-collect").arg(&self.config);
        if who == Who::Ours {
            command.args(["--strategy", self.strategy]);
        }
        let output = clean(&mut command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        for dead in self.expected.dead.keys() {
            assert!(!blob_path(&self.root, dead).exists(), "{dead} was not collected by {who:?}");
        }
    }

    /// What a client sees of it.
    fn check(&self, who: Who, when: &str) {
        let server = self.serve(who);
        let mut wire = Wire::connect(server.address());
        let when = format!("{} served by {who:?} {when}", self.strategy);
        let mut get = |path: &str| wire.ask("GET", &format!("/v2/{path}"), &accept(), b"");
        for (tag, image) in &self.expected.tags {
            for reference in [tag.clone(), digest(image)] {
                let answer = get(&format!("{REPO}/manifests/{reference}"));
                assert_eq!((answer.status, &*answer.body), (200, &image[..]), "{reference} of {when}");
                assert_eq!(answer.header("docker-content-digest"), digest(image), "{reference} of {when}");
            }
        }
        for (digest, blob) in &self.expected.blobs {
            let answer = get(&format!("{REPO}/blobs/{digest}"));
            assert!(answer.status == 200 && answer.body == blob[..], "{} for {digest} of {when}", answer.status);
        }
        for gone in &self.expected.gone {
            assert_eq!(get(&format!("{REPO}/manifests/{gone}")).status, 404, "{gone} of {when}");
        }
        let tags: serde_json::Value = serde_json::from_slice(&get(&format!("{REPO}/tags/list")).body).unwrap();
        let names: Vec<&String> = self.expected.tags.keys().collect();
        let mut listed: Vec<&str> = tags["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        listed.sort_unstable();
        assert_eq!(listed, names, "{when}");
        let catalog: serde_json::Value = serde_json::from_slice(&get("_catalog").body).unwrap();
        assert_eq!(catalog["repositories"], serde_json::json!([REPO]), "{when}");
        server.stop();
    }

    /// Content that was collected comes back with the next push.
    fn push_again(&mut self, who: Who) {
        let server = self.serve(who);
        let mut wire = Wire::connect(server.address());
        for (digest, blob) in std::mem::take(&mut self.expected.dead) {
            let gone = wire.ask("HEAD", &format!("/v2/{REPO}/blobs/{digest}"), "", b"");
            assert_eq!(gone.status, 404, "{} after a collection, served by {who:?}", self.strategy);
            wire.push_blob(REPO, &digest, &blob);
            let back = wire.ask("GET", &format!("/v2/{REPO}/blobs/{digest}"), "", b"");
            assert!(back.status == 200 && back.body == blob, "{} served by {who:?}", self.strategy);
        }
        server.stop();
    }
}

fn digest(content: &[u8]) -> String {
    Digest::sha256(content).to_string()
}

fn blob_path(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.split_once(':').unwrap().1;
    root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}

fn accept() -> String {
    format!("accept: {OCI_MANIFEST}\r\n")
}

fn put_manifest(wire: &mut Wire, tag: &str, image: &[u8]) {
    let path = format!("/v2/{REPO}/manifests/{tag}");
    wire.ask("PUT", &path, &format!("content-type: {OCI_MANIFEST}\r\n"), image).must_be(201);
}

fn delete_manifest(wire: &mut Wire, image: &[u8]) {
    wire.ask("DELETE", &format!("/v2/{REPO}/manifests/{}", digest(image)), "", b"").must_be(202);
}

#[test]
fn docker_registry_and_we_serve_one_directory_in_turns() {
    if lacks("docker-registry") {
        return;
    }
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().unwrap();
        let (root, config) = configure(dir.path());
        let mut shared = Shared { root, config, strategy, expected: Expected::default() };
        let rounds = BOTH.iter().flat_map(|writer| BOTH.map(|collector| (*writer, collector)));
        for (round, (writer, collector)) in rounds.enumerate() {
            shared.change(writer, round);
            BOTH.iter().for_each(|who| shared.check(*who, &format!("after the changes of {writer:?}")));
            shared.collect(collector);
            BOTH.iter().for_each(|who| shared.check(*who, &format!("after the collection by {collector:?}")));
            // Whoever did not collect finds links without content.
            shared.push_again(BOTH[usize::from(collector == Who::Ours)]);
        }
    }
}
