//! `pullplug syncs`: which syncs a strategy needs, and which it lacks.

use indicatif::ProgressBar;

use super::args::SyncsArgs;
use super::cell::{Images, Scene, claims};
use super::compare::{picked, progress};
use super::error::CliError;
use super::{exit, files, output};
use crate::check::Invariant;
use crate::disk::crash::Loss;
use crate::disk::model::{self, PersistenceModel};
use crate::explore::Run;
use crate::fs::trace::Call;
use crate::report::case::Case;
use crate::report::syncs::{Addition, Missing, Needed, SYNCS_VERSION, Site, Syncs, Told};
use crate::strategy::durable;
use crate::synthesis::bench::Baseline;
use crate::synthesis::mend::Mended;
use crate::synthesis::needs::{self, Need, Sites};
use crate::synthesis::{Altered, Bench, Breach};
use crate::workload;
use crate::workload::subject::RegistrySubject;

/// The workloads, if none are asked for.
const WORKLOADS: [&str; 4] = ["push", "retag", "delete", "gc"];

/// Runs the command.
pub fn run(args: SyncsArgs) -> Result<u8, CliError> {
    let json = match &args.json {
        Some(Some(path)) => Some(files::Output::reserve(path)?),
        _ => None,
    };
    let images = Images::with_layer(&args.input, args.layer_bytes as usize)?;
    let workloads = match args.workloads.is_empty() {
        true => WORKLOADS.to_vec(),
        false => picked(workload::NAMES, &args.workloads),
    };
    let models: Vec<_> = model::ALL.into_iter().filter(|m| wants(&args.model, m.name())).collect();
    let scenes: Vec<Scene<'_>> =
        workloads.iter().map(|name| Scene::new(&args.strategy, name, &images)).collect::<Result<_, _>>()?;
    let subjects: Vec<RegistrySubject> = scenes.into_iter().map(|scene| scene.subject).collect();
    let bench = Bench { subjects: &subjects, seed: args.input.seed };
    let analysis = Analysis { args: &args, images: &images, bench, workloads, models };
    let document = analysis.document()?;
    if let Some(json) = json {
        json.write(&document.to_json())?;
    }
    output::print(&if args.json == Some(None) { document.to_json() } else { document.to_text() })?;
    Ok(exit::NOTHING_FOUND)
}

fn wants(asked: &[String], name: &str) -> bool {
    asked.is_empty() || asked.iter().any(|a| a == name)
}

fn internal(e: impl ToString) -> CliError {
    CliError::internal(e.to_string())
}

struct Analysis<'a> {
    args: &'a SyncsArgs,
    images: &'a Images,
    bench: Bench<'a, String>,
    workloads: Vec<&'static str>,
    models: Vec<&'static dyn PersistenceModel>,
}

impl Analysis<'_> {
    fn document(&self) -> Result<Syncs, CliError> {
        let bar = progress(self.models.len() * self.workloads.len());
        let taken: fn(&Call) -> bool = match (self.args.missing, self.args.orders) {
            (true, _) => |_| false,
            (_, true) => |_| true,
            _ => Call::is_sync,
        };
        let mut baselines: Vec<(&dyn PersistenceModel, Baseline)> = Vec::new();
        for model in &self.models {
            bar.set_message(format!("as it is, {}", model.name()));
            baselines.push((*model, self.bench.baseline(*model, taken, || bar.inc(1)).map_err(internal)?));
        }
        let (mut syncs, mut orders) = (None, None);
        if !self.args.missing {
            let mut sites = Sites::new();
            for (_, baseline) in &baselines {
                for (site, places) in needs::syncs(baseline) {
                    sites.entry(site).or_default().extend(places);
                }
            }
            syncs = Some(self.sites(&sites, &baselines, &bar)?);
        }
        if self.args.orders {
            orders = Some(self.sites(&needs::orders(&self.bench).map_err(internal)?, &baselines, &bar)?);
        }
        let mut missing = Vec::new();
        for (model, baseline) in &baselines {
            missing.push(self.missing(*model, baseline, &bar)?);
        }
        bar.finish_and_clear();
        Ok(Syncs {
            version: SYNCS_VERSION,
            strategy: self.args.strategy.clone(),
            workloads: self.workloads.clone(),
            models: self.models.iter().map(|model| model.name()).collect(),
            seed: self.images.seed.to_string(),
            image: self.images.dir.clone(),
            syncs,
            orders,
            missing,
        })
    }

    /// Each site under each model.
    fn sites(
        &self,
        sites: &Sites,
        baselines: &[(&dyn PersistenceModel, Baseline)],
        bar: &ProgressBar,
    ) -> Result<Vec<Site>, CliError> {
        bar.inc_length((sites.len() * baselines.len()) as u64);
        let row = |site: &needs::Site| Site {
            operation: site.role.verb,
            call: site.role.call.clone(),
            then: site.then.clone(),
            needs: Default::default(),
            counterexample: None,
        };
        type Smallest<'m> = Option<(&'m dyn PersistenceModel, Breach)>;
        let mut rows: Vec<(Site, Smallest<'_>)> = sites.keys().map(|site| (row(site), None)).collect();
        for (model, baseline) in baselines {
            bar.set_message(format!("without each, {}", model.name()));
            let needs = self.bench.needs(sites, baseline, *model, &|| bar.inc(1)).map_err(internal)?;
            for ((row, smallest), need) in rows.iter_mut().zip(needs) {
                let needed = match need {
                    Need::Needed(breach) => {
                        let is_smaller = |(_, known): &(_, Breach)| breach.finding.size() < known.finding.size();
                        if smallest.as_ref().is_none_or(is_smaller) {
                            *smallest = Some((*model, *breach));
                        }
                        Needed::Needed
                    }
                    Need::Spare => Needed::NotNeeded,
                    Need::Unknown => Needed::Unknown,
                    Need::Fixed => Needed::ByProgram,
                };
                row.needs.insert(model.name(), needed);
            }
        }
        let told = |(row, smallest): (Site, Smallest<'_>)| {
            let counterexample = smallest.map(|(model, breach)| self.told(model, &breach)).transpose()?;
            Ok(Site { counterexample, ..row })
        };
        rows.into_iter().map(told).collect()
    }

    fn missing(
        &self,
        model: &dyn PersistenceModel,
        baseline: &Baseline,
        bar: &ProgressBar,
    ) -> Result<Missing, CliError> {
        let asked = |name: &str| match self.args.invariants.is_empty() {
            true => Invariant::from_name(name).is_some_and(|i| claims(durable::NAME, model.name(), Loss::PowerCut, i)),
            false => self.args.invariants.iter().any(|asked| asked == name),
        };
        let tried = |counterexamples, size| {
            bar.set_message(format!("{size} more syncs, after {counterexamples} counterexamples, {}", model.name()));
        };
        let Mended { sets, is_all, is_smallest, beyond, counterexamples, gave_up } =
            self.bench.mend(baseline, model, &asked, self.args.limit.into(), tried).map_err(internal)?;
        let told = |one: crate::synthesis::Addition| Addition {
            operation: one.after.verb,
            after: one.after.call,
            sync: one.what.name(),
        };
        Ok(Missing {
            model: model.name(),
            sets: sets.into_iter().map(|set| set.into_iter().map(told).collect()).collect(),
            is_all,
            is_smallest,
            gave_up,
            counterexamples,
            beyond: beyond.values().map(|breach| self.told(model, breach)).collect::<Result<_, _>>()?,
        })
    }

    /// A breach in words.
    fn told(&self, model: &dyn PersistenceModel, breach: &Breach) -> Result<Told, CliError> {
        let subject: Altered<'_, String> = self.bench.altered(breach.workload, breach.alteration.clone());
        let run = Run::of(&subject).map_err(internal)?;
        let workload = subject.inner().workload();
        let case = Case {
            subject: &subject,
            run: &run,
            model,
            loss: Loss::PowerCut,
            strategy: &self.args.strategy,
            workload: &workload.name,
            ops: &workload.ops,
            together: None,
        };
        let counterexample = case.counterexample(&breach.finding, |spec| {
            let line = self.images.replay_line(spec);
            match breach.alteration.to_string() {
                plain if plain.is_empty() => line,
                altered => line.replacen("replay", &format!("replay --altered '{altered}'"), 1),
            }
        });
        Ok(Told {
            model: model.name(),
            workload: self.workloads[breach.workload],
            counterexample: counterexample.map_err(internal)?,
        })
    }
}
