//! The judges on whole registries: an intact disk gives no violation and every judge looks; damage done by hand gives
//! exactly the violations that it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use pullplug::check::Invariant;
use pullplug::check::read::Object;
use pullplug::disk::SimFs;
use pullplug::disk::tree::Tree;
use pullplug::env::{World, run_now};
use pullplug::fs::hooked::{Action, HookedFs, Nth};
use pullplug::fs::real::RealFs;
use pullplug::fs::{ErrorKind, FileExt, FileKind, Fs, FsExt, OpenMode, split};
use pullplug::oci::Digest;
use pullplug::strategy::layout;
use pullplug::workload::image::Image;
use pullplug::workload::op::Op;
use pullplug::workload::probe::{self, Probe};
use pullplug::workload::run::{self, Sessions};
use pullplug::workload::{NAMES, Workload};

fn workload(name: &str) -> Workload {
    let image = |seed| Image::generated(seed, "v1".parse().unwrap(), &[40_000]);
    Workload::named(name, &image(1), &image(2)).unwrap()
}

/// A disk after a workload ran up to some mark; an operation that was under way at the mark is done.
struct Bed {
    strategy: &'static str,
    workload: Workload,
    sessions: Sessions,
    marks: usize,
    tree: Tree,
}

impl Bed {
    fn new(strategy: &'static str, name: &str, marks: usize) -> Self {
        let workload = workload(name);
        let fs = SimFs::new();
        let sessions = run_on(strategy, &fs, &workload, marks);
        Self { strategy, workload, sessions, marks, tree: fs.tree() }
    }

    fn all(strategy: &'static str, name: &str) -> Self {
        Self::new(strategy, name, 2 * workload(name).ops.len())
    }

    /// The path of a file of the first (0) or second image: a layer, a config, or a manifest.
    fn content(&self, put: usize) -> Digest {
        let ops = self.workload.setup.iter().chain(&self.workload.ops);
        let puts: Vec<_> = ops
            .filter_map(|op| match op {
                Op::StartUpload { content, .. } | Op::PutManifest { content, .. } => Some(*content),
                _ => None,
            })
            .collect();
        puts[put]
    }
}

fn run_on<F: Fs>(strategy: &str, fs: &F, workload: &Workload, marks: usize) -> Sessions {
    let world = World::simulated(7);
    let go = |ops: &[Op]| run_now(run::run(strategy, fs.clone(), world.clone(), &workload.contents, ops, |_| {}));
    go(&workload.setup).unwrap();
    go(&workload.ops[..marks.div_ceil(2)]).unwrap()
}

/// The paths of all files.
fn files<F: Fs>(fs: &F) -> Vec<String> {
    let (mut found, mut dirs) = (Vec::new(), vec![String::new()]);
    while let Some(dir) = dirs.pop() {
        for entry in run_now(fs.read_dir(&dir)).unwrap() {
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            if entry.kind == FileKind::Dir { dirs.push(path) } else { found.push(path) }
        }
    }
    found
}

/// What all probes say: how often each invariant looked, and what is broken.
#[derive(Default)]
struct Verdict {
    evaluated: BTreeMap<Invariant, usize>,
    sentences: BTreeSet<(Invariant, String)>,
}

impl Verdict {
    fn broken(&self) -> BTreeSet<&'static str> {
        self.sentences.iter().map(|(i, _)| i.name()).collect()
    }

    fn text(&self) -> String {
        self.sentences.iter().fold(String::new(), |mut text, (i, what)| {
            writeln!(text, "{i}: {what}").unwrap();
            text
        })
    }
}

/// Whether two disks hold the same, if that can be told.
type Same<F> = fn(&F, &F) -> bool;

/// Evaluates all probes, each (and then all together) on a copy of the bed's disk on which `damage` was done.
fn look(bed: &Bed, damage: &dyn Fn(&SimFs)) -> Verdict {
    look_through(bed, damage, |fs| fs, SimFs::holds_same)
}

fn look_through<F: Fs>(bed: &Bed, damage: &dyn Fn(&SimFs), wrap: impl Fn(SimFs) -> F, same: Same<F>) -> Verdict {
    let damaged = SimFs::with_tree(bed.tree.clone());
    damage(&damaged);
    // As the explorer has it: every path of any state, there or not.
    let paths = [files(&SimFs::with_tree(bed.tree.clone())), files(&damaged)].concat();
    let (contents, world) = (&bed.workload.contents, || World::simulated(8));
    let disk = || wrap(SimFs::with_tree(damaged.tree()));
    let probes = probe::probes(&bed.workload, &bed.sessions, &Workload::serial_marks(bed.marks), &paths);
    let one = |probe| run_now(probe::evaluate(probe, contents, bed.strategy, disk(), world())).unwrap();
    let seen: Vec<_> = probes.iter().flat_map(one).collect();
    let raw = &disk();
    let together = run_now(probe::evaluate_all(&probes, contents, bed.strategy, raw, |_| disk(), same, world)).unwrap();
    assert_eq!(together, seen, "probes that share a disk see what each sees alone");
    let mut verdict = Verdict::default();
    for observation in seen {
        *verdict.evaluated.entry(observation.invariant).or_default() += 1;
        verdict.sentences.extend(observation.violation.map(|what| (observation.invariant, what)));
    }
    verdict
}

fn write(fs: &SimFs, path: &str, bytes: impl Into<Bytes>) {
    run_now(async {
        fs.create_dir_all(split(path).unwrap().0).await.unwrap();
        let file = fs.open(path, OpenMode::Create).await.unwrap();
        pullplug::fs::File::set_len(&file, 0).await.unwrap();
        file.write_full(0, bytes.into()).await.unwrap();
    });
}

fn remove(fs: &SimFs, path: &str) {
    run_now(fs.unlink(path)).unwrap();
}

fn repo() -> pullplug::oci::Name {
    "lib/app".parse().unwrap()
}

fn current() -> String {
    layout::tag_current_link(&repo(), &"v1".parse().unwrap())
}

#[test]
fn intact_disks_break_nothing_wherever_the_crash() {
    for strategy in pullplug::strategy::NAMES {
        for name in NAMES {
            let mut evaluated = BTreeSet::new();
            for marks in 0..=2 * workload(name).ops.len() {
                let verdict = look(&Bed::new(strategy, name, marks), &|_| {});
                // distribution 2.x leaves the links to what it has collected.
                let expected = if name == "gc" && marks > 0 && strategy.starts_with("distribution-2") {
                    BTreeSet::from(["no-dangling-link"])
                } else {
                    BTreeSet::new()
                };
                assert_eq!(verdict.broken(), expected, "{strategy} {name} {marks}:\n{}", verdict.text());
                evaluated.extend(verdict.evaluated.into_keys());
            }
            let mut wanted: BTreeSet<_> = [
                Invariant::NoTornLink,
                Invariant::NoDanglingLink,
                Invariant::AckedSurvives,
                Invariant::ManifestClosure,
                Invariant::ReadsVerify,
                Invariant::RecoveryIdempotent,
            ]
            .into();
            wanted.extend(match name {
                "retag" => vec![Invariant::TagOldOrNew, Invariant::UploadOffsetTrue],
                "delete" => vec![Invariant::DeletedStaysDeleted],
                "gc" => vec![Invariant::GcKeepsReachable, Invariant::GcReclaims, Invariant::DeletedStaysDeleted],
                _ => vec![Invariant::UploadOffsetTrue],
            });
            assert_eq!(evaluated, wanted, "{strategy} {name}");
        }
    }
}

#[test]
fn a_real_directory_is_judged_like_a_simulated_one() {
    let dir = tempfile::tempdir().unwrap();
    let real = RealFs::open_root(dir.path()).unwrap();
    let bed = Bed::all("distribution-3.1", "retag");
    let sessions = run_on(bed.strategy, &real, &bed.workload, bed.marks);
    let paths = files(&real);
    assert_eq!(paths, files(&SimFs::with_tree(bed.tree.clone())));
    let mut looked = 0;
    for probe in probe::probes(&bed.workload, &sessions, &Workload::serial_marks(bed.marks), &paths) {
        let evaluated =
            probe::evaluate(&probe, &bed.workload.contents, bed.strategy, real.clone(), World::simulated(8));
        for observation in run_now(evaluated).unwrap() {
            assert_eq!(observation.violation, None, "{probe:?}");
            looked += 1;
        }
    }
    assert!(looked > 50, "{looked}");
}

/// What is done to a disk.
type Damage = Box<dyn Fn(&SimFs, &Bed)>;

/// One piece of damage, and the invariants that it breaks.
struct Row {
    name: &'static str,
    bed: Bed,
    damage: Damage,
    broken: &'static [&'static str],
}

fn row(name: &'static str, bed: Bed, broken: &'static [&'static str], damage: impl Fn(&SimFs, &Bed) + 'static) -> Row {
    Row { name, bed, damage: Box::new(damage), broken }
}

const LAYER: usize = 0;
const CONFIG: usize = 1;
const MANIFEST: usize = 2;
const SECOND_MANIFEST: usize = 5;

fn data(bed: &Bed, which: usize) -> String {
    layout::blob_data(&bed.content(which))
}

fn layer_link(bed: &Bed, which: usize) -> String {
    layout::layer_link(&repo(), &bed.content(which))
}

fn revision_link(bed: &Bed, which: usize) -> String {
    layout::revision_link(&repo(), &bed.content(which))
}

/// Damage to a finished push by distribution 3.1.
fn damage_to_a_push() -> Vec<Row> {
    let push = || Bed::all("distribution-3.1", "push");
    vec![
        row("an empty current/link", push(), &["no-torn-link", "acked-survives"], |fs, _| write(fs, &current(), "")),
        row("no current/link", push(), &["acked-survives"], |fs, _| remove(fs, &current())),
        row("a layer link of zeros", push(), &["no-torn-link", "acked-survives", "manifest-closure"], |fs, bed| {
            write(fs, &layer_link(bed, LAYER), vec![0; 71]);
        }),
        // distribution follows such a link and serves the config as the layer.
        row("a layer link to the config", push(), &["no-torn-link", "acked-survives", "reads-verify"], |fs, bed| {
            write(fs, &layer_link(bed, LAYER), bed.content(CONFIG).to_string());
        }),
        row("no layer link", push(), &["acked-survives", "manifest-closure"], |fs, bed| {
            remove(fs, &layer_link(bed, LAYER));
        }),
        row("no layer", push(), &["no-dangling-link", "acked-survives", "manifest-closure"], |fs, bed| {
            remove(fs, &data(bed, LAYER));
        }),
        row("one wrong byte in a layer", push(), &["no-dangling-link", "acked-survives", "reads-verify"], |fs, bed| {
            fs.corrupt(&data(bed, LAYER), 33_000, 1).unwrap();
        }),
        row("a short layer", push(), &["no-dangling-link", "acked-survives", "reads-verify"], |fs, bed| {
            write(fs, &data(bed, LAYER), vec![7; 512]);
        }),
        row("a manifest of zeros", push(), &["no-dangling-link", "acked-survives"], |fs, bed| {
            write(fs, &data(bed, MANIFEST), vec![0; 400]);
        }),
        row("no revision link", push(), &["no-dangling-link", "acked-survives"], |fs, bed| {
            remove(fs, &revision_link(bed, MANIFEST));
        }),
        row("another file, of no interest", push(), &[], |fs, _| write(fs, "docker/registry/v2/x", "x")),
    ]
}

/// Damage in the middle of operations, and to what was deleted.
fn damage_to_others() -> Vec<Row> {
    let retag = |marks| Bed::new("distribution-3.1", "retag", marks);
    let old_back = |fs: &SimFs, bed: &Bed| write(fs, &current(), bed.content(MANIFEST).to_string());
    let delete = || Bed::all("distribution-3.1", "delete");
    vec![
        row("moving: an empty tag", retag(9), &["no-torn-link", "tag-old-or-new"], |fs, _| write(fs, &current(), "")),
        row("moving: no tag", retag(9), &["tag-old-or-new"], |fs, _| remove(fs, &current())),
        row("moving: the old value", retag(9), &[], old_back),
        // The tag is fine; that its manifest is not there is for others to say.
        row("moving: no new revision", retag(9), &["no-dangling-link"], |fs, bed| {
            remove(fs, &revision_link(bed, SECOND_MANIFEST));
        }),
        row("moving: neither value", retag(9), &["no-dangling-link", "tag-old-or-new"], |fs, bed| {
            write(fs, &current(), bed.content(LAYER).to_string());
        }),
        row("before the move: no tag", retag(8), &["acked-survives"], |fs, _| remove(fs, &current())),
        row("moved: the old value", retag(10), &["acked-survives"], old_back),
        row("deleted: the revision is back", delete(), &["deleted-stays-deleted"], |fs, bed| {
            write(fs, &revision_link(bed, MANIFEST), bed.content(MANIFEST).to_string());
        }),
        row("deleted: the tag is back", delete(), &["no-dangling-link", "deleted-stays-deleted"], old_back),
        row("deleted: the layer is gone", delete(), &["no-dangling-link", "acked-survives"], |fs, bed| {
            remove(fs, &data(bed, LAYER));
        }),
        row(
            "collected: a manifest is gone",
            Bed::all("distribution-3.1", "gc"),
            &["no-dangling-link", "acked-survives"],
            |fs, bed| remove(fs, &data(bed, MANIFEST)),
        ),
        row(
            "collecting: an empty link",
            Bed::new("distribution-3.1", "gc", 0),
            &["no-torn-link", "acked-survives", "gc-reclaims"],
            |fs, bed| write(fs, &revision_link(bed, MANIFEST), ""),
        ),
    ]
}

#[test]
fn each_damage_breaks_what_it_is() {
    let mut wrong = String::new();
    for Row { name, bed, damage, broken } in damage_to_a_push().into_iter().chain(damage_to_others()) {
        let verdict = look(&bed, &|fs| damage(fs, &bed));
        let expected: BTreeSet<_> = broken.iter().copied().collect();
        if verdict.broken() != expected {
            writeln!(wrong, "{name}: expected {expected:?}\n{}", verdict.text()).unwrap();
        }
    }
    assert_eq!(wrong, "");
}

/// An upload whose stored bytes are not what was sent: distribution trusts its hash state.
#[test]
fn an_upload_that_lies_is_caught() {
    for strategy in ["distribution-2.8", "distribution-3.1"] {
        let bed = Bed::new(strategy, "resume", 6);
        let session = &bed.sessions[&1];
        let path = layout::upload_data(&session.repo, &session.id);
        let verdict = look(&bed, &|fs| fs.corrupt(&path, 5_000, 1).unwrap());
        let expected = BTreeSet::from(["upload-offset-true", "reads-verify"]);
        assert_eq!(verdict.broken(), expected, "{strategy}\n{}", verdict.text());
        // Bytes that no hash state covers are hashed when the upload goes on: the digest is refused.
        let verdict = look(&bed, &|fs| write(fs, &path, vec![0; 30_000]));
        assert_eq!(verdict.broken(), BTreeSet::from(["upload-offset-true"]), "{strategy}\n{}", verdict.text());
        // A session that is gone has promised nothing.
        let verdict = look(&bed, &|fs| {
            run_now(fs.remove_tree(&layout::upload_dir(&session.repo, &session.id))).unwrap();
        });
        assert_eq!(verdict.text(), "", "{strategy}");
        assert_eq!(verdict.evaluated.get(&Invariant::UploadOffsetTrue), None, "{strategy}");
    }
}

#[test]
fn a_collection_that_sees_no_manifest_is_caught() {
    let bed = Bed::new("distribution-3.1", "gc", 0);
    let blind = |fs| {
        HookedFs::with_hook(fs, |call| {
            let hidden = call.path().ends_with("_manifests/revisions");
            if hidden { Action::Fail(ErrorKind::NotFound) } else { Action::Run }
        })
    };
    let verdict = look_through(&bed, &|_| {}, blind, |_, _| false);
    assert_eq!(verdict.broken(), BTreeSet::from(["gc-keeps-reachable"]), "{}", verdict.text());
}

#[test]
fn a_collection_that_removes_nothing_is_caught() {
    let bed = Bed::new("distribution-3.1", "gc", 0);
    let lazy = |fs| {
        let removal = |name| matches!(name, "unlink" | "rmdir");
        HookedFs::with_hook(fs, move |call| if removal(call.name()) { Action::Drop } else { Action::Run })
    };
    let verdict = look_through(&bed, &|_| {}, lazy, |_, _| false);
    assert_eq!(verdict.broken(), BTreeSet::from(["gc-reclaims"]), "{}", verdict.text());
}

#[test]
fn a_recovery_that_takes_something_is_caught() {
    let bed = Bed::all("distribution-3.1", "push");
    let marks = Workload::serial_marks(bed.marks);
    let is_recovery = |p: &Probe| matches!(p, Probe::Recovery(Some(Object::Tag(..))));
    let probe = probe::probes(&bed.workload, &bed.sessions, &marks, &[]).into_iter().find(is_recovery).unwrap();
    let look = |index: u64| {
        let gone = Nth::new(index, Action::Fail(ErrorKind::NotFound), |call| call.path() == current());
        let fs = HookedFs::with_hook(SimFs::with_tree(bed.tree.clone()), move |call| gone.judge(call));
        run_now(probe::evaluate(&probe, &bed.workload.contents, bed.strategy, fs, World::simulated(8))).unwrap()
    };
    let broken = |index| look(index).into_iter().filter_map(|o| o.violation).collect::<Vec<_>>();
    // What the crash took already is no fault of the recovery: not there at first, there in the end.
    assert_eq!(broken(0), [""; 0]);
    let taken: Vec<_> = (1..9).flat_map(broken).collect();
    assert!(taken.iter().any(|what| what.contains("tag v1 of lib/app survived the crash")), "{taken:?}");
}

#[test]
fn a_registry_that_does_not_start_has_lost_everything() {
    let bed = Bed::new("durable", "retag", 9);
    let broken = |call: &pullplug::fs::trace::Call| call.name() == "syncfs";
    let dead = |fs| HookedFs::with_hook(fs, move |c| if broken(c) { Action::Fail(ErrorKind::Io) } else { Action::Run });
    let verdict = look_through(&bed, &|_| {}, dead, |_, _| false);
    let expected = BTreeSet::from(["acked-survives", "recovery-idempotent", "tag-old-or-new"]);
    assert_eq!(verdict.broken(), expected, "{}", verdict.text());
}
