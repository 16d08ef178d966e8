//! The decorator: what it records, and each thing that a hook can do to a call.

use std::sync::Arc;

use bytes::Bytes;
use pullplug::env::run_now;
use pullplug::fs::hooked::{Action, HookedFs, Nth};
use pullplug::fs::real::RealFs;
use pullplug::fs::trace::{Call, Trace};
use pullplug::fs::{ErrorKind, File, FileExt, Fs, FsExt, OpenMode, Result};

/// The recorder below shows what really arrives under the hook.
fn recorded() -> (tempfile::TempDir, HookedFs<RealFs>) {
    let dir = tempfile::tempdir().unwrap();
    let real = RealFs::open_root(dir.path()).unwrap();
    (dir, HookedFs::new(real))
}

/// The classic replacement of a file, as a subject for the faults.
async fn replace<F: Fs>(fs: &F) -> Result<()> {
    let file = fs.open("new", OpenMode::Create).await?;
    file.set_len(0).await?;
    file.write_full(0, Bytes::from_static(b"0123456789")).await?;
    file.write_full(10, Bytes::from_static(b"abc")).await?;
    file.sync_data().await?;
    fs.rename("new", "old").await?;
    fs.sync_dir("").await
}

const REPLACE: [&str; 6] =
    ["open-create new", "truncate new 0", "write new 13", "fdatasync new", "rename new -> old", "fsync ."];

#[test]
fn carried_out_calls_are_recorded_in_the_form_of_operation_lists() {
    let (_dir, fs) = recorded();
    run_now(async {
        replace(&fs).await.unwrap();
        assert_eq!(fs.trace().take().len(), 7);
        fs.create_dir_all("a/b").await.unwrap();
        fs.mkdir("a").await.unwrap_err();
        fs.hard_link("old", "a/l").await.unwrap();
        fs.open("a/l", OpenMode::Write).await.unwrap().sync_all().await.unwrap();
        fs.sync_fs().await.unwrap();
        fs.remove_tree("a").await.unwrap();
    });
    let expected =
        ["mkdir a", "mkdir a/b", "link old -> a/l", "fsync a/l", "syncfs", "rmdir a/b", "unlink a/l", "rmdir a"];
    assert_eq!(fs.trace().lines(), expected);
}

#[test]
fn looking_is_recorded_on_request() {
    let (_dir, below) = recorded();
    let fs = HookedFs::with_trace(below.inner().clone(), Trace::with_reads(), |_| Action::Run);
    run_now(async {
        replace(&fs).await.unwrap();
        fs.trace().take();
        fs.read("old", 100).await.unwrap();
        fs.read_dir("").await.unwrap();
    });
    assert_eq!(fs.trace().lines(), ["open old", "stat old", "read old 13", "read-dir ."]);
}

#[test]
fn any_call_can_be_dropped_but_those_that_return_something() {
    for index in 0..7 {
        let (_dir, below) = recorded();
        let nth = Nth::new(index, Action::Drop, |_| true);
        let judge = Arc::clone(&nth);
        let fs = HookedFs::with_hook(below.clone(), move |c| judge.judge(c));
        let result = run_now(replace(&fs));
        assert!(nth.fired());
        if index == 0 {
            assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidInput);
            continue;
        }
        result.unwrap();
        assert_eq!(fs.trace().calls(), below.trace().calls());
        assert_eq!(below.trace().calls().len(), 6);
        // The second write is in one line with the first.
        let missing: Vec<_> =
            REPLACE.iter().filter(|line| !below.trace().lines().contains(&(**line).to_owned())).collect();
        let expected =
            ["truncate new 0", "write new 13", "write new 13", "fdatasync new", "rename new -> old", "fsync ."];
        assert_eq!(missing, [&expected[index as usize - 1]]);
    }
}

#[test]
fn a_failed_call_is_not_made_and_a_lost_acknowledgement_is() {
    for (action, arrives) in [(Action::Fail(ErrorKind::Io), false), (Action::RunThenFail(ErrorKind::Io), true)] {
        let (_dir, below) = recorded();
        let nth = Nth::new(0, action, |c| c.target().is_some());
        let fs = HookedFs::with_hook(below.clone(), move |c| nth.judge(c));
        let e = run_now(replace(&fs)).unwrap_err();
        assert_eq!((e.kind, e.op, e.path.as_str()), (ErrorKind::Io, "rename", "new"));
        assert_eq!(below.trace().lines().contains(&"rename new -> old".to_owned()), arrives);
        assert_eq!(below.trace().lines(), fs.trace().lines());
    }
}

#[test]
fn matching_calls_are_counted() {
    let (_dir, below) = recorded();
    let nth = Nth::new(u64::MAX, Action::Drop, Call::is_sync);
    let judge = Arc::clone(&nth);
    let fs = HookedFs::with_hook(below, move |c| judge.judge(c));
    run_now(replace(&fs)).unwrap();
    assert_eq!((nth.seen(), nth.fired()), (2, false));
}

#[test]
fn a_delayed_call_comes_right_after_the_next_change() {
    let (_dir, below) = recorded();
    let nth = Nth::new(0, Action::Delay, Call::is_sync);
    let fs = HookedFs::with_hook(below.clone(), move |c| nth.judge(c));
    run_now(replace(&fs)).unwrap();
    let mut swapped = REPLACE;
    swapped.swap(3, 4);
    assert_eq!(below.trace().lines(), swapped);
    assert_eq!(fs.trace().lines(), swapped);
}

#[test]
fn delayed_calls_wait_in_order_and_looking_does_not_release_them() {
    let (_dir, below) = recorded();
    let fs = HookedFs::with_hook(below.clone(), |c| if c.name() == "mkdir" { Action::Delay } else { Action::Run });
    run_now(async {
        fs.mkdir("a").await.unwrap();
        fs.mkdir("a/b").await.unwrap();
        assert!(!fs.exists("a").await.unwrap());
        fs.sync_dir("").await.unwrap();
        fs.mkdir("c").await.unwrap();
        assert!(!fs.exists("c").await.unwrap());
        fs.settle().await.unwrap();
    });
    assert_eq!(below.trace().lines(), ["fsync .", "mkdir a", "mkdir a/b", "mkdir c"]);
}

#[test]
fn a_delayed_call_that_fails_fails_the_call_after_it() {
    let (_dir, below) = recorded();
    let fs = HookedFs::with_hook(below.clone(), |c| if c.name() == "unlink" { Action::Delay } else { Action::Run });
    run_now(async {
        fs.unlink("gone").await.unwrap();
        let e = fs.mkdir("a").await.unwrap_err();
        assert_eq!((e.kind, e.op), (ErrorKind::NotFound, "unlink"));
    });
    assert_eq!(below.trace().lines(), ["mkdir a"]);
}

#[test]
fn removing_a_tree_whose_entries_stay_ends_in_an_error() {
    for action in [Action::Drop, Action::Delay] {
        let dir = tempfile::tempdir().unwrap();
        let real = RealFs::open_root(dir.path()).unwrap();
        run_now(async {
            real.create_dir_all("a/b").await.unwrap();
            real.open("a/b/c", OpenMode::Create).await.unwrap();
        });
        let nth = Nth::new(0, action, |call| call.name() == "unlink");
        let fs = HookedFs::with_hook(real, move |call| nth.judge(call));
        assert_eq!(run_now(fs.remove_tree("a")).unwrap_err().kind, ErrorKind::NotEmpty, "{action:?}");
    }
}
