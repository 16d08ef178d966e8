//! The standard output: styled where a terminal reads it, quiet when nobody does any more.

use std::io::{self, ErrorKind, Write};

use super::error::CliError;

/// Prints `text`.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    judged(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What a write to the standard output came to. A reader that has gone away (`| head`) has seen enough: that is no
/// error.
pub fn judged(written: io::Result<()>) -> Result<(), CliError> {
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::bad_input(format!("cannot write to the standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints an error. If even that fails, the exit code has to do.
pub fn print_error(error: &CliError) {
    let _ = writeln!(anstream::stderr(), "{error}");
}

/// Prints a warning. Nobody to read it is no error.
pub fn print_warning(text: &str) {
    let _ = writeln!(anstream::stderr(), "warning: {text}");
}
