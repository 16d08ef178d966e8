//! The server: real sockets, real certificates, the built binary; and the configuration that starts it.

mod cache;
mod config;
mod connections;
mod http2;
mod maintenance;
mod offline;
mod process;
mod tls;
mod unix;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use pullplug::http::server::{Address, Drained, Limits, Peer, Server, Site};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// How long a test waits for what must come, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// A limit that a test is going to run into.
const SHORT: Duration = Duration::from_millis(250);
/// A limit that it must not.
const LONG: Duration = Duration::from_secs(600);

/// Limits that nothing runs into.
fn wide() -> Limits {
    Limits { connections: 64, header_timeout: LONG, idle_timeout: LONG, body_timeout: LONG, drain_timeout: LONG }
}

/// A server in this process. It is stopped when this is dropped.
struct Running {
    runtime: Runtime,
    address: Address,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<Drained>>,
}

impl Running {
    fn start(limits: Limits) -> Self {
        let tcp = Address::Tcp("127.0.0.1:0".to_owned());
        Self::start_at(&tcp, None, Site { limits, ..Site::new(echo()) })
    }

    fn start_at(address: &Address, tls: Option<Arc<rustls::ServerConfig>>, site: Site) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(address, tls)).unwrap();
        let address = server.address().clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        runtime.spawn(async move {
            let drained = server.run(site, async { drop(stopped.await) }).await;
            end.send(drained).unwrap();
        });
        Self { runtime, address, stop: Some(stop), ended: Some(ended) }
    }

    fn socket(&self) -> SocketAddr {
        let Address::Tcp(address) = &self.address else { panic!("{} is no port", self.address) };
        address.parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Tells the server to stop.
    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// How it ended.
    fn ended(&mut self) -> Drained {
        self.runtime.block_on(self.ended.take().unwrap()).unwrap()
    }
}

/// Answers with the method, the peer's kind, and how many bytes came; `/big` with more than any socket buffers.
fn echo() -> Router {
    Router::new().fallback(|request: Request| async move {
        if request.uri().path() == "/big" {
            return Response::new(Body::from(vec![b'x'; 64 << 20]));
        }
        let kind = match request.extensions().get::<Peer>() {
            Some(Peer::Tcp(_)) => "tcp",
            Some(Peer::Unix) => "unix",
            None => "nobody",
        };
        let host = request.headers().get("host").map(|h| h.to_str().unwrap().to_owned()).unwrap_or_default();
        let method = request.method().clone();
        let text = match request.into_body().collect().await {
            Ok(body) => format!("{method} {kind} {host} {}", body.to_bytes().len()),
            Err(e) => format!("{method} {kind} broken: {e}"),
        };
        Response::new(Body::from(text))
    })
}

/// Sends a request and reads to the end of the connection.
fn talk(stream: &mut (impl Read + Write), request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

/// What comes until the connection ends; a reset and a fatal alert are ends too.
fn rest(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("the connection does not end"),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Reads one response without closing: its head, and the body that Content-Length announces.
fn response(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ended in the head: {}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const LAST_GET: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
