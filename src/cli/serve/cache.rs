//! A server that is a cache of another registry: from the configuration to a [`Proxy`], and its end.

use crate::cli::error::CliError;
use crate::config::Config;
use crate::env::World;
use crate::fs::real::RealFs;
use crate::http::run::Run;
use crate::proxy::Proxy;
use crate::proxy::schedule::{DEFAULT_TTL_SECONDS, Schedule};
use crate::proxy::upstream::{Upstream, UpstreamOptions};
use crate::registry::Registry;

/// The other registry, and how long is kept what comes from it.
pub struct Remote {
    upstream: Upstream,
    ttl_seconds: u64,
    world: World,
}

/// What this is a cache of, if it is one. Asks nothing yet.
pub fn remote(config: &Config) -> Result<Option<Remote>, CliError> {
    let Some(remote) = config.proxy.as_ref().filter(|proxy| !proxy.remoteurl.is_empty()) else { return Ok(None) };
    if config.storage.maintenance.readonly.enabled {
        return Err(CliError::bad_input("proxy.remoteurl: a cache cannot be read-only")
            .help("remove it, or storage.maintenance.readonly"));
    }
    let world = World::real().map_err(|e| CliError::unavailable(format!("no entropy: {e}")))?;
    let password = remote.password.reveal();
    let has_credentials = !remote.username.is_empty() || !password.is_empty();
    let credentials = has_credentials.then(|| (remote.username.clone(), password.to_owned()));
    let options = UpstreamOptions { credentials, ..UpstreamOptions::new(&remote.remoteurl) };
    let upstream = Upstream::new(options, world.clone());
    let upstream = upstream.map_err(|e| CliError::bad_input(format!("proxy.remoteurl: {e}")))?;
    // Less than a second is not for ever.
    let ttl_seconds = remote.ttl.map_or(DEFAULT_TTL_SECONDS, |ttl| ttl.0.as_millis().div_ceil(1000) as u64);
    Ok(Some(Remote { upstream, ttl_seconds, world }))
}

/// The cache's side of a recovered registry.
pub async fn open(
    remote: Remote,
    registry: &Registry<RealFs>,
    fs: &RealFs,
    run: Run,
) -> Result<Proxy<RealFs>, CliError> {
    let Remote { upstream, ttl_seconds, world } = remote;
    let schedule = Schedule::open(registry.clone(), fs.clone(), world, ttl_seconds).await;
    let schedule = schedule.map_err(|e| CliError::unavailable(format!("cannot read what the cache holds: {e}")))?;
    Ok(Proxy::new(registry.clone(), upstream, schedule, run))
}

/// Saves what is to be known at the next start.
pub async fn close(proxy: Proxy<RealFs>, run: Run) {
    let saved = run.call(async move { proxy.schedule().save().await }).await;
    if !matches!(saved, Ok(Ok(()))) {
        tracing::warn!(error = ?saved, "cannot save when content expires");
    }
}
