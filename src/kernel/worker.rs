//! The worker: does what the supervisor wants, and says how it goes, one line of JSON after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::FileSystem;
use super::calls;
use super::control::Places;
use super::host;
use super::image::Way;
use super::machine::Machine;
use super::registry::{self, Listener, Refused, Verdict};
use super::soundness::{self, Disagreement, How};
use crate::env::choice::Seeded;
use crate::env::clock::Stopwatch;
use crate::fs::script::Script;

/// What is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The work directory.
    pub work: PathBuf,
    /// The process that serves the disk.
    pub server: u32,
    /// The file system, by its name.
    pub fs: String,
    /// The seed.
    pub seed: u64,
    /// What to do on it.
    pub task: Task,
    /// Panic after so many images: for tests of what is left behind.
    pub panic_after: Option<u64>,
}

/// What is done on a recorded disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Task {
    /// Models are held to the file system.
    Soundness(Scripts),
    /// A registry is judged.
    Registry(registry::Task),
}

/// Which scripts are played.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scripts {
    /// So many of them.
    pub runs: u64,
    /// No more than so many images, if it is said.
    pub images: Option<u64>,
    /// No further script after so many seconds, if it is said.
    pub seconds: Option<u64>,
    /// These scripts, each so many times, instead of random ones.
    pub scripts: Vec<String>,
    /// Have the kernel write back and commit between their calls, as it may by itself.
    pub noisy: bool,
    /// Shrink so many disagreements of each model; of the others only the number is told.
    pub shrink: u64,
}

/// What the worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    /// Another image came to its end.
    Image,
    /// Another script did.
    Script,
    /// It comes on otherwise: with what.
    Step(String),
    /// A model does not allow what was seen.
    Found(Disagreement),
    /// All is done.
    Done(Box<Outcome>),
    /// The program that is judged does not do its part.
    Refused(String),
    /// It cannot go on.
    Failed(String),
}

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Models were held to a file system.
    Soundness(Tally),
    /// A registry was judged.
    Registry(Verdict),
}

/// What all runs came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The file system.
    pub fs: String,
    /// Scripts.
    pub runs: u64,
    /// Images, by how they came about.
    pub images: BTreeMap<Way, u64>,
    /// Controls that showed a loss.
    pub caught: u64,
    /// By model: in how many runs it did not allow an image.
    pub disagreements: BTreeMap<String, u64>,
    /// What came of each script that was given.
    pub scripts: BTreeMap<String, Shown>,
    /// The median time that an image took.
    pub median_micros: u64,
}

/// What came of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What the file system's own model allows at any time; nothing, where that is too much to list.
    pub allowed: BTreeSet<String>,
    /// What was seen: after so many calls, how far they had come, and the tree.
    pub seen: BTreeSet<(usize, String, String)>,
    /// What of it is a crash state of that model.
    pub met: BTreeSet<String>,
    /// What of it is none.
    pub forbidden: BTreeSet<String>,
}

impl Shown {
    /// What is allowed and was never seen.
    pub fn never_seen(&self) -> impl Iterator<Item = &String> {
        self.allowed.difference(&self.met)
    }

    /// How many of the allowed outcomes were seen.
    pub fn met_of_allowed(&self) -> usize {
        self.allowed.intersection(&self.met).count()
    }

    fn add(&mut self, outcome: &mut soundness::Outcome) {
        self.allowed.append(&mut outcome.allowed);
        self.seen.append(&mut outcome.seen);
        self.met.append(&mut outcome.met);
        self.forbidden.append(&mut outcome.forbidden);
    }
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Does a job. What fails is said.
///
/// Errors: nobody listens.
pub fn work(job: &Job) -> io::Result<()> {
    say(&match outcome(job) {
        Ok(outcome) => Said::Done(Box::new(outcome)),
        Err(e) => Refused::of(&e).map_or_else(|| Said::Failed(e.to_string()), Said::Refused),
    })
}

fn outcome(job: &Job) -> io::Result<Outcome> {
    host::dies_with_parent()?;
    host::own_mounts()?;
    let mut kind = FileSystem::named(&job.fs).ok_or_else(|| bad(format!("there is no {:?}", job.fs)))?;
    if matches!(&job.task, Task::Soundness(scripts) if scripts.noisy) {
        kind = kind.committing_often();
    }
    let places = Places(job.work.clone());
    let mut machine = Machine::new(kind, places.clone(), job.server)?;
    let mut seen = 0;
    let mut tick = || {
        seen += 1;
        assert!(job.panic_after.is_none_or(|most| seen < most), "a panic that was asked for");
        // If nobody listens any more, the supervisor is gone and so is this process.
        let _ = say(&Said::Image);
    };
    match &job.task {
        Task::Soundness(task) => tally(&mut machine, job.seed, task, &mut tick).map(Outcome::Soundness),
        Task::Registry(task) => {
            let step = |what: &str| drop(say(&Said::Step(what.to_owned())));
            let mut listener = Listener { image: &mut tick, step };
            registry::judge(&mut machine, &places, job.seed, task, &mut listener).map(Outcome::Registry)
        }
    }
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn tally(machine: &mut Machine, seed: u64, job: &Scripts, tick: &mut dyn FnMut()) -> io::Result<Tally> {
    let kind = machine.kind();
    let given: Vec<Script> = job.scripts.iter().map(|script| script.parse()).collect::<Result<_, _>>().map_err(bad)?;
    let models: Vec<_> = kind.models().collect();
    let mut tally = Tally { fs: kind.name.to_owned(), ..Tally::default() };
    let mut times = Vec::new();
    let watch = Stopwatch::start();
    for at in 0..job.runs * given.len().max(1) as u64 {
        let is_late = job.seconds.is_some_and(|most| watch.elapsed().as_secs() >= most);
        if is_late || job.images.is_some_and(|most| times.len() as u64 >= most) {
            break;
        }
        let mut stream = Seeded::stream(seed, &format!("kernel {} {at}", kind.name));
        let script = match given.len() as u64 {
            0 => calls::random(&mut stream),
            scripts => given[(at % scripts) as usize].clone(),
        };
        let how = How { lists: !given.is_empty(), is_noisy: job.noisy };
        let outcome = soundness::run(machine, &script, &models, how, &mut stream, tick)?;
        let mut outcome = outcome.map_err(|why| bad(format!("run {at}, {script}: {why}")))?;
        tally.runs += 1;
        tally.caught += outcome.caught;
        if !given.is_empty() {
            tally.scripts.entry(script.to_string()).or_default().add(&mut outcome);
        }
        for (way, micros) in outcome.images {
            *tally.images.entry(way).or_default() += 1;
            times.push(micros);
        }
        for found in outcome.disagreements {
            let count = tally.disagreements.entry(found.model.clone()).or_default();
            *count += 1;
            let model = models.iter().find(|model| model.name() == found.model);
            if let Some(model) = model.filter(|_| *count <= job.shrink) {
                say(&Said::Found(soundness::shrink(machine, &script, *model, found, how, &mut stream, tick)?))?;
            }
        }
        say(&Said::Script)?;
    }
    times.sort_unstable();
    tally.median_micros = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(tally)
}
