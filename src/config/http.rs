//! `http`: the listeners, TLS, and what every response carries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Error, GoDuration, Secret};

/// `http`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Http {
    /// `HOST:PORT`, where no host is every address; with `net: unix` the path of the socket.
    pub addr: String,
    /// What `addr` is.
    pub net: Net,
    /// The URL by which clients reach the registry, for Location headers; taken from the request if empty.
    pub host: String,
    /// Whether Location headers leave the host out.
    pub relativeurls: bool,
    /// Accepted for distribution's sake: it signs the state of uploads, which here is in the directory alone.
    pub secret: Secret,
    /// How long requests may take to finish after SIGTERM; the server's own default if not set.
    pub draintimeout: Option<GoDuration>,
    /// HTTPS, if a certificate is named.
    pub tls: Tls,
    /// Headers that every response carries.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The second listener.
    pub debug: Debug,
    /// HTTP/2.
    pub http2: Http2,
    /// HTTP/2 without TLS.
    pub h2c: H2c,
}

/// [`Http::addr`] if it is not set.
const DEFAULT_ADDRESS: &str = ":5000";

impl Default for Http {
    fn default() -> Self {
        Self {
            addr: DEFAULT_ADDRESS.to_owned(),
            net: Net::default(),
            host: String::new(),
            relativeurls: false,
            secret: Secret::default(),
            draintimeout: None,
            tls: Tls::default(),
            headers: BTreeMap::new(),
            debug: Debug::default(),
            http2: Http2::default(),
            h2c: H2c::default(),
        }
    }
}

impl Http {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.addr.is_empty() {
            return Err(Error::of("http.addr", "is empty").help("set it to HOST:PORT, or with `net: unix` to a path"));
        }
        if !self.host.is_empty() {
            let parsed = self.host.parse::<http::Uri>();
            let whole = |uri: &http::Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
            if !parsed.as_ref().is_ok_and(whole) {
                let what = format!("{:?} is no URL", self.host);
                return Err(Error::of("http.host", what).help("write it like https://registry.example.com"));
            }
        }
        for (name, values) in &self.headers {
            let key = format!("http.headers.{name}");
            if http::HeaderName::try_from(name.as_str()).is_err() {
                return Err(Error::of(key, "is no name of a header"));
            }
            if values.iter().any(|value| http::HeaderValue::try_from(value.as_str()).is_err()) {
                return Err(Error::of(key, "holds what no header can carry"));
            }
        }
        self.tls.check()
    }
}

/// `http.net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    /// A port.
    #[default]
    Tcp,
    /// A unix-domain socket.
    Unix,
}

/// `http.tls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// PEM file of the certificate and what leads to its root.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
    /// PEM files of authorities that clients' certificates must come from.
    pub clientcas: Vec<PathBuf>,
    /// Whether clients must show one.
    pub clientauth: ClientAuth,
    /// `tls1.2` (if not set) or `tls1.3`.
    pub minimumtls: Option<String>,
    /// Names of the suites of TLS 1.2 that may be used; those of 1.3 are always on.
    pub ciphersuites: Vec<String>,
}

impl Tls {
    /// Whether HTTPS is wanted.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() || self.key.is_some()
    }

    fn check(&self) -> Result<(), Error> {
        let alone = |key: &str, other: &str| {
            Err(Error::of(format!("http.tls.{key}"), format!("is missing, though `{other}` is there")))
        };
        match (&self.certificate, &self.key) {
            (Some(_), None) => alone("key", "certificate"),
            (None, Some(_)) => alone("certificate", "key"),
            (None, None) if !self.clientcas.is_empty() => alone("certificate", "clientcas"),
            _ => Ok(()),
        }
    }
}

/// `http.tls.clientauth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// Who shows none, or one of another authority, is turned away.
    #[default]
    RequireAndVerifyClientCert,
    /// Who shows one of another authority is turned away.
    VerifyClientCertIfGiven,
}

/// `http.debug`: a second listener, for those who run the registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Debug {
    /// `HOST:PORT`; no listener if empty.
    pub addr: String,
    /// Metrics.
    pub prometheus: Prometheus,
}

/// `http.debug.prometheus`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Prometheus {
    /// Whether there are any.
    pub enabled: bool,
    /// Their path on the debug listener.
    pub path: String,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self { enabled: false, path: "/metrics".to_owned() }
    }
}

/// `http.http2`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Http2 {
    /// Whether only HTTP/1.1 is spoken.
    pub disabled: bool,
}

/// `http.h2c`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct H2c {
    /// Whether HTTP/2 is spoken without TLS; yes if not set.
    pub enabled: Option<bool>,
}
