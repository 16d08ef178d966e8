//! Two clients at once, on a registry with a bug: before each call on the file system the other may run.

use std::cell::RefCell;
use std::sync::{Mutex, OnceLock};

use pullplug::check;
use pullplug::check::oracle::Mark;
use pullplug::disk::SimFs;
use pullplug::env::choice::Seeded;
use pullplug::env::clock::UnixSeconds;
use pullplug::env::{World, run_now};
use pullplug::explore::{Observation, Subject};
use pullplug::fs::FileKind;
use pullplug::workload::client::Client;
use pullplug::workload::op::Op;
use pullplug::workload::probe::{self, Probe};
use pullplug::workload::run::{self, RunError, Runner, Sessions};
use pullplug::workload::{Workload, image::Image};

use super::bug::{Plant, sabotaged};
use crate::durable::interleave::{Yielding, finish, run_together};

/// The streams of identifiers: of the setup, of the run, of what looks afterwards.
const SETUP_IDS: u64 = 1;
const RUN_IDS: u64 = 2;
const LOOKING_IDS: u64 = 3;

/// Operations of two clients.
pub struct Pair {
    pub name: &'static str,
    workload: Workload,
    /// So many of the workload's operations are the first client's.
    first: usize,
    /// The first client is the purge of all uploads.
    purges: bool,
}

/// The same operations in upload sessions of their own.
fn beside(ops: &[Op]) -> Vec<Op> {
    let mut ops = ops.to_vec();
    for op in &mut ops {
        if let Op::StartUpload { upload, .. } | Op::Append { upload, .. } | Op::Commit { upload } = op {
            *upload += 10;
        }
    }
    ops
}

impl Pair {
    /// All pairs, on two images.
    pub fn all(first: &Image, second: &Image) -> [Self; 5] {
        let named = |name| Workload::named(name, first, second).unwrap();
        let pair = |name, mut workload: Workload, mine: Vec<Op>, other: Vec<Op>| {
            let first = mine.len();
            workload.ops = [mine, other].concat();
            Self { name, workload, first, purges: false }
        };
        let (push, gc, delete, mut resume) = (named("push"), named("gc"), named("delete"), named("resume"));
        let pushed = push.ops.clone();
        let both_pushes = pair("push + push of the same", push, pushed.clone(), beside(&pushed));
        let (collections, garbage) = (gc.ops.clone(), beside(&gc.setup[pushed.len()..2 * pushed.len()]));
        let mut moved = gc.clone();
        let collected = pair("collection + push of garbage", gc, collections, garbage);
        let (deletion, again) = (delete.ops.clone(), beside(&delete.setup));
        let deleted = pair("deletion + push of the same", delete, deletion, again);
        moved.setup.truncate(2 * pushed.len());
        let [one, mut two] = [1, 2].map(|n| moved.setup[n * pushed.len() - 1].clone());
        if let (Op::PutManifest { tag: v2, .. }, Op::PutManifest { tag: v1, .. }) = (&mut two, &one) {
            v2.clone_from(v1);
        }
        let moves = pair("tag move + tag move", moved, vec![two.clone(), one.clone()], vec![one, two]);
        // The process was restarted meanwhile: the session is found on disk.
        resume.setup = resume.ops[..3].to_vec();
        let rest = resume.ops[4..].to_vec();
        let purged = Self { purges: true, ..pair("purge of uploads + resumed push", resume, Vec::new(), rest) };
        [both_pushes, collected, deleted, moves, purged]
    }
}

/// One order in which a pair runs.
pub struct Together<'a> {
    pair: &'a Pair,
    plant: Option<&'a Plant>,
    seed: u64,
    found: Sessions,
    /// The marks of the last run.
    passed: Mutex<Vec<Mark>>,
    struck_at: OnceLock<usize>,
}

impl<'a> Together<'a> {
    pub fn new(pair: &'a Pair, plant: Option<&'a Plant>, seed: u64) -> Self {
        let found = run_now(set_up(pair, SimFs::new())).unwrap();
        Self { pair, plant, seed, found, passed: Mutex::default(), struck_at: OnceLock::new() }
    }

    /// How many records the log of a run has when the bug first strikes.
    pub fn struck_at(&self) -> Option<usize> {
        self.struck_at.get().copied()
    }
}

async fn set_up(pair: &Pair, disk: SimFs) -> Result<Sessions, RunError> {
    let (contents, world) = (&pair.workload.contents, World::simulated(SETUP_IDS));
    run::run("durable", disk, world, contents, &pair.workload.setup, |_| {}).await
}

impl Subject for Together<'_> {
    type Probe = Probe;

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        run_now(set_up(self.pair, disk.clone())).map(drop).map_err(|e| e.to_string())
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        let (fs, saboteur) = sabotaged(disk, self.plant, None);
        let Workload { setup, ops, contents, .. } = &self.pair.workload;
        let open = Runner::open("durable", Yielding(fs.clone()), World::simulated(RUN_IDS), contents);
        let runner = finish(open).map_err(|e| e.to_string())?;
        let passed = RefCell::new(Vec::new());
        let mark = |mark| {
            let mut passed = passed.borrow_mut();
            disk.mark(passed.len() as u32);
            passed.push(mark);
        };
        let failed = RefCell::new(Ok(()));
        let known = [&setup[..], ops].concat();
        let client = |ops: &'_ [Op], from: usize| {
            let mut client = Client::new(runner.beside(self.found.clone()), &known);
            let (ops, mark, failed) = (ops.to_vec(), &mark, &failed);
            let saboteur = &saboteur;
            Box::pin(async move {
                let mut running = std::pin::pin!(client.run(&ops, from, mark));
                let done = std::future::poll_fn(|context| {
                    saboteur.turn_of(from);
                    running.as_mut().poll(context)
                });
                if let Err(error) = done.await {
                    *failed.borrow_mut() = Err(error.to_string());
                }
            })
        };
        let (mine, other) = ops.split_at(self.pair.first);
        let purge = async {
            if self.pair.purges
                && let Err(e) = runner.registry().strategy().purge_uploads(UnixSeconds(u64::MAX), false).await
            {
                *failed.borrow_mut() = Err(e.to_string());
            }
        };
        let mut order = Seeded::stream(self.seed, self.pair.name);
        run_together(vec![client(mine, 0), client(other, mine.len()), Box::pin(purge)], &mut order);
        if let Some(at) = saboteur.settle() {
            let _ = self.struck_at.set(at);
        }
        run_now(fs.settle()).map_err(|e| e.to_string())?;
        *self.passed.lock().unwrap() = passed.take();
        failed.into_inner()
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        let recovery = check::recovery::recover_everything("durable", disk.clone(), World::simulated(LOOKING_IDS));
        run_now(recovery).map(drop).map_err(|e| e.to_string())
    }

    /// Never asked for: of a restart the single operations are tried.
    fn restart(&self, _: &SimFs, _: usize) -> Result<(), String> {
        Err("the clients do not go on".to_owned())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        let files = paths.iter().filter(|(_, kind)| *kind == FileKind::File);
        let files: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        let passed = self.passed.lock().unwrap();
        // No sessions: what a purge took has no offset.
        probe::probes(&self.pair.workload, &Sessions::new(), &passed[..marks], &files)
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        let world = World::simulated(LOOKING_IDS);
        let seen = run_now(probe::evaluate(probe, &self.pair.workload.contents, "durable", disk.clone(), world));
        let told = |o: check::Observation| Observation { invariant: o.invariant.name(), violation: o.violation };
        seen.unwrap().into_iter().map(told).collect()
    }
}
