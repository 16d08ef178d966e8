//! Health: checks that run again and again, what they say, and a registry that answers 503 while one fails.
//!
//! A check fails the registry after `threshold` failures in a row, and is well again with its first success. One that
//! gives no answer in time has failed, and is not started again before it has answered: a disk that hangs costs one
//! thread, not one a check.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Client, ClientError, Target};
use super::errors::{Code, Failure};
use super::run::Run;
use crate::env::sync::hold;
use crate::fs::Fs;

/// How often a check runs, if nothing is said; as in distribution.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// How long an answer may take where nothing is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where the state of health is told.
pub const PATH: &str = "/debug/health";

/// A check, boxed: what is wrong, or nothing.
type Checked = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Checker = Box<dyn Fn() -> Checked + Send>;

/// One check.
pub struct Check {
    name: String,
    interval: Duration,
    timeout: Duration,
    threshold: u32,
    checker: Checker,
}

impl Check {
    fn new(name: impl Into<String>, checker: impl Fn() -> Checked + Send + 'static) -> Self {
        let (interval, timeout, threshold) = (DEFAULT_INTERVAL, DEFAULT_TIMEOUT, 1);
        Self { name: name.into(), interval, timeout, threshold, checker: Box::new(checker) }
    }

    /// How often it runs; 0 is as [`DEFAULT_INTERVAL`].
    pub fn every(self, interval: Duration) -> Self {
        Self { interval: if interval.is_zero() { DEFAULT_INTERVAL } else { interval }, ..self }
    }

    /// How long an answer may take; 0 is as [`DEFAULT_TIMEOUT`].
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout: if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout }, ..self }
    }

    /// How many failures in a row count; 0 is as 1.
    pub fn after(self, threshold: u32) -> Self {
        Self { threshold: threshold.max(1), ..self }
    }

    /// That the registry's root can be listed.
    pub fn storage<F: Fs>(fs: F, run: Run) -> Self {
        Self::new("storagedriver_filesystem", move || {
            let fs = fs.clone();
            Box::pin(async move {
                let listed = run.call(async move { fs.read_dir("").await }).await;
                listed.map_err(|e| e.to_string())?.map(|_| ()).map_err(|e| e.to_string())
            })
        })
    }

    /// That a file does not exist: an operator takes a registry out of service by making one.
    pub fn no_file(path: PathBuf, run: Run) -> Self {
        Self::new(path.display().to_string(), move || {
            let path = path.clone();
            Box::pin(async move {
                match run.call(async move { path.try_exists() }).await {
                    Ok(Ok(false)) => Ok(()),
                    Ok(Ok(true)) => Err("file exists".to_owned()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(lost) => Err(lost.to_string()),
                }
            })
        })
    }

    /// That a HEAD of a URL answers with a status. It is called by the URL, without the user and password in it.
    pub fn http(url: &str, headers: HeaderMap, status: StatusCode, client: Client) -> Result<Self, ClientError> {
        let target = Target::parse(url)?;
        Ok(Self::new(target.to_string(), move || {
            let (client, target, headers) = (client.clone(), target.clone(), headers.clone());
            Box::pin(async move {
                match client.send(Method::HEAD, &target, &headers, Bytes::new(), None).await {
                    Ok(found) if found == status => Ok(()),
                    Ok(found) => Err(format!("it answers {found}, not {status}")),
                    Err(error) => Err(error.to_string()),
                }
            })
        }))
    }

    /// That a TCP connection to `HOST:PORT` can be made.
    pub fn tcp(addr: String) -> Self {
        Self::new(addr.clone(), move || {
            let addr = addr.clone();
            Box::pin(async move { TcpStream::connect(addr).await.map(|_| ()).map_err(|e| e.to_string()) })
        })
    }
}

/// What is wrong, by check.
type Failing = Mutex<BTreeMap<String, String>>;

/// The state of health. Checks run as long as this is there.
pub struct Health {
    failing: Arc<Failing>,
    _checks: JoinSet<()>,
}

impl Health {
    /// Starts the checks, each at once. Must be called inside a tokio runtime.
    pub fn start(checks: Vec<Check>) -> Self {
        let failing = Arc::<Failing>::default();
        let mut tasks = JoinSet::new();
        for check in checks {
            tasks.spawn(watch(check, Arc::clone(&failing)));
        }
        Self { failing, _checks: tasks }
    }

    /// The checks that fail, and why.
    pub fn failing(&self) -> BTreeMap<String, String> {
        hold(&self.failing).clone()
    }

    /// A router that tells at [`PATH`] which checks fail, with 503 if any does.
    pub fn routes(self: Arc<Self>) -> Router {
        let tell = async move || {
            let failing = self.failing();
            let mut response = super::json("application/json; charset=utf-8", &json!(failing));
            if !failing.is_empty() {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        };
        Router::new().route(PATH, get(tell))
    }
}

/// The middleware, for `axum::middleware::from_fn_with_state`: while a check fails, all requests are UNAVAILABLE. Why is
/// told on the debug address alone.
pub async fn guard(State(health): State<Arc<Health>>, request: Request, next: Next) -> Response {
    if hold(&health.failing).is_empty() {
        return next.run(request).await;
    }
    let failure = Failure::new(Code::Unavailable, "service unavailable");
    failure.with_detail(json!(format!("health check failed: please see {PATH}"))).into_response()
}

async fn watch(check: Check, all: Arc<Failing>) {
    let mut failures = 0;
    let mut update = |outcome: Result<(), String>| {
        failures = if outcome.is_ok() { 0 } else { failures + 1 };
        let mut failing = hold(&all);
        match outcome {
            Err(why) if failures >= check.threshold => {
                if failing.insert(check.name.clone(), why.clone()).is_none() {
                    tracing::error!(check = check.name, why, "the registry is not healthy");
                }
            }
            Err(_) => {}
            Ok(()) => {
                if failing.remove(&check.name).is_some() {
                    tracing::info!(check = check.name, "this check is well again");
                }
            }
        }
    };
    loop {
        let mut checked = pin!((check.checker)());
        loop {
            match tokio::time::timeout(check.timeout, &mut checked).await {
                Ok(outcome) => break update(outcome),
                Err(_) => update(Err(format!("no answer within {:?}", check.timeout))),
            }
        }
        tokio::time::sleep(check.interval).await;
    }
}
