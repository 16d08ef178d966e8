//! `/v2/NAME/blobs/uploads/`: how blobs come in: at once, by a session in chunks, or from another repository.

use axum::response::Response;
use http::header::RANGE;
use http::{HeaderMap, HeaderName, StatusCode};

use super::errors::{Answer, Code, Failure};
use super::event::{Action, Event};
use super::headers::content_range;
use super::{App, Asked, DOCKER_UPLOAD_UUID, MayPull, empty, set, set_digest, set_location};
use crate::fs::Fs;
use crate::oci::{Algorithm, Descriptor, Digest, Name, UploadId};
use crate::registry::Error;

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// POST: a mount, a whole blob, or a session.
pub async fn start<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name) -> Answer {
    if let Some(algorithm) = asked.query.get("digest-algorithm")
        && Algorithm::from_name(algorithm).is_none()
    {
        return Err(Failure::new(Code::DigestInvalid, "the digest-algorithm must be sha256 or sha512"));
    }
    let digest = asked.query.get("digest").map(str::parse::<Digest>).transpose()?;
    if let Some(mount) = asked.query.get("mount")
        && let Some((blob, from)) =
            mount_blob(app, asked.may_pull(), asked.query.get("from"), &repo, mount.parse()?).await?
    {
        return Ok(created(app, &asked.parts.headers, Action::Mount, repo, &blob, Some(from)));
    }
    let registry = app.registry.clone();
    let name = repo.clone();
    if let Some(digest) = digest {
        let range = content_range(&asked.parts.headers)?;
        if range.as_ref().is_some_and(|range| *range.start() != 0) {
            return Err(Failure::new(Code::RangeInvalid, "a blob that is sent at once begins at 0"));
        }
        let mut body = asked.take_body(range.map(|r| r.end() + 1));
        let blob = app
            .call(async move {
                let pushed = registry.push_blob(&name, &digest, &mut body).await;
                body.drain().await;
                pushed
            })
            .await?;
        return Ok(created(app, &asked.parts.headers, Action::Push, repo, &blob, None));
    }
    let id = app.call(async move { registry.start_upload(&name).await }).await?;
    let mut response = empty(StatusCode::ACCEPTED);
    app.describe(&mut response, &asked.parts.headers, &repo, &id, 0);
    if let Some(min_bytes) = app.options.chunk_min_bytes {
        set(&mut response, CHUNK_MIN_LENGTH, &min_bytes.to_string());
    }
    Ok(response)
}

/// Mounts a blob from the repository `from`, or from any; `None` where it is not to be had there.
async fn mount_blob<F: Fs>(
    app: &App<F>,
    MayPull(may_pull): MayPull,
    from: Option<&str>,
    repo: &Name,
    digest: Digest,
) -> Result<Option<(Descriptor, Name)>, Failure> {
    let (registry, repo) = (app.registry.clone(), repo.clone());
    let from = match from.filter(|from| !from.is_empty()) {
        None => None,
        // A source that cannot be is one that has no such blob.
        Some(from) => match from.parse().ok().filter(|from: &Name| may_pull(from)) {
            None => return Ok(None),
            from => from,
        },
    };
    app.call(async move {
        let mounted = match from {
            Some(from) => registry.mount(&repo, &from, &digest).await.map(|blob| (blob, from)),
            None => registry.mount_from_any(&repo, &digest, |from| may_pull(from)).await,
        };
        match mounted {
            Err(Error::BlobUnknown(_) | Error::NameUnknown(_)) => Ok(None),
            other => other.map(Some),
        }
    })
    .await
}

/// PATCH: a chunk.
pub async fn append<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, id: UploadId) -> Answer {
    let offset = receive(app, asked, &repo, &id, None).await?;
    let mut response = empty(StatusCode::ACCEPTED);
    app.describe(&mut response, &asked.parts.headers, &repo, &id, offset);
    Ok(response)
}

/// PUT: the last chunk, or none, and the digest of the whole.
pub async fn commit<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, id: UploadId) -> Answer {
    let Some(digest) = asked.query.get("digest") else {
        return Err(Failure::new(Code::DigestInvalid, "a PUT that ends an upload needs ?digest="));
    };
    let digest: Digest = digest.parse()?;
    let size = receive(app, asked, &repo, &id, Some(digest)).await?;
    let media_type = crate::registry::BLOB_MEDIA_TYPE.to_owned();
    let blob = Descriptor { digest, size, media_type, is_manifest: false };
    Ok(created(app, &asked.parts.headers, Action::Push, repo, &blob, None))
}

/// Appends a body to a session, and with a digest makes it a blob. Returns how many bytes it has then.
async fn receive<F: Fs>(
    app: &App<F>,
    asked: &mut Asked,
    repo: &Name,
    id: &UploadId,
    digest: Option<Digest>,
) -> Result<u64, Failure> {
    let range = content_range(&asked.parts.headers)?;
    let at_bytes = range.as_ref().map(|range| *range.start());
    let len_bytes = range.map(|range| range.end() - range.start() + 1);
    let mut body = asked.take_body(len_bytes);
    let headers = &asked.parts.headers;
    let session = app.sessions.lock_shared(&format!("{repo}/{id}")).await;
    let (registry, repo, id) = (app.registry.clone(), repo.clone(), id.clone());
    let received = app.call({
        let (repo, id) = (repo.clone(), id.clone());
        async move {
            let _session = session;
            let received = match digest {
                None => registry.append(&repo, &id, at_bytes, &mut body).await,
                Some(digest) => registry.commit(&repo, &id, &digest, at_bytes, &mut body).await.map(|blob| blob.size),
            };
            body.drain().await;
            Ok(received)
        }
    });
    match received.await? {
        Err(Error::RangeInvalid { at_bytes, given_bytes }) => {
            let failure = Failure::from(Error::RangeInvalid { at_bytes, given_bytes });
            // Where to go on, for who does not ask.
            Err(failure
                .with_header(RANGE, &range_of(at_bytes))
                .with_header(http::header::LOCATION, &app.url(headers, &format!("/v2/{repo}/blobs/uploads/{id}"))))
        }
        other => Ok(other?),
    }
}

/// GET and HEAD: where a session stands.
pub async fn status<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, id: UploadId) -> Answer {
    let registry = app.registry.clone();
    let (name, session) = (repo.clone(), id.clone());
    let offset = app.call(async move { registry.upload_offset(&name, &session).await }).await?;
    let mut response = empty(StatusCode::NO_CONTENT);
    app.describe(&mut response, &asked.parts.headers, &repo, &id, offset);
    Ok(response)
}

/// DELETE: ends a session without a blob.
pub async fn cancel<F: Fs>(app: &App<F>, repo: Name, id: UploadId) -> Answer {
    let session = app.sessions.lock_shared(&format!("{repo}/{id}")).await;
    let registry = app.registry.clone();
    app.call(async move {
        let _session = session;
        registry.cancel_upload(&repo, &id).await
    })
    .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

impl<F: Fs> App<F> {
    /// Says where a session is and how far it has come.
    fn describe(&self, response: &mut Response, headers: &HeaderMap, repo: &Name, id: &UploadId, offset_bytes: u64) {
        set_location(response, &self.url(headers, &format!("/v2/{repo}/blobs/uploads/{id}")));
        set(response, RANGE, &range_of(offset_bytes));
        set(response, DOCKER_UPLOAD_UUID, id.as_str());
    }
}

/// What a session holds, as a Range. It cannot say "nothing"; clients take `0-0` for that.
fn range_of(offset_bytes: u64) -> String {
    format!("0-{}", offset_bytes.saturating_sub(1))
}

fn created<F: Fs>(
    app: &App<F>,
    headers: &HeaderMap,
    action: Action,
    repo: Name,
    blob: &Descriptor,
    from_repo: Option<Name>,
) -> Response {
    let mut response = empty(StatusCode::CREATED);
    set_location(&mut response, &app.url(headers, &format!("/v2/{repo}/blobs/{}", blob.digest)));
    set_digest(&mut response, &blob.digest);
    response.extensions_mut().insert(Event {
        action,
        repo,
        digest: Some(blob.digest),
        size: blob.size,
        media_type: blob.media_type.clone(),
        tag: None,
        from_repo,
        manifest: None,
    });
    response
}
