//! What collections run into, and what they take.

use bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::disk::tree::Tree;
use pullplug::env::run_now;
use pullplug::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use pullplug::registry::Error;
use pullplug::strategy::CollectOptions;

use super::{DISTRIBUTIONS, advance, after, image, kills, started, stoppable};
use crate::durable::interleave::finish;
use crate::registry::{reference, repo};

const ALONE: CollectOptions = CollectOptions { delete_untagged: false, dry_run: false, exclusive: true };
const UNTAGGED: CollectOptions = CollectOptions { delete_untagged: true, ..ALONE };

/// 2635 and 1960, "failed to mark: invalid checksum digest format" (4343 found the links empty): one push that was
/// killed keeps every later collection from collecting anything.
#[test]
fn an_empty_link_ends_every_collection() {
    let name = repo("lib/app");
    let failures = |strategy, left: &[Tree]| {
        let fails = |tree: &&Tree| run_now(started(strategy, tree).registry.collect(ALONE)).is_err();
        left.iter().filter(fails).count()
    };
    let left = kills("distribution-2.8", &Tree::default(), async |s| s.push(&name, &image(1)).await);
    assert!(failures("distribution-2.8", &left) > 0);
    assert_eq!(failures("durable", &left), 0, "on the same directory");
    let left = kills("durable", &Tree::default(), async |s| s.push(&name, &image(1)).await);
    assert_eq!(failures("durable", &left), 0);
}

/// 3045 (1609 asks for a collection that may run beside pushes): a collection has marked when a push refers to blobs that it found unmarked; then it sweeps them. The push is
/// answered with success, and its image lacks layers.
#[test]
fn a_collection_during_a_push_takes_its_layers() {
    let name = repo("lib/app");
    let pushed = image(1);
    let corrupted = |strategy| {
        let mut corrupted = 0;
        for calls in 0.. {
            let disk = SimFs::new();
            let s = stoppable(strategy, &disk);
            for blob in pushed.blobs() {
                finish(s.push_blob(&name, &blob.bytes));
            }
            let in_service = CollectOptions { exclusive: false, ..ALONE };
            let mut collection = Box::pin(s.registry.collect(in_service));
            let collected = advance(&mut collection, calls);
            let ended = collected.is_some();
            let bytes = pushed.manifests()[0].bytes.clone();
            let put = finish(s.registry.put_manifest(&name, &reference("v1"), None, bytes));
            collected.unwrap_or_else(|| finish(collection)).unwrap();
            match put {
                Ok(_) => corrupted += usize::from(finish(s.pull(&name, &reference("v1"))).is_err()),
                Err(Error::ManifestBlobUnknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if ended {
                assert!(calls > 10, "only {calls} calls");
                return corrupted;
            }
        }
        corrupted
    };
    for strategy in DISTRIBUTIONS {
        assert!(corrupted(strategy) > 0, "{strategy}");
    }
    assert_eq!(corrupted("durable"), 0);
}

/// 3178: with `--delete-untagged`, 2.8 takes the manifests that only a tagged index names. 3.0 ended it.
#[test]
fn a_collection_takes_the_children_of_an_index() {
    let (name, child) = (repo("lib/app"), image(1).manifests()[0].clone());
    let index = Bytes::from(format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{}}}]}}"#,
        child.digest,
        child.bytes.len()
    ));
    let pull = |strategy| {
        let tree = after(strategy, async |s| {
            for blob in image(1).blobs() {
                s.push_blob(&name, &blob.bytes).await;
            }
            let put = async |by, bytes: &Bytes| s.registry.put_manifest(&name, &by, None, bytes.clone()).await.unwrap();
            put(child.digest.into(), &child.bytes).await;
            put(reference("all"), &index).await;
            s.registry.collect(UNTAGGED).await.unwrap();
        });
        run_now(started(strategy, &tree).pull(&name, &reference("all")))
    };
    assert_eq!(pull("distribution-2.8"), Err(Error::ManifestUnknown(child.digest.to_string())));
    assert_eq!(pull("distribution-3.1"), Ok(()));
    assert_eq!(pull("durable"), Ok(()));
}

/// enix/kube-image-keeper 128, "failed to mark: … failed to retrieve tags unknown repository": a repository of which
/// every tag was deleted, or never made, ends every collection with `--delete-untagged`.
#[test]
fn a_repository_without_tags_ends_every_collection() {
    let (name, manifest) = (repo("lib/app"), image(1).manifests()[0].clone());
    let collect = |strategy| {
        let tree = after(strategy, async |s| {
            for blob in image(1).blobs() {
                s.push_blob(&name, &blob.bytes).await;
            }
            s.registry.put_manifest(&name, &manifest.digest.into(), None, manifest.bytes.clone()).await.unwrap();
        });
        run_now(started(strategy, &tree).registry.collect(UNTAGGED)).map(|collected| collected.manifests)
    };
    assert_eq!(collect("distribution-2.8"), Err(Error::NameUnknown(name.clone())));
    assert_eq!(collect("durable"), Ok(vec![(name.clone(), manifest.digest)]));
}
