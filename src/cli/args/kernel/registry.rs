//! The arguments of `kernel registry`.

use std::path::PathBuf;

use clap::{Args, value_parser};

use super::super::{DEFAULT_LAYOUT, DEFAULT_SEED, strategies};
use super::{DiskArgs, repeats, seconds, up_to};

/// What stands below the options.
pub const HELP: &str = "\
The program is started, unmodified, on a file system whose disk is recorded. Clients push to it over HTTP, all at once: \
images that share layers, each by a tag of its own and by one that moves; somebody else syncs another file now and then, \
or everything. The power goes at entries of the disk's log, and what was written since the last flush is lost or torn; \
the kernel mounts each image, and what lies there is judged by what had been acknowledged. Nothing is repaired before \
that. --restart has the program itself say what it makes of the image, as well.

In the command, {config} is the path of a configuration file of distribution, {root} the directory for its images, \
{addr} where it shall listen and {port} the port of that. It gets no REGISTRY_* variables: write `env NAME=VALUE \
PROGRAM`. It and all that it has started is killed in the end.

What is pushed follows from the seed, and so does which images are looked at; what the kernel writes when does not. An \
example is said to be smallest of what was seen.

Exit codes:
  0   nothing was broken
  1   an image broke an invariant, or could not be mounted and read, or the control broke nothing
  2   bad usage or input, a program that does not serve, or a pullplug that was built without this
  69  this machine cannot do it: what is missing is said
  70  internal error: a bug in pullplug, or something was left behind
  75  no verdict: it was interrupted, took too long, or the disk hung and was aborted

Examples:
  pullplug kernel registry --fs btrfs --serve 'docker-registry serve {config}'
      a registry with a configuration of distribution's
  pullplug kernel registry --fs xfs --serve './mine --root {root} --listen {addr}' --restart=100
      any other, if it keeps distribution's layout; on 100 images it is started again
  pullplug kernel registry --strategies durable,distribution-3.1
      pullplug serve with these commit protocols, on every file system";

/// Arguments of `kernel registry`.
#[derive(Debug, Args)]
pub struct CrashedRegistryArgs {
    /// File systems, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "ext4-ordered,ext4-writeback,xfs,btrfs")]
    pub fs: Vec<String>,
    /// The command that serves, with {config} or {root}, and {addr} or {port}
    #[arg(long, value_name = "COMMAND", required_unless_present = "strategies")]
    pub serve: Option<String>,
    /// Judge `pullplug serve` with these strategies, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = strategies())]
    pub strategies: Vec<String>,
    /// The strategy whose layout the command's directory has
    #[arg(long, value_name = "NAME", value_parser = strategies(), default_value = DEFAULT_LAYOUT)]
    pub layout: String,
    /// So many clients push at once, at most 16
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = value_parser!(u32).range(1..=16))]
    pub clients: u32,
    /// So many images each, at most 12
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=12))]
    pub images: u32,
    /// Look at so many crashes of each run, half of them nothing but the power that goes; at most
    /// 1000000
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = repeats())]
    pub crashes: u64,
    /// Push so many times, each time to an empty registry, with seeds that follow; at most 1000000
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = repeats())]
    pub runs: u64,
    /// Start the program on so many of the images of a run as well, on all if no number is given; at most
    /// 1000000
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, value_parser = up_to())]
    pub restart: Option<Option<u64>>,
    /// The program must answer within so many seconds, at most 604800 (a week)
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    pub start_s: u64,
    /// Seed of what is pushed, and of which images are looked at
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
    /// Write the disk of each example into a file in DIR, which is made if it is not there: to be mounted
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// The recorded disk.
    #[command(flatten)]
    pub disk: DiskArgs,
    /// Write the result as JSON to FILE or, without FILE, to the standard output instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
}
