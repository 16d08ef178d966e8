//! Steps and invariants as closures: the subject that most tests need.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use super::Story;
use crate::disk::SimFs;
use crate::env::run_now;
use crate::explore::{Observation, Subject};
use crate::fs::FileKind;

/// What an invariant says: nothing, or what is wrong.
pub type Verdict = Result<(), Complaint>;

/// What is wrong, in words. Whatever can be displayed becomes one by `?` or `into()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint(String);

// It is not displayed itself, or it would have to become itself in two ways.
impl<E: Display> From<E> for Complaint {
    fn from(e: E) -> Self {
        Self(e.to_string())
    }
}

/// Complains of `what` unless it `holds`.
pub fn ensure(holds: bool, what: impl Display) -> Verdict {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// How far the steps had come when the machine stopped. What was answered must have happened, what was begun may have,
/// and the rest must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progress {
    /// So many steps had begun.
    pub begun: usize,
    /// So many had been answered: all that had begun, or all but one.
    pub answered: usize,
}

type Open<S> = Box<dyn Fn(SimFs) -> Result<S, String> + Send + Sync>;
type Step<S> = Box<dyn Fn(&mut S) -> Result<(), String> + Send + Sync>;
type Check<S> = Box<dyn Fn(&mut S, Progress) -> Verdict + Send + Sync>;

/// What is done, and what must be true afterwards. `S` is what is opened on a disk: the disk itself, or a value of
/// yours. See the [module's documentation](super).
pub struct Scenario<S = SimFs> {
    name: String,
    open: Open<S>,
    setup: Vec<Step<S>>,
    steps: Vec<(String, Step<S>)>,
    checks: Vec<(&'static str, Check<S>)>,
    retries: bool,
}

impl Scenario {
    /// A scenario called `name` whose steps work on the disk itself. There is nothing to recover.
    pub fn new(name: &str) -> Self {
        Self::open(name, async |fs| Ok::<_, String>(fs))
    }
}

impl<S: 'static> Scenario<S> {
    /// A scenario called `name` whose steps work on what `open` makes of a disk: on an empty one before the setup, and
    /// again before the steps and after each crash. So it is the recovery, too. If it fails after a crash, every
    /// invariant is broken.
    pub fn open<E: Display>(name: &str, open: impl AsyncFn(SimFs) -> Result<S, E> + Send + Sync + 'static) -> Self {
        let open: Open<S> = Box::new(move |fs| run_now(open(fs)).map_err(|e| e.to_string()));
        // The name is a word of the crash that a failure names.
        let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "-");
        Self { name, open, setup: Vec::new(), steps: Vec::new(), checks: Vec::new(), retries: false }
    }

    /// What is done beforehand. It is made durable before the first step.
    pub fn setup<E: Display>(mut self, step: impl AsyncFn(&mut S) -> Result<(), E> + Send + Sync + 'static) -> Self {
        self.setup.push(boxed(step));
        self
    }

    /// The next step. Once it has returned, it is answered. It must do the same calls every time.
    pub fn step<E: Display>(
        mut self,
        name: impl Into<String>,
        step: impl AsyncFn(&mut S) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.steps.push((name.into(), boxed(step)));
        self
    }

    /// What must be true whenever the machine stopped. It is asked on a crash state that was opened, of its own for
    /// each look; so it may write. What it depends on are the disk and the [`Progress`] alone.
    pub fn invariant(
        mut self,
        name: &'static str,
        check: impl AsyncFn(&mut S, Progress) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name, Box::new(move |opened, at| run_now(check(opened, at)))));
        self
    }

    /// An invariant of each of `items`: looked at one by one, each on a crash state of its own. That costs less than
    /// one look at them all, wherever the looks read different things.
    pub fn each<T: Send + Sync + 'static>(
        mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        check: impl AsyncFn(&mut S, &T, Progress) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let check = Arc::new(check);
        for item in items {
            let check = Arc::clone(&check);
            self.checks.push((name, Box::new(move |opened, at| run_now(check(opened, &item, at)))));
        }
        self
    }

    /// After a crash of the process alone, the steps that were not answered are done, the first of them perhaps for the
    /// second time. Otherwise the process just starts again.
    pub fn retry(mut self) -> Self {
        self.retries = true;
        self
    }

    fn steps_from(&self, marks: usize, opened: &mut S, disk: &SimFs) -> Result<(), String> {
        for (i, (name, step)) in self.steps.iter().enumerate().skip(marks / 2) {
            if 2 * i >= marks {
                disk.mark(2 * i as u32);
            }
            step(opened).map_err(|e| format!("{name}: {e}"))?;
            disk.mark(2 * i as u32 + 1);
        }
        Ok(())
    }
}

fn boxed<S, E: Display>(step: impl AsyncFn(&mut S) -> Result<(), E> + Send + Sync + 'static) -> Step<S> {
    Box::new(move |opened| run_now(step(opened)).map_err(|e| e.to_string()))
}

impl<S: 'static> Subject for Scenario<S> {
    type Probe = (usize, Progress);

    fn prepare(&self, disk: &SimFs) -> Result<(), String> {
        let mut opened = (self.open)(disk.clone())?;
        self.setup.iter().try_for_each(|step| step(&mut opened))
    }

    fn run(&self, disk: &SimFs) -> Result<(), String> {
        self.steps_from(0, &mut (self.open)(disk.clone())?, disk)
    }

    fn recover(&self, disk: &SimFs) -> Result<(), String> {
        (self.open)(disk.clone()).map(drop)
    }

    fn restart(&self, disk: &SimFs, marks: usize) -> Result<(), String> {
        let mut opened = (self.open)(disk.clone())?;
        if self.retries { self.steps_from(marks, &mut opened, disk) } else { Ok(()) }
    }

    fn probes(&self, marks: usize, _: &[(String, FileKind)]) -> Vec<Self::Probe> {
        let at = Progress { begun: marks.div_ceil(2), answered: marks / 2 };
        (0..self.checks.len()).map(|check| (check, at)).collect()
    }

    fn evaluate(&self, (check, at): &Self::Probe, disk: &SimFs) -> Vec<Observation> {
        let (invariant, check) = &self.checks[*check];
        let verdict = (self.open)(disk.clone()).map_err(|e| Complaint(format!("it cannot be opened: {e}")));
        let verdict = verdict.and_then(|mut opened| check(&mut opened, *at));
        vec![Observation { invariant, violation: verdict.err().map(|Complaint(what)| what) }]
    }
}

impl<S: 'static> Story for Scenario<S> {
    fn title(&self) -> [String; 2] {
        [self.name.clone(), "steps".to_owned()]
    }

    fn operations(&self) -> Vec<String> {
        self.steps.iter().map(|(name, _)| name.clone()).collect()
    }
}

impl<S> Debug for Scenario<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scenario({}, {} steps, {} invariants)", self.name, self.steps.len(), self.checks.len())
    }
}
