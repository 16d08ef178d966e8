//! `recovery-idempotent`: recovery may be run again, and be cut and run again, and takes nothing that had survived.
//!
//! As for collections, what was readable after a first recovery is the measure.
//!
//! Recovery reads everything, and so would whoever judges by it. Where a start looks at nothing and litter is collected
//! step by step ([`LitterSteps`]), it does to one object what it does in the places in which reading that object looks.
//! Steps elsewhere change nothing that was looked at, and see nothing of what those here change: to leave them out
//! changes neither. So only the places of one object are recovered to judge it, and every place once for itself, to see
//! that this succeeds and stays in its place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::contents::Contents;
use super::read::{self, Object, Seen};
use super::{Invariant, Observation};
use crate::env::World;
use crate::env::sync::hold;
use crate::fs::hooked::{Action, HookedFs};
use crate::fs::trace::Call;
use crate::fs::{ErrorKind, FileKind, Fs, FsExt, split};
use crate::registry::{OpenError, Registry};
use crate::strategy::{LitterSteps, Protocol};

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

/// Recovers everything on `fs`, twice. The second time is left out where `unchanged` says that the first changed nothing
/// at all: it would meet what the first has met.
pub async fn recover_twice<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    fs: &F,
    world: &World,
    unchanged: impl Fn(&F) -> bool,
) -> Result<Registry<F>, OpenError> {
    let recovered = recover_everything(strategy, fs.clone(), world.clone()).await?;
    if unchanged(fs) {
        return Ok(recovered);
    }
    recover_everything(strategy, fs.clone(), world.clone()).await
}

/// Judges that `object`, seen before as `seen` if it was right then, is still right on what was `recovered` twice.
pub async fn judge<F: Fs>(
    recovered: &Result<Registry<F>, OpenError>,
    contents: &Contents,
    object: Option<(&Object, &Seen)>,
) -> Vec<Observation> {
    let registry = match recovered {
        Ok(registry) => registry,
        Err(e) => return vec![broken(format!("a second recovery fails: {e}"))],
    };
    let mut observations = vec![Observation::holds(Invariant::RecoveryIdempotent)];
    if let Some((object, seen)) = object.filter(|(_, seen)| seen.is_right()) {
        let now = read::see(registry, contents, object).await;
        observations.extend((now != *seen).then(|| taken(object, now)));
    }
    observations
}

fn taken(object: &Object, now: Seen) -> Observation {
    let how = match now {
        Seen::Right(other) => format!("it points at {other}"),
        now => now.complaint().unwrap_or_default(),
    };
    broken(format!("{object} survived the crash; after a second recovery {how}"))
}

/// It is broken.
pub fn broken(why: String) -> Observation {
    Observation::broken(Invariant::RecoveryIdempotent, why)
}

/// A registry that was opened on a watched disk, and what its protocol is.
struct Watched<'a, F: Fs, P: ?Sized> {
    strategy: &'a P,
    world: World,
    fs: HookedFs<F>,
    watch: Watch,
    registry: Registry<HookedFs<F>>,
    /// Whether it starts without looking at anything.
    starts_blind: bool,
}

impl<'a, F: Fs, P: Protocol + ?Sized> Watched<'a, F, P> {
    async fn open(strategy: &'a P, fs: F, world: World) -> Result<Self, OpenError> {
        let watch = Watch::default();
        let fs = HookedFs::watched(fs, {
            let watch = watch.clone();
            move |call| watch.judge(call)
        });
        let registry = Registry::open(strategy, fs.clone(), world.clone()).await?;
        let starts_blind = hold(&watch.0).looked.is_empty();
        Ok(Self { strategy, world, fs, watch, registry, starts_blind })
    }

    /// The steps of recovery, if it is made of such.
    fn steps(&self) -> Option<&dyn LitterSteps> {
        self.registry.strategy().litter_steps().filter(|_| self.starts_blind)
    }

    /// All of recovery, twice.
    async fn recover_twice(&self) -> Result<Registry<F>, OpenError> {
        recover_twice(self.strategy, self.fs.inner(), &self.world, |_| false).await
    }

    /// Recovery in these places, twice.
    async fn recover_twice_in(&self, places: &BTreeSet<String>) -> Result<Registry<HookedFs<F>>, OpenError> {
        self.recover_in(places).await?;
        self.recover_in(places).await
    }

    async fn recover_in(&self, places: &BTreeSet<String>) -> Result<Registry<HookedFs<F>>, OpenError> {
        let registry = Registry::open(self.strategy, self.fs.clone(), self.world.clone()).await?;
        if let Some(steps) = registry.strategy().litter_steps() {
            for place in places {
                hold(&self.watch.0).held_to = Some(place.clone());
                let collected = steps.collect_litter_in(place).await;
                hold(&self.watch.0).held_to = None;
                collected?;
            }
        }
        Ok(registry)
    }

    /// The places in which what was looked at lies.
    async fn places(&self, steps: &dyn LitterSteps) -> crate::fs::Result<BTreeSet<String>> {
        let (looked, listed) = {
            let seen = hold(&self.watch.0);
            (seen.looked.clone(), seen.listed.clone())
        };
        let mut places = BTreeSet::new();
        for path in &looked {
            let above = std::iter::successors(Some(path.as_str()), |at| split(at).map(|(dir, _)| dir));
            places.extend(above.filter(|dir| steps.is_place(dir)).map(str::to_owned));
        }
        for dir in &listed {
            // A place that goes, goes from the listing.
            let entries = self.fs.inner().list(dir).await?.into_iter().filter(|entry| entry.kind == FileKind::Dir);
            places.extend(entries.map(|entry| format!("{dir}/{}", entry.name)).filter(|dir| steps.is_place(dir)));
        }
        Ok(places)
    }
}

/// Judges that a recovery takes nothing from `object`, whatever else there is; without one, that it succeeds where it is
/// not made of steps.
pub async fn judge_alone<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    contents: &Contents,
    fs: F,
    world: World,
    object: Option<&Object>,
) -> Result<Vec<Observation>, OpenError> {
    let watched = Watched::open(strategy, fs, world).await?;
    let Some(object) = object else {
        let places = BTreeSet::new();
        return Ok(match watched.steps() {
            Some(_) => judge(&watched.recover_twice_in(&places).await, contents, None).await,
            None => judge(&watched.recover_twice().await, contents, None).await,
        });
    };
    let seen = read::see(&watched.registry, contents, object).await;
    let Some(steps) = watched.steps() else {
        return Ok(judge(&watched.recover_twice().await, contents, Some((object, &seen))).await);
    };
    let mut places = BTreeSet::new();
    loop {
        let looked = watched.places(steps).await.map_err(crate::strategy::Error::from)?;
        if looked.is_subset(&places) {
            return Ok(vec![Observation::holds(Invariant::RecoveryIdempotent)]);
        }
        places.extend(looked);
        let judged = judge(&watched.recover_twice_in(&places).await, contents, Some((object, &seen))).await;
        if !seen.is_right() || judged.iter().any(|observation| observation.violation.is_some()) {
            return Ok(judged);
        }
    }
}

/// Judges that recovery succeeds in a place, twice. Nothing is seen where it does not go by places, or not by this one.
pub async fn judge_place<F: Fs, P: Protocol + ?Sized>(
    strategy: &P,
    contents: &Contents,
    fs: F,
    world: World,
    place: &str,
) -> Result<Vec<Observation>, OpenError> {
    let watched = Watched::open(strategy, fs, world).await?;
    match watched.steps() {
        Some(steps) if steps.is_place(place) => {
            let places = BTreeSet::from([place.to_owned()]);
            Ok(judge(&watched.recover_twice_in(&places).await, contents, None).await)
        }
        _ => Ok(Vec::new()),
    }
}

/// Who sees all calls: notes what is looked at, and holds them to a place while that is recovered.
#[derive(Debug, Clone, Default)]
struct Watch(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    looked: BTreeSet<String>,
    listed: BTreeSet<String>,
    held_to: Option<String>,
}

impl Watch {
    fn judge(&self, call: &Call) -> Action {
        // Syncs show nothing and change nothing that is shown.
        if call.is_sync() {
            return Action::Run;
        }
        let mut calls = hold(&self.0);
        if let Some(place) = &calls.held_to {
            return if stays_in(place, call) { Action::Run } else { Action::Fail(ErrorKind::Denied) };
        }
        calls.looked.insert(call.path().to_owned());
        calls.looked.extend(call.target().map(str::to_owned));
        if let Call::ReadDir { path } = call {
            calls.listed.insert(path.clone());
        }
        Action::Run
    }
}

/// Whether a call looks at nothing outside a place, and removes or renames in it if it changes something. What it wrote to
/// a file might be seen under a name elsewhere.
fn stays_in(place: &str, call: &Call) -> bool {
    let is_in = |path: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_tame = !call.is_change() || matches!(call, Call::Unlink { .. } | Call::Rmdir { .. } | Call::Rename { .. });
    is_tame && is_in(call.path()) && call.target().is_none_or(is_in)
}
