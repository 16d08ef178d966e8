//! Connections: what slow, greedy and vanishing clients get, and how a server ends.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use pullplug::http::server::{Address, Drained, Limits, Server, Site};

use super::{GET, LAST_GET, Running, SHORT, echo, response, rest, talk, wide};

#[test]
fn requests_are_answered_and_connections_kept() {
    let server = Running::start(wide());
    let mut stream = server.connect();
    for _ in 0..2 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert!(response(&mut stream).ends_with("GET tcp x 0"));
    }
    let put = "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert!(talk(&mut stream, put).ends_with("PUT tcp x 5"));
}

#[test]
fn a_slow_header_is_cut() {
    let server = Running::start(Limits { header_timeout: SHORT, ..wide() });
    // One that says nothing, one that stops in the middle, one that drips.
    assert_eq!(rest(&mut server.connect()), "");
    assert_eq!(talk(&mut server.connect(), "GET / HTTP/1.1\r\nhost: "), "");
    let mut dripping = server.connect();
    let is_cut = (0..100).any(|_| {
        sleep(SHORT / 10);
        dripping.write_all(b"G").is_err()
    });
    assert!(is_cut, "each byte came in time, the header did not");
}

#[test]
fn the_limit_of_a_header_does_not_hold_for_what_comes_after_it() {
    let server = Running::start(Limits { header_timeout: SHORT, ..wide() });
    let mut stream = server.connect();
    stream.write_all(b"PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 6\r\n\r\nhal").unwrap();
    sleep(SHORT * 2);
    assert!(talk(&mut stream, "ves").ends_with("PUT tcp x 6"));
    let mut idle = server.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    response(&mut idle);
    sleep(SHORT * 2);
    assert!(talk(&mut idle, LAST_GET).ends_with("GET tcp x 0"), "an idle connection is no slow header");
}

#[test]
fn an_idle_connection_is_closed_and_a_second_header_is_due_in_time() {
    let server = Running::start(Limits { idle_timeout: SHORT, ..wide() });
    let mut idle = server.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    assert!(rest(&mut idle).ends_with("GET tcp x 0"));

    let server = Running::start(Limits { header_timeout: SHORT, ..wide() });
    let mut slow = server.connect();
    slow.write_all(GET.as_bytes()).unwrap();
    response(&mut slow);
    assert_eq!(talk(&mut slow, "GET / HT"), "");
}

#[test]
fn a_body_that_stalls_is_broken_off() {
    let server = Running::start(Limits { body_timeout: SHORT, ..wide() });
    let mut stream = server.connect();
    let said = talk(&mut stream, "PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nhal");
    assert!(said.contains("PUT tcp broken"), "the service learns of it: {said}");
}

#[test]
fn a_client_that_takes_no_response_is_cut() {
    let server = Running::start(Limits { body_timeout: SHORT, connections: 1, ..wide() });
    let mut greedy = server.connect();
    greedy.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    // There is one place, so that this waits until the other has lost it.
    assert!(talk(&mut server.connect(), LAST_GET).ends_with("GET tcp x 0"));
    assert!(rest(&mut greedy).len() < 64 << 20);
}

#[test]
fn too_many_connections_wait_for_their_turn() {
    let server = Running::start(Limits { connections: 2, ..wide() });
    let mut first: Vec<TcpStream> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut first {
        stream.write_all(GET.as_bytes()).unwrap();
        response(stream);
    }
    let mut third = server.connect();
    third.write_all(LAST_GET.as_bytes()).unwrap();
    third.set_read_timeout(Some(SHORT)).unwrap();
    assert!(third.peek(&mut [0]).is_err(), "nobody has read its request");
    third.set_read_timeout(Some(super::PATIENCE)).unwrap();
    drop(first.pop());
    assert!(rest(&mut third).ends_with("GET tcp x 0"));
}

#[test]
fn headers_have_limits() {
    let server = Running::start(wide());
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(300 << 10));
    for headers in [many, long] {
        let mut stream = server.connect();
        // The server may hang up before all of it is written.
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes());
        let said = rest(&mut stream);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
    }
    assert!(talk(&mut server.connect(), LAST_GET).ends_with("GET tcp x 0"));
}

#[test]
fn every_response_carries_the_configured_headers() {
    let mut site = Site { limits: wide(), ..Site::new(echo()) };
    site.headers.append("x-content-type-options", "nosniff".parse().unwrap());
    site.headers.append("x-two", "a".parse().unwrap());
    site.headers.append("x-two", "b".parse().unwrap());
    let server = Running::start_at(&Address::Tcp("localhost:0".to_owned()), None, site);
    let said = talk(&mut server.connect(), LAST_GET);
    for header in ["x-content-type-options: nosniff\r\n", "x-two: a\r\n", "x-two: b\r\n"] {
        assert!(said.contains(header), "{said}");
    }
}

#[test]
fn a_stopped_server_finishes_what_was_begun() {
    let mut server = Running::start(wide());
    let mut idle = server.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    response(&mut idle);
    let mut busy = server.connect();
    busy.write_all(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nhal").unwrap();
    sleep(SHORT);
    server.stop();
    assert_eq!(rest(&mut idle), "", "an idle connection is closed");
    let refused = (0..100).any(|_| {
        sleep(Duration::from_millis(20));
        TcpStream::connect(server.socket()).is_err()
    });
    assert!(refused, "nobody new gets in");
    assert!(talk(&mut busy, "ves").ends_with("PUT tcp x 6"));
    assert_eq!(server.ended(), Drained::All);
}

#[test]
fn what_takes_too_long_is_cut_at_the_end() {
    let mut server = Running::start(Limits { drain_timeout: SHORT, ..wide() });
    let mut busy = server.connect();
    busy.write_all(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nhal").unwrap();
    sleep(SHORT);
    server.stop();
    assert_eq!(server.ended(), Drained::Cut(1));
    assert_eq!(rest(&mut busy), "");
}

#[test]
fn addresses_that_cannot_be_had_are_named() {
    let server = Running::start(wide());
    let bind = |address: &str| {
        let address = Address::Tcp(address.to_owned());
        server.runtime.block_on(Server::bind(&address, None)).unwrap_err()
    };
    let taken = bind(&server.socket().to_string());
    assert!(taken.is_in_use() && taken.to_string().contains(&server.socket().to_string()), "{taken}");
    for (address, word) in [("localhost", "HOST:PORT"), ("localhost:http", "number"), ("192.0.2.1:0", "192.0.2.1:0")] {
        let error = bind(address);
        assert!(error.to_string().contains(word) && !error.is_in_use(), "{error}");
    }
    assert!(server.runtime.block_on(Server::bind(&Address::Tcp(":0".to_owned()), None)).is_ok());
}
