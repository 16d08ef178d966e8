//! A schedule: what exists, who does what, and which choices are taken; a file that can be kept and run again.
//!
//! A schedule is complete: with the same version of pullplug it gives the same run on every machine, byte for byte.
//! Choices come from named streams of the seed, or, once a finding was shrunk, from recorded lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::step::{REPOSITORIES, Step, TAGS};
use crate::check::contents::{Content, Contents, Kind};
use crate::disk::model;
use crate::env::choice::{Chooser, Recorded, Seeded};
use crate::oci::manifest::{OCI_INDEX, OCI_MANIFEST};
use crate::oci::{Algorithm, Digest};
use crate::strategy;

/// Version of the file; one of another version is refused.
pub const SCHEDULE_VERSION: u64 = 1;
/// Most clients of a world.
pub const MAX_CLIENTS: u8 = 8;
/// Most bytes of a blob in a schedule.
pub const MAX_BLOB_BYTES: u32 = 1 << 20;
/// Most blobs, images or indexes of a schedule.
const MAX_CATALOGUE: usize = 64;
/// Most steps of a schedule.
pub const MAX_STEPS: u32 = 10_000;

/// What there is to push.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The length of each blob in bytes. Its bytes are noise of its own.
    pub blobs: Vec<u32>,
    /// The layers of each image: blobs, that images may share. Each has a config of its own.
    pub images: Vec<Vec<u8>>,
    /// The images of each index.
    pub indexes: Vec<Vec<u8>>,
}

/// Choices that were recorded; past their end the plainest is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Which task goes on.
    pub tasks: Vec<u32>,
    /// What a crash takes.
    pub losses: Vec<u32>,
    /// Which faults of the disk fire.
    pub faults: Vec<u32>,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// [`SCHEDULE_VERSION`].
    pub version: u64,
    /// The strategy.
    pub strategy: String,
    /// The persistence model.
    pub model: String,
    /// The seed of all streams, in decimal.
    pub seed: String,
    /// How many clients there are.
    pub clients: u8,
    /// What there is to push.
    pub catalogue: Catalogue,
    /// What happens.
    pub steps: Vec<Step>,
    /// The choices, if they were recorded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub choices: Option<Choices>,
    /// The invariant that it breaks, if it was kept for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub breaks: Option<String>,
}

/// Why a schedule cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It is no schedule.
    #[error("it is no schedule of pullplug: {0}")]
    Malformed(String),
    /// It is of another version.
    #[error("it has version {found}, and this pullplug reads version {SCHEDULE_VERSION}; use the one that wrote it")]
    Version {
        /// The version that it has.
        found: u64,
    },
    /// It names something that it does not have.
    #[error("{place} names {what} {index}, but there are only {known} (0 to {last})", last = known.saturating_sub(1))]
    Unknown {
        /// Where.
        place: String,
        /// What kind of thing.
        what: &'static str,
        /// Which.
        index: usize,
        /// How many there are.
        known: usize,
    },
    /// A word or number in it is not acceptable.
    #[error("{0}")]
    Invalid(String),
}

impl Schedule {
    /// The seed as a number.
    pub fn seed(&self) -> Result<u64, ScheduleError> {
        self.seed.parse().map_err(|_| ScheduleError::Invalid(format!("its seed {:?} is no number", self.seed)))
    }

    /// The schedule in this file, checked.
    pub fn parse(text: &[u8]) -> Result<Self, ScheduleError> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let malformed = |e: serde_json::Error| ScheduleError::Malformed(e.to_string());
        let Version { version: found } = serde_json::from_slice(text).map_err(malformed)?;
        if found != SCHEDULE_VERSION {
            return Err(ScheduleError::Version { found });
        }
        let schedule: Self = serde_json::from_slice(text).map_err(malformed)?;
        schedule.check()?;
        Ok(schedule)
    }

    /// The file, with a newline at its end.
    pub fn to_json(&self) -> String {
        // Plain data in memory cannot fail to be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Checks that everything that it names exists, and that nothing is larger than it may be.
    pub fn check(&self) -> Result<(), ScheduleError> {
        let invalid = |text: String| Err(ScheduleError::Invalid(text));
        self.seed()?;
        if !strategy::NAMES.contains(&self.strategy.as_str()) {
            return invalid(format!("there is no strategy {:?}", self.strategy));
        }
        if model::named(&self.model).is_none() {
            return invalid(format!("there is no model {:?}", self.model));
        }
        if self.clients == 0 || self.clients > MAX_CLIENTS {
            return invalid(format!("it has {} clients; 1 to {MAX_CLIENTS} are possible", self.clients));
        }
        let Catalogue { blobs, images, indexes } = &self.catalogue;
        if [blobs.len(), images.len(), indexes.len()].iter().any(|n| *n > MAX_CATALOGUE) {
            return invalid(format!("it has more than {MAX_CATALOGUE} blobs, images or indexes"));
        }
        if let Some(large) = blobs.iter().find(|b| **b > MAX_BLOB_BYTES) {
            return invalid(format!("a blob has {large} bytes; at most {MAX_BLOB_BYTES} are possible"));
        }
        for (lists, what, known) in [(images, "blob", blobs.len()), (indexes, "image", images.len())] {
            let holder = if what == "blob" { "image" } else { "index" };
            for (i, list) in lists.iter().enumerate() {
                for index in list {
                    within(format!("{holder} {i}"), what, *index, known)?;
                }
            }
        }
        if self.steps.len() > MAX_STEPS as usize {
            return invalid(format!("it has {} steps; at most {MAX_STEPS} are possible", self.steps.len()));
        }
        self.steps.iter().enumerate().try_for_each(|(i, step)| self.check_step(i, step))
    }

    fn check_step(&self, at: usize, step: &Step) -> Result<(), ScheduleError> {
        let place = || format!("step {}", at + 1);
        let known = |what, index, known| within(place(), what, index, known);
        if let Some(client) = step.client() {
            known("client", client, usize::from(self.clients))?;
        }
        let Catalogue { blobs, images, indexes } = &self.catalogue;
        let (repos, tags) = (usize::from(REPOSITORIES), usize::from(TAGS));
        match *step {
            Step::Push { repo, image, tag, from, .. } => {
                known("image", image, images.len())?;
                known("repository", from.unwrap_or(0), repos)?;
                known("repository", repo, repos).and(known("tag", tag, tags))
            }
            Step::PushIndex { repo, index, tag, .. } => {
                known("index", index, indexes.len())?;
                known("repository", repo, repos).and(known("tag", tag, tags))
            }
            Step::Pull { repo, tag, .. } | Step::DeleteTag { repo, tag, .. } => {
                known("repository", repo, repos).and(known("tag", tag, tags))
            }
            Step::Tag { repo, image, tag, .. } => {
                known("image", image, images.len())?;
                known("repository", repo, repos).and(known("tag", tag, tags))
            }
            Step::DeleteManifest { repo, image, .. } => {
                known("image", image, images.len()).and(known("repository", repo, repos))
            }
            Step::DeleteBlob { repo, blob, .. } | Step::Begin { repo, blob, .. } => {
                known("blob", blob, blobs.len()).and(known("repository", repo, repos))
            }
            _ => Ok(()),
        }
    }

    /// A chooser for one kind of decision.
    pub fn chooser(&self, kind: &str) -> Box<dyn Chooser> {
        match &self.choices {
            None => Box::new(Seeded::stream(self.seed().unwrap_or_default(), kind)),
            Some(choices) => Box::new(Recorded::new(match kind {
                "tasks" => choices.tasks.clone(),
                "losses" => choices.losses.clone(),
                _ => choices.faults.clone(),
            })),
        }
    }
}

fn within(place: String, what: &'static str, index: u8, known: usize) -> Result<(), ScheduleError> {
    let index = usize::from(index);
    if index < known { Ok(()) } else { Err(ScheduleError::Unknown { place, what, index, known }) }
}

/// The catalogue, made: bytes and digests.
#[derive(Debug, Clone, Default)]
pub struct Goods {
    /// All bytes.
    pub contents: Contents,
    /// The blobs.
    pub blobs: Vec<Digest>,
    /// Each image: what it needs, the config last, and its manifest.
    pub images: Vec<(Vec<Digest>, Digest)>,
    /// Each index: its images, and its manifest.
    pub indexes: Vec<(Vec<u8>, Digest)>,
}

impl Goods {
    /// Makes what `catalogue` lists. The bytes depend on nothing else, so that shrinking a schedule keeps them.
    pub fn new(catalogue: &Catalogue) -> Self {
        let mut goods = Self::default();
        for (i, len) in catalogue.blobs.iter().enumerate() {
            let mut bytes = vec![0; *len as usize];
            Seeded::stream(i as u64, "blob").fill(&mut bytes);
            let digest = goods.add(bytes, Kind::Blob);
            goods.blobs.push(digest);
        }
        for (i, layers) in catalogue.images.iter().enumerate() {
            let mut blobs: Vec<Digest> = layers.iter().map(|l| goods.blobs[usize::from(*l)]).collect();
            let text = format!(r#"{{"author":"image {i}","architecture":"amd64","os":"linux"}}"#);
            blobs.push(goods.add(text.into_bytes(), Kind::Blob));
            let listed = |kind: &str, d: &Digest| {
                let media_type = format!("application/vnd.oci.image.{kind}");
                goods.descriptor(d, &media_type)
            };
            let config = blobs.last().map(|d| listed("config.v1+json", d)).unwrap_or_default();
            let layers: Vec<String> = blobs[..blobs.len() - 1].iter().map(|d| listed("layer.v1.tar", d)).collect();
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
                layers.join(",")
            );
            let kind =
                Kind::Manifest { media_type: OCI_MANIFEST.to_owned(), blobs: blobs.clone(), manifests: Vec::new() };
            let manifest = goods.add(text.into_bytes(), kind);
            goods.images.push((blobs, manifest));
        }
        for images in &catalogue.indexes {
            let manifests: Vec<Digest> = images.iter().map(|i| goods.images[usize::from(*i)].1).collect();
            let listed: Vec<String> = manifests.iter().map(|d| goods.descriptor(d, OCI_MANIFEST)).collect();
            let text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, listed.join(","));
            let kind = Kind::Manifest { media_type: OCI_INDEX.to_owned(), blobs: Vec::new(), manifests };
            let index = goods.add(text.into_bytes(), kind);
            goods.indexes.push((images.clone(), index));
        }
        goods
    }

    fn add(&mut self, bytes: Vec<u8>, kind: Kind) -> Digest {
        self.contents.insert(Algorithm::Sha256, Content { bytes: bytes.into(), kind })
    }

    fn descriptor(&self, digest: &Digest, media_type: &str) -> String {
        let len = self.contents.get(digest).map_or(0, |c| c.bytes.len());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{len}}}"#)
    }

    /// What each digest is called in a timeline.
    pub fn names(&self) -> BTreeMap<String, String> {
        let blobs = self.blobs.iter().enumerate().map(|(i, d)| (d.hex(), format!("BLOB-{i}")));
        let images = self.images.iter().enumerate().flat_map(|(i, (blobs, manifest))| {
            let config = blobs.last().map(|d| (d.hex(), format!("CONFIG-{i}")));
            config.into_iter().chain([(manifest.hex(), format!("IMAGE-{i}"))])
        });
        let indexes = self.indexes.iter().enumerate().map(|(i, (_, d))| (d.hex(), format!("INDEX-{i}")));
        blobs.chain(images).chain(indexes).collect()
    }
}
