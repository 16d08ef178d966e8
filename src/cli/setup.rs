//! What the commands on a real directory share: the configuration, the directory and its lock, the registry in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::RegistryArgs;
use super::error::CliError;
use super::files;
use crate::config::{self, CONFIGURATION_PATH, Config, Loaded};
use crate::env::World;
use crate::fs::real::{RealFs, RootLock};
use crate::fs::{ErrorKind, FsError};
use crate::registry::Registry;
use crate::registry::quota::{Quota, QuotaOptions};
use crate::strategy::{self, durable};

/// Where a server without a configuration listens: this machine alone can connect.
const LOCAL_ADDRESS: &str = "127.0.0.1:5000";

/// Reads the configuration that `args` name; without any, defaults around the directory.
pub fn load(args: &RegistryArgs) -> Result<Loaded, CliError> {
    let environment = environment()?;
    let named = environment.iter().find(|(name, _)| name == CONFIGURATION_PATH).map(|(_, path)| PathBuf::from(path));
    match (&args.root, args.config.as_ref().or(named.as_ref())) {
        (Some(root), _) => {
            let mut loaded = embedded(&environment).map_err(|e| refused("the environment", &e))?;
            loaded.config.storage.filesystem.get_or_insert_default().rootdirectory.clone_from(root);
            Ok(loaded)
        }
        (None, Some(path)) => {
            // A configuration may be a link: those that Kubernetes mounts are.
            let unreadable = |e| CliError::bad_input(format!("cannot read {}: {e}", path.display()));
            let text = files::read(&path.canonicalize().map_err(unreadable)?)?;
            let text =
                String::from_utf8(text).map_err(|_| CliError::bad_input(format!("{} is not UTF-8", path.display())))?;
            config::load(&text, &environment).map_err(|e| refused(&path.display().to_string(), &e))
        }
        (None, None) => Err(CliError::bad_input("no registry is named")
            .help("name a configuration file, or a directory with --root DIR")),
    }
}

fn embedded(environment: &[(String, String)]) -> Result<Loaded, config::Error> {
    let text = format!(
        "version: {}\nstorage: {{filesystem: {{}}, delete: {{enabled: true}}}}\nhttp: {{addr: '{LOCAL_ADDRESS}'}}\n",
        config::VERSION
    );
    config::load(&text, environment)
}

fn refused(what: &str, error: &config::Error) -> CliError {
    let refused = CliError::bad_input(format!("{what}: {error}"));
    match &error.help {
        Some(help) => refused.help(help),
        None => refused,
    }
}

/// The variables that a configuration may depend on. The one place that reads them.
fn environment() -> Result<Vec<(String, String)>, CliError> {
    let relevant = |name: &OsString| name.as_encoded_bytes().starts_with(b"REGISTRY_");
    std::env::vars_os()
        .filter(|(name, _)| relevant(name))
        .map(|(name, value)| {
            let shown = name.to_string_lossy().into_owned();
            let text = |s: OsString| s.into_string().map_err(|_| CliError::bad_input(format!("{shown} is not UTF-8")));
            Ok((text(name)?, text(value)?))
        })
        .collect()
}

/// The strategy: the command line's, the configuration's, or ours.
pub fn strategy(args: &RegistryArgs, config: &Config) -> Result<String, CliError> {
    let name = args.strategy.clone().or(config.pullplug.strategy.clone());
    let name = name.unwrap_or_else(|| durable::NAME.to_owned());
    if strategy::NAMES.contains(&&*name) {
        return Ok(name);
    }
    let known = strategy::NAMES.join(", ");
    Err(CliError::bad_input(format!("pullplug.strategy: there is no strategy {name:?}"))
        .help(format!("use one of {known}")))
}

/// A directory that nobody else works on.
#[derive(Debug)]
pub struct Root {
    /// The directory.
    pub fs: RealFs,
    /// Where it is.
    pub path: PathBuf,
    _lock: RootLock,
}

impl Root {
    /// Takes the directory `path`. With `create`, it is made if it is not there. With `write`, it must be writable.
    pub fn take(path: &Path, create: bool, write: bool) -> Result<Self, CliError> {
        let failed = |e: FsError| unusable(path, &e);
        let fs = if create { RealFs::create_root(path) } else { RealFs::open_root(path) }.map_err(failed)?;
        if write {
            fs.check_writable().map_err(failed)?;
        }
        let lock = fs.lock_root().map_err(|e| match e.kind {
            ErrorKind::Denied => CliError::unavailable(format!("{} is in use", path.display()))
                .help("another pullplug works on it: stop that one, or wait for its end"),
            _ => failed(e),
        })?;
        Ok(Self { fs, path: path.to_owned(), _lock: lock })
    }

    /// The registry in it, not recovered.
    pub fn registry(&self, strategy: &str, quota: Option<QuotaOptions>) -> Result<Registry<RealFs>, CliError> {
        let world = World::real().map_err(|e| CliError::unavailable(format!("no entropy: {e}")))?;
        let built = strategy::build(strategy, self.fs.clone(), world.clone());
        let built = built.ok_or_else(|| CliError::internal(format!("the strategy {strategy} is gone")))?;
        let built = match quota {
            Some(options) => Box::new(Quota::new(built, self.fs.clone(), options)),
            None => built,
        };
        Ok(Registry::new(built, world))
    }
}

fn unusable(path: &Path, e: &FsError) -> CliError {
    let help = match e.kind {
        ErrorKind::Denied => "its owner must be the user that this runs as",
        ErrorKind::NotADirectory => "name a directory",
        _ => "name a directory on a disk that can be written",
    };
    CliError::unavailable(format!("cannot use {}: {}", path.display(), e.detail)).help(help)
}
