//! `pullplug serve`: the registry on a real directory, for real clients.
//!
//! The order is what matters: the configuration is checked, the directory taken, recovered, and only then the address
//! taken, so that nobody can connect to what is not there. At the end the other way round: the address is given up,
//! requests are finished, the directory is released last.

mod cache;
mod greeting;
mod plan;
mod services;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::args::ServeArgs;
use super::error::CliError;
use super::setup::{self, Root};
use super::{exit, log, output};
use crate::config::{Config, MIN_STORAGE_THREADS, Net};
use crate::env::run_now;
use crate::fs::real::RealFs;
use crate::http::auth::Auth;
use crate::http::origin::Origin;
use crate::http::server::{Address, Drained, ServeError, Server, Site, Versions, maintenance};
use crate::registry::Registry;
use crate::strategy::durable;
use cache::Remote;
use greeting::Greeting;
use services::Services;

/// How long work that has lost its client may go on at the end, and how often that is looked at.
const SETTLE_TIMEOUT_MILLIS: u64 = 5_000;
const SETTLE_STEP_MILLIS: u64 = 5;

/// Runs the command.
pub fn run(args: ServeArgs) -> Result<u8, CliError> {
    let loaded = setup::load(&args.registry)?;
    let mut config = loaded.config;
    if let Some(addr) = args.addr {
        (config.http.addr, config.http.net) = (addr, Net::Tcp);
    }
    let strategy = setup::strategy(&args.registry, &config)?;
    check(&config, &strategy)?;
    log::init(&config.log);
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let listeners = Listeners::new(&config)?;
    let quota = plan::quota(&config)?;

    let root = Root::take(&config.storage.root(), true, !config.storage.maintenance.readonly.enabled)?;
    let mut registry = root.registry(&strategy, quota)?;
    if let Some(most) = plan::cached_descriptors(&config) {
        registry = registry.with_descriptor_cache(most);
    }
    run_now(registry.recover())
        .map_err(|e| CliError::unavailable(format!("cannot recover {}: {e}", root.path.display())))?;

    raise_descriptor_limit();
    let runtime = runtime(&config)?;
    let greeting = Greeting { root: &root.path, strategy: &strategy, is_new: args.registry.root.is_some() };
    runtime.block_on(serve(&config, listeners, registry, &root.fs, &greeting))?;
    runtime.shutdown_timeout(Duration::from_millis(SETTLE_TIMEOUT_MILLIS));
    Ok(exit::NOTHING_FOUND)
}

/// What the configuration asks for and cannot have.
fn check(config: &Config, strategy: &str) -> Result<(), CliError> {
    let urls = &config.validation.manifests.urls;
    for (key, is_set) in [
        ("validation.manifests.urls.allow", !config.validation.disabled && !urls.allow.is_empty()),
        ("validation.manifests.urls.deny", !config.validation.disabled && !urls.deny.is_empty()),
    ] {
        if is_set {
            return Err(CliError::bad_input(format!("{key}: is not supported by this version")).help("remove it"));
        }
    }
    if config.pullplug.garbagecollect.enabled && strategy != durable::NAME {
        let what = format!("pullplug.garbagecollect.enabled: {strategy} cannot collect while it serves");
        return Err(CliError::bad_input(what)
            .help("use `pullplug garbage-collect` while it does not run, or the strategy `durable`"));
    }
    Ok(())
}

/// The addresses, and what answers there.
struct Listeners {
    main: Listener,
    debug: Option<Listener>,
    auth: Option<Arc<Auth>>,
    /// What this is a cache of.
    remote: Option<Remote>,
}

struct Listener {
    address: Address,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Without its router.
    site: Site,
}

impl Listeners {
    fn new(config: &Config) -> Result<Self, CliError> {
        let http = &config.http;
        let is_h2c_off = !http.tls.is_on() && http.h2c.enabled == Some(false);
        let versions = if http.http2.disabled || is_h2c_off { Versions::Http1 } else { Versions::Both };
        let limits = plan::limits(config);
        let site =
            Site { headers: plan::headers(config)?, versions, limits: limits.clone(), ..Site::new(Router::new()) };
        let address = match http.net {
            Net::Tcp => Address::Tcp(http.addr.clone()),
            Net::Unix => Address::Unix(http.addr.clone().into()),
        };
        let debug = (!http.debug.addr.is_empty()).then(|| Listener {
            address: Address::Tcp(http.debug.addr.clone()),
            tls: None,
            site: Site { limits, ..Site::new(Router::new()) },
        });
        let main = Listener { address, tls: plan::tls(config, versions)?, site };
        Ok(Self { main, debug, auth: services::auth(config)?, remote: cache::remote(config)? })
    }
}

fn runtime(config: &Config) -> Result<Runtime, CliError> {
    let threads = config.storage.filesystem.clone().unwrap_or_default().maxthreads.max(MIN_STORAGE_THREADS);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads as usize)
        .thread_name("pullplug")
        .build()
        .map_err(|e| CliError::unavailable(format!("cannot start threads: {e}")))
}

/// A connection may take three descriptors; many systems allow 1024 until a process asks for more.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err() {
        tracing::debug!("the limit of open files stays as it is");
    }
}

/// Serves until a signal comes.
async fn serve(
    config: &Config,
    listeners: Listeners,
    registry: Registry<RealFs>,
    fs: &RealFs,
    greeting: &Greeting<'_>,
) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let Listeners { main, debug, auth, remote } = listeners;
    let server = Server::bind(&main.address, main.tls.clone()).await.map_err(|e| cannot_listen(&e))?;
    let debug_server = match &debug {
        Some(debug) => Some(Server::bind(&debug.address, None).await.map_err(|e| cannot_listen(&e))?),
        None => None,
    };
    let mut options = plan::options(config);
    let proxy = match remote {
        Some(remote) => Some(cache::open(remote, &registry, fs, options.run).await?),
        None => None,
    };
    options.origin = proxy.clone().map(|proxy| Arc::new(proxy) as Arc<dyn Origin>);
    let (run, drain_timeout) = (options.run, main.site.limits.drain_timeout);
    let services = Services::start(config, auth, &options, fs, &server.address().to_string())?;
    let site = Site { router: services.around(registry.clone(), options), ..main.site };
    let debug = debug.map(|debug| Site { router: services.debug(), ..debug.site });
    output::print(&greeting.text(server.address(), main.tls.is_some()))?;
    if let Some(server) = &debug_server {
        tracing::info!("health and metrics are told on http://{}", server.address());
    }

    let (stop, stopped) = watch::channel(false);
    let debug_stopped = stopped.clone();
    let debug_run = async {
        if let (Some(server), Some(site)) = (debug_server, debug) {
            server.run(site, told(debug_stopped)).await;
        }
    };
    let servers = async { tokio::join!(server.run(site, told(stopped)), debug_run).0 };
    let maintenance = tokio::spawn(maintenance::run(registry.clone(), plan::maintenance(config), run));
    let collects = registry.strategy().name() == durable::NAME;
    let expiring = proxy.clone().map(|proxy| tokio::spawn(proxy.expire(collects)));
    let stopping = async {
        let name = signals.next().await;
        tracing::info!(signal = name, "stopping: requests under way are finished");
        stop.send_replace(true);
        signals.next().await;
    };
    let drained = tokio::select! {
        biased;
        drained = servers => Some(drained),
        _ = stopping => None,
    };
    maintenance.abort();
    if let (Some(proxy), Some(expiring)) = (proxy, expiring) {
        expiring.abort();
        cache::close(proxy, run).await;
    }
    settle(&registry).await;
    let lost = services.notifier.drain(drain_timeout).await;
    if lost > 0 {
        tracing::warn!(events = lost, "some notifications could not be sent");
    }
    match drained {
        Some(Drained::All) => tracing::info!("stopped; every request was answered"),
        Some(Drained::Cut(connections)) => tracing::warn!(connections, "stopped; some took too long and were cut"),
        None => tracing::warn!("stopped at once, at the second signal"),
    }
    Ok(())
}

/// Waits for calls that nobody waits for any more: what came of an upload that was cut is written. Whatever takes
/// longer (a collection may) is cut as by a crash, which every strategy expects.
async fn settle(registry: &Registry<RealFs>) {
    for _ in 0..SETTLE_TIMEOUT_MILLIS / SETTLE_STEP_MILLIS {
        if !registry.is_shared() {
            return;
        }
        sleep(Duration::from_millis(SETTLE_STEP_MILLIS)).await;
    }
    tracing::warn!("stopped in the middle of something");
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as the servers do.
    let _ = stopped.wait_for(|is_told| *is_told).await;
}

fn cannot_listen(e: &ServeError) -> CliError {
    let error = CliError::unavailable(e.to_string());
    if e.is_in_use() {
        error.help("another server has this address: stop it, or listen on another one with --addr")
    } else {
        error
    }
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let failed = |e| CliError::unavailable(format!("cannot wait for signals: {e}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
