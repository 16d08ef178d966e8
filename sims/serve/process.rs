//! `pullplug serve` as its users meet it: the built binary on a real directory, signals, exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::thread::sleep;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, SHORT, response, rest};

pub(super) fn pullplug(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullplug"));
    command.args(args).env_remove("PULLPLUG_STRATEGY").env_remove("REGISTRY_CONFIGURATION_PATH");
    command
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs a command that must fail; returns its code and what it said.
pub(super) fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(text(&stdout), "");
    (status.code().unwrap(), text(&stderr).to_owned())
}

#[expect(clippy::disallowed_methods, reason = "a configuration for the program to read")]
pub(super) fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
}

/// A server in a process of its own. It is killed when this is dropped.
pub(super) struct Served {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    pub(super) greeting: String,
}

impl Served {
    pub(super) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut greeting = String::new();
        if stdout.read_line(&mut greeting).unwrap() == 0 {
            panic!("it did not start: {}", std::io::read_to_string(stderr).unwrap());
        }
        Self { child, stdout, stderr, greeting }
    }

    /// On a directory, on any port.
    pub(super) fn on(root: &Path, more: &[&str]) -> Self {
        Self::start(&mut pullplug(
            &[&["serve", "--root", root.to_str().unwrap(), "--addr", "127.0.0.1:0"], more].concat(),
        ))
    }

    pub(super) fn address(&self) -> &str {
        self.greeting.trim().rsplit_once("//").unwrap().1
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, head: &str, body: &str) -> String {
        self.ask_with(head, "", body)
    }

    fn ask_with(&self, head: &str, headers: &str, body: &str) -> String {
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .unwrap();
        rest(&mut stream)
    }

    /// Sends five bytes of a chunk of ten; returns the path of the upload too.
    fn half_an_upload(&self) -> (String, TcpStream) {
        let upload = location(&self.ask("POST /v2/lib/app/blobs/uploads/", ""));
        let mut stream = self.connect();
        write!(stream, "PATCH {upload} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello").unwrap();
        sleep(SHORT);
        (upload, stream)
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code, the rest of its output, and its log.
    pub(super) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut said, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut said).unwrap();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), said, log)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn header<'a>(response: &'a str, name: &str) -> &'a str {
    let value = response.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {response}"))
}

/// The path of the upload that a response to a POST or PATCH locates.
fn location(response: &str) -> String {
    let location = header(response, "location");
    location.split_once("//").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]).to_owned()
}

#[test]
fn a_directory_is_served_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/images");
    let server = Served::on(&root, &[]);
    assert!(server.greeting.starts_with(&format!("serving {} with durable on http://127.0.0.1:", root.display())));
    assert!(server.ask("GET /v2/", "").starts_with("HTTP/1.1 200 OK"));
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let pushed = server.ask(&format!("POST /v2/lib/app/blobs/uploads/?digest={digest}"), "hello");
    assert!(pushed.starts_with("HTTP/1.1 201 "), "{pushed}");
    server.signal(Signal::TERM);
    let (code, said, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(said.contains("docker push 127.0.0.1:"), "{said}");

    let server = Served::on(&root, &["--strategy", "distribution-2.8"]);
    assert!(server.greeting.contains("distribution-2.8"), "{}", server.greeting);
    assert!(server.ask(&format!("GET /v2/lib/app/blobs/{digest}"), "").ends_with("hello"));
    server.signal(Signal::INT);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn an_upload_under_way_is_finished_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Served::on(dir.path(), &[]);
    let (_, mut stream) = server.half_an_upload();
    server.signal(Signal::TERM);
    sleep(SHORT);
    stream.write_all(b"world").unwrap();
    let patched = response(&mut stream);
    assert!(patched.starts_with("HTTP/1.1 202 "), "{patched}");
    assert_eq!(header(&patched, "range"), "0-9");
    let (code, _, log) = server.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("every request was answered"), "{log}");
}

#[test]
fn an_upload_that_is_cut_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yml");
    let root = dir.path().join("images");
    write(
        &config,
        &format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', draintimeout: 200ms, headers: {{X-Test: [here]}}}}\n",
            root.display()
        ),
    );
    let start = || Served::start(&mut pullplug(&["serve", config.to_str().unwrap()]));
    let server = start();
    let (upload, _stream) = server.half_an_upload();
    server.signal(Signal::TERM);
    let (code, _, log) = server.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("were cut"), "{log}");

    let server = start();
    let at = server.ask(&format!("GET {upload}"), "");
    assert_eq!((at.starts_with("HTTP/1.1 204 "), header(&at, "range")), (true, "0-4"), "{at}");
    assert_eq!(header(&at, "x-test"), "here");
    assert!(server.ask("DELETE /v2/lib/app/manifests/latest", "").starts_with("HTTP/1.1 405 "), "deletion is off");
}

#[test]
fn the_configured_services_stand_around_the_endpoints() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yml");
    write(
        &config,
        &format!(
            "version: 0.1\nlog: {{formatter: json, fields: {{service: here}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: inmemory}}}}\n\
             http: {{addr: '127.0.0.1:0', debug: {{addr: '127.0.0.1:0', prometheus: {{enabled: true}}}}}}\n\
             auth: {{silly: {{realm: r, service: s}}}}\nhealth: {{storagedriver: {{enabled: true}}}}\n\
             pullplug: {{quota: {{defaultbytes: 4}}}}\n",
            dir.path().join("images").display()
        ),
    );
    let mut server = Served::start(&mut pullplug(&["serve", config.to_str().unwrap()]));
    let mut line = String::new();
    server.stderr.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let (_, debug) = told["msg"].as_str().unwrap().rsplit_once("//").unwrap();
    assert_eq!(told["service"], "here");

    let refused = server.ask("GET /v2/", "");
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("UNAUTHORIZED"), "{refused}");
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let head = format!("POST /v2/lib/app/blobs/uploads/?digest={digest}");
    let pushed = server.ask_with(&head, "authorization: x\r\n", "hello");
    assert!(pushed.contains("DENIED") && pushed.contains('4'), "five bytes are more than four: {pushed}");

    let ask_debug = |path: &str| {
        let mut stream = TcpStream::connect(debug).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        rest(&mut stream)
    };
    assert!(ask_debug("/debug/health").starts_with("HTTP/1.1 200 "));
    let metrics = ask_debug("/metrics");
    assert!(metrics.contains("code=\"401\""), "{metrics}");
    server.signal(Signal::TERM);
    let (code, _, log) = server.end();
    assert_eq!(code, Some(0));
    let access = log.lines().find(|line| line.contains("/v2/") && line.contains("401"));
    assert!(access.is_some_and(|line| line.contains("127.0.0.1")), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Served::on(dir.path(), &[]);
    let _stream = server.half_an_upload().1;
    server.signal(Signal::TERM);
    sleep(SHORT);
    server.signal(Signal::TERM);
    let (code, _, log) = server.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("second signal"), "{log}");
}

#[test]
fn an_address_or_a_directory_in_use_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Served::on(dir.path(), &[]);
    let root = dir.path().to_str().unwrap();
    let (code, said) = refused(&mut pullplug(&["serve", "--root", root, "--addr", "127.0.0.1:0"]));
    assert_eq!(code, 69);
    assert!(said.contains(root) && said.contains("in use") && said.contains("stop that one"), "{said}");
    let other = tempfile::tempdir().unwrap();
    let args = ["serve", "--root", other.path().to_str().unwrap(), "--addr", server.address()];
    let (code, said) = refused(&mut pullplug(&args));
    assert_eq!(code, 69);
    assert!(said.contains(server.address()) && said.contains("--addr"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_used_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("file"), "");
    for (root, word) in [(dir.path().join("file"), "not a directory"), ("/proc/no/such".into(), "no such file")] {
        let (code, said) =
            refused(&mut pullplug(&["serve", "--root", root.to_str().unwrap(), "--addr", "127.0.0.1:0"]));
        assert_eq!(code, 69, "{said}");
        assert!(said.to_lowercase().contains(word) && said.contains(root.to_str().unwrap()), "{said}");
    }
    // A user who may write nowhere: as root the tests need another one, otherwise the file system's root will do.
    let mut command = pullplug(&["serve", "--root", "/", "--addr", "127.0.0.1:0"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let Ok(output) = command.output() else { return };
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
    assert!(text(&output.stderr).to_lowercase().contains("permission denied"), "{}", text(&output.stderr));
}

#[test]
fn bad_configurations_are_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yml");
    let path = config.to_str().unwrap();
    let good = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", dir.path().display());
    let must_say = |args: &[&str], variable: Option<(&str, &str)>, words: &[&str]| {
        let (code, said) = refused(pullplug(args).envs(variable));
        assert_eq!(code, 2, "{said}");
        for word in words {
            assert!(said.contains(word), "{args:?} does not say {word:?}: {said}");
        }
    };
    must_say(&["serve"], None, &["--root"]);
    must_say(&["serve", path], None, &[path]);
    must_say(&["serve", path, "--root", "/tmp"], None, &["--root"]);
    for (line, words) in [
        ("redis: {}", &["redis", "inmemory"][..]),
        ("http: {adr: ':1'}", &["http.adr", "did you mean `addr`"]),
        ("http: {tls: {certificate: /no/such, key: /no/such}}", &["http.tls", "/no/such"]),
        ("pullplug: {strategy: durabel}", &["durabel", "durable"]),
        ("pullplug: {strategy: distribution-2.8, garbagecollect: {enabled: true}}", &["garbage-collect", "durable"]),
        ("proxy: {remoteurl: registry-1.docker.io}", &["proxy.remoteurl", "https://HOST"]),
        (
            "validation: {manifests: {urls: {allow: ['^https://']}}}",
            &["validation.manifests.urls.allow", "not supported"],
        ),
    ] {
        write(&config, &format!("{good}{line}\n"));
        must_say(&["serve", path], None, &[&[path][..], words].concat()[usize::from(!words[0].contains("redis"))..]);
    }
    write(&config, &good);
    must_say(&["serve", path], Some(("REGISTRY_HTTP_NET", "udp")), &["http.net (set by REGISTRY_HTTP_NET)", "unix"]);
    must_say(&["serve", path], Some(("PULLPLUG_STRATEGY", "zfs")), &["zfs", "durable"]);
    must_say(&["serve"], Some(("REGISTRY_CONFIGURATION_PATH", "/no/such.yml")), &["/no/such.yml"]);
}
