//! The OCI image layout, the form in which images lie in a directory: its file names, its marker and its index.
//!
//! Words alone: who reads the files is [`crate::workload::image`].

use oci_spec::image::{self as oci, ANNOTATION_REF_NAME};
use serde::Deserialize;

use super::manifest::{self, Descriptor, MEDIA_TYPES, ManifestError};
use super::{Digest, Tag};

/// The file that marks a directory as an image layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// The file that lists the images of a layout.
pub const INDEX_FILE: &str = "index.json";
/// The one version of the layout that there is.
pub const LAYOUT_VERSION: &str = "1.0.0";

/// Why a file of a layout cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Cut off, or something else.
    #[error("{file} is not the JSON of an image layout: {detail}")]
    Unparsable {
        /// Which file.
        file: &'static str,
        /// What the parser says.
        detail: String,
    },
    /// A version that is not known.
    #[error("oci-layout has the imageLayoutVersion {0:?}, it must be {LAYOUT_VERSION:?}")]
    Version(String),
    /// An index without entries.
    #[error("index.json lists no image")]
    Empty,
    /// An entry that is no manifest.
    #[error("index.json lists {digest} of media type {media_type:?}, which is no manifest or index that is supported")]
    NotAManifest {
        /// The entry's digest.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// An entry with a malformed descriptor.
    #[error("index.json is not valid: {0}")]
    Entry(#[from] ManifestError),
}

/// One image of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its manifest or index.
    pub descriptor: Descriptor,
    /// What it is called: the annotation `org.opencontainers.image.ref.name`.
    pub ref_name: Option<String>,
}

impl IndexEntry {
    /// The tag in the entry's name: the name itself (`v1`), or where a tool wrote a full reference
    /// (`docker.io/library/debian:12`) its tag.
    pub fn tag(&self) -> Option<Tag> {
        let name = self.ref_name.as_deref()?;
        let last = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
        last.parse().ok()
    }
}

/// The path of a blob in a layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Checks the content of [`LAYOUT_FILE`].
pub fn check_layout_file(bytes: &[u8]) -> Result<(), LayoutError> {
    let layout: oci::OciLayout = json(LAYOUT_FILE, bytes)?;
    match layout.image_layout_version().as_str() {
        LAYOUT_VERSION => Ok(()),
        other => Err(LayoutError::Version(other.chars().take(40).collect())),
    }
}

/// The entries of [`INDEX_FILE`], at least one, in its order.
///
/// ```
/// use pullplug::oci::layout::{LayoutError, parse_index};
/// assert_eq!(parse_index(br#"{"schemaVersion":2,"manifests":[]}"#), Err(LayoutError::Empty));
/// ```
pub fn parse_index(bytes: &[u8]) -> Result<Vec<IndexEntry>, LayoutError> {
    let Index { schema_version, manifests } = json(INDEX_FILE, bytes)?;
    if schema_version != 2 {
        return Err(ManifestError::SchemaVersion(schema_version).into());
    }
    let manifests = manifests.filter(|m| !m.is_empty()).ok_or(LayoutError::Empty)?;
    let mut entries = Vec::with_capacity(manifests.len());
    for (i, from) in manifests.iter().enumerate() {
        let descriptor = manifest::descriptor(format!("manifests[{i}]"), from, true)?;
        if !MEDIA_TYPES.contains(&descriptor.media_type.as_str()) {
            let Descriptor { digest, media_type, .. } = descriptor;
            return Err(LayoutError::NotAManifest { digest, media_type: media_type.chars().take(200).collect() });
        }
        let ref_name = from.annotations().as_ref().and_then(|a| a.get(ANNOTATION_REF_NAME)).cloned();
        entries.push(IndexEntry { descriptor, ref_name });
    }
    Ok(entries)
}

/// As [`oci::ImageIndex`], but tools write `null` for an empty list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    manifests: Option<Vec<oci::Descriptor>>,
}

fn json<'a, T: Deserialize<'a>>(file: &'static str, bytes: &'a [u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes)
        .map_err(|e| LayoutError::Unparsable { file, detail: e.to_string().chars().take(200).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(media_type: &str, ref_name: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media_type}","digest":"{D}","size":9,
            "annotations":{{"org.opencontainers.image.ref.name":"{ref_name}"}}}}]}}"#
        )
    }

    #[test]
    fn marker() {
        assert_eq!(check_layout_file(br#"{"imageLayoutVersion":"1.0.0"}"#), Ok(()));
        let other = check_layout_file(br#"{"imageLayoutVersion":"2.0.0"}"#);
        assert_eq!(other, Err(LayoutError::Version("2.0.0".into())));
        for bad in [&b""[..], b"{}", b"1.0.0", &[0; 30], br#"{"imageLayoutVersion":1}"#] {
            assert!(matches!(check_layout_file(bad), Err(LayoutError::Unparsable { file: LAYOUT_FILE, .. })));
        }
    }

    #[test]
    fn entries_and_their_names() {
        for (name, tag) in [
            ("v1", Some("v1")),
            ("docker.io/library/debian:12", Some("12")),
            ("localhost:5000/app", None),
            ("", None),
            ("no tag", None),
        ] {
            let entries = parse_index(index(manifest::OCI_MANIFEST, name).as_bytes()).unwrap();
            assert_eq!(entries[0].tag().as_ref().map(Tag::as_str), tag, "{name}");
            assert_eq!(entries[0].descriptor.digest.to_string(), D);
        }
        assert_eq!(blob_path(&D.parse().unwrap()), format!("blobs/sha256/{}", &D[7..]));
    }

    #[test]
    fn indexes_that_are_of_no_use() {
        let whole = index(manifest::OCI_MANIFEST, "v1");
        for n in 0..whole.len() {
            let cut = parse_index(&whole.as_bytes()[..n]);
            assert!(matches!(cut, Err(LayoutError::Unparsable { file: INDEX_FILE, .. })), "{n}");
        }
        assert_eq!(parse_index(br#"{"schemaVersion":2,"manifests":null}"#), Err(LayoutError::Empty));
        let layer = parse_index(index("application/vnd.oci.image.layer.v1.tar", "v1").as_bytes());
        assert!(matches!(layer, Err(LayoutError::NotAManifest { .. })));
        let digest = parse_index(whole.replace("sha256:", "sha384:").as_bytes());
        assert!(matches!(digest, Err(LayoutError::Unparsable { .. } | LayoutError::Entry(_))));
        let version = parse_index(whole.replace("\"schemaVersion\":2", "\"schemaVersion\":1").as_bytes());
        assert_eq!(version, Err(LayoutError::Entry(ManifestError::SchemaVersion(1))));
    }
}
