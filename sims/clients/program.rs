//! Registries in processes of their own, on a port that the kernel picks. They are killed when they are dropped.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration with which both serve the same directory.
const CONFIG: &str = "version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: ROOT}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {addr: '127.0.0.1:0'}
";

/// A server that listens.
pub struct Program {
    child: Child,
    address: String,
    /// What it says, line by line.
    said: Receiver<String>,
}

impl Program {
    /// `pullplug serve CONFIG`.
    pub fn pullplug(config: &Path, strategy: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
        Self::start(command.arg("serve").arg(config).args(["--strategy", strategy]))
    }

    /// `docker-registry serve CONFIG`.
    pub fn docker_registry(config: &Path) -> Self {
        Self::start(Command::new("docker-registry").arg("serve").arg(config))
    }

    /// Starts a server that says where it listens.
    pub fn start(command: &mut Command) -> Self {
        let spawned = clean(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (say, said) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let say = say.clone();
            // Reads to the end whether someone listens or not: a server must not block on its own log.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        drop(say);
        let mut program = Self { child, address: String::new(), said };
        let mut log = String::new();
        while program.address.is_empty() {
            match program.said.recv_timeout(PATIENCE) {
                Ok(line) => {
                    program.address = address_in(&line).unwrap_or_default();
                    log += &format!("{line}\n");
                }
                Err(e) => panic!("{command:?} did not start: {e}\n{log}"),
            }
        }
        program
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGTERM, and waits for the end.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a line of a log says that the server listens: `… on http://HOST:PORT`, or `… listening on HOST:PORT, …`.
fn address_in(line: &str) -> Option<String> {
    let at = line.find("127.0.0.1:")?;
    let end = line[at..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').map_or(line.len(), |end| at + end);
    Some(line[at..end].to_owned())
}

/// The command without what the environment of the tests may say to a registry.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REGISTRY_") || name == "PULLPLUG_STRATEGY" {
            command.env_remove(name);
        }
    }
    command
}

/// Writes the configuration that both understand, for a directory; its path.
#[expect(clippy::disallowed_methods, reason = "a configuration for the programs to read")]
pub fn configure(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (root, config) = (dir.join("root"), dir.join("config.yml"));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(&config, CONFIG.replace("ROOT", root.to_str().unwrap())).unwrap();
    (root, config)
}

/// Whether a program can be started.
pub fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
