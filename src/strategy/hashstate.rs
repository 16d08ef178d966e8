//! A sha256 in progress, in the 108 bytes that distribution keeps in `hashstates/sha256/OFFSET`.
//!
//! The form is the one that Go's `crypto/sha256` marshals, all numbers big-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 4 | the magic `sha\x03` |
//! | 32 | the chaining value, eight 32-bit words |
//! | 64 | the input that does not fill a block yet, then zeros |
//! | 8 | how many bytes were hashed |
//!
//! [`encode`] and [`decode`] translate between it and the state of the `sha2` crate, so that an upload that one
//! registry began can go on under the other. Only sha256 is kept in this way: it is the canonical algorithm.
//! [`decode`] proves the form, not the hash: the chaining value of other bytes cannot be told from the right one.

use sha2::Sha256;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

/// Length of the form, in bytes.
pub const LEN_BYTES: usize = 108;

const MAGIC: &[u8] = b"sha\x03";
const BLOCK_BYTES: usize = 64;
const WORDS: std::ops::Range<usize> = 4..36;
const BUFFER: std::ops::Range<usize> = 36..100;
const LENGTH: std::ops::Range<usize> = 100..108;

/// Why some bytes are no hash state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There are not exactly [`LEN_BYTES`].
    #[error("a hash state has 108 bytes, this has {0}")]
    Length(usize),
    /// They do not begin with the magic of sha256.
    #[error("it does not begin with the magic of a sha256 state")]
    Magic,
    /// There is input behind the place where the length says that it ends.
    #[error("its length and its buffered input do not agree")]
    Buffer,
}

/// How many bytes `hasher` has hashed.
pub fn hashed_bytes(hasher: &Sha256) -> u64 {
    let state = hasher.serialize();
    let blocks = state[32..40].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    blocks * BLOCK_BYTES as u64 + u64::from(state[40])
}

/// The form of `hasher`.
pub fn encode(hasher: &Sha256) -> [u8; LEN_BYTES] {
    // sha2's own form: eight words, the number of whole blocks, the fill of the buffer (one byte), the buffer; all
    // little-endian. The buffer is never full, hence 63 bytes are enough for it.
    let state = hasher.serialize();
    let mut out = [0; LEN_BYTES];
    out[..4].copy_from_slice(MAGIC);
    for (to, from) in out[WORDS].chunks_exact_mut(4).zip(state.chunks_exact(4)) {
        to.copy_from_slice(from);
        to.reverse();
    }
    let buffered = &state[41..];
    out[BUFFER][..buffered.len()].copy_from_slice(buffered);
    out[LENGTH].copy_from_slice(&hashed_bytes(hasher).to_be_bytes());
    out
}

/// The hasher that `bytes` stands for, and how many bytes it has hashed.
pub fn decode(bytes: &[u8]) -> Result<(Sha256, u64), Invalid> {
    let bytes: &[u8; LEN_BYTES] = bytes.try_into().map_err(|_| Invalid::Length(bytes.len()))?;
    if !bytes.starts_with(MAGIC) {
        return Err(Invalid::Magic);
    }
    let len_bytes = bytes[LENGTH].iter().fold(0u64, |len, byte| len << 8 | u64::from(*byte));
    let buffered = (len_bytes % BLOCK_BYTES as u64) as usize;
    let mut state = SerializedState::<Sha256>::default();
    for (to, from) in state[..32].chunks_exact_mut(4).zip(bytes[WORDS].chunks_exact(4)) {
        to.copy_from_slice(from);
        to.reverse();
    }
    state[32..40].copy_from_slice(&(len_bytes / BLOCK_BYTES as u64).to_le_bytes());
    state[40] = buffered as u8;
    let (input, rest) = bytes[BUFFER].split_at(buffered);
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Invalid::Buffer);
    }
    state[41..][..buffered].copy_from_slice(input);
    let hasher = Sha256::deserialize(&state).map_err(|_| Invalid::Buffer)?;
    Ok((hasher, len_bytes))
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    fn input(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    fn state_at(len: usize) -> [u8; LEN_BYTES] {
        let mut hasher = Sha256::new();
        hasher.update(input(len));
        encode(&hasher)
    }

    #[test]
    fn known_states() {
        // Nothing hashed yet: the initial value of FIPS 180-4, 5.3.3.
        let initial = "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19";
        let empty = format!("73686103{initial}{:0>128}{:016x}", "", 0);
        assert_eq!(hex::encode(state_at(0)), empty);
        // "abc" still stands in the buffer.
        let mut hasher = Sha256::new();
        hasher.update(b"abc");
        assert_eq!(hex::encode(encode(&hasher)), format!("73686103{initial}{:0<128}{:016x}", "616263", 3));
        // One block whose chaining value FIPS 180-4 gives: "abc" with its padding.
        let mut block = [0; 64];
        block[..4].copy_from_slice(b"abc\x80");
        block[63] = 24;
        let mut hasher = Sha256::new();
        hasher.update(block);
        let value = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(encode(&hasher)), format!("73686103{value}{:0>128}{:016x}", "", 64));
        // Written by distribution 2.8.2 in the course of an upload of 1000 times "x".
        let real = [
            (400, "cc26a2a93c0f6c4b522b4bd8ec7158d726477e20ae420674d3e86a9c7d902dc1"),
            (1000, "5c280751246c79307eb920543f17afbc4ca8082e8b1d7878017af9058c681473"),
        ];
        for (len, value) in real {
            let mut hasher = Sha256::new();
            hasher.update(vec![b'x'; len]);
            let written = format!("73686103{value}{:0<128}{len:016x}", "78".repeat(len % 64));
            assert_eq!(hex::encode(encode(&hasher)), written);
        }
    }

    #[test]
    fn a_restored_hash_goes_on_to_the_same_digest() {
        let whole = input(20_000);
        for len in [0, 1, 63, 64, 65, 127, 128, 10_000] {
            let (mut hasher, hashed) = decode(&state_at(len)).unwrap();
            assert_eq!(hashed, len as u64);
            assert_eq!(hashed_bytes(&hasher), len as u64);
            assert_eq!(encode(&hasher), state_at(len));
            hasher.update(&whole[len..]);
            assert_eq!(hasher.finalize(), Sha256::digest(&whole), "{len}");
        }
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = state_at(65);
        assert_eq!(decode(&[]).unwrap_err(), Invalid::Length(0));
        assert_eq!(decode(&good[..107]).unwrap_err(), Invalid::Length(107));
        assert_eq!(decode(&[&good[..], &[0]].concat()).unwrap_err(), Invalid::Length(109));
        assert_eq!(decode(&[0; LEN_BYTES]).unwrap_err(), Invalid::Magic);
        assert_eq!(decode(&[b's'; LEN_BYTES]).unwrap_err(), Invalid::Magic);
        let mut of_sha224 = good;
        of_sha224[3] = 2;
        assert_eq!(decode(&of_sha224).unwrap_err(), Invalid::Magic);
        // 65 bytes: one in the buffer. A length of 64 leaves none, and a second byte would be one too many.
        let mut shorter = good;
        shorter[107] = 64;
        assert_eq!(decode(&shorter).unwrap_err(), Invalid::Buffer);
        let mut fuller = good;
        fuller[37] = 1;
        assert_eq!(decode(&fuller).unwrap_err(), Invalid::Buffer);
    }
}
