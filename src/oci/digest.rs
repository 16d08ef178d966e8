//! Content digests: sha256 and sha512, in the canonical `ALGORITHM:HEX` form.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use sha2::{Sha256, Sha512};

use super::InvalidWord;

/// A registered digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: the canonical one, under which content is stored.
    Sha256,
    /// SHA-512: accepted, stored as an alias of the canonical digest.
    Sha512,
}

impl Algorithm {
    /// The name used in digests and paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|a| a.name() == name)
    }

    /// Length of a digest in bytes.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of some content.
///
/// ```
/// use pullplug::oci::{Algorithm, Digest};
/// let digest = Digest::of(Algorithm::Sha256, b"");
/// assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first `algorithm.len_bytes()` count, the rest is zero.
    bytes: [u8; 64],
}

impl Digest {
    /// Hashes `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The sha256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The digest with these bytes; `None` if there are not exactly as many as `algorithm` has.
    pub fn from_bytes(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 64];
        bytes[..algorithm.len_bytes()].copy_from_slice(raw.get(..algorithm.len_bytes())?);
        (raw.len() == algorithm.len_bytes()).then_some(Self { algorithm, bytes })
    }

    /// The digest `ALGORITHM:HEX` whose two halves stand apart, as in paths.
    pub fn from_parts(algorithm: &str, hex: &str) -> Result<Self, InvalidWord> {
        let bad = |why| InvalidWord::new("digest", &format!("{algorithm}:{hex}"), why);
        let algorithm = Algorithm::from_name(algorithm).ok_or_else(|| bad("the algorithm is not sha256 or sha512"))?;
        let mut bytes = [0; 64];
        let raw = &mut bytes[..algorithm.len_bytes()];
        if hex.len() != 2 * raw.len() || HEXLOWER.decode_mut(hex.as_bytes(), raw).is_err() {
            return Err(bad(if hex.bytes().any(|b| b.is_ascii_uppercase()) {
                "its hexadecimal digits must be lower case"
            } else {
                "it has a wrong number of hexadecimal digits or another character"
            }));
        }
        Ok(Self { algorithm, bytes })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(self.as_bytes())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len_bytes()]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 128];
        let hex = &mut hex[..2 * self.algorithm.len_bytes()];
        HEXLOWER.encode_mut(self.as_bytes(), hex);
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidWord;
    fn from_str(s: &str) -> Result<Self, InvalidWord> {
        let (algorithm, hex) = s.split_once(':').ok_or_else(|| InvalidWord::new("digest", s, "it has no colon"))?;
        Self::from_parts(algorithm, hex)
    }
}

/// An incremental hash.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256 in progress.
    Sha256(Sha256),
    /// SHA-512 in progress.
    Sha512(Sha512),
}

impl Hasher {
    /// An empty hash.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        let (algorithm, raw) = match self {
            Self::Sha256(h) => (Algorithm::Sha256, h.finalize().to_vec()),
            Self::Sha512(h) => (Algorithm::Sha512, h.finalize().to_vec()),
        };
        let mut bytes = [0; 64];
        bytes[..raw.len()].copy_from_slice(&raw);
        Digest { algorithm, bytes }
    }
}
