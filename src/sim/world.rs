//! The world: a registry's machine, clients and an operator in one turmoil simulation, driven by a schedule.
//!
//! turmoil decides nothing: no random failures, one latency for every message, hosts in their order. What goes wrong is
//! a step of the schedule; which task goes on, what a crash takes and which faults of the disk fire is asked of three
//! choosers, each with a stream of its own. Days pass by steps, not by ticks.
//!
//! The operator starts the registry again after a crash, cuts the power of a machine that does not come up, and
//! restarts one whose disk failed a sync. When the schedule is over it takes all faults away; then clients push and
//! pull again everything that was pushed.

mod crash;
mod faults;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::client::{Client, Desk, Order};
use super::gate::Gate;
use super::host::{self, Around, Command, Hook, Machine, REGISTRY, SharedLedger, SharedMachine};
use super::judge::{After, judge};
use super::ledger::{Finding, Ledger, rules};
use super::schedule::{Choices, Goods, Schedule, ScheduleError};
use super::step::{Step, Stop};
use crate::disk::SimFs;
use crate::disk::model::{self, PersistenceModel};
use crate::disk::tree::Tree;
use crate::env::choice::{Chooser, Recorder};
use crate::env::clock::{SIM_EPOCH, SimClock};
use crate::env::sync::hold;

/// Latency of every message, and what the simulation's clock ticks by.
const TICK: Duration = Duration::from_millis(1);
/// How long a registry is down after a crash, in ticks.
const DOWN_MS: u64 = 3;
/// How long a cut is waited for before another may take its place.
const ARMED_MS: u64 = 40;
/// After this much simulated time a schedule has to be over: a bound, not a wish.
const MAX_MS: u64 = 60_000;
/// How long the end waits for what is still under way: longer than any client's patience.
const SETTLE_MS: u64 = 120;
/// In this much simulated time everything must have been pushed and pulled again.
const LIVE_AGAIN_MS: u64 = 5_000;
/// How often in a row a machine may fail to come up.
const MAX_FAILED_STARTS: u32 = 4;

/// How to run a schedule.
#[derive(Clone, Default)]
pub struct Options {
    /// Keep a timeline.
    pub timeline: bool,
    /// A planted bug of the strategy.
    pub hook: Option<Hook>,
    /// A planted bug of the server; made anew with every start.
    pub around: Option<Around>,
    /// A planted bug of the operator: collections beside the serving count on nobody pushing meanwhile.
    pub unfenced: bool,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was found; the run ends with the first.
    pub findings: Vec<Finding>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Simulated milliseconds.
    pub ms: u64,
    /// The timeline, if one was kept.
    pub timeline: Option<String>,
    /// The choices that were made.
    pub choices: Choices,
    /// A number of the whole run, and of the choices that would have come next.
    pub fingerprint: u64,
}

/// A chooser that is shared, and recorded.
#[derive(Clone)]
struct Stream(Arc<Mutex<Recorder<Box<dyn Chooser>>>>);

impl Chooser for Stream {
    fn choose(&mut self, n: usize) -> usize {
        hold(&self.0).choose(n)
    }
}

/// A schedule being run.
struct Run<'s> {
    schedule: &'s Schedule,
    model: &'static dyn PersistenceModel,
    goods: Arc<Goods>,
    sim: turmoil::Sim<'static>,
    machine: SharedMachine,
    ledger: SharedLedger,
    clients: Vec<(Rc<Desk>, mpsc::UnboundedSender<Order>)>,
    tasks: Stream,
    losses: Stream,
    disk_faults: Stream,
    faults: Vec<faults::Active>,
    /// When the registry is started again; it is down until then.
    start_at: Option<u64>,
    /// What the latest crash left, until it is judged.
    left: Option<Tree>,
    failed_starts: u32,
    /// How the machine stops when the gate closes.
    how: Stop,
    /// Until when a cut that was asked for is waited for.
    armed_until: u64,
    wait_until: u64,
    /// What was pushed, by repository and image: what must be possible again in the end.
    pushed: BTreeSet<(u8, u8)>,
}

/// Runs a schedule.
///
/// Errors: it is not one that can be run ([`Schedule::check`]).
pub fn run(schedule: &Schedule, options: &Options) -> Result<Outcome, ScheduleError> {
    schedule.check()?;
    let model = model::named(&schedule.model)
        .ok_or_else(|| ScheduleError::Invalid(format!("there is no model {:?}", schedule.model)))?;
    let mut run = Run::new(schedule, model, options);
    run.go();
    Ok(run.outcome())
}

impl<'s> Run<'s> {
    fn new(schedule: &'s Schedule, model: &'static dyn PersistenceModel, options: &Options) -> Self {
        let goods = Arc::new(Goods::new(&schedule.catalogue));
        let ledger = Arc::new(Mutex::new(Ledger::new(options.timeline.then(|| goods.names()))));
        let stream = |kind| Stream(Arc::new(Mutex::new(Recorder::new(schedule.chooser(kind)))));
        let (tasks, losses, disk_faults) = (stream("tasks"), stream("losses"), stream("faults"));
        let disk = SimFs::new();
        let machine = Rc::new(RefCell::new(Machine {
            strategy: schedule.strategy.clone(),
            gate: Gate::new(disk.clone(), Box::new(tasks.clone())),
            disk,
            clock: SimClock::default(),
            boots: 0,
            collect_first: false,
            failed: None,
            commands: None,
            collected: false,
            hook: options.hook.clone(),
            around: options.around.clone(),
            unfenced: options.unfenced,
        }));
        let mut sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + Duration::from_secs(SIM_EPOCH.0))
            .rng_seed(0)
            .tick_duration(TICK)
            .min_message_latency(TICK)
            .max_message_latency(TICK)
            .fail_rate(0.0)
            .tcp_capacity(1024)
            .simulation_duration(Duration::from_secs(3600))
            .build();
        let (m, l) = (Rc::clone(&machine), Arc::clone(&ledger));
        sim.host(REGISTRY, move || host::process(Rc::clone(&m), Arc::clone(&l)));
        let clients = (0..schedule.clients)
            .map(|index| {
                let (sender, orders) = mpsc::unbounded_channel();
                let desk = Rc::new(Desk::default());
                let client = Client::new(index, Arc::clone(&goods), Arc::clone(&ledger), Rc::clone(&desk));
                sim.client(client_name(index), client.work(orders));
                (desk, sender)
            })
            .collect();
        Self {
            schedule,
            model,
            goods,
            sim,
            machine,
            ledger,
            clients,
            tasks,
            losses,
            disk_faults,
            faults: Vec::new(),
            start_at: None,
            left: None,
            failed_starts: 0,
            how: Stop::Power,
            armed_until: 0,
            wait_until: 0,
            pushed: BTreeSet::new(),
        }
    }

    fn now(&self) -> u64 {
        hold(&self.ledger).now_ms
    }

    fn note(&self, what: impl FnOnce() -> String) {
        hold(&self.ledger).note("operator", what);
    }

    fn found(&self) -> bool {
        !hold(&self.ledger).findings.is_empty()
    }

    /// The schedule, then the end.
    fn go(&mut self) {
        let mut steps = self.schedule.steps.iter().copied().peekable();
        while !self.found() {
            while let Some(step) = steps.peek().copied()
                && self.begins(step)
            {
                steps.next();
            }
            if steps.peek().is_none() && self.clients.iter().all(|(desk, _)| !desk.busy.get()) {
                break;
            }
            self.tick();
        }
        if !self.found() {
            self.end();
        }
    }

    /// One millisecond for everybody.
    fn tick(&mut self) {
        if let Err(e) = self.sim.step() {
            hold(&self.ledger).find(rules::LIVE_AGAIN, format!("the simulation fails: {e}"));
            return;
        }
        let now = {
            let mut ledger = hold(&self.ledger);
            ledger.now_ms += 1;
            if ledger.now_ms > MAX_MS {
                ledger.find(rules::LIVE_AGAIN, format!("the schedule is not over after {MAX_MS} ms"));
            }
            ledger.now_ms
        };
        self.expire_faults(now);
        let (gate, failed) = {
            let mut machine = self.machine.borrow_mut();
            (machine.gate.clone(), machine.failed.take())
        };
        if self.start_at.is_none() && gate.is_dead() {
            self.crash();
        } else if let Some(why) = failed {
            self.failed_starts += 1;
            gate.cut_now();
            if self.failed_starts > MAX_FAILED_STARTS {
                hold(&self.ledger).find(rules::LIVE_AGAIN, format!("the registry does not start: {why}"));
            }
        }
        if std::mem::take(&mut self.machine.borrow_mut().collected) {
            let tree = self.machine.borrow().disk.tree();
            self.judge(&tree, After::Collection);
        }
        if self.start_at.is_some_and(|at| at <= now) {
            self.start();
        }
        if self.serves() {
            self.failed_starts = 0;
        }
    }

    fn serves(&self) -> bool {
        self.start_at.is_none() && self.machine.borrow().commands.is_some()
    }

    /// Begins a step, if it can begin now.
    fn begins(&mut self, step: Step) -> bool {
        if self.now() < self.wait_until {
            return false;
        }
        if step.is_client_operation() {
            let client = usize::from(step.client().unwrap_or_default());
            let (desk, orders) = &self.clients[client];
            if desk.busy.get() || orders.send(Order::Step(step)).is_err() {
                return false;
            }
            desk.busy.set(true);
            if let Step::Push { repo, image, .. } = step {
                self.pushed.insert((repo, image));
            }
            hold(&self.ledger).count("operations");
            self.note(|| step.to_string());
            return true;
        }
        match step {
            Step::Collect | Step::Purge => {
                let command = if step == Step::Collect { Command::Collect } else { Command::Purge };
                let machine = self.machine.borrow();
                let told = machine.commands.as_ref().is_some_and(|c| c.send(command).is_ok());
                if self.start_at.is_some() || !told {
                    return false;
                }
            }
            Step::CollectOffline => {
                if !self.serves() {
                    return false;
                }
                self.machine.borrow_mut().collect_first = true;
                self.stop(Stop::Process);
                hold(&self.ledger).count("offline collections");
            }
            Step::Cut { .. } if self.is_armed() => return false,
            Step::Cut { how, calls } => self.arm(how, calls),
            Step::Advance { hours } => self.machine.borrow().clock.advance(u64::from(hours) * 3600),
            Step::Wait { ms } => self.wait_until = self.now() + u64::from(ms),
            Step::Link { client, fault, ms } => self.link_fault(client, fault, ms),
            Step::Reset { client } => self.reset(client),
            Step::Disk { fault, ms } => self.disk_fault(fault, ms),
            _ => {}
        }
        self.note(|| step.to_string());
        true
    }

    /// Judges the disk as a crash would leave that takes nothing.
    fn judge(&mut self, tree: &Tree, after: After) {
        let mut ledger = hold(&self.ledger);
        let by_collection = ledger.counted("power cuts") == 0 && ledger.counted("collections") > 0;
        judge(&self.schedule.strategy, tree, &self.goods.contents, &mut ledger, after, by_collection);
    }

    /// Runs until `done` or until `ms` have passed; whether it was done.
    fn until(&mut self, ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now() + ms;
        while !done(self) {
            if self.found() || self.now() > end {
                return false;
            }
            self.tick();
        }
        true
    }

    /// No more faults: what is under way comes to its end, and then everything must be possible again.
    fn end(&mut self) {
        self.note(|| "the schedule is over; all faults end".to_owned());
        self.machine.borrow().gate.disarm();
        self.expire_faults(u64::MAX);
        self.until(LIVE_AGAIN_MS, Self::serves);
        self.until(SETTLE_MS, |_| false);
        self.until(LIVE_AGAIN_MS, |run| run.machine.borrow().gate.is_idle());
        if self.found() {
            return;
        }
        hold(&self.ledger).lose_all();
        let pushed: Vec<(u8, u8)> = self.pushed.iter().copied().collect();
        let (desk, orders) = &self.clients[0];
        let desk = Rc::clone(desk);
        desk.busy.set(orders.send(Order::Again(pushed)).is_ok());
        let done = self.until(LIVE_AGAIN_MS, |_| !desk.busy.get());
        let problem = match desk.again.borrow_mut().take() {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why),
            None => (!done).then(|| format!("nothing can be pushed {LIVE_AGAIN_MS} ms after the last fault")),
        };
        let mut ledger = hold(&self.ledger);
        match problem {
            Some(why) if ledger.findings.is_empty() => ledger.find(rules::LIVE_AGAIN, why),
            _ => ledger.count("worlds that were live again"),
        }
        drop(ledger);
        let tree = self.machine.borrow().disk.tree();
        self.judge(&tree, After::Stop);
    }

    fn outcome(self) -> Outcome {
        let next = [self.tasks.clone(), self.losses.clone(), self.disk_faults.clone()]
            .map(|mut stream| stream.choose(1 << 20) as u64);
        let mut ledger = hold(&self.ledger);
        ledger.findings.sort();
        let calls = self.machine.borrow().gate.calls();
        let mut fingerprint = ledger.fingerprint() ^ calls;
        for n in next {
            fingerprint = fingerprint.rotate_left(21) ^ n;
        }
        let recorded = |stream: &Stream| hold(&stream.0).choices().to_vec();
        Outcome {
            findings: ledger.findings.clone(),
            counts: ledger.counts.clone(),
            ms: ledger.now_ms,
            timeline: ledger.timeline().map(str::to_owned),
            choices: Choices {
                tasks: recorded(&self.tasks),
                losses: recorded(&self.losses),
                faults: recorded(&self.disk_faults),
            },
            fingerprint,
        }
    }
}

/// The host name of a client.
fn client_name(index: u8) -> String {
    format!("client-{index}")
}
