//! What happens in a simulated world, as typed steps: printable and serializable.
//!
//! A step begins when all steps before it have begun and whoever carries it out is free: so what one client does comes
//! in order, and what different ones do overlaps. Any step may be left out and the rest still makes sense: that is what
//! shrinking relies on. Everything is named by small numbers; the [`Catalogue`](super::schedule::Catalogue) says what
//! blob 3 or image 1 is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many repositories and tags steps can name.
pub const REPOSITORIES: u8 = 3;
/// How many tags steps can name.
pub const TAGS: u8 = 3;

/// How a client sends a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Send {
    /// One POST that carries it.
    Whole,
    /// A POST, then a PUT that carries it.
    Session,
    /// A POST, PATCHes of so many bytes, a PUT.
    Chunks(u32),
}

/// What a link to a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkFault {
    /// Nothing passes.
    Partition,
    /// What the client sends is lost.
    LoseRequests,
    /// What the registry sends is lost: acknowledgements, too.
    LoseAnswers,
    /// Everything is held, and delivered when the fault ends.
    Hold,
    /// Everything takes so many milliseconds.
    Latency(u16),
}

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFault {
    /// It is full.
    Full,
    /// One read in so many fails.
    ReadError(u16),
    /// One read in so many is short.
    ShortRead(u16),
    /// One write in so many fails.
    WriteError(u16),
    /// One write in so many is short.
    ShortWrite(u16),
    /// One sync in so many fails. When this ends, the operator restarts the registry.
    SyncFailure(u16),
    /// A call takes so many microseconds.
    Slow(u16),
}

/// How the registry's machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The power fails.
    Power,
    /// The process is killed; the machine runs on.
    Process,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are indices: into the clients, repositories, tags, blobs, images, indexes")]
pub enum Step {
    /// A client pushes an image, layer by layer, then its manifest by a tag. With `from`, it first tries to mount the
    /// layers from there.
    Push { client: u8, repo: u8, image: u8, tag: u8, send: Send, from: Option<u8> },
    /// A client pushes an index: its images' manifests by digest, then the index by a tag.
    PushIndex { client: u8, repo: u8, index: u8, tag: u8 },
    /// A client resolves a tag, reads everything that it leads to, and verifies it.
    Pull { client: u8, repo: u8, tag: u8 },
    /// A client puts an image's manifest by a tag, without looking whether its layers are there.
    Tag { client: u8, repo: u8, image: u8, tag: u8 },
    /// A client deletes a tag.
    DeleteTag { client: u8, repo: u8, tag: u8 },
    /// A client deletes an image's manifest.
    DeleteManifest { client: u8, repo: u8, image: u8 },
    /// A client deletes a blob.
    DeleteBlob { client: u8, repo: u8, blob: u8 },
    /// A client begins to upload a blob, sends so many bytes, and leaves it.
    Begin { client: u8, repo: u8, blob: u8, bytes: u32 },
    /// A client asks where the upload that it left stands, sends the rest, and commits it.
    Resume { client: u8 },
    /// Garbage is collected, beside the serving.
    Collect,
    /// The registry is stopped, garbage is collected by the offline command, the registry is started.
    CollectOffline,
    /// Old uploads are purged, and what crashes left is removed.
    Purge,
    /// The registry's machine stops in the `calls`-th file-system call from now, and is started again.
    Cut { how: Stop, calls: u16 },
    /// So many hours pass.
    Advance { hours: u16 },
    /// Everybody has so many milliseconds.
    Wait { ms: u16 },
    /// The link to a client misbehaves for so many milliseconds.
    Link { client: u8, fault: LinkFault, ms: u16 },
    /// A client's connection is reset.
    Reset { client: u8 },
    /// The disk misbehaves for so many milliseconds.
    Disk { fault: DiskFault, ms: u16 },
}

impl Step {
    /// The client that carries it out, or whose link it is about.
    pub fn client(&self) -> Option<u8> {
        match *self {
            Self::Push { client, .. }
            | Self::PushIndex { client, .. }
            | Self::Pull { client, .. }
            | Self::Tag { client, .. }
            | Self::DeleteTag { client, .. }
            | Self::DeleteManifest { client, .. }
            | Self::DeleteBlob { client, .. }
            | Self::Begin { client, .. }
            | Self::Resume { client }
            | Self::Link { client, .. }
            | Self::Reset { client } => Some(client),
            _ => None,
        }
    }

    /// Whether a client carries it out.
    pub fn is_client_operation(&self) -> bool {
        self.client().is_some() && !matches!(self, Self::Link { .. } | Self::Reset { .. })
    }
}

/// The name of repository `repo`.
pub fn repo_name(repo: u8) -> String {
    format!("lib/{}", char::from(b'a' + repo % REPOSITORIES))
}

/// The name of tag `tag`.
pub fn tag_name(tag: u8) -> String {
    format!("v{}", tag % TAGS)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = repo_name;
        let t = tag_name;
        match *self {
            Self::Push { client, repo, image, tag, send, from } => {
                write!(f, "client {client}: push image {image} as {}:{}", r(repo), t(tag))?;
                match send {
                    Send::Whole => write!(f, ", blobs whole")?,
                    Send::Session => {}
                    Send::Chunks(bytes) => write!(f, ", in chunks of {bytes} bytes")?,
                }
                from.map_or(Ok(()), |from| write!(f, ", layers mounted from {}", r(from)))
            }
            Self::PushIndex { client, repo, index, tag } => {
                write!(f, "client {client}: push index {index} as {}:{}", r(repo), t(tag))
            }
            Self::Pull { client, repo, tag } => write!(f, "client {client}: pull {}:{}", r(repo), t(tag)),
            Self::Tag { client, repo, image, tag } => {
                write!(f, "client {client}: put the manifest of image {image} as {}:{}", r(repo), t(tag))
            }
            Self::DeleteTag { client, repo, tag } => write!(f, "client {client}: delete tag {}:{}", r(repo), t(tag)),
            Self::DeleteManifest { client, repo, image } => {
                write!(f, "client {client}: delete the manifest of image {image} from {}", r(repo))
            }
            Self::DeleteBlob { client, repo, blob } => {
                write!(f, "client {client}: delete blob {blob} from {}", r(repo))
            }
            Self::Begin { client, repo, blob, bytes } => {
                write!(f, "client {client}: upload {bytes} bytes of blob {blob} to {}, and leave it", r(repo))
            }
            Self::Resume { client } => write!(f, "client {client}: resume the upload"),
            Self::Collect => f.write_str("collect garbage"),
            Self::CollectOffline => f.write_str("stop the registry, collect garbage, start it"),
            Self::Purge => f.write_str("purge uploads and litter"),
            Self::Cut { how: Stop::Power, calls } => write!(f, "the power fails in file-system call {calls} from now"),
            Self::Cut { how: Stop::Process, calls } => {
                write!(f, "the process is killed in file-system call {calls} from now")
            }
            Self::Advance { hours } => write!(f, "{hours} hours pass"),
            Self::Wait { ms } => write!(f, "wait {ms} ms"),
            Self::Link { client, fault, ms } => {
                let what = match fault {
                    LinkFault::Partition => "nothing passes".to_owned(),
                    LinkFault::LoseRequests => "requests are lost".to_owned(),
                    LinkFault::LoseAnswers => "answers are lost".to_owned(),
                    LinkFault::Hold => "everything is held".to_owned(),
                    LinkFault::Latency(by) => format!("everything takes {by} ms"),
                };
                write!(f, "link of client {client}: {what}, for {ms} ms")
            }
            Self::Reset { client } => write!(f, "link of client {client}: the connection is reset"),
            Self::Disk { fault, ms } => {
                let what = match fault {
                    DiskFault::Full => "full".to_owned(),
                    DiskFault::ReadError(n) => format!("one read in {n} fails"),
                    DiskFault::ShortRead(n) => format!("one read in {n} is short"),
                    DiskFault::WriteError(n) => format!("one write in {n} fails"),
                    DiskFault::ShortWrite(n) => format!("one write in {n} is short"),
                    DiskFault::SyncFailure(n) => format!("one sync in {n} fails"),
                    DiskFault::Slow(us) => format!("a call takes {us} microseconds"),
                };
                write!(f, "disk: {what}, for {ms} ms")
            }
        }
    }
}
