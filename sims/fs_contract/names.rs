//! Cases: inode, directories, listings, and what a path may be.

use bytes::Bytes;
use pullplug::fs::{DirEntry, ErrorKind, FileExt, FileKind, Fs, FsExt, MAX_NAME_BYTES, MAX_PATH_BYTES, OpenMode};

use super::{get, inode, kind, list, put};

pub async fn links_share_an_inode(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "a", b"abc").await;
    fs.hard_link("a", "d/b").await.unwrap();
    assert_eq!(inode(fs, "a").await, inode(fs, "d/b").await);
    fs.open("d/b", OpenMode::Write).await.unwrap().write_full(3, Bytes::from_static(b"def")).await.unwrap();
    assert_eq!(get(fs, "a").await, "abcdef");
    fs.hard_link("d/b", "c").await.unwrap();
    fs.unlink("a").await.unwrap();
    put(fs, "x", b"new").await;
    fs.rename("x", "d/b").await.unwrap();
    assert_eq!((get(fs, "c").await, get(fs, "d/b").await), ("abcdef".into(), "new".into()));
}

pub async fn link_errors(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    fs.create_dir_all("d/e").await.unwrap();
    for (existing, new, expected) in [
        ("gone", "x", ErrorKind::NotFound),
        ("f", "f", ErrorKind::AlreadyExists),
        ("f", "d", ErrorKind::AlreadyExists),
        ("f", "gone/x", ErrorKind::NotFound),
        ("f", "f/x", ErrorKind::NotADirectory),
        ("f/x", "x", ErrorKind::NotADirectory),
        ("d", "x", ErrorKind::Denied),
        // Which of two errors it is:
        ("gone", "f", ErrorKind::NotFound),
        ("gone", "f/x", ErrorKind::NotFound),
        ("f/x", "gone/x", ErrorKind::NotADirectory),
        ("d", "f", ErrorKind::AlreadyExists),
        ("d", "d", ErrorKind::AlreadyExists),
        ("d", "gone/x", ErrorKind::NotFound),
        ("d", "d/e/x", ErrorKind::Denied),
    ] {
        assert_eq!(kind(fs.hard_link(existing, new).await), expected, "{existing} -> {new}");
    }
    assert_eq!(list(fs, "").await, ["d", "f"]);
}

pub async fn mkdir_errors(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "f", b"").await;
    for (path, expected) in [
        ("d", ErrorKind::AlreadyExists),
        ("f", ErrorKind::AlreadyExists),
        ("gone/x", ErrorKind::NotFound),
        ("f/x", ErrorKind::NotADirectory),
    ] {
        assert_eq!(kind(fs.mkdir(path).await), expected, "{path}");
    }
    assert_eq!(list(fs, "").await, ["d", "f"]);
}

pub async fn rmdir_errors(fs: &impl Fs) {
    fs.create_dir_all("d/e").await.unwrap();
    put(fs, "f", b"").await;
    for (path, expected) in [
        ("d", ErrorKind::NotEmpty),
        ("f", ErrorKind::NotADirectory),
        ("gone", ErrorKind::NotFound),
        ("gone/x", ErrorKind::NotFound),
        ("f/x", ErrorKind::NotADirectory),
    ] {
        assert_eq!(kind(fs.rmdir(path).await), expected, "{path}");
    }
    fs.rmdir("d/e").await.unwrap();
    put(fs, "d/g", b"").await;
    assert_eq!(kind(fs.rmdir("d").await), ErrorKind::NotEmpty);
    fs.unlink("d/g").await.unwrap();
    fs.rmdir("d").await.unwrap();
    assert_eq!(list(fs, "").await, ["f"]);
}

pub async fn unlink_errors(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "f", b"").await;
    for (path, expected) in [
        ("d", ErrorKind::IsADirectory),
        ("gone", ErrorKind::NotFound),
        ("gone/x", ErrorKind::NotFound),
        ("f/x", ErrorKind::NotADirectory),
    ] {
        assert_eq!(kind(fs.unlink(path).await), expected, "{path}");
    }
    fs.unlink("f").await.unwrap();
    assert_eq!(kind(fs.unlink("f").await), ErrorKind::NotFound);
}

pub async fn listings_are_sorted(fs: &impl Fs) {
    let mut names: Vec<String> =
        ["b", "a", "B", "aa", "a-b", "a.b", "é", "_", "10", "9", "~"].map(str::to_owned).into();
    names.extend((0..300).map(|i| format!("n{}", i * 7919 % 300)));
    fs.mkdir("d").await.unwrap();
    for name in &names {
        let path = format!("d/{name}");
        if name.len() == 1 { fs.mkdir(&path).await.unwrap() } else { put(fs, &path, b"").await }
    }
    names.sort();
    let entry = |name: &String| DirEntry {
        name: name.clone(),
        kind: if name.len() == 1 { FileKind::Dir } else { FileKind::File },
    };
    assert_eq!(fs.read_dir("d").await.unwrap(), names.iter().map(entry).collect::<Vec<_>>());
}

pub async fn listing_errors(fs: &impl Fs) {
    put(fs, "f", b"").await;
    assert_eq!(kind(fs.read_dir("f").await), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.read_dir("f/x").await), ErrorKind::NotADirectory);
    assert_eq!(kind(fs.read_dir("gone").await), ErrorKind::NotFound);
    fs.mkdir("d").await.unwrap();
    assert_eq!(list(fs, "d").await, [""; 0]);
    fs.rmdir("d").await.unwrap();
    assert_eq!(kind(fs.read_dir("d").await), ErrorKind::NotFound);
}

pub async fn metadata_tells_files_and_directories(fs: &impl Fs) {
    fs.mkdir("d").await.unwrap();
    put(fs, "d/f", b"abc").await;
    let (d, f) = (fs.metadata("d").await.unwrap(), fs.metadata("d/f").await.unwrap());
    assert_eq!((d.kind, d.len), (FileKind::Dir, 0));
    assert_eq!((f.kind, f.len), (FileKind::File, 3));
    assert_ne!(d.ino, f.ino);
    assert_eq!(fs.metadata("d").await.unwrap(), d);
    assert_eq!(kind(fs.metadata("gone").await), ErrorKind::NotFound);
}

pub async fn the_way_to_a_name(fs: &impl Fs) {
    put(fs, "f", b"").await;
    for (path, expected) in [
        ("gone/x", ErrorKind::NotFound),
        ("gone/x/y/z", ErrorKind::NotFound),
        ("f/x", ErrorKind::NotADirectory),
        ("f/x/y/z", ErrorKind::NotADirectory),
    ] {
        for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew] {
            assert_eq!(kind(fs.open(path, mode).await), expected, "{path}");
        }
        assert_eq!(kind(fs.mkdir(path).await), expected, "{path}");
        assert_eq!(kind(fs.rmdir(path).await), expected, "{path}");
        assert_eq!(kind(fs.unlink(path).await), expected, "{path}");
        assert_eq!(kind(fs.metadata(path).await), expected, "{path}");
        assert_eq!(kind(fs.read_dir(path).await), expected, "{path}");
        assert_eq!(kind(fs.sync_dir(path).await), expected, "{path}");
        assert_eq!(kind(fs.rename(path, "x").await), expected, "{path}");
        assert_eq!(kind(fs.rename("f", path).await), expected, "{path}");
        assert_eq!(kind(fs.hard_link(path, "x").await), expected, "{path}");
        assert_eq!(kind(fs.hard_link("f", path).await), expected, "{path}");
    }
    assert_eq!(list(fs, "").await, ["f"]);
}

pub async fn the_root(fs: &impl Fs) {
    for filled in [false, true] {
        if filled {
            fs.mkdir("d").await.unwrap();
            put(fs, "f", b"").await;
        }
        assert_eq!(kind(fs.open("", OpenMode::Read).await), ErrorKind::IsADirectory);
        assert_eq!(kind(fs.open("", OpenMode::Write).await), ErrorKind::IsADirectory);
        assert_eq!(kind(fs.open("", OpenMode::Create).await), ErrorKind::IsADirectory);
        assert_eq!(kind(fs.open("", OpenMode::CreateNew).await), ErrorKind::AlreadyExists);
        assert_eq!(kind(fs.mkdir("").await), ErrorKind::AlreadyExists);
        assert_eq!(kind(fs.rmdir("").await), ErrorKind::InvalidInput);
        assert_eq!(kind(fs.unlink("").await), ErrorKind::IsADirectory);
        assert_eq!(kind(fs.hard_link("", "x").await), ErrorKind::Denied);
        assert_eq!(kind(fs.rename("", "").await), ErrorKind::InvalidInput);
        assert_eq!(kind(fs.rename("", "x").await), ErrorKind::InvalidInput);
        assert_eq!(kind(fs.rename("gone", "").await), ErrorKind::InvalidInput);
        assert_eq!(fs.metadata("").await.unwrap().kind, FileKind::Dir);
    }
    assert_eq!(list(fs, "").await, ["d", "f"]);
    assert_eq!(kind(fs.hard_link("f", "").await), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.hard_link("", "f").await), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.rename("f", "").await), ErrorKind::InvalidInput);
    assert_eq!(kind(fs.rename("d", "").await), ErrorKind::InvalidInput);
    assert_eq!(kind(fs.rename("", "d/x").await), ErrorKind::InvalidInput);
    assert_eq!(kind(fs.rename("", "gone/x").await), ErrorKind::NotFound);
    assert_eq!(kind(fs.rename("f/x", "").await), ErrorKind::NotADirectory);
}

pub async fn bad_paths(fs: &impl Fs) {
    fs.create_dir_all("d/e").await.unwrap();
    put(fs, "f", b"abc").await;
    let long_name = "n".repeat(MAX_NAME_BYTES + 1);
    let long_path = "d/".repeat(MAX_PATH_BYTES / 2) + "dd";
    let mut bad = vec!["..", ".", "/", "/f", "f/", "d//e", "d/../f", "d/./e", "../f", "d/..", "f\0", "d/\0/e", "\0"];
    bad.extend(["gone/../f", "f/../f", &long_name, &long_path]);
    for path in bad {
        for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew] {
            assert_eq!(kind(fs.open(path, mode).await), ErrorKind::InvalidInput, "{path:?}");
        }
        assert_eq!(kind(fs.mkdir(path).await), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(kind(fs.rmdir(path).await), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(kind(fs.unlink(path).await), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(kind(fs.metadata(path).await), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(kind(fs.read_dir(path).await), ErrorKind::InvalidInput, "{path:?}");
        assert_eq!(kind(fs.sync_dir(path).await), ErrorKind::InvalidInput, "{path:?}");
        for other in ["f", "x", "gone/x", "f/x"] {
            assert_eq!(kind(fs.rename(path, other).await), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(kind(fs.rename(other, path).await), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(kind(fs.hard_link(path, other).await), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(kind(fs.hard_link(other, path).await), ErrorKind::InvalidInput, "{path:?}");
        }
    }
    assert_eq!(list(fs, "").await, ["d", "f"]);
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn odd_names(fs: &impl Fs) {
    let mut names = ["...", "..a", ".a", " ", "a b", "a\nb", "-rf", "*", "\\", "ü", "日本", "a:b", "%2e%2e"];
    for name in names {
        fs.mkdir(name).await.unwrap();
        put(fs, &format!("{name}/{name}"), b"abc").await;
        assert_eq!(get(fs, &format!("{name}/{name}")).await, "abc");
    }
    names.sort_unstable();
    assert_eq!(list(fs, "").await, names);
}

pub async fn long_names(fs: &impl Fs) {
    let name = "n".repeat(MAX_NAME_BYTES);
    put(fs, &name, b"abc").await;
    fs.rename(&name, "short").await.unwrap();
    fs.rename("short", &name).await.unwrap();
    assert_eq!(list(fs, "").await, [name.as_str()]);
    // As deep as a path can go: 16 names of 255 bytes, counting the separators.
    let mut at = String::new();
    for _ in 0..15 {
        at = if at.is_empty() { "d".repeat(MAX_NAME_BYTES) } else { format!("{at}/{name}") };
        fs.mkdir(&at).await.unwrap();
    }
    let deepest = format!("{at}/{}", "f".repeat(MAX_PATH_BYTES - at.len() - 1));
    put(fs, &deepest, b"deep").await;
    assert_eq!(get(fs, &deepest).await, "deep");
    fs.sync_dir(&at).await.unwrap();
}
