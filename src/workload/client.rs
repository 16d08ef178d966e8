//! A client that does not give up at once: where it is told that something is missing, it begins again, as clients of
//! registries do.

use super::op::{Op, UploadKey};
use super::run::{RunError, Runner};
use crate::check::oracle::Mark;
use crate::fs::Fs;
use crate::registry::Error;
use crate::strategy::Protocol;

/// How often a client begins again before it gives up.
const TRIES: usize = 6;

/// A client of a registry that others use as well.
pub struct Client<'a, F: Fs, P: Protocol + ?Sized> {
    runner: Runner<'a, F, P>,
    /// All operations of the workload, setup first: where the beginnings of uploads stand.
    known: &'a [Op],
}

impl<'a, F: Fs, P: Protocol + ?Sized> Client<'a, F, P> {
    /// A client that acts through `runner`. `known` are the operations in which its uploads begin.
    pub fn new(runner: Runner<'a, F, P>, known: &'a [Op]) -> Self {
        Self { runner, known }
    }

    /// Does `ops`, one after the other. `mark` is told when one begins and is answered; they are numbered from `from` on.
    ///
    /// Errors: one was refused for good. The rest was not begun.
    pub async fn run(&mut self, ops: &[Op], from: usize, mark: &dyn Fn(Mark)) -> Result<(), RunError> {
        let mut uploads = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            if let Op::StartUpload { upload, .. } | Op::Resume { upload } = op {
                uploads.push(*upload);
            }
            mark(Mark::Begin(from + i));
            self.until_done(op, &uploads).await?;
            mark(Mark::End(from + i));
        }
        Ok(())
    }

    async fn until_done(&mut self, op: &Op, uploads: &[UploadKey]) -> Result<(), RunError> {
        let mut tries = 0;
        loop {
            let error = match self.runner.step(op).await {
                Ok(()) => return Ok(()),
                Err(RunError::Refused { why: Error::ManifestUnknown(_), .. })
                    if matches!(op, Op::DeleteManifest { .. }) =>
                {
                    return Ok(());
                }
                Err(error) => error,
            };
            tries += 1;
            match (&error, op) {
                _ if tries == TRIES => return Err(error),
                (
                    RunError::Refused { why: Error::UploadUnknown(_), .. },
                    Op::Resume { upload } | Op::Commit { upload },
                ) => self.start(*upload).await?,
                (RunError::Refused { why: Error::ManifestBlobUnknown(_), .. }, Op::PutManifest { .. }) => {
                    for upload in uploads {
                        self.start(*upload).await?;
                        Box::pin(self.until_done(&Op::Commit { upload: *upload }, &[])).await?;
                    }
                }
                _ => return Err(error),
            }
        }
    }

    async fn start(&mut self, upload: UploadKey) -> Result<(), RunError> {
        let known = self.known;
        let begins = |op: &&Op| matches!(op, Op::StartUpload { upload: u, .. } if *u == upload);
        match known.iter().find(begins) {
            Some(op) => self.runner.step(op).await,
            None => Ok(()),
        }
    }
}
