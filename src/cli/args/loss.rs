//! How the machine stops, on the command line.

use clap::ValueEnum;

use crate::disk::crash::Loss;

/// [`Loss`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LossArg {
    /// The power fails: what was not synced may be lost
    PowerCut,
    /// The process dies: what was written stays
    ProcessCrash,
    /// The power fails, and the disk had ignored all syncs
    LyingDisk,
}

impl From<LossArg> for Loss {
    fn from(loss: LossArg) -> Self {
        match loss {
            LossArg::PowerCut => Self::PowerCut,
            LossArg::ProcessCrash => Self::ProcessCrash,
            LossArg::LyingDisk => Self::LyingDisk,
        }
    }
}
