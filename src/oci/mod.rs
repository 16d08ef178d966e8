//! Words without I/O: digests, names, references, manifests.

pub mod digest;
pub mod layout;
pub mod manifest;
pub mod name;
pub mod reference;
mod text;

pub use digest::{Algorithm, Digest, Hasher};
pub use manifest::{Descriptor, Manifest, ManifestError};
pub use name::{Name, Tag, UploadId};
pub use reference::Reference;

/// A word that does not follow the distribution-spec's grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {why}")]
pub struct InvalidWord {
    /// What the word was to be ("digest", "repository name", …).
    pub what: &'static str,
    /// The word, cut to 200 characters.
    pub value: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl InvalidWord {
    pub(crate) fn new(what: &'static str, value: &str, why: &'static str) -> Self {
        Self { what, value: value.chars().take(200).collect(), why }
    }
}
