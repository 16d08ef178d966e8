//! `pullplug ops`: the file-system calls of a workload, in the form in which those of real registries were recorded.

use super::args::OpsArgs;
use super::cell::{Images, Scene};
use super::error::CliError;
use super::{exit, output};
use crate::disk::SimFs;
use crate::fs::hooked::HookedFs;
use crate::fs::trace::number_ids;

/// Runs the command.
pub fn run(args: OpsArgs) -> Result<u8, CliError> {
    let images = Images::new(&args.input)?;
    let scene = Scene::new(&args.strategy, &args.workload, &images)?;
    let disk = SimFs::new();
    // It went well once, in `Scene::new`, and every run is the same.
    let again = |e: crate::workload::run::RunError| CliError::internal(e.to_string());
    scene.subject.set_up(&disk).map_err(again)?;
    let hooked = HookedFs::new(disk);
    scene.subject.run_on(hooked.clone(), |_| {}).map_err(again)?;
    let mut text = number_ids(&hooked.trace().lines()).join("\n");
    text.push('\n');
    output::print(&text)?;
    Ok(exit::NOTHING_FOUND)
}
