//! A socket in the file system instead of a port.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use pullplug::http::server::{Address, Server, Site};

use super::{LAST_GET, Running, echo, talk, wide};

fn start(path: &Path) -> Running {
    Running::start_at(&Address::Unix(path.to_owned()), None, Site { limits: wide(), ..Site::new(echo()) })
}

#[test]
fn clients_come_through_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.sock");
    let mut server = start(&path);
    assert!(talk(&mut UnixStream::connect(&path).unwrap(), LAST_GET).ends_with("GET unix x 0"));

    let second = server.runtime.block_on(Server::bind(&Address::Unix(path.clone()), None)).unwrap_err();
    assert!(second.is_in_use(), "{second}");
    assert!(talk(&mut UnixStream::connect(&path).unwrap(), LAST_GET).ends_with("GET unix x 0"), "it is still there");

    server.stop();
    server.ended();
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn what_a_killed_server_left_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _server = start(&path);
    assert!(talk(&mut UnixStream::connect(&path).unwrap(), LAST_GET).ends_with("GET unix x 0"));
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let server = Running::start(wide());
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = server.runtime.block_on(Server::bind(&Address::Unix(file.path().to_owned()), None)).unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert!(file.path().exists());
}
