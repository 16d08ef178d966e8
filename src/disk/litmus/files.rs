//! Lengths and bytes of one file, and what the syncs force.

use super::Litmus;

/// The cases.
pub(super) const CASES: &[Litmus] = &[
    Litmus {
        name: "prefix_append",
        about: "Prefix append (PA): two appends in two sectors; may the second be there without the first?",
        setup: "create a; write a 0 512 A",
        calls: "append a 512 B; append a 512 C",
    },
    Litmus {
        name: "append_in_one_sector",
        about: "Appends that share a sector persist in order; the tail of the sector was zeros before.",
        setup: "create a; write a 0 71 A",
        calls: "append a 71 B; append a 71 C",
    },
    Litmus {
        name: "truncate_then_write",
        about: "Truncate then write (the in-place replacement of a small file), then fsync.",
        setup: "create a; write a 0 71 A",
        calls: "open a; truncate a 0; write a 0 71 B; fsync a",
    },
    Litmus {
        name: "truncate_then_write_unsynced",
        about: "Truncate then write, no sync: a block in the freed range depends on the shrink, but not in posix.",
        setup: "create a; write a 0 71 A",
        calls: "open a; truncate a 0; write a 0 30 B",
    },
    Litmus {
        name: "write_then_truncate_to_length",
        about: "Overwrite in one sector, then cut to the new length (the small files of distribution 2.0).",
        setup: "create a; write a 0 90 A",
        calls: "open a; write a 0 71 B; truncate a 71",
    },
    Litmus {
        name: "shrink_clips_what_survived",
        about: "A shrink keeps the head of the sector that survived, whichever that is: never bytes that were lost.",
        setup: "create a; write a 0 90 A",
        calls: "open a; write a 0 100 B; truncate a 10",
    },
    Litmus {
        name: "shrink_zeroes_in_place",
        about: "A shrink zeroes the rest of its last block in place, before the length changes (but not on btrfs).",
        setup: "create a; append a 1000 A",
        calls: "truncate a 600; create b; fsync b",
    },
    Litmus {
        name: "write_into_the_block_that_a_shrink_left",
        about: "What is written into the last block that a shrink leaves waits for neither zeros nor length.",
        setup: "create a; append a 1000 A",
        calls: "truncate a 100; write a 600 71 B",
    },
    Litmus {
        name: "shrink_then_regrow",
        about: "Shrink then regrow by truncation: data=writeback waits for no zeros, what was cut off may come back.",
        setup: "create a; write a 0 71 A",
        calls: "open a; truncate a 10; truncate a 40",
    },
    Litmus {
        name: "shrink_then_regrow_by_a_write",
        about: "The same where a write grows it and is lost: neither zeros nor bytes, but what was cut off.",
        setup: "create a; write a 0 71 A",
        calls: "truncate a 10; append a 30 B",
    },
    Litmus {
        name: "shrink_fsync_regrow",
        about: "An fsync between waits for the zeros: what was cut off never comes back.",
        setup: "create a; write a 0 71 A",
        calls: "truncate a 10; fsync a; truncate a 40",
    },
    Litmus {
        name: "shrink_then_regrow_and_fsync_of_another",
        about: "Another file's fsync brings both lengths, and with data=writeback no zeros.",
        setup: "create a; write a 0 71 A",
        calls: "truncate a 10; truncate a 40; create b; fsync b",
    },
    Litmus {
        name: "shrink_and_regrow_over_two_blocks",
        about: "What a shrink frees is zeros when it grows again; what the last block held may come back.",
        setup: "create a; append a 4200 A",
        calls: "truncate a 4050; truncate a 4150",
    },
    Litmus {
        name: "extension_of_an_allocated_block",
        about: "An append over the end of the last block: ext4 may grow the length to that end first, no bytes yet.",
        setup: "create a; append a 4000 A; create b",
        calls: "append a 600 B; fsync b",
    },
    Litmus {
        name: "freed_by_a_shrink",
        about: "What a shrink frees is others' at once with data=writeback: the old length shows their bytes.",
        setup: "create a; append a 500 A",
        calls: "truncate a 0; create b; append b 500 B; fsync b",
    },
    Litmus {
        name: "freed_by_an_unlink",
        about: "What is removed is others' at once with data=writeback: back again, it has their bytes.",
        setup: "create a; append a 500 A; link a c; create d; append d 500 D",
        calls: "unlink a; unlink d; create b",
    },
    Litmus {
        name: "freed_by_a_rename",
        about: "What is replaced, too: with data=writeback neither the old nor the new text may be there.",
        setup: "create a; append a 71 A",
        calls: "create t; append t 71 B; fsync t; rename t a; fsync a",
    },
    Litmus {
        name: "sparse_extension",
        about: "A write behind a hole: the hole is zeros in every model, it has no blocks that could be stale.",
        setup: "create a; write a 0 71 A",
        calls: "write a 1024 71 B",
    },
    Litmus {
        name: "truncate_up",
        about: "A truncation upwards adds zeros.",
        setup: "create a; write a 0 71 A",
        calls: "truncate a 600",
    },
    Litmus {
        name: "overwrite",
        about: "Overwrites of two sectors by two calls are free of order (but not in journal).",
        setup: "create a; write a 0 1024 A",
        calls: "write a 0 512 B; write a 512 512 C",
    },
    Litmus {
        name: "overwrite_twice",
        about: "Two overwrites of one sector persist in order.",
        setup: "create a; write a 0 512 A",
        calls: "write a 0 512 B; write a 0 512 C",
    },
    Litmus {
        name: "tearing_at_sectors",
        about: "One write over three sectors of one block: torn at sectors, whole in journal.",
        setup: "create a; write a 0 1536 A",
        calls: "write a 0 1536 B",
    },
    Litmus {
        name: "tearing_at_blocks",
        about: "One write over four sectors in two blocks: torn at 4 KiB in journal, at sectors elsewhere.",
        setup: "create a; write a 0 5120 A",
        calls: "write a 3072 2048 B",
    },
    Litmus {
        name: "tearing_of_an_extension",
        about: "One extending write over two sectors, then a call more: zeros only in the last write in journal.",
        setup: "create a",
        calls: "append a 1024 A; mkdir d",
    },
    Litmus {
        name: "fsync_forces_bytes_and_length",
        about: "fsync forces what was written before it, not what comes after.",
        setup: "create a",
        calls: "append a 71 A; fsync a; append a 71 B",
    },
    Litmus {
        name: "fsync_of_a_new_file",
        about: "fsync of a new file in a new directory: in posix its bytes and not its name.",
        setup: "",
        calls: "mkdir d; create d/a; append d/a 71 A; fsync d/a",
    },
    Litmus {
        name: "fsync_of_file_and_directories",
        about: "fsync of the file, its directory and the root: certain everywhere.",
        setup: "",
        calls: "mkdir d; create d/a; append d/a 71 A; fsync d/a; fsync d; fsync /",
    },
    Litmus {
        name: "fsync_of_a_clean_inode",
        about: "fsync of an inode with nothing new forces nothing (but in journal, where any sync forces all).",
        setup: "create a; append a 71 A; mkdir d; create b",
        calls: "rename b d/b; fsync a",
    },
    Litmus {
        name: "fsync_after_an_overwrite",
        about: "An overwrite changes no metadata: its fsync commits no journal, brings no earlier change of names.",
        setup: "create a; append a 71 A",
        calls: "mkdir d; write a 0 71 B; fsync a",
    },
    Litmus {
        name: "fsync_stops_at_the_own_last_change",
        about: "fsync forces the journal up to the inode's own last change: what came before, not what came after.",
        setup: "",
        calls: "mkdir d; create a; mkdir e; fsync a",
    },
    Litmus {
        name: "syncfs_of_overwrites",
        about: "syncfs of nothing but overwrites: xfs has no log to write, and does not flush the disk's cache.",
        setup: "create a; append a 1024 A",
        calls: "write a 0 1024 B; syncfs",
    },
    Litmus {
        name: "syncfs",
        about: "syncfs forces everything before it: bytes, lengths, names of all.",
        setup: "create b; append b 71 A",
        calls: "mkdir d; create d/a; append d/a 71 A; write b 0 71 B; syncfs; mkdir e",
    },
];
