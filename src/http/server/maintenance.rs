//! What runs beside the requests, on a schedule: litter after a start, uploads that nobody finishes, garbage.
//!
//! A failure is told in the log and tried again at the next turn: maintenance never ends a server. Everything here is
//! interruptible by the end of the process; what it leaves then, the next start finds.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::fs::Fs;
use crate::http::run::Run;
use crate::registry::Registry;
use crate::strategy::CollectOptions;

/// How long after the start the first purge and collection begin, unless their interval is shorter: a server that is
/// restarted every day still gets to them, and one that has just started has other things to do.
pub const FIRST_TURN_SECONDS: u64 = 60;

/// What is to be done, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Whether what crashes left behind is removed after the start.
    pub litter: bool,
    /// Removal of old uploads.
    pub purge: Option<Purge>,
    /// Garbage collection.
    pub collect: Option<Collect>,
}

/// Removal of old uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// From one to the next.
    pub interval: Duration,
    /// Older ones go.
    pub age: Duration,
    /// Only say how many would go.
    pub dry_run: bool,
}

/// Garbage collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// From the start of one to the start of the next.
    pub interval: Duration,
    /// Also delete manifests that no tag and no index names.
    pub delete_untagged: bool,
}

/// Follows the plan for ever.
pub async fn run<F: Fs>(registry: Registry<F>, plan: Plan, run: Run) {
    tokio::join!(
        litter(&registry, plan.litter, run),
        purge(&registry, plan.purge, run),
        collect(&registry, plan.collect, run)
    );
}

async fn litter<F: Fs>(registry: &Registry<F>, is_wanted: bool, run: Run) {
    if !is_wanted {
        return;
    }
    let registry = registry.clone();
    match run.call(async move { registry.collect_litter().await }).await {
        Ok(Ok(0)) => {}
        Ok(Ok(removed)) => tracing::info!(removed, "removed what crashes had left behind"),
        failed => tracing::warn!(error = ?failed, "cannot remove all that crashes have left behind"),
    }
}

async fn purge<F: Fs>(registry: &Registry<F>, purge: Option<Purge>, run: Run) {
    let Some(Purge { interval, age, dry_run }) = purge else { return };
    let mut next = first_turn(interval);
    loop {
        sleep_until(next).await;
        next += interval;
        let registry = registry.clone();
        match run.call(async move { registry.purge_uploads(age.as_secs(), dry_run).await }).await {
            Ok(Ok(purged)) => tracing::info!(purged, dry_run, "purged uploads that nobody had finished"),
            failed => tracing::warn!(error = ?failed, "cannot purge uploads"),
        }
    }
}

async fn collect<F: Fs>(registry: &Registry<F>, collect: Option<Collect>, run: Run) {
    let Some(Collect { interval, delete_untagged }) = collect else { return };
    let options = CollectOptions { delete_untagged, ..CollectOptions::default() };
    let mut next = first_turn(interval);
    loop {
        sleep_until(next).await;
        next += interval;
        let registry = registry.clone();
        match run.call(async move { registry.collect(options).await }).await {
            Ok(Ok(gone)) => tracing::info!(
                blobs = gone.blobs.len(),
                manifests = gone.manifests.len(),
                layer_links = gone.layer_links.len(),
                "collected garbage"
            ),
            failed => tracing::warn!(error = ?failed, "cannot collect garbage"),
        }
    }
}

fn first_turn(interval: Duration) -> Instant {
    Instant::now() + interval.min(Duration::from_secs(FIRST_TURN_SECONDS))
}
