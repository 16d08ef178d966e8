//! What kills and power cuts leave.

use std::collections::BTreeSet;

use pullplug::disk::SimFs;
use pullplug::disk::crash::Loss;
use pullplug::disk::effect::Cut;
use pullplug::disk::model::{Ext4Ordered, PersistenceModel, Posix};
use pullplug::disk::space::Space;
use pullplug::disk::tree::Tree;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::registry::Error;
use pullplug::strategy::layout::{blob_data, tag_current_link};

use super::{DISTRIBUTIONS, advance, after, image, kills, started, stoppable};
use crate::durable::interleave::finish;
use crate::registry::{Stage, reference, repo, tag};
use crate::script::states_of;

/// Every tree that a power cut now may leave.
fn power_cuts(disk: &SimFs, model: &dyn PersistenceModel) -> Vec<Tree> {
    let (base, log) = disk.snapshot();
    let cut = Cut::after(log.len());
    let space = Space::new(base, log.into(), model);
    let families = pullplug::disk::crash::families(&space, model, Loss::PowerCut, cut);
    families.iter().flat_map(|family| states_of(&space, family)).map(|bits| space.view(&bits).tree()).collect()
}

/// The bytes of a file.
fn content(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    let found = tree.paths().into_iter().find(|(p, _)| p == path)?.1?;
    Some(found.read(0, found.len as usize).to_vec())
}

/// The files of blobs and links that are empty.
fn empty_files(tree: &Tree) -> BTreeSet<String> {
    let counts = |path: &str| path.ends_with("/link") || (path.contains("/blobs/") && path.ends_with("/data"));
    let empty = tree.paths().into_iter().filter(|(path, file)| counts(path) && file.is_some_and(|c| c.len == 0));
    empty.map(|(path, _)| path.to_owned()).collect()
}

/// Measured on ext4 with two pushes at once: the other push's fsync commits the journal between a manifest's creation
/// and its own fsync, and after a power cut there its content is as many zeros. The blob "exists", so it is never
/// written again: every push is answered with success, and every pull fails.
#[test]
fn a_zero_filled_manifest_poisons_its_image_for_good() {
    let (name, other, poisoned) = (repo("lib/app"), repo("other"), image(1));
    let root = poisoned.roots()[0].digest;
    let data = blob_data(&root);
    let disk = SimFs::new();
    let s = stoppable("distribution-2.8", &disk);
    let mut push = Box::pin(s.push(&name, &poisoned));
    let is_written = || content(&disk.tree(), &data).is_some_and(|bytes| !bytes.is_empty());
    while !is_written() {
        assert_eq!(advance(&mut push, 1), None, "the manifest is written on the way");
    }
    finish(s.push(&other, &image(2)));
    let zeros = vec![0; poisoned.manifests()[0].bytes.len()];
    let all = power_cuts(&disk, &Ext4Ordered);
    let zeroed: Vec<&Tree> = all.iter().filter(|tree| content(tree, &data).as_ref() == Some(&zeros)).collect();
    assert!(!zeroed.is_empty(), "in none of {} states", all.len());
    for tree in zeroed {
        let s = started("distribution-2.8", tree);
        run_now(async {
            for _ in 0..3 {
                s.push(&name, &poisoned).await;
                for asked in [reference("v1"), root.into()] {
                    let got = s.registry.get_manifest(&name, &asked).await;
                    assert!(matches!(got, Err(Error::Corrupt { .. })), "{got:?}");
                }
            }
        });
        for left in [tree, &s.fs.tree()] {
            let s = started("durable", left);
            run_now(async {
                let got = s.registry.get_manifest(&name, &root.into()).await;
                assert!(matches!(got, Err(Error::ManifestUnknown(_))), "{got:?}");
                s.push(&name, &poisoned).await;
                s.pull(&name, &reference("v1")).await.unwrap();
            });
        }
    }
}

/// 4489, and 4624 (for 4478), which ended it in 3.1: a process that is killed while it writes leaves an empty manifest
/// or link.
#[test]
fn a_write_that_is_cut_leaves_an_empty_file() {
    let name = repo("lib/app");
    let ever_empty = |strategy| {
        let left = kills(strategy, &Tree::default(), async |s| s.push(&name, &image(1)).await);
        left.iter().flat_map(empty_files).collect::<BTreeSet<_>>()
    };
    let empty = ever_empty("distribution-2.8");
    assert!(empty.iter().any(|path| path.contains("/blobs/")), "a manifest: {empty:#?}");
    for kind in ["_layers", "revisions", "current"] {
        assert!(empty.iter().any(|path| path.contains(kind)), "{kind}: {empty:#?}");
    }
    assert_eq!(ever_empty("distribution-3.1"), BTreeSet::new());
    assert_eq!(ever_empty("durable"), BTreeSet::new());
}

/// The same, of a tag that was acknowledged to someone else long ago: who pushes it again and is killed takes it away.
#[test]
fn a_push_that_is_killed_takes_the_tag_that_another_was_promised() {
    let name = repo("lib/app");
    let lost = |strategy| {
        let before = after(strategy, async |s| s.push(&name, &image(1)).await);
        let left = kills(strategy, &before, async |s| s.push(&name, &image(1)).await);
        let is_lost = |tree: &&Tree| run_now(started(strategy, tree).pull(&name, &reference("v1"))).is_err();
        left.iter().filter(is_lost).count()
    };
    assert!(lost("distribution-2.8") > 0);
    assert_eq!(lost("distribution-3.1"), 0);
    assert_eq!(lost("durable"), 0);
}

/// 4774, which added the sync of a file's directory to 3.1: without it an acknowledged tag goes back to where it was.
#[test]
fn a_renamed_link_is_lost_without_a_sync_of_its_directory() {
    let (name, current) = (repo("lib/app"), tag_current_link(&repo("lib/app"), &tag("v1")));
    let moved_to = |strategy, syncs_directories: bool| {
        let disk = SimFs::with_tree(after(strategy, async |s| s.push(&name, &image(1)).await));
        let hook = move |call: &Call| match call {
            Call::SyncDir { .. } if !syncs_directories => Action::Drop,
            _ => Action::Run,
        };
        let manifest = &image(2).manifests()[0].bytes.clone();
        run_now(async {
            let s = Stage::open(strategy, HookedFs::with_hook(disk.clone(), hook)).await;
            for blob in image(2).blobs() {
                s.push_blob(&name, &blob.bytes).await;
            }
            disk.settle();
            s.registry.put_manifest(&name, &reference("v1"), None, manifest.clone()).await.unwrap();
        });
        let trees = power_cuts(&disk, &Posix);
        trees.iter().map(|tree| content(tree, &current)).collect::<BTreeSet<_>>()
    };
    let holds = |seed: u64| Some(image(seed).roots()[0].digest.to_string().into_bytes());
    assert_eq!(moved_to("distribution-3.1", false), [holds(1), holds(2)].into());
    for strategy in ["distribution-3.1", "durable"] {
        assert_eq!(moved_to(strategy, true), [holds(2)].into(), "{strategy}");
    }
}

/// 1293: the tag of a deleted manifest is still listed, and leads nowhere. Later versions delete it after the manifest,
/// so it is enough to kill them in between.
#[test]
fn a_tag_outlives_its_manifest() {
    let name = repo("lib/app");
    let root = image(1).roots()[0].digest;
    let outlived = |strategy| {
        let before = after(strategy, async |s| s.push(&name, &image(1)).await);
        let left = kills(strategy, &before, async |s| s.registry.delete_manifest(&name, &root.into()).await.unwrap());
        let leads_nowhere = |tree: &&Tree| {
            run_now(async {
                let s = started(strategy, tree);
                let tags = s.registry.tags(&name, &Default::default()).await.map_or(Vec::new(), |page| page.items);
                tags.contains(&tag("v1")) && s.registry.get_manifest(&name, &reference("v1")).await.is_err()
            })
        };
        left.iter().filter(leads_nowhere).count()
    };
    for strategy in DISTRIBUTIONS {
        assert!(outlived(strategy) > 0, "{strategy}");
    }
    assert_eq!(outlived("durable"), 0);
}
