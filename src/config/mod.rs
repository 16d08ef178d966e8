//! The configuration: distribution's YAML (version 0.1) with its `REGISTRY_A_B` environment overrides, as typed values.
//!
//! A file that distribution runs with runs here, or is refused by the name of the key that is not supported
//! (`refused.rs`); nothing is ignored in silence. What distribution does not have is in one section of our own,
//! `pullplug`, which distribution ignores, so that one file serves both. Types only: whether a file is there, a
//! certificate valid or an address free is found out where it is used. The environment comes in as data.

mod error;
mod http;
mod node;
mod overlay;
mod read;
mod refused;
mod services;
mod storage;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::Deserialize;

pub use error::Error;
pub use http::{ClientAuth, Debug, H2c, Http, Http2, Net, Prometheus, Tls};
pub use node::MAX_CONFIG_BYTES;
pub use overlay::CONFIGURATION_PATH;
pub use services::{
    Auth, DEFAULT_REDIRECT_PATH, Endpoint, Events, FileCheck, Health, Htpasswd, HttpCheck, Ignore, Manifests, Nothing,
    Notifications, Proxy, Silly, StorageCheck, TcpCheck, Token, Urls, Validation,
};
pub use storage::{
    BlobDescriptorCache, Cache, DEFAULT_CACHED_DESCRIPTORS, Filesystem, MIN_STORAGE_THREADS, Maintenance, Redirect,
    Storage, Switch, UPLOAD_PURGE_INTERVAL, UploadPurging,
};
pub use values::{GoDuration, Secret};

use node::{Node, Value};

/// The one version of the format.
pub const VERSION: &str = "0.1";
/// The sections at the top, as in [`Config`]; those that are refused too.
const SECTIONS: [&str; 17] = [
    "auth",
    "catalog",
    "compatibility",
    "health",
    "http",
    "log",
    "loglevel",
    "middleware",
    "notifications",
    "policy",
    "proxy",
    "pullplug",
    "redis",
    "reporting",
    "storage",
    "validation",
    "version",
];

/// All of it, defaults filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Always [`VERSION`].
    pub version: String,
    /// Logging.
    pub log: Log,
    /// The old place of `log.level`.
    pub loglevel: Option<Level>,
    /// Where images are kept.
    pub storage: Storage,
    /// The listeners.
    pub http: Http,
    /// Who may do what; everybody everything, if not set.
    pub auth: Auth,
    /// Health checks.
    pub health: Health,
    /// Webhooks.
    pub notifications: Notifications,
    /// Pull-through.
    pub proxy: Option<Proxy>,
    /// The catalog.
    pub catalog: Catalog,
    /// Rules for manifests.
    pub validation: Validation,
    /// What distribution does not have.
    pub pullplug: Pullplug,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: VERSION.to_owned(),
            log: Log::default(),
            loglevel: None,
            storage: Storage::default(),
            http: Http::default(),
            auth: Auth::default(),
            health: Health::default(),
            notifications: Notifications::default(),
            proxy: None,
            catalog: Catalog::default(),
            validation: Validation::default(),
            pullplug: Pullplug::default(),
        }
    }
}

/// `log`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    /// The least urgent lines that are written; `info` if not set.
    pub level: Option<Level>,
    /// How lines look.
    pub formatter: Formatter,
    /// Fields that every line carries.
    pub fields: BTreeMap<String, String>,
    /// The access log.
    pub accesslog: AccessLog,
}

/// `log.accesslog`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccessLog {
    /// Whether there is none.
    pub disabled: bool,
}

/// How urgent a line must be to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What went wrong.
    Error,
    /// And what may.
    Warn,
    /// And what happens.
    Info,
    /// And how.
    Debug,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Formatter {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// JSON with the field names that Logstash wants.
    Logstash,
}

/// `catalog`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Catalog {
    /// Most repositories in one answer of `/v2/_catalog`; 1000 where it is not positive.
    pub maxentries: i64,
}

impl Default for Catalog {
    fn default() -> Self {
        Self { maxentries: DEFAULT_CATALOG_ENTRIES }
    }
}

/// [`Catalog::maxentries`] if it is not set, as in distribution.
pub const DEFAULT_CATALOG_ENTRIES: i64 = 1000;

/// `pullplug`: what distribution does not have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Pullplug {
    /// The commit protocol; the command line comes first.
    pub strategy: Option<String>,
    /// Garbage collection while serving.
    pub garbagecollect: GarbageCollect,
    /// Bounds on what clients may ask of the server.
    pub limits: Limits,
    /// Bounds on what repositories may hold.
    pub quota: Quota,
}

/// `pullplug.quota`; no bounds if it is not set.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Bytes that a repository may hold, if it is not named below.
    pub defaultbytes: Option<u64>,
    /// Bytes that single repositories may hold.
    pub repositories: BTreeMap<String, u64>,
}

/// `pullplug.garbagecollect`: collection on a schedule. Only a strategy that can collect beside pushes does it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct GarbageCollect {
    /// Whether to.
    pub enabled: bool,
    /// From the start of one to the start of the next.
    pub interval: GoDuration,
    /// Also delete manifests that no tag and no index names.
    pub deleteuntagged: bool,
}

impl Default for GarbageCollect {
    fn default() -> Self {
        Self { enabled: false, interval: GoDuration::seconds(24 * 3600), deleteuntagged: false }
    }
}

/// `pullplug.limits`; the defaults are those of the server. Zero is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: Option<u32>,
    /// From the first byte of a request to the end of its header, and for a TLS handshake.
    pub headertimeout: Option<GoDuration>,
    /// Between two requests on a connection.
    pub idletimeout: Option<GoDuration>,
    /// Between two pieces of a request body, and of a response that the client takes.
    pub bodytimeout: Option<GoDuration>,
}

/// A configuration, and what was ignored in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line for each environment variable that looks like an override and is none.
    pub warnings: Vec<String>,
}

/// Reads `text` with the overrides in `environment` (pairs of name and value; only `REGISTRY_*` matter).
///
/// ```
/// let environment = [("REGISTRY_HTTP_ADDR".to_owned(), "127.0.0.1:5001".to_owned())];
/// let text = "version: 0.1\nstorage: {filesystem: {rootdirectory: /srv/registry}}";
/// let loaded = pullplug::config::load(text, &environment).unwrap();
/// assert_eq!(loaded.config.http.addr, "127.0.0.1:5001");
/// let refused = pullplug::config::load("version: 0.1\nredis: {addr: localhost:6379}", &[]).unwrap_err();
/// assert_eq!(refused.to_string(), "redis: is not supported");
/// ```
pub fn load(text: &str, environment: &[(String, String)]) -> Result<Loaded, Error> {
    let mut root = node::parse(text, None)?;
    check_version(&mut root)?;
    name_alone(&mut root);
    let mut ignored = overlay::apply(&mut root, environment, &SECTIONS)?;
    name_alone(&mut root);
    refused::check(&root)?;
    let warnings = RefCell::new(Vec::new());
    let mut config: Config = read::read(root, &warnings)?;
    ignored.append(&mut warnings.borrow_mut());
    config.log.level = config.log.level.or(config.loglevel);
    if config.catalog.maxentries <= 0 {
        config.catalog.maxentries = DEFAULT_CATALOG_ENTRIES;
    }
    check(&config)?;
    Ok(Loaded { config, warnings: ignored })
}

/// The version is checked before the environment is looked at: it cannot be overridden.
fn check_version(root: &mut Node) -> Result<(), Error> {
    if !matches!(root.value, Value::Map(_)) {
        return Err(Error::plain("this is no configuration: it must begin like `version: 0.1`"));
    }
    match root.get_mut("version").map(|node| &node.value) {
        Some(Value::Scalar(version)) if version == VERSION => Ok(()),
        Some(Value::Scalar(version)) => Err(Error::of("version", format!("{version:?} is not known"))),
        _ => Err(Error::of("version", "is missing")),
    }
    .map_err(|e| e.help(format!("set it to {VERSION}")))
}

/// `storage: filesystem` is short for `storage: {filesystem: {}}`.
fn name_alone(root: &mut Node) {
    for section in ["storage", "auth"] {
        if let Some(node) = root.get_mut(section)
            && let Value::Scalar(name) = &node.value
        {
            let (name, variable) = (name.clone(), node.variable.clone());
            node.set(&name, Node { value: Value::Map(Vec::new()), variable });
        }
    }
}

/// What no single value shows.
fn check(config: &Config) -> Result<(), Error> {
    config.storage.check()?;
    config.http.check()?;
    config.auth.check()?;
    let limits = &config.pullplug.limits;
    let zero = GoDuration::seconds(0);
    for (key, is_zero) in [
        ("limits.connections", limits.connections == Some(0)),
        ("limits.headertimeout", limits.headertimeout == Some(zero)),
        ("limits.idletimeout", limits.idletimeout == Some(zero)),
        ("limits.bodytimeout", limits.bodytimeout == Some(zero)),
        ("garbagecollect.interval", config.pullplug.garbagecollect.interval == zero),
    ] {
        if is_zero {
            return Err(Error::of(format!("pullplug.{key}"), "must not be zero").help("remove it for the default"));
        }
    }
    Ok(())
}
