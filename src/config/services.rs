//! The sections about those around the registry: who may use it, who watches it, who is told, where it pulls from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Error, GoDuration, Secret};

/// `auth`: at most one of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// Passwords in a file.
    pub htpasswd: Option<Htpasswd>,
    /// Tokens of a token server.
    pub token: Option<Token>,
    /// For tests of clients: any `Authorization` header will do.
    pub silly: Option<Silly>,
    /// Nobody is asked for anything.
    pub none: Option<Nothing>,
}

/// A key with nothing below it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Nothing {}

impl Auth {
    pub(super) fn check(&self) -> Result<(), Error> {
        let set = [
            ("htpasswd", self.htpasswd.is_some()),
            ("token", self.token.is_some()),
            ("silly", self.silly.is_some()),
            ("none", self.none.is_some()),
        ];
        let names: Vec<&str> = set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
        if names.len() > 1 {
            return Err(Error::of("auth", format!("names {}, and there can be one", names.join(" and "))));
        }
        let mut needed = Vec::new();
        if let Some(htpasswd) = &self.htpasswd {
            needed.push(("htpasswd.realm", htpasswd.realm.is_empty()));
            needed.push(("htpasswd.path", htpasswd.path.as_os_str().is_empty()));
        }
        if let Some(token) = &self.token {
            needed.push(("token.realm", token.realm.is_empty() && !token.autoredirect));
            needed.push(("token.service", token.service.is_empty()));
            needed.push(("token.issuer", token.issuer.is_empty()));
            needed.push(("token.rootcertbundle", token.rootcertbundle.is_none() && token.jwks.is_none()));
        }
        if let Some(silly) = &self.silly {
            needed.push(("silly.realm", silly.realm.is_empty()));
            needed.push(("silly.service", silly.service.is_empty()));
        }
        match needed.iter().find(|(_, missing)| *missing) {
            Some(("token.rootcertbundle", _)) => Err(Error::of("auth.token.rootcertbundle", "is missing")
                .help("name a certificate bundle there, or in jwks a key set")),
            Some((key, _)) => Err(Error::of(format!("auth.{key}"), "is missing")),
            None => Ok(()),
        }
    }
}

/// `auth.htpasswd`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Htpasswd {
    /// What clients are told they log in to.
    pub realm: String,
    /// The file, with bcrypt hashes.
    pub path: PathBuf,
}

/// `auth.token`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Token {
    /// The URL of the token server.
    pub realm: String,
    /// The name of this registry there.
    pub service: String,
    /// The token server's name in its tokens.
    pub issuer: String,
    /// PEM file of the certificates that tokens are signed by.
    pub rootcertbundle: Option<PathBuf>,
    /// File of the keys that tokens are signed by.
    pub jwks: Option<PathBuf>,
    /// Algorithms that are accepted; all that are safe if empty.
    pub signingalgorithms: Vec<String>,
    /// Whether clients are sent to a path of the host that they asked, instead of to `realm`.
    pub autoredirect: bool,
    /// That path; [`DEFAULT_REDIRECT_PATH`] if it is empty.
    pub autoredirectpath: String,
}

/// [`Token::autoredirectpath`] if it is not set, as in distribution.
pub const DEFAULT_REDIRECT_PATH: &str = "/auth/token";

/// `auth.silly`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Silly {
    /// What the challenge says.
    pub realm: String,
    /// What the challenge says.
    pub service: String,
}

/// `health`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The check of the root directory.
    pub storagedriver: StorageCheck,
    /// Files whose presence means trouble.
    pub file: Vec<FileCheck>,
    /// URLs that must answer.
    pub http: Vec<HttpCheck>,
    /// Ports that must answer.
    pub tcp: Vec<TcpCheck>,
}

/// How often a check runs if nothing is said, as in distribution: every 10 seconds.
const DEFAULT_CHECK_INTERVAL: GoDuration = GoDuration::seconds(10);

/// `health.storagedriver`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct StorageCheck {
    /// Whether to check.
    pub enabled: bool,
    /// From one check to the next.
    pub interval: GoDuration,
    /// So many failures in a row are trouble; 0 is as 1.
    pub threshold: u32,
}

impl Default for StorageCheck {
    fn default() -> Self {
        Self { enabled: false, interval: DEFAULT_CHECK_INTERVAL, threshold: 0 }
    }
}

/// An item of `health.file`.
#[derive(Debug, Clone, Deserialize)]
pub struct FileCheck {
    /// The path.
    pub file: PathBuf,
    /// From one check to the next.
    #[serde(default = "check_interval")]
    pub interval: GoDuration,
    /// So many failures in a row are trouble; 0 is as 1.
    #[serde(default)]
    pub threshold: u32,
}

/// An item of `health.http`.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpCheck {
    /// The URL.
    pub uri: String,
    /// Headers of the request; they may hold credentials.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<Secret>>,
    /// The status that is fine; 200 if 0.
    #[serde(default)]
    pub statuscode: u16,
    /// How long the answer may take; as long as it likes if not set.
    pub timeout: Option<GoDuration>,
    /// From one check to the next.
    #[serde(default = "check_interval")]
    pub interval: GoDuration,
    /// So many failures in a row are trouble; 0 is as 1.
    #[serde(default)]
    pub threshold: u32,
}

/// An item of `health.tcp`.
#[derive(Debug, Clone, Deserialize)]
pub struct TcpCheck {
    /// `HOST:PORT`.
    pub addr: String,
    /// How long connecting may take; as long as it likes if not set.
    pub timeout: Option<GoDuration>,
    /// From one check to the next.
    #[serde(default = "check_interval")]
    pub interval: GoDuration,
    /// So many failures in a row are trouble; 0 is as 1.
    #[serde(default)]
    pub threshold: u32,
}

fn check_interval() -> GoDuration {
    DEFAULT_CHECK_INTERVAL
}

/// `notifications`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Notifications {
    /// What events hold.
    pub events: Events,
    /// Who is told.
    pub endpoints: Vec<Endpoint>,
}

/// `notifications.events`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Events {
    /// Whether events of manifests list what the manifests reference.
    pub includereferences: bool,
}

/// An item of `notifications.endpoints`.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// A name for the log.
    pub name: String,
    /// Whether it is left out.
    #[serde(default)]
    pub disabled: bool,
    /// Where events are posted to.
    pub url: String,
    /// Headers of the request; they may hold credentials.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<Secret>>,
    /// How long the answer may take; the sender's default if not set.
    pub timeout: Option<GoDuration>,
    /// So many failures in a row make the sender wait; its default if not set.
    pub threshold: Option<u32>,
    /// How long it waits then; its default if not set.
    pub backoff: Option<GoDuration>,
    /// The old place of `ignore.mediatypes`.
    #[serde(default)]
    pub ignoredmediatypes: Vec<String>,
    /// Events that are not sent.
    #[serde(default)]
    pub ignore: Ignore,
}

/// `ignore` of an endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ignore {
    /// By the media type of their target.
    pub mediatypes: Vec<String>,
    /// By what was done.
    pub actions: Vec<String>,
}

/// `proxy`: this registry is a cache of another one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Proxy {
    /// The URL of the other one; this is no cache if it is empty.
    pub remoteurl: String,
    /// The user there.
    pub username: String,
    /// The user's password there.
    pub password: Secret,
    /// How long content is kept; a week if not set, for ever if zero.
    pub ttl: Option<GoDuration>,
}

/// `validation`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Validation {
    /// The old opposite of `disabled`; without effect, as in distribution 3.
    pub enabled: bool,
    /// Whether nothing below holds.
    pub disabled: bool,
    /// Rules for manifests.
    pub manifests: Manifests,
}

/// `validation.manifests`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Manifests {
    /// Rules for the URLs in them.
    pub urls: Urls,
}

/// `validation.manifests.urls`: regular expressions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Urls {
    /// URLs must match one of these, if there are any.
    pub allow: Vec<String>,
    /// And none of these.
    pub deny: Vec<String>,
}
