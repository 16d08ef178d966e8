//! Cases: what stands in a file.

use bytes::Bytes;
use pullplug::fs::{ErrorKind, File, FileExt, Fs, OpenMode};
use pullplug::oci::Digest;

use super::{get, kind, put};

pub async fn reads_end_with_the_file(fs: &impl Fs) {
    put(fs, "f", b"0123456789").await;
    let f = fs.open("f", OpenMode::Read).await.unwrap();
    for (offset, len, expected) in
        [(0, 10, "0123456789"), (0, 3, "012"), (7, 3, "789"), (7, 100, "789"), (10, 1, ""), (4000, 5, ""), (3, 0, "")]
    {
        assert_eq!(f.read_at(offset, len).await.unwrap(), expected, "{len} bytes at {offset}");
    }
    assert_eq!(f.read_at(8, usize::MAX).await.unwrap(), "89");
}

pub async fn gaps_are_zeros(fs: &impl Fs) {
    let f = fs.open("f", OpenMode::Create).await.unwrap();
    f.write_full(10_000, Bytes::from_static(b"end")).await.unwrap();
    f.write_full(600, Bytes::from_static(b"mid")).await.unwrap();
    let mut expected = vec![0; 10_003];
    expected[10_000..].copy_from_slice(b"end");
    expected[600..603].copy_from_slice(b"mid");
    assert_eq!(get(fs, "f").await, expected);
}

pub async fn truncation_down_and_up(fs: &impl Fs) {
    put(fs, "f", b"0123456789").await;
    let f = fs.open("f", OpenMode::Write).await.unwrap();
    f.set_len(4).await.unwrap();
    assert_eq!(get(fs, "f").await, "0123");
    assert_eq!(f.read_at(4, 6).await.unwrap(), "");
    f.set_len(6).await.unwrap();
    assert_eq!(get(fs, "f").await, "0123\0\0");
    f.set_len(6).await.unwrap();
    f.set_len(0).await.unwrap();
    assert_eq!(f.metadata().await.unwrap().len, 0);
    f.set_len(5_000_000).await.unwrap();
    assert_eq!(f.metadata().await.unwrap().len, 5_000_000);
    assert_eq!(f.read_full(4_999_990, 100).await.unwrap(), [0; 10][..]);
}

pub async fn regrown_bytes_are_zeros(fs: &impl Fs) {
    let f = fs.open("f", OpenMode::Create).await.unwrap();
    // Within a sector, at its edge, and at the edge of a block.
    for cut in [0, 1, 511, 512, 513, 4095, 4096, 4097] {
        f.write_full(0, vec![0xff; 9000].into()).await.unwrap();
        f.set_len(cut).await.unwrap();
        f.write_full(8999, Bytes::from_static(b"!")).await.unwrap();
        let mut expected = vec![0; 9000];
        expected[..cut as usize].fill(0xff);
        expected[8999] = b'!';
        assert_eq!(f.read_full(0, 10_000).await.unwrap(), expected, "cut at {cut}");
    }
}

pub async fn writes_replace_in_place(fs: &impl Fs) {
    let f = fs.open("f", OpenMode::Create).await.unwrap();
    let mut expected: Vec<u8> = Vec::new();
    for (i, (offset, len)) in
        [(0, 5000), (510, 4), (0, 1), (511, 1), (512, 512), (4094, 2000), (6000, 700), (100, 6500)]
            .into_iter()
            .enumerate()
    {
        let data = vec![i as u8 + 1; len];
        expected.resize(expected.len().max(offset + len), 0);
        expected[offset..offset + len].copy_from_slice(&data);
        f.write_full(offset as u64, data.into()).await.unwrap();
        assert_eq!(f.read_full(0, 10_000).await.unwrap(), expected, "write {i}");
    }
}

pub async fn writes_of_nothing_change_nothing(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    let f = fs.open("f", OpenMode::Write).await.unwrap();
    for offset in [0, 3, 1000, u64::MAX] {
        assert_eq!(f.write_at(offset, Bytes::new()).await, Ok(0));
    }
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn large_files(fs: &impl Fs) {
    let data = Bytes::from((0..9 << 20).map(|i: u32| (i >> 7) as u8).collect::<Vec<_>>());
    let f = fs.open("f", OpenMode::Create).await.unwrap();
    f.write_full(3, data.clone()).await.unwrap();
    assert_eq!(f.metadata().await.unwrap().len, 3 + data.len() as u64);
    assert_eq!(f.read_full(3, data.len()).await.unwrap(), data);
}

pub async fn offsets_have_a_limit(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    let f = fs.open("f", OpenMode::Write).await.unwrap();
    let byte = Bytes::from_static(b"x");
    for offset in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        assert_eq!(kind(f.write_at(offset, byte.clone()).await), ErrorKind::InvalidInput, "{offset}");
        assert_eq!(f.read_at(offset, 1).await.unwrap(), "", "{offset}");
        assert_eq!(f.read_at(offset - 10, 100).await.unwrap(), "", "{offset}");
    }
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn lengths_have_a_limit(fs: &impl Fs) {
    put(fs, "f", b"abc").await;
    let f = fs.open("f", OpenMode::Write).await.unwrap();
    for len in [i64::MAX as u64 + 1, u64::MAX] {
        assert_eq!(kind(f.set_len(len).await), ErrorKind::InvalidInput);
    }
    assert_eq!(get(fs, "f").await, "abc");
}

pub async fn digests_are_of_all_bytes(fs: &impl Fs) {
    let f = fs.open("f", OpenMode::Create).await.unwrap();
    for len in [0, 1, 512, 600_000] {
        f.write_full(0, Bytes::from(vec![7; len])).await.unwrap();
        let right = Digest::sha256(&vec![7; len]);
        assert!(f.has_sha256(right.as_bytes()).await.unwrap(), "{len}");
        assert_eq!(f.sha256().await.unwrap(), right.as_bytes(), "{len}");
        assert!(!f.has_sha256(Digest::sha256(&vec![7; len + 1]).as_bytes()).await.unwrap(), "{len}");
    }
}
