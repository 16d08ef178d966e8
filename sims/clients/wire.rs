//! A blocking HTTP/1.1 client that costs next to nothing, so that a measurement is one of the server.
//!
//! One connection, kept alive; bodies by Content-Length alone, as registries answer. Any surprise is a panic.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much of a body is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A connection to a registry.
pub struct Wire {
    stream: BufReader<TcpStream>,
    piece: Vec<u8>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        let matching = |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| matching(line)).map_or("", |line| line.split_once(": ").unwrap().1)
    }

    /// The path that `Location` names, whether it is a whole URL or a path.
    pub fn location(&self) -> &str {
        let location = self.header("location");
        location.find("/v2/").map_or_else(|| panic!("no location in {}", self.head), |at| &location[at..])
    }

    /// This answer, which must have the status `status`.
    #[track_caller]
    pub fn must_be(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, String::from_utf8_lossy(&self.body));
        self
    }
}

impl Wire {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::with_capacity(64 << 10, stream), piece: Vec::new() }
    }

    /// One request with a whole body.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.send(method, path, headers, body.len() as u64);
        self.stream.get_mut().write_all(body).unwrap();
        let (status, head, len_bytes) = self.head();
        let len_bytes = if method == "HEAD" { 0 } else { len_bytes };
        let mut body = vec![0; usize::try_from(len_bytes).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, head, body }
    }

    /// Sends the head of a request whose body of `len_bytes` follows by [`write`](Self::write).
    pub fn send(&mut self, method: &str, path: &str, headers: &str, len_bytes: u64) {
        let length =
            if matches!(method, "GET" | "HEAD") { String::new() } else { format!("content-length: {len_bytes}\r\n") };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: registry\r\n{length}{headers}\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
    }

    /// Sends a piece of a body.
    pub fn write(&mut self, piece: &[u8]) {
        self.stream.get_mut().write_all(piece).unwrap();
    }

    /// Reads a whole answer without keeping it; its status and length in bytes.
    pub fn skip(&mut self) -> (u16, u64) {
        let (status, _, len_bytes) = self.head();
        self.piece.resize(PIECE_BYTES, 0);
        let mut left = len_bytes;
        while left > 0 {
            let most = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.stream.read(&mut self.piece[..most]).unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read as u64;
        }
        (status, len_bytes)
    }

    /// POST and PUT of a blob.
    pub fn push_blob(&mut self, repo: &str, digest: &str, blob: &[u8]) {
        let path = self.start(repo, digest);
        self.ask("PUT", &path, "content-type: application/octet-stream\r\n", blob).must_be(201);
    }

    /// Starts an upload; where a PUT of the blob `digest` goes.
    pub fn start(&mut self, repo: &str, digest: &str) -> String {
        let started = self.ask("POST", &format!("/v2/{repo}/blobs/uploads/"), "", b"").must_be(202);
        with_digest(started.location(), digest)
    }

    fn head(&mut self) -> (u16, String, u64) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).unwrap_or_else(|e| panic!("no answer: {e}; {head}"));
            assert!(read > 0, "the connection ended in {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut lengths = head.lines().filter_map(|line| line.split_once(": "));
        let length = lengths.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let len_bytes = length.map_or(0, |(_, value)| value.parse().expect("a length"));
        (status, head, len_bytes)
    }
}

/// The URL of an upload that is to become the blob `digest`.
pub fn with_digest(location: &str, digest: &str) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}
