//! Litmus tests of the persistence models: names, renames, links, directories.

use crate::litmus::litmus;

#[test]
fn atomic_replace_via_rename() {
    litmus(
        "atomic_replace_via_rename",
        "Atomic replace via rename (ARVR), with fsync of the new file.",
        "create a; append a 71 A",
        "create t; append t 71 B; fsync t; rename t a",
    );
}

#[test]
fn atomic_replace_via_rename_without_fsync() {
    litmus(
        "atomic_replace_via_rename_without_fsync",
        "Atomic replace via rename without fsync: auto_da_alloc gives the length, not the bytes.",
        "create a; append a 71 A",
        "create t; append t 71 B; rename t a",
    );
}

#[test]
fn atomic_create_via_rename() {
    litmus(
        "atomic_create_via_rename",
        "Atomic create via rename (ACVR), no fsync: no file system protects it.",
        "",
        "create t; append t 71 B; rename t a",
    );
}

#[test]
fn atomic_create_via_rename_with_fsync() {
    litmus(
        "atomic_create_via_rename_with_fsync",
        "Atomic create via rename, with fsync of the file before and of the directory after.",
        "",
        "create t; append t 71 B; fsync t; rename t a; fsync /",
    );
}

#[test]
fn rename_then_fsync_of_another_file() {
    litmus(
        "rename_then_fsync_of_another_file",
        "Rename a durable file, then create and fsync another in a second directory: is the rename there?",
        "mkdir d; mkdir e; create t; append t 71 A",
        "rename t d/a; create e/b; append e/b 71 B; fsync e/b",
    );
}

#[test]
fn rename_then_fsync_of_the_directory() {
    litmus(
        "rename_then_fsync_of_the_directory",
        "fsync of the directory that a file came to: in posix-split-rename the old name may stay.",
        "mkdir d; mkdir e; create d/t; append d/t 71 A",
        "rename d/t e/a; fsync e",
    );
}

#[test]
fn rename_then_fsync_of_the_old_directory() {
    litmus(
        "rename_then_fsync_of_the_old_directory",
        "fsync of the directory that a file left: in posix-split-rename neither name may be there.",
        "mkdir d; mkdir e; create d/t; append d/t 71 A",
        "rename d/t e/a; fsync d",
    );
}

#[test]
fn split_rename() {
    litmus(
        "split_rename",
        "A rename over a file, all durable before. If it splits: both, neither, the replaced name gone.",
        "mkdir d; mkdir e; create d/t; append d/t 71 B; create e/a; append e/a 71 A",
        "rename d/t e/a",
    );
}

#[test]
fn unlink_then_fsync_of_the_directory() {
    litmus(
        "unlink_then_fsync_of_the_directory",
        "fsync of a directory forces removals.",
        "mkdir d; create d/a; append d/a 71 A; create b",
        "unlink b; unlink d/a; fsync d",
    );
}

#[test]
fn auto_da_alloc_at_rename() {
    litmus(
        "auto_da_alloc_at_rename",
        "A rename over a file allocates first: with what follows it in the journal, the length is there.",
        "create a; append a 71 A; create t",
        "append t 71 B; rename t a; mkdir d; fsync d",
    );
}

#[test]
fn no_auto_da_alloc_at_rename_to_a_new_name() {
    litmus(
        "no_auto_da_alloc_at_rename_to_a_new_name",
        "A rename to a new name allocates nothing.",
        "create t",
        "append t 71 B; rename t a; mkdir d; fsync d",
    );
}

#[test]
fn auto_da_alloc_at_close() {
    litmus(
        "auto_da_alloc_at_close",
        "Closing a file that was truncated to 0 allocates (ext4) or flushes (xfs), ahead of what follows.",
        "create a; append a 71 A",
        "open a; truncate a 0; append a 71 B; close a; mkdir d; fsync d",
    );
}

#[test]
fn no_auto_da_alloc_before_close() {
    litmus(
        "no_auto_da_alloc_before_close",
        "As long as the truncated file is open, nothing is allocated.",
        "create a; append a 71 A",
        "open a; truncate a 0; append a 71 B; mkdir d; fsync d",
    );
}

#[test]
fn auto_da_alloc_at_close_of_a_new_file() {
    litmus(
        "auto_da_alloc_at_close_of_a_new_file",
        "A new, empty file truncated to 0: ext4 allocates at its close too; xfs lost nothing, no flush.",
        "",
        "create a; truncate a 0; append a 71 B; close a; mkdir d; fsync d",
    );
}

#[test]
fn hard_link_then_fsync() {
    litmus(
        "hard_link_then_fsync",
        "A second name and fsync of the file: btrfs logs all names of the inode.",
        "mkdir d; mkdir e; create d/a; append d/a 71 A",
        "link d/a e/b; fsync d/a",
    );
}

#[test]
fn hard_link_shares_its_bytes() {
    litmus(
        "hard_link_shares_its_bytes",
        "Bytes written through one name are those of the other.",
        "create a; append a 71 A",
        "link a b; write a 0 71 B; fsync b",
    );
}

#[test]
fn mkdir_then_create_then_fsync() {
    litmus(
        "mkdir_then_create_then_fsync",
        "mkdir, create in it, fsync of the directory: its own name comes along, but not in posix.",
        "",
        "mkdir d; create d/a; append d/a 71 A; fsync d",
    );
}

#[test]
fn new_ancestors() {
    litmus(
        "new_ancestors",
        "fsync of a file two new directories down: btrfs logs the ancestors that it needs, no more.",
        "",
        "mkdir d; mkdir d/e; mkdir x; create d/e/a; append d/e/a 71 A; fsync d/e/a",
    );
}

#[test]
fn rmdir_then_mkdir_same_name() {
    litmus(
        "rmdir_then_mkdir_same_name",
        "A directory gives way to a new one of the same name; what was in the old one never shows in the new.",
        "mkdir d; create d/a; append d/a 71 A",
        "unlink d/a; rmdir d; mkdir d; create d/b",
    );
}

#[test]
fn two_files_in_two_directories() {
    litmus(
        "two_files_in_two_directories",
        "One journal orders all directories; the weak reading each by itself.",
        "mkdir d; mkdir e",
        "create d/a; create e/b",
    );
}

#[test]
fn two_files_in_one_directory() {
    litmus(
        "two_files_in_one_directory",
        "Updates of one directory are ordered in the weak reading too.",
        "mkdir d",
        "create d/a; create d/b",
    );
}

#[test]
fn metadata_of_one_file() {
    litmus(
        "metadata_of_one_file",
        "A shrink and a second name elsewhere: metadata of one file, ordered in the weak reading too.",
        "mkdir d; create a; append a 71 A",
        "open a; truncate a 0; link a d/b",
    );
}

#[test]
fn rename_chain() {
    litmus(
        "rename_chain",
        "A file moves twice: the second rename needs the first, whatever the directories.",
        "mkdir d; mkdir e; create d/a; append d/a 71 A",
        "rename d/a e/b; rename e/b c",
    );
}

#[test]
fn rename_of_a_directory_then_fsync_in_it() {
    litmus(
        "rename_of_a_directory_then_fsync_in_it",
        "A durable directory is renamed and a file in it fsynced: on btrfs the directory is no new ancestor.",
        "mkdir d",
        "rename d e; create e/a; append e/a 71 A; fsync e/a",
    );
}
