//! What each operation costs in syncs, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::hooked::HookedFs;
use pullplug::fs::trace::Call;
use pullplug::oci::Algorithm;
use pullplug::oci::Digest;
use pullplug::strategy::CollectOptions;
use pullplug::workload::image::Image;

use crate::registry::{Stage, body, nothing, reference, repo, tag};

/// Notes the syncs since the last note, by kind.
struct Meter {
    fs: HookedFs<SimFs>,
    table: String,
}

impl Meter {
    fn note(&mut self, operation: &str) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let calls = self.fs.trace().take();
        for call in &calls {
            let kind = match call {
                Call::SyncData { .. } | Call::SyncAll { .. } => "file",
                Call::SyncDir { .. } => "dir",
                Call::SyncFs => "fs",
                _ => "other",
            };
            *counts.entry(kind).or_default() += 1;
        }
        let of = |kind| counts.get(kind).copied().unwrap_or(0);
        let (file, dir, fs, other) = (of("file"), of("dir"), of("fs"), of("other"));
        writeln!(self.table, "{operation:<44} {file:>5} {dir:>4} {fs:>4} {other:>14}").unwrap();
    }
}

#[test]
fn syncs_by_operation() {
    run_now(async {
        let fs = HookedFs::new(SimFs::new());
        let s = Stage::open("durable", fs.clone()).await;
        let mut meter = Meter { fs, table: format!("{:<44} file  dir   fs  other changes\n", "operation") };
        meter.note("start of the process");
        let (name, other) = (repo("lib/app"), repo("other"));
        let image = Image::generated(1, tag("v1"), &[40_000, 10_000]);
        let upload = async |meter: &mut Meter, content: &[u8], chunk: usize, what: &str| {
            let id = s.registry.start_upload(&name).await.unwrap();
            meter.note(&format!("start an upload{what}"));
            for chunk in content.chunks(chunk) {
                s.registry.append(&name, &id, None, &mut body(chunk)).await.unwrap();
                meter.note(&format!("append a chunk{what}"));
            }
            let digest = Digest::sha256(content);
            s.registry.commit(&name, &id, &digest, None, &mut nothing()).await.unwrap();
            meter.note(&format!("commit{what}"));
        };
        let [first, second, config] = image.blobs() else { panic!("two layers and a config") };
        upload(&mut meter, &first.bytes, 40_000, ", empty directory").await;
        upload(&mut meter, &second.bytes, 40_000, ", new shard").await;
        upload(&mut meter, &config.bytes, 40_000, ", new shard").await;
        // A blob whose shard is there, as nearly all are in a directory of some size.
        let shard = (0u32..).map(|i| i.to_be_bytes()).find(|c| Digest::sha256(c).hex()[..2] == first.digest.hex()[..2]);
        upload(&mut meter, &shard.unwrap(), 40_000, "").await;
        upload(&mut meter, &first.bytes, 40_000, ", of a known blob").await;
        let manifest = &image.manifests()[0];
        let put = async |meter: &mut Meter, bytes: &bytes::Bytes, by: &str, what: &str| {
            let by = if by.is_empty() { Digest::sha256(bytes).into() } else { reference(by) };
            s.registry.put_manifest(&name, &by, None, bytes.clone()).await.unwrap();
            meter.note(what);
        };
        put(&mut meter, &manifest.bytes, "v1", "put the first manifest with the first tag").await;
        let spaced = |n: usize| bytes::Bytes::from([&manifest.bytes[..], &b" ".repeat(n)].concat());
        let shard = (1..).map(spaced).find(|c| Digest::sha256(c).hex()[..2] == first.digest.hex()[..2]).unwrap();
        put(&mut meter, &shard, "", "put a manifest").await;
        put(&mut meter, &shard, "v2", "point a new tag at it").await;
        put(&mut meter, &shard, "v1", "move a tag to it").await;
        put(&mut meter, &shard, "v1", "put the same again").await;
        s.registry.mount(&other, &name, &first.digest).await.unwrap();
        meter.note("mount, new repository");
        s.registry.mount(&other, &name, &second.digest).await.unwrap();
        meter.note("mount");
        s.registry.mount(&other, &name, &second.digest).await.unwrap();
        meter.note("mount, mounted already");
        s.read(&name, &first.digest).await.unwrap();
        s.pull(&name, &reference("v1")).await.unwrap();
        s.registry.tags(&name, &Default::default()).await.unwrap();
        s.registry.catalog(&Default::default()).await.unwrap();
        meter.note("read and list everything");
        removals(&s, &mut meter, [Digest::sha256(&shard), manifest.digest], &second.digest).await;
        let sha512 = Digest::of(Algorithm::Sha512, b"alias");
        let id = s.registry.start_upload(&name).await.unwrap();
        s.registry.commit(&name, &id, &sha512, None, &mut body(b"alias")).await.unwrap();
        meter.note("commit under a sha512 digest, all new");
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
            prepend_module_to_snapshot => false,
        }, {
            insta::assert_snapshot!("durable_syncs", meter.table);
        });
    });
}

/// Takes out what is there: the tag `v2`, two manifests (one with a tag), a mounted blob; and collects the rest.
async fn removals(s: &Stage<HookedFs<SimFs>>, meter: &mut Meter, manifests: [Digest; 2], blob: &Digest) {
    s.registry.delete_manifest(&repo("lib/app"), &reference("v2")).await.unwrap();
    meter.note("delete a tag");
    s.registry.delete_manifest(&repo("lib/app"), &manifests[0].into()).await.unwrap();
    meter.note("delete a manifest with one tag");
    s.registry.delete_manifest(&repo("lib/app"), &manifests[1].into()).await.unwrap();
    meter.note("delete a manifest without a tag");
    s.registry.delete_blob(&repo("other"), blob).await.unwrap();
    meter.note("delete a blob");
    let alone = CollectOptions { exclusive: true, ..CollectOptions::default() };
    s.registry.collect(CollectOptions { dry_run: true, ..alone }).await.unwrap();
    meter.note("collect garbage, dry run");
    s.registry.collect(alone).await.unwrap();
    meter.note("collect garbage");
    s.registry.collect(alone).await.unwrap();
    meter.note("collect garbage, none there");
    s.registry.collect_litter().await.unwrap();
    meter.note("collect litter, none there");
}
