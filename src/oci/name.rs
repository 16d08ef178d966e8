//! Repository names, tags and upload identifiers, checked once and then carried as types.

use std::fmt;
use std::str::FromStr;

use super::InvalidWord;

/// Longest repository name, in bytes (distribution's limit).
pub const MAX_NAME_BYTES: usize = 255;
/// Longest tag, in bytes (distribution-spec).
pub const MAX_TAG_BYTES: usize = 128;
/// Longest upload identifier, in bytes.
pub const MAX_UPLOAD_ID_BYTES: usize = 64;

macro_rules! word {
    ($(#[$doc:meta])* $ty:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $ty(String);

        impl $ty {
            /// The word itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

word! {
    /// A repository name such as `library/debian`.
    Name
}
word! {
    /// A tag such as `v1`.
    Tag
}
word! {
    /// The identifier of an upload session: a lower-case UUID where we make it, anything harmless in a path where
    /// another registry did.
    UploadId
}

impl FromStr for Name {
    type Err = InvalidWord;
    fn from_str(s: &str) -> Result<Self, InvalidWord> {
        let bad = |why| Err(InvalidWord::new("repository name", s, why));
        if s.is_empty() || s.len() > MAX_NAME_BYTES {
            return bad("it must have 1 to 255 characters");
        }
        if s.split('/').all(is_path_component) {
            Ok(Self(s.to_owned()))
        } else {
            bad("each part must be lower-case letters and digits, joined by '.', '_', '__' or dashes")
        }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| alnum(*b));
    ends(bytes.first())
        && ends(bytes.last())
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|sep| matches!(sep, "" | "." | "_" | "__") || sep.bytes().all(|b| b == b'-'))
}

impl FromStr for Tag {
    type Err = InvalidWord;
    fn from_str(s: &str) -> Result<Self, InvalidWord> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let ok = s.len() <= MAX_TAG_BYTES
            && s.bytes().next().is_some_and(word)
            && s.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if ok {
            Ok(Self(s.to_owned()))
        } else {
            Err(InvalidWord::new(
                "tag",
                s,
                "it must be 1 to 128 letters, digits, '_', '.' or '-', not led by '.' or '-'",
            ))
        }
    }
}

impl FromStr for UploadId {
    type Err = InvalidWord;
    fn from_str(s: &str) -> Result<Self, InvalidWord> {
        let ok = !s.is_empty()
            && s.len() <= MAX_UPLOAD_ID_BYTES
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if ok {
            Ok(Self(s.to_owned()))
        } else {
            Err(InvalidWord::new("upload id", s, "it must be 1 to 64 letters, digits, '-' or '_'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar_of_names() {
        for good in ["a", "lib/app", "a.b/c_d/e__f/g---h", "0/1"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "A", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a/../b", "_uploads", "a\u{e4}"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("v1.0-rc_2".parse::<Tag>().is_ok() && "_x".parse::<Tag>().is_ok());
        for bad in ["", ".a", "-a", "a/b", &"a".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        assert!("../x".parse::<UploadId>().is_err());
    }
}
