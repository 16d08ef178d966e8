//! The registry's process: any program, started on a directory, and gone with all that it started.
//!
//! It is the first process of a namespace of its own, so whatever it forks goes with it, daemons too; and it is killed
//! when the thread that started it goes, however that happens.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::host;
use super::Refused;
use super::client::Remote;
use crate::env::clock::Stopwatch;

/// What stands for something in the words of a command.
pub const PLACEHOLDERS: [&str; 4] = ["{config}", "{root}", "{addr}", "{port}"];
/// How often is looked.
const TICK: Duration = Duration::from_millis(5);
/// So much of what a program said last is shown.
const TAIL_BYTES: u64 = 600;

/// How a registry is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The command, with [`PLACEHOLDERS`].
    pub words: Vec<String>,
    /// It must answer within so many seconds.
    pub start_s: u64,
}

/// Where it may write.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its storage, on the recorded disk.
    pub root: PathBuf,
    /// The work directory, which is not on it.
    pub work: PathBuf,
}

/// A registry that answers, until it is dropped.
#[derive(Debug)]
pub struct Program {
    /// Where it answers.
    pub addr: String,
    said: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<ExitStatus>>>,
}

impl Program {
    /// Starts it, and waits until it answers.
    ///
    /// Errors: it is [`Refused`] because it ends or does not answer; or this machine fails.
    pub fn start(start: &Start, site: &Site, remote: &Remote) -> io::Result<Self> {
        let addr = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let config = site.work.join("config.yml");
        write(&config, &configuration(&site.root, &addr.to_string()))?;
        let (config, root) = (config.display().to_string(), site.root.display().to_string());
        let values = [config, root, addr.to_string(), addr.port().to_string()];
        let filled = |word: &String| PLACEHOLDERS.iter().zip(&values).fold(word.clone(), |w, (p, v)| w.replace(p, v));
        let said = site.work.join("said");
        write(&said, "")?;
        let output = OpenOptions::new().append(true).open(&said)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["kernel", "contain", "--"]).args(start.words.iter().map(filled));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("registry".to_owned()).spawn(move || watch(command, &stopped))?;
        let mut program = Self { addr: addr.to_string(), said, stop, thread: Some(thread) };
        program.wait(Duration::from_secs(start.start_s), remote)?;
        Ok(program)
    }

    fn wait(&mut self, limit: Duration, remote: &Remote) -> io::Result<()> {
        let watch = Stopwatch::start();
        loop {
            self.check()?;
            if remote.is_up(&self.addr) {
                return Ok(());
            }
            if watch.elapsed() > limit {
                let what = format!("it does not answer http://{}/v2/ within {} s", self.addr, limit.as_secs());
                return Err(self.refused(&what));
            }
            thread::sleep(TICK);
        }
    }

    /// Whether it still runs.
    ///
    /// Errors: it is [`Refused`], since it has ended.
    pub fn check(&mut self) -> io::Result<()> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        let what = match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(status))) => format!("it ended: {status}"),
            Some(Ok(Err(e))) => return Err(e),
            Some(Err(_)) | None => "it ended".to_owned(),
        };
        Err(self.refused(&what))
    }

    fn refused(&self, what: &str) -> io::Error {
        let tail = tail(&self.said).unwrap_or_default();
        let said = tail.trim();
        let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said last:\n{said}") };
        Refused::error(format!("{what}; {said}"))
    }
}

impl Drop for Program {
    /// It is killed; afterwards no process of it is there any more.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // How it ended was asked for by nobody.
            let _ = thread.join();
        }
    }
}

/// Starts a program and waits until it ends, or kills it when it is to stop.
fn watch(mut command: Command, stop: &AtomicBool) -> io::Result<ExitStatus> {
    host::own_processes()?;
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if stop.load(Ordering::Relaxed) {
            child.kill()?;
            return child.wait();
        }
        thread::sleep(TICK);
    }
}

/// Distribution's configuration.
fn configuration(root: &Path, addr: &str) -> String {
    format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: \
         '{}'}}\n  delete: {{enabled: true}}\n  maintenance: {{uploadpurging: {{enabled: false}}}}\nhttp: {{addr: \
         '{addr}'}}\n",
        root.display()
    )
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

/// The end of a file.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
