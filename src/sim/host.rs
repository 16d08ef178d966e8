//! The registry's machine: the whole HTTP router on the parked disk, and what its operator can ask of it.
//!
//! The process that runs here is told nothing of crashes: the world drops it. What outlives it is in [`Machine`].

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use turmoil::net::TcpListener;

use super::gate::Gate;
use super::ledger::Ledger;
use super::parked::ParkedFs;
use crate::check::oracle::Event;
use crate::disk::SimFs;
use crate::env::World;
use crate::env::clock::SimClock;
use crate::env::limits::UPLOAD_PURGE_AGE_SECONDS;
use crate::env::sync::hold;
use crate::fs::hooked::{Action, HookedFs};
use crate::fs::trace::{Call, Trace};
use crate::http::headers::Urls;
use crate::http::run::Run;
use crate::http::{Options, router};
use crate::registry::Registry;
use crate::strategy::CollectOptions;

/// The name of the registry's host.
pub const REGISTRY: &str = "registry";
/// Its port.
pub const PORT: u16 = 80;

/// What stands between the strategy and the disk: for planted bugs.
pub type Hook = Arc<dyn Fn(&Call) -> Action + Send + Sync>;
/// What stands between the clients and the endpoints: for planted bugs.
pub type Around = Arc<dyn Fn(axum::Router) -> axum::Router + Send + Sync>;
/// What the registry of a world runs on.
pub type ServerFs = ParkedFs<HookedFs<SimFs>>;

/// What an operator asks of a running registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Collect garbage.
    Collect,
    /// Purge uploads and litter.
    Purge,
}

/// What outlives the registry's process.
pub struct Machine {
    /// The strategy.
    pub strategy: String,
    /// The disk.
    pub disk: SimFs,
    /// The gate of this boot.
    pub gate: Gate,
    /// The time of day.
    pub clock: SimClock,
    /// How often it was started.
    pub boots: u64,
    /// Whether the offline collection is run before the next start.
    pub collect_first: bool,
    /// Why the registry did not come up.
    pub failed: Option<String>,
    /// Where a running registry takes commands.
    pub commands: Option<mpsc::UnboundedSender<Command>>,
    /// A collection has ended since somebody looked.
    pub collected: bool,
    /// A planted bug of the strategy.
    pub hook: Option<Hook>,
    /// A planted bug of the server.
    pub around: Option<Around>,
    /// Collections beside the serving are told that nobody pushes: a planted bug of the operator.
    pub unfenced: bool,
}

/// Shared by the world and what runs in it, all on one thread.
pub type SharedMachine = Rc<RefCell<Machine>>;
/// Shared by everybody.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// The registry's process, from its start until it is killed.
pub async fn process(machine: SharedMachine, ledger: SharedLedger) -> turmoil::Result {
    let (gate, fs, world, collect_first) = {
        let mut machine = machine.borrow_mut();
        machine.boots += 1;
        let hooked = HookedFs::with_trace(machine.disk.clone(), Trace::off(), hook(&machine, &ledger));
        let fs = ParkedFs::new(hooked, machine.gate.clone());
        let world = World::new(Arc::new(machine.clock.clone()), machine.boots);
        (machine.gate.clone(), fs, world, std::mem::take(&mut machine.collect_first))
    };
    tokio::task::spawn_local(gate.let_through());
    let strategy = machine.borrow().strategy.clone();
    if collect_first {
        // A process of its own, which ends before the server starts.
        match Registry::open(&strategy, fs.clone(), world.clone()).await {
            Ok(registry) => collect(&registry, true, &machine, &ledger).await,
            Err(e) => hold(&ledger).note("registry", || format!("the offline collection does not start: {e}")),
        }
    }
    let registry = match Registry::open(&strategy, fs, world).await {
        Ok(registry) => registry,
        Err(e) => {
            hold(&ledger).note("registry", || format!("does not start: {e}"));
            machine.borrow_mut().failed = Some(e.to_string());
            return Ok(());
        }
    };
    hold(&ledger).note("registry", || "serves".to_owned());
    let (sender, mut commands) = mpsc::unbounded_channel();
    machine.borrow_mut().commands = Some(sender);
    tokio::task::spawn_local(obey(registry.clone(), Command::Purge, Rc::clone(&machine), Arc::clone(&ledger)));
    let (operated, m, l) = (registry.clone(), Rc::clone(&machine), Arc::clone(&ledger));
    tokio::task::spawn_local(async move {
        while let Some(command) = commands.recv().await {
            tokio::task::spawn_local(obey(operated.clone(), command, Rc::clone(&m), Arc::clone(&l)));
        }
    });
    let options = Options { run: Run::Task, urls: Urls::Relative, ..Options::default() };
    let endpoints = router(registry, options);
    let around = machine.borrow().around.clone();
    let service = TowerToHyperService::new(around.map_or(endpoints.clone(), |around| around(endpoints)));
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // The date would be the machine's.
        let connection =
            http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service.clone());
        tokio::task::spawn_local(connection);
    }
}

async fn obey(registry: Registry<ServerFs>, command: Command, machine: SharedMachine, ledger: SharedLedger) {
    match command {
        Command::Collect => {
            let unfenced = machine.borrow().unfenced;
            collect(&registry, unfenced, &machine, &ledger).await;
        }
        Command::Purge => {
            // What cannot be removed now is removed the next time.
            let _ = registry.purge_uploads(UPLOAD_PURGE_AGE_SECONDS, false).await;
            let _ = registry.collect_litter().await;
        }
    }
}

async fn collect(registry: &Registry<ServerFs>, exclusive: bool, machine: &SharedMachine, ledger: &SharedLedger) {
    let op = {
        let mut ledger = hold(ledger);
        ledger.note("registry", || "a collection begins".to_owned());
        ledger.begin(Some(Event::Collect))
    };
    let done = registry.collect(CollectOptions { exclusive, ..CollectOptions::default() }).await;
    let mut ledger = hold(ledger);
    match done {
        Ok(collected) => {
            ledger.note("registry", || format!("the collection ends; {} blobs went", collected.blobs.len()));
            ledger.count("collections");
            if !collected.blobs.is_empty() {
                ledger.count("collections that removed a blob");
            }
            ledger.end(op);
        }
        // It may have removed anything before it failed, and does nothing any more.
        Err(e) => {
            ledger.note("registry", || format!("the collection fails: {e}"));
            ledger.count("collections that failed");
            ledger.end(op);
        }
    }
    machine.borrow_mut().collected = true;
}

/// Notes calls, and asks the planted bug about them.
fn hook(machine: &Machine, ledger: &SharedLedger) -> impl Fn(&Call) -> Action + Send + Sync + use<> {
    let (planted, ledger) = (machine.hook.clone(), Arc::clone(ledger));
    move |call| {
        hold(&ledger).note("disk", || call.to_string());
        planted.as_ref().map_or(Action::Run, |hook| hook(call))
    }
}
