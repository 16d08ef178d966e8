//! Why a configuration is refused: the key, where it was set, what is wrong, what to do. Never a secret's value.

use std::fmt;
use std::sync::Arc;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Error {
    /// The key, its components separated by points.
    pub key: Option<String>,
    /// The environment variable that set it.
    pub variable: Option<Arc<str>>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Error {
    /// An error of no key in particular.
    pub fn plain(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// An error of the key `key`.
    pub fn of(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: Some(key.into()), what: what.into(), ..Self::default() }
    }

    /// Adds what to do about it.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds the place, unless it is known more exactly.
    pub(super) fn at(mut self, key: &str, variable: Option<&Arc<str>>) -> Self {
        if self.key.is_none() && !key.is_empty() {
            self.key = Some(key.to_owned());
            self.variable = self.variable.or_else(|| variable.cloned());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key}")?;
            if let Some(variable) = &self.variable {
                write!(f, " (set by {variable})")?;
            }
            write!(f, ": ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::plain(what.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::plain(format!("`{field}` is missing"))
    }
}
