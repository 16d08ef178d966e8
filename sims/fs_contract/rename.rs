//! Cases: rename, the call on which every commit rests.

use pullplug::fs::{ErrorKind, Fs, FsExt};

use super::{get, inode, kind, list, put};

pub async fn replaces_a_file(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "new", b"new").await;
    put(fs, "d/old", b"old").await;
    let ino = inode(fs, "new").await;
    fs.rename("new", "d/old").await.unwrap();
    assert_eq!(inode(fs, "d/old").await, ino);
    assert_eq!(get(fs, "d/old").await, "new");
    assert_eq!((list(fs, "").await, list(fs, "d").await), (vec!["d".to_owned()], vec!["old".to_owned()]));
}

pub async fn replaces_an_empty_directory(fs: &impl Fs) {
    fs.create_dir_all("a").await.unwrap();
    put(fs, "a/f", b"abc").await;
    fs.create_dir_all("b/empty").await.unwrap();
    let ino = inode(fs, "a").await;
    fs.rename("a", "b/empty").await.unwrap();
    assert_eq!(inode(fs, "b/empty").await, ino);
    assert_eq!(get(fs, "b/empty/f").await, "abc");
    assert_eq!(list(fs, "").await, ["b"]);
}

pub async fn moves_a_tree(fs: &impl Fs) {
    fs.create_dir_all("a/b/c").await.unwrap();
    put(fs, "a/b/c/f", b"abc").await;
    // A name that begins like another one is no part of it.
    fs.create_dir_all("ab").await.unwrap();
    fs.rename("a", "ab/a").await.unwrap();
    assert_eq!(get(fs, "ab/a/b/c/f").await, "abc");
    fs.rename("ab/a/b", "b").await.unwrap();
    assert_eq!(get(fs, "b/c/f").await, "abc");
    assert_eq!(list(fs, "ab/a").await, [""; 0]);
    assert_eq!(kind(fs.metadata("a").await), ErrorKind::NotFound);
}

pub async fn two_names_of_one_inode_stay(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "a", b"abc").await;
    fs.hard_link("a", "d/b").await.unwrap();
    fs.rename("a", "d/b").await.unwrap();
    assert_eq!((list(fs, "").await, list(fs, "d").await), (vec!["a".into(), "d".into()], vec!["b".to_owned()]));
}

pub async fn onto_itself_does_nothing(fs: &impl Fs) {
    fs.create_dir_all("d/e").await.unwrap();
    put(fs, "f", b"abc").await;
    for path in ["f", "d", "d/e"] {
        fs.rename(path, path).await.unwrap();
    }
    assert_eq!((list(fs, "").await, list(fs, "d").await), (vec!["d".into(), "f".into()], vec!["e".to_owned()]));
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn kinds_do_not_mix(fs: &impl Fs) {
    fs.create_dir_all("full/e").await.unwrap();
    fs.mkdir("empty").await.unwrap();
    put(fs, "f", b"abc").await;
    assert_eq!(kind(fs.rename("f", "empty").await), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.rename("f", "full").await), ErrorKind::IsADirectory);
    assert_eq!(kind(fs.rename("empty", "f").await), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.rename("full", "f").await), ErrorKind::NotADirectory);
    assert_eq!(list(fs, "").await, ["empty", "f", "full"]);
}

pub async fn never_over_entries(fs: &impl Fs) {
    fs.create_dir_all("a/e").await.unwrap();
    fs.mkdir("b").await.unwrap();
    put(fs, "b/f", b"abc").await;
    assert_eq!(kind(fs.rename("a", "b").await), ErrorKind::NotEmpty);
    assert_eq!(kind(fs.rename("b", "a").await), ErrorKind::NotEmpty);
    fs.unlink("b/f").await.unwrap();
    fs.rename("a", "b").await.unwrap();
    assert_eq!(list(fs, "b").await, ["e"]);
}

pub async fn never_into_itself(fs: &impl Fs) {
    fs.create_dir_all("a/b/c").await.unwrap();
    put(fs, "a/b/f", b"abc").await;
    for to in ["a/x", "a/b", "a/b/x", "a/b/c", "a/b/c/x", "a/b/f"] {
        assert_eq!(kind(fs.rename("a", to).await), ErrorKind::InvalidInput, "{to}");
    }
    assert_eq!(list(fs, "a/b").await, ["c", "f"]);
}

pub async fn never_over_its_own_parent(fs: &impl Fs) {
    fs.create_dir_all("a/b/c").await.unwrap();
    put(fs, "a/b/f", b"abc").await;
    for (from, to) in [("a/b", "a"), ("a/b/c", "a"), ("a/b/c", "a/b"), ("a/b/f", "a"), ("a/b/f", "a/b")] {
        assert_eq!(kind(fs.rename(from, to).await), ErrorKind::NotEmpty, "{from} -> {to}");
    }
    assert_eq!(list(fs, "a/b").await, ["c", "f"]);
}

pub async fn missing_names(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "f", b"abc").await;
    for to in ["x", "f", "d", "gone", "d/x"] {
        assert_eq!(kind(fs.rename("gone", to).await), ErrorKind::NotFound, "{to}");
    }
    assert_eq!(kind(fs.rename("f", "gone/x").await), ErrorKind::NotFound);
    assert_eq!(kind(fs.rename("d", "gone/x").await), ErrorKind::NotFound);
    assert_eq!(list(fs, "").await, ["d", "f"]);
}

pub async fn errors_in_order(fs: &impl Fs) {
    fs.create_dir_all("d/full/e").await.unwrap();
    put(fs, "f", b"abc").await;
    for (from, to, expected) in [
        // The ways to both come first, that of `from` before that of `to`.
        ("gone/x", "f/x", ErrorKind::NotFound),
        ("f/x", "gone/x", ErrorKind::NotADirectory),
        ("gone", "f/x", ErrorKind::NotADirectory),
        ("gone", "gone/x", ErrorKind::NotFound),
        ("f", "f/x", ErrorKind::NotADirectory),
        // A missing source comes before what the target is.
        ("d/gone", "d", ErrorKind::NotFound),
        ("d/gone", "f", ErrorKind::NotFound),
        // As long as the ways lead somewhere, above and below come before everything else about the target.
        ("d", "d/gone/x", ErrorKind::NotFound),
        ("d", "d/full/e", ErrorKind::InvalidInput),
        ("d/full", "d", ErrorKind::NotEmpty),
    ] {
        assert_eq!(kind(fs.rename(from, to).await), expected, "{from} -> {to}");
    }
}
