//! Litmus tests of the model that is not an order: `btrfs`, a prefix and a log.

use crate::litmus::litmus;

#[test]
fn fsynced_link_without_the_rename() {
    litmus(
        "btrfs_fsynced_link_without_the_rename",
        "The blob is durable and clean, then renamed; the link after it is fsynced. The rename may be gone on btrfs.",
        "mkdir blobs; mkdir links; mkdir up; create up/data; append up/data 71 A",
        "rename up/data blobs/data; create links/link; append links/link 71 L; fsync links/link",
    );
}

#[test]
fn rename_logged_with_the_inode() {
    litmus(
        "btrfs_rename_logged_with_the_inode",
        "The blob is fsynced, renamed, and the link fsynced: only a commit before the rename can lose it.",
        "mkdir blobs; mkdir links; mkdir up; create up/data",
        "append up/data 71 A; fsync up/data; rename up/data blobs/data; create links/link; fsync links/link",
    );
}

#[test]
fn rename_out_of_a_logged_directory() {
    litmus(
        "btrfs_rename_out_of_a_logged_directory",
        "The old directory was logged since the commit: the rename enters the log, durable at the next log sync.",
        "mkdir up; mkdir blobs; create up/data; append up/data 71 A",
        "create up/x; fsync up; rename up/data blobs/data; create blobs/link; fsync blobs/link",
    );
}

#[test]
fn rename_into_a_synced_directory() {
    litmus(
        "btrfs_rename_into_a_synced_directory",
        "fsync of the new directory logs its new entry, and with it the whole rename.",
        "mkdir up; mkdir blobs; create up/data; append up/data 71 A",
        "mkdir z; rename up/data blobs/data; fsync blobs",
    );
}

#[test]
fn unlink_in_the_log() {
    litmus(
        "btrfs_unlink_in_the_log",
        "An unlink enters the log if the inode was logged; another inode's is not there until a commit.",
        "create a; create b; create c",
        "append a 71 A; fsync a; unlink b; unlink a; append c 71 C; fsync c",
    );
}

#[test]
fn fsync_logs_one_inode_only() {
    litmus(
        "btrfs_fsync_logs_one_inode_only",
        "Two new files, the second is fsynced: the first is not there, unless a commit fell between.",
        "",
        "create a; append a 71 A; create b; append b 71 B; fsync b",
    );
}

#[test]
fn a_clean_fsync_flushes_no_log() {
    litmus(
        "btrfs_a_clean_fsync_flushes_no_log",
        "The rename waits in the log; an fsync of an inode with nothing new since the commit logs nothing.",
        "create a; create b",
        "append a 71 A; fsync a; rename a c; fsync b",
    );
}

#[test]
fn data_after_the_commit_needs_a_log() {
    litmus(
        "btrfs_data_after_the_commit_needs_a_log",
        "fsync of the directory logs the new name; the file's own bytes are not in the log.",
        "mkdir d",
        "create d/a; append d/a 71 A; fsync d",
    );
}
