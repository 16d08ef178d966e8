//! What stands around the endpoints: who may enter, who watches, who is told; put together from the configuration.
//!
//! From the outside to the inside: a name for the request, the access log, metrics, health, authentication,
//! notifications, the endpoints.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cli::error::CliError;
use crate::config::{Config, DEFAULT_REDIRECT_PATH, Endpoint, Formatter, GoDuration, Secret};
use crate::env::World;
use crate::env::clock::SystemClock;
use crate::fs::real::RealFs;
use crate::http::access_log::{self, AccessLog, Format};
use crate::http::auth::token::DEFAULT_LEEWAY_SECONDS;
use crate::http::auth::{self, Auth, Htpasswd, HtpasswdOptions, Silly, Token, TokenOptions};
use crate::http::caller::{Callers, identify};
use crate::http::client::Client;
use crate::http::health::{self, Check, Health};
use crate::http::metrics::{Metrics, measure};
use crate::http::notify::{EndpointOptions, Notifier, NotifyOptions, Source, announce};
use crate::http::server::Peer;
use crate::http::{Options, router};
use crate::registry::Registry;

/// The method of authentication, its files read.
pub fn auth(config: &Config) -> Result<Option<Arc<Auth>>, CliError> {
    let bad = |key: &str, e: &dyn std::fmt::Display| CliError::bad_input(format!("auth.{key}: {e}"));
    let auth = &config.auth;
    let method = if let Some(htpasswd) = &auth.htpasswd {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| CliError::unavailable(format!("no entropy: {e}")))?;
        let options = HtpasswdOptions { realm: htpasswd.realm.clone(), path: htpasswd.path.clone(), salt };
        Auth::Htpasswd(Htpasswd::new(options).map_err(|e| bad("htpasswd.path", &e))?)
    } else if let Some(token) = &auth.token {
        let path = Some(&token.autoredirectpath).filter(|p| !p.is_empty()).map_or(DEFAULT_REDIRECT_PATH, |p| p);
        let options = TokenOptions {
            realm: token.realm.clone(),
            service: token.service.clone(),
            issuer: token.issuer.clone(),
            root_cert_bundle: token.rootcertbundle.clone(),
            jwks: token.jwks.clone(),
            signing_algorithms: token.signingalgorithms.clone(),
            leeway_seconds: DEFAULT_LEEWAY_SECONDS,
            auto_redirect_path: token.autoredirect.then(|| path.to_owned()),
        };
        Auth::Token(Token::new(options, Arc::new(SystemClock)).map_err(|e| bad("token", &e))?)
    } else if let Some(silly) = &auth.silly {
        Auth::Silly(Silly { realm: silly.realm.clone(), service: silly.service.clone() })
    } else {
        return Ok(None);
    };
    Ok(Some(Arc::new(method)))
}

/// Everything that runs beside the requests and around them.
pub struct Services {
    auth: Option<Arc<Auth>>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    /// Whoever is told; to be drained at the end.
    pub notifier: Arc<Notifier>,
    access_log: Option<AccessLog>,
    callers: Callers,
    metrics_path: Option<String>,
}

impl Services {
    /// Starts them, for a server at `address`. Must be called inside a runtime.
    pub fn start(
        config: &Config,
        auth: Option<Arc<Auth>>,
        options: &Options,
        fs: &RealFs,
        address: &str,
    ) -> Result<Self, CliError> {
        let world = World::real().map_err(|e| CliError::unavailable(format!("no entropy: {e}")))?;
        let metrics = Metrics::new().map_err(|e| CliError::internal(format!("metrics: {e}")))?;
        let notify = NotifyOptions {
            endpoints: endpoints(config)?,
            include_references: config.notifications.events.includereferences,
            source: Source { addr: address.to_owned(), instance_id: world.fresh_id() },
            urls: options.urls.clone(),
            https: options.https,
        };
        let notifier = Notifier::start(notify, world.clone(), &metrics)
            .map_err(|e| CliError::bad_input(format!("notifications: {e}")))?;
        let format = if config.log.formatter == Formatter::Text { Format::Combined } else { Format::Fields };
        Ok(Self {
            auth,
            health: Arc::new(Health::start(checks(config, options, fs)?)),
            metrics: Arc::new(metrics),
            notifier: Arc::new(notifier),
            access_log: (!config.log.accesslog.disabled).then(|| AccessLog { format, clock: Arc::new(SystemClock) }),
            callers: Callers { world, peer: |extensions| extensions.get::<Peer>().map(Peer::to_string) },
            metrics_path: config.http.debug.prometheus.enabled.then(|| config.http.debug.prometheus.path.clone()),
        })
    }

    /// The endpoints, and all that stands around them.
    pub fn around(&self, registry: Registry<RealFs>, options: Options) -> Router {
        let mut router = router(registry, options).layer(from_fn_with_state(Arc::clone(&self.notifier), announce));
        if let Some(auth) = &self.auth {
            router = router.layer(from_fn_with_state(Arc::clone(auth), auth::require));
        }
        router = router
            .layer(from_fn_with_state(Arc::clone(&self.health), health::guard))
            .layer(from_fn_with_state(Arc::clone(&self.metrics), measure));
        if let Some(log) = &self.access_log {
            router = router.layer(from_fn_with_state(log.clone(), access_log::log));
        }
        router.layer(from_fn_with_state(self.callers.clone(), identify))
    }

    /// What the second listener tells.
    pub fn debug(&self) -> Router {
        let health = Arc::clone(&self.health).routes();
        match &self.metrics_path {
            Some(path) => health.merge(Arc::clone(&self.metrics).routes(path)),
            None => health,
        }
    }
}

fn header_map(key: &str, headers: &std::collections::BTreeMap<String, Vec<Secret>>) -> Result<HeaderMap, CliError> {
    let mut map = HeaderMap::new();
    for (name, values) in headers {
        let bad = || CliError::bad_input(format!("{key}.headers.{name}: is no header"));
        for value in values {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
            let mut value = HeaderValue::try_from(value.reveal()).map_err(|_| bad())?;
            value.set_sensitive(true);
            map.append(name, value);
        }
    }
    Ok(map)
}

fn endpoints(config: &Config) -> Result<Vec<EndpointOptions>, CliError> {
    let mut endpoints = Vec::new();
    for (i, given) in config.notifications.endpoints.iter().enumerate().filter(|(_, given)| !given.disabled) {
        let Endpoint { name, url, timeout, threshold, backoff, ignoredmediatypes, ignore, .. } = given;
        let default = EndpointOptions::new(name, url);
        endpoints.push(EndpointOptions {
            headers: header_map(&format!("notifications.endpoints[{i}]"), &given.headers)?,
            timeout: timeout.map_or(default.timeout, |d| d.0),
            threshold: threshold.unwrap_or(default.threshold),
            backoff: backoff.map_or(default.backoff, |d| d.0),
            ignored_media_types: ignoredmediatypes.iter().chain(&ignore.mediatypes).cloned().collect(),
            ignored_actions: ignore.actions.iter().cloned().collect(),
            ..default
        });
    }
    Ok(endpoints)
}

fn checks(config: &Config, options: &Options, fs: &RealFs) -> Result<Vec<Check>, CliError> {
    let within =
        |check: Check, timeout: Option<GoDuration>| check.within(timeout.map_or_else(Default::default, |d| d.0));
    let health = &config.health;
    let mut checks = Vec::new();
    if health.storagedriver.enabled {
        let check = Check::storage(fs.clone(), options.run);
        checks.push(check.every(health.storagedriver.interval.0).after(health.storagedriver.threshold));
    }
    for file in &health.file {
        checks.push(Check::no_file(file.file.clone(), options.run).every(file.interval.0).after(file.threshold));
    }
    for (i, http) in health.http.iter().enumerate() {
        let key = format!("health.http[{i}]");
        let bad = |e: &dyn std::fmt::Display| CliError::bad_input(format!("{key}: {e}"));
        let status = if http.statuscode == 0 { 200 } else { http.statuscode };
        let status = StatusCode::from_u16(status).map_err(|e| bad(&e))?;
        let client = Client::new().map_err(|e| bad(&e))?;
        let check = Check::http(&http.uri, header_map(&key, &http.headers)?, status, client).map_err(|e| bad(&e))?;
        checks.push(within(check.every(http.interval.0).after(http.threshold), http.timeout));
    }
    for tcp in &health.tcp {
        let check = Check::tcp(tcp.addr.clone()).every(tcp.interval.0).after(tcp.threshold);
        checks.push(within(check, tcp.timeout));
    }
    Ok(checks)
}
