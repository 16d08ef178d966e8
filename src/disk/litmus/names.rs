//! Names, renames, links, directories.

use super::Litmus;

/// The cases.
pub(super) const CASES: &[Litmus] = &[
    Litmus {
        name: "atomic_replace_via_rename",
        about: "Atomic replace via rename (ARVR), with fsync of the new file.",
        setup: "create a; append a 71 A",
        calls: "create t; append t 71 B; fsync t; rename t a",
    },
    Litmus {
        name: "atomic_replace_via_rename_without_fsync",
        about: "Atomic replace via rename without fsync: auto_da_alloc gives the length, not the bytes.",
        setup: "create a; append a 71 A",
        calls: "create t; append t 71 B; rename t a",
    },
    Litmus {
        name: "atomic_create_via_rename",
        about: "Atomic create via rename (ACVR), no fsync: no file system protects it.",
        setup: "",
        calls: "create t; append t 71 B; rename t a",
    },
    Litmus {
        name: "atomic_create_via_rename_with_fsync",
        about: "Atomic create via rename, with fsync of the file before and of the directory after.",
        setup: "",
        calls: "create t; append t 71 B; fsync t; rename t a; fsync /",
    },
    Litmus {
        name: "rename_then_fsync_of_another_file",
        about: "Rename a durable file, then create and fsync another in a second directory: is the rename there?",
        setup: "mkdir d; mkdir e; create t; append t 71 A",
        calls: "rename t d/a; create e/b; append e/b 71 B; fsync e/b",
    },
    Litmus {
        name: "rename_then_fsync_of_the_directory",
        about: "fsync of the directory that a file came to: in posix-split-rename the old name may stay.",
        setup: "mkdir d; mkdir e; create d/t; append d/t 71 A",
        calls: "rename d/t e/a; fsync e",
    },
    Litmus {
        name: "rename_then_fsync_of_the_old_directory",
        about: "fsync of the directory that a file left: in posix-split-rename neither name may be there.",
        setup: "mkdir d; mkdir e; create d/t; append d/t 71 A",
        calls: "rename d/t e/a; fsync d",
    },
    Litmus {
        name: "split_rename",
        about: "A rename over a file, all durable before. If it splits: both, neither, the replaced name gone.",
        setup: "mkdir d; mkdir e; create d/t; append d/t 71 B; create e/a; append e/a 71 A",
        calls: "rename d/t e/a",
    },
    Litmus {
        name: "unlink_then_fsync_of_the_directory",
        about: "fsync of a directory forces removals.",
        setup: "mkdir d; create d/a; append d/a 71 A; create b",
        calls: "unlink b; unlink d/a; fsync d",
    },
    Litmus {
        name: "auto_da_alloc_at_rename",
        about: "A rename over a file allocates first: with what follows it in the journal, the length is there.",
        setup: "create a; append a 71 A; create t",
        calls: "append t 71 B; rename t a; mkdir d; fsync d",
    },
    Litmus {
        name: "no_auto_da_alloc_at_rename_to_a_new_name",
        about: "A rename to a new name allocates nothing.",
        setup: "create t",
        calls: "append t 71 B; rename t a; mkdir d; fsync d",
    },
    Litmus {
        name: "auto_da_alloc_at_close",
        about: "Closing a file that was truncated to 0 allocates ahead of what follows (ext4). On xfs nothing waits.",
        setup: "create a; append a 71 A",
        calls: "open a; truncate a 0; append a 71 B; close a; mkdir d; fsync d",
    },
    Litmus {
        name: "no_auto_da_alloc_before_close",
        about: "As long as the truncated file is open, nothing is allocated.",
        setup: "create a; append a 71 A",
        calls: "open a; truncate a 0; append a 71 B; mkdir d; fsync d",
    },
    Litmus {
        name: "no_auto_da_alloc_after_the_close_of_another_handle",
        about: "The first close allocates, be it a reader's; the second has nothing to do.",
        setup: "create a; append a 71 A; link a b",
        calls: "open a; truncate a 0; open b; close b; append a 71 B; close a; mkdir d; fsync d",
    },
    Litmus {
        name: "auto_da_alloc_at_close_of_a_new_file",
        about: "A new, empty file truncated to 0: ext4 allocates at its close too.",
        setup: "",
        calls: "create a; truncate a 0; append a 71 B; close a; mkdir d; fsync d",
    },
    Litmus {
        name: "hard_link_then_fsync",
        about: "A second name and fsync of the file: btrfs logs all names of the inode.",
        setup: "mkdir d; mkdir e; create d/a; append d/a 71 A",
        calls: "link d/a e/b; fsync d/a",
    },
    Litmus {
        name: "hard_link_shares_its_bytes",
        about: "Bytes written through one name are those of the other.",
        setup: "create a; append a 71 A",
        calls: "link a b; write a 0 71 B; fsync b",
    },
    Litmus {
        name: "mkdir_then_create_then_fsync",
        about: "mkdir, create in it, fsync of the directory: its own name comes along, but not in posix.",
        setup: "",
        calls: "mkdir d; create d/a; append d/a 71 A; fsync d",
    },
    Litmus {
        name: "new_ancestors",
        about: "fsync of a file two new directories down: btrfs logs the ancestors that it needs, no more.",
        setup: "",
        calls: "mkdir d; mkdir d/e; mkdir x; create d/e/a; append d/e/a 71 A; fsync d/e/a",
    },
    Litmus {
        name: "rmdir_then_mkdir_same_name",
        about: "A directory gives way to a new one of the same name; what was in the old one never shows in the new.",
        setup: "mkdir d; create d/a; append d/a 71 A",
        calls: "unlink d/a; rmdir d; mkdir d; create d/b",
    },
    Litmus {
        name: "two_files_in_two_directories",
        about: "One journal orders all directories; the weak reading each by itself.",
        setup: "mkdir d; mkdir e",
        calls: "create d/a; create e/b",
    },
    Litmus {
        name: "two_files_in_one_directory",
        about: "Updates of one directory are ordered in the weak reading too.",
        setup: "mkdir d",
        calls: "create d/a; create d/b",
    },
    Litmus {
        name: "metadata_of_one_file",
        about: "A shrink and a second name elsewhere: metadata of one file, ordered in the weak reading too.",
        setup: "mkdir d; create a; append a 71 A",
        calls: "open a; truncate a 0; link a d/b",
    },
    Litmus {
        name: "rename_chain",
        about: "A file moves twice: the second rename needs the first, whatever the directories.",
        setup: "mkdir d; mkdir e; create d/a; append d/a 71 A",
        calls: "rename d/a e/b; rename e/b c",
    },
    Litmus {
        name: "rename_of_a_directory_then_fsync_in_it",
        about: "A durable directory is renamed and a file in it fsynced: on btrfs the directory is no new ancestor.",
        setup: "mkdir d",
        calls: "rename d e; create e/a; append e/a 71 A; fsync e/a",
    },
];
