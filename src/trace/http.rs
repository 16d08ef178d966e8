//! HTTP/1 as it passed over sockets: requests that were read, and the answers that were written.
//!
//! Only what a server does is understood: requests come in, answers go out. A connection that begins otherwise (TLS,
//! HTTP/2, a client's own) is left alone, and told where a server speaks so.

use std::collections::VecDeque;

/// A request, whole or as far as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `PUT`.
    pub method: String,
    /// `/v2/…?digest=…`.
    pub target: String,
    /// Its `Content-Type`.
    pub media_type: Option<String>,
    /// What was sent with it, as far as it was kept.
    pub body: Vec<u8>,
    /// When its first byte was read.
    pub begun: usize,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked.
    pub request: Request,
    /// The status of the answer and when it had been written; nothing if there was none.
    pub answer: Option<(u16, usize)>,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    incoming: Messages,
    outgoing: Messages,
    /// What was asked and not answered, oldest first. The last one may still be coming.
    asked: VecDeque<Request>,
    done: Vec<Exchange>,
    /// Whether it is none that is understood.
    pub is_foreign: bool,
    /// Whether that is because it speaks TLS or HTTP/2.
    pub is_hidden: bool,
}

impl Connection {
    /// Bytes were read at time `now`.
    pub fn read(&mut self, bytes: &[u8], now: usize) {
        if self.is_foreign || bytes.is_empty() {
            return;
        }
        let asked = &mut self.asked;
        let known = self.incoming.feed(bytes, now, |event| match event {
            Piece::Head { first, head, begun } => {
                let mut words = first.split(' ');
                let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                asked.push_back(Request {
                    method: method.to_owned(),
                    target: target.to_owned(),
                    media_type: header(head, "content-type").map(str::to_owned),
                    body: Vec::new(),
                    begun,
                });
                Body::of_request(head)
            }
            Piece::Body(bytes) => {
                // A blob's bytes are in the directory; those of a manifest may be nowhere else.
                if let Some(request) = asked.back_mut()
                    && request.target.contains("/manifests/")
                {
                    request.body.extend_from_slice(bytes);
                }
                Body::None
            }
        });
        self.is_foreign = !known;
        self.is_hidden = !known && (self.incoming.line.starts_with(b"\x16") || self.incoming.line == b"PR");
    }

    /// Bytes were written, and had been at time `now`.
    pub fn written(&mut self, bytes: &[u8], now: usize) {
        // A server speaks when it was asked. Who asks first is a client.
        if self.asked.is_empty() && self.outgoing.is_idle() {
            self.is_foreign = true;
        }
        if self.is_foreign {
            return;
        }
        let (asked, done) = (&mut self.asked, &mut self.done);
        let known = self.outgoing.feed(bytes, now, |event| match event {
            Piece::Head { first, head, .. } => {
                let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
                if status < 200 {
                    return Body::None;
                }
                let Some(request) = asked.pop_front() else { return Body::None };
                let body = Body::of_answer(head, status, &request.method);
                done.push(Exchange { request, answer: Some((status, now)) });
                body
            }
            Piece::Body(_) => Body::None,
        });
        self.is_foreign = !known;
    }

    /// So many bytes were written that the trace does not show.
    pub fn written_unseen(&mut self, bytes: u64) {
        self.is_foreign |= !self.outgoing.skip(bytes);
    }

    /// So many bytes were read that the trace does not show.
    pub fn read_unseen(&mut self, bytes: u64) {
        self.is_foreign |= !self.incoming.skip(bytes);
    }

    /// What passed, once nothing more will.
    pub fn finish(self) -> Vec<Exchange> {
        let mut done = self.done;
        done.extend(self.asked.into_iter().map(|request| Exchange { request, answer: None }));
        done
    }
}

/// How much of a message follows its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunks; the bytes that are left of the one at hand.
    Chunked(u64),
    /// All until the connection ends.
    Endless,
}

impl Body {
    fn of_request(head: &str) -> Self {
        if is_chunked(head) {
            return Self::Chunked(0);
        }
        header(head, "content-length").and_then(|len| len.parse().ok()).map_or(Self::None, Self::Sized)
    }

    fn of_answer(head: &str, status: u16, method: &str) -> Self {
        if method == "HEAD" || status == 204 || status == 304 {
            return Self::None;
        }
        match Self::of_request(head) {
            Self::None => Self::Endless,
            other => other,
        }
    }
}

fn is_chunked(head: &str) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Part of a message.
enum Piece<'a> {
    Head { first: &'a str, head: &'a str, begun: usize },
    Body(&'a [u8]),
}

/// One direction of a connection.
#[derive(Debug)]
struct Messages {
    /// What has come of the head, or of the line that says how long a chunk is.
    line: Vec<u8>,
    begun: usize,
    body: Body,
}

impl Default for Messages {
    fn default() -> Self {
        Self { line: Vec::new(), begun: 0, body: Body::None }
    }
}

/// What messages begin with.
const STARTS: [&[u8]; 8] = [b"GET ", b"HEAD ", b"PUT ", b"POST ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"HTTP/1."];

impl Messages {
    fn is_idle(&self) -> bool {
        self.line.is_empty() && self.body == Body::None
    }

    /// Takes bytes, and tells their pieces; a head is answered with what follows it. `false`: this is no HTTP/1.
    fn feed(&mut self, mut bytes: &[u8], now: usize, mut tell: impl FnMut(Piece<'_>) -> Body) -> bool {
        while let Some(first) = bytes.first() {
            match self.body {
                Body::Endless => return true,
                Body::Sized(left) | Body::Chunked(left) if left > 0 => {
                    let (piece, rest) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    tell(Piece::Body(piece));
                    bytes = rest;
                    let left = left - piece.len() as u64;
                    self.body = match self.body {
                        Body::Chunked(_) => Body::Chunked(left),
                        _ if left == 0 => Body::None,
                        _ => Body::Sized(left),
                    };
                }
                Body::Sized(_) => self.body = Body::None,
                Body::Chunked(_) => {
                    self.line.push(*first);
                    bytes = &bytes[1..];
                    let Ok(line) = std::str::from_utf8(&self.line) else { return false };
                    // The line break of the chunk before, then the length; a length of 0 ends in an empty line.
                    if let Some(line) = line.strip_suffix("\r\n").filter(|line| !line.trim().is_empty()) {
                        let size = line.trim_start().split([';', '\r']).next().unwrap_or_default();
                        let Ok(size) = u64::from_str_radix(size.trim(), 16) else { return false };
                        if size > 0 || line.ends_with("\r\n") {
                            self.body = if size > 0 { Body::Chunked(size) } else { Body::None };
                            self.line.clear();
                        }
                    }
                }
                Body::None => {
                    if self.line.is_empty() {
                        self.begun = now;
                    }
                    self.line.push(*first);
                    bytes = &bytes[1..];
                    if !STARTS.iter().any(|start| start.iter().zip(&self.line).all(|(a, b)| a == b)) {
                        return false;
                    }
                    if self.line.ends_with(b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&self.line).into_owned();
                        let first = head.lines().next().unwrap_or_default();
                        self.line.clear();
                        self.body = tell(Piece::Head { first, head: &head, begun: self.begun });
                        if self.body == Body::Sized(0) {
                            self.body = Body::None;
                        }
                    }
                }
            }
        }
        true
    }

    /// Passes over bytes of a body. `false`: they are none.
    fn skip(&mut self, bytes: u64) -> bool {
        match &mut self.body {
            Body::Sized(left) | Body::Chunked(left) if *left >= bytes => *left -= bytes,
            Body::Endless => {}
            _ => return bytes == 0,
        }
        if self.body == Body::Sized(0) {
            self.body = Body::None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: &[u8] = b"PUT /v2/a/manifests/v1 HTTP/1.1\r\nContent-Type: t\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &[u8] = b"PATCH /v2/a/manifests/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";

    #[test]
    fn requests_and_answers_in_any_pieces() {
        for piece in [1, 2, 7, 1000] {
            let mut connection = Connection::default();
            let asked = [PUT, CHUNKED, b"GET /v2/ HTTP/1.1\r\n\r\n"].concat();
            asked.chunks(piece).enumerate().for_each(|(i, bytes)| connection.read(bytes, i));
            let answers = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n\
                HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nHTTP\r\n0\r\n\r\n";
            answers.chunks(piece).enumerate().for_each(|(i, bytes)| connection.written(bytes, 5000 + i));
            assert!(!connection.is_foreign);
            let done = connection.finish();
            let told = |e: &Exchange| (e.request.body.clone(), e.answer.map(|(status, _)| status));
            let told: Vec<_> = done.iter().map(told).collect();
            let expected = [(b"abc".to_vec(), Some(201)), (b"abcde".to_vec(), Some(500)), (Vec::new(), None)];
            assert_eq!(told, expected, "in pieces of {piece}");
            assert_eq!(done[1].request.begun, PUT.len() / piece, "when its first byte came");
        }
    }

    #[test]
    fn what_is_no_http_and_what_a_client_says_is_left_alone() {
        for bytes in [&b"\x16\x03\x01"[..], b"PRI * HTTP/2.0\r\n\r\n", b"PUTS"] {
            let mut connection = Connection::default();
            connection.read(bytes, 0);
            assert!(connection.is_foreign && connection.is_hidden == (bytes[0] == 0x16 || bytes[1] == b'R'));
            assert!(connection.finish().is_empty());
        }
        let mut client = Connection::default();
        client.written(PUT, 0);
        client.read(b"HTTP/1.1 201 Created\r\n\r\n", 1);
        assert!(client.is_foreign && client.finish().is_empty());
    }

    #[test]
    fn bytes_that_the_trace_does_not_show_are_passed_over() {
        let mut connection = Connection::default();
        connection.read(&[b"GET /v2/x HTTP/1.1\r\n\r\n", PUT].concat(), 0);
        connection.written(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", 1);
        connection.written_unseen(10);
        connection.written(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 2);
        let answers: Vec<_> = connection.finish().into_iter().map(|e| e.answer).collect();
        assert_eq!(answers, [Some((200, 1)), Some((201, 2))]);
    }
}
