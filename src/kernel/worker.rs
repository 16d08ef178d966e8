//! The worker: does what the supervisor wants, and says how it goes, one line of JSON after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::FileSystem;
use super::calls::{self, Script};
use super::control::Places;
use super::host;
use super::image::Way;
use super::machine::Machine;
use super::soundness::{self, Disagreement};
use crate::env::choice::Seeded;

/// What is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The work directory.
    pub work: PathBuf,
    /// The process that serves the disk.
    pub server: u32,
    /// The file system, by its name.
    pub fs: String,
    /// So many scripts.
    pub runs: u64,
    /// No more than so many images, if it is said.
    pub images: Option<u64>,
    /// The seed.
    pub seed: u64,
    /// This script, instead of random ones.
    pub script: Option<String>,
    /// Shrink so many disagreements of each model; of the others only the number is told.
    pub shrink: u64,
    /// Panic after so many images: for tests of what is left behind.
    pub panic_after: Option<u64>,
}

/// What the worker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    /// Another image came to its end.
    Image,
    /// A model does not allow what was seen.
    Found(Disagreement),
    /// All is done.
    Done(Tally),
    /// It cannot go on.
    Failed(String),
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
    /// Of a script that was given: what was seen, by how far the calls had come.
    pub seen: BTreeSet<(usize, String, String)>,
    /// The median time that an image took.
    pub median_micros: u64,
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
    match tally(job) {
        Ok(tally) => say(&Said::Done(tally)),
        Err(e) => say(&Said::Failed(e.to_string())),
    }
}

fn tally(job: &Job) -> io::Result<Tally> {
    host::dies_with_parent()?;
    host::own_mounts()?;
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let kind = FileSystem::named(&job.fs).ok_or_else(|| bad(format!("there is no {:?}", job.fs)))?;
    let given: Option<Script> = job.script.as_deref().map(str::parse).transpose().map_err(bad)?;
    let mut machine = Machine::new(kind, Places(job.work.clone()), job.server)?;
    let models: Vec<_> = kind.models().collect();
    let mut tally = Tally { fs: job.fs.clone(), ..Tally::default() };
    let mut times = Vec::new();
    let mut seen = 0;
    let mut tick = || {
        seen += 1;
        assert!(job.panic_after.is_none_or(|most| seen < most), "a panic that was asked for");
        // If nobody listens any more, the supervisor is gone and so is this process.
        let _ = say(&Said::Image);
    };
    for at in 0..job.runs {
        if job.images.is_some_and(|most| times.len() as u64 >= most) {
            break;
        }
        let mut stream = Seeded::stream(job.seed, &format!("kernel {} {at}", job.fs));
        let script = given.clone().unwrap_or_else(|| calls::random(&mut stream));
        let outcome = soundness::run(&mut machine, &script, &models, &mut stream, &mut tick)?;
        let outcome = outcome.map_err(|why| bad(format!("run {at}, {script}: {why}")))?;
        tally.runs += 1;
        tally.caught += outcome.caught;
        if given.is_some() {
            tally.seen.extend(outcome.seen);
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
                say(&Said::Found(soundness::shrink(&mut machine, &script, *model, found, &mut stream, &mut tick)?))?;
            }
        }
    }
    times.sort_unstable();
    tally.median_micros = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(tally)
}
