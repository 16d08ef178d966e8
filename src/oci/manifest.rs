//! Manifests: which of the four accepted kinds some bytes are, and what they reference.
//!
//! Accepted are the OCI image manifest and index and Docker's schema-2 manifest and list, of any artifact type.
//! Parsing is strict where two registries could otherwise read one document in two ways: the `mediaType` field must
//! agree with the Content-Type, an index has no layers and an image manifest no children, no key comes twice.
//! The bytes are the identity of a manifest; nothing here writes them anew.

use std::collections::BTreeMap;
use std::fmt;

use oci_spec::image as oci;
use oci_spec::image::MediaType;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Digest, InvalidWord};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of a Docker schema-2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// All accepted media types.
pub const MEDIA_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Deepest nesting of a manifest: parsers have limits of their own, and not the same ones.
pub const MAX_DEPTH: usize = 100;

/// Docker's layers that are fetched from elsewhere.
const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// How the media types of Docker's retired signed manifests begin.
const SCHEMA_1_PREFIX: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Why bytes are no manifest that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Nested deeper than any reader should have to follow.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not JSON, or JSON that lacks a required field or has one of a wrong kind.
    #[error("it is not the JSON of a manifest: {0}")]
    Unparsable(String),
    /// Docker's schema 1.
    #[error("it is a Docker schema 1 manifest, which is not supported; push it again with a client made after 2016")]
    Schema1,
    /// Another `schemaVersion` than 2.
    #[error("its schemaVersion is {0}, it must be 2")]
    SchemaVersion(u64),
    /// A media type that is none of [`MEDIA_TYPES`].
    #[error("its media type {0:?} is not supported; OCI and Docker schema 2 manifests and indexes are")]
    UnknownMediaType(String),
    /// The Content-Type and the `mediaType` field contradict each other.
    #[error("it was sent as {given:?} but its mediaType field says {field:?}")]
    Contradiction {
        /// What the sender said.
        given: String,
        /// What the document says.
        field: String,
    },
    /// A document that could be read as two kinds, or as none.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// A descriptor with a digest of a wrong form.
    #[error("its {place}: {why}")]
    BadDigest {
        /// Where it stands, such as `layers[2]`.
        place: String,
        /// The rule that it breaks.
        why: InvalidWord,
    },
    /// A size beyond what any store counts.
    #[error("its {place} has a size of {size} bytes, more than 2^63 - 1")]
    BadSize {
        /// Where it stands, such as `layers[2]`.
        place: String,
        /// The size in bytes.
        size: u64,
    },
}

/// A reference to content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The content's digest.
    pub digest: Digest,
    /// Its length in bytes, as the reference claims.
    pub size: u64,
    /// Its media type, as the reference claims.
    pub media_type: String,
    /// Whether it is to be found among the manifests of a repository (else among its blobs).
    pub is_manifest: bool,
}

/// The two shapes; Docker's kinds have the same fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Image,
    Index,
}

/// A parsed manifest.
///
/// ```
/// use pullplug::oci::manifest::{Manifest, OCI_INDEX};
/// let index = Manifest::parse(br#"{"schemaVersion":2,"manifests":[]}"#, None)?;
/// assert_eq!(index.media_type(), OCI_INDEX);
/// # Ok::<(), pullplug::oci::manifest::ManifestError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    media_type: &'static str,
    artifact_type: Option<String>,
    subject: Option<Digest>,
    annotations: BTreeMap<String, String>,
    references: Vec<Descriptor>,
    optional: Vec<Descriptor>,
}

/// Just enough of a document to tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Manifest {
    /// Parses a manifest that was sent with the Content-Type `media_type` (parameters such as a charset are ignored);
    /// without one the `mediaType` field decides, else the fields that are there.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        let media_type = Outline::of(bytes)?.media_type(media_type)?;
        match shape(media_type) {
            Shape::Image => Self::of_image(media_type, &json(bytes)?),
            Shape::Index => Self::of_index(media_type, &json(bytes)?),
        }
    }

    fn of_image(media_type: &'static str, image: &oci::ImageManifest) -> Result<Self, ManifestError> {
        let mut references = vec![descriptor("config".into(), image.config(), false)?];
        let mut optional = Vec::new();
        for (i, layer) in image.layers().iter().enumerate() {
            let list = if is_foreign(layer) { &mut optional } else { &mut references };
            list.push(descriptor(format!("layers[{i}]"), layer, false)?);
        }
        let artifact_type = image.artifact_type().as_ref().unwrap_or(image.config().media_type());
        Ok(Self {
            media_type,
            artifact_type: Some(artifact_type.to_string()).filter(|t| !t.is_empty()),
            subject: subject(image.subject().as_ref())?,
            annotations: image.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            references,
            optional,
        })
    }

    fn of_index(media_type: &'static str, index: &oci::ImageIndex) -> Result<Self, ManifestError> {
        let mut references = Vec::new();
        for (i, child) in index.manifests().iter().enumerate() {
            // Build caches are indexes whose children are layers.
            let is_manifest = MEDIA_TYPES.contains(&child.media_type().as_ref());
            references.push(descriptor(format!("manifests[{i}]"), child, is_manifest)?);
        }
        Ok(Self {
            media_type,
            artifact_type: index.artifact_type().as_ref().map(MediaType::to_string).filter(|t| !t.is_empty()),
            subject: subject(index.subject().as_ref())?,
            annotations: index.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            references,
            optional: Vec::new(),
        })
    }

    /// The media type: one of [`MEDIA_TYPES`].
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// Whether it is an OCI index or a Docker list.
    pub fn is_index(&self) -> bool {
        shape(self.media_type) == Shape::Index
    }

    /// Everything that must be there for the manifest to be complete: config, then layers; or an index's children.
    /// Layers to be fetched from elsewhere are not in it, and neither is the subject, which may come later or never.
    pub fn references(&self) -> &[Descriptor] {
        &self.references
    }

    /// Layers to be fetched from elsewhere (with URLs, of a media type that says so). A repository may hold them; a
    /// collection then spares them.
    pub fn optional_references(&self) -> &[Descriptor] {
        &self.optional
    }

    /// The manifest that this one is about.
    pub fn subject(&self) -> Option<Digest> {
        self.subject
    }

    /// The artifact type: the field of that name, else for an image manifest its config's media type.
    pub fn artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref()
    }

    /// The annotations, sorted by key.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }
}

/// The media type of a manifest that was stored, of whose references nobody wants to know.
///
/// Errors: it is none, by the rules of [`Manifest::parse`] for a whole document; descriptors are not looked at.
pub fn media_type(bytes: &[u8]) -> Result<&'static str, ManifestError> {
    Outline::of(bytes)?.media_type(None)
}

impl Outline {
    fn of(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.is_empty() {
            return Err(ManifestError::Unparsable("it is empty".to_owned()));
        }
        if depth(bytes) > MAX_DEPTH {
            return Err(ManifestError::TooDeep);
        }
        json(bytes)
    }

    /// The media type of the whole, from what the sender says, what the document says, and its fields.
    fn media_type(&self, given: Option<&str>) -> Result<&'static str, ManifestError> {
        let given = given.map(|g| g.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let field = self.media_type.as_deref().filter(|f| !f.is_empty());
        let schema_1 = |t: &str| t.starts_with(SCHEMA_1_PREFIX);
        if self.schema_version == Some(1)
            || self.fs_layers.is_some()
            || given.as_deref().is_some_and(schema_1)
            || field.is_some_and(schema_1)
        {
            return Err(ManifestError::Schema1);
        }
        if let (Some(given), Some(field)) = (&given, field)
            && given != field
        {
            return Err(ManifestError::Contradiction { given: cut(given), field: cut(field) });
        }
        let named = match given.as_deref().or(field) {
            Some(name) => known(name).ok_or_else(|| ManifestError::UnknownMediaType(cut(name)))?,
            None if self.manifests.is_some() => OCI_INDEX,
            None if self.config.is_some() || self.layers.is_some() => OCI_MANIFEST,
            None => return Err(ManifestError::Ambiguous("it has neither a config and layers nor manifests")),
        };
        // Stored bytes carry no Content-Type: a Docker manifest without the field would come back as another kind.
        if matches!(named, DOCKER_MANIFEST | DOCKER_LIST) && field.is_none() {
            return Err(ManifestError::Ambiguous("a Docker manifest must name its type in the mediaType field"));
        }
        match self.schema_version {
            Some(2) => {}
            Some(other) => return Err(ManifestError::SchemaVersion(other)),
            None => return Err(ManifestError::Unparsable("missing field `schemaVersion`".to_owned())),
        }
        self.check_shape(shape(named))?;
        Ok(named)
    }

    /// A document with the fields of both kinds means different things to different readers (CVE-2021-41190).
    fn check_shape(&self, shape: Shape) -> Result<(), ManifestError> {
        let why = match shape {
            Shape::Image if self.manifests.is_some() => "it is an image manifest, yet has a manifests field",
            Shape::Index if self.config.is_some() => "it is an index, yet has a config field",
            Shape::Index if self.layers.is_some() => "it is an index, yet has a layers field",
            _ => return Ok(()),
        };
        Err(ManifestError::Ambiguous(why))
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.digest, self.size)
    }
}

/// How deep a document is nested, counted without a parser: right for all JSON, and never too low for what begins as
/// JSON.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|e| ManifestError::Unparsable(cut(&e.to_string())))
}

fn known(name: &str) -> Option<&'static str> {
    MEDIA_TYPES.into_iter().find(|known| *known == name)
}

fn shape(media_type: &str) -> Shape {
    if matches!(media_type, OCI_INDEX | DOCKER_LIST) { Shape::Index } else { Shape::Image }
}

/// What a stranger wrote, short enough for a message.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

fn is_foreign(layer: &oci::Descriptor) -> bool {
    let elsewhere = match layer.media_type() {
        MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => true,
        other => other.as_ref() == DOCKER_FOREIGN_LAYER,
    };
    elsewhere && layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

/// The descriptor that stands at `place`, checked.
pub(super) fn descriptor(
    place: String,
    from: &oci::Descriptor,
    is_manifest: bool,
) -> Result<Descriptor, ManifestError> {
    let digest = match from.digest().as_ref().parse() {
        Ok(digest) => digest,
        Err(why) => return Err(ManifestError::BadDigest { place, why }),
    };
    if from.size() > i64::MAX as u64 {
        return Err(ManifestError::BadSize { place, size: from.size() });
    }
    Ok(Descriptor { digest, size: from.size(), media_type: from.media_type().to_string(), is_manifest })
}

fn subject(from: Option<&oci::Descriptor>) -> Result<Option<Digest>, ManifestError> {
    from.map(|s| descriptor("subject".into(), s, true).map(|d| d.digest)).transpose()
}

#[cfg(test)]
mod tests;
