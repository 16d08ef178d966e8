//! What a registry was asked for and what it acknowledged, as its sockets show it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::TraceError;
use super::http::{Connection, Exchange, Request};
use super::line::{Call, Event as Line};
use super::notes::Notes;
use super::value::{Descriptor, arguments, string, vector};
use crate::check::contents::{Content, Contents, Kind};
use crate::check::oracle::{Event, Mark};
use crate::oci::{Algorithm, Digest, Manifest, Name, Reference};

/// Operations, and when they began and were acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Each operation in words.
    pub ops: Vec<String>,
    /// What it changes, for the oracle.
    pub events: Vec<Option<Event>>,
    /// The marks that stand behind an event of the trace.
    pub marks: BTreeMap<usize, Vec<Mark>>,
    /// The manifests that were sent.
    pub contents: Contents,
}

/// Reads what passed over sockets.
///
/// Errors: a string was cut short, so that nobody knows what passed.
pub fn read(lines: &[Line<'_>], notes: &mut Notes) -> Result<Acknowledged, TraceError> {
    let mut open: BTreeMap<Vec<u8>, Connection> = BTreeMap::new();
    let mut exchanges = Vec::new();
    for (now, line) in lines.iter().enumerate() {
        let Line::Call(call) = line else { continue };
        let Some(bytes) = call.returned else { continue };
        let words = arguments(&call.arguments);
        if call.name == "close" {
            // Addresses come again; the numbers of sockets do not, and a child may close what its parent goes on with.
            if let Some(ended) =
                socket(&words, 0).filter(|name| !name.starts_with(b"socket:")).and_then(|name| open.remove(&name))
            {
                exchanges.extend(ended.finish());
            }
            continue;
        }
        let Some(transfer) = Transfer::of(call.name) else { continue };
        let Some(socket) = socket(&words, transfer.socket) else { continue };
        let connection = open.entry(socket).or_default();
        let was_foreign = connection.is_foreign;
        if was_foreign || words.iter().skip(2).any(|word| word.contains("MSG_PEEK")) {
            continue;
        }
        let bytes = bytes.max(0).cast_unsigned();
        match transfer.buffer {
            Some(at) => {
                let shown = shown(call, &words, at, bytes)?;
                if transfer.is_read { connection.read(&shown, now) } else { connection.written(&shown, now) }
            }
            None if transfer.is_read => connection.read_unseen(bytes),
            None => connection.written_unseen(bytes),
        }
        if connection.is_hidden {
            notes.ignored("a socket that speaks TLS or HTTP/2", "acknowledgements on it are not seen", call.begun);
        }
    }
    exchanges.extend(open.into_values().flat_map(Connection::finish));
    exchanges.sort_by_key(|exchange| exchange.request.begun);
    let mut read = Acknowledged::default();
    exchanges.into_iter().for_each(|exchange| read.learn(exchange));
    Ok(read)
}

/// Where a call has its socket and its bytes.
struct Transfer {
    is_read: bool,
    socket: usize,
    /// Nothing: the trace does not show them.
    buffer: Option<usize>,
}

impl Transfer {
    fn of(call: &str) -> Option<Self> {
        let (is_read, socket, buffer) = match call {
            "read" | "recv" | "recvfrom" | "recvmsg" | "readv" => (true, 0, Some(1)),
            "write" | "send" | "sendto" | "sendmsg" | "writev" => (false, 0, Some(1)),
            "sendfile" | "sendfile64" => (false, 0, None),
            "splice" => (false, 2, None),
            _ => return None,
        };
        Some(Self { is_read, socket, buffer })
    }
}

fn socket(words: &[&str], at: usize) -> Option<Vec<u8>> {
    let descriptor = Descriptor::parse(words.get(at)?)?;
    if descriptor.is_socket() { descriptor.to } else { None }
}

/// The bytes that a call moved.
fn shown(call: &Call<'_>, words: &[&str], at: usize, bytes: u64) -> Result<Vec<u8>, TraceError> {
    if bytes == 0 {
        return Ok(Vec::new());
    }
    let word = words.get(at).copied().unwrap_or_default();
    let mut shown = if word.starts_with('"') { string(call.ended, word) } else { vector(call.ended, word) }?;
    shown.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    Ok(shown)
}

impl Acknowledged {
    fn learn(&mut self, exchange: Exchange) {
        let Exchange { request, answer } = exchange;
        let refused = answer.is_some_and(|(status, _)| !matches!(status, 201 | 202 | 204 | 500..));
        if matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS") || refused {
            return;
        }
        let event = self.event(&request, answer.map(|(status, _)| status));
        let op = self.ops.len();
        self.ops.push(words(&request, event.as_ref()));
        self.events.push(event);
        self.marks.entry(request.begun).or_default().push(Mark::Begin(op));
        if let Some((201 | 202 | 204, at)) = answer {
            self.marks.entry(at).or_default().push(Mark::End(op));
        }
    }

    /// What a request changes, if it succeeds and that matters to the oracle.
    fn event(&mut self, request: &Request, status: Option<u16>) -> Option<Event> {
        let target = &request.target[request.target.find("/v2/")? + "/v2/".len()..];
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let digest_of = |key| parameter(query, key).and_then(|digest| digest.parse::<Digest>().ok());
        let split = |infix: &str| path.rfind(infix).map(|at| (path[..at].parse::<Name>(), &path[at + infix.len()..]));
        if let Some((repo, _)) = split("/blobs/uploads/") {
            let digest = match request.method.as_str() {
                "PUT" => digest_of("digest"),
                // An upload in one piece, or a mount. A mount that comes to nothing opens an upload: 202.
                "POST" if status != Some(202) => digest_of("digest").or_else(|| digest_of("mount")),
                _ => None,
            };
            return Some(Event::PutBlob { repo: repo.ok()?, digest: digest?, upload: None });
        }
        if let Some((repo, reference)) = split("/manifests/") {
            let (repo, reference) = (repo.ok()?, decoded(reference).parse::<Reference>().ok()?);
            return match (request.method.as_str(), reference) {
                ("PUT", reference) => self.put_manifest(request, repo, &reference),
                ("DELETE", Reference::Digest(digest)) => Some(Event::DeleteManifest(repo, digest)),
                ("DELETE", Reference::Tag(tag)) => Some(Event::DeleteTag(repo, tag)),
                _ => None,
            };
        }
        let (repo, digest) = split("/blobs/")?;
        let digest = decoded(digest).parse().ok();
        (request.method == "DELETE").then_some(Event::DeleteBlob(repo.ok()?, digest?))
    }

    fn put_manifest(&mut self, request: &Request, repo: Name, reference: &Reference) -> Option<Event> {
        let algorithm = match reference {
            Reference::Digest(digest) => digest.algorithm(),
            Reference::Tag(_) => Algorithm::Sha256,
        };
        let manifest = Manifest::parse(&request.body, request.media_type.as_deref()).ok()?;
        let of = |is_manifest| {
            let needed = manifest.references().iter().filter(move |needed| needed.is_manifest == is_manifest);
            needed.map(|needed| needed.digest).collect::<Vec<Digest>>()
        };
        let (blobs, manifests) = (of(false), of(true));
        let media_type = manifest.media_type().to_owned();
        let kind = Kind::Manifest { media_type, blobs: blobs.clone(), manifests };
        let content = Content { bytes: Bytes::copy_from_slice(&request.body), kind };
        let digest = self.contents.insert(algorithm, content);
        Some(Event::PutManifest { repo, digest, blobs, tag: reference.tag().cloned() })
    }
}

/// An operation as a schedule shows it: of an upload without its state.
fn words(request: &Request, event: Option<&Event>) -> String {
    match event {
        Some(Event::PutBlob { repo, digest, .. }) => format!("put blob {digest} into {repo}"),
        Some(Event::PutManifest { repo, digest, tag: Some(tag), .. }) => {
            format!("put manifest {digest} as {repo}:{tag}")
        }
        Some(Event::PutManifest { repo, digest, .. }) => format!("put manifest {digest} into {repo}"),
        _ => format!("{} {}", request.method, request.target.split('?').next().unwrap_or_default()),
    }
}

/// A parameter of a query.
fn parameter(query: &str, key: &str) -> Option<String> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, value)| decoded(value))
}

/// Takes the percent signs away.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &behind[2..];
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
