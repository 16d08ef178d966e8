//! The supervisor: starts server and worker, watches that they come on, and sees that nothing is left of them.
//!
//! It touches neither the disk nor a mount, so it never waits for them. Whatever ends a job (its result, a limit, no
//! progress, a signal, the death of a process, a panic here), the end is the same: the FUSE connection is aborted, if the
//! job is not simply done, which fails all that waits for the disk; then the processes are killed; what they had mounted
//! and attached goes with them, and that it has gone is checked.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use super::control::Places;
use super::machine::has_program;
use super::worker::{Job, Outcome, Said};
use super::{FileSystem, host};
use crate::env::clock::Stopwatch;

/// How long what was killed may take to go.
const GRACE: Duration = Duration::from_secs(10);
/// How often is looked.
const TICK: Duration = Duration::from_millis(20);

/// When a job is given up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// It may take no longer.
    pub most: Duration,
    /// No longer than this may pass without an image, or a step on the way to one, coming to its end.
    pub patience: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a result.
    Done(Box<Outcome>),
    /// The program that is judged does not do its part.
    Refused(String),
    /// The worker could not go on.
    Failed(String),
    /// It was given up: what happened.
    Aborted(String),
}

/// What keeps a job from being started.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The machine lacks something.
    #[error("{0}")]
    Missing(String),
    /// The machine refuses something.
    #[error("{0}: {1}")]
    Refused(&'static str, io::Error),
    /// Something is still there that a job had.
    #[error("left behind: {0}")]
    Left(String),
}

/// Whether this machine can do it at all.
///
/// Errors: what is missing.
pub fn check(kind: FileSystem) -> Result<(), Unavailable> {
    let missing = |what: String| Err(Unavailable::Missing(what));
    if !geteuid().is_root() {
        return missing("file systems are mounted: this takes root".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return missing("there is no /dev/fuse: the kernel has no FUSE, or a container hides it".to_owned());
    }
    let programs = [kind.mkfs, "losetup"];
    match programs.into_iter().find(|program| !has_program(program)) {
        Some(program) => missing(format!(
            "there is no {program}: the packages e2fsprogs, xfsprogs, btrfs-progs and util-linux have what is needed"
        )),
        None => Ok(()),
    }
}

/// Something that a job's supervisor hears of.
enum Event {
    Said(Said),
    Signal(&'static str),
}

/// Does a job. `hear` is told of everything that the worker says on the way.
///
/// Errors: it cannot be started, or something of it is left behind.
pub fn supervise(
    kind: FileSystem,
    mut job: Job,
    limits: Limits,
    hear: &mut dyn FnMut(&Said),
) -> Result<End, Unavailable> {
    let refused = |what| move |e| Unavailable::Refused(what, e);
    check(kind)?;
    host::own_mounts().map_err(refused("cannot have a mount namespace"))?;
    host::show_connections().map_err(refused("cannot see FUSE connections"))?;
    let (send, events) = channel();
    signals(send.clone()).map_err(refused("cannot listen to signals"))?;
    job.work = fresh_dir(&job.work).map_err(refused("cannot make a work directory"))?;
    let mut held = Held { places: Places(job.work.clone()), connection: None, server: None, worker: None };
    fs::create_dir(held.places.served()).map_err(refused("cannot make a work directory"))?;
    let ended = held.start(kind, &mut job, &send).map_err(refused("cannot start"));
    drop(send);
    let ended = ended.map(|()| held.watch(&events, limits, hear));
    let left = held.release(!matches!(ended, Ok(End::Done(_))));
    if !left.is_empty() {
        return Err(Unavailable::Left(left.join(", ")));
    }
    ended
}

/// A directory in `parent` that nobody else has.
fn fresh_dir(parent: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let dir = parent.join(format!("pullplug-kernel-{}-{number}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => return dir.canonicalize(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(e),
        }
    }
}

/// From now on signals that end a process are events.
fn signals(send: Sender<Event>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let name = runtime.block_on(async {
            tokio::select! { biased;
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        });
        let _ = send.send(Event::Signal(name));
    })?;
    Ok(())
}

/// What a job has of the machine.
struct Held {
    places: Places,
    /// The number of the disk's FUSE connection.
    connection: Option<u32>,
    server: Option<Child>,
    worker: Option<Child>,
}

impl Held {
    fn start(&mut self, kind: FileSystem, job: &mut Job, send: &Sender<Event>) -> io::Result<()> {
        let program = std::env::current_exe()?;
        let work = job.work.display().to_string();
        let spawn = |args: [&str; 4]| {
            let mut command = Command::new(&program);
            // A group of its own: it is ended whole, and a terminal's SIGINT goes to the supervisor alone.
            command.args(args).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
        };
        let server = self.server.insert(spawn(["kernel", "serve-disk", &work, &kind.size_bytes.to_string()])?);
        job.server = server.id();
        let mut line = String::new();
        let said = server.stdout.take();
        said.map(|out| BufReader::new(out).read_line(&mut line)).transpose()?;
        self.connection = line.trim().parse().ok();
        if self.connection.is_none() {
            return Err(io::Error::other("the disk's server does not come up"));
        }
        let worker = self.worker.insert(spawn(["kernel", "work", &work, &serde_json::to_string(job)?])?);
        if let Some(out) = worker.stdout.take() {
            let send = send.clone();
            thread::Builder::new().name("worker's words".to_owned()).spawn(move || listen(out, &send))?;
        }
        Ok(())
    }

    /// Until the job has ended, somehow.
    fn watch(&mut self, events: &Receiver<Event>, limits: Limits, hear: &mut dyn FnMut(&Said)) -> End {
        let watch = Stopwatch::start();
        let mut progress = Stopwatch::start();
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Signal(name)) => return End::Aborted(name.to_owned()),
                Ok(Event::Said(said)) => {
                    if let Some(end) = end_of(&said) {
                        return end;
                    }
                    progress = Stopwatch::start();
                    hear(&said);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    for (who, child) in [("worker", &mut self.worker), ("disk's server", &mut self.server)] {
                        if let Some(status) = ended(child) {
                            return died(who, status, events);
                        }
                    }
                }
            }
            if watch.elapsed() > limits.most {
                return End::Aborted(format!("it took more than {} s", limits.most.as_secs()));
            }
            if progress.elapsed() > limits.patience {
                return End::Aborted(format!(
                    "nothing came to its end in {} s: the disk hangs",
                    limits.patience.as_secs()
                ));
            }
        }
    }

    /// Ends all; tells what is left.
    fn release(&mut self, abort: bool) -> Vec<String> {
        let connection = self.connection.take().map(|number| Path::new(host::CONNECTIONS).join(number.to_string()));
        if let Some(connection) = connection.as_ref().filter(|_| abort) {
            // Where there is no connection any more, nobody waits for it.
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(connection.join("abort"))
                .and_then(|mut file| io::Write::write_all(&mut file, b"1"));
        }
        let mut left = Vec::new();
        for (who, child) in [("worker", self.worker.take()), ("disk's server", self.server.take())] {
            let Some(mut child) = child else { continue };
            if who == "worker" && !abort {
                // It has said its last word: it unmounts nothing any more, and goes.
                wait(|| matches!(child.try_wait(), Ok(Some(_))));
            }
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            if !wait(|| matches!(child.try_wait(), Ok(Some(_)))) {
                left.push(format!("the {who}, process {}", child.id()));
            }
        }
        let name = self.places.name();
        let gone = wait(|| host::loops_over(&name).is_empty());
        if !gone {
            for device in host::loops_over(&name) {
                let _ = Command::new("losetup").args(["--detach", &format!("/dev/{device}")]).status();
            }
            wait(|| host::loops_over(&name).is_empty());
            left.extend(host::loops_over(&name));
        }
        if let Some(connection) = connection.filter(|connection| !wait(|| !connection.exists())) {
            left.push(connection.display().to_string());
        }
        if host::is_mounted_below(&self.places.0).unwrap_or(true) {
            left.push(format!("a mount in {}", self.places.0.display()));
        } else if fs::remove_dir_all(&self.places.0).is_err() && self.places.0.exists() {
            left.push(self.places.0.display().to_string());
        }
        left
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.release(true);
        }
    }
}

/// Passes on what the worker says.
fn listen(out: impl Read, send: &Sender<Event>) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        let said = serde_json::from_str(&line).unwrap_or_else(|_| Said::Failed(format!("the worker says {line:?}")));
        if send.send(Event::Said(said)).is_err() {
            break;
        }
    }
}

/// How a process ended, if it did.
fn ended(child: &mut Option<Child>) -> Option<ExitStatus> {
    child.as_mut().and_then(|child| child.try_wait().ok().flatten())
}

/// The end that the worker tells of, if it does.
fn end_of(said: &Said) -> Option<End> {
    match said {
        Said::Done(outcome) => Some(End::Done(outcome.clone())),
        Said::Refused(why) => Some(End::Refused(why.clone())),
        Said::Failed(why) => Some(End::Failed(why.clone())),
        Said::Image | Said::Script | Said::Step(_) | Said::Found(_) => None,
    }
}

/// A process ended; its last words may just have come.
fn died(who: &str, status: ExitStatus, events: &Receiver<Event>) -> End {
    while let Ok(event) = events.recv_timeout(TICK) {
        match event {
            Event::Said(said) => {
                if let Some(end) = end_of(&said) {
                    return end;
                }
            }
            Event::Signal(_) => {}
        }
    }
    match status.code() {
        Some(_) => End::Failed(format!("the {who} ended: {status}")),
        None => End::Aborted(format!("the {who} was killed: {status}")),
    }
}

/// Waits until something is so; tells whether it is.
fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let watch = Stopwatch::start();
    while !is_so() {
        if watch.elapsed() > GRACE {
            return false;
        }
        thread::sleep(TICK);
    }
    true
}
