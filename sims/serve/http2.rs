//! HTTP/2, spoken from the first byte.

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pullplug::http::server::{Address, Limits, Site, Versions};
use tokio::net::TcpStream;

use super::{LAST_GET, Running, SHORT, echo, talk, wide};

/// Two requests at once on one connection; `None` where HTTP/2 is not understood.
fn ask(server: &Running) -> Option<Vec<String>> {
    server.runtime.block_on(async {
        let io = TokioIo::new(TcpStream::connect(server.socket()).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.ok()?;
        let connection = tokio::spawn(connection);
        let request = |path: &str| Request::get(format!("http://registry.example{path}")).body(Empty::new()).unwrap();
        let (first, second) = (sender.send_request(request("/a")), sender.send_request(request("/b")));
        let mut said = Vec::new();
        for response in [first.await, second.await] {
            let response = response.ok()?;
            assert_eq!(response.version(), Version::HTTP_2);
            said.push(String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap());
        }
        drop(sender);
        connection.await.unwrap().ok();
        Some(said)
    })
}

#[test]
fn both_versions_are_spoken_and_the_host_is_known_in_both() {
    let server = Running::start(wide());
    let answers = ask(&server).unwrap();
    assert_eq!(answers, ["GET tcp registry.example 0", "GET tcp registry.example 0"]);
    assert!(talk(&mut server.connect(), LAST_GET).ends_with("GET tcp x 0"));
}

#[test]
fn http2_can_be_turned_off() {
    let site = Site { versions: Versions::Http1, limits: wide(), ..Site::new(echo()) };
    let server = Running::start_at(&Address::Tcp("127.0.0.1:0".to_owned()), None, site);
    assert_eq!(ask(&server), None);
    assert!(talk(&mut server.connect(), LAST_GET).ends_with("GET tcp x 0"));
}

#[test]
fn a_connection_without_requests_is_closed() {
    let server = Running::start(Limits { header_timeout: SHORT, ..wide() });
    server.runtime.block_on(async {
        let io = TokioIo::new(TcpStream::connect(server.socket()).await.unwrap());
        let (_sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
        tokio::time::timeout(super::PATIENCE, connection).await.expect("the server hangs up").ok();
    });
}
