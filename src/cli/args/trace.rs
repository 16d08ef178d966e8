//! The arguments of `trace`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::Args;

use super::{DEFAULT_BUDGET, DEFAULT_SEED, LossArg, models, strategies};

/// The layout if none is given.
pub const DEFAULT_LAYOUT: &str = "distribution-2.8";

/// What stands below the options.
pub const HELP: &str = "\
Record the program from its start, on a directory that is empty (or copied, for --base):

  strace -f -y -xx -s 1048576 -o registry.strace docker-registry serve config.yml

The calls that touch DIR are made again on a simulated disk, whose crashes are explored under every model. HTTP \
requests that were answered with 201 or 202 are what the program acknowledged. A raw tree is judged, as the crash \
leaves it: no recovery runs. Nothing is passed over in silence: calls that change files and cannot be replayed are \
listed with their first line in the file, and are no clean result.

Overlapping calls took place in the order in which they came back; a failed call changed nothing; O_SYNC is a sync after each \
write; files change by no other means, such as writable mappings.

Exit codes:
  0   nothing found
  1   an invariant was broken; with --crash: it is broken there
  2   bad usage or input, or an output that cannot be written;
      or nothing was found, but calls could not be replayed
  70  internal error: a bug in pullplug

Examples:
  pullplug trace registry.strace --root /var/lib/registry
      a registry, judged under every model
  pullplug trace registry.strace --root /var/lib/registry --model btrfs --prove
      one of them, in all detail
  pullplug trace editor.strace --root /home/me/notes --ops
      the file-system calls of any program";

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The output of `strace -f -y -xx -s 1048576`
    #[arg(value_name = "STRACE-FILE")]
    pub file: PathBuf,
    /// The directory whose crashes are explored, as the program knew it; of a registry, its storage directory
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// A copy of that directory as it was before. Without it, the directory was empty
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// The strategy whose layout the directory has, by which links and contents are found
    #[arg(long, value_name = "NAME", value_parser = strategies(), default_value = DEFAULT_LAYOUT)]
    pub layout: String,
    /// The persistence model, in all detail; every one, if it is not given
    #[arg(long, value_name = "NAME", value_parser = models())]
    pub model: Option<String>,
    /// Visit so many crash states under a model, at most. A few are always visited at every crash point
    #[arg(long, value_name = "STATES", default_value_t = DEFAULT_BUDGET)]
    pub budget: NonZeroU64,
    /// Cover every crash state. What would take too long is a sample, as without
    #[arg(long)]
    pub prove: bool,
    /// Seed of samples
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
    /// How the machine stops
    #[arg(long, value_name = "HOW", value_enum, default_value_t = LossArg::PowerCut)]
    pub loss: LossArg,
    /// List the file-system calls that are replayed, and explore nothing
    #[arg(long, conflicts_with_all = ["crash", "json"])]
    pub ops: bool,
    /// Show one crash that was found: the calls, what was lost, what survived, and what is broken
    #[arg(long, value_name = "CRASH", conflicts_with = "json")]
    pub crash: Option<String>,
    /// Write the result as JSON to FILE or, without FILE, to the standard output instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
}
