//! How a blob gets to the registry: mounted, whole, in a session, in chunks, resumed.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::wire::{Answer, Effect};
use super::{Client, Done, expect};
use crate::check::Invariant;
use crate::check::oracle::Event;
use crate::env::sync::hold;
use crate::oci::{Digest, Name};
use crate::sim::step::Send;
use crate::workload::run::Session;

/// How a session may not refuse its end, if it took everything before: the whole is another blob, the rest is not next.
const REFUSALS: &[StatusCode] = &[StatusCode::BAD_REQUEST, StatusCode::RANGE_NOT_SATISFIABLE];

impl Client {
    /// Uploads a blob that is not there; with `from`, tries to have it mounted first.
    pub(super) async fn upload(&mut self, repo: &Name, blob: &Digest, send: Send, from: Option<&Name>) -> Done {
        let bytes = self.bytes(blob)?;
        let put = Event::PutBlob { repo: repo.clone(), digest: *blob, upload: None };
        if let Some(from) = from {
            let path = format!("/v2/{repo}/blobs/uploads/?mount={blob}&from={from}");
            let effect = Effect::Created(put.clone());
            let answer = expect(
                self.wire.ask(Method::POST, &path, &[], None, effect).await,
                &[StatusCode::CREATED, StatusCode::ACCEPTED],
            )?;
            if answer.status == StatusCode::CREATED {
                hold(&self.ledger).count("blobs mounted");
                return Ok(());
            }
            return self.commit(repo, blob, &answer, 0, bytes, REFUSALS).await;
        }
        if send == Send::Whole {
            let path = format!("/v2/{repo}/blobs/uploads/?digest={blob}");
            let answer = self.wire.ask(Method::POST, &path, &[], Some(bytes), Effect::Created(put)).await;
            return expect(answer, &[StatusCode::CREATED]).map(drop);
        }
        let mut answer = self.start(repo).await?;
        let mut sent = 0;
        if let Send::Chunks(len) = send {
            let len = (len as usize).max(1);
            while bytes.len() - sent > len {
                let chunk = bytes.slice(sent..sent + len);
                let mut next = self.patch(&answer, sent, chunk.clone()).await;
                if next.is_err() {
                    // Perhaps it arrived and perhaps not: a second one must not count twice.
                    hold(&self.ledger).count("chunks sent again");
                    next = self.patch(&answer, sent, chunk).await;
                }
                match next {
                    // What was told before a crash is no promise any more; what holds is from the session's begin on.
                    Ok(next) => answer = Answer { crashes: answer.crashes, ..next },
                    Err(why) => return self.go_on(repo, blob, &answer, &why).await,
                }
                sent += len;
            }
        }
        self.commit(repo, blob, &answer, sent, bytes.slice(sent..), REFUSALS).await
    }

    /// After a chunk that was refused twice: asks where the upload stands, and goes on from there.
    async fn go_on(&mut self, repo: &Name, blob: &Digest, session: &Answer, why: &str) -> Done {
        let answer = self.wire.ask(Method::GET, &session.location, &[], None, Effect::Nothing).await;
        let answer = expect(answer, &[StatusCode::NO_CONTENT]).map_err(|e| format!("{why}; then {e}"))?;
        hold(&self.ledger).count("uploads resumed");
        self.finish(repo, blob, &answer).await
    }

    /// Sends what the session says that it lacks, and commits.
    async fn finish(&mut self, repo: &Name, blob: &Digest, session: &Answer) -> Done {
        let bytes = self.bytes(blob)?;
        let offset = session.offset;
        if offset > bytes.len() {
            let what = format!("reports {offset} bytes, more than the {} that there are", bytes.len());
            self.lies(repo, blob, &what);
            return Err("the offset is not true".to_owned());
        }
        // A chunk that is still on its way may yet arrive: then the rest begins elsewhere.
        self.commit(repo, blob, session, offset, bytes.slice(offset..), &REFUSALS[..1]).await
    }

    /// PUT of what is left, and the digest. A session that took what is before `at` must take the rest from there, and
    /// the whole must be what it should be: it may not refuse with one of `lies`.
    async fn commit(
        &mut self,
        repo: &Name,
        blob: &Digest,
        session: &Answer,
        at: usize,
        rest: Bytes,
        lies: &[StatusCode],
    ) -> Done {
        let mark = if session.location.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}digest={blob}", session.location);
        let range = content_range(at, rest.len());
        let headers: Vec<_> = range.map(|r| ("content-range", r)).into_iter().collect();
        let event = Event::PutBlob { repo: repo.clone(), digest: *blob, upload: None };
        let answer = self.wire.ask(Method::PUT, &path, &headers, Some(rest), Effect::Created(event)).await;
        let refused = answer.as_ref().is_ok_and(|answer| lies.contains(&answer.status));
        // What was told before a crash is no promise any more.
        if refused && hold(&self.ledger).counted("crashes") == session.crashes {
            self.lies(repo, blob, &format!("took {at} bytes, and refuses the rest"));
        }
        expect(answer, &[StatusCode::CREATED]).map(drop)
    }

    /// An upload session says what is not so.
    fn lies(&self, repo: &Name, blob: &Digest, how: &str) {
        let what = format!("the upload of {blob} to {repo} {how}");
        hold(&self.ledger).find(Invariant::UploadOffsetTrue.name(), what);
    }

    async fn start(&mut self, repo: &Name) -> Result<Answer, String> {
        let path = format!("/v2/{repo}/blobs/uploads/");
        let answer = self.wire.ask(Method::POST, &path, &[], None, Effect::Nothing).await;
        expect(answer, &[StatusCode::ACCEPTED])
    }

    async fn patch(&mut self, session: &Answer, at: usize, chunk: Bytes) -> Result<Answer, String> {
        let headers: Vec<_> = content_range(at, chunk.len()).map(|r| ("content-range", r)).into_iter().collect();
        let answer = self.wire.ask(Method::PATCH, &session.location, &headers, Some(chunk), Effect::Nothing).await;
        expect(answer, &[StatusCode::ACCEPTED])
    }

    /// Opens a session, sends the first bytes, and leaves it for [`resume_upload`](Self::resume_upload).
    pub(super) async fn begin_upload(&mut self, repo: &Name, blob: &Digest, bytes: usize) -> Done {
        let answer = self.start(repo).await?;
        let id = answer.upload.clone().ok_or("the session has no identifier")?;
        let id = id.parse().map_err(|e| format!("{e}"))?;
        let session = Session { repo: repo.clone(), content: *blob, id, sent_bytes: 0 };
        hold(&self.ledger).sessions.insert(u32::from(self.index), session);
        let whole = self.bytes(blob)?;
        let first = whole.slice(..bytes.min(whole.len()));
        if first.is_empty() { Ok(()) } else { self.patch(&answer, 0, first).await.map(drop) }
    }

    /// Asks where the upload that was left stands, and finishes it. One that is gone has promised nothing.
    pub(super) async fn resume_upload(&mut self) -> Done {
        let Some(session) = hold(&self.ledger).sessions.remove(&u32::from(self.index)) else { return Ok(()) };
        let path = format!("/v2/{}/blobs/uploads/{}", session.repo, session.id.as_str());
        let answer = self.wire.ask(Method::GET, &path, &[], None, Effect::Nothing).await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status == StatusCode::NOT_FOUND {
            hold(&self.ledger).count("uploads that were gone");
            return Ok(());
        }
        if answer.status != StatusCode::NO_CONTENT {
            return Err(format!("the session is answered with {}", answer.status));
        }
        {
            let mut ledger = hold(&self.ledger);
            ledger.count("uploads resumed");
            if ledger.counted("crashes") > 0 {
                ledger.count("uploads resumed after a crash");
            }
        }
        let answer = Answer { location: path, ..answer };
        self.finish(&session.repo, &session.content, &answer).await
    }

    fn bytes(&self, blob: &Digest) -> Result<Bytes, String> {
        self.goods.contents.get(blob).map(|c| c.bytes.clone()).ok_or_else(|| format!("{blob} is not known"))
    }
}

/// The range of a chunk; an empty one has none.
fn content_range(at: usize, len: usize) -> Option<String> {
    (len > 0).then(|| format!("{at}-{}", at + len - 1))
}
