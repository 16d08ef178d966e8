//! The reference model: what a crash may have left of what clients asked for.
//!
//! It has three values. An operation that was answered before the crash **must** have happened, one that was under
//! way **may** have, and what was deleted with an answer **must not** be there. What was never begun is not spoken
//! of. The rules:
//!
//! * A blob's (or a mount's) 201 obliges until a collection that started after it, or a deletion of the blob.
//! * A manifest's 201 binds the manifest and everything that it references, collections or not, until its deletion.
//! * Deleting a manifest also ends the tags that point at it.
//! * A tag may have each value that some order of the operations gives it, in which an operation that was answered
//!   before another began comes before it, and those under way take part or not.
//! * A tag that somebody was shown cannot become one that it was before.
//! * An unfinished upload promises only that the offset that it reports is true.
//!
//! Operations may overlap: all rules are about when an operation began and when it was answered. The model stores
//! nothing and reads nothing; the judges in this directory compare it with what a registry says.

use std::collections::{BTreeMap, BTreeSet};

use super::register::{self, Access, Moment};
use crate::oci::{Digest, Name, Tag};

/// What one operation changes, as far as the rules care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A blob is committed to, or mounted into, a repository.
    PutBlob {
        /// Where.
        repo: Name,
        /// The blob.
        digest: Digest,
        /// The upload session that it comes from, which ends with it.
        upload: Option<u32>,
    },
    /// A manifest is put, by its digest or by a tag.
    PutManifest {
        /// Where.
        repo: Name,
        /// The manifest.
        digest: Digest,
        /// The blobs that it references. (Manifests that an index lists were put on their own, and do not expire.)
        blobs: Vec<Digest>,
        /// The tag that it gets.
        tag: Option<Tag>,
    },
    /// A blob is taken out of a repository.
    DeleteBlob(Name, Digest),
    /// A manifest is deleted, and the tags that point at it.
    DeleteManifest(Name, Digest),
    /// A tag is deleted; its manifest stays.
    DeleteTag(Name, Tag),
    /// Garbage is collected.
    Collect,
    /// An upload session is opened; the number names it for this history.
    StartUpload(u32),
    /// A tag is resolved, and that is the answer: the manifest that it points at, or that there is no such tag.
    ReadTag(Name, Tag, Option<Digest>),
}

/// A point in a history: an operation begins, or is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The operation with this index begins.
    Begin(usize),
    /// The operation with this index is answered with success.
    End(usize),
    /// The operation with this index was not answered, and whoever would carry it out is gone: it has happened before
    /// this point, or never will.
    Lost(usize),
}

/// What must be true of a blob or a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expect {
    /// It was acknowledged: it is there.
    Must,
    /// It may be there, whole, or not.
    May,
    /// Its deletion was acknowledged: it is not there.
    MustNot,
}

/// What must be true of a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagExpect {
    /// The manifests that it may point at; `None` is "no such tag".
    pub allowed: BTreeSet<Option<Digest>>,
    /// It had an acknowledged value, and an operation that gives it one is under way.
    pub moving: bool,
}

/// An event, when it began and when (if ever) it was answered or lost, as positions among the marks.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    event: &'a Event,
    begin: usize,
    end: Option<usize>,
    lost: Option<usize>,
}

impl Span<'_> {
    /// Over before `other` began.
    fn precedes(&self, other: &Self) -> bool {
        self.end.or(self.lost).is_some_and(|over| over < other.begin)
    }
}

/// The expectations after a prefix of a history.
#[derive(Debug, Clone)]
pub struct Oracle<'a> {
    spans: Vec<Span<'a>>,
}

impl<'a> Oracle<'a> {
    /// The model after `marks`, in the order in which they were passed. `events[i]` is what operation `i` does;
    /// marks of operations that are `None` or out of range change nothing.
    pub fn new(events: &'a [Option<Event>], marks: &[Mark]) -> Self {
        let mut spans = BTreeMap::new();
        for (at, mark) in marks.iter().enumerate() {
            match mark {
                Mark::Begin(op) => {
                    if let Some(Some(event)) = events.get(*op) {
                        spans.insert(*op, Span { event, begin: at, end: None, lost: None });
                    }
                }
                Mark::End(op) => {
                    if let Some(span) = spans.get_mut(op) {
                        span.end = Some(at);
                    }
                }
                Mark::Lost(op) => {
                    if let Some(span) = spans.get_mut(op) {
                        span.lost = Some(at);
                    }
                }
            }
        }
        Self { spans: spans.into_values().collect() }
    }

    /// Every blob that an operation put, or a manifest binds, with what must be true of it.
    pub fn blobs(&self) -> BTreeMap<(Name, Digest), Expect> {
        let mut keys = BTreeSet::new();
        for span in &self.spans {
            match span.event {
                Event::PutBlob { repo, digest, .. } => drop(keys.insert((repo.clone(), *digest))),
                Event::PutManifest { repo, blobs, .. } if span.end.is_some() => {
                    keys.extend(blobs.iter().map(|b| (repo.clone(), *b)));
                }
                _ => {}
            }
        }
        let bound = self.bound();
        keys.into_iter()
            .map(|key| {
                let expect = self.blob(&key.0, &key.1, bound.contains(&key));
                (key, expect)
            })
            .collect()
    }

    fn blob(&self, repo: &Name, digest: &Digest, bound: bool) -> Expect {
        let puts = self.select(|e| matches!(e, Event::PutBlob { repo: r, digest: d, .. } if r == repo && d == digest));
        let deletes = self.select(|e| matches!(e, Event::DeleteBlob(r, d) if r == repo && d == digest));
        match presence(&puts, &deletes) {
            Expect::Must => {}
            // A manifest binds blobs that nothing in this history put, too.
            Expect::May if bound && deletes.is_empty() => return Expect::Must,
            other => return other,
        }
        let collections = self.select(|e| matches!(e, Event::Collect));
        let obliges = |put: &Span<'_>| put.end.is_some() && !collections.iter().any(|c| put.precedes(c));
        if bound || puts.iter().any(obliges) { Expect::Must } else { Expect::May }
    }

    /// The blobs that acknowledged manifests bind.
    fn bound(&self) -> BTreeSet<(Name, Digest)> {
        let manifests = self.manifests();
        let binding = self.spans.iter().filter_map(|s| match s.event {
            Event::PutManifest { repo, digest, blobs, .. } => Some((repo, digest, blobs)),
            _ => None,
        });
        binding
            .filter(|(repo, digest, _)| manifests.get(&((*repo).clone(), **digest)) == Some(&Expect::Must))
            .flat_map(|(repo, _, blobs)| blobs.iter().map(|b| (repo.clone(), *b)))
            .collect()
    }

    /// Every manifest that an operation put, with what must be true of it.
    pub fn manifests(&self) -> BTreeMap<(Name, Digest), Expect> {
        let mut keys = BTreeSet::new();
        for span in &self.spans {
            if let Event::PutManifest { repo, digest, .. } = span.event {
                keys.insert((repo.clone(), *digest));
            }
        }
        keys.into_iter()
            .map(|(repo, digest)| {
                let puts = self.select(
                    |e| matches!(e, Event::PutManifest { repo: r, digest: d, .. } if *r == repo && *d == digest),
                );
                let deletes = self.select(|e| matches!(e, Event::DeleteManifest(r, d) if *r == repo && *d == digest));
                let expect = presence(&puts, &deletes);
                ((repo, digest), expect)
            })
            .collect()
    }

    /// Every tag that an operation set, with what must be true of it. A tag on which too many operations overlapped to
    /// be decided is left out. One that may have no value at all was answered in ways that no order explains.
    pub fn tags(&self) -> BTreeMap<(Name, Tag), TagExpect> {
        let mut keys = BTreeSet::new();
        for span in &self.spans {
            if let Event::PutManifest { repo, tag: Some(tag), .. } = span.event {
                keys.insert((repo.clone(), tag.clone()));
            }
        }
        let decided = |(repo, tag): (Name, Tag)| self.tag(&repo, &tag).map(|expect| ((repo, tag), expect));
        keys.into_iter().filter_map(decided).collect()
    }

    fn tag(&self, repo: &Name, tag: &Tag) -> Option<TagExpect> {
        let access = |span: &Span<'_>| match span.event {
            Event::PutManifest { repo: r, digest, tag: Some(t), .. } if r == repo && t == tag => {
                Some(Access::Set(*digest))
            }
            Event::DeleteTag(r, t) if r == repo && t == tag => Some(Access::Clear),
            Event::DeleteManifest(r, d) if r == repo => Some(Access::ClearIf(*d)),
            Event::ReadTag(r, t, seen) if r == repo && t == tag => Some(Access::Read(*seen)),
            _ => None,
        };
        let mut accesses = Vec::new();
        let mut moments = BTreeMap::new();
        let mut setting = false;
        for span in &self.spans {
            let Some(access) = access(span) else { continue };
            let op = accesses.len();
            moments.insert(span.begin, Moment::Begin(op));
            match (span.end, span.lost) {
                (Some(end), _) => drop(moments.insert(end, Moment::End(op))),
                (None, Some(lost)) => drop(moments.insert(lost, Moment::Lost(op))),
                (None, None) => setting |= matches!(access, Access::Set(_)),
            }
            accesses.push(access);
        }
        let moments: Vec<Moment> = moments.into_values().collect();
        let allowed = register::values(&accesses, &moments)?;
        Some(TagExpect { moving: setting && !allowed.contains(&None), allowed })
    }

    /// The blobs that somebody asked to take out of a repository, answered or not.
    pub fn deleted_blobs(&self) -> BTreeSet<(Name, Digest)> {
        let deleted = self.spans.iter().filter_map(|s| match s.event {
            Event::DeleteBlob(repo, digest) => Some((repo.clone(), *digest)),
            _ => None,
        });
        deleted.collect()
    }

    /// The manifests that somebody asked to delete, answered or not.
    pub fn deleted_manifests(&self) -> BTreeSet<(Name, Digest)> {
        let deleted = self.spans.iter().filter_map(|s| match s.event {
            Event::DeleteManifest(repo, digest) => Some((repo.clone(), *digest)),
            _ => None,
        });
        deleted.collect()
    }

    /// The upload sessions whose opening was answered and whose end was not.
    pub fn unfinished_uploads(&self) -> BTreeSet<u32> {
        let mut open = BTreeSet::new();
        for span in self.spans.iter().filter(|s| s.end.is_some()) {
            match span.event {
                Event::StartUpload(upload) => drop(open.insert(*upload)),
                Event::PutBlob { upload: Some(upload), .. } => drop(open.remove(upload)),
                _ => {}
            }
        }
        open
    }

    fn select(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Span<'a>> {
        self.spans.iter().filter(|s| wanted(s.event)).copied().collect()
    }
}

/// Whether a thing that `puts` make and `deletes` unmake is there.
fn presence(puts: &[Span<'_>], deletes: &[Span<'_>]) -> Expect {
    let gone = deletes.iter().any(|d| d.end.is_some() && puts.iter().all(|p| p.precedes(d)));
    if gone {
        return Expect::MustNot;
    }
    let certain = |p: &Span<'_>| p.end.is_some() && deletes.iter().all(|d| d.precedes(p));
    if puts.iter().any(certain) { Expect::Must } else { Expect::May }
}

#[cfg(test)]
mod tests;
