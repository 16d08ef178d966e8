//! The standard output: styled where a terminal reads it, quiet when nobody does any more.

use std::io::{ErrorKind, Write};

use super::error::CliError;

/// Prints `text`. A reader that has gone away (`| head`) has seen enough: that is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
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
