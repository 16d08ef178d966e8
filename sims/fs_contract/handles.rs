//! Cases: opening, and what an open handle stays bound to.

use bytes::Bytes;
use pullplug::fs::{ErrorKind, File, FileExt, Fs, FsExt, OpenMode};

use super::{get, kind, list, put};

const ALL: [OpenMode; 4] = [OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew];

pub async fn open_modes(fs: &impl Fs) {
    assert_eq!(kind(fs.open("f", OpenMode::Read).await), ErrorKind::NotFound);
    assert_eq!(kind(fs.open("f", OpenMode::Write).await), ErrorKind::NotFound);
    assert_eq!(list(fs, "").await, [""; 0]);
    fs.open("f", OpenMode::CreateNew).await.unwrap().write_full(0, Bytes::from_static(b"abc")).await.unwrap();
    for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create] {
        assert_eq!(fs.open("f", mode).await.unwrap().read_at(0, 9).await.unwrap(), "abc", "{mode:?} keeps the bytes");
    }
    assert_eq!(fs.open("g", OpenMode::Create).await.unwrap().metadata().await.unwrap().len, 0);
}

pub async fn open_of_directories(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    for mode in ALL {
        let expected = if mode == OpenMode::CreateNew { ErrorKind::AlreadyExists } else { ErrorKind::IsADirectory };
        assert_eq!(kind(fs.open("d", mode).await), expected, "{mode:?}");
    }
}

pub async fn create_new_takes_no_taken_name(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    assert_eq!(kind(fs.open("f", OpenMode::CreateNew).await), ErrorKind::AlreadyExists);
    assert_eq!(get(fs, "f").await, "abc");
    fs.unlink("f").await.unwrap();
    fs.open("f", OpenMode::CreateNew).await.unwrap();
    assert_eq!(get(fs, "f").await, "");
}

pub async fn a_handle_follows_its_file(fs: &impl Fs) {
    fs.create_dir_all("d/e").await.unwrap();
    put(fs, "d/f", b"abc").await;
    let f = fs.open("d/f", OpenMode::Write).await.unwrap();
    let ino = f.metadata().await.unwrap().ino;
    fs.rename("d/f", "d/e/g").await.unwrap();
    put(fs, "d/f", b"another").await;
    f.write_full(3, Bytes::from_static(b"def")).await.unwrap();
    fs.rename("d", "moved").await.unwrap();
    f.write_full(6, Bytes::from_static(b"ghi")).await.unwrap();
    assert_eq!(get(fs, "moved/e/g").await, "abcdefghi");
    assert_eq!(get(fs, "moved/f").await, "another");
    assert_eq!(fs.metadata("moved/e/g").await.unwrap().ino, ino);
    assert_eq!(f.metadata().await.unwrap(), fs.metadata("moved/e/g").await.unwrap());
}

pub async fn an_unlinked_file_lives_in_its_handle(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    let f = fs.open("f", OpenMode::Write).await.unwrap();
    let again = fs.open("f", OpenMode::Read).await.unwrap();
    fs.unlink("f").await.unwrap();
    assert_eq!(kind(fs.metadata("f").await), ErrorKind::NotFound);
    drop(again);
    f.write_full(3, Bytes::from_static(b"def")).await.unwrap();
    f.sync_all().await.unwrap();
    let m = f.metadata().await.unwrap();
    assert_eq!(m.len, 6);
    f.set_len(4).await.unwrap();
    assert_eq!(f.read_at(0, 9).await.unwrap(), "abcd");
}

pub async fn a_replaced_file_lives_in_its_handle(fs: &impl Fs) {
    put(fs, "old", b"old").await;
    put(fs, "new", b"new").await;
    let old = fs.open("old", OpenMode::Write).await.unwrap();
    fs.rename("new", "old").await.unwrap();
    assert_eq!(old.read_at(0, 9).await.unwrap(), "old");
    old.write_full(0, Bytes::from_static(b"xyz")).await.unwrap();
    assert_eq!(get(fs, "old").await, "new");
    assert_eq!(old.read_at(0, 9).await.unwrap(), "xyz");
}

pub async fn a_handle_outlives_its_directory(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "d/f", b"abc").await;
    let f = fs.open("d/f", OpenMode::Write).await.unwrap();
    fs.remove_tree("d").await.unwrap();
    f.write_full(3, Bytes::from_static(b"d")).await.unwrap();
    assert_eq!(f.read_at(0, 9).await.unwrap(), "abcd");
    assert_eq!(list(fs, "").await, [""; 0]);
}

pub async fn handles_share_their_file(fs: &impl Fs) {
    let a = fs.open("f", OpenMode::Create).await.unwrap();
    let b = fs.open("f", OpenMode::Create).await.unwrap();
    let reader = fs.open("f", OpenMode::Read).await.unwrap();
    a.write_full(0, Bytes::from_static(b"aaaa")).await.unwrap();
    b.write_full(2, Bytes::from_static(b"bbbb")).await.unwrap();
    assert_eq!(reader.read_at(0, 9).await.unwrap(), "aabbbb");
    a.set_len(3).await.unwrap();
    assert_eq!(b.metadata().await.unwrap().len, 3);
    assert_eq!(reader.read_at(0, 9).await.unwrap(), "aab");
}

pub async fn readers_cannot_write(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    let f = fs.open("f", OpenMode::Read).await.unwrap();
    for data in [Bytes::from_static(b"x"), Bytes::new()] {
        assert_eq!(kind(f.write_at(0, data.clone()).await), ErrorKind::InvalidInput);
        assert_eq!(kind(f.write_at(u64::MAX, data).await), ErrorKind::InvalidInput);
    }
    for len in [0, 3, 10, u64::MAX] {
        assert_eq!(kind(f.set_len(len).await), ErrorKind::InvalidInput);
    }
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn syncs(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "d/f", b"abc").await;
    for mode in [OpenMode::Write, OpenMode::Read] {
        let f = fs.open("d/f", mode).await.unwrap();
        f.sync_data().await.unwrap();
        f.sync_all().await.unwrap();
    }
    fs.sync_dir("d").await.unwrap();
    fs.sync_dir("").await.unwrap();
    fs.sync_fs().await.unwrap();
    assert_eq!(kind(fs.sync_dir("d/f").await), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.sync_dir("d/f/x").await), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.sync_dir("gone").await), ErrorKind::NotFound);
    assert_eq!(get(fs, "d/f").await, "abc");
}

pub async fn a_freed_name_is_a_new_file(fs: &impl Fs) {
    put(fs, "f", b"first").await;
    let first = fs.open("f", OpenMode::Read).await.unwrap();
    fs.unlink("f").await.unwrap();
    put(fs, "f", b"second").await;
    assert_eq!(first.read_at(0, 9).await.unwrap(), "first");
    assert_ne!(first.metadata().await.unwrap().ino, fs.metadata("f").await.unwrap().ino);
}
