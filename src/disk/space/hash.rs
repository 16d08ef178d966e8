//! The hashes by which states are told apart: of names, sectors, contents and trees.
//!
//! Not cryptographic: nobody chooses contents to collide. A sector is hashed once, when the space is laid out; hashes of
//! contents and trees are put together from those.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::disk::effect::SECTOR_BYTES;
use crate::disk::tree::Content;

/// Folds two words into one: the finaliser of splitmix64 over their sum and product.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(b ^ 0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

pub(crate) fn mix_wide(name: u64, child: u128) -> u128 {
    let (low, high) = (child as u64, (child >> 64) as u64);
    let a = mix(mix(name, low), high);
    let b = mix(mix(low ^ 0x5851_F42D_4C95_7F2D, high), name);
    u128::from(a) << 64 | u128::from(b)
}

/// Goes on with the hash of a list, by its next word.
pub(super) fn roll(list: u128, next: u64) -> u128 {
    let hash = (list ^ u128::from(next)).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    hash ^ hash >> 64
}

/// What a number adds to the hash of a set.
pub(crate) fn weight(number: u64) -> u128 {
    static WEIGHTS: LazyLock<Vec<u128>> = LazyLock::new(|| (0..4096).map(|number| mix_wide(number, 1)).collect());
    WEIGHTS.get(number as usize).copied().unwrap_or_else(|| mix_wide(number, 1))
}

pub(super) fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| mix(h, u64::from(b)))
}

/// The hash of a sector; 0 for zeros, so that a hole and written zeros are the same to a reader.
pub(super) fn sector_hash(bytes: &[u8]) -> u64 {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let mut hash = end as u64;
    for chunk in bytes[..end].chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    if end == 0 { 0 } else { hash.max(1) }
}

/// How many bytes of a sector lie before the end of a file that has `len`.
pub(super) fn visible(sector: u64, len: u64) -> usize {
    len.saturating_sub(sector * SECTOR_BYTES).min(SECTOR_BYTES) as usize
}

/// The hash of the first `keep` bytes of a sector whose whole hash is known.
pub(super) fn clipped_hash(bytes: &Bytes, whole: u64, keep: usize) -> u64 {
    if keep < bytes.len() { sector_hash(&bytes[..keep]) } else { whole }
}

/// What a sector adds to the hash of its file: nothing where it is zeros.
pub(super) fn mix_sector(sector: u64, hash: u64) -> u64 {
    if hash == 0 { 0 } else { mix(sector, hash) }
}

pub(super) fn len_hash(len: u64) -> u64 {
    mix(0x1234_5678_9ABC_DEF1, len)
}

pub(super) fn content_hash(content: &Content) -> u64 {
    content
        .sectors
        .range(..content.len.div_ceil(SECTOR_BYTES))
        .map(|(s, b)| mix_sector(*s, sector_hash(&b[..b.len().min(visible(*s, content.len))])))
        .fold(len_hash(content.len), u64::wrapping_add)
}
