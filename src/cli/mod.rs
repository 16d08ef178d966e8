//! The command line: arguments, one file a command, exit codes.
//!
//! A command turns arguments into calls of the library and values into text ([`crate::report`]); it decides nothing
//! else. Errors that a user can cause have a message of their own ([`error::CliError`]); everything else is a bug, and
//! says so.

pub mod args;
mod cell;
mod compare;
mod concurrent;
pub mod error;
pub mod exit;
mod explore;
mod files;
mod garbage_collect;
#[cfg(all(feature = "kernel", target_os = "linux"))]
mod kernel;
mod log;
mod ops;
mod output;
mod replay;
mod serve;
mod setup;
mod simulate;
mod syncs;
mod trace;

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Once;

use clap::Parser;

use args::{Cli, Command};
use error::CliError;

/// Runs the command that `args` (the program's name first) ask for, to its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and versions come this way too, with exit code 0.
        Err(e) if e.use_stderr() => {
            let _ = e.print();
            return exit::BAD_INPUT.into();
        }
        Err(e) => return printed(output::judged(e.print()).map(|()| exit::NOTHING_FOUND)).into(),
    };
    panic::set_hook(Box::new(report_panic));
    guarded(|| run(cli)).into()
}

/// Runs a parsed command and returns its exit code; errors are printed.
fn run(cli: Cli) -> u8 {
    let done = match cli.command {
        None => compare::run(cli.compare),
        Some(Command::Compare(args)) => compare::run(args),
        Some(Command::Explore(args)) => explore::run(args),
        Some(Command::Replay(args)) => replay::run(args),
        Some(Command::Syncs(args)) => syncs::run(args),
        Some(Command::Ops(args)) => ops::run(args),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::GarbageCollect(args)) => garbage_collect::run(args),
        Some(Command::Simulate(args)) => simulate::run(args),
        Some(Command::Trace(args)) => trace::run(args),
        #[cfg(all(feature = "kernel", target_os = "linux"))]
        Some(Command::Kernel(args)) => kernel::run(args),
        #[cfg(not(all(feature = "kernel", target_os = "linux")))]
        Some(Command::Kernel(_)) => Err(CliError::bad_input("this pullplug was built without `kernel`")
            .help("on Linux: cargo build --release --features kernel")),
    };
    printed(done)
}

/// The exit code of what was done; an error is printed.
fn printed(done: Result<u8, CliError>) -> u8 {
    done.unwrap_or_else(|error| {
        output::print_error(&error);
        error.code
    })
}

/// Turns a panic, of this thread or a worker, into the exit code for bugs.
fn guarded(run: impl FnOnce() -> u8) -> u8 {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(exit::INTERNAL)
}

/// Tells of the first panic; others are its consequences.
fn report_panic(info: &panic::PanicHookInfo<'_>) {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        output::print_error(&CliError::internal(format!("{what}{place}")));
    });
}

#[cfg(test)]
mod tests;
