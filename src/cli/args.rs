//! The arguments, as clap sees them.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::disk::crash::Loss;
use crate::disk::model;
use crate::report::MAX_COLUMNS;
use crate::sim::schedule::{MAX_CLIENTS, MAX_STEPS};
use crate::workload::pair::PAIRS;
use crate::{strategy, workload};

/// The seed if none is given.
pub const DEFAULT_SEED: u64 = 1;
/// Crash states of a cell if nothing is said: what lets the whole comparison end within two minutes on two cores.
pub const DEFAULT_BUDGET: NonZeroU64 = NonZeroU64::new(20_000).unwrap();

const ABOUT: &str = "Crash-tests the ways in which container registries store images";

const LONG_ABOUT: &str = "\
Crash-tests the ways in which container registries store images.

A complete registry core runs on a simulated disk. Then the plug is pulled at every point of a workload, every state \
that a file system may leave behind there is visited (or a sample, where there are too many), the registry is started \
on it again, and what it kept is compared with what it had promised.

Without a command, pullplug compares: the options of `compare` may be given right away.";

const AFTER_HELP: &str = "\
Exit codes:
  0   nothing found
  1   compare: a strategy broke an invariant that it claims to keep
      explore, simulate: an invariant was broken; replay: it is still broken
  2   bad usage or input, or an output that cannot be written
  69  serve, garbage-collect: the directory or the address cannot be had
  70  internal error: a bug in pullplug

Examples:
  pullplug
      every strategy under every model and workload
  pullplug --strategies durable,distribution-2.8 --models xfs,btrfs --json report.json
      some of them, and a report for programs
  skopeo copy docker://alpine oci:alpine && pullplug --image alpine
      with a real image
  pullplug explore --strategy distribution-2.8 --model btrfs --workload push --save found
      one of them, all detail, and a file to replay for each finding
  pullplug explore --strategy distribution-3.1 --model xfs --concurrent push,gc --preemptions 2
      a push and a collection at once, in every order
  pullplug replay found/distribution-2.8-btrfs-push-acked-survives.json
      what was done, what was lost, what survived
  pullplug ops --strategy distribution-2.8 --workload push
      the file-system calls
  pullplug serve --root ./images
      a registry for clients, on a real directory
  pullplug simulate --strategy distribution-2.8 --runs 200
      clients, a network and a disk that fail, by chance

Colours appear on terminals alone, and not if NO_COLOR is set.";

const REPLAY_HELP: &str = "\
A crash is named by a word that compare and explore print, without blanks:

  STRATEGY/MODEL/WORKLOAD/LOSS[/INVARIANT]
    [/turns@FIRST[:TURN,...]][/restart@PLACE]/crash@PLACE[:LOST]
    [/recovery@PLACE[:LOST]][/run@HASH]

  INVARIANT  what the verdict is about; without it, about all
  FIRST      of two clients at once, who begins: 1 or 2
  TURN       the turns that the other one takes from the one that could go on
  PLACE      STEPS[.SECTORS]: so many steps done, and so many sectors of the write that comes next
  LOST       the effects that were lost, numbered in the order of execution, as in 4-6,9
  HASH       of the schedule, which another version, seed or image changes; checked if it is there

Exit codes:
  0   it is not broken (any more)
  1   it is still broken
  2   bad usage or input
  70  internal error: a bug in pullplug";

const SERVE_HELP: &str = "\
CONFIG is distribution's file, in YAML, version 0.1; REGISTRY_A_B=VALUE in the environment overrides its key a.b. \
A key that is not supported is refused by name. What distribution does not have is in a section of our own:

  pullplug:
    strategy: durable
    garbagecollect: {enabled: true, interval: 24h, deleteuntagged: false}
    limits: {connections: 4096, headertimeout: 30s, idletimeout: 3m, bodytimeout: 2m}
    quota: {defaultbytes: 10000000000, repositories: {lib/app: 50000000000}}

SIGTERM and SIGINT let requests under way finish, for http.draintimeout (30 seconds if not set); a second one does not.

Exit codes:
  0   it was told to stop, and did
  2   bad usage or configuration
  69  the directory or the address cannot be had: in use, not writable, or beyond recovery
  70  internal error: a bug in pullplug

Examples:
  pullplug serve --root ./images
      a registry for this machine, without a file
  pullplug serve --root /srv/images --addr :5000 --strategy distribution-2.8
      for everybody, with the commit protocol of distribution 2.8
  REGISTRY_STORAGE_DELETE_ENABLED=true pullplug serve /etc/docker/registry/config.yml
      in place of distribution, on its directory";

const GARBAGE_COLLECT_HELP: &str = "\
The registry must not run meanwhile; a directory that `pullplug serve` works on is refused. With `durable`, the server \
itself can collect: see `pullplug help serve`.

Exit codes:
  0   done
  2   bad usage or configuration
  69  the directory cannot be had, or the collection failed
  70  internal error: a bug in pullplug

Examples:
  pullplug garbage-collect --dry-run /etc/docker/registry/config.yml
      what would go
  pullplug garbage-collect -m --root ./images
      with manifests that no tag names";
const SIMULATE_HELP: &str = "\
A whole registry and its clients run on a simulated network and a simulated disk, all on one
seed. Every run draws its own mix of operations and faults. Where an invariant breaks, the
schedule is made as small as it gets, and saved.

Exit codes:
  0   nothing found
  1   an invariant was broken
  2   bad usage or input, or an output that cannot be written
  70  internal error: a bug in pullplug

Examples:
  pullplug simulate --runs 1000
  pullplug simulate --strategy distribution-2.8 --model ext4-ordered
  pullplug replay findings/distribution-2.8-ext4-ordered-acked-survives-3.json";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "pullplug",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    max_term_width = MAX_COLUMNS as usize
)]
pub struct Cli {
    /// What to do; to compare, if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `compare`.
    #[command(flatten)]
    pub compare: CompareArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare strategies: which breaks which invariant, under which file system (the default)
    #[command(after_long_help = AFTER_HELP)]
    Compare(CompareArgs),
    /// Explore one strategy under one model and workload, in all detail
    #[command(after_long_help = AFTER_HELP)]
    Explore(ExploreArgs),
    /// Show one crash: the calls, what was lost, what survived, and what is broken
    #[command(after_long_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// List the file-system calls that a strategy makes in a workload
    Ops(OpsArgs),
    /// Serve images over HTTP, with distribution's configuration or without any
    #[command(after_long_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Delete what no manifest reaches, while no registry runs
    #[command(after_long_help = GARBAGE_COLLECT_HELP)]
    GarbageCollect(GarbageCollectArgs),
    /// Run clients against a registry whose network, disk and power fail, seed after seed
    #[command(after_long_help = SIMULATE_HELP)]
    Simulate(SimulateArgs),
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Strategies, separated by commas; all, if none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = strategies())]
    pub strategies: Vec<String>,
    /// Persistence models, separated by commas; all, if none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = models())]
    pub models: Vec<String>,
    /// Workloads, separated by commas; all, if none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = workloads())]
    pub workloads: Vec<String>,
    /// How to explore, and where to write what was found.
    #[command(flatten)]
    pub explore: Exploration,
}

/// Arguments of `explore`.
#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// The strategy
    #[arg(long, value_name = "NAME", value_parser = strategies())]
    pub strategy: String,
    /// The persistence model
    #[arg(long, value_name = "NAME", value_parser = models())]
    pub model: String,
    /// The workload
    #[arg(long, value_name = "NAME", value_parser = workloads(), required_unless_present = "concurrent")]
    pub workload: Option<String>,
    /// Two operations at once, under every interleaving of their file-system calls within a bound, instead of a
    /// workload. Of these, no recovery is cut, and no process is restarted
    #[arg(long, value_name = "PAIR", value_parser = PossibleValuesParser::new(PAIRS), conflicts_with = "workload")]
    pub concurrent: Option<String>,
    /// With --concurrent: one operation may be stopped in favour of the other so many times, at most 4
    #[arg(long, value_name = "N", default_value_t = 2, conflicts_with = "workload", value_parser = value_parser!(u8).range(0..=4))]
    pub preemptions: u8,
    /// How to explore, and where to write what was found.
    #[command(flatten)]
    pub explore: Exploration,
}

/// How to explore, and where to write what was found.
#[derive(Debug, Args)]
pub struct Exploration {
    /// What is pushed, and how it is chosen.
    #[command(flatten)]
    pub input: Input,
    /// Visit so many crash states of a cell, at most: half of them of the workload, a quarter after a process crash and
    /// a restart, a quarter of recoveries. A few are always visited at every crash point
    #[arg(long, value_name = "STATES", default_value_t = DEFAULT_BUDGET)]
    pub budget: NonZeroU64,
    /// Cover every crash state, also after a restart and during recovery. What would take too long is a sample, as without
    #[arg(long)]
    pub prove: bool,
    /// How the machine stops
    #[arg(long, value_name = "HOW", value_enum, default_value_t = LossArg::PowerCut)]
    pub loss: LossArg,
    /// Write the result as JSON to FILE or, without FILE, to the standard output instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
    /// Write a file to replay for each finding into DIR, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Say how long each cell took. Without it, the same seed gives the same bytes of output
    #[arg(long)]
    pub timings: bool,
}

/// What is pushed, and how it is chosen.
#[derive(Debug, Args)]
pub struct Input {
    /// Push the images of the OCI image layout in DIR instead of a generated one of 40,000 bytes
    #[arg(long, value_name = "DIR")]
    pub image: Option<PathBuf>,
    /// Seed of generated images and of samples
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file that --save wrote, or a crash as compare and explore print it; or a schedule that simulate saved
    #[arg(value_name = "FILE|CRASH")]
    pub crash: String,
    /// Push the images of the OCI image layout in DIR; a file names its own
    #[arg(long, value_name = "DIR")]
    pub image: Option<PathBuf>,
    /// Seed of generated images; a file names its own
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The first seed; the runs take it and those that follow
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
    /// How many runs; 100, if neither this nor --time is given
    #[arg(long, value_name = "K")]
    pub runs: Option<NonZeroU64>,
    /// The strategy
    #[arg(long, value_name = "NAME", value_parser = strategies(), default_value = "durable")]
    pub strategy: String,
    /// The persistence model
    #[arg(long, value_name = "NAME", value_parser = models(), default_value = "posix")]
    pub model: String,
    /// How many clients there are, at most 8
    #[arg(long, value_name = "C", default_value = "3", value_parser = value_parser!(u8).range(1..=i64::from(MAX_CLIENTS)))]
    pub clients: u8,
    /// How many steps a schedule has, about; at most 10000
    #[arg(long, value_name = "L", default_value = "70", value_parser = value_parser!(u32).range(1..=i64::from(MAX_STEPS)))]
    pub steps: u32,
    /// Begin no more runs after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<NonZeroU64>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the schedules of findings into DIR, which is made if it is not there
    #[arg(long, value_name = "DIR", default_value = "findings")]
    pub save: PathBuf,
    /// Keep the schedules of findings as they were generated
    #[arg(long)]
    pub no_shrink: bool,
    /// Say how long it took. Without it, the same seed gives the same bytes of output
    #[arg(long)]
    pub timings: bool,
}

/// Arguments of `ops`.
#[derive(Debug, Args)]
pub struct OpsArgs {
    /// The strategy
    #[arg(long, value_name = "NAME", value_parser = strategies())]
    pub strategy: String,
    /// The workload
    #[arg(long, value_name = "NAME", value_parser = workloads())]
    pub workload: String,
    /// What is pushed.
    #[command(flatten)]
    pub input: Input,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Listen there, whatever the configuration says; with --root it is 127.0.0.1:5000 if not given. Without a host,
    /// on all addresses; with port 0, on a free one
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<String>,
}

/// Arguments of `garbage-collect`.
#[derive(Debug, Args)]
pub struct GarbageCollectArgs {
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Say what would be deleted, and delete nothing
    #[arg(short, long)]
    pub dry_run: bool,
    /// Also delete manifests that no tag and no index names
    #[arg(short = 'm', long)]
    pub delete_untagged: bool,
}

/// Which registry: its configuration, or only its directory.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// The configuration file; REGISTRY_CONFIGURATION_PATH if not given
    #[arg(value_name = "CONFIG", conflicts_with = "root")]
    pub config: Option<PathBuf>,
    /// Keep images in DIR, which is made if it is not there, with defaults for all else
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The commit protocol; if it is not given, the configuration's or else `durable`
    #[arg(long, value_name = "NAME", value_parser = strategies(), env = "PULLPLUG_STRATEGY", hide_env_values = true)]
    pub strategy: Option<String>,
}

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

fn strategies() -> PossibleValuesParser {
    PossibleValuesParser::new(strategy::NAMES)
}

fn models() -> PossibleValuesParser {
    PossibleValuesParser::new(model::ALL.map(|m| m.name()))
}

fn workloads() -> PossibleValuesParser {
    PossibleValuesParser::new(workload::NAMES)
}
