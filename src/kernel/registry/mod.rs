//! A registry that nobody changed, crashed on a recorded disk.
//!
//! Any program that serves images is started on the file system ([`program`]), and clients push to it over HTTP
//! ([`client`]), several at once, each a few images that share layers, whose tags move ([`goods`]); somebody else syncs
//! other files meanwhile ([`noise`]). Where the disk's log was when an operation began and when it was acknowledged is
//! noted ([`history`]). Then the power goes, many times: each image is mounted, read and unmounted, and the tree is
//! judged by the invariants of [`check`](crate::check) as it lies there, by what had been acknowledged when the disk's
//! log was as long as the image needs. No recovery runs. If that is wanted, the program is started on the image as well
//! ([`again`]).
//!
//! A control: of a disk that ignored flushes, images must break something.

pub mod again;
pub mod client;
pub mod goods;
pub mod history;
pub mod noise;
pub mod program;
pub mod verdict;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::control::{Control, Places};
use super::image::{Chosen, Logged, Way, forgetful, prefixes, reordered};
use super::machine::Machine;
use crate::check::contents::Contents;
use crate::check::oracle::Oracle;
use crate::disk::SimFs;
use crate::disk::tree::Tree;
use crate::env::choice::{Chooser, Seeded};
use crate::env::clock::Stopwatch;
use crate::env::{World, run_now};
use crate::workload::probe::{self, Probe};
use client::{Client, Remote, Shared};
use goods::Goods;
use history::History;
use noise::Noise;
use program::{Program, Site, Start};
pub use verdict::Verdict;
use verdict::{Judged, Sight};

/// The stream of identifiers of what looks: it needs none.
const LOOKING_IDS: u64 = 1;
/// Of so many images one is a control.
const CONTROL_OF: u64 = 20;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The program.
    pub start: Start,
    /// The strategy whose layout its directory has.
    pub layout: String,
    /// How much is pushed.
    pub size: Size,
    /// How often: each time to an empty registry.
    pub runs: u64,
    /// So many images of each are looked at, if there are so many.
    pub crashes: u64,
    /// On so many of these the program is started again.
    pub restarts: u64,
    /// Images that are examples are written into files whose paths begin like this.
    pub save: Option<String>,
}

impl Task {
    /// How many images are looked at, at most.
    pub fn images(&self) -> u64 {
        self.runs.saturating_mul(self.crashes.saturating_add(self.crashes.div_ceil(CONTROL_OF)))
    }
}

/// How much is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// So many clients push at once.
    pub clients: u32,
    /// So many images each.
    pub images: u32,
}

/// The program does not do its part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// It, on its way through whatever fails for other reasons.
    pub fn error(why: String) -> io::Error {
        io::Error::other(Self(why))
    }

    /// Why, if that is what the error is.
    pub fn of(error: &io::Error) -> Option<String> {
        error.get_ref()?.downcast_ref::<Self>().map(Self::to_string)
    }
}

/// Whom the work tells how it comes on.
pub struct Listener<'l> {
    /// Another image came to its end.
    pub image: &'l mut dyn FnMut(),
    /// Something else did, or begins.
    pub step: fn(&str),
}

/// Judges a registry.
///
/// Errors: it is [`Refused`], or the machine fails.
pub fn judge(
    machine: &mut Machine,
    places: &Places,
    seed: u64,
    task: &Task,
    listener: &mut Listener<'_>,
) -> io::Result<Verdict> {
    let mut all = Verdict::default();
    for at in 0..task.runs {
        let seed = seed.wrapping_add(at);
        all.add(Run::of(machine, places, seed, task, listener)?.judge(machine, listener)?);
    }
    Ok(all)
}

/// What was pushed, and what reached the disk.
struct Run<'t> {
    task: &'t Task,
    seed: u64,
    site: Site,
    remote: Remote,
    goods: Rc<[Goods]>,
    contents: Contents,
    history: History,
    log: Vec<Logged>,
}

impl<'t> Run<'t> {
    /// Pushes.
    fn of(
        machine: &mut Machine,
        places: &Places,
        seed: u64,
        task: &'t Task,
        listener: &Listener<'_>,
    ) -> io::Result<Self> {
        machine.start()?;
        let site = Site { root: machine.dir().join("registry"), work: places.0.clone() };
        std::fs::create_dir(&site.root)?;
        machine.settle()?;
        let remote = Remote::new()?;
        let (goods, contents) = goods::generate(task.size, seed).map_err(io::Error::other)?;
        let goods: Rc<[Goods]> = goods.into();
        (listener.step)("starts the program");
        let mut program = Program::start(&task.start, &site, &remote)?;
        let noise = Noise::start(machine.dir(), Seeded::stream(seed, "kernel registry, noise"))?;
        let history = Rc::new(RefCell::new(History::new(Some(Control::connect(&places.control())?))));
        remote.run(push(&remote.client(&program.addr), &goods, &history, listener.step));
        noise.stop()?;
        program.check()?;
        noise::sync_all(&machine.dir())?;
        drop(program);
        let is_empty = site.root.read_dir()?.next().is_none();
        let log = machine.stop()?;
        let history = Rc::try_unwrap(history).map_err(|_| io::Error::other("a client is still at work"))?;
        let mut history = history.into_inner();
        history.complete()?;
        if history.counts().1 == 0 {
            let why = history.first_failure.unwrap_or_default();
            return Err(Refused::error(format!("it acknowledged nothing: {why}")));
        }
        if is_empty {
            let why = "it acknowledged what it did not write into {root}, and {config} names that";
            return Err(Refused::error(why.to_owned()));
        }
        Ok(Self { task, seed, site, remote, goods, contents, history, log })
    }

    /// Looks at images.
    fn judge(&self, machine: &mut Machine, listener: &mut Listener<'_>) -> io::Result<Verdict> {
        let mut verdict = Verdict {
            operations: self.history.counts(),
            failed: self.history.failed,
            first_failure: self.history.first_failure.clone(),
            log: (self.log.len() as u64, self.log.iter().filter(|entry| **entry == Logged::Flush).count() as u64),
            ..Verdict::default()
        };
        let mut times = Vec::new();
        let mut restarts = Every::new(self.task.restarts, self.task.crashes);
        for chosen in self.images(machine.kind().superblock) {
            let watch = Stopwatch::start();
            let tree = machine.after_in(&chosen.image, &self.site.root)?;
            times.push(watch.elapsed().as_micros() as u64);
            *verdict.images.entry(chosen.way).or_default() += 1;
            let told = || self.history.told(chosen.position);
            match tree {
                Ok(tree) if chosen.way == Way::Forgetful => {
                    let is_broken = |sight: &Sight| sight.broken.is_some();
                    verdict.caught += u64::from(self.look(&tree, chosen.position).iter().any(is_broken));
                }
                // A disk that lies may leave no file system at all.
                Err(_) if chosen.way == Way::Forgetful => verdict.caught += 1,
                Err(why) => verdict.cannot_mount(format!("{why}: {}", chosen.told(&self.log))),
                Ok(tree) => {
                    let taken = verdict.raw.see(self.look(&tree, chosen.position), &chosen, &self.log, &told);
                    self.save(machine, &chosen, &taken, "", &mut verdict.raw)?;
                    if restarts.next() {
                        let seen = machine.within(&chosen.image, || self.again(chosen.position))?;
                        let seen = seen.map_err(io::Error::other)?;
                        let taken = verdict.again.see(seen, &chosen, &self.log, &told);
                        self.save(machine, &chosen, &taken, "-restart", &mut verdict.again)?;
                    }
                }
            }
            (listener.image)();
        }
        times.sort_unstable();
        verdict.median_micros = times.get(times.len() / 2).copied().unwrap_or_default();
        Ok(verdict)
    }

    /// Writes an image into files, if that is wanted: one for each rule that it is the example of.
    fn save(
        &self,
        machine: &mut Machine,
        chosen: &Chosen,
        rules: &[&'static str],
        suffix: &str,
        judged: &mut Judged,
    ) -> io::Result<()> {
        let Some(prefix) = &self.task.save else { return Ok(()) };
        for rule in rules {
            let path = PathBuf::from(format!("{prefix}-{rule}{suffix}-{}.img", self.seed));
            machine.save(&chosen.image, &path)?;
            if let Some(example) = judged.examples.get_mut(*rule) {
                example.saved = Some(path);
            }
        }
        Ok(())
    }

    /// The images to look at: half of them prefixes, and some controls; by how long they take the log.
    fn images(&self, superblock: (u64, u64)) -> Vec<Chosen> {
        let mut stream = Seeded::stream(self.seed, "kernel registry, images");
        let count = usize::try_from(self.task.crashes).unwrap_or(usize::MAX);
        let mut all = prefixes(&self.log);
        while all.len() > count - count / 2 {
            all.swap_remove(stream.choose(all.len()));
        }
        all.extend(reordered(&self.log, count - all.len(), superblock, &mut stream));
        all.extend(forgetful(&self.log, count.div_ceil(CONTROL_OF as usize), &mut stream));
        all.sort_by_key(|chosen| (chosen.image.whole, chosen.position));
        all
    }

    fn oracle(&self, position: usize) -> Oracle<'_> {
        Oracle::new(&self.history.events, &self.history.passed(position))
    }

    /// What the invariants see in a tree, as it lies there.
    fn look(&self, tree: &Tree, position: usize) -> Vec<Sight> {
        let files = tree.paths().into_iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path);
        let files: Vec<String> = files.collect();
        let mut probes = probe::expected(&self.oracle(position), &self.contents, std::iter::empty(), false, &files);
        probes.retain(Probe::is_of_what_lies_there);
        let (disk, world) = (SimFs::without_log(tree.clone()), || World::simulated(LOOKING_IDS));
        let layout = self.task.layout.as_str();
        let seen = probe::evaluate_all(&probes, &self.contents, layout, &disk, SimFs::copy, SimFs::holds_same, world);
        // The one error there can be is an unknown layout, under which nothing is seen.
        run_now(seen).unwrap_or_default().into_iter().map(Sight::from).collect()
    }

    /// What the program makes of the image that is mounted.
    fn again(&self, position: usize) -> io::Result<Vec<Sight>> {
        let oracle = self.oracle(position);
        again::judge(&self.task.start, &self.site, &self.remote, &self.goods, &self.contents, &oracle)
    }
}

/// All clients at once, to their end.
async fn push(client: &Client, goods: &Rc<[Goods]>, history: &Shared, step: fn(&str)) {
    let mut clients = JoinSet::new();
    for number in 0..goods.len() {
        let (client, goods, history) = (client.clone(), Rc::clone(goods), Rc::clone(history));
        clients.spawn_local(async move { client.push(number, &goods[number], &history, step).await });
    }
    clients.join_all().await;
}

/// So many of so many, evenly.
struct Every {
    wanted: u64,
    of: u64,
    seen: u64,
}

impl Every {
    fn new(wanted: u64, of: u64) -> Self {
        Self { wanted, of: of.max(1), seen: 0 }
    }

    /// Whether the next is one of them.
    fn next(&mut self) -> bool {
        let before = self.seen * self.wanted / self.of;
        self.seen += 1;
        self.seen * self.wanted / self.of > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_many_are_spread_evenly() {
        let picked = |wanted, of: u64| {
            let mut every = Every::new(wanted, of);
            (0..of).filter(|_| every.next()).count() as u64
        };
        for (wanted, of) in [(0, 10), (1, 10), (3, 10), (10, 10), (7, 400)] {
            assert_eq!(picked(wanted, of), wanted, "{wanted} of {of}");
        }
        let mut every = Every::new(2, 6);
        assert_eq!([(); 6].map(|()| every.next()), [false, false, true, false, false, true]);
    }

    #[test]
    fn goods_share_layers_and_follow_from_the_seed() {
        let size = Size { clients: 3, images: 2 };
        let digests = |seed| {
            let (goods, contents) = goods::generate(size, seed).unwrap();
            let images: Vec<_> = goods.iter().flat_map(|goods| &goods.images).collect();
            assert!(images.iter().all(|image| image.blobs()[..2] == images[0].blobs()[..2]), "shared layers");
            (
                contents.digests().copied().collect::<Vec<_>>(),
                goods.iter().map(|g| g.repo.to_string()).collect::<Vec<_>>(),
            )
        };
        let (all, repos) = digests(1);
        // Two layers that are shared, and of each image a layer, a config and a manifest.
        assert_eq!(all.len(), 2 + 6 * 3);
        assert_eq!(repos, ["team-0/app", "team-0/app", "team-1/app"]);
        assert_eq!(digests(1).0, all);
        assert_ne!(digests(2).0, all);
    }
}
