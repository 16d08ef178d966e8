//! Which syncs a strategy needs and which it lacks, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::words::{counted, shortened};
use super::{BROKEN, Counterexample, GOOD, MAX_COLUMNS, STRONG, counterexample};

/// Version of the document; it changes when a key changes its meaning or goes, not when one is added.
pub const SYNCS_VERSION: u32 = 1;

/// All of it. As of a [`Document`](super::Document), names and the order of keys stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Syncs {
    /// [`SYNCS_VERSION`].
    pub version: u32,
    /// The strategy.
    pub strategy: String,
    /// The workloads.
    pub workloads: Vec<&'static str>,
    /// The persistence models.
    pub models: Vec<&'static str>,
    /// The seed, in decimal.
    pub seed: String,
    /// The directory of the image that was pushed; nothing where it was generated.
    pub image: Option<String>,
    /// The syncs that it makes, unless only those that it lacks were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncs: Option<Vec<Site>>,
    /// The orders of two successive calls, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<Vec<Site>>,
    /// The syncs that it lacks, by model.
    pub missing: Vec<Missing>,
}

/// A sync, or an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Of which operation.
    pub operation: &'static str,
    /// The call, or the first of two, in general terms.
    pub call: String,
    /// The second of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Whether it is needed, by model.
    pub needs: BTreeMap<&'static str, Needed>,
    /// The smallest counterexample that appears without it.
    pub counterexample: Option<Told>,
}

/// Whether a site is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needed {
    /// It is.
    Needed,
    /// It is not: proved.
    NotNeeded,
    /// Nothing was found, and there is no proof.
    Unknown,
    /// The program needs it, whatever the disk does.
    ByProgram,
}

impl Needed {
    fn letter(self) -> char {
        match self {
            Self::Needed => 'N',
            Self::NotNeeded => '-',
            Self::Unknown => '?',
            Self::ByProgram => 'P',
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Needed => "needed: without it breaks what holds with it",
            Self::NotNeeded => "not needed: without it holds all that holds with it, which is proved",
            Self::Unknown => "unknown: nothing was found to break, and there is no proof",
            Self::ByProgram => "the program needs it so, whatever the disk does",
        }
    }
}

/// A counterexample, and where it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The persistence model.
    pub model: &'static str,
    /// The workload.
    pub workload: &'static str,
    /// What happens.
    #[serde(flatten)]
    pub counterexample: Counterexample,
}

/// What is missing under a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The persistence model.
    pub model: &'static str,
    /// The smallest sets of syncs that make it safe, each proved; an empty one if it is. None if there is none, or if
    /// a proof was given up.
    pub sets: Vec<Vec<Addition>>,
    /// Whether these are all of that size.
    pub is_all: bool,
    /// Whether it is proved that fewer do not do.
    pub is_smallest: bool,
    /// Whether a proof was given up, so that the sets are not known.
    pub gave_up: bool,
    /// How many counterexamples led there.
    pub counterexamples: usize,
    /// Counterexamples that are some with each sync that could be added, and with all of them, one an invariant: the
    /// sets are for the other invariants.
    pub beyond: Vec<Told>,
}

/// A sync to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addition {
    /// In which operation.
    pub operation: &'static str,
    /// After which call, in general terms.
    pub after: String,
    /// The sync.
    pub sync: &'static str,
}

impl Syncs {
    /// The document as JSON text, with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The document for people.
    pub fn to_text(&self) -> String {
        let mut out =
            format!("{STRONG}{}{STRONG:#}: {}; seed {}\n", self.strategy, self.workloads.join(", "), self.seed);
        if self.syncs.is_some() {
            let columns = self.models.iter().enumerate().map(|(i, model)| format!("{} {model}", i + 1));
            let _ = writeln!(out, "\n{}", wrapped(&columns.collect::<Vec<_>>().join("  "), 0));
        }
        let tables = [("Syncs that it makes", &self.syncs), ("Orders of successive calls", &self.orders)];
        for (title, sites) in tables {
            sites.iter().for_each(|sites| self.table(&mut out, title, sites));
        }
        let sites = || self.syncs.iter().chain(&self.orders).flatten();
        for letter in [Needed::Needed, Needed::NotNeeded, Needed::Unknown, Needed::ByProgram] {
            if sites().any(|site| site.needs.values().any(|need| *need == letter)) {
                let _ = writeln!(out, "{}  {}", letter.letter(), letter.words());
            }
        }
        for missing in &self.missing {
            out.push_str(&missing.to_text());
        }
        let mut told = sites().filter_map(|site| Some((site, site.counterexample.as_ref()?))).peekable();
        if told.peek().is_some() {
            let _ = writeln!(out, "\n{STRONG}The smallest counterexample without each{STRONG:#}");
        }
        for (site, told) in told {
            let then = site.then.as_ref().map_or(String::new(), |then| format!(", then {then}"));
            out.push('\n');
            out.push_str(&wrapped(&format!("{}: {}{then}", site.operation, site.call), 0));
            out.push_str(&told.to_text());
        }
        out
    }

    fn table(&self, out: &mut String, title: &str, sites: &[Site]) {
        if sites.is_empty() {
            let _ = writeln!(out, "{STRONG}{title}{STRONG:#}: none\n");
            return;
        }
        let flags_width = 2 * self.models.len();
        let width = usize::from(MAX_COLUMNS) - flags_width;
        let numbers: String = (1..=self.models.len()).map(|n| format!(" {n}")).collect();
        let _ = writeln!(out, "{STRONG}{title:<width$}{STRONG:#}{numbers}");
        let mut operation = "";
        for site in sites {
            if site.operation != operation {
                operation = site.operation;
                let _ = writeln!(out, "{operation}");
            }
            let mut lines = vec![format!("  {}", site.call)];
            lines.extend(site.then.as_ref().map(|then| format!("    then {then}")));
            let mut flags = String::new();
            for model in &self.models {
                let need = site.needs.get(model).copied().unwrap_or(Needed::Unknown);
                let style = if need == Needed::Needed { GOOD } else { anstyle::Style::new() };
                let _ = write!(flags, " {style}{}{style:#}", need.letter());
            }
            let last = lines.pop().unwrap_or_default();
            for line in lines {
                let _ = writeln!(out, "{line}");
            }
            if last.chars().count() > width {
                let _ = writeln!(out, "{last}\n{:width$}{flags}", "");
            } else {
                let _ = writeln!(out, "{last:<width$}{flags}");
            }
        }
        out.push('\n');
    }
}

impl Missing {
    fn to_text(&self) -> String {
        let mut out = format!("\n{STRONG}What it lacks under {}{STRONG:#}: ", self.model);
        let fewest = self.sets.first().map(Vec::len);
        match fewest {
            None if self.gave_up => out.push_str("that is not known, a proof was given up\n"),
            None => out.push_str("no set of syncs makes it safe\n"),
            Some(0) if self.beyond.is_empty() => out.push_str("nothing\n"),
            Some(0) => out.push_str("nothing that a sync could add\n"),
            Some(n) => {
                let fewer = if self.is_smallest { "fewer do not do, which is proved" } else { "none fewer were found" };
                let _ = writeln!(out, "{}; {fewer}", counted(n as u64, "sync"));
            }
        }
        let in_all = |one: &&Addition| self.sets.iter().all(|set| set.contains(one));
        let told = |one: &Addition| wrapped(&one.to_text(), 4);
        out.extend(self.sets.iter().take(1).flatten().filter(in_all).map(told));
        for (i, set) in self.sets.iter().enumerate() {
            let mut others = set.iter().filter(|one| !in_all(one)).peekable();
            if others.peek().is_some() {
                out.push_str(if i == 0 { "  and either\n" } else { "  or\n" });
                out.extend(others.map(told));
            }
        }
        if !self.is_all && !self.gave_up {
            out.push_str("  and perhaps others of that size\n");
        }
        for told in &self.beyond {
            let invariant = told.counterexample.invariant;
            let _ = writeln!(
                out,
                "  {BROKEN}{invariant}{BROKEN:#} breaks with each sync that could be added, and with all of them:"
            );
            out.push_str(&told.to_text());
        }
        out
    }
}

impl Addition {
    fn to_text(&self) -> String {
        let Self { operation, after, sync } = self;
        if operation == after { format!("{operation}: {sync}") } else { format!("{operation}: {after}, then {sync}") }
    }
}

impl Told {
    fn to_text(&self) -> String {
        let Self { model, workload, counterexample } = self;
        let heading = format!("  {:<10}{} under {model}, {workload}\n", "breaks", counterexample.invariant);
        heading + &counterexample::brief(counterexample)
    }
}

/// `text` in lines of at most [`MAX_COLUMNS`], those behind the first further in.
fn wrapped(text: &str, indent: usize) -> String {
    let text = shortened(text);
    let mut out = String::new();
    let mut line = " ".repeat(indent);
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > usize::from(MAX_COLUMNS) {
            let _ = writeln!(out, "{line}");
            line = " ".repeat(indent + 4);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    out + &line + "\n"
}
