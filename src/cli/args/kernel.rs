//! The arguments of `kernel`.

mod registry;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

pub use registry::CrashedRegistryArgs;

use super::DEFAULT_SEED;

/// Most seconds of any limit: a week.
const MAX_SECONDS: u64 = 7 * 24 * 3600;
/// Most of what is done again and again.
const MAX_REPEATS: u64 = 1_000_000;

/// Seconds, at most a week of them.
fn seconds() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=MAX_SECONDS)
}

/// How many of them, or none.
fn up_to() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(..=MAX_REPEATS)
}

/// How often something is done.
fn repeats() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=MAX_REPEATS)
}

/// What stands below the options.
pub const HELP: &str = "\
Random calls are made on a real file system whose disk is recorded, and on the simulated one. The power goes at every \
entry of the disk's log, and some entries since the last flush are lost or torn; the kernel mounts each image, and what \
is there must be a crash state that the file system's model allows. The scripts follow from the seed; what the kernel \
writes when does not.

Linux, root and /dev/fuse are needed, and the programs that make the file systems. Everything is in a directory of its \
own, in mount namespaces of its own, and gone afterwards, however it ends.

Exit codes:
  0   every image was allowed
  1   an image was not allowed, or the control saw no loss
  2   bad usage or input, or a program that was built without this
  69  this machine cannot do it: what is missing is said
  70  internal error: a bug in pullplug, or something was left behind
  75  no verdict: it was interrupted, took too long, or the disk hung and was aborted

Examples:
  pullplug kernel soundness --fs btrfs --runs 20 --seed 7
  pullplug kernel soundness --fs ext4-ordered --litmus --runs 10
  pullplug kernel soundness --fs xfs --calls 'create a; append a 71 A | truncate a 10; fsync a'";

/// Arguments of `kernel`.
#[derive(Debug, Args)]
pub struct KernelArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KernelCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Hold the models to what real file systems leave behind
    #[command(after_long_help = HELP)]
    Soundness(SoundnessArgs),
    /// Crash a registry on real file systems: any program, unmodified
    #[command(after_long_help = registry::HELP)]
    Registry(CrashedRegistryArgs),
    /// Serve a recorded disk
    #[command(hide = true)]
    ServeDisk {
        /// The work directory.
        work: PathBuf,
        /// The size of the disk.
        size_bytes: u64,
    },
    /// Do a job on a recorded disk
    #[command(hide = true)]
    Work {
        /// The work directory.
        work: PathBuf,
        /// The job, as JSON.
        job: String,
    },
    /// Become a program that goes with whoever started it
    #[command(hide = true)]
    Contain {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// Arguments of `kernel soundness`.
#[derive(Debug, Args)]
pub struct SoundnessArgs {
    /// File systems, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "ext4-ordered,ext4-writeback,xfs,btrfs")]
    pub fs: Vec<String>,
    /// Play so many random scripts on each, or each given one so many times; at most 1000000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = repeats())]
    pub runs: u64,
    /// Stop after so many images of each, at most 1000000
    #[arg(long, value_name = "N", value_parser = repeats())]
    pub images: Option<u64>,
    /// Seed of the scripts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
    /// Start no further script after so many seconds, at most 604800 (a week)
    #[arg(long, value_name = "S", value_parser = seconds())]
    pub seconds: Option<u64>,
    /// Play this script instead: calls separated by `;`, those of the set-up before a `|`. May be given several times;
    /// of one, all that was seen is shown
    #[arg(long, value_name = "SCRIPT")]
    pub calls: Vec<String>,
    /// Play the litmus tests of the models instead, each so many times, while the kernel writes back and commits between
    /// the calls: which of the outcomes that the model allows are ever seen, and none that it forbids
    #[arg(long, conflicts_with = "calls")]
    pub litmus: bool,
    /// Shrink and show so many disagreements of each model, at most 1000000
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = up_to())]
    pub shrink: u64,
    /// The recorded disk.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// How a recorded disk is had.
#[derive(Debug, Args)]
pub struct DiskArgs {
    /// Give up after so many seconds for each file system, at most 604800 (a week)
    #[arg(long, value_name = "S", default_value_t = 900, value_parser = seconds())]
    pub limit_s: u64,
    /// Give up when no image came to its end in so many seconds, at most 604800 (a week)
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = seconds())]
    pub patience_s: u64,
    /// Where to make a work directory; that of temporary files, if it is not given
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Panic after so many images
    #[arg(long, hide = true)]
    pub panic_after: Option<u64>,
}

impl DiskArgs {
    /// The directory in which one is made for the work.
    pub fn work(&self) -> PathBuf {
        self.work.clone().unwrap_or_else(std::env::temp_dir)
    }
}
