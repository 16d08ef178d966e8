//! `pullplug garbage-collect`: a collection by hand, on a directory that no server of ours works on.

use std::fmt::Write;

use super::args::GarbageCollectArgs;
use super::error::CliError;
use super::setup::{self, Root};
use super::{exit, output};
use crate::env::run_now;
use crate::strategy::{CollectOptions, Collected, Error};

/// Runs the command.
pub fn run(args: GarbageCollectArgs) -> Result<u8, CliError> {
    let loaded = setup::load(&args.registry)?;
    for warning in &loaded.warnings {
        output::print_warning(warning);
    }
    let strategy = setup::strategy(&args.registry, &loaded.config)?;
    let root = Root::take(&loaded.config.storage.root(), false, !args.dry_run)?;
    let registry = root.registry(&strategy, None)?;
    let failed = |e: Error| CliError::unavailable(format!("cannot collect {}: {e}", root.path.display()));
    let options = CollectOptions { delete_untagged: args.delete_untagged, dry_run: args.dry_run, exclusive: true };
    let collected = run_now(async {
        // Nothing that is only looked at has to be there to stay.
        if !args.dry_run {
            registry.recover().await?;
        }
        registry.collect(options).await
    });
    output::print(&describe(&collected.map_err(failed)?, args.dry_run))?;
    Ok(exit::NOTHING_FOUND)
}

/// One line for each thing that went, in distribution's words, and a sum.
fn describe(collected: &Collected, dry_run: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (repo, digest) in &collected.manifests {
        let _ = writeln!(text, "manifest eligible for deletion: {repo}@{digest}");
    }
    for (repo, digest) in &collected.layer_links {
        let _ = writeln!(text, "layer link eligible for deletion: {repo}@{digest}");
    }
    for digest in &collected.blobs {
        let _ = writeln!(text, "blob eligible for deletion: {digest}");
    }
    let Collected { blobs, manifests, layer_links } = collected;
    let done = if dry_run { "eligible for deletion (dry run)" } else { "deleted" };
    let (blobs, manifests, links) = (blobs.len(), manifests.len(), layer_links.len());
    let _ = writeln!(text, "{blobs} blobs, {manifests} manifests and {links} layer links {done}");
    text
}
