//! Image layouts on the real disk, whole and broken, and what tests read back.

use std::path::Path;

use pullplug::env::run_now;
use pullplug::fs::real::RealFs;
use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode};
use pullplug::workload::image::Image;
use tempfile::TempDir;

/// The image in [`of_one_image`].
fn image() -> Image {
    Image::generated(99, "v1".parse().unwrap(), &[3000])
}

/// A layout of one small image.
pub fn of_one_image() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    write(dir.path(), "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    for part in image.blobs().iter().chain(image.manifests()) {
        write(dir.path(), &blob(&part.digest.hex()), &part.bytes);
    }
    let manifest = &image.manifests()[0];
    index(dir.path(), &manifest.media_type, &manifest.digest.to_string(), manifest.bytes.len());
    dir
}

/// The digits of the digest of its layer.
pub fn digest_of_layer() -> String {
    image().blobs()[0].digest.hex()
}

/// The file of its layer.
pub fn layer() -> String {
    blob(&image().blobs()[0].digest.hex())
}

/// The file of its manifest.
pub fn manifest() -> String {
    blob(&image().manifests()[0].digest.hex())
}

/// Replaces the manifest by one whose layer has `size` bytes and the digest of the old one.
pub fn with_layer_of(dir: &Path, size: u64) {
    let image = image();
    let (layer, manifest) = (&image.blobs()[0], &image.manifests()[0]);
    let old = String::from_utf8(manifest.bytes.to_vec()).unwrap();
    let new = old.replace(&format!("\"size\":{}", layer.bytes.len()), &format!("\"size\":{size}"));
    assert_ne!(old, new);
    let digest = pullplug::oci::Digest::sha256(new.as_bytes());
    write(dir, &blob(&digest.hex()), new.as_bytes());
    index(dir, &manifest.media_type, &digest.to_string(), new.len());
    run_now(async {
        let file = root(dir).open(&self::layer(), OpenMode::Write).await.unwrap();
        file.set_len(size).await.unwrap();
    });
}

fn index(dir: &Path, media_type: &str, digest: &str, size: usize) {
    let entry = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
    write(dir, "index.json", format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#).as_bytes());
}

fn blob(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}

fn root(dir: &Path) -> RealFs {
    RealFs::open_root(dir).unwrap()
}

/// Writes a file below `dir`, with the directories that it needs.
pub fn write(dir: &Path, path: &str, bytes: &[u8]) {
    let fs = root(dir);
    run_now(async {
        fs.create_dir_all(path.rsplit_once('/').map_or("", |(parent, _)| parent)).await.unwrap();
        let file = fs.open(path, OpenMode::Create).await.unwrap();
        file.set_len(0).await.unwrap();
        file.write_full(0, bytes.to_vec().into()).await.unwrap();
    });
}

/// Removes a file below `dir`.
pub fn remove(dir: &Path, path: &str) {
    run_now(root(dir).unlink(path)).unwrap();
}

/// A whole file.
pub fn read(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    run_now(root(path.parent().unwrap()).read(name, 1 << 24)).unwrap().to_vec()
}

/// The names in a directory, sorted.
pub fn list(dir: &Path) -> Vec<String> {
    run_now(root(dir).read_dir("")).unwrap().into_iter().map(|e| e.name).collect()
}
