//! A webhook endpoint that does what it is told: accepts, refuses, is late, hangs up, or answers garbage.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    Garbage,
    HangUp,
    /// No answer until the client has gone.
    Never,
}

/// Every request as it came, and what is done with the next ones.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    script: VecDeque<Answer>,
    then: Option<Answer>,
    heads: Vec<String>,
    bodies: Vec<String>,
    accepted: Vec<String>,
}

impl Receiver {
    /// Does what `script` says, and after it `then`.
    pub async fn start(script: &[Answer], then: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shared = Shared { script: script.iter().copied().collect(), then: Some(then), ..Default::default() };
        let receiver = Self { url, shared: Arc::new(Mutex::new(shared)) };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        receiver
    }

    pub fn answer_from_now_on(&self, then: Answer) {
        let mut shared = self.shared.lock().unwrap();
        shared.script.clear();
        shared.then = Some(then);
    }

    /// The heads of all requests.
    pub fn heads(&self) -> Vec<String> {
        self.shared.lock().unwrap().heads.clone()
    }

    /// The bodies of all requests, accepted or not.
    pub fn bodies(&self) -> Vec<String> {
        self.shared.lock().unwrap().bodies.clone()
    }

    /// The bodies that were accepted.
    pub fn accepted(&self) -> Vec<String> {
        self.shared.lock().unwrap().accepted.clone()
    }

    /// The digests of the targets of what was accepted, in order.
    pub fn digests(&self) -> Vec<String> {
        let digest = |body: &String| {
            let envelope: Value = serde_json::from_str(body).unwrap();
            envelope["events"][0]["target"]["digest"].as_str().unwrap().to_owned()
        };
        self.accepted().iter().map(digest).collect()
    }

    /// Waits until so many were accepted.
    pub async fn until(&self, accepted: usize) {
        for _ in 0..2000 {
            if self.accepted().len() >= accepted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} of {accepted} events came", self.accepted().len());
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let head_end = loop {
                if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let end = head_end + length.unwrap_or(0);
            while bytes.len() < end {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let body = String::from_utf8(bytes[head_end..end].to_vec()).unwrap();
            bytes.drain(..end);
            let answer = {
                let mut shared = self.shared.lock().unwrap();
                shared.heads.push(head);
                shared.bodies.push(body.clone());
                let answer = shared.script.pop_front().or(shared.then).unwrap();
                if matches!(answer, Answer::Status(200..400)) {
                    shared.accepted.push(body);
                }
                answer
            };
            let text = match answer {
                Answer::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok"),
                Answer::Garbage => "\u{1}\u{2} not HTTP at all\r\n\r\n".to_owned(),
                Answer::HangUp => return,
                Answer::Never => return std::future::pending().await,
            };
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
