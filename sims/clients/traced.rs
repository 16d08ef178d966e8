//! The built server on a real directory, seen by strace: `distribution-2.8` makes the calls that were recorded from
//! the real registry, whatever layers of ours lie between the request and the disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use pullplug::fs::FsExt;
use pullplug::fs::real::RealFs;
use pullplug::fs::trace::{Call, lines};
use pullplug::oci::manifest::OCI_MANIFEST;
use pullplug::oci::{Algorithm, Digest};

use super::lacks;
use super::program::{Program, clean, configure};
use super::wire::{Wire, with_digest};
use crate::strategies::{assert_same_calls, content, manifest, ops};

/// How long strace may take to write its last line.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// The calls that change something, and those that give a file its descriptor.
const CALLS: &str =
    "openat,mkdirat,renameat,renameat2,linkat,unlinkat,write,pwrite64,pwritev,ftruncate,fsync,fdatasync,syncfs";

/// A directory that programs under strace work on.
struct Traced {
    _dir: tempfile::TempDir,
    root: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Traced {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // strace shows where a descriptor leads in the end.
        let (root, config) = configure(&dir.path().canonicalize().unwrap());
        Self { log: dir.path().join("strace.log"), _dir: dir, root, config }
    }

    /// `pullplug COMMAND CONFIG` under strace. The tracer is no parent of it: whoever kills the child kills the server.
    fn command(&self, command: &str) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-D", "-f", "-y", "-z", "-s", "0", "-o"]).arg(&self.log);
        strace.arg(format!("--trace={CALLS}")).arg(env!("CARGO_BIN_EXE_pullplug")).arg(command).arg(&self.config);
        strace.args(["--strategy", "distribution-2.8"]);
        strace
    }

    /// The calls of a server in which `act` happens.
    fn serve(&self, act: impl FnOnce(&mut Wire)) -> Vec<String> {
        let server = Program::start(&mut self.command("serve"));
        act(&mut Wire::connect(server.address()));
        let id = server.id();
        server.stop();
        self.calls(id)
    }

    /// The calls of a collection.
    fn collect(&self) -> Vec<String> {
        let child = clean(&mut self.command("garbage-collect")).stdout(Stdio::null()).spawn().unwrap();
        let id = child.id();
        assert!(child.wait_with_output().unwrap().status.success());
        self.calls(id)
    }

    /// What strace saw in the process `id`, which has ended, of changes below the root.
    fn calls(&self, id: u32) -> Vec<String> {
        let last = |line: &str| line.starts_with(&format!("{id} ")) && line.contains("+++ exited");
        let mut waited = Duration::ZERO;
        loop {
            let log = read(&self.log);
            if log.lines().any(last) {
                let calls: Vec<Call> = whole(&log).iter().filter_map(|line| parse(line, &self.root)).collect();
                return lines(&calls);
            }
            assert!(waited < PATIENCE, "strace comes to no end: {log}");
            std::thread::sleep(STEP);
            waited += STEP;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what another program wrote")]
pub fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

/// The lines of strace's log, each with a whole call: one that another thread interrupted stands where it ended.
fn whole(log: &str) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut whole = Vec::new();
    for line in log.lines() {
        let (id, call) = line.split_once(' ').expect("a process");
        if let Some(beginning) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(id, beginning);
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            whole.push(format!("{}{end}", begun.remove(id).expect("a beginning")));
        } else {
            whole.push(line.to_owned());
        }
    }
    whole
}

/// A line of strace's log, as far as it is about the directory `root`: `PID CALL(ARGUMENT, …) = RESULT`.
fn parse(line: &str, root: &Path) -> Option<Call> {
    let (_, call) = line.split_once(' ')?;
    let (name, rest) = call.trim_start().split_once('(')?;
    // The result is aligned.
    let (arguments, result) = rest.rsplit_once(" = ").filter(|(_, result)| !result.starts_with('-'))?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    // A descriptor is shown as `N<PATH>`, and the name of a directory entry in quotes.
    let descriptor = |at: usize| {
        let path = arguments.get(at)?.split_once('<')?.1.strip_suffix('>')?;
        let path = path.strip_suffix("(deleted)").unwrap_or(path);
        Some(Path::new(path).strip_prefix(root).ok()?.to_str().unwrap().to_owned())
    };
    let entry = |at: usize| {
        let (dir, name) = (descriptor(at)?, arguments[at + 1].trim_matches('"'));
        Some(if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") })
    };
    Some(match name {
        "openat" => {
            let path = entry(0)?;
            arguments[2].contains("O_CREAT").then_some(Call::OpenCreate { path })?
        }
        "mkdirat" => Call::Mkdir { path: entry(0)? },
        "renameat" | "renameat2" => Call::Rename { from: entry(0)?, to: entry(2)? },
        "linkat" => Call::Link { existing: entry(0)?, new: entry(2)? },
        "unlinkat" if arguments[2] == "AT_REMOVEDIR" => Call::Rmdir { path: entry(0)? },
        "unlinkat" => Call::Unlink { path: entry(0)? },
        "write" | "pwrite64" | "pwritev" => {
            Call::Write { path: descriptor(0)?, offset: 0, len: result.parse().unwrap() }
        }
        "ftruncate" => Call::Truncate { path: descriptor(0)?, len: arguments[1].parse().unwrap() },
        "fsync" => Call::SyncAll { path: descriptor(0)? },
        "fdatasync" => Call::SyncData { path: descriptor(0)? },
        "syncfs" => Call::SyncFs,
        _ => panic!("an unexpected call: {line}"),
    })
}

fn sha256(content: &[u8]) -> String {
    Digest::sha256(content).to_string()
}

fn put_manifest(wire: &mut Wire, repo: &str, tag: &str, image: &[u8]) {
    let path = format!("/v2/{repo}/manifests/{tag}");
    wire.ask("PUT", &path, &format!("content-type: {OCI_MANIFEST}\r\n"), image).must_be(201);
}

fn delete(wire: &mut Wire, path: &str) {
    wire.ask("DELETE", path, "", b"").must_be(202);
}

/// The recorded push; its manifest.
pub fn push(wire: &mut Wire) -> Bytes {
    let (layer, config) = (content("layer", 40_000), content("config", 79));
    wire.push_blob("lib/app", &sha256(&layer), &layer);
    wire.push_blob("lib/app", &sha256(&config), &config);
    let image = manifest(&config, &[&layer], 397);
    put_manifest(wire, "lib/app", "v1", &image);
    image
}

fn push_chunked(wire: &mut Wire) {
    let layer = content("chunks", 30_000);
    let started = wire.ask("POST", "/v2/lib/chunk/blobs/uploads/", "", b"").must_be(202);
    let mut location = started.location().to_owned();
    for at in [0, 10_000, 20_000] {
        let range = format!("content-range: {at}-{}\r\n", at + 9_999);
        location = wire.ask("PATCH", &location, &range, &layer[at..at + 10_000]).must_be(202).location().to_owned();
    }
    wire.ask("PUT", &with_digest(&location, &sha256(&layer)), "", b"").must_be(201);
}

#[track_caller]
pub fn assert_recorded(made: &[String], recorded: &str, what: &str) {
    assert_same_calls(&ops::comparable(made), &ops::comparable(&ops::recorded(recorded)), what);
}

#[test]
fn a_server_makes_the_recorded_calls_for_a_push_and_a_chunked_push() {
    if lacks("strace") {
        return;
    }
    let made = Traced::new().serve(|wire| drop(push(wire)));
    assert_recorded(&made, include_str!("../../snapshots/traces/distribution-2.8.2-push.ops"), "push");

    // The recording began in a root in which another repository had been.
    let traced = Traced::new();
    let root = RealFs::open_root(&traced.root).unwrap();
    let hex = Digest::sha256(&content("chunks", 30_000)).hex();
    for dir in ["docker/registry/v2/repositories/lib", &format!("docker/registry/v2/blobs/sha256/{}", &hex[..2])] {
        pullplug::env::run_now(root.create_dir_all(dir)).unwrap();
    }
    let made = traced.serve(push_chunked);
    assert_recorded(&made, include_str!("../../snapshots/traces/distribution-2.8.2-chunked.ops"), "chunked push");
}

#[test]
fn a_server_makes_the_recorded_calls_for_aliases_and_mounts() {
    if lacks("strace") {
        return;
    }
    let blob = content("alias", 1000);
    let alias = Digest::of(Algorithm::Sha512, &blob).to_string();
    let made = Traced::new().serve(|wire| {
        wire.push_blob("lib/app", &alias, &blob);
        wire.push_blob("lib/app", &sha256(&blob), &blob);
        for (repo, digest) in [("lib/two", &sha256(&blob)), ("lib/three", &alias)] {
            let mount = format!("/v2/{repo}/blobs/uploads/?mount={digest}&from=lib/app");
            wire.ask("POST", &mount, "", b"").must_be(201);
        }
    });
    assert_recorded(&made, include_str!("../../snapshots/traces/distribution-2.8.2-alias.ops"), "mount");
}

#[test]
fn a_server_makes_the_recorded_calls_for_moving_and_deleting_tags() {
    if lacks("strace") {
        return;
    }
    let (layer, config) = (content("retagged layer", 1000), content("retagged config", 79));
    let [old, new] = [500, 600].map(|len| manifest(&config, &[&layer], len));
    let made = Traced::new().serve(|wire| {
        wire.push_blob("lib/app", &sha256(&layer), &layer);
        wire.push_blob("lib/app", &sha256(&config), &config);
        for (tag, image) in [("v1", &old), ("v1", &old), ("v2", &old), ("v1", &new)] {
            put_manifest(wire, "lib/app", tag, image);
        }
        for image in [&new, &old] {
            delete(wire, &format!("/v2/lib/app/manifests/{}", sha256(image)));
        }
        delete(wire, &format!("/v2/lib/app/blobs/{}", sha256(&layer)));
    });
    assert_recorded(&made, include_str!("../../snapshots/traces/distribution-2.8.2-retag.ops"), "tags");
}

#[test]
fn a_collection_of_a_served_directory_makes_the_recorded_calls() {
    if lacks("strace") {
        return;
    }
    let traced = Traced::new();
    traced.serve(|wire| {
        let image = push(wire);
        push_chunked(wire);
        delete(wire, &format!("/v2/lib/app/manifests/{}", sha256(&image)));
    });
    let recorded = ops::recorded(include_str!("../../snapshots/traces/distribution-2.8.2-gc.ops"));
    assert_eq!(ops::deletions(&traced.collect()), ops::deletions(&recorded));
}

#[test]
fn lines_of_strace_are_calls() {
    let root = Path::new("/r");
    let call = |line: &str| parse(line, root).map(|call| call.to_string());
    for (line, expected) in [
        (r#"7 openat(9</r/a>, "b", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 10</r/a/b>"#, Some("open-create a/b")),
        (r#"7 openat(9</r/a>, "b", O_RDONLY|O_CLOEXEC) = 10</r/a/b>"#, None),
        (r#"7 openat(AT_FDCWD</x>, "/etc/y", O_RDWR|O_CREAT, 0666) = 3</etc/y>"#, None),
        (r#"7 mkdirat(9</r>, "b", 0777) = 0"#, Some("mkdir b")),
        (r#"7 renameat(9</r/a>, "b", 10</r>, "c") = 0"#, Some("rename a/b -> c")),
        (r#"7 unlinkat(9</r/a>, "b", 0) = 0"#, Some("unlink a/b")),
        (r#"7 unlinkat(9</r/a>, "b", AT_REMOVEDIR) = 0"#, Some("rmdir a/b")),
        (r#"7 pwrite64(9</r/a/b>, ""..., 20, 5) = 20"#, Some("write a/b 20")),
        (r#"7 write(1<pipe:[5]>, ""..., 20) = 20"#, None),
        (r#"7 ftruncate(9</r/a/b>, 0) = 0"#, Some("truncate a/b 0")),
        (r#"7 fsync(9</r/a/b>) = 0"#, Some("fsync a/b")),
        (r#"7 fdatasync(9</r/a/b>(deleted)) = 0"#, None),
        (r#"7 mkdirat(9</r>, "b", 0777)           = 0"#, Some("mkdir b")),
        (r#"7 mkdirat(9</r>, "b", 0777) = -1 EEXIST (File exists)"#, None),
        ("7 +++ exited with 0 +++", None),
    ] {
        assert_eq!(call(line).as_deref(), expected, "{line}");
    }
    let log = "7 fsync(9</r/a> <unfinished ...>\n8 fsync(9</r/b>) = 0\n7 <... fsync resumed>) = 0";
    assert_eq!(whole(log), ["8 fsync(9</r/b>) = 0", "7 fsync(9</r/a>) = 0"]);
}
