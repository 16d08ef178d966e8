//! What an explorer saw: outcomes for programs, a message for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::disk::crash::Loss;
use crate::disk::space::Count;
use crate::explore::replay::{Crash, Impossible};
use crate::explore::{Finding, Subject};
use crate::report::case::Case;
use crate::report::covered::Covered;
use crate::report::words::magnitude;
use crate::report::{Counterexample, Coverage, counterexample};

/// What was seen under one model, with one way to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored<P> {
    /// The persistence model.
    pub model: &'static str,
    /// How the machine stopped.
    pub loss: Loss,
    /// What was seen, but for what is allowed to be broken.
    pub covered: Covered<P>,
}

/// All that an explorer saw. Displayed, it is the message that a test fails with.
#[derive(Debug, Clone)]
pub struct Seen<P> {
    title: [String; 2],
    /// One for each model and way to stop.
    pub explored: Vec<Explored<P>>,
    told: Vec<Told>,
}

/// A finding in words.
#[derive(Debug, Clone)]
struct Told {
    model: &'static str,
    loss: Loss,
    finding: Counterexample,
    story: String,
}

impl<P> Seen<P> {
    pub(super) fn new(title: [String; 2]) -> Self {
        Self { title, explored: Vec::new(), told: Vec::new() }
    }

    /// Puts a finding into words.
    pub(super) fn tell<S: Subject<Probe = P>>(
        &mut self,
        model: &'static str,
        case: &Case<'_, S, String>,
        finding: &Finding<P>,
    ) -> Result<(), Impossible> {
        let crash = Crash::from(finding);
        let story = case.story(&crash, &case.reproduce(&crash)?);
        let finding = case.counterexample(finding, |spec| format!(".assert_safe_at(\"{spec}\")"))?;
        self.told.push(Told { model, loss: case.loss, finding, story });
        Ok(())
    }

    /// Whether no invariant was broken, but for what is allowed.
    pub fn is_safe(&self) -> bool {
        self.told.is_empty()
    }

    /// Whether all crash states were covered.
    pub fn is_proved(&self) -> bool {
        self.sampled().is_empty()
    }

    /// The models under which not all were.
    fn sampled(&self) -> BTreeSet<&'static str> {
        let is_sampled = |e: &&Explored<P>| e.covered.coverage != Coverage::Proved;
        self.explored.iter().filter(is_sampled).map(|e| e.model).collect()
    }

    /// The broken invariants: under which model, and which.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.told.iter().map(|told| (told.model, told.finding.invariant))
    }

    /// The smallest counterexample of each broken invariant.
    fn smallest(&self) -> BTreeMap<&'static str, &Told> {
        let mut smallest: BTreeMap<&'static str, &Told> = BTreeMap::new();
        for told in &self.told {
            let known = smallest.entry(told.finding.invariant).or_insert(told);
            if told.finding.size < known.finding.size {
                *known = told;
            }
        }
        smallest
    }
}

impl<P> fmt::Display for Seen<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.title.join(", ");
        let mut states = Count::default();
        self.explored.iter().flat_map(|e| e.covered.counts()).for_each(|count| states += count.clone());
        let bound = if states.is_exact { "" } else { "up to " };
        let states = format!("{bound}{} crash states", magnitude(&states.to_string()));
        let sampled: Vec<&str> = self.sampled().into_iter().collect();
        let extent = match &sampled[..] {
            [] => format!("all {states} were covered"),
            models => format!("{states} were visited, a sample under {}", models.join(", ")),
        };
        if self.is_safe() {
            return write!(f, "{title} is safe; {extent}");
        }
        writeln!(f, "{title} is not safe; {extent}")?;
        let smallest = self.smallest();
        for (invariant, told) in &smallest {
            let under = |told: &Told| format!("{} ({})", told.model, told.loss.name());
            writeln!(f, "\n{title} breaks {invariant} under {}", under(told))?;
            f.write_str(&plain(&counterexample::details(&told.finding)))?;
            let others = self.told.iter().filter(|t| t.finding.invariant == *invariant && !std::ptr::eq(*t, *told));
            let others: Vec<String> = others.map(under).collect();
            if !others.is_empty() {
                writeln!(f, "  {:<10}{}", "also", others.join(", "))?;
            }
        }
        // One story is enough to begin with: the shortest.
        match smallest.values().min_by_key(|told| told.finding.size) {
            Some(told) => write!(f, "\nHow {} is broken\n\n{}", told.finding.invariant, plain(&told.story)),
            None => Ok(()),
        }
    }
}

/// Without styles: a panic's message is read everywhere.
pub(super) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
