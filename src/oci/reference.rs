//! What a manifest is asked for by: a tag or a digest.

use std::fmt;
use std::str::FromStr;

use super::{Digest, InvalidWord, Tag};

/// A tag or a digest. A colon tells them apart: every digest has one, no tag does.
///
/// ```
/// use pullplug::oci::Reference;
/// assert!(matches!("v1".parse()?, Reference::Tag(tag) if tag.as_str() == "v1"));
/// assert!("sha256:12".parse::<Reference>().is_err());
/// # Ok::<(), pullplug::oci::InvalidWord>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

impl Reference {
    /// The tag, if it is one.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            Self::Digest(_) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidWord;
    fn from_str(s: &str) -> Result<Self, InvalidWord> {
        if s.contains(':') { s.parse().map(Self::Digest) } else { s.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => fmt::Display::fmt(tag, f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_back_as_they_were_written() {
        let digest = Digest::sha256(b"x").to_string();
        for text in ["v1", "_a.b-c", "latest", &digest] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.tag().is_none(), text.contains(':'));
        }
        for bad in ["", ".x", "a/b", "a b", "sha256:", "sha256:xyz", "v1:2", &digest.to_uppercase()] {
            let error = bad.parse::<Reference>().unwrap_err();
            assert_eq!(error.what, if bad.contains(':') { "digest" } else { "tag" }, "{bad}");
        }
    }
}
