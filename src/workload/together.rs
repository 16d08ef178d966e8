//! Two clients at once, in one order: a registry under a [`Pair`] and a schedule, as something whose crashes can be
//! explored.
//!
//! Each run starts from the disk that the setup left. The registry is opened on it first; then the two clients take
//! turns. An operation that is refused for good ends its client: it was not answered, so it may have happened or not.
//! Each client draws its identifiers from a stream of its own, so that a turn of one changes no name of the other.
//! Upload sessions are not looked at afterwards: which of the two opened one is told by the schedule alone.

use std::cell::RefCell;

use super::client::Client;
use super::op::Op;
use super::pair::Pair;
use super::probe::{self, Probe, probes};
use super::run::{self, RunError, Runner, Sessions};
use super::subject::{litter, observed};
use crate::check::oracle::Mark;
use crate::check::recovery::recover_everything;
use crate::disk::SimFs;
use crate::disk::effect::{Cut, Record};
use crate::disk::tree::Tree;
use crate::env::{Turn, World, run_now};
use crate::explore::interleave::Schedule;
use crate::explore::interleave::search::Executed;
use crate::explore::interleave::stepped::{Stepped, Stops};
use crate::explore::interleave::turns::{self, Step, Stuck};
use crate::explore::{Observation, Run, Subject};
use crate::fs::{FileKind, Fs};
use crate::strategy::Protocol;

/// The streams of identifiers: of the setup, of the run, of what looks afterwards.
const SETUP_IDS: u64 = 1;
const RUN_IDS: u64 = 2;
const LOOKING_IDS: u64 = 3;

/// What all runs of a pair begin with.
pub struct Stage<P> {
    strategy: P,
    pair: Pair,
    /// All operations, setup first.
    known: Vec<Op>,
    base: Tree,
    found: Sessions,
}

/// Why a schedule could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TogetherError {
    /// The setup was refused, or the registry does not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The schedule is none of this pair, or it never ends.
    #[error("{schedule:?}: {why}")]
    Stuck {
        /// The schedule.
        schedule: Schedule,
        /// Why.
        why: Stuck,
    },
}

impl<P: Protocol> Stage<P> {
    /// Sets up.
    ///
    /// Errors: an operation of the setup is refused.
    pub fn new(strategy: P, pair: Pair) -> Result<Self, RunError> {
        let disk = SimFs::new();
        let Pair { workload, .. } = &pair;
        let world = World::simulated(SETUP_IDS);
        let set_up = run::run(&strategy, disk.clone(), world, &workload.contents, &workload.setup, |_| {});
        let found = run_now(set_up)?;
        let known = [&workload.setup[..], &workload.ops].concat();
        Ok(Self { base: disk.tree(), known, found, strategy, pair })
    }

    /// The strategy.
    pub fn strategy(&self) -> &P {
        &self.strategy
    }

    /// The pair.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Runs one schedule.
    ///
    /// Errors: it cannot be kept.
    pub fn run(&self, schedule: &Schedule) -> Result<Together<'_, P>, TogetherError> {
        self.run_on(schedule, |disk| disk)
    }

    /// Runs one schedule on what `decorated` makes of the disk.
    pub fn run_on<F: Fs>(
        &self,
        schedule: &Schedule,
        decorated: impl FnOnce(SimFs) -> F,
    ) -> Result<Together<'_, P>, TogetherError> {
        let disk = SimFs::with_tree(self.base.clone());
        let (stops, turn) = (Stops::default(), Turn::default());
        let fs = Stepped::new(decorated(disk.clone()), stops.clone());
        let world = World::taking_turns(RUN_IDS, turn.clone());
        let runner = run_now(Runner::open(&self.strategy, fs, world, &self.pair.workload.contents))?;
        let (passed, refused) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let mark = |mark| {
            let number = match mark {
                Mark::Begin(op) => 2 * op,
                Mark::End(op) | Mark::Lost(op) => 2 * op + 1,
            };
            disk.mark(number as u32);
            passed.borrow_mut().push(mark);
        };
        let (first, second) = self.pair.workload.ops.split_at(self.pair.first);
        let tasks = [(first, 0), (second, first.len())].map(|(ops, from)| {
            let mut client = Client::new(runner.beside(self.found.clone()), &self.known);
            let (mark, refused) = (&mark, &refused);
            Box::pin(async move {
                if let Err(e) = client.run(ops, from, mark).await {
                    refused.borrow_mut().push(e.to_string());
                }
            }) as turns::Task<'_>
        });
        let steps = turns::run(tasks, schedule, &stops, &turn, || disk.records());
        let steps = steps.map_err(|why| TogetherError::Stuck { schedule: schedule.clone(), why })?;
        let (base, log) = disk.snapshot();
        let run = Run { base, log: log.into(), restarted_at: None, failed: None };
        let (passed, refused) = (passed.into_inner(), refused.into_inner());
        Ok(Together { stage: self, schedule: schedule.clone(), run, steps, passed, refused })
    }
}

/// One run of a pair.
pub struct Together<'a, P> {
    stage: &'a Stage<P>,
    /// The order.
    pub schedule: Schedule,
    /// What was done.
    pub run: Run,
    /// Turn by turn.
    pub steps: Vec<Step>,
    /// The marks, in the order in which they were passed.
    passed: Vec<Mark>,
    /// Why clients gave up, if any did.
    pub refused: Vec<String>,
}

impl<P> Together<'_, P> {
    /// Up to where the run is that of the schedule without its last preemption.
    pub fn differs_from(&self) -> Cut {
        let last = self.schedule.preemptions.last().and_then(|at| self.steps.get(*at as usize));
        Cut::after(last.map_or(0, |step| step.records.start))
    }

    /// The order in words: who was at it up to which step of the log.
    pub fn order(&self) -> String {
        let mut blocks: Vec<(usize, usize)> = Vec::new();
        for step in self.steps.iter().filter(|step| !step.records.is_empty()) {
            match blocks.last_mut() {
                Some((task, end)) if *task == step.task => *end = step.records.end,
                _ => blocks.push((step.task, step.records.end)),
            }
        }
        let told = |(task, end): (usize, usize)| format!("client {} to step {end}", task + 1);
        blocks.into_iter().map(told).collect::<Vec<_>>().join(", ")
    }

    /// Which client, 1 or 2, each record is of; 0 for what was done before they began.
    pub fn clients(&self) -> Vec<usize> {
        let mut clients = vec![0; self.run.log.len()];
        for step in &self.steps {
            clients[step.records.clone()].fill(step.task + 1);
        }
        clients
    }
}

impl<P: Send + Sync> Executed for Together<'_, P> {
    fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn log(&self) -> &[Record] {
        &self.run.log
    }
}

impl<P: Protocol> Subject for Together<'_, P> {
    type Probe = Probe;

    /// Never asked for: it was run when it was made.
    fn prepare(&self, _: &SimFs) -> Result<(), String> {
        Err("it was run".to_owned())
    }

    /// As above.
    fn run(&self, _: &SimFs) -> Result<(), String> {
        Err("it was run".to_owned())
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        let world = World::simulated(LOOKING_IDS);
        run_now(recover_everything(&self.stage.strategy, disk.clone(), world)).map(drop).map_err(|e| e.to_string())
    }

    /// Never asked for: restarts are tried with one client.
    fn restart(&self, _: &SimFs, _: usize) -> Result<(), String> {
        Err("the clients do not go on".to_owned())
    }

    fn probes(&self, marks: usize, paths: &[(String, FileKind)]) -> Vec<Probe> {
        let files = paths.iter().filter(|(_, kind)| *kind == FileKind::File);
        let files: Vec<String> = files.map(|(path, _)| path.clone()).collect();
        let mut probes = probes(&self.stage.pair.workload, &Sessions::new(), &self.passed[..marks], &files);
        probes.extend(litter(&self.stage.strategy, paths));
        probes
    }

    fn evaluate(&self, probe: &Probe, disk: &SimFs) -> Vec<Observation> {
        let world = World::simulated(LOOKING_IDS);
        let Stage { strategy, pair, .. } = self.stage;
        observed(run_now(probe::evaluate(probe, &pair.workload.contents, strategy, disk.clone(), world)))
    }
}
