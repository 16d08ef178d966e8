//! The arguments, as clap sees them.

mod help;
mod kernel;
mod loss;
mod trace;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand, value_parser};

use crate::check::Invariant;
use crate::disk::model;
use crate::report::MAX_COLUMNS;
use crate::sim::schedule::{MAX_CLIENTS, MAX_STEPS};
use crate::synthesis::Alteration;
use crate::workload::pair::PAIRS;
use crate::{strategy, workload};
use help::{ABOUT, AFTER_HELP, GARBAGE_COLLECT_HELP, LONG_ABOUT, REPLAY_HELP, SERVE_HELP, SIMULATE_HELP, SYNCS_HELP};
pub use kernel::{CrashedRegistryArgs, DiskArgs, KernelArgs, KernelCommand, SoundnessArgs};
pub use loss::LossArg;
pub use trace::{DEFAULT_LAYOUT, TraceArgs};

/// The seed if none is given.
pub const DEFAULT_SEED: u64 = 1;
/// Crash states that are visited of a cell if nothing is said.
pub const DEFAULT_BUDGET: NonZeroU64 = NonZeroU64::new(20_000).unwrap();

/// The largest layer that is generated.
const MAX_LAYER_BYTES: u64 = 1_000_000;

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
    /// Say which syncs a strategy needs, and which it lacks
    #[command(after_long_help = SYNCS_HELP)]
    Syncs(SyncsArgs),
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
    /// Crash any program: from the system calls that strace recorded of it
    #[command(after_long_help = trace::HELP)]
    Trace(TraceArgs),
    /// Crash real file systems on a recorded disk, with the models beside them or with any registry on them (Linux, root,
    /// cargo feature `kernel`)
    Kernel(KernelArgs),
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
    /// workload. Of these, no process is restarted, and recovery is cut with --prove alone
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
    /// Visit crash states one by one, so many of a cell at most, instead of covering all: half of them of the workload, a
    /// quarter after a process crash and a restart, a quarter of recoveries. A few are always visited at every crash
    /// point. A cell that would take too long to cover is visited so in any case [default: 20000]
    #[arg(long, value_name = "STATES")]
    pub budget: Option<NonZeroU64>,
    /// Visit crash states one by one, within the default budget
    #[arg(long)]
    pub sample: bool,
    /// Cover every crash state, though a budget is given for what would take too long
    #[arg(long, conflicts_with = "sample")]
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

impl Exploration {
    /// How many crash states are visited, at most.
    pub fn states(&self) -> u64 {
        self.budget.unwrap_or(DEFAULT_BUDGET).get()
    }

    /// Whether every crash state is to be covered.
    pub fn proves(&self) -> bool {
        self.prove || (self.budget.is_none() && !self.sample)
    }
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
    /// Size of the layer of a generated image, as syncs prints it; 0: it has none
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = layer_bytes())]
    pub layer_bytes: u32,
    /// On the strategy with a sync left out, or with two calls swapped, as syncs prints it
    #[arg(long, value_name = "HOW")]
    pub altered: Option<Alteration>,
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

/// Arguments of `syncs`.
#[derive(Debug, Args)]
pub struct SyncsArgs {
    /// The strategy
    #[arg(long, value_name = "NAME", value_parser = strategies())]
    pub strategy: String,
    /// Persistence models, separated by commas; all, if none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = models())]
    pub model: Vec<String>,
    /// Workloads, separated by commas; push, retag, delete and gc, if none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = workloads())]
    pub workloads: Vec<String>,
    /// What the syncs that are added have to keep, separated by commas; all that `durable` claims under the model, if
    /// none are given
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = invariants())]
    pub invariants: Vec<String>,
    /// Also swap each call with the one that comes next
    #[arg(long)]
    pub orders: bool,
    /// Only look for the syncs that it lacks
    #[arg(long, conflicts_with = "orders")]
    pub missing: bool,
    /// Look for so many sets of syncs to add, at most
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u8).range(1..))]
    pub limit: u8,
    /// What is pushed, and how it is chosen.
    #[command(flatten)]
    pub input: Input,
    /// Size of the layer of a generated image; 0: it has none
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = layer_bytes())]
    pub layer_bytes: u32,
    /// Write the result as JSON to FILE or, without FILE, to the standard output instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
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

fn strategies() -> PossibleValuesParser {
    PossibleValuesParser::new(strategy::NAMES)
}

fn models() -> PossibleValuesParser {
    PossibleValuesParser::new(model::ALL.map(|m| m.name()))
}

fn layer_bytes() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(..=MAX_LAYER_BYTES)
}

fn invariants() -> PossibleValuesParser {
    PossibleValuesParser::new(Invariant::ALL.map(Invariant::name))
}

fn workloads() -> PossibleValuesParser {
    PossibleValuesParser::new(workload::NAMES)
}
