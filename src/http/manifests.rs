//! `/v2/NAME/manifests/REFERENCE`: manifests, byte for byte, by tag or by digest.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::body::read_all;
use super::errors::{Answer, Code, Failure};
use super::event::{Action, Event};
use super::headers::{accepts, content_length, none_match, text};
use super::{App, Asked, empty, set, set_digest, set_location};
use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::fs::Fs;
use crate::oci::{Name, Reference, Tag};
use crate::registry::Error;

/// Most tags that one PUT may name.
const MAX_TAG_PARAMETERS: usize = 64;

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// GET and HEAD.
pub async fn get<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, reference: Reference) -> Answer {
    if let Some(origin) = &app.options.origin {
        origin.manifest(&repo, &reference).await?;
    }
    let (registry, name, by) = (app.registry.clone(), repo.clone(), reference.clone());
    let stored = app.call(async move { registry.get_manifest(&name, &by).await }).await?;
    let headers = &asked.parts.headers;
    if !accepts(headers, stored.media_type) {
        let message = format!("{reference} is of type {}, which the Accept header does not list", stored.media_type);
        return Err(Failure::new(Code::ManifestUnknown, message));
    }
    if none_match(headers, &stored.digest) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set_digest(&mut response, &stored.digest);
        return Ok(response);
    }
    let size = stored.bytes.len() as u64;
    let is_head = asked.is_head();
    let mut response = Response::new(if is_head { Body::empty() } else { stored.bytes.clone().into() });
    set_digest(&mut response, &stored.digest);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(stored.media_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
    if !is_head {
        response.extensions_mut().insert(Event {
            action: Action::Pull,
            repo,
            digest: Some(stored.digest),
            size,
            media_type: stored.media_type.to_owned(),
            tag: reference.tag().cloned(),
            from_repo: None,
            manifest: Some(stored.bytes),
        });
    }
    Ok(response)
}

/// PUT.
pub async fn put<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, reference: Reference) -> Answer {
    let tags = asked.query.all("tag").map(str::parse::<Tag>).collect::<Result<Vec<_>, _>>()?;
    if tags.len() > MAX_TAG_PARAMETERS {
        let message = format!("more than {MAX_TAG_PARAMETERS} tags at once");
        return Err(Failure::new(Code::TagInvalid, message).with_status(StatusCode::URI_TOO_LONG));
    }
    let body = asked.take_body(None);
    let headers = &asked.parts.headers;
    let media_type = text(headers, &CONTENT_TYPE).map(str::to_owned);
    let too_large = |size_bytes| Error::ManifestTooLarge { size_bytes, limit_bytes: MAX_MANIFEST_BYTES };
    let Some(bytes) = read_all(body, MAX_MANIFEST_BYTES).await? else {
        return Err(too_large(content_length(headers).unwrap_or(MAX_MANIFEST_BYTES + 1)).into());
    };
    let (size, pushed) = (bytes.len() as u64, bytes.clone());
    let (registry, name, by, further) = (app.registry.clone(), repo.clone(), reference.clone(), tags.clone());
    let (digest, manifest) = app
        .call(async move { registry.push_manifest(&name, &by, &further, media_type.as_deref(), bytes).await })
        .await?;
    let mut response = empty(StatusCode::CREATED);
    set_location(&mut response, &app.url(headers, &format!("/v2/{repo}/manifests/{digest}")));
    set_digest(&mut response, &digest);
    if let Some(subject) = manifest.subject() {
        set(&mut response, OCI_SUBJECT, &subject.to_string());
    }
    for tag in &tags {
        if let Ok(tag) = HeaderValue::from_str(tag.as_str()) {
            response.headers_mut().append(OCI_TAG, tag);
        }
    }
    response.extensions_mut().insert(Event {
        action: Action::Push,
        repo,
        digest: Some(digest),
        size,
        media_type: manifest.media_type().to_owned(),
        tag: reference.tag().or(tags.first()).cloned(),
        from_repo: None,
        manifest: Some(pushed),
    });
    Ok(response)
}

/// DELETE: by tag, the tag alone; by digest, the manifest and the tags that point at it.
pub async fn delete<F: Fs>(app: &App<F>, repo: Name, reference: Reference) -> Answer {
    let (registry, name, by) = (app.registry.clone(), repo.clone(), reference.clone());
    app.call(async move { registry.delete_manifest(&name, &by).await }).await?;
    let mut response = empty(StatusCode::ACCEPTED);
    response.extensions_mut().insert(match reference {
        Reference::Tag(tag) => Event::deleted(repo, None, Some(tag)),
        Reference::Digest(digest) => Event::deleted(repo, Some(digest), None),
    });
    Ok(response)
}
