//! What only a real directory has: links that lead out of it, strange entries, mounts, the lock.

use std::os::unix::fs::symlink;
use std::path::Path;

use pullplug::env::run_now;
use pullplug::fs::real::{RealFs, Resolve};
use pullplug::fs::{ErrorKind, FileKind, Fs, FsExt, OpenMode, Result};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mknodat, open, openat2};

/// A root with a file and a directory outside of it, and links to both inside.
fn trap() -> (tempfile::TempDir, [RealFs; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let outside = RealFs::open_root(dir.path()).unwrap();
    run_now(async {
        outside.create_dir_all("root/d").await.unwrap();
        outside.create_dir_all("secret/sub").await.unwrap();
        outside.open("secret/file", OpenMode::CreateNew).await.unwrap();
    });
    let root = dir.path().join("root");
    symlink("../secret", root.join("dir-link")).unwrap();
    symlink(dir.path().join("secret/file"), root.join("file-link")).unwrap();
    symlink("d", root.join("inner-link")).unwrap();
    let both = [Resolve::Openat2, Resolve::Walk].map(|r| RealFs::open_root_with(&root, r).unwrap());
    (dir, both)
}

fn assert_link<T: std::fmt::Debug>(result: Result<T>) {
    let e = result.unwrap_err();
    assert_eq!(e.kind, ErrorKind::InvalidInput, "{e}");
    assert!(e.to_string().contains("symbolic link"), "{e}");
}

#[test]
fn openat2_is_used_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let works = openat2(rustix::fs::CWD, ".", OFlags::PATH, Mode::empty(), ResolveFlags::BENEATH).is_ok();
    let resolve = RealFs::open_root(dir.path()).unwrap().resolve();
    assert_eq!(resolve == Resolve::Openat2, works);
}

#[test]
fn no_call_follows_a_link() {
    let (_dir, both) = trap();
    for fs in both {
        run_now(async {
            for at in ["dir-link", "inner-link"] {
                let below = format!("{at}/file");
                for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew] {
                    assert_link(fs.open(&below, mode).await);
                }
                assert_link(fs.read_dir(at).await);
                assert_link(fs.read_dir(&format!("{at}/sub")).await);
                assert_link(fs.sync_dir(at).await);
                assert_link(fs.metadata(at).await);
                assert_link(fs.metadata(&below).await);
                assert_link(fs.mkdir(&format!("{at}/new")).await);
                assert_link(fs.rmdir(&format!("{at}/sub")).await);
                assert_link(fs.unlink(&below).await);
                assert_link(fs.rename(&below, "stolen").await);
                assert_link(fs.rename("d", &below).await);
                assert_link(fs.hard_link(&below, "stolen").await);
            }
            for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create] {
                assert_link(fs.open("file-link", mode).await);
            }
            assert_eq!(fs.open("file-link", OpenMode::CreateNew).await.unwrap_err().kind, ErrorKind::AlreadyExists);
            assert_link(fs.metadata("file-link").await);
            assert_link(fs.hard_link("file-link", "stolen").await);
            assert_link(fs.read_dir("").await);
        });
    }
}

#[test]
fn names_of_links_can_be_replaced_and_removed_and_the_targets_stay() {
    let (dir, [fs, _]) = trap();
    run_now(async {
        fs.open("f", OpenMode::CreateNew).await.unwrap();
        fs.rename("f", "file-link").await.unwrap();
        assert_eq!(fs.metadata("file-link").await.unwrap().kind, FileKind::File);
        fs.unlink("dir-link").await.unwrap();
        let outside = RealFs::open_root(dir.path()).unwrap();
        let left = outside.read_dir("secret").await.unwrap();
        assert_eq!(left.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["file", "sub"]);
    });
}

#[test]
fn strange_entries_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::open_root(dir.path()).unwrap();
    run_now(async {
        fs.mkdir("d").await.unwrap();
        let root = open(dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        mknodat(&root, "d/pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
        for mode in [OpenMode::Read, OpenMode::Write] {
            let e = fs.open("d/pipe", mode).await.unwrap_err();
            assert!(e.detail.contains("neither a file nor a directory"), "{e}");
        }
        let e = fs.read_dir("d").await.unwrap_err();
        assert_eq!((e.kind, e.path.as_str()), (ErrorKind::InvalidInput, "d/pipe"));
    });
}

#[test]
fn other_file_systems_are_refused() {
    for resolve in [Resolve::Openat2, Resolve::Walk] {
        let fs = RealFs::open_root_with(Path::new("/"), resolve).unwrap();
        let e = run_now(fs.read_dir("proc/self")).unwrap_err();
        assert!(e.detail.contains("another file system"), "{e}");
    }
}

#[test]
fn a_root_is_locked_once_until_released() {
    let dir = tempfile::tempdir().unwrap();
    let (server, command) = (RealFs::open_root(dir.path()).unwrap(), RealFs::open_root(dir.path()).unwrap());
    let lock = server.lock_root().unwrap();
    assert_eq!(command.lock_root().unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(server.clone().lock_root().unwrap_err().kind, ErrorKind::Denied);
    drop(lock);
    command.lock_root().unwrap();
    assert_eq!(run_now(server.read_dir("")).unwrap(), []);
}

#[test]
fn a_root_must_be_a_directory_that_exists() {
    let dir = tempfile::tempdir().unwrap();
    let gone = RealFs::open_root(&dir.path().join("gone")).unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
    assert!(gone.path.ends_with("/gone"));
    run_now(RealFs::open_root(dir.path()).unwrap().open("f", OpenMode::CreateNew)).unwrap();
    assert_eq!(RealFs::open_root(&dir.path().join("f")).unwrap_err().kind, ErrorKind::NotADirectory);
}
