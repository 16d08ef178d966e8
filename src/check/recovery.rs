//! `recovery-idempotent`: recovery may be run again, and be cut and run again, and takes nothing that had survived.
//!
//! As for collections, what was readable after a first recovery is the measure.

use super::read::{self, Object, Seen, Sight};
use super::{Invariant, Observation};
use crate::env::World;
use crate::fs::Fs;
use crate::registry::{OpenError, Registry};
use crate::strategy::Protocol;

/// Recovers what `fs` holds, all of it: the part before serving, and the litter. A crash may cut it anywhere.
pub async fn recover_everything<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    fs: F,
    world: World,
) -> Result<Registry<F>, OpenError> {
    let registry = Registry::open(strategy, fs, world).await?;
    registry.collect_litter().await?;
    Ok(registry)
}

/// Recovers everything, twice, on `fs`, on which a registry was opened before, and judges that each of `objects` that was
/// right still is. They are those that were acknowledged; `before` shows a disk that holds the same. The second time is
/// left out where `unchanged` says that the first changed nothing at all: it would meet what the first has met.
pub async fn judge<F: Fs, P: Protocol + ?Sized>(
    before: &Sight<'_, F>,
    strategy: &P,
    fs: &F,
    world: &World,
    objects: &[Object],
    unchanged: impl Fn(&F) -> bool,
) -> Vec<Observation> {
    let mut right = Vec::new();
    for object in objects {
        let seen = before.see(object).await;
        if seen.is_right() {
            right.push((object, seen));
        }
    }
    let mut recovered = recover_everything(strategy, fs.clone(), world.clone()).await;
    if recovered.is_ok() && !unchanged(fs) {
        recovered = recover_everything(strategy, fs.clone(), world.clone()).await;
    }
    let registry = match recovered {
        Ok(registry) => registry,
        Err(e) => return vec![broken(format!("a second recovery fails: {e}"))],
    };
    let mut observations = vec![Observation::holds(Invariant::RecoveryIdempotent)];
    for (object, seen) in right {
        let now = read::see(&registry, before.contents(), object).await;
        if now != seen {
            let how = match now {
                Seen::Right(other) => format!("it points at {other}"),
                now => now.complaint().unwrap_or_default(),
            };
            observations.push(broken(format!("{object} survived the crash; after a second recovery {how}")));
        }
    }
    observations
}

/// It is broken.
pub fn broken(why: String) -> Observation {
    Observation::broken(Invariant::RecoveryIdempotent, why)
}
