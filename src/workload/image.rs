//! Images to push, whole in memory: made from a seed, or read from an OCI image layout and checked on the way in.
//!
//! What an [`Image`] holds is complete and correct: every part has the digest that it is listed under, and whatever
//! a manifest requires is there. So whatever goes wrong later is not the input's fault.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;

use crate::env::choice::Seeded;
use crate::env::limits::{MAX_IMAGE_BLOB_BYTES, MAX_IMAGE_BYTES, MAX_LAYOUT_FILE_BYTES, MAX_MANIFEST_BYTES};
use crate::env::run_now;
use crate::fs::real::RealFs;
use crate::fs::{ErrorKind, FileKind, Fs, FsError, FsExt};
use crate::oci::layout::{self, INDEX_FILE, LAYOUT_FILE, LayoutError};
use crate::oci::manifest::{Descriptor, Manifest, ManifestError, OCI_MANIFEST};
use crate::oci::{Digest, Tag};

/// The layers of the push that was recorded on real registries: one, of 40,000 bytes.
pub const RECORDED_LAYER_BYTES: [usize; 1] = [40_000];
/// The tag of an image that has no name of its own.
pub const DEFAULT_TAG: &str = "latest";

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// One piece of content. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the bytes hash to.
    pub digest: Digest,
    /// The media type that its manifest gives it.
    pub media_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

/// A manifest that is to be reachable by its own right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its tag; none where a layout lists several images without a name.
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
}

/// Images, ready to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    blobs: Vec<Part>,
    manifests: Vec<Part>,
    roots: Vec<Root>,
}

/// What [`Image::load`] takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Of one layer or config, in bytes.
    pub blob_bytes: u64,
    /// Of everything together, in bytes.
    pub total_bytes: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self { blob_bytes: MAX_IMAGE_BLOB_BYTES, total_bytes: MAX_IMAGE_BYTES }
    }
}

/// Why a directory is no image that can be pushed. Paths are relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No marker file.
    #[error("it has no file {LAYOUT_FILE}, so it is no OCI image layout; skopeo copy SOURCE oci:DIR writes one")]
    NotALayout,
    /// No index.
    #[error("it has no file {INDEX_FILE}; the layout is incomplete")]
    NoIndex,
    /// The marker or the index is not valid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Content that is referenced and not there.
    #[error("{path} is missing, but {wanted_by} references it; the layout is incomplete")]
    Missing {
        /// Where it should be.
        path: String,
        /// What references it.
        wanted_by: String,
    },
    /// Content of another length than its descriptor says.
    #[error("{path} has {found_bytes} bytes, but {wanted_by} says {wanted_bytes}")]
    WrongSize {
        /// The file.
        path: String,
        /// Its length.
        found_bytes: u64,
        /// What the descriptor says.
        wanted_bytes: u64,
        /// Where the descriptor stands.
        wanted_by: String,
    },
    /// Content of another digest than its name.
    #[error("{path} is damaged: its bytes have the digest {found}")]
    WrongDigest {
        /// The file.
        path: String,
        /// What the bytes hash to.
        found: Digest,
    },
    /// One file too large to be simulated.
    #[error("{path} has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its length.
        size_bytes: u64,
        /// What it may have.
        limit_bytes: u64,
    },
    /// All files together too large to be simulated.
    #[error("the image has more than {limit_bytes} bytes in all, which is the limit")]
    TotalTooLarge {
        /// What they may have.
        limit_bytes: u64,
    },
    /// A manifest that is not accepted.
    #[error("{path}: the manifest is not valid: {why}")]
    Manifest {
        /// The file.
        path: String,
        /// Why not.
        why: ManifestError,
    },
    /// Two images of one name.
    #[error("{INDEX_FILE} lists two images with the tag {0}; give one of them another name")]
    SameTag(Tag),
    /// The directory cannot be read, or holds what does not belong there, such as a symbolic link.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Image {
    /// An image with layers of these lengths in bytes, the same for the same seed on every machine and for ever.
    /// The layers are noise (no archive could be unpacked from them), the config and the OCI manifest are valid.
    pub fn generated(seed: u64, tag: Tag, layer_bytes: &[usize]) -> Self {
        let layer = |(i, len): (usize, &usize)| {
            let mut bytes = vec![0; *len];
            Seeded::stream(seed, &format!("layer {i}")).fill(&mut bytes);
            bytes.into()
        };
        Self::of_layers(&format!("seed {seed}"), tag, layer_bytes.iter().enumerate().map(layer))
    }

    /// An image of these layers. What keeps its config apart from that of others is its author, whose name must need no
    /// escaping in JSON.
    pub fn of_layers(author: &str, tag: Tag, layers: impl Iterator<Item = Bytes>) -> Self {
        let layers: Vec<Part> = layers.map(|bytes| Part::new(LAYER_TYPE, bytes)).collect();
        let list = |of: &dyn Fn(&Part) -> String| layers.iter().map(of).collect::<Vec<_>>().join(",");
        let diff_ids = list(&|l| format!(r#""{}""#, l.digest));
        let config = format!(
            r#"{{"author":"{author}","architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
        );
        let config = Part::new(CONFIG_TYPE, config.into());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{}]}}"#,
            config.descriptor_json(),
            list(&Part::descriptor_json)
        );
        let manifest = Part::new(OCI_MANIFEST, manifest.into());
        let root = Root { tag: Some(tag), digest: manifest.digest };
        let mut seen = BTreeSet::new();
        let mut blobs = layers;
        blobs.push(config);
        blobs.retain(|part| seen.insert(part.digest));
        Self { blobs, manifests: vec![manifest], roots: vec![root] }
    }

    /// Reads every image of the layout in the directory `dir`, and verifies the length and the digest of everything
    /// that can be reached from its index. Tags come from the index; an image without a name is `latest`, if that is
    /// still free.
    pub fn load(dir: &Path, limits: ImageLimits) -> Result<Self, ImageError> {
        run_now(Self::load_from(&RealFs::open_root(dir)?, limits))
    }

    /// As [`load`](Self::load), from the root of any file system.
    pub async fn load_from<F: Fs>(fs: &F, limits: ImageLimits) -> Result<Self, ImageError> {
        let marker = small_file(fs, LAYOUT_FILE).await?.ok_or(ImageError::NotALayout)?;
        layout::check_layout_file(&marker)?;
        let index = small_file(fs, INDEX_FILE).await?.ok_or(ImageError::NoIndex)?;
        let entries = layout::parse_index(&index)?;
        let mut tags = BTreeSet::new();
        for tag in entries.iter().filter_map(layout::IndexEntry::tag) {
            if let Some(twice) = tags.replace(tag) {
                return Err(ImageError::SameTag(twice));
            }
        }
        let mut loader = Loader { fs, limits, total_bytes: 0, seen: BTreeSet::new(), image: Self::empty() };
        for entry in entries {
            let unnamed = || DEFAULT_TAG.parse().ok().filter(|tag: &Tag| tags.insert(tag.clone()));
            let root = Root { tag: entry.tag().or_else(unnamed), digest: entry.descriptor.digest };
            loader.manifest(entry.descriptor).await?;
            loader.image.roots.push(root);
        }
        Ok(loader.image)
    }

    fn empty() -> Self {
        Self { blobs: Vec::new(), manifests: Vec::new(), roots: Vec::new() }
    }

    /// Layers and configs, each digest once; of one image the layers first.
    pub fn blobs(&self) -> &[Part] {
        &self.blobs
    }

    /// Manifests and indexes, each digest once, children before their index: the order in which to push them.
    pub fn manifests(&self) -> &[Part] {
        &self.manifests
    }

    /// What is to be reachable in the end, in the order of the index; at least one.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The tags that the manifest `digest` is to have.
    pub fn tags_of(&self, digest: &Digest) -> impl Iterator<Item = &Tag> {
        let roots = self.roots.iter().filter(move |root| root.digest == *digest);
        roots.filter_map(|root| root.tag.as_ref())
    }
}

impl Part {
    fn new(media_type: &str, bytes: Bytes) -> Self {
        Self { digest: Digest::sha256(&bytes), media_type: media_type.to_owned(), bytes }
    }

    fn descriptor_json(&self) -> String {
        format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, self.media_type, self.digest, self.bytes.len())
    }
}

/// A manifest on the way: to be read, or read and waiting for its children.
enum Step {
    Read(Descriptor, String),
    Done(Part),
}

struct Loader<'f, F> {
    fs: &'f F,
    limits: ImageLimits,
    total_bytes: u64,
    /// What was met: as a manifest or not, and its digest.
    seen: BTreeSet<(bool, Digest)>,
    image: Image,
}

impl<F: Fs> Loader<'_, F> {
    /// Loads a manifest and everything below it. An explicit stack: a stranger decides how deep indexes nest.
    async fn manifest(&mut self, root: Descriptor) -> Result<(), ImageError> {
        let mut stack = vec![Step::Read(root, INDEX_FILE.to_owned())];
        while let Some(step) = stack.pop() {
            let (from, wanted_by) = match step {
                Step::Done(part) => {
                    self.image.manifests.push(part);
                    continue;
                }
                Step::Read(from, wanted_by) => (from, wanted_by),
            };
            if !self.seen.insert((true, from.digest)) {
                continue;
            }
            let path = layout::blob_path(&from.digest);
            let part = self.part(from, &wanted_by, MAX_MANIFEST_BYTES).await?;
            let manifest = Manifest::parse(&part.bytes, Some(&part.media_type))
                .map_err(|why| ImageError::Manifest { path: path.clone(), why })?;
            stack.push(Step::Done(part));
            self.blobs(&manifest, &path).await?;
            let children = manifest.references().iter().rev().filter(|r| r.is_manifest);
            stack.extend(children.map(|child| Step::Read(child.clone(), path.clone())));
        }
        Ok(())
    }

    /// Loads the blobs of one manifest, its config last; layers to be fetched from elsewhere only if they are there.
    async fn blobs(&mut self, manifest: &Manifest, wanted_by: &str) -> Result<(), ImageError> {
        let mut wanted: Vec<_> = manifest.references().iter().filter(|r| !r.is_manifest).collect();
        if !manifest.is_index() && !wanted.is_empty() {
            wanted.rotate_left(1);
        }
        for layer in manifest.optional_references() {
            if self.fs.exists(&layout::blob_path(&layer.digest)).await? {
                wanted.push(layer);
            }
        }
        for from in wanted {
            if self.seen.insert((false, from.digest)) {
                let part = self.part(from.clone(), wanted_by, self.limits.blob_bytes).await?;
                self.image.blobs.push(part);
            }
        }
        Ok(())
    }

    async fn part(&mut self, from: Descriptor, wanted_by: &str, limit_bytes: u64) -> Result<Part, ImageError> {
        let path = layout::blob_path(&from.digest);
        let found = match self.fs.metadata(&path).await {
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(ImageError::Missing { path, wanted_by: wanted_by.to_owned() });
            }
            metadata => metadata?,
        };
        if found.kind != FileKind::File {
            return Err(FsError::new(ErrorKind::IsADirectory, "read", &path).into());
        }
        let found_bytes = found.len;
        if found_bytes > limit_bytes {
            return Err(ImageError::TooLarge { path, size_bytes: found_bytes, limit_bytes });
        }
        if found_bytes != from.size {
            let (wanted_bytes, wanted_by) = (from.size, wanted_by.to_owned());
            return Err(ImageError::WrongSize { path, found_bytes, wanted_bytes, wanted_by });
        }
        self.total_bytes += found_bytes;
        if self.total_bytes > self.limits.total_bytes {
            return Err(ImageError::TotalTooLarge { limit_bytes: self.limits.total_bytes });
        }
        let bytes = self.fs.read(&path, limit_bytes).await?;
        let found = Digest::of(from.digest.algorithm(), &bytes);
        if found != from.digest {
            return Err(ImageError::WrongDigest { path, found });
        }
        Ok(Part { digest: from.digest, media_type: from.media_type, bytes })
    }
}

/// A file of the layout itself; `None` where there is none.
async fn small_file<F: Fs>(fs: &F, path: &str) -> Result<Option<Bytes>, ImageError> {
    match fs.metadata(path).await {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
        Ok(metadata) if metadata.len > MAX_LAYOUT_FILE_BYTES => Err(ImageError::TooLarge {
            path: path.to_owned(),
            size_bytes: metadata.len,
            limit_bytes: MAX_LAYOUT_FILE_BYTES,
        }),
        Ok(_) => Ok(Some(fs.read(path, MAX_LAYOUT_FILE_BYTES).await?)),
    }
}

#[cfg(test)]
mod tests;
