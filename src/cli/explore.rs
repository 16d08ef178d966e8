//! `pullplug explore`: one strategy, one model, one workload or two at once, all detail. And where explorations are
//! written to.

use std::path::{Path, PathBuf};

use super::args::{Exploration, ExploreArgs};
use super::cell::{Images, Scene, claims, document};
use super::error::CliError;
use super::{concurrent, exit, files, output};
use crate::disk::crash::Loss;
use crate::disk::model;
use crate::report::spec::{FILE_VERSION, ReplayFile};
use crate::report::{Cell, Counterexample, Document, detail};

/// Runs the command.
pub fn run(args: ExploreArgs) -> Result<u8, CliError> {
    let outputs = Outputs::reserve(&args.explore)?;
    let images = Images::new(&args.explore.input)?;
    let model = model::named(&args.model)
        .ok_or_else(|| CliError::internal(format!("the model {} is listed and not there", args.model)))?;
    let cell = match (&args.concurrent, &args.workload) {
        (Some(pair), _) => {
            concurrent::explore(&concurrent::stage(&args.strategy, pair, &images)?, model, &args, &images)?
        }
        (None, Some(workload)) => Scene::new(&args.strategy, workload, &images)?.explore(model, &args.explore)?,
        (None, None) => return Err(CliError::internal("neither a workload nor a pair")),
    };
    let found = !cell.violations.is_empty();
    let document = document(vec![cell], &args.explore, &images);
    let claims = |i| claims(&args.strategy, model.name(), Loss::from(args.explore.loss), i);
    outputs.write(&document, || document.cells.iter().map(|cell| detail::render(&document, cell, claims)).collect())?;
    Ok(if found { exit::FOUND } else { exit::NOTHING_FOUND })
}

/// Where the result goes.
#[derive(Debug)]
pub struct Outputs {
    json: Option<files::Output>,
    /// JSON goes to the standard output, instead of text.
    only_json: bool,
    save: Option<PathBuf>,
}

impl Outputs {
    /// Takes the places of all outputs, before anything is explored.
    pub fn reserve(args: &Exploration) -> Result<Self, CliError> {
        let json = match &args.json {
            Some(Some(path)) => Some(files::Output::reserve(path)?),
            _ => None,
        };
        if let Some(dir) = &args.save {
            files::make_dir(dir)?;
            // Whether a file can be made there is known by making one.
            drop(files::Output::reserve(&dir.join("finding.json"))?);
        }
        Ok(Self { json, only_json: args.json == Some(None), save: args.save.clone() })
    }

    /// Writes `document` to where it was asked for; `text` is for people.
    pub fn write(self, document: &Document, text: impl FnOnce() -> String) -> Result<(), CliError> {
        if let Some(json) = self.json {
            json.write(&document.to_json())?;
        }
        if let Some(dir) = &self.save {
            for cell in &document.cells {
                for finding in &cell.findings {
                    save(dir, document, cell, finding)?;
                }
            }
        }
        output::print(&if self.only_json { document.to_json() } else { text() })
    }
}

fn save(dir: &Path, document: &Document, cell: &Cell, finding: &Counterexample) -> Result<(), CliError> {
    let name = format!("{}-{}-{}-{}.json", cell.strategy, cell.model, cell.workload, finding.invariant);
    let recovery = finding.recovery.iter().flat_map(|r| r.lost.iter().map(|l| format!("{l} (in recovery)")));
    let file = ReplayFile {
        version: FILE_VERSION,
        replay: finding.spec.clone(),
        seed: document.seed.clone(),
        image: document.image.clone(),
        detail: finding.detail.clone(),
        lost: finding.lost.iter().cloned().chain(recovery).collect(),
    };
    let text = serde_json::to_string_pretty(&file).map_err(|e| CliError::internal(e.to_string()))?;
    files::Output::reserve(&dir.join(name))?.write(&format!("{text}\n"))
}
