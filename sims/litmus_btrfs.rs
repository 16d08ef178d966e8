//! Litmus tests of the model that is not an order: `btrfs`, a prefix and a log.

use crate::litmus::litmus;

#[test]
fn fsynced_link_without_the_rename() {
    litmus(
        "btrfs_fsynced_link_without_the_rename",
        "A durable, clean blob is renamed, a link after it fsynced. The rename may be gone on btrfs.",
        "mkdir b; mkdir l; mkdir u; create u/data; append u/data 71 A",
        "rename u/data b/data; create l/link; append l/link 71 L; fsync l/link",
    );
}

#[test]
fn rename_logged_with_the_inode() {
    litmus(
        "btrfs_rename_logged_with_the_inode",
        "The blob is fsynced, renamed, and the link fsynced: only a commit before the rename can lose it.",
        "mkdir b; mkdir l; mkdir u; create u/data",
        "append u/data 71 A; fsync u/data; rename u/data b/data; create l/link; fsync l/link",
    );
}

#[test]
fn rename_out_of_a_logged_directory() {
    litmus(
        "btrfs_rename_out_of_a_logged_directory",
        "The old directory was logged since the commit: the rename is durable at the next log sync.",
        "mkdir u; mkdir b; create u/data; append u/data 71 A",
        "create u/x; fsync u; rename u/data b/data; create b/link; fsync b/link",
    );
}

#[test]
fn rename_into_a_synced_directory() {
    litmus(
        "btrfs_rename_into_a_synced_directory",
        "fsync of the new directory logs its new entry, and with it the whole rename.",
        "mkdir u; mkdir b; create u/data; append u/data 71 A",
        "mkdir z; rename u/data b/data; fsync b",
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
