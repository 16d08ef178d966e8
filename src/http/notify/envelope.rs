//! What is sent: an envelope of one event, in distribution's words.

use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::env::clock::UnixSeconds;
use crate::http::event::{Action, Event};
use crate::http::headers::Urls;
use crate::oci::{Descriptor, Manifest};

/// Media type of an envelope.
pub const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v2+json";

/// The name of an action in envelopes and in `ignore.actions`.
pub fn action(action: Action) -> &'static str {
    match action {
        Action::Push => "push",
        Action::Pull => "pull",
        Action::Mount => "mount",
        Action::Delete => "delete",
    }
}

/// The request that an event comes from.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RequestRecord {
    pub(super) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) addr: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) host: String,
    pub(super) method: String,
    pub(super) useragent: String,
}

/// Which registry an event comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Source {
    /// Its host name and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub addr: String,
    /// The identifier of its process: another one after each start.
    #[serde(rename = "instanceID", skip_serializing_if = "String::is_empty")]
    pub instance_id: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    events: [Record<'a>; 1],
}

#[derive(Serialize)]
struct Record<'a> {
    id: String,
    timestamp: String,
    action: &'static str,
    target: Target<'a>,
    request: &'a RequestRecord,
    actor: Actor<'a>,
    source: &'a Source,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    /// The same, as it was called once.
    #[serde(skip_serializing_if = "is_zero")]
    length: u64,
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<&Descriptor> for Reference {
    fn from(from: &Descriptor) -> Self {
        Self { media_type: from.media_type.clone(), digest: from.digest.to_string(), size: from.size }
    }
}

/// What all envelopes of a registry have in common, and what one of them is about.
pub(super) struct About<'a> {
    pub(super) id: String,
    pub(super) now: UnixSeconds,
    pub(super) event: &'a Event,
    /// Where the content can be had.
    pub(super) url: Option<String>,
    pub(super) request: &'a RequestRecord,
    pub(super) actor: &'a str,
    pub(super) source: &'a Source,
    pub(super) include_references: bool,
}

/// The URL of what an event is about; `None` where it is gone.
pub(super) fn url(event: &Event, urls: &Urls, headers: &http::HeaderMap, https: bool) -> Option<String> {
    let digest = event.digest.filter(|_| event.action != Action::Delete)?;
    let kind = if event.manifest.is_some() { "manifests" } else { "blobs" };
    Some(urls.url(headers, https, &format!("/v2/{}/{kind}/{digest}", event.repo)))
}

/// The envelope, as it is sent.
pub(super) fn write(about: About<'_>) -> Bytes {
    let About { id, now, event, url, request, actor, source, include_references } = about;
    let manifest = event.manifest.as_ref().filter(|_| include_references);
    let manifest = manifest.and_then(|bytes| Manifest::parse(bytes, Some(&event.media_type)).ok());
    let references = manifest.iter().flat_map(|m| m.references()).map(Reference::from).collect();
    let target = Target {
        media_type: &event.media_type,
        digest: event.digest.map(|d| d.to_string()),
        size: event.size,
        length: event.size,
        repository: event.repo.as_str(),
        from_repository: event.from_repo.as_ref().map(|repo| repo.as_str()),
        url,
        tag: event.tag.as_ref().map(|tag| tag.as_str()),
        references,
    };
    let time = i64::try_from(now.0).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let timestamp = time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
    let record =
        Record { id, timestamp, action: action(event.action), target, request, actor: Actor { name: actor }, source };
    let mut json = Vec::new();
    let pretty = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    // Strings and numbers: writing them into memory cannot fail.
    let _ = Envelope { events: [record] }.serialize(&mut serde_json::Serializer::with_formatter(&mut json, pretty));
    json.into()
}
