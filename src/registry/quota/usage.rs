//! How much each repository holds: counted from storage, kept in memory, reserved before it grows.
//!
//! Content counts once in a repository, by its sha256 digest. A count is believed only if nothing that it may have
//! missed ended while it was taken; what is under way is reserved all the while. So a count may be too high for a
//! moment (a deletion that it does not know of), and is never too low.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::env::sync::{LockTable, hold};
use crate::fs::{ErrorKind, Fs};
use crate::oci::{Algorithm, Digest, Name};
use crate::registry::{Error, Result};
use crate::strategy::layout::{Layout, blob_data, layer_link, revision_link};

/// How many repositories' counts are kept in memory.
const MAX_COUNTED_REPOS: usize = 1024;

/// The books of all repositories.
pub(super) struct Books<F> {
    layout: Layout<F>,
    /// One lock a repository, held while it is counted.
    locks: LockTable,
    repos: Arc<Mutex<BTreeMap<Name, Usage>>>,
}

/// What a repository holds, and what is on its way.
#[derive(Debug, Default)]
struct Usage {
    /// Lengths in bytes by digest; `None` where they have to be counted.
    held: Option<BTreeMap<Digest, u64>>,
    /// Goes up with everything that a count under way may have missed.
    generation: u64,
    is_counting: bool,
    reserved: Vec<Reserved>,
    next_ticket: u64,
}

/// Content that was admitted and may be linked at any moment.
#[derive(Debug, Clone, Copy)]
struct Reserved {
    ticket: u64,
    digest: Digest,
    len_bytes: u64,
}

impl Usage {
    /// Bytes of `held` and of all that is reserved and `more`, each content once.
    fn bytes(&self, held: &BTreeMap<Digest, u64>, more: Option<(Digest, u64)>) -> u64 {
        let reserved = self.reserved.iter().map(|r| (r.digest, r.len_bytes));
        let mut coming = BTreeMap::<Digest, u64>::new();
        for (digest, len_bytes) in reserved.chain(more).filter(|(digest, _)| !held.contains_key(digest)) {
            let longest = coming.entry(digest).or_default();
            *longest = (*longest).max(len_bytes);
        }
        held.values().chain(coming.values()).fold(0, |sum, len| sum.saturating_add(*len))
    }

    fn forget_count(&mut self) {
        self.generation += 1;
        self.held = None;
    }

    fn release(&mut self, ticket: u64) -> Option<Reserved> {
        let at = self.reserved.iter().position(|r| r.ticket == ticket)?;
        Some(self.reserved.swap_remove(at))
    }
}

/// A reservation. Dropped before it is [settled](Self::settle), it leaves a repository that is counted anew: whether
/// the content was linked is not known.
pub(super) struct Ticket {
    repos: Arc<Mutex<BTreeMap<Name, Usage>>>,
    repo: Name,
    ticket: u64,
}

impl Ticket {
    /// The content is linked.
    pub(super) fn settle(self) {
        let mut repos = hold(&self.repos);
        let Some(usage) = repos.get_mut(&self.repo) else { return };
        let Some(Reserved { digest, len_bytes, .. }) = usage.release(self.ticket) else { return };
        match &mut usage.held {
            // Under another name than the one by which content is counted, it may be held already.
            Some(held) if digest.algorithm() == Algorithm::Sha256 => {
                held.insert(digest, len_bytes);
            }
            _ => usage.forget_count(),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(usage) = hold(&self.repos).get_mut(&self.repo)
            && usage.release(self.ticket).is_some()
        {
            usage.forget_count();
        }
    }
}

impl<F: Fs> Books<F> {
    pub(super) fn new(fs: F) -> Self {
        Self { layout: Layout::new(fs), locks: LockTable::default(), repos: Arc::default() }
    }

    /// Bytes that `repo` holds, with those that are reserved.
    pub(super) async fn used_bytes(&self, repo: &Name) -> Result<u64> {
        self.counted(repo, |usage, held| usage.bytes(held, None)).await
    }

    /// Whether content of this digest and length may come in now; [`Error::Denied`] where it may not.
    pub(super) async fn check(&self, repo: &Name, digest: &Digest, len_bytes: u64, limit_bytes: u64) -> Result<()> {
        let digest = self.canonical(repo, digest).await?;
        self.counted(repo, |usage, held| fits(repo, usage, held, (digest, len_bytes), limit_bytes)).await?
    }

    /// The same, and reserves the room.
    pub(super) async fn reserve(
        &self,
        repo: &Name,
        digest: &Digest,
        len_bytes: u64,
        limit_bytes: u64,
    ) -> Result<Ticket> {
        let digest = self.canonical(repo, digest).await?;
        let reserve = |usage: &mut Usage, held: &BTreeMap<_, _>| {
            fits(repo, usage, held, (digest, len_bytes), limit_bytes)?;
            let ticket = usage.next_ticket;
            usage.next_ticket += 1;
            usage.reserved.push(Reserved { ticket, digest, len_bytes });
            Ok(Ticket { repos: Arc::clone(&self.repos), repo: repo.clone(), ticket })
        };
        self.counted(repo, reserve).await?
    }

    /// Something was taken out of `repo`.
    pub(super) fn forget_count(&self, repo: &Name) {
        if let Some(usage) = hold(&self.repos).get_mut(repo) {
            usage.forget_count();
        }
    }

    /// Something may have been taken out of any repository.
    pub(super) fn forget_counts(&self) {
        hold(&self.repos).values_mut().for_each(Usage::forget_count);
    }

    /// Runs `with` on a repository whose content is known.
    async fn counted<T>(&self, repo: &Name, with: impl Fn(&mut Usage, &BTreeMap<Digest, u64>) -> T) -> Result<T> {
        let _lock = self.locks.lock(repo.as_str()).await;
        loop {
            let generation = {
                let mut repos = hold(&self.repos);
                if repos.len() >= MAX_COUNTED_REPOS && !repos.contains_key(repo) {
                    repos.retain(|_, usage| usage.is_counting || !usage.reserved.is_empty());
                }
                let usage = repos.entry(repo.clone()).or_default();
                if let Some(held) = usage.held.take() {
                    let result = with(usage, &held);
                    usage.held = Some(held);
                    return Ok(result);
                }
                usage.is_counting = true;
                usage.generation
            };
            let count = self.count(repo).await;
            let mut repos = hold(&self.repos);
            let usage = repos.entry(repo.clone()).or_default();
            usage.is_counting = false;
            let count = count?;
            if usage.generation == generation {
                usage.held = Some(count);
            }
        }
    }

    /// What the links of a repository lead to. One that leads nowhere holds nothing.
    async fn count(&self, repo: &Name) -> Result<BTreeMap<Digest, u64>> {
        let mut held = BTreeMap::new();
        let layers = self.layout.layer_links(repo).await?;
        let revisions = self.layout.revisions(repo).await?;
        let links = layers.iter().map(|d| layer_link(repo, d)).chain(revisions.iter().map(|d| revision_link(repo, d)));
        for link in links {
            let Some(Ok(target)) = self.layout.read_link(&link).await? else { continue };
            match self.layout.fs().metadata(&blob_data(&target)).await {
                Ok(found) => {
                    held.insert(target, found.len);
                }
                Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(held)
    }

    /// The digest by which content is counted, as far as the repository knows it.
    async fn canonical(&self, repo: &Name, digest: &Digest) -> Result<Digest> {
        if digest.algorithm() == Algorithm::Sha256 {
            return Ok(*digest);
        }
        for link in [layer_link(repo, digest), revision_link(repo, digest)] {
            if let Some(Ok(target)) = self.layout.read_link(&link).await? {
                return Ok(target);
            }
        }
        Ok(*digest)
    }
}

/// That there is room for `more`, or that it needs none.
fn fits(repo: &Name, usage: &Usage, held: &BTreeMap<Digest, u64>, more: (Digest, u64), limit_bytes: u64) -> Result<()> {
    let (before, after) = (usage.bytes(held, None), usage.bytes(held, Some(more)));
    if after > limit_bytes && after > before { Err(denied(repo, limit_bytes, before, after - before)) } else { Ok(()) }
}

pub(super) fn denied(repo: &Name, limit_bytes: u64, used_bytes: u64, needed_bytes: u64) -> Error {
    Error::Denied(format!(
        "repository {repo} may hold {limit_bytes} bytes; it holds {used_bytes}, and {needed_bytes} more are needed"
    ))
}
