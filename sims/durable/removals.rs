//! What is replaced or removed is whole until it is durably gone, though freed blocks are others' at once
//! (`ext4-writeback`).

use pullplug::disk::crash::{self, Loss};
use pullplug::disk::effect::Cut;
use pullplug::disk::space::{Bits, Space};
use pullplug::disk::{SimFs, model};
use pullplug::env::choice::Seeded;
use pullplug::env::run_now;
use pullplug::fs::Fs;
use pullplug::strategy::CollectOptions;
use pullplug::strategy::layout::{Layout, tag_index_link};
use pullplug::workload::image::Image;

use super::{plant, tree};
use crate::registry::{Stage, reference, repo, tag};

/// How many links are there, of which none is torn.
async fn whole_links<F: Fs>(fs: F) -> usize {
    let layout = Layout::new(fs.clone());
    let mut links = 0;
    for path in tree(&fs, "").await {
        for link in layout.links_at(&path).await.unwrap() {
            link.target.unwrap_or_else(|why| panic!("{path}: {why}"));
            links += 1;
        }
    }
    links
}

/// No link is torn, wherever the power went: with all bytes on the disk and no change of the tree that was not synced, and
/// in states that are drawn. Tells how many links were seen.
fn no_link_is_torn(disk: &SimFs) -> usize {
    let (base, log) = disk.snapshot();
    let space = Space::new(base, log.clone().into(), &model::Ext4Writeback);
    let mut links = 0;
    for records in 0..=log.len() {
        let family = crash::families(&space, &model::Ext4Writeback, Loss::PowerCut, Cut::after(records)).remove(0);
        let free = crash::free_atoms(&family);
        let mut bytes = family.forced.clone();
        for id in free.iter().filter(|id| !space.atoms()[**id].is_logged_metadata()) {
            if space.preds(*id).iter().all(|before| bytes.contains(*before)) {
                bytes.insert(*id);
            }
        }
        let mut stream = Seeded::stream(records as u64, "removals");
        let drawn = (0..3).map(|_| crash::survivors(&space, &family, &free, &mut stream));
        for survivors in [bytes].into_iter().chain(drawn.collect::<Vec<Bits>>()) {
            links += run_now(whole_links(SimFs::with_tree(space.view(&survivors).tree())));
        }
    }
    links
}

#[test]
fn what_goes_is_whole_until_it_is_durably_gone() {
    let disk = SimFs::new();
    run_now(async {
        let s = Stage::open("durable", disk.clone()).await;
        let name = repo("lib/app");
        let image = |seed, to: &str| Image::generated(seed, tag(to), &[9]);
        let old = s.push(&name, &image(1, "v1")).await;
        let other = s.push(&name, &image(2, "v2")).await;
        // As distribution writes it: no other name of the revision.
        plant(&s.fs, &tag_index_link(&name, &tag("v2"), &old), old.to_string().as_bytes()).await;
        plant(&s.fs, &tag_index_link(&name, &tag("gone"), &other), other.to_string().as_bytes()).await;
        disk.settle();

        s.push(&name, &image(3, "v1")).await;
        s.registry.delete_manifest(&name, &old.into()).await.unwrap();
        s.registry.delete_manifest(&name, &reference("v1")).await.unwrap();
        s.push_blob(&name, b"one").await;
        s.registry.delete_manifest(&name, &reference("v2")).await.unwrap();
        s.push_blob(&name, b"two").await;
        s.registry.collect_litter().await.unwrap();
        s.push_blob(&name, b"three").await;
        let all = CollectOptions { delete_untagged: true, dry_run: false, exclusive: true };
        assert_eq!(s.registry.collect(all).await.unwrap().manifests.len(), 2);
        s.push_blob(&name, b"four").await;
    });
    assert!(no_link_is_torn(&disk) > 1000);
}
