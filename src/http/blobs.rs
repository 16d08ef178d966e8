//! `/v2/NAME/blobs/DIGEST`: blobs, whole or in part.

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, StatusCode};

use super::body::{Batch, Outgoing};
use super::errors::{Answer, Code};
use super::event::{Action, Event};
use super::headers::{ByteRange, none_match, range};
use super::origin::{Fetched, Origin};
use super::{App, Asked, empty, set, set_digest};
use crate::fs::Fs;
use crate::oci::{Digest, Name};
use crate::registry::BLOB_MEDIA_TYPE;

/// What a digest names never changes: a year, as distribution says.
const CACHE_FOR_EVER: &str = "max-age=31536000";

/// GET and HEAD.
pub async fn get<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, digest: Digest) -> Answer {
    let answer = stored(app, asked, repo.clone(), digest).await;
    match (&app.options.origin, &answer) {
        (Some(origin), Err(failure)) if matches!(failure.code(), Code::BlobUnknown | Code::NameUnknown) => {
            fetched(app, origin.as_ref(), asked, repo, digest).await
        }
        _ => answer,
    }
}

/// A blob that is still elsewhere.
async fn fetched<F: Fs>(app: &App<F>, origin: &dyn Origin, asked: &mut Asked, repo: Name, digest: Digest) -> Answer {
    let headers = &asked.parts.headers;
    if asked.is_head() {
        return Ok(with_body(Body::empty(), &digest, origin.blob_bytes(&repo, &digest).await?));
    }
    let is_streamed = !headers.contains_key(RANGE) && !none_match(headers, &digest);
    match origin.blob(&repo, &digest, is_streamed).await? {
        Fetched::Stored => stored(app, asked, repo, digest).await,
        Fetched::Passing(passing) => {
            let len_bytes = passing.len_bytes();
            let mut response = with_body(passing.into(), &digest, len_bytes);
            response.extensions_mut().insert(pulled(repo, digest, len_bytes.unwrap_or_default()));
            Ok(response)
        }
    }
}

/// A blob that is here.
async fn stored<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, digest: Digest) -> Answer {
    let (headers, registry) = (&asked.parts.headers, app.registry.clone());
    if asked.is_head() || none_match(headers, &digest) {
        let found = app.call(async move { registry.stat_blob(&repo, &digest).await }).await?;
        if none_match(headers, &digest) {
            let mut response = empty(StatusCode::NOT_MODIFIED);
            describe(&mut response, &digest);
            return Ok(response);
        }
        return Ok(with_body(Body::empty(), &digest, Some(found.size)));
    }
    let range = range(headers, &digest)?;
    let name = repo.clone();
    let (range, blob_bytes, batch) = app
        .call(async move {
            let reader = registry
                .read_part(&name, &digest, |len| match range? {
                    ByteRange::FromTo(from, to) => Some(from..to.saturating_add(1)),
                    // An end of no bytes begins where there are none.
                    ByteRange::Last(last) => Some(len.saturating_sub(last)..len),
                })
                .await?;
            let (part, blob_bytes) = (range.is_some().then(|| reader.range()), reader.blob_bytes());
            Ok((part, blob_bytes, Batch::read(reader).await))
        })
        .await?;
    let len_bytes = range.as_ref().map_or(blob_bytes, |range| range.end - range.start);
    let body = Body::new(Outgoing::new(app.options.run, batch, len_bytes));
    let mut response = with_body(body, &digest, Some(len_bytes));
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, CONTENT_RANGE, &format!("bytes {}-{}/{blob_bytes}", range.start, range.end - 1));
    }
    response.extensions_mut().insert(pulled(repo, digest, blob_bytes));
    Ok(response)
}

fn pulled(repo: Name, digest: Digest, size: u64) -> Event {
    let media_type = BLOB_MEDIA_TYPE.to_owned();
    let (action, digest) = (Action::Pull, Some(digest));
    Event { action, repo, digest, size, media_type, tag: None, from_repo: None, manifest: None }
}

fn with_body(body: Body, digest: &Digest, len_bytes: Option<u64>) -> Response {
    let mut response = Response::new(body);
    describe(&mut response, digest);
    set(&mut response, CONTENT_TYPE, BLOB_MEDIA_TYPE);
    if let Some(len_bytes) = len_bytes {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len_bytes));
    }
    response
}

fn describe(response: &mut Response, digest: &Digest) {
    set_digest(response, digest);
    set(response, CACHE_CONTROL, CACHE_FOR_EVER);
    set(response, ACCEPT_RANGES, "bytes");
}

/// DELETE.
pub async fn delete<F: Fs>(app: &App<F>, repo: Name, digest: Digest) -> Answer {
    let (registry, name) = (app.registry.clone(), repo.clone());
    app.call(async move { registry.delete_blob(&name, &digest).await }).await?;
    let mut response = empty(StatusCode::ACCEPTED);
    response.extensions_mut().insert(Event::deleted(repo, Some(digest), None));
    Ok(response)
}
