//! Schedules out of a seed: a swarm of mixes, and proptest strategies that follow one.
//!
//! Every run draws its own mix ([`Swarm`]): which operations there are and how often, which faults, how large blobs are.
//! Runs that do few things often find what runs that do everything a little never do. The strategies put the plainest
//! variant first, so that proptest shrinks towards it, and are biased towards what breaks storage: layers that images
//! share, tags that are used again, sizes around nothing, a sector and a block, deletions right after pushes,
//! collections beside pushes, a second crash right after the first.

use std::fmt;

use proptest::prelude::*;
use proptest::strategy::{Union, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::schedule::{Catalogue, SCHEDULE_VERSION, Schedule};
use super::step::{DiskFault, LinkFault, REPOSITORIES, Send, Step, Stop, TAGS};
use crate::env::choice::{Chooser, Seeded};

/// How many images a schedule has.
const IMAGES: u8 = 4;
/// How many blobs they share.
const BLOBS: u8 = 5;
/// How many indexes there are.
const INDEXES: u8 = 2;

/// What a campaign asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The strategy.
    pub strategy: String,
    /// The model.
    pub model: String,
    /// How many clients.
    pub clients: u8,
    /// How many steps, about.
    pub steps: usize,
}

/// The mix of one run; a weight of 0 is "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swarm {
    pushes: u32,
    pulls: u32,
    deletes: u32,
    uploads: u32,
    collections: u32,
    crashes: u32,
    link_faults: u32,
    disk_faults: u32,
    days: u32,
    /// Only the power fails; else the process is killed as well.
    power_only: bool,
    /// Largest blob in bytes.
    max_blob_bytes: u32,
    /// How many repositories are used.
    repositories: u8,
    /// How many tags are used.
    tags: u8,
}

impl Swarm {
    /// The mix of the run `seed`.
    pub fn of(seed: u64) -> Self {
        let mut chooser = Seeded::stream(seed, "swarm");
        let mut of = |weights: &[u32]| weights[chooser.choose(weights.len())];
        Self {
            pushes: of(&[4, 8, 12]),
            pulls: of(&[1, 3, 6]),
            deletes: of(&[0, 1, 4]),
            uploads: of(&[0, 1, 3]),
            collections: of(&[0, 1, 3]),
            crashes: of(&[1, 1, 2]),
            link_faults: of(&[0, 0, 1, 3]),
            disk_faults: of(&[0, 0, 1, 2]),
            days: of(&[0, 1]),
            power_only: of(&[0, 1]) == 1,
            max_blob_bytes: of(&[600, 5_000, 20_000]),
            repositories: of(&[1, 2, u32::from(REPOSITORIES)]) as u8,
            tags: of(&[1, 2, u32::from(TAGS)]) as u8,
        }
    }

    /// A mix that is about collections and nothing else that breaks.
    pub fn collections() -> Self {
        Self {
            pushes: 6,
            pulls: 1,
            deletes: 2,
            uploads: 0,
            collections: 6,
            crashes: 0,
            link_faults: 0,
            disk_faults: 0,
            days: 0,
            power_only: true,
            max_blob_bytes: 600,
            repositories: 1,
            tags: 2,
        }
    }

    /// This mix, but nothing is collected.
    pub fn without_collections(self) -> Self {
        Self { collections: 0, ..self }
    }
}

impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pushes {}, pulls {}, deletes {}, uploads {}, collections {}, crashes {} ({}), link faults {}, disk faults \
             {}, days {}, blobs up to {} bytes, {} repositories, {} tags",
            self.pushes,
            self.pulls,
            self.deletes,
            self.uploads,
            self.collections,
            self.crashes,
            if self.power_only { "power" } else { "power and process" },
            self.link_faults,
            self.disk_faults,
            self.days,
            self.max_blob_bytes,
            self.repositories,
            self.tags
        )
    }
}

/// The schedule of the run `seed`.
pub fn generate(seed: u64, wanted: &Wanted) -> Schedule {
    generate_with(Swarm::of(seed), seed, wanted)
}

/// The schedule of the run `seed` with a mix of one's own.
pub fn generate_with(swarm: Swarm, seed: u64, wanted: &Wanted) -> Schedule {
    let mut bytes = [0; 32];
    Seeded::stream(seed, "schedule").fill(&mut bytes);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = schedules(swarm, seed, wanted.clone(), wanted.steps);
    // Nothing in the strategies filters, so there is nothing that could be rejected; an empty schedule would be seen.
    strategy.new_tree(&mut runner).map_or_else(|_| empty(seed, wanted), |tree| tree.current())
}

fn empty(seed: u64, wanted: &Wanted) -> Schedule {
    Schedule {
        version: SCHEDULE_VERSION,
        strategy: wanted.strategy.clone(),
        model: wanted.model.clone(),
        seed: seed.to_string(),
        clients: wanted.clients,
        catalogue: Catalogue::default(),
        steps: Vec::new(),
        choices: None,
        breaks: None,
    }
}

/// Schedules of a mix, of at least so many groups of steps.
pub fn schedules(swarm: Swarm, seed: u64, wanted: Wanted, least: usize) -> impl Strategy<Value = Schedule> {
    let most = wanted.steps.max(1);
    let groups = prop::collection::vec(group(&swarm, wanted.clients), least.clamp(1, most)..=most);
    (catalogue(swarm.max_blob_bytes), groups).prop_map(move |(catalogue, groups)| {
        let mut steps: Vec<Step> = groups.into_iter().flatten().collect();
        steps.truncate(wanted.steps);
        Schedule { catalogue, steps, ..empty(seed, &wanted) }
    })
}

fn catalogue(max_blob_bytes: u32) -> impl Strategy<Value = Catalogue> {
    let len = prop_oneof![
        2 => 1..64u32,
        1 => Just(0u32),
        2 => 511..=513u32,
        2 => 4095..=4097u32,
        2 => 0..=max_blob_bytes,
    ]
    .prop_map(move |len| len.min(max_blob_bytes));
    let blobs = prop::collection::vec(len, usize::from(BLOBS));
    let images = prop::collection::vec(prop::collection::vec(0..BLOBS, 0..3), usize::from(IMAGES));
    let indexes = prop::collection::vec(prop::collection::vec(0..IMAGES, 1..3), usize::from(INDEXES));
    (blobs, images, indexes).prop_map(|(blobs, images, indexes)| Catalogue { blobs, images, indexes })
}

fn one(step: impl Strategy<Value = Step> + 'static) -> BoxedStrategy<Vec<Step>> {
    step.prop_map(|step| vec![step]).boxed()
}

/// A few steps that belong together.
fn group(swarm: &Swarm, clients: u8) -> BoxedStrategy<Vec<Step>> {
    let (client, repo, tag) = (0..clients, 0..swarm.repositories, 0..swarm.tags);
    let at = (client.clone(), repo.clone(), tag.clone());
    let push = push(swarm, clients);
    let cut = cut(swarm.power_only);
    let all: Vec<(u32, BoxedStrategy<Vec<Step>>)> = vec![
        (swarm.pushes * 2, one(push.clone())),
        (swarm.pulls, one(at.clone().prop_map(|(client, repo, tag)| Step::Pull { client, repo, tag }))),
        (
            swarm.pushes / 4,
            one((at.clone(), 0..IMAGES).prop_map(|((client, repo, tag), image)| Step::Tag {
                client,
                repo,
                image,
                tag,
            })),
        ),
        (
            swarm.pushes / 4,
            one((at.clone(), 0..INDEXES).prop_map(|((client, repo, tag), index)| Step::PushIndex {
                client,
                repo,
                index,
                tag,
            })),
        ),
        (swarm.deletes, one(delete(swarm, clients))),
        (swarm.deletes, pushed_and_deleted(&push)),
        (swarm.uploads, uploads(client.clone(), repo)),
        (swarm.collections, one(Just(Step::Collect))),
        (swarm.collections / 2, one(Just(Step::CollectOffline))),
        (
            swarm.collections,
            (push.clone(), ms()).prop_map(|(push, ms)| vec![Step::Collect, Step::Wait { ms }, push]).boxed(),
        ),
        (swarm.crashes, (cut.clone(), push).prop_map(|(cut, push)| vec![cut, push]).boxed()),
        (swarm.crashes.div_ceil(2), one(cut.clone())),
        (swarm.crashes / 2, (cut.clone(), cut).prop_map(|(first, second)| vec![first, second]).boxed()),
        (
            swarm.link_faults,
            one((client.clone(), link_fault(), ms()).prop_map(|(client, fault, ms)| Step::Link { client, fault, ms })),
        ),
        (swarm.link_faults, one(client.prop_map(|client| Step::Reset { client }))),
        (swarm.link_faults, broken_upload(swarm, clients)),
        (swarm.disk_faults, one((disk_fault(), ms()).prop_map(|(fault, ms)| Step::Disk { fault, ms }))),
        (swarm.days, one((1..200u16).prop_map(|hours| Step::Advance { hours }))),
        (swarm.days, one(Just(Step::Purge))),
        (1, one(ms().prop_map(|ms| Step::Wait { ms }))),
    ];
    Union::new_weighted(all.into_iter().filter(|(weight, _)| *weight > 0).collect()).boxed()
}

fn push(swarm: &Swarm, clients: u8) -> BoxedStrategy<Step> {
    let send = prop_oneof![
        3 => Just(Send::Session),
        2 => Just(Send::Whole),
        2 => prop_oneof![Just(1024u32), 100..5000u32].prop_map(Send::Chunks),
    ];
    let from = prop_oneof![3 => Just(None), 1 => (0..swarm.repositories).prop_map(Some)];
    (0..clients, 0..swarm.repositories, 0..IMAGES, 0..swarm.tags, send, from)
        .prop_map(|(client, repo, image, tag, send, from)| Step::Push { client, repo, image, tag, send, from })
        .boxed()
}

fn delete(swarm: &Swarm, clients: u8) -> BoxedStrategy<Step> {
    let at = (0..clients, 0..swarm.repositories);
    prop_oneof![
        3 => (at.clone(), 0..swarm.tags).prop_map(|((client, repo), tag)| Step::DeleteTag { client, repo, tag }),
        3 => (at.clone(), 0..IMAGES).prop_map(|((client, repo), image)| Step::DeleteManifest { client, repo, image }),
        1 => (at, 0..BLOBS).prop_map(|((client, repo), blob)| Step::DeleteBlob { client, repo, blob }),
    ]
    .boxed()
}

/// A client pushes, looks, deletes what it pushed or something in it, and looks or pushes again; the power may fail
/// meanwhile.
fn pushed_and_deleted(push: &BoxedStrategy<Step>) -> BoxedStrategy<Vec<Step>> {
    (push.clone(), 0..3u8, 0..BLOBS, prop::option::weighted(0.3, cut(true)), any::<bool>())
        .prop_map(|(push, what, blob, cut, again)| {
            let Step::Push { client, repo, image, tag, .. } = push else { return vec![push] };
            let pull = Step::Pull { client, repo, tag };
            let delete = match what {
                0 => Step::DeleteTag { client, repo, tag },
                1 => Step::DeleteManifest { client, repo, image },
                _ => Step::DeleteBlob { client, repo, blob },
            };
            [push, pull, delete].into_iter().chain(cut).chain([if again { push } else { pull }]).collect()
        })
        .boxed()
}

fn uploads(client: std::ops::Range<u8>, repo: std::ops::Range<u8>) -> BoxedStrategy<Vec<Step>> {
    let bytes = prop_oneof![Just(0u32), Just(512u32), 1..6000u32];
    (client, repo, 0..BLOBS, bytes, any::<bool>(), cut(false))
        .prop_map(|(client, repo, blob, bytes, crash, cut)| {
            let begin = Step::Begin { client, repo, blob, bytes };
            if crash { vec![begin, cut, Step::Resume { client }] } else { vec![begin, Step::Resume { client }] }
        })
        .boxed()
}

/// A push in small chunks whose answers are lost, or whose connection breaks.
fn broken_upload(swarm: &Swarm, clients: u8) -> BoxedStrategy<Vec<Step>> {
    let fault = prop_oneof![Just(LinkFault::LoseAnswers), Just(LinkFault::LoseRequests)];
    (0..clients, 0..swarm.repositories, 0..IMAGES, 0..swarm.tags, prop::option::of(fault), 1..12u16, ms())
        .prop_map(|(client, repo, image, tag, fault, wait_ms, ms)| {
            let push = Step::Push { client, repo, image, tag, send: Send::Chunks(200), from: None };
            let breaks = fault.map_or(Step::Reset { client }, |fault| Step::Link { client, fault, ms });
            vec![push, Step::Wait { ms: wait_ms }, breaks]
        })
        .boxed()
}

fn cut(power_only: bool) -> BoxedStrategy<Step> {
    let calls = prop_oneof![3 => 1..40u16, 1 => Just(0u16), 3 => 1..250u16];
    let how = if power_only {
        Just(Stop::Power).boxed()
    } else {
        prop_oneof![3 => Just(Stop::Power), 1 => Just(Stop::Process)].boxed()
    };
    (how, calls).prop_map(|(how, calls)| Step::Cut { how, calls }).boxed()
}

fn ms() -> impl Strategy<Value = u16> + Clone {
    prop_oneof![3 => 1..10u16, 1 => 10..120u16]
}

fn link_fault() -> impl Strategy<Value = LinkFault> {
    prop_oneof![
        Just(LinkFault::LoseAnswers),
        Just(LinkFault::LoseRequests),
        Just(LinkFault::Partition),
        Just(LinkFault::Hold),
        (2..60u16).prop_map(LinkFault::Latency),
    ]
}

fn disk_fault() -> impl Strategy<Value = DiskFault> {
    let one_in = || 2..40u16;
    prop_oneof![
        one_in().prop_map(DiskFault::ShortWrite),
        one_in().prop_map(DiskFault::ShortRead),
        one_in().prop_map(DiskFault::ReadError),
        one_in().prop_map(DiskFault::WriteError),
        one_in().prop_map(DiskFault::SyncFailure),
        Just(DiskFault::Full),
        (100..2000u16).prop_map(DiskFault::Slow),
    ]
}
