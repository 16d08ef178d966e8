//! What the log of `btrfs` brings, and what it does not.

use super::Litmus;

/// The cases.
pub(super) const CASES: &[Litmus] = &[
    Litmus {
        name: "btrfs_fsynced_link_without_the_rename",
        about: "A durable, clean blob is renamed, a link after it fsynced. The rename may be gone on btrfs.",
        setup: "mkdir b; mkdir l; mkdir u; create u/data; append u/data 71 A",
        calls: "rename u/data b/data; create l/link; append l/link 71 L; fsync l/link",
    },
    Litmus {
        name: "btrfs_rename_logged_with_the_inode",
        about: "The blob is fsynced, renamed, and the link fsynced: only a commit before the rename can lose it.",
        setup: "mkdir b; mkdir l; mkdir u; create u/data",
        calls: "append u/data 71 A; fsync u/data; rename u/data b/data; create l/link; fsync l/link",
    },
    Litmus {
        name: "btrfs_rename_out_of_a_logged_directory",
        about: "The old directory was logged since the commit: the rename is durable at the next log sync.",
        setup: "mkdir u; mkdir b; create u/data; append u/data 71 A",
        calls: "create u/x; fsync u; rename u/data b/data; create b/link; fsync b/link",
    },
    Litmus {
        name: "btrfs_rename_into_a_synced_directory",
        about: "fsync of the new directory logs its new entry; with nothing of the old one logged, both stay.",
        setup: "mkdir u; mkdir b; create u/data; append u/data 71 A",
        calls: "mkdir z; rename u/data b/data; fsync b",
    },
    Litmus {
        name: "btrfs_moved_twice",
        about: "A file moves to another directory and within it, and that is fsynced: the first name may stay.",
        setup: "mkdir d; create c",
        calls: "rename c d/b; rename d/b d/c; fsync d",
    },
    Litmus {
        name: "btrfs_moved_and_removed",
        about: "A file moves to another directory and is removed, and that is fsynced: the first name may stay.",
        setup: "mkdir d; create c",
        calls: "rename c d/b; unlink d/b; create d/x; fsync d",
    },
    Litmus {
        name: "btrfs_a_file_without_a_name_logs_nothing",
        about: "A file is replaced, and fsynced through a handle: nothing is logged, the rename neither.",
        setup: "create c; create a",
        calls: "append a 1 A; fsync a; rename c a; fsync a",
    },
    Litmus {
        name: "btrfs_what_is_beside_comes_along",
        about: "fsync of a renamed file may log its whole directory: what came there has both names.",
        setup: "mkdir e; create c; create e/a",
        calls: "rename e/a b; rename c x; fsync x",
    },
    Litmus {
        name: "btrfs_a_rename_in_the_log_brings_its_directory",
        about: "The rename of a logged file may log its directory, which the next fsync of anything makes durable.",
        setup: "create a; create b",
        calls: "append a 9 A; fsync a; create x; rename a c; append b 1 B; fsync b",
    },
    Litmus {
        name: "btrfs_new_directories_come_along",
        about: "fsync of a directory may log what is in new directories below it.",
        setup: "mkdir d",
        calls: "create d/b; mkdir e; mkdir e/d; create e/f; fsync /",
    },
    Litmus {
        name: "btrfs_what_came_since_in_a_logged_directory",
        about: "The same of what came there after a file in it had been fsynced, and the directory logged with it.",
        setup: "",
        calls: "mkdir e; create e/f; fsync e/f; create e/g; mkdir h; fsync /",
    },
    Litmus {
        name: "btrfs_rename_in_what_came_along",
        about: "A rename in a new directory that may have been logged with the one above may enter the log.",
        setup: "create x",
        calls: "mkdir d; create d/b; fsync /; create d/c; rename d/b d/a; append x 1 X; fsync x",
    },
    Litmus {
        name: "btrfs_unlink_in_the_log",
        about: "An unlink enters the log if the inode was logged; another inode's is not there until a commit.",
        setup: "create a; create b; create c",
        calls: "append a 71 A; fsync a; unlink b; unlink a; append c 71 C; fsync c",
    },
    Litmus {
        name: "btrfs_fsync_logs_one_inode_only",
        about: "Two new files, the second is fsynced: the first is not there, unless a commit fell between.",
        setup: "",
        calls: "create a; append a 71 A; create b; append b 71 B; fsync b",
    },
    Litmus {
        name: "btrfs_a_clean_fsync_flushes_no_log",
        about: "The rename waits in the log; an fsync of an inode with nothing new since the commit logs nothing.",
        setup: "create a; create b",
        calls: "append a 71 A; fsync a; rename a c; fsync b",
    },
    Litmus {
        name: "btrfs_bytes_written_back_late_change_the_inode",
        about: "Bytes are written before a commit, and written back after it: their fsync writes the log.",
        setup: "mkdir d; mkdir e; create a; create b",
        calls: "create d/y; append b 71 B; create e/z; append a 71 A; fsync a; rename a c; fsync b",
    },
    Litmus {
        name: "btrfs_data_after_the_commit_needs_a_log",
        about: "fsync of the directory logs the new name; the file's own bytes are not in the log.",
        setup: "mkdir d",
        calls: "create d/a; append d/a 71 A; fsync d",
    },
    Litmus {
        name: "btrfs_replaced_after_it_was_logged",
        about: "A logged file is replaced by one that is not: the log loses the name, and gets no other.",
        setup: "create b",
        calls: "create c; fsync c; create x; rename x c; append b 1 B; fsync b",
    },
    Litmus {
        name: "btrfs_what_was_committed_is_not_cleared",
        about: "The same of a file that was there at the commit: it stays until the rename is there.",
        setup: "mkdir e; create c; create e/x; create b",
        calls: "append c 1 C; fsync c; rename e/x c; append b 1 B; fsync b",
    },
    Litmus {
        name: "btrfs_shrink_of_what_was_not_written_back",
        about: "A shrink of a length that is only in memory is not committed by itself (other shrinks are).",
        setup: "create a; create b; append b 600 B",
        calls: "append a 512 A; truncate a 10; truncate b 10; mkdir d",
    },
    Litmus {
        name: "btrfs_fsync_without_a_name_takes_bytes",
        about: "A file is fsynced, replaced, and fsynced again: its name may come back, with the bytes before.",
        setup: "create c; create a; append a 9 A; create b",
        calls: "append a 9 B; fsync a; rename c a; fsync a",
    },
    Litmus {
        name: "btrfs_a_link_brings_the_other_name",
        about: "A new directory entry brings its inode into btrfs's log, and that its other new names.",
        setup: "mkdir e",
        calls: "create a; create c; link c e/a; fsync e",
    },
    Litmus {
        name: "btrfs_a_name_taken_brings_who_had_it",
        about: "An fsync of a new file whose name another had logs that one as well: all its new names may come.",
        setup: "mkdir e; create a",
        calls: "rename a e/b; mkdir e/d; link e/b e/c; create a; fsync a",
    },
    Litmus {
        name: "btrfs_a_link_of_what_was_logged",
        about: "A new name of a file that was logged enters the log, as a rename does.",
        setup: "mkdir d; create a; create x",
        calls: "create d/z; append a 1 A; fsync a; link a b; append x 1 X; fsync x",
    },
    Litmus {
        name: "btrfs_a_name_taken_from_a_directory",
        about: "An fsync of what has the name of a directory that was removed may log what is beside it.",
        setup: "mkdir d; mkdir d/x; mkdir e",
        calls: "create e/y; create d/z; rmdir d/x; create d/x; fsync d/x",
    },
    Litmus {
        name: "btrfs_what_came_along_may_not_be_written_again",
        about: "A directory may have been logged with the one above: its fsync need not write what waits.",
        setup: "mkdir w; mkdir d; create x",
        calls: "create w/y; append x 1 X; fsync x; mkdir d/f; fsync d; rename x z; fsync d/f",
    },
    Litmus {
        name: "btrfs_a_directory_logged_twice",
        about: "A move into a directory is in the log; its second fsync has nothing new, and writes nothing.",
        setup: "mkdir w; mkdir d; mkdir e; create e/a; create d/b",
        calls: "create w/y; append d/b 1 B; fsync d/b; rename e/a a; fsync /; rename d/b d/c; fsync /",
    },
    Litmus {
        name: "btrfs_a_rename_in_the_log_is_not_all",
        about: "A file that came into the log by a rename is not there whole: its fsync writes the log.",
        setup: "mkdir w; create a; create b",
        calls: "create w/y; append a 1 A; fsync a; rename a c; append b 1 B; fsync b; rename b d; fsync c",
    },
    Litmus {
        name: "btrfs_fsync_without_a_name_writes_the_log",
        about: "A file is replaced and fsynced through a handle: the log is written, with the rename that waits.",
        setup: "mkdir w; create a; create b; create k",
        calls: "create w/y; append b 1 B; fsync b; rename b c; append a 1 A; rename k a; fsync a",
    },
    Litmus {
        name: "btrfs_new_directories_by_the_names_that_they_have",
        about: "A link in a new directory that was renamed since: the log has it by its present name alone.",
        setup: "mkdir d; mkdir e; create a",
        calls: "create b; mkdir d/f; link a d/f/a; rename d/f e/f; fsync a",
    },
];
