//! Layouts good and bad, written into a temporary directory.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::fs::{FileExt, OpenMode};
use crate::oci::Algorithm;
use crate::oci::manifest::OCI_INDEX;

/// A directory to fill with a layout.
struct Layout {
    dir: TempDir,
    fs: RealFs,
}

impl Layout {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealFs::open_root(dir.path()).unwrap();
        let layout = Self { dir, fs };
        layout.write(LAYOUT_FILE, br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    /// A layout of one generated image, tagged `v1`.
    fn of_one() -> (Self, Image) {
        let (layout, image) = (Self::new(), image(1));
        layout.add(&image);
        layout.index(&[entry(&image.manifests()[0], Some("v1"))]);
        (layout, image)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        run_now(async {
            self.fs.create_dir_all(crate::fs::split(path).unwrap().0).await.unwrap();
            let file = self.fs.open(path, OpenMode::Create).await.unwrap();
            crate::fs::File::set_len(&file, 0).await.unwrap();
            file.write_full(0, Bytes::copy_from_slice(bytes)).await.unwrap();
        });
    }

    fn add(&self, image: &Image) {
        for part in image.blobs().iter().chain(image.manifests()) {
            self.write(&layout::blob_path(&part.digest), &part.bytes);
        }
    }

    fn index(&self, entries: &[String]) {
        self.write(INDEX_FILE, format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")).as_bytes());
    }

    fn unlink(&self, path: &str) {
        run_now(self.fs.unlink(path)).unwrap();
    }

    fn load(&self) -> Result<Image, ImageError> {
        Image::load(self.dir.path(), ImageLimits::default())
    }
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn image(seed: u64) -> Image {
    Image::generated(seed, tag("v1"), &[700, 40])
}

fn entry(part: &Part, name: Option<&str>) -> String {
    let json = part.descriptor_json();
    let name = name.map(|n| format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{n}"}}}}"#));
    name.map_or(json.clone(), |n| json.strip_suffix('}').unwrap().to_owned() + &n)
}

fn index_of(children: &[&Part]) -> Part {
    let children: Vec<_> = children.iter().map(|c| c.descriptor_json()).collect();
    Part::new(OCI_INDEX, format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(",")).into())
}

#[test]
fn a_generated_image_is_valid_and_the_same_for_ever() {
    let recorded = Image::generated(1, tag("v1"), &RECORDED_LAYER_BYTES);
    let lens: Vec<_> = recorded.blobs().iter().map(|b| b.bytes.len()).collect();
    assert_eq!(lens[0], 40_000);
    assert_eq!(recorded, Image::generated(1, tag("v1"), &RECORDED_LAYER_BYTES));
    // These bytes are in everybody's saved runs.
    let digest = "sha256:e5d4647a719268862457a56f44777e99a26dd369c23693793966f1a19b6370a5";
    assert_eq!(recorded.roots()[0].digest.to_string(), digest);
    for image in [&recorded, &image(2), &Image::generated(u64::MAX, tag("x"), &[])] {
        let part = &image.manifests()[0];
        let manifest = Manifest::parse(&part.bytes, Some(&part.media_type)).unwrap();
        let has = |r: &Descriptor| image.blobs().iter().any(|b| b.digest == r.digest && b.bytes.len() as u64 == r.size);
        assert!(manifest.references().iter().all(has));
        assert_eq!(manifest.references().len(), image.blobs().len());
        let config = &image.blobs().last().unwrap().bytes;
        let config: oci_spec::image::ImageConfiguration = serde_json::from_slice(config).unwrap();
        assert_eq!(config.rootfs().diff_ids().len(), image.blobs().len() - 1);
    }
    let digests: BTreeSet<_> = [image(1), image(2)].iter().flat_map(|i| i.blobs.clone()).map(|b| b.digest).collect();
    assert_eq!(digests.len(), 6, "two seeds share nothing");
}

#[test]
fn a_layout_is_loaded_as_it_was_written() {
    let (layout, image) = Layout::of_one();
    assert_eq!(layout.load().unwrap(), image);
    let one_layer_too_few = ImageLimits { total_bytes: 900, ..ImageLimits::default() };
    let error = Image::load(layout.dir.path(), one_layer_too_few).unwrap_err();
    assert_eq!(error, ImageError::TotalTooLarge { limit_bytes: 900 });
}

#[test]
fn nested_indexes_are_loaded_children_first_and_shared_parts_once() {
    let layout = Layout::new();
    let (a, b) = (image(1), Image::generated(1, tag("v1"), &[700]));
    layout.add(&a);
    layout.add(&b);
    let (ma, mb) = (&a.manifests()[0], &b.manifests()[0]);
    let inner = index_of(&[mb, ma]);
    let outer = index_of(&[ma, &inner]);
    for part in [&inner, &outer] {
        layout.write(&layout::blob_path(&part.digest), &part.bytes);
    }
    layout.index(&[entry(&outer, None), entry(&inner, Some("example.com/app:inner")), entry(&outer, Some("outer"))]);
    let loaded = layout.load().unwrap();
    let order: Vec<_> = loaded.manifests().iter().map(|m| m.digest).collect();
    assert_eq!(order, [ma.digest, mb.digest, inner.digest, outer.digest]);
    assert_eq!(loaded.blobs().len(), 4, "two layers, one of them in both images, and two configs");
    assert!(loaded.tags_of(&outer.digest).eq([&tag(DEFAULT_TAG), &tag("outer")]));
    assert!(loaded.tags_of(&inner.digest).eq([&tag("inner")]));
    assert_eq!(loaded.tags_of(&ma.digest).count(), 0);
    layout.unlink(&layout::blob_path(&b.blobs()[1].digest));
    assert!(
        matches!(layout.load(), Err(ImageError::Missing { wanted_by, .. }) if wanted_by.contains(&mb.digest.hex()))
    );
}

#[test]
fn names_and_the_lack_of_them() {
    let layout = Layout::new();
    let images = [image(1), image(2), image(3)];
    images.iter().for_each(|i| layout.add(i));
    let index = |names: [Option<&str>; 3]| {
        let entries: Vec<_> = images.iter().zip(names).map(|(i, n)| entry(&i.manifests()[0], n)).collect();
        layout.index(&entries);
        layout.load().map(|i| i.roots.iter().map(|r| r.tag.as_ref().map(Tag::to_string)).collect::<Vec<_>>())
    };
    let text = |t: &str| Some(t.to_owned());
    assert_eq!(index([None, Some("v2"), None]).unwrap(), [text("latest"), text("v2"), None]);
    assert_eq!(index([None, None, Some("latest")]).unwrap(), [None, None, text("latest")]);
    assert_eq!(index([Some("a"), Some("x/y:a"), None]), Err(ImageError::SameTag(tag("a"))));
}

#[test]
fn sha512_and_layers_from_elsewhere() {
    let layout = Layout::new();
    let config = Part { digest: Digest::of(Algorithm::Sha512, b"{}"), ..Part::new(CONFIG_TYPE, "{}".into()) };
    layout.write(&layout::blob_path(&config.digest), &config.bytes);
    let foreign = Part::new("application/vnd.oci.image.layer.nondistributable.v1.tar", "far away".into());
    let layer = foreign.descriptor_json().replace('}', r#","urls":["https://example.com/"]}"#);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{layer}]}}"#,
        config.descriptor_json()
    );
    let manifest = Part::new(OCI_MANIFEST, manifest.into());
    layout.write(&layout::blob_path(&manifest.digest), &manifest.bytes);
    layout.index(&[entry(&manifest, None)]);
    assert_eq!(layout.load().unwrap().blobs(), std::slice::from_ref(&config));
    layout.write(&layout::blob_path(&foreign.digest), &foreign.bytes);
    assert_eq!(layout.load().unwrap().blobs(), [config, foreign]);
}

#[test]
fn damaged_blobs_are_named() {
    let (layout, image) = Layout::of_one();
    let path = layout::blob_path(&image.blobs()[0].digest);
    let manifest = layout::blob_path(&image.manifests()[0].digest);
    let whole = image.blobs()[0].bytes.to_vec();
    let error = |damaged: &[u8]| {
        layout.write(&path, damaged);
        layout.load().unwrap_err()
    };
    let mut flipped = whole.clone();
    flipped[699] ^= 1;
    let found = Digest::sha256(&flipped);
    assert_eq!(error(&flipped), ImageError::WrongDigest { path: path.clone(), found });
    let cut = error(&whole[..699]);
    assert!(matches!(&cut, ImageError::WrongSize { found_bytes: 699, wanted_bytes: 700, .. }), "{cut}");
    assert!(matches!(error(&[]), ImageError::WrongSize { found_bytes: 0, .. }));
    layout.unlink(&path);
    let missing = layout.load().unwrap_err();
    assert_eq!(missing, ImageError::Missing { path: path.clone(), wanted_by: manifest.clone() });
    layout.write(&path, &whole);
    assert_eq!(layout.load().unwrap(), image);
    layout.unlink(&manifest);
    assert!(matches!(layout.load(), Err(ImageError::Missing { wanted_by, .. }) if wanted_by == INDEX_FILE));
}

#[test]
fn a_layer_larger_than_the_limit_is_refused_before_it_is_read() {
    let (layout, image) = Layout::of_one();
    let path = layout::blob_path(&image.blobs()[0].digest);
    let limits = |blob_bytes| ImageLimits { blob_bytes, ..ImageLimits::default() };
    let error = Image::load(layout.dir.path(), limits(699)).unwrap_err();
    assert_eq!(error, ImageError::TooLarge { path: path.clone(), size_bytes: 700, limit_bytes: 699 });
    assert!(Image::load(layout.dir.path(), limits(700)).is_ok());
    // A sparse file of a terabyte must not be read, whatever its descriptor says.
    let file = run_now(layout.fs.open(&path, OpenMode::Write)).unwrap();
    run_now(crate::fs::File::set_len(&file, 1 << 40)).unwrap();
    assert!(matches!(layout.load(), Err(ImageError::TooLarge { size_bytes: 0x100_0000_0000, .. })));
}

#[test]
fn links_out_of_the_directory_are_refused() {
    let outside = Layout::of_one().0;
    for (link, target) in [(INDEX_FILE, INDEX_FILE), (LAYOUT_FILE, LAYOUT_FILE), ("blobs", "blobs")] {
        let (layout, _) = Layout::of_one();
        run_now(layout.fs.remove_tree(link)).unwrap();
        symlink(outside.dir.path().join(target), layout.dir.path().join(link)).unwrap();
        let error = layout.load().unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
    }
    let (layout, image) = Layout::of_one();
    let path = layout::blob_path(&image.blobs()[0].digest);
    layout.unlink(&path);
    symlink(outside.dir.path().join(&path), layout.dir.path().join(&path)).unwrap();
    let error = layout.load().unwrap_err();
    assert!(error.to_string().contains("symbolic link") && error.to_string().contains(&path), "{error}");
}

#[test]
fn directories_that_are_no_layout() {
    let (layout, image) = Layout::of_one();
    let gone = Image::load(&layout.dir.path().join("gone"), ImageLimits::default()).unwrap_err();
    assert!(matches!(&gone, ImageError::Fs(e) if e.kind == ErrorKind::NotFound), "{gone}");
    let whole = run_now(layout.fs.read(INDEX_FILE, 10_000)).unwrap();
    for damaged in [&whole[..whole.len() / 2], &[0; 64], b""] {
        layout.write(INDEX_FILE, damaged);
        let error = layout.load().unwrap_err();
        assert!(matches!(error, ImageError::Layout(LayoutError::Unparsable { file: INDEX_FILE, .. })), "{error}");
    }
    layout.index(&[]);
    assert_eq!(layout.load(), Err(ImageError::Layout(LayoutError::Empty)));
    // The index calls an image manifest an index.
    layout.index(&[entry(&image.manifests()[0], None).replace(OCI_MANIFEST, OCI_INDEX)]);
    assert!(matches!(layout.load(), Err(ImageError::Manifest { .. })));
    layout.write(LAYOUT_FILE, br#"{"imageLayoutVersion":"0.9"}"#);
    assert_eq!(layout.load(), Err(ImageError::Layout(LayoutError::Version("0.9".into()))));
    layout.unlink(INDEX_FILE);
    layout.write(LAYOUT_FILE, br#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(layout.load(), Err(ImageError::NoIndex));
    layout.unlink(LAYOUT_FILE);
    assert_eq!(layout.load(), Err(ImageError::NotALayout));
}
