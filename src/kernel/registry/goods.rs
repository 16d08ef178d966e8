//! What is pushed: small images that share layers, the same for the same seed.

use bytes::Bytes;

use super::Size;
use crate::check::contents::{Content, Contents, Kind};
use crate::env::choice::{Chooser, Seeded};
use crate::oci::{Algorithm, InvalidWord, Name, Tag};
use crate::workload::image::Image;

/// The layers that all images have.
const SHARED_LAYERS_BYTES: [usize; 2] = [40_000, 3_000];
/// The layer that an image has for itself is no longer than this.
const MAX_LAYER_BYTES: usize = 64 << 10;
/// So many clients push to one repository.
const CLIENTS_PER_REPOSITORY: u32 = 2;

/// What one client pushes, and where.
#[derive(Debug)]
pub struct Goods {
    /// The repository. Another client may push there too.
    pub repo: Name,
    /// The tag that is moved to each image once it is there.
    pub moved: Tag,
    /// The images, each with a tag of its own.
    pub images: Vec<Image>,
}

/// What all clients push, and the bytes of that.
///
/// Errors: never; the words are valid.
pub fn generate(size: Size, seed: u64) -> Result<(Vec<Goods>, Contents), InvalidWord> {
    let noise = |len: usize, of: &str| -> Bytes {
        let mut bytes = vec![0; len];
        Seeded::stream(seed, &format!("kernel registry, {of}")).fill(&mut bytes);
        bytes.into()
    };
    let shared = SHARED_LAYERS_BYTES.map(|len| noise(len, &format!("shared {len}")));
    let mut contents = Contents::default();
    let mut all = Vec::new();
    for client in 0..size.clients {
        let mut images = Vec::new();
        for at in 0..size.images {
            let author = format!("seed {seed} client {client} image {at}");
            let len = 1 + Seeded::stream(seed, &author).choose(MAX_LAYER_BYTES);
            let layers = shared.iter().cloned().chain([noise(len, &author)]);
            let image = Image::of_layers(&author, format!("c{client}-v{at}").parse()?, layers);
            learn(&mut contents, &image);
            images.push(image);
        }
        let repo = format!("team-{}/app", client / CLIENTS_PER_REPOSITORY).parse()?;
        all.push(Goods { repo, moved: "latest".parse()?, images });
    }
    Ok((all, contents))
}

fn learn(contents: &mut Contents, image: &Image) {
    let blobs: Vec<_> = image.blobs().iter().map(|blob| blob.digest).collect();
    for blob in image.blobs() {
        contents.insert(Algorithm::Sha256, Content { bytes: blob.bytes.clone(), kind: Kind::Blob });
    }
    for manifest in image.manifests() {
        let media_type = manifest.media_type.clone();
        let kind = Kind::Manifest { media_type, blobs: blobs.clone(), manifests: Vec::new() };
        contents.insert(Algorithm::Sha256, Content { bytes: manifest.bytes.clone(), kind });
    }
}
