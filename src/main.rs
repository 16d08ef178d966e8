//! The `pullplug` command: everything is in [`pullplug::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pullplug::cli::main(std::env::args_os())
}
