//! What calls do: descriptors, directories, writes, syncs, and those that cannot be replayed.

use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::{FileExt, Fs, OpenMode};
use pullplug::trace::{Roots, replay};

use super::{held, read, whole};

#[track_caller]
fn assert_calls(text: &str, expected: &[&str]) {
    assert_eq!(whole(text).calls, expected, "{text}");
}

#[test]
fn paths_are_seen_from_where_a_process_works() {
    assert_calls(
        "7 mkdirat(AT_FDCWD</>, \"r\", 0777) = 0\n\
         7 mkdirat(AT_FDCWD</>, \"r/a\", 0777) = 0\n\
         7 mkdirat(5</r/a>, \"b\", 0777) = 0\n\
         7 chdir(\"r/a\") = 0\n\
         7 mkdir(\"./c/../d\", 0777) = 0\n\
         7 fork() = 8\n\
         8 mkdir(\"e\", 0777) = 0\n\
         8 chdir(\"..\") = 0\n\
         8 mkdir(\"f\", 0777) = 0\n\
         7 mkdir(\"g\", 0777) = 0\n\
         7 fchdir(5</r/a/b>) = 0\n\
         7 mkdir(\"/elsewhere\", 0777) = 0\n\
         7 mkdir(\"../../../elsewhere\", 0777) = 0\n\
         7 mkdir(\"/rest\", 0777) = 0\n\
         7 rmdir(\"../d\") = 0\n\
         7 renameat2(5</r/a>, \"e\", AT_FDCWD</r/a/b>, \"h\", RENAME_NOREPLACE) = 0\n\
         7 renameat(AT_FDCWD</r>, \"f\", 5</r/a>, \"i\") = 0\n\
         7 unlinkat(5</r/a>, \"i\", AT_REMOVEDIR) = 0\n\
         7 fsync(5</r/a>) = 0\n7 fdatasync(6</r>) = 0\n",
        &[
            "mkdir a",
            "mkdir a/b",
            "mkdir a/d",
            "mkdir a/e",
            "mkdir f",
            "mkdir a/g",
            "rmdir a/d",
            "rename a/e -> a/b/h",
            "rename f -> a/i",
            "rmdir a/i",
            "fsync a",
            "fsync .",
        ],
    );
}

#[test]
fn descriptors_share_an_offset_or_do_not() {
    let open = "openat(AT_FDCWD</r>, \"f\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 3</r/f>\n";
    let text = format!(
        "7 {open}7 dup(3</r/f>) = 4</r/f>\n\
         7 write(4</r/f>, \"ab\", 2) = 2\n\
         7 write(3</r/f>, \"cd\", 2) = 2\n\
         7 dup2(3</r/f>, 1</dev/tty>) = 1</r/f>\n\
         7 fcntl(3</r/f>, F_DUPFD_CLOEXEC, 10) = 10</r/f>\n\
         7 vfork( <unfinished ...>\n\
         8 write(1</r/f>, \"ef\", 2) = 2\n\
         8 close(1</r/f>) = 0\n\
         8 execve(\"/bin/x\", [\"x\"], 0x1 /* 1 var */) = 0\n\
         7 <... vfork resumed>) = 8\n\
         7 write(10</r/f>, \"gh\", 2) = 2\n\
         7 dup3(5</dev/tty>, 10</r/f>, 0) = 10</dev/tty>\n\
         7 write(10</dev/tty>, \"no\", 2) = 2\n\
         7 {}7 write(3</r/f>, \"AB\", 2) = 2\n\
         7 read(3</r/f>, \"c\", 1) = 1\n\
         7 write(3</r/f>, \"D\", 1) = 1\n\
         7 lseek(3</r/f>, -1, SEEK_END) = 7\n\
         7 write(3</r/f>, \"H\", 1) = 1\n",
        open.replace("O_CREAT|", "")
    );
    assert_eq!(held(&whole(&text), "f"), "ABcDefgH");
    // What was opened by nobody in the trace is told, and so is what an execve took.
    let gaps =
        read(&format!("{text}8 write(3</r/f>, \"x\", 1) = 1\n8 write(1</r/f>, \"x\", 1) = 1\n")).unwrap().notes.gaps();
    assert_eq!((gaps.len(), gaps[0].count, gaps[0].first_line), (1, 2, 21), "{gaps:?}");
}

#[test]
fn writes_go_where_they_went() {
    let open = |flags: &str| format!("7 openat(AT_FDCWD</r>, \"f\", {flags}, 0666) = 3</r/f>\n");
    let written = |flags: &str, calls: &str| held(&whole(&(open(flags) + calls)), "f");
    let text = "7 pwrite64(3</r/f>, \"cd\", 2, 2) = 2\n7 write(3</r/f>, \"ab\", 2) = 2\n";
    assert_eq!(written("O_WRONLY|O_CREAT|O_EXCL", text), "abcd");
    assert_eq!(written("O_WRONLY|O_CREAT|O_APPEND", text), "cdab");
    let vectors = "7 writev(3</r/f>, [{iov_base=\"a,\", iov_len=2}, {iov_base=\"b}\", iov_len=2}], 2) = 4\n\
                   7 pwritev(3</r/f>, [{iov_base=\"x\", iov_len=1}], 1, 1) = 1\n\
                   7 pwritev2(3</r/f>, [{iov_base=\"y\", iov_len=1}], 1, -1, 0) = 1\n\
                   7 pwritev2(3</r/f>, [{iov_base=\"z\", iov_len=1}], 1, 0, RWF_APPEND) = 1\n";
    assert_eq!(written("O_RDWR|O_CREAT", vectors), "axb}yz");
    let flag = "7 fcntl(3</r/f>, F_SETFL, O_RDWR|O_APPEND) = 0\n7 lseek(3</r/f>, 0, SEEK_SET) = 0\n";
    assert_eq!(written("O_RDWR|O_CREAT", &format!("{text}{flag}7 write(3</r/f>, \"e\", 1) = 1\n")), "abcde");
    let cut = "7 ftruncate(3</r/f>, 3) = 0\n7 truncate(\"/r/f\", 2) = 0\n";
    assert_eq!(written("O_RDWR|O_CREAT", &format!("{text}{cut}")), "ab");
    let again = format!("{text}{}7 write(3</r/f>, \"e\", 1) = 1\n", open("O_WRONLY|O_CREAT|O_TRUNC"));
    assert_eq!(written("O_RDWR|O_CREAT", &again), "e");
    let long = "7 fallocate(3</r/f>, 0, 0, 3) = 0\n7 fallocate(3</r/f>, 0, 0, 1) = 0\n";
    assert_eq!(written("O_RDWR|O_CREAT", long), "\0\0\0");
    let creat = "7 creat(\"/r/f\", 0666) = 3</r/f>\n7 write(3</r/f>, \"n\", 1) = 1\n";
    assert_eq!(written("O_RDWR|O_CREAT", &format!("{text}{creat}")), "n");
    // An open file outlives its name.
    let gone = "7 unlink(\"/r/f\") = 0\n7 write(3</r/f>(deleted), \"x\", 1) = 1\n7 fsync(3</r/f>(deleted)) = 0\n";
    assert_eq!(whole(&(open("O_RDWR|O_CREAT") + gone)).calls, ["open-create f", "unlink f", "write f 1", "fsync f"]);
}

#[test]
fn syncs_force_what_they_forced() {
    let opened = "7 openat(AT_FDCWD</r>, \"f\", O_RDWR|O_CREAT|FLAG, 0666) = 3</r/f>\n7 write(3</r/f>, \"a\", 1) = 1\n";
    for (flag, calls) in [("O_CLOEXEC", &[][..]), ("O_DSYNC", &["fdatasync f"]), ("O_SYNC", &["fsync f"])] {
        assert_calls(&opened.replace("FLAG", flag), &[&["open-create f", "write f 1"], calls].concat());
    }
    let text = "7 fdatasync(3</r/f>) = 0\n7 sync() = 0\n7 syncfs(3</r/f>) = 0\n7 syncfs(4</x>) = 0\n\
                7 sync_file_range(3</r/f>, 0, 0, SYNC_FILE_RANGE_WRITE) = 0\n7 fchmod(3</r/f>, 0600) = 0\n";
    let recording = whole(&(opened.replace("FLAG", "0") + text));
    assert_eq!(recording.calls, ["open-create f", "write f 1", "fdatasync f", "syncfs", "syncfs"]);
    let left: Vec<String> = recording.notes.others().into_iter().map(|note| note.what).collect();
    assert_eq!(left, ["syncfs", "sync_file_range", "fchmod"]);
}

#[test]
fn what_may_change_files_and_is_not_known_is_never_passed_over() {
    let opened = "7 openat(AT_FDCWD</r>, \"f\", O_RDWR|O_CREAT, 0666) = 3</r/f>\n";
    for line in [
        "copy_file_range(4</x>, NULL, 3</r/f>, NULL, 9, 0) = 4",
        "sendfile(3</r/f>, 4</x>, NULL, 9) = 4",
        "splice(4<pipe:[1]>, NULL, 3</r/f>, NULL, 9, 0) = 4",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</r/f>, 0) = 0x7fb11bc27000",
        "symlink(\"f\", \"/r/g\") = 0",
        "symlinkat(\"f\", 4</r>, \"g\") = 0",
        "mknodat(4</r>, \"p\", S_IFIFO|0666) = 0",
        "renameat2(4</r>, \"f\", 4</r>, \"g\", RENAME_EXCHANGE) = 0",
        "rename(\"/r/f\", \"/x\") = 0",
        "rename(\"/x\", \"/r/g\") = 0",
        "linkat(AT_FDCWD</>, \"/proc/self/fd/3\", AT_FDCWD</>, \"/r/g\", AT_SYMLINK_FOLLOW) = 0",
        "linkat(3</r/f>, \"\", 4</r>, \"g\", AT_EMPTY_PATH) = 0",
        "openat(4</r>, \".\", O_RDWR|O_TMPFILE, 0666) = 5</r/#1 (deleted)>",
        "fallocate(3</r/f>, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 9) = 0",
        "ioctl(3</r/f>, BTRFS_IOC_CLONE or FICLONE, 4</x>) = 0",
        "io_uring_setup(8, {flags=0}) = 5<anon_inode:[io_uring]>",
        "fsync(3</r/f>) = -1 EIO (Input/output error)",
        "somecall(\"/r/f\", 0) = 0",
        "somecall(3</r/f>) = 7",
    ] {
        let gaps = read(&format!("{opened}7 {line}\n7 {line}\n")).unwrap().notes.gaps();
        assert_eq!((gaps.len(), gaps[0].first_line, gaps[0].count), (1, 2, 2), "{line}: {gaps:?}");
    }
    for line in [
        "mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</r/f>, 0) = 0x7fb11bc27000",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3</r/f>, 0) = 0x7fb11bc27000",
        "sendfile(9<socket:[1]>, 3</r/f>, NULL, 9) = 4",
        "copy_file_range(3</r/f>, NULL, 4</x>, NULL, 9, 0) = 4",
        "somecall(\"/x\", 3</x>) = 0",
        "write(1</dev/tty>, \"/r/f\", 4) = 4",
        "somecall(\"/r/f\") = -1 ENOSYS (Function not implemented)",
        "ioctl(3</r/f>, TCGETS, 0x1) = 0",
    ] {
        whole(&format!("{opened}7 {line}\n"));
    }
    // After a gap, a call that needs what is missing is one more.
    let more = read(&format!("{opened}7 symlink(\"f\", \"/r/g\") = 0\n7 unlink(\"/r/g\") = 0\n")).unwrap().notes.gaps();
    assert_eq!(more.len(), 2);
}

#[test]
fn what_was_there_before_must_be_given() {
    for line in [
        "openat(AT_FDCWD</r>, \"old\", O_RDONLY) = 3</r/old>",
        "unlink(\"/r/old\") = 0",
        "rename(\"/r/old\", \"/r/new\") = 0",
        "mkdir(\"/r/dir/sub\", 0777) = 0",
        "newfstatat(AT_FDCWD</r>, \"old\", {st_mode=S_IFREG|0644}, 0) = 0",
        "fsync(3</r/dir>) = 0",
    ] {
        let text = format!("7 mkdirat(AT_FDCWD</r>, \"x\", 0777) = 0\n7 {line}\n");
        let error = read(&text).expect_err(line);
        let name = if line.contains("old") { "old" } else { "dir" };
        assert!(error.line == 2 && error.what.contains(name), "{error}");
        assert!(error.help.unwrap().contains("--base"));
        let disk = SimFs::new();
        run_now(async {
            disk.mkdir("dir").await.unwrap();
            disk.open("old", OpenMode::Create).await.unwrap().write_full(0, "text".into()).await.unwrap();
        });
        let recording = replay(&text, &Roots::new(["/r"]), disk.tree()).unwrap();
        assert_eq!(recording.notes.gaps(), []);
    }
}

#[test]
fn of_overlapping_calls_the_one_that_another_needs_was_first() {
    assert_calls(
        "7 mkdir(\"/r/a\", 0777 <unfinished ...>\n\
         8 mkdir(\"/r/a\", 0777) = -1 EEXIST (File exists)\n\
         8 openat(AT_FDCWD</x>, \"/r/a/b\", O_WRONLY|O_CREAT, 0666) = 3</r/a/b>\n\
         7 <... mkdir resumed>) = 0\n",
        &["mkdir a", "open-create a/b"],
    );
    // One that began later cannot have been.
    let late = "8 mkdir(\"/r/a/b\", 0777) = 0\n7 mkdir(\"/r/a\", 0777) = 0\n";
    assert_eq!(read(late).unwrap_err().line, 1);
}
