//! Litmus tests of the persistence models: lengths and bytes of one file, and what the syncs force.
//!
//! Each is a few calls, and as a snapshot the full set of outcomes that each model allows. The snapshots were read
//! line by line against the rules; a change in one of them is a change of a model.

use crate::script::{assert_snapshot, table};

/// Checks the table of one litmus test against its snapshot.
pub fn litmus(name: &str, about: &str, setup: &str, script: &str) {
    assert_snapshot(&format!("litmus_{name}"), &table(about, setup, script));
    crate::lazy::agrees_on(setup, script);
    crate::find::agrees_on(setup, script);
}

#[test]
fn prefix_append() {
    litmus(
        "prefix_append",
        "Prefix append (PA): two appends in two sectors; may the second be there without the first?",
        "create a; write a 0 512 A",
        "append a 512 B; append a 512 C",
    );
}

#[test]
fn append_in_one_sector() {
    litmus(
        "append_in_one_sector",
        "Appends that share a sector persist in order; the tail of the sector was zeros before.",
        "create a; write a 0 71 A",
        "append a 71 B; append a 71 C",
    );
}

#[test]
fn truncate_then_write() {
    litmus(
        "truncate_then_write",
        "Truncate then write (the in-place replacement of a small file), then fsync.",
        "create a; write a 0 71 A",
        "open a; truncate a 0; write a 0 71 B; fsync a",
    );
}

#[test]
fn truncate_then_write_unsynced() {
    litmus(
        "truncate_then_write_unsynced",
        "Truncate then write, no sync: a block in the freed range depends on the shrink, but not in posix.",
        "create a; write a 0 71 A",
        "open a; truncate a 0; write a 0 30 B",
    );
}

#[test]
fn write_then_truncate_to_length() {
    litmus(
        "write_then_truncate_to_length",
        "Overwrite in one sector, then cut to the new length (the small files of distribution 2.0).",
        "create a; write a 0 90 A",
        "open a; write a 0 71 B; truncate a 71",
    );
}

#[test]
fn shrink_clips_what_survived() {
    litmus(
        "shrink_clips_what_survived",
        "A shrink keeps the head of the sector that survived, whichever that is: never bytes that were lost.",
        "create a; write a 0 90 A",
        "open a; write a 0 100 B; truncate a 10",
    );
}

#[test]
fn shrink_zeroes_in_place() {
    litmus(
        "shrink_zeroes_in_place",
        "A shrink zeroes the rest of its last block in place, before the length changes (but not on btrfs).",
        "create a; append a 1000 A",
        "truncate a 600; create b; fsync b",
    );
}

#[test]
fn shrink_then_regrow() {
    litmus(
        "shrink_then_regrow",
        "Shrink then regrow by truncation: what was cut off never comes back.",
        "create a; write a 0 71 A",
        "open a; truncate a 10; truncate a 40",
    );
}

#[test]
fn extension_of_an_allocated_block() {
    litmus(
        "extension_of_an_allocated_block",
        "An append over the end of the last block: ext4 may grow the length to that end first, no bytes yet.",
        "create a; append a 4000 A; create b",
        "append a 600 B; fsync b",
    );
}

#[test]
fn sparse_extension() {
    litmus(
        "sparse_extension",
        "A write behind a hole: the hole is zeros in every model, it has no blocks that could be stale.",
        "create a; write a 0 71 A",
        "write a 1024 71 B",
    );
}

#[test]
fn truncate_up() {
    litmus("truncate_up", "A truncation upwards adds zeros.", "create a; write a 0 71 A", "truncate a 600");
}

#[test]
fn overwrite() {
    litmus(
        "overwrite",
        "Overwrites of two sectors by two calls are free of order (but not in journal).",
        "create a; write a 0 1024 A",
        "write a 0 512 B; write a 512 512 C",
    );
}

#[test]
fn overwrite_twice() {
    litmus(
        "overwrite_twice",
        "Two overwrites of one sector persist in order.",
        "create a; write a 0 512 A",
        "write a 0 512 B; write a 0 512 C",
    );
}

#[test]
fn tearing_at_sectors() {
    litmus(
        "tearing_at_sectors",
        "One write over three sectors of one block: torn at sectors, whole in journal.",
        "create a; write a 0 1536 A",
        "write a 0 1536 B",
    );
}

#[test]
fn tearing_at_blocks() {
    litmus(
        "tearing_at_blocks",
        "One write over four sectors in two blocks: torn at 4 KiB in journal, at sectors elsewhere.",
        "create a; write a 0 5120 A",
        "write a 3072 2048 B",
    );
}

#[test]
fn tearing_of_an_extension() {
    litmus(
        "tearing_of_an_extension",
        "One extending write over two sectors, then a call more: zeros only in the last write in journal.",
        "create a",
        "append a 1024 A; mkdir d",
    );
}

#[test]
fn fsync_forces_bytes_and_length() {
    litmus(
        "fsync_forces_bytes_and_length",
        "fsync forces what was written before it, not what comes after.",
        "create a",
        "append a 71 A; fsync a; append a 71 B",
    );
}

#[test]
fn fsync_of_a_new_file() {
    litmus(
        "fsync_of_a_new_file",
        "fsync of a new file in a new directory: in posix its bytes and not its name.",
        "",
        "mkdir d; create d/a; append d/a 71 A; fsync d/a",
    );
}

#[test]
fn fsync_of_file_and_directories() {
    litmus(
        "fsync_of_file_and_directories",
        "fsync of the file, its directory and the root: certain everywhere.",
        "",
        "mkdir d; create d/a; append d/a 71 A; fsync d/a; fsync d; fsync /",
    );
}

#[test]
fn fsync_of_a_clean_inode() {
    litmus(
        "fsync_of_a_clean_inode",
        "fsync of an inode with nothing new forces nothing (but in journal, where any sync forces all).",
        "create a; append a 71 A; mkdir d; create b",
        "rename b d/b; fsync a",
    );
}

#[test]
fn fsync_after_an_overwrite() {
    litmus(
        "fsync_after_an_overwrite",
        "An overwrite changes no metadata: its fsync commits no journal, brings no earlier change of names.",
        "create a; append a 71 A",
        "mkdir d; write a 0 71 B; fsync a",
    );
}

#[test]
fn fsync_stops_at_the_own_last_change() {
    litmus(
        "fsync_stops_at_the_own_last_change",
        "fsync forces the journal up to the inode's own last change: what came before, not what came after.",
        "",
        "mkdir d; create a; mkdir e; fsync a",
    );
}

#[test]
fn syncfs_of_overwrites() {
    litmus(
        "syncfs_of_overwrites",
        "syncfs of nothing but overwrites: xfs has no log to write, and does not flush the disk's cache.",
        "create a; append a 1024 A",
        "write a 0 1024 B; syncfs",
    );
}

#[test]
fn syncfs() {
    litmus(
        "syncfs",
        "syncfs forces everything before it: bytes, lengths, names of all.",
        "create b; append b 71 A",
        "mkdir d; create d/a; append d/a 71 A; write b 0 71 B; syncfs; mkdir e",
    );
}
