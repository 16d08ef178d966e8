//! Why a command could not do what it was asked for: expected errors, and bugs.

use std::fmt;

use super::exit;
use crate::report::BROKEN_CLAIM;

/// One clear message, what to do about it, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// The exit code ([`exit`]).
    pub code: u8,
    message: String,
    help: Option<String>,
}

impl CliError {
    /// Bad usage or input.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { code: exit::BAD_INPUT, message: message.into(), help: None }
    }

    /// A directory or an address that cannot be had now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: exit::UNAVAILABLE, message: message.into(), help: None }
    }

    /// What was given up before there was a result.
    pub fn no_verdict(message: impl Into<String>) -> Self {
        Self { code: exit::NO_VERDICT, message: format!("no verdict: {}", message.into()), help: None }
    }

    /// What should not have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        let help = "this is a bug in pullplug: please report it, with the command line and this message";
        Self {
            code: exit::INTERNAL,
            message: format!("internal error: {}", message.into()),
            help: Some(help.to_owned()),
        }
    }

    /// Adds what to do about it.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BROKEN_CLAIM}error:{BROKEN_CLAIM:#} {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}
