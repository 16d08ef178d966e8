//! Lines: their forms, calls that other threads interrupt, and what is no line at all.

use super::{held, read, whole};

const OPEN: &str = r#"openat(AT_FDCWD</r>, "f", O_RDWR|O_CREAT, 0666) = 3</r/f>"#;

#[test]
fn lines_may_have_any_form() {
    let prefixes = [
        "",
        "7 ",
        "7     ",
        "[pid     7] ",
        "7 15:30:39 ",
        "7 15:30:39.147681 ",
        "7 1700000000.123456 ",
        "15:30:39.1 ",
        "7      0.000012 ",
        "     0.000012 ",
    ];
    for prefix in prefixes {
        for (suffix, gap) in [("", " "), (" <0.000012>", "      ")] {
            let write = format!("write(3</r/f>, \"a\\x62\\143\\n\\\"\", 5){gap}= 5");
            let text =
                format!("{prefix}{OPEN}{suffix}\n{prefix}--- SIGURG {{si_pid=1}} ---\n{prefix}{write}{suffix}\n");
            let recording = whole(&text);
            assert_eq!(recording.calls, ["open-create f", "write f 5"], "{text}");
            assert_eq!(held(&recording, "f"), "abc\n\"", "{text}");
        }
    }
    // Names in hexadecimal, and what strace says itself.
    let recording = whole(
        "strace: Process 8 attached\n\n\
         7 mkdir(\"\\x2f\\x72\\x2f\\x61\", 0777) = 0\n\
         7 openat(AT_FDCWD<\\x2f\\x72\\x2f\\x61>, \"\\x62\", O_WRONLY|O_CREAT) = 0x3<\\x2f\\x72\\x2f\\x61\\x2f\\x62>\n\
         7 fsync(3<\\x2f\\x72\\x2f\\x61\\x2f\\x62>) = 0\n7 +++ exited with 0 +++\n",
    );
    assert_eq!(recording.calls, ["mkdir a", "open-create a/b", "fsync a/b"]);
}

#[test]
fn interrupted_calls_are_put_together_and_stand_where_they_ended() {
    let text = format!(
        "7 {OPEN}\n\
         8 write(3</r/f>, \"8,8)\", 4 <unfinished ...>\n\
         9 mkdirat(AT_FDCWD</r>, \"d\",  <unfinished ...>\n\
         7 read(5<socket:[1]>,  <unfinished ...>\n\
         9 <... mkdirat resumed>0777) = 0\n\
         9 write(3</r/f>, \"9\", 1) = 1\n\
         8 <... write resumed>)              = 4 <0.000123>\n\
         7 <... read resumed>\"\", 10) = 0\n\
         7 fsync(3</r/f> <unfinished ...>\n\
         7 <... fsync resumed>) = 0\n"
    );
    // Threads: they share the file's offset.
    let births = "7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8\n\
                  7 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_FILES) = 9\n";
    let recording = whole(&(births.to_owned() + &text));
    assert_eq!(recording.calls, ["open-create f", "mkdir d", "write f 5", "fsync f"]);
    assert_eq!(held(&recording, "f"), "98,8)");
}

#[test]
fn failed_calls_and_calls_that_did_not_happen_change_nothing() {
    let text = format!(
        "7 mkdirat(AT_FDCWD</r>, \"d\", 0777) = -1 EEXIST (File exists)\n\
         7 openat(AT_FDCWD</r>, \"x\", O_RDWR) = -1 ENOENT (No such file or directory)\n\
         7 {OPEN}\n\
         7 write(3</r/f>, \"abc\"..., 900) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n\
         7 write(3</r/f>, \"abc\"..., 900) = -1 ENOSPC (No space left on device)\n\
         7 write(3</r/f>, \"abc\", 3) = 2\n\
         7 exit_group(0) = ?\n"
    );
    let recording = whole(&text);
    assert_eq!(recording.calls, ["open-create f", "write f 2"]);
    assert_eq!(held(&recording, "f"), "ab");
}

#[test]
fn a_trace_that_cannot_be_understood_is_refused_by_line() {
    for (line, why) in [
        ("total 12", "is no line of strace"),
        ("7 open", "is no line of strace"),
        ("7 fsync(3</r/f>) =", "does not end"),
        ("7 fsync(3</r/f>", "does not end"),
        ("7 write(3</r/f>, \"ab", "does not end"),
        ("7 <... fsync resumed>) = 0", "its beginning is missing"),
        ("7 write(3</r/f>, \"abc\"..., 3) = 3", "cut short"),
        ("7 pwritev(3</r/f>, [{iov_base=\"abc\"..., iov_len=4}], 1, 0) = 4", "cut short"),
        ("7 writev(3</r/f>, [{iov_base=\"abc\", iov_len=3}, ...], 2) = 4", "cut short"),
        ("7 write(3</r/f>, \"abc\", 4) = 4", "3 bytes of 4"),
        ("7 write(3</r/f>, 0x7ffc0001, 4) = 4", "bytes of 4"),
        ("7 fsync(3) = 0", "where descriptor 3 leads"),
        ("7 ftruncate(3</r/f>, x) = 0", "for argument 2"),
        ("8 unlink(\"f\") = 0", "working directory is not known"),
        ("7 unlink(\"/r/\\xff\") = 0", "is not UTF-8"),
        ("7 read(5<socket:[1]>, \"PUT \"..., 900) = 900", "cut short"),
    ] {
        let error = read(&format!("7 {OPEN}\n{line}\n")).expect_err(line);
        assert!(error.what.contains(why) && error.line == 2, "{line}: {error}");
    }
    let twice = format!("7 {OPEN}\n7 fsync(3</r/f> <unfinished ...>\n7 fsync(3</r/f> <unfinished ...>\n");
    assert_eq!(read(&twice).unwrap_err().line, 3);
    // Elsewhere, nobody cares for what was cut short.
    whole("7 write(1</dev/tty>, \"abc\"..., 900) = 900\n7 execve(\"/bin/x\"..., [\"x\"...], 0x7f /* 9 vars */) = 0\n");
}

#[test]
fn a_call_that_never_came_back_is_told() {
    let text = format!("7 {OPEN}\n7 write(3</r/f>, \"a\", 1 <unfinished ...>\n8 futex(0x1, <unfinished ...>\n");
    let gaps = read(&text).unwrap().notes.gaps();
    assert_eq!((gaps.len(), gaps[0].first_line, &*gaps[0].what), (1, 2, "write"));
}

#[test]
fn no_damage_makes_it_panic() {
    let text = "7 clone(flags=CLONE_FILES) = 8\n\
                7 openat(AT_FDCWD</r>, \"f\", O_RDWR|O_CREAT, 0666) = 3</r/f>\n\
                7 pwritev(3</r/f>, [{iov_base=\"a\\x62\", iov_len=2}], 1, 9) = 2\n\
                8 dup(3</r/f> <unfinished ...>\n\
                7 read(5<TCP:[1->2]>, \"PUT /v2/a/manifests/b HTTP/1.1\\r\\nContent-Length: 1\\r\\n\\r\\na\", 9999) = 64\n\
                8 <... dup resumed>) = 4</r/f>\n\
                7 write(5<TCP:[1->2]>, \"HTTP/1.1 201 C\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n\", 55) = 52\n\
                7 fallocate(3</r/f>, 0, 1, 9) = 0\n";
    let mut understood = 0;
    for (at, old) in text.char_indices() {
        for new in ["", "\"", "\\", "<", ">", "(", ")", ",", "99999999999999999999", " ", "=", "ü", "\n"] {
            let damaged = [&text[..at], new, &text[at + old.len_utf8()..]].concat();
            understood += usize::from(read(&damaged).is_ok());
        }
        understood += usize::from(read(&text[..at]).is_ok());
    }
    assert!(understood > 100 && read(text).is_ok());
}
