//! Files that the user names: replay files to read, reports to write.
//!
//! A file is written beside its name and renamed when it is whole, and its place is taken before the work begins: an
//! output that cannot be written is known at once, and nobody finds half a report.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::env::run_now;
use crate::fs::real::RealFs;
use crate::fs::{ErrorKind, File, FileExt, FileKind, Fs, FsError, FsExt, OpenMode};

/// Largest replay file that is read.
const MAX_REPLAY_FILE_BYTES: u64 = 16 << 20;

/// Reads a small file.
pub fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    read_up_to(path, MAX_REPLAY_FILE_BYTES)
}

/// Reads a file of at most `limit_bytes`.
pub fn read_up_to(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CliError> {
    let failed = |e: FsError| CliError::bad_input(format!("cannot read {}: {}", path.display(), e.detail));
    let (dir, name) = split(path)?;
    let root = RealFs::open_root(&dir).map_err(failed)?;
    run_now(root.read(name, limit_bytes)).map(Vec::from).map_err(failed)
}

/// A file that is going to be written.
#[derive(Debug)]
pub struct Output {
    root: RealFs,
    path: PathBuf,
    name: String,
    temporary: String,
}

impl Output {
    /// Takes the place of `path`; an existing file stays as it is until [`write`](Self::write).
    ///
    /// Errors: its directory cannot be written to, or it is something else than a regular file.
    pub fn reserve(path: &Path) -> Result<Self, CliError> {
        let (dir, name) = split(path)?;
        let root = RealFs::open_root(&dir).map_err(|e| unwritable(path, &e))?;
        let output = Self {
            root,
            path: path.to_owned(),
            name: name.to_owned(),
            temporary: format!(".{name}.pullplug-{}", std::process::id()),
        };
        run_now(output.prepare()).map_err(|e| unwritable(path, &e))?;
        Ok(output)
    }

    async fn prepare(&self) -> Result<(), FsError> {
        match self.root.metadata(&self.name).await {
            Ok(found) if found.kind == FileKind::Dir => {
                return Err(FsError::new(ErrorKind::IsADirectory, "open", &self.name));
            }
            Err(e) if e.kind != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.root.open(&self.temporary, OpenMode::Create).await.map(drop)
    }

    /// Writes the file, whole or not at all.
    pub fn write(self, text: &str) -> Result<(), CliError> {
        let written = run_now(async {
            let file = self.root.open(&self.temporary, OpenMode::Create).await?;
            file.set_len(0).await?;
            file.write_full(0, text.to_owned().into()).await?;
            file.sync_all().await?;
            self.root.rename(&self.temporary, &self.name).await?;
            self.root.sync_dir("").await
        });
        written.map_err(|e| unwritable(&self.path, &e))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Gone already if it was renamed; if it cannot be removed, there is nobody left to tell.
        let _ = run_now(self.root.unlink(&self.temporary));
    }
}

/// Makes the directory `path`, if it is not there.
pub fn make_dir(path: &Path) -> Result<(), CliError> {
    if RealFs::open_root(path).is_ok() {
        return Ok(());
    }
    let (dir, name) = split(path)?;
    let made = RealFs::open_root(&dir).and_then(|root| run_now(root.mkdir(name)));
    made.map_err(|e| unwritable(path, &e))
}

fn unwritable(path: &Path, e: &FsError) -> CliError {
    CliError::bad_input(format!("cannot write {}: {}", path.display(), e.detail))
}

/// The directory of a file, and its name.
fn split(path: &Path) -> Result<(PathBuf, &str), CliError> {
    let unnamed = || CliError::bad_input(format!("{} names no file", path.display()));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unnamed)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((dir.to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        Output::reserve(&path).unwrap().write("a long first report").unwrap();
        drop(Output::reserve(&path).unwrap());
        assert_eq!(read(&path).unwrap(), b"a long first report");
        Output::reserve(&path).unwrap().write("second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        let listing = run_now(RealFs::open_root(dir.path()).unwrap().read_dir("")).unwrap();
        assert_eq!(listing.len(), 1, "nothing is left beside it: {listing:?}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("no/such"), PathBuf::from("/dev/null"), PathBuf::from("/")]
        {
            let error = Output::reserve(&path).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        assert!(read(&dir.path().join("no")).unwrap_err().to_string().to_lowercase().contains("no such file"));
    }
}
