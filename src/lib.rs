//! pullplug: a deterministic crash-test harness for container-registry storage.
//!
//! A complete registry core runs in one process on a simulated disk. The plug is pulled at every point of a workload,
//! the states that a file system may leave there are visited, the registry is started on each, and what it kept is
//! compared with what it had promised. The commit protocols of real registries are compared side by side; so can
//! yours be, and anything else that writes files and must survive.
//!
//! # One idea
//!
//! **Every nondeterministic decision is one call, [`Chooser::choose`](env::choice::Chooser::choose).** Which un-synced
//! effects survive, which call fails: a run is a list of choices. A seeded chooser explores, a depth-first one
//! enumerates, a recorded list replays, proptest shrinks it. Outside [`mod@env`] nothing is random or reads a clock, and
//! workers share nothing but plain data: the same seed gives the same bytes of output, on any number of threads.
//!
//! # The layers
//!
//! Each imports only those above it; a test holds the sources to that.
//!
//! | layer | what it is |
//! | --- | --- |
//! | [`mod@env`] | what the world supplies: choices, time, fresh identifiers, limits, locks |
//! | [`fs`] | the port: two small traits whose every method says what of it survives a crash; the real directory behind them, and a decorator that traces, counts, drops and fails calls |
//! | [`oci`] | words without I/O: digests, names, references, manifests, image layouts |
//! | [`disk`] | the fault-prone disk: inodes, a log of effects, the persistence models, the crash states that they allow |
//! | [`strategy`] | commit protocols, whole: upload, commit, mount, tag, delete, collect, recover; distribution's three, and `durable` |
//! | [`registry`] | the rules of the distribution-spec on top of a strategy, without HTTP |
//! | [`http`](mod@http) | the registry over HTTP, and the server |
//! | [`proxy`] | a registry that is a cache of another one |
//! | [`check`] | the invariants and the oracle that knows what was promised; blind to disks and schedules |
//! | [`explore`] | visits crash states, or covers all by what is read of them ([`explore::lazy`]), reduces findings; knows no registry, only a [`Subject`](explore::Subject) |
//! | [`workload`] | what clients do and with which images; a registry under a workload is one `Subject` |
//! | [`synthesis`] | which syncs a strategy needs, and which it lacks |
//! | [`trace`] | what strace recorded of any program, as a run whose crashes can be explored |
//! | `kernel` | real file systems on a recorded disk: the models held to them, and any registry crashed on them (behind the cargo feature of that name) |
//! | [`sim`] | the whole world on one seed: clients and the registry over HTTP on a simulated network, with a disk that interleaves and fails; schedules |
//! | [`report`] | matrices, counterexamples, JSON |
//! | [`harness`] | the library for your own tests: scenarios, an explorer that asserts, messages that tell all |
//! | [`cli`] | arguments, commands, exit codes |
//!
//! # Vocabulary
//!
//! * **Effect**: what a call did to the disk, in the smallest pieces that a power cut may separate: a directory entry,
//!   a length, the bytes of a block ([`disk::effect`]). Laid out under a model they are called **atoms**
//!   ([`disk::space`]): there a rename is one atom, or three.
//! * **Cut**: a place at which the machine may stop: between two calls, or inside a write after so many of its sectors
//!   ([`Cut`](disk::effect::Cut)). Reports call it a crash point.
//! * **Persistence model**: an order over effects, and a rule of what a completed sync forces ([`disk::model`]).
//! * **Crash state**: the durable image plus a set of the effects before the cut that contains what was forced and is
//!   closed under the model's order. What is missing from it was **lost**.
//! * **Torn write**: one of which some 512-byte sectors survived and others did not. No sector is ever torn.
//! * **Loss**: how the machine stops: a power cut, a process crash (nothing written is lost, and nothing of it is
//!   durable either), or a power cut on a disk that had lied about its syncs ([`Loss`](disk::crash::Loss)).
//! * **Link**: a small file that holds a digest; a tag, a revision or a layer of a repository is one. It **dangles**
//!   if the content that it names is missing, short or wrong.
//! * **Acknowledged**: answered to a client with success. From then on it must survive; what is running may; everything
//!   else must not be there ([`check::oracle`]).
//! * **Probe**: one thing to look at after a crash; an **observation** is what it saw of one invariant.
//! * **Finding**: a crash state that breaks an invariant, reduced to a minimal set of lost effects, with the one line
//!   that replays it.
//!
//! # What is guaranteed, and what is not
//!
//! * What a model allows is covered, and the report says `proved`: the workload's crashes, those after a restart,
//!   those after one of its syncs has failed, and those in the recovery from the workload's ([`explore::lazy`]); those
//!   in the recovery from a crash after a restart or a failed sync only where it has few ways, and then it says so. Where that takes too long, or on demand, states are visited one by one, small losses first, and the report
//!   says whether those were all at each cut or a sample: no finding in a sample is no proof.
//! * A finding is real under its model: it is reproduced from its own text before it is printed.
//! * An invariant that never looked at anything is shown as such; every fault that fires is counted.
//! * Links are judged on the raw image first and after recovery again, so that recovery cannot make a protocol look
//!   safe.
//! * The models are readings of documentation, papers and measurements on real kernels. They hold for the file systems
//!   that they are named after as far as those were understood; [`disk`] states what is assumed of the medium.
//! * No unsafe code. Errors are values; a panic is a bug, and the program says so with its exit code.
//!
//! # Where to start
//!
//! **You write a registry.** `pullplug ops --strategy durable --workload push` lists the calls of a protocol that
//! survives; `pullplug explore --strategy distribution-2.8 --model ext4-ordered --workload retag` shows how one does
//! not. To have your own judged, write a [`Strategy`](strategy::Strategy) over the port [`fs`], in any crate; [`harness`]
//! shows the test. Added to [`strategy::build`] and [`strategy::NAMES`], the commands know it too.
//!
//! **You study crash consistency.** Begin with [`disk::model`]: one file a model, each with its rules and sources;
//! `snapshots/litmus_*` shows all outcomes of some fifty small programs under each. Every cell of the comparison is a
//! few lines:
//!
//! ```
//! use pullplug::disk::{crash::Loss, model};
//! use pullplug::explore::{Budget, Run, Setting, explore};
//! use pullplug::workload::{Workload, image::Image, subject::RegistrySubject};
//!
//! let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
//! let subject = RegistrySubject::new("distribution-2.8", Workload::named("push", &first, &second)?)?;
//! let run = Run::of(&subject)?;
//! let budget = Budget { states: 500, recovery_states: 0, restart_states: 0 };
//! let setting = Setting { model: model::named("btrfs").unwrap(), loss: Loss::PowerCut, seed: 1, budget };
//! let seen = explore(&subject, &run, setting);
//! assert!(seen.violations["no-dangling-link"] > 0, "a link survives, the rename of its blob does not");
//! println!("{:?}", seen.findings["no-dangling-link"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **You have a storage protocol of your own.** Begin with [`harness`]: a few closures over the port, one test. Here a
//! file is replaced by a rename, and a sync was forgotten:
//!
//! ```
//! use pullplug::fs::{FileExt, Fs, FsExt, OpenMode, Result};
//! use pullplug::{Explorer, Scenario, harness::ensure};
//!
//! async fn put(fs: &impl Fs, text: &'static str) -> Result<()> {
//!     let file = fs.open("conf.tmp", OpenMode::Create).await?;
//!     file.write_full(0, text.into()).await?; // and no file.sync_all()
//!     fs.rename("conf.tmp", "conf").await?;
//!     fs.sync_dir("").await
//! }
//!
//! let replace = || {
//!     Scenario::new("replace")
//!         .setup(async |fs| put(fs, "old").await)
//!         .step("put new", async |fs| put(fs, "new").await)
//!         .invariant("old-or-new", async |fs, _| {
//!             let text = fs.read("conf", 100).await?;
//!             ensure(text == "old" || text == "new", format!("it holds {text:?}"))
//!         })
//! };
//! Explorer::new(replace()).model("journal").assert_safe(); // where all persists in order
//! let seen = Explorer::new(replace()).model("ext4-ordered").explore()?;
//! assert!(!seen.is_safe(), "the new name can be there with zeros for bytes");
//! println!("{seen}");
//! # Ok::<(), String>(())
//! ```

pub mod check;
pub mod cli;
pub mod config;
pub mod disk;
pub mod env;
pub mod explore;
pub mod fs;
pub mod harness;
pub mod http;
#[cfg(all(feature = "kernel", target_os = "linux"))]
pub mod kernel;
pub mod oci;
pub mod proxy;
pub mod registry;
pub mod report;
pub mod sim;
pub mod strategy;
pub mod synthesis;
pub mod trace;
pub mod workload;

pub use harness::{Explorer, Scenario};
