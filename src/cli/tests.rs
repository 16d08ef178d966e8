//! The help as people read it, and what a panic comes to.

use clap::CommandFactory;

use super::args::Cli;
use super::{exit, guarded};
use crate::report::MAX_COLUMNS;

fn snapshot(name: &str, text: String) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn help_texts() {
    let mut command = Cli::command().term_width(usize::from(MAX_COLUMNS));
    command.build();
    snapshot("help-pullplug", command.clone().render_long_help().to_string());
    for name in ["compare", "explore", "replay", "syncs", "ops", "serve", "garbage-collect", "simulate", "trace"] {
        let help =
            command.find_subcommand_mut(name).unwrap().clone().term_width(usize::from(MAX_COLUMNS)).render_long_help();
        snapshot(&format!("help-{name}"), help.to_string());
    }
    let kernel = command.find_subcommand_mut("kernel").unwrap();
    let registry = kernel.find_subcommand_mut("registry").unwrap().clone().term_width(usize::from(MAX_COLUMNS));
    snapshot("help-kernel-registry", registry.clone().render_long_help().to_string());
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_panic_is_a_bug_and_not_a_verdict() {
    assert_eq!(guarded(|| panic!("planted")), exit::INTERNAL);
    assert_eq!(guarded(|| exit::FOUND), exit::FOUND);
}

#[test]
fn the_help_documents_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    let codes = [exit::NOTHING_FOUND, exit::FOUND, exit::BAD_INPUT, exit::UNAVAILABLE, exit::INTERNAL];
    for code in codes {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {code} "))), "{code}: {help}");
    }
}
