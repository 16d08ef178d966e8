//! From the configuration to what the library takes: limits, headers, TLS, the schedule.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cli::error::CliError;
use crate::config::{BlobDescriptorCache, ClientAuth, Config, DEFAULT_CACHED_DESCRIPTORS};
use crate::http::headers::Urls;
use crate::http::run::Run;
use crate::http::server::maintenance::{Collect, Plan, Purge};
use crate::http::server::tls::{self, TlsOptions};
use crate::http::server::{Limits, Versions};
use crate::http::{MAX_CATALOG_ENTRIES, Options};
use crate::registry::quota::QuotaOptions;

/// How the endpoints behave.
pub fn options(config: &Config) -> Options {
    let urls = match (config.http.relativeurls, &*config.http.host) {
        (true, _) => Urls::Relative,
        (false, "") => Urls::OfRequest,
        (false, host) => Urls::Fixed(host.to_owned()),
    };
    Options {
        run: Run::Blocking,
        delete_enabled: config.storage.delete.enabled,
        read_only: config.storage.maintenance.readonly.enabled,
        urls,
        https: config.http.tls.is_on(),
        // The configuration holds positive numbers only.
        catalog_entries: usize::try_from(config.catalog.maxentries).unwrap_or(MAX_CATALOG_ENTRIES),
        ..Options::default()
    }
}

/// What clients may ask of the server.
pub fn limits(config: &Config) -> Limits {
    let (given, default) = (&config.pullplug.limits, Limits::default());
    Limits {
        connections: given.connections.map_or(default.connections, |n| n as usize),
        header_timeout: given.headertimeout.map_or(default.header_timeout, |d| d.0),
        idle_timeout: given.idletimeout.map_or(default.idle_timeout, |d| d.0),
        body_timeout: given.bodytimeout.map_or(default.body_timeout, |d| d.0),
        drain_timeout: config.http.draintimeout.map_or(default.drain_timeout, |d| d.0),
    }
}

/// What every response carries.
pub fn headers(config: &Config) -> Result<HeaderMap, CliError> {
    let mut headers = HeaderMap::new();
    for (name, values) in &config.http.headers {
        let bad = || CliError::bad_input(format!("http.headers.{name}: is no header"));
        for value in values {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
            headers.append(name, HeaderValue::try_from(value.as_str()).map_err(|_| bad())?);
        }
    }
    Ok(headers)
}

/// TLS, its files read.
pub fn tls(config: &Config, versions: Versions) -> Result<Option<Arc<rustls::ServerConfig>>, CliError> {
    let tls = &config.http.tls;
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else { return Ok(None) };
    let options = TlsOptions {
        certificate: certificate.clone(),
        key: key.clone(),
        client_authorities: tls.clientcas.clone(),
        client_optional: tls.clientauth == ClientAuth::VerifyClientCertIfGiven,
        minimum: tls.minimumtls.clone(),
        cipher_suites: tls.ciphersuites.clone(),
        versions,
    };
    tls::load(&options).map(Some).map_err(|e| CliError::bad_input(format!("http.tls: {e}")))
}

/// What runs on a schedule.
pub fn maintenance(config: &Config) -> Plan {
    let (purging, garbage) = (&config.storage.maintenance.uploadpurging, &config.pullplug.garbagecollect);
    let is_writable = !config.storage.maintenance.readonly.enabled;
    Plan {
        litter: is_writable,
        purge: (purging.enabled && is_writable).then_some(Purge {
            interval: purging.interval.0,
            age: purging.age.0,
            dry_run: purging.dryrun,
        }),
        collect: (garbage.enabled && is_writable)
            .then_some(Collect { interval: garbage.interval.0, delete_untagged: garbage.deleteuntagged }),
    }
}

/// How many lengths of blobs are remembered, if any.
pub fn cached_descriptors(config: &Config) -> Option<usize> {
    let cache = &config.storage.cache;
    let BlobDescriptorCache::InMemory = cache.blobdescriptor?;
    Some(cache.blobdescriptorsize.unwrap_or(DEFAULT_CACHED_DESCRIPTORS) as usize)
}

/// What repositories may hold, if that is bounded.
pub fn quota(config: &Config) -> Result<Option<QuotaOptions>, CliError> {
    let given = &config.pullplug.quota;
    let mut limit_bytes = BTreeMap::new();
    for (name, bytes) in &given.repositories {
        let bad = |e| CliError::bad_input(format!("pullplug.quota.repositories: {e}"));
        limit_bytes.insert(name.parse().map_err(bad)?, *bytes);
    }
    let options = QuotaOptions { default_limit_bytes: given.defaultbytes, limit_bytes };
    Ok((options != QuotaOptions::default()).then_some(options))
}
