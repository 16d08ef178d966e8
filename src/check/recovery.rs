//! `recovery-idempotent`: recovery may be run again, and be cut and run again, and takes nothing that had survived.
//!
//! As for collections, what was readable after a first recovery is the measure.

use super::contents::Contents;
use super::read::{self, Object, Seen};
use super::{Invariant, Observation};
use crate::env::World;
use crate::fs::Fs;
use crate::registry::{OpenError, Registry};

/// Recovers what `fs` holds, all of it: the part before serving, and the litter. A crash may cut it anywhere.
pub async fn recover_everything<F: Fs>(strategy: &str, fs: F, world: World) -> Result<Registry<F>, OpenError> {
    let registry = Registry::open(strategy, fs, world).await?;
    registry.collect_litter().await?;
    Ok(registry)
}

/// Recovers, then recovers everything, twice, and judges that each of `objects` that was right before still is. They
/// are those that were acknowledged.
pub async fn judge<F: Fs>(
    strategy: &str,
    fs: F,
    world: World,
    contents: &Contents,
    objects: &[Object],
) -> Vec<Observation> {
    let broken = |why: String| vec![Observation::broken(Invariant::RecoveryIdempotent, why)];
    let first = match Registry::open(strategy, fs.clone(), world.clone()).await {
        Ok(registry) => registry,
        Err(e) => return broken(e.to_string()),
    };
    let mut before = Vec::new();
    for object in objects {
        let seen = read::see(&first, contents, object).await;
        if seen.is_right() {
            before.push((object, seen));
        }
    }
    drop(first);
    let mut last = Err(OpenError::UnknownStrategy(strategy.to_owned()));
    for _ in 0..2 {
        last = recover_everything(strategy, fs.clone(), world.clone()).await;
        if let Err(e) = &last {
            return broken(format!("a second recovery fails: {e}"));
        }
    }
    let Ok(registry) = last else { return Vec::new() };
    let mut observations = vec![Observation::holds(Invariant::RecoveryIdempotent)];
    for (object, seen) in before {
        let now = read::see(&registry, contents, object).await;
        if now != seen {
            let how = match now {
                Seen::Right(other) => format!("it points at {other}"),
                now => now.complaint().unwrap_or_default(),
            };
            let what = format!("{object} survived the crash; after a second recovery {how}");
            observations.push(Observation::broken(Invariant::RecoveryIdempotent, what));
        }
    }
    observations
}
