//! One endpoint: a bounded queue, and a task that sends what is in it, in order, one at a time, until it is taken.
//!
//! An event is tried until the endpoint accepts it (a status of 2xx or 3xx). After `threshold` failures in a row the task
//! waits for `backoff` before each further try. Meanwhile the queue fills; when it is full, the oldest goes. Whoever adds
//! an event never waits.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::envelope::MEDIA_TYPE;
use crate::env::sync::hold;
use crate::http::client::{Client, ClientError, Target};
use crate::http::metrics::NotificationCounts;

/// How long an endpoint may take to answer, if nothing is said; as in distribution.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many failures in a row are tried again at once, if nothing is said.
pub const DEFAULT_THRESHOLD: u32 = 10;
/// How long to wait between tries after that, if nothing is said.
pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
/// How many events wait at most, if nothing is said.
pub const DEFAULT_QUEUE_EVENTS: usize = 10_000;
/// How many bytes wait at most, whatever the number of events.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// One in so many lost events is logged, the first of them in any case.
const LOG_EVERY: u64 = 1000;

/// Who is told what, and how. No `Debug`: URL and headers may hold credentials.
#[derive(Clone)]
pub struct EndpointOptions {
    /// A name for logs and metrics.
    pub name: String,
    /// Where events are posted to.
    pub url: String,
    /// Headers of the requests.
    pub headers: HeaderMap,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Failures in a row before each further try waits for `backoff`; 0 is as 1.
    pub threshold: u32,
    /// How long to wait then.
    pub backoff: Duration,
    /// Events about these media types are not sent.
    pub ignored_media_types: BTreeSet<String>,
    /// Events of these actions (`push`, `pull`, `mount`, `delete`) are not sent.
    pub ignored_actions: BTreeSet<String>,
    /// How many events wait at most; the oldest makes room.
    pub queue_events: usize,
}

impl EndpointOptions {
    /// Everything is sent to `url`, with the usual limits.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            headers: HeaderMap::new(),
            timeout: DEFAULT_TIMEOUT,
            threshold: DEFAULT_THRESHOLD,
            backoff: DEFAULT_BACKOFF,
            ignored_media_types: BTreeSet::new(),
            ignored_actions: BTreeSet::new(),
            queue_events: DEFAULT_QUEUE_EVENTS,
        }
    }
}

/// An endpoint at work.
pub(super) struct Endpoint {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    options: EndpointOptions,
    target: Target,
    queue: Mutex<Queue>,
    changed: Notify,
    counts: NotificationCounts,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Bytes>,
    bytes: usize,
    lost: u64,
    is_closed: bool,
}

impl Endpoint {
    /// Starts the task. Must be called inside a tokio runtime.
    pub(super) fn start(
        options: EndpointOptions,
        client: Client,
        counts: NotificationCounts,
    ) -> Result<Self, ClientError> {
        let target = Target::parse(&options.url)?;
        let (queue, changed) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { options, target, queue, changed, counts });
        let task = tokio::spawn(Arc::clone(&shared).run(client));
        Ok(Self { shared, task })
    }

    /// Whether an event of this kind is sent.
    pub(super) fn wants(&self, action: &str, media_type: &str) -> bool {
        let options = &self.shared.options;
        !options.ignored_actions.contains(action) && !options.ignored_media_types.contains(media_type)
    }

    /// Adds an event; never waits.
    pub(super) fn add(&self, event: Bytes) {
        let Shared { options, queue, counts, .. } = &*self.shared;
        let mut queue = hold(queue);
        if queue.is_closed {
            return;
        }
        counts.came();
        queue.bytes += event.len();
        queue.events.push_back(event);
        while queue.events.len() > options.queue_events.max(1) || queue.bytes > MAX_QUEUE_BYTES {
            let Some(oldest) = queue.events.pop_front() else { break };
            queue.bytes -= oldest.len();
            counts.lost();
            if queue.lost.is_multiple_of(LOG_EVERY) {
                let lost = queue.lost + 1;
                tracing::warn!(endpoint = options.name, lost, "the queue of events is full: the oldest was dropped");
            }
            queue.lost += 1;
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Takes no more events.
    pub(super) fn close(&self) {
        hold(&self.shared.queue).is_closed = true;
        self.shared.changed.notify_one();
    }

    /// Waits until all are sent or until `deadline`. Returns how many were not.
    pub(super) async fn drained(mut self, deadline: tokio::time::Instant) -> u64 {
        let _ = tokio::time::timeout_at(deadline, &mut self.task).await;
        self.task.abort();
        let left = self.shared.counts.pending();
        if left > 0 {
            tracing::warn!(endpoint = self.shared.options.name, left, "events were not sent before the end");
        }
        left
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self: Arc<Self>, client: Client) {
        let mut failures = 0;
        while let Some(event) = self.next().await {
            while !self.send(&client, &event).await {
                failures += 1;
                if failures == self.options.threshold.max(1) {
                    let backoff = self.options.backoff;
                    tracing::warn!(
                        endpoint = self.options.name,
                        failures,
                        ?backoff,
                        "tries to send events wait from now on"
                    );
                }
                if failures >= self.options.threshold.max(1) {
                    tokio::time::sleep(self.options.backoff).await;
                }
            }
            failures = 0;
            self.counts.went();
        }
    }

    /// The next event; `None` when there will be no more.
    async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut queue = hold(&self.queue);
                if let Some(event) = queue.events.pop_front() {
                    queue.bytes -= event.len();
                    return Some(event);
                }
                if queue.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Tries once; whether the event was accepted.
    async fn send(&self, client: &Client, event: &Bytes) -> bool {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))]);
        for (name, value) in &self.options.headers {
            headers.append(name, value.clone());
        }
        let answer = client.send(Method::POST, &self.target, &headers, event.clone(), Some(self.options.timeout)).await;
        match answer {
            Ok(status) => {
                let is_taken = status.is_success() || status.is_redirection();
                self.counts.answered(status, is_taken);
                if !is_taken {
                    tracing::warn!(endpoint = self.options.name, %status, "an event was not accepted");
                }
                is_taken
            }
            Err(error) => {
                self.counts.failed();
                tracing::warn!(endpoint = self.options.name, %error, "an event could not be sent");
                false
            }
        }
    }
}
