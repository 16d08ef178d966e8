//! The mark: what a repository holds, and which of it is dead.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Durable, blob::link_target, fence::Spared};
use crate::env::limits::MAX_MANIFEST_BYTES;
use crate::fs::{ErrorKind, Fs, FsExt};
use crate::oci::{Digest, Manifest, Name, Tag};
use crate::strategy::Result;
use crate::strategy::layout::{blob_data, layer_link, repository_dir, revision_link, tag_current_link};

/// What a collection may remove of one repository.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Dead revisions in rounds: those of a later round may be referenced by those of an earlier one.
    pub(super) dead_revisions: Vec<Vec<DeadRevision>>,
    /// Dead layer links: name and target (the name again where it is torn).
    pub(super) dead_layers: Vec<(Digest, Digest)>,
    /// Entries of tag indexes whose revision is dead or gone.
    pub(super) dead_index: Vec<(Tag, Digest)>,
    /// Content that what stays needs.
    pub(super) needed: BTreeSet<Digest>,
    /// Digests that turned out to be needed after the mark.
    pub(super) keep: BTreeSet<Digest>,
}

/// A revision that nothing leads to.
#[derive(Debug)]
pub(super) struct DeadRevision {
    pub(super) named: Digest,
    pub(super) target: Digest,
    pub(super) references: Vec<Digest>,
}

/// A revision as it was found.
#[derive(Debug)]
struct Revision {
    target: Digest,
    /// What it needs; `None` where that cannot be told.
    references: Option<Vec<Digest>>,
    subject: Option<Digest>,
}

type Revisions = BTreeMap<Digest, Revision>;

/// What the tags of a repository say.
#[derive(Debug, Default)]
struct Tags {
    targets: BTreeSet<Digest>,
    /// Whether there is one that cannot be read.
    torn: bool,
    index: Vec<(Tag, Digest)>,
}

impl<F: Fs> Durable<F> {
    /// Reads a repository. What it sees is settled, above all what it sees gone: links that a half-finished deletion
    /// no longer needs must not go before that deletion is durable.
    pub(super) async fn survey(&self, repo: &Name, spared: Spared<'_>, delete_untagged: bool) -> Result<Survey> {
        let tags = self.survey_tags(repo).await?;
        let revisions = self.survey_revisions(repo).await?;
        let mut layers = Vec::new();
        for named in self.layout.layer_links(repo).await? {
            let link = self.layout.read_link(&layer_link(repo, &named)).await?;
            layers.push((named, link_target(&named, link).unwrap_or(named)));
        }
        self.names.settle_below(&repository_dir(repo)).await?;

        let live = live(&revisions, &tags, spared, delete_untagged);
        let mut survey = Survey::default();
        survey.needed.extend(&tags.targets);
        survey.dead_index.extend(tags.index.into_iter().filter(|(_, named)| !live.contains(named)));
        let mut frozen = false;
        for (named, revision) in revisions.iter().filter(|(named, _)| live.contains(*named)) {
            survey.needed.extend([*named, revision.target]);
            survey.needed.extend(revision.references.iter().flatten());
            frozen |= revision.references.is_none();
        }
        for (named, target) in layers {
            let stays = frozen || [&named, &target].iter().any(|d| survey.needed.contains(d) || spared.link(d));
            if stays {
                survey.needed.extend([named, target]);
            } else {
                survey.dead_layers.push((named, target));
            }
        }
        survey.dead_revisions = in_rounds(revisions.into_iter().filter(|(named, _)| !live.contains(named)).collect());
        Ok(survey)
    }

    async fn survey_tags(&self, repo: &Name) -> Result<Tags> {
        let mut tags = Tags::default();
        for tag in self.tags_of(repo).await? {
            match self.layout.read_link(&tag_current_link(repo, &tag)).await? {
                Some(Ok(target)) => drop(tags.targets.insert(target)),
                Some(Err(_)) => tags.torn = true,
                None => {}
            }
            let index = self.layout.tag_index(repo, &tag).await?;
            tags.index.extend(index.into_iter().map(|named| (tag.clone(), named)));
        }
        Ok(tags)
    }

    async fn survey_revisions(&self, repo: &Name) -> Result<Revisions> {
        let mut revisions = Revisions::new();
        for named in self.layout.revisions(repo).await? {
            let link = self.layout.read_link(&revision_link(repo, &named)).await?;
            let target = link_target(&named, link).unwrap_or(named);
            let manifest = self.survey_manifest(&target).await?;
            let references = manifest.as_ref().map(|manifest| {
                let all = manifest.references().iter().chain(manifest.optional_references());
                all.map(|descriptor| descriptor.digest).collect()
            });
            let subject = manifest.and_then(|manifest| manifest.subject());
            revisions.insert(named, Revision { target, references, subject });
        }
        Ok(revisions)
    }

    /// The manifest under a digest; `None` where it is missing, damaged, or none that we can read.
    async fn survey_manifest(&self, target: &Digest) -> Result<Option<Manifest>> {
        let content = match self.fs.read(&blob_data(target), MAX_MANIFEST_BYTES).await {
            Ok(content) => content,
            Err(e) if matches!(e.kind, ErrorKind::Io | ErrorKind::Denied) => return Err(e.into()),
            Err(_) => return Ok(None),
        };
        let is_whole = Digest::of(target.algorithm(), &content) == *target;
        Ok(Manifest::parse(&content, None).ok().filter(|_| is_whole))
    }
}

/// The names of the revisions that stay.
fn live(revisions: &Revisions, tags: &Tags, spared: Spared<'_>, delete_untagged: bool) -> BTreeSet<Digest> {
    let all = || revisions.keys().copied().collect();
    if !delete_untagged || tags.torn {
        return all();
    }
    // Aliases stay with their manifest, referrers with their subject.
    let mut followers: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    for (named, revision) in revisions {
        for leader in [Some(revision.target), revision.subject].into_iter().flatten() {
            followers.entry(leader).or_default().push(*named);
        }
    }
    let rooted =
        |named: &Digest, target: &Digest| [named, target].iter().any(|d| tags.targets.contains(d) || spared.link(d));
    let roots = revisions.iter().filter(|(named, revision)| rooted(named, &revision.target));
    let mut to_visit: Vec<Digest> = roots.map(|(named, _)| *named).collect();
    let mut live = BTreeSet::new();
    while let Some(named) = to_visit.pop() {
        let Some(revision) = revisions.get(&named) else { continue };
        if !live.insert(named) {
            continue;
        }
        let Some(references) = &revision.references else { return all() };
        to_visit.extend(references);
        to_visit.push(revision.target);
        for leader in [named, revision.target] {
            to_visit.extend(followers.get(&leader).into_iter().flatten());
        }
    }
    live
}

/// Sorts dead revisions so that each comes in a later round than all that reference it.
fn in_rounds(mut dead: Revisions) -> Vec<Vec<DeadRevision>> {
    let mut rounds = Vec::new();
    while !dead.is_empty() {
        let referenced: BTreeSet<Digest> =
            dead.values().flat_map(|revision| revision.references.iter().flatten()).copied().collect();
        let (mut now, mut later): (Revisions, Revisions) = dead
            .into_iter()
            .partition(|(named, revision)| ![named, &revision.target].iter().any(|d| referenced.contains(*d)));
        if now.is_empty() {
            // Only a broken hash could let manifests reference each other in a ring.
            std::mem::swap(&mut now, &mut later);
        }
        let dead_now = now.into_iter().map(|(named, revision)| DeadRevision {
            named,
            target: revision.target,
            references: revision.references.unwrap_or_default(),
        });
        rounds.push(dead_now.collect());
        dead = later;
    }
    rounds
}
