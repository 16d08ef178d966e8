//! The library for your own tests: a storage protocol of any kind, its invariants, and one line that judges it.
//!
//! A [`Scenario`] is a handful of async closures over the port [`Fs`](crate::fs::Fs): what is there beforehand, the
//! steps among which the plug is pulled, and what must be true of whatever is left. Steps are answered when they
//! return; an invariant is told how many were. Each invariant looks at each crash state on a disk of its own, which
//! was opened anew, so that no look depends on another. In here no call ever waits, and no runtime is needed.
//!
//! [`Explorer`] runs the steps once, pulls the plug everywhere, under every persistence model that you name, and also
//! while recovery runs; [`Explorer::assert_safe`] is the test. That it passes is a proof: what your invariants and your
//! recovery read of the disk decides which crash states they can tell apart, and each of these was looked at. (So they have
//! to go by what they read, and by nothing else.) Where that would take too long it does not pass, unless
//! a [`budget`](Explorer::budget) says that a sample will do. A failure tells what `pullplug replay` prints: the calls, the smallest loss that breaks the
//! invariant, what survived, and how to see that one crash again.
//!
//! # A configuration file
//!
//! Replacing a file by a rename is the classic; without a sync of the new file, its name may survive its bytes.
//!
//! ```
//! use pullplug::fs::{FileExt, Fs, FsExt, OpenMode, Result};
//! use pullplug::{Explorer, Scenario, disk::model, harness::ensure};
//!
//! async fn save(fs: &impl Fs, text: &'static str) -> Result<()> {
//!     let file = fs.open("conf.tmp", OpenMode::Create).await?;
//!     file.write_full(0, text.into()).await?; // and no file.sync_all()
//!     fs.rename("conf.tmp", "conf").await?;
//!     fs.sync_dir("").await
//! }
//!
//! let config = Scenario::new("config")
//!     .setup(async |fs| save(fs, "old").await)
//!     .step("save new", async |fs| save(fs, "new").await)
//!     .invariant("old-or-new", async |fs, at| {
//!         let text = fs.read("conf", 100).await?;
//!         ensure(text == "new" || (at.answered == 0 && text == "old"), format!("it holds {text:?}"))
//!     });
//! let seen = Explorer::new(config).models(model::ALL).explore()?;
//! assert_eq!(seen.broken().next(), Some(("ext4-ordered", "old-or-new")), "where all persists in order, it is right");
//! println!("{seen}"); // what assert_safe() would have panicked with
//! assert!(seen.to_string().contains("the power fails"));
//! # Ok::<(), String>(())
//! ```
//!
//! With the sync it is right under every model but two: `posix-split-rename` lets a rename in pieces lose both texts, and
//! under `ext4-writeback` the old one may hold anything until the rename is durable. `.allow("posix-split-rename",
//! "old-or-new")` would say that this is known; a new name for each text does without:
//!
//! ```
//! # use pullplug::{Explorer, Scenario, disk::model, harness::ensure};
//! use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode, Result};
//!
//! /// The newest text: `conf.00000002` is newer than `conf.00000001`.
//! async fn newest(fs: &impl Fs) -> Result<Option<String>> {
//!     let mut names = fs.list("").await?.into_iter().map(|entry| entry.name);
//!     Ok(names.rfind(|name| name.starts_with("conf.")))
//! }
//!
//! async fn save(fs: &impl Fs, text: &'static str) -> Result<()> {
//!     let old = newest(fs).await?;
//!     let number: u32 = old.as_ref().and_then(|name| name[5..].parse().ok()).unwrap_or(0);
//!     let file = fs.open("tmp", OpenMode::Create).await?;
//!     file.set_len(0).await?;
//!     file.write_full(0, text.into()).await?;
//!     file.sync_all().await?;
//!     fs.rename("tmp", &format!("conf.{:08}", number + 1)).await?;
//!     fs.sync_dir("").await?;
//!     match old {
//!         Some(old) => fs.unlink(&old).await,
//!         None => Ok(()),
//!     }
//! }
//!
//! let config = Scenario::new("config")
//!     .setup(async |fs| save(fs, "old").await)
//!     .step("save new", async |fs| save(fs, "new").await)
//!     .step("save newer", async |fs| save(fs, "newer").await)
//!     .retry() // after a crash of the process it starts again, and what was not answered is done again
//!     .invariant("newest-answered", async |fs, at| {
//!         let name = newest(fs).await?.ok_or("there is no text")?;
//!         let text = fs.read(&name, 100).await?;
//!         let allowed = &["old", "new", "newer"][at.answered..=at.begun];
//!         ensure(allowed.iter().any(|word| text == *word), format!("{name} holds {text:?}, not one of {allowed:?}"))
//!     });
//! Explorer::new(config).models(model::ALL).assert_safe();
//! ```
//!
//! # A log with checksums
//!
//! What is opened may be a value of your own: opening it is what recovery is. This log drops what is torn at its end,
//! if it compares checksums; if it does not, it believes what it finds.
//!
//! ```
//! use pullplug::disk::{SimFile, SimFs, model};
//! use pullplug::fs::{File, FileExt, Fs, FsExt, OpenMode, Result};
//! use pullplug::{Explorer, Scenario, harness::ensure};
//!
//! fn sum(text: &str) -> u32 {
//!     text.bytes().fold(5381, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte))
//! }
//!
//! struct Log {
//!     file: SimFile,
//!     records: Vec<String>,
//!     end: u64,
//! }
//!
//! impl Log {
//!     async fn open(fs: SimFs, compare: bool) -> Result<Self> {
//!         let file = fs.open("log", OpenMode::Create).await?;
//!         fs.sync_dir("").await?;
//!         let text = fs.read("log", 1 << 20).await?;
//!         let text = String::from_utf8_lossy(&text).into_owned();
//!         let mut log = Self { file, records: Vec::new(), end: 0 };
//!         for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
//!             let Some((told, record)) = line.trim_end().split_once(' ') else { break };
//!             if compare && told != format!("{:08x}", sum(record)) {
//!                 break;
//!             }
//!             log.end += line.len() as u64;
//!             log.records.push(record.to_owned());
//!         }
//!         log.file.set_len(log.end).await?;
//!         Ok(log)
//!     }
//!
//!     async fn append(&mut self, record: &str) -> Result<()> {
//!         let line = format!("{:08x} {record}\n", sum(record));
//!         self.file.write_full(self.end, line.clone().into()).await?;
//!         self.file.sync_data().await?;
//!         self.end += line.len() as u64;
//!         self.records.push(record.to_owned());
//!         Ok(())
//!     }
//! }
//!
//! /// The `i`-th record: two sectors long, so that it can be torn.
//! fn record(i: usize) -> String {
//!     ["a", "b", "c"][i].repeat(900)
//! }
//!
//! fn log(compare: bool) -> Scenario<Log> {
//!     let mut log = Scenario::open("log", async move |fs| Log::open(fs, compare).await);
//!     for i in 0..3 {
//!         log = log.step(format!("append {i}"), async move |log| log.append(&record(i)).await);
//!     }
//!     log.each("answered-is-there", 0..3, async |log, i, at| {
//!         ensure(*i >= at.answered || log.records.get(*i) == Some(&record(*i)), format!("record {i} is gone"))
//!     })
//!     .invariant("nothing-invented", async |log, _| {
//!         let mut all = log.records.iter().enumerate();
//!         ensure(all.all(|(i, found)| i < 3 && *found == record(i)), "a record that nobody wrote")
//!     })
//! }
//!
//! Explorer::new(log(true)).models(model::ALL).assert_safe();
//! let seen = Explorer::new(log(false)).model("posix").explore()?;
//! assert!(!seen.is_safe() && seen.to_string().contains("a record that nobody wrote"), "{seen}");
//! # Ok::<(), String>(())
//! ```
//!
//! # A registry's storage
//!
//! A [`Strategy`](crate::strategy::Strategy) of your own needs a [`Protocol`] that builds
//! it; workloads and invariants are there already:
//!
//! ```
//! # use pullplug::{env::World, fs::Fs, strategy::{Protocol, Strategy, durable::Durable}};
//! # use pullplug::Explorer;
//! use pullplug::workload::{Workload, image::Image, subject::RegistrySubject};
//!
//! struct Mine;
//!
//! impl Protocol for Mine {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!     fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
//!         Some(Box::new(Durable::new(fs, world))) // yours
//!     }
//! }
//!
//! let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
//! let push = RegistrySubject::of(Mine, Workload::named("push", &first, &second)?)?;
//! Explorer::new(push).model("btrfs").assert_safe();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whatever fits neither implements [`Subject`] and [`Story`].

mod explorer;
mod scenario;
mod seen;

pub use explorer::{DEFAULT_BUDGET_STATES, Explorer};
pub use scenario::{Complaint, Progress, Scenario, Verdict, ensure};
pub use seen::{Explored, Seen};

use crate::explore::Subject;
use crate::strategy::Protocol;
use crate::workload::subject::RegistrySubject;

/// A subject that can be told of.
pub trait Story: Subject {
    /// Who is judged, and at what: `["durable", "push"]`. Words of letters, digits, `.`, `_` and `-`.
    fn title(&self) -> [String; 2];

    /// What was done, in words: mark `2 * i` says that operation `i` begins, mark `2 * i + 1` that it is answered.
    fn operations(&self) -> Vec<String>;
}

impl<P: Protocol> Story for RegistrySubject<P> {
    fn title(&self) -> [String; 2] {
        [self.strategy().name().to_owned(), self.workload().name.clone()]
    }

    fn operations(&self) -> Vec<String> {
        self.workload().ops.iter().map(ToString::to_string).collect()
    }
}
