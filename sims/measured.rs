//! The states that were measured on a real kernel (Linux 6.18, crash images of unmodified registries on a recorded
//! block device): every model of the file system that showed a state must allow it.

use std::collections::BTreeSet;

use pullplug::disk::model::{ALL, Btrfs, Ext4Ordered, Ext4Writeback, PersistenceModel, Xfs};

use crate::litmus_btrfs::without_commit;
use crate::script::{Player, shown, states};

const EXT4: [&dyn PersistenceModel; 2] = [&Ext4Ordered, &Ext4Writeback];
const EXT4_AND_XFS: [&dyn PersistenceModel; 3] = [&Ext4Ordered, &Ext4Writeback, &Xfs];

/// A push by distribution 2.8 up to its link, before the link's own fsync.
const LINK_WRITTEN: &str = "create l/link; truncate l/link 0; append l/link 71 L";
/// Another push meanwhile: its fsync commits the journal.
const OTHER_PUSH: &str = "create o/link; truncate o/link 0; append o/link 71 O; fsync o/link";

fn after(setup: &str, scripts: &[&str]) -> Player {
    let mut player = Player::after(setup);
    scripts.iter().for_each(|s| player.run(s));
    player
}

/// What may be there at every place at which the power may go.
fn ever(player: &Player, model: &dyn PersistenceModel) -> BTreeSet<String> {
    let space = player.space(model);
    let cuts = player.cuts().into_iter();
    cuts.flat_map(|cut| states(&space, model, cut)).map(|bits| shown(&space.view(&bits).tree())).collect()
}

#[track_caller]
fn assert_allows(player: &Player, model: &dyn PersistenceModel, state: &str) {
    let outcomes = player.outcomes(model);
    assert!(outcomes.contains(state), "{} forbids {state}; it allows\n{outcomes:#?}", model.name());
}

#[test]
fn a_zero_filled_link_on_ext4_with_two_pushes_at_once() {
    let player = after("mkdir l; mkdir o", &[LINK_WRITTEN, OTHER_PUSH]);
    for model in EXT4 {
        assert_allows(&player, model, "l/link=71×0 o/link=71×O");
    }
}

#[test]
fn an_empty_link_on_ext4_and_xfs_with_two_pushes_at_once() {
    // The other push's fsync falls after the link's creation, after its truncation, or after the write.
    for own in ["create l/link", "create l/link; truncate l/link 0", LINK_WRITTEN] {
        let player = after("mkdir l; mkdir o", &[own, OTHER_PUSH]);
        for model in EXT4_AND_XFS {
            assert_allows(&player, model, "l/link=empty o/link=71×O");
        }
    }
}

#[test]
fn the_lost_old_tag_on_ext4_and_xfs_with_two_pushes_at_once() {
    let truncated = "open current; truncate current 0";
    let setup = "mkdir o; create current; append current 71 T";
    for own in [truncated, "open current; truncate current 0; append current 71 N"] {
        let player = after(setup, &[own, OTHER_PUSH]);
        for model in EXT4_AND_XFS {
            assert_allows(&player, model, "current=empty o/link=71×O");
            let old = player.outcomes(model).iter().any(|s| s.contains("current=71×T"));
            assert!(!old, "{}: the other push's fsync has committed the truncation", model.name());
        }
    }
    // And without any other push: the journal may commit by itself.
    let player = after(setup, &[truncated]);
    for model in EXT4_AND_XFS {
        assert_allows(&player, model, "current=empty o/");
    }
}

#[test]
fn a_manifest_blob_of_zero_bytes_on_ext4() {
    let blob = "mkdir b; create b/data; truncate b/data 0; append b/data 600 M";
    let player = after("mkdir o", &[blob, OTHER_PUSH]);
    for model in EXT4 {
        assert_allows(&player, model, "b/data=600×0 o/link=71×O");
        assert_allows(&player, model, "b/data=empty o/link=71×O");
    }
}

#[test]
fn on_xfs_length_0_and_never_zeros_at_full_length() {
    for own in [LINK_WRITTEN, "create l/link; append l/link 1500 L"] {
        let player = after(
            "mkdir l; mkdir o; create t; append t 71 T",
            &[own, "open t; truncate t 0; append t 71 N", OTHER_PUSH],
        );
        let outcomes = ever(&player, &Xfs);
        assert!(outcomes.iter().any(|s| s.contains("l/link=empty")));
        let zeros: Vec<_> = outcomes.iter().filter(|s| s.contains("×0")).collect();
        assert!(zeros.is_empty(), "{zeros:#?}");
    }
}

/// The commit of a blob by distribution 2.8 and 3.1, and its link.
const BLOB_THEN_LINK: &str = "append u/data 700 A; fsync u/data; rename u/data b/data; \
                              create l/link; append l/link 71 L; fsync l/link";

#[test]
fn the_lost_rename_on_btrfs_with_the_blob_back_in_its_upload_directory() {
    let player = after("mkdir u; mkdir b; mkdir l; create u/data", &[BLOB_THEN_LINK]);
    assert_allows(&player, &Btrfs, "b/ l/link=71×L u/data=700×A");
    // Never so on the file systems with one journal.
    for model in EXT4_AND_XFS {
        assert_eq!(player.outcomes(model), ["b/data=700×A l/link=71×L u/".to_owned()].into(), "{}", model.name());
    }
}

#[test]
fn on_btrfs_without_a_commit_in_between_the_rename_is_logged() {
    let setup = "mkdir u; mkdir b; mkdir l; create u/data";
    assert_eq!(without_commit(setup, BLOB_THEN_LINK), ["b/data=700×A l/link=71×L u/".to_owned()].into());
    // And the rename of a blob that was clean since the commit is not.
    let outcomes = without_commit(
        &format!("{setup}; append u/data 700 A"),
        "rename u/data b/data; create l/link; append l/link 71 L; fsync l/link",
    );
    assert_eq!(outcomes, ["b/ l/link=71×L u/data=700×A".to_owned()].into());
}

#[test]
fn a_link_of_distribution_3_1_is_never_torn() {
    // Temporary file, fsync, rename, fsync of the parent; another push at every place in between.
    let steps = ["create l/t", "append l/t 71 L", "fsync l/t", "rename l/t l/link", "fsync l"];
    for at in 0..=steps.len() {
        let (before, behind) = (steps[..at].join("; "), steps[at..].join("; "));
        let player = after("mkdir l; mkdir o; create l/link; append l/link 71 K", &[&before, OTHER_PUSH, &behind]);
        for model in ALL {
            for state in ever(&player, model) {
                let link = state.split(' ').find_map(|w| w.strip_prefix("l/link="));
                let gone = link.is_none() && model.name() == "posix-split-rename";
                // What it replaces may be torn there: its blocks are others' before the rename is durable.
                let reused = model.reuses_freed_blocks() && link.is_some_and(|link| !link.contains('L'));
                assert!(gone || reused || matches!(link, Some("71×K" | "71×L")), "{}: {state}", model.name());
            }
        }
        for model in EXT4_AND_XFS {
            assert!(player.outcomes(model).iter().all(|s| s.contains("l/link=71×L")), "{}", model.name());
        }
    }
}
