//! The words as strings in serialized documents: written as they are displayed, parsed and checked when read.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::{Digest, Name, Tag};

macro_rules! as_text {
    ($($ty:ty),*) => {$(
        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Digest, Name, Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_checked_when_read() {
        let digest = Digest::sha256(b"x");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert_eq!(serde_json::from_str::<Name>("\"lib/app\"").unwrap().as_str(), "lib/app");
        assert!(serde_json::from_str::<Name>("\"../app\"").is_err());
        assert!(serde_json::from_str::<Tag>("\".x\"").is_err());
    }
}
