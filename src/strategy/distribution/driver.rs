//! The seam below the protocol: how a file is put, moved and removed, and what a file that is being written does at
//! commit and close. Named after distribution's storage driver, whose calls these are.
//!
//! Nothing here knows the layout. Paths are those of the [`Fs`]; no error is told twice, and where distribution
//! drops one (see the callers of [`FileWriter::close`]), this does too.

use bytes::{Bytes, BytesMut};

use super::version::Version;
use crate::env::World;
use crate::fs::{ErrorKind, File, FileExt, Fs, FsError, FsExt, OpenMode, Result, split};

/// How a small file gets its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// Written over what was there, then cut to its length; never synced.
    InPlace,
    /// Truncated, then written by a [`FileWriter`].
    Truncate,
    /// Written under a temporary name by a [`FileWriter`], renamed, and its directory synced.
    Replace,
}

/// When a [`FileWriter`] calls fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncs {
    /// Not at all.
    Never,
    /// At commit, and at close whether it was committed or not.
    AtCommitAndClose,
    /// At commit, or else at close.
    Once,
}

/// How a [`FileWriter`] goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriterRules {
    /// How much is held back until more comes or the writer is committed or closed.
    pub buffer_bytes: usize,
    /// Whether the file is opened (and created) by the first byte instead of at once.
    pub opens_late: bool,
    /// When it is synced.
    pub syncs: Syncs,
}

/// The storage driver of one version on one file system.
#[derive(Clone)]
pub(super) struct Driver<F> {
    pub fs: F,
    pub world: World,
    pub version: &'static Version,
}

impl<F: Fs> Driver<F> {
    /// Puts `content` at `path`, with the directories above it.
    pub async fn put_content(&self, path: &str, content: Bytes) -> Result<()> {
        match self.version.put {
            Put::InPlace => {
                let file = self.open(path).await?;
                let len = content.len() as u64;
                file.write_full(0, content).await?;
                file.set_len(len).await
            }
            Put::Truncate => self.write_anew(path, content).await,
            Put::Replace => {
                let temporary = format!("{path}.{}.tmp", self.world.fresh_id());
                self.write_anew(&temporary, content).await?;
                if let Err(error) = self.rename(&temporary, path).await {
                    // What the removal runs into is of no interest any more.
                    self.fs.remove_tree(&temporary).await.ok();
                    return Err(error);
                }
                self.fs.sync_dir(parent(path)).await
            }
        }
    }

    /// Writes a file from its beginning, through a writer that is committed and closed.
    async fn write_anew(&self, path: &str, content: Bytes) -> Result<()> {
        let mut writer = self.writer(path, false).await?;
        if let Err(error) = writer.write(content).await {
            writer.cancel().await.ok();
            return Err(error);
        }
        let result = writer.commit().await;
        writer.close().await.ok();
        result
    }

    /// A writer at the end of the file at `path` (`append`), or of the file anew.
    pub async fn writer(&self, path: &str, append: bool) -> Result<FileWriter<F>> {
        let rules = self.version.writer;
        let (file, len) = if rules.opens_late {
            let len = match self.fs.metadata(path).await {
                Ok(m) => m.len,
                Err(e) if e.kind == ErrorKind::NotFound => 0,
                Err(e) => return Err(e),
            };
            (None, len)
        } else {
            let file = self.open(path).await?;
            let len = if append { file.metadata().await?.len } else { 0 };
            if !append {
                file.set_len(0).await?;
            }
            (Some(file), len)
        };
        Ok(FileWriter {
            driver: self.clone(),
            path: path.to_owned(),
            file,
            written_bytes: len,
            buffer: BytesMut::new(),
            failed: None,
            state: State::Open,
        })
    }

    /// Moves a file, with the directories above its new name. What had the name is replaced. Syncs nothing.
    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.fs.metadata(from).await?;
        self.fs.create_dir_all(parent(to)).await?;
        self.fs.rename(from, to).await
    }

    /// Removes a file or a whole tree; `NotFound` if there is none. Syncs nothing.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.fs.metadata(path).await?;
        self.fs.remove_tree(path).await
    }

    /// As [`delete`](Driver::delete), and content with nothing to remove. Tells whether there was something.
    pub async fn delete_if_there(&self, path: &str) -> Result<bool> {
        match self.delete(path).await {
            Ok(()) => Ok(true),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// mkdir -p and open O_CREAT.
    async fn open(&self, path: &str) -> Result<F::File> {
        self.fs.create_dir_all(parent(path)).await?;
        self.fs.open(path, OpenMode::Create).await
    }
}

fn parent(path: &str) -> &str {
    split(path).map_or("", |(parent, _)| parent)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Committed,
    Closed,
}

/// A file that is being written at its end, with distribution's buffer in between: what fits in it waits for more,
/// and a piece that is larger than what is free fills it up (or passes it by, when it is empty).
pub(super) struct FileWriter<F: Fs> {
    driver: Driver<F>,
    path: String,
    file: Option<F::File>,
    /// Where the buffer belongs: the end of what the file has taken.
    written_bytes: u64,
    buffer: BytesMut,
    /// The first failed write: all that follow fail alike.
    failed: Option<FsError>,
    state: State,
}

impl<F: Fs> FileWriter<F> {
    /// Length of the file with what waits in the buffer, in bytes. After a failed write it tells how much of the
    /// piece was taken.
    pub fn size(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }

    /// Adds a piece.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<()> {
        self.check()?;
        loop {
            let free = self.driver.version.writer.buffer_bytes.saturating_sub(self.buffer.len());
            if piece.len() <= free {
                self.buffer.extend_from_slice(&piece);
                return Ok(());
            }
            if self.buffer.is_empty() {
                return self.write_through(&mut piece).await;
            }
            self.buffer.extend_from_slice(&piece.split_to(free));
            self.flush().await?;
        }
    }

    /// Writes what waits, and syncs.
    pub async fn commit(&mut self) -> Result<()> {
        self.flush().await?;
        self.sync(self.rules().syncs != Syncs::Never).await?;
        self.state = State::Committed;
        Ok(())
    }

    /// Writes what waits, syncs once more (or not), and closes. Closing twice does nothing.
    pub async fn close(&mut self) -> Result<()> {
        let state = std::mem::replace(&mut self.state, State::Closed);
        if state == State::Closed {
            return Ok(());
        }
        self.flush().await?;
        self.sync(match self.rules().syncs {
            Syncs::Never => false,
            Syncs::AtCommitAndClose => true,
            Syncs::Once => state != State::Committed,
        })
        .await
    }

    /// Closes and removes the file, unless it is closed already. Tells whether it did.
    pub async fn cancel(&mut self) -> Result<bool> {
        if std::mem::replace(&mut self.state, State::Closed) == State::Closed {
            return Ok(false);
        }
        self.driver.fs.unlink(&self.path).await?;
        Ok(true)
    }

    fn rules(&self) -> WriterRules {
        self.driver.version.writer
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    async fn flush(&mut self) -> Result<()> {
        self.check()?;
        let mut waiting = self.buffer.split().freeze();
        let result = self.write_through(&mut waiting).await;
        self.buffer.extend_from_slice(&waiting);
        result
    }

    /// Writes `piece` to the file, and leaves in it what the file did not take.
    async fn write_through(&mut self, piece: &mut Bytes) -> Result<()> {
        while !piece.is_empty() {
            match self.write_some(piece).await {
                Ok(taken) => {
                    self.written_bytes += taken as u64;
                    drop(piece.split_to(taken));
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn write_some(&mut self, piece: &Bytes) -> Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.driver.open(&self.path).await?,
        };
        let result = file.write_at(self.written_bytes, piece.clone()).await;
        self.file = Some(file);
        result
    }

    async fn sync(&self, wanted: bool) -> Result<()> {
        match &self.file {
            Some(file) if wanted => file.sync_all().await,
            _ => Ok(()),
        }
    }
}
