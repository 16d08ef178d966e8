//! Acknowledgements: what sockets show of a registry.

use pullplug::check::oracle::{Event, Mark};
use pullplug::oci::{Digest, manifest::OCI_MANIFEST};

use super::whole;
use crate::strategies::{content, manifest};

fn line(call: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("7 {call}(5<socket:[9]>, \"{hex}\", {0}) = {0}\n", bytes.len())
}

fn asked(head: &str, body: &[u8]) -> String {
    let head = format!("{head}\r\nContent-Type: {OCI_MANIFEST}\r\nContent-Length: {}\r\n\r\n", body.len());
    // In two pieces, as a server reads that looks at the first byte alone.
    let all = [head.as_bytes(), body].concat();
    line("read", &all[..1]) + &line("read", &all[1..])
}

fn answered(status: &str) -> String {
    line("write", format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
}

#[test]
fn answers_to_requests_are_marks_of_what_was_promised() {
    let (config, layer) = (content("config", 79), content("layer", 600));
    let image = manifest(&config, &[&layer], 400);
    let (blob, digest) = (Digest::sha256(&layer), Digest::sha256(&image));
    let encoded = blob.to_string().replace(':', "%3A");
    let exchanges = [
        ("POST /v2/lib/app/blobs/uploads/ HTTP/1.1".to_owned(), &b""[..], "202 Accepted"),
        (format!("PUT /v2/lib/app/blobs/uploads/1?_state=x&digest={encoded} HTTP/1.1"), &layer[..], "201 Created"),
        (format!("POST /v2/b/blobs/uploads/?mount={blob}&from=lib/app HTTP/1.1"), b"", "201 Created"),
        (format!("POST /v2/b/blobs/uploads/?mount={blob}&from=no HTTP/1.1"), b"", "202 Accepted"),
        ("PUT /v2/lib/app/manifests/v1 HTTP/1.1".to_owned(), &image, "400 Bad Request"),
        ("GET /v2/lib/app/manifests/v1 HTTP/1.1".to_owned(), b"", "404 Not Found"),
        ("PUT /v2/lib/app/manifests/v1 HTTP/1.1".to_owned(), &image, "201 Created"),
        (format!("DELETE /v2/lib/app/manifests/{digest} HTTP/1.1"), b"", "202 Accepted"),
        ("DELETE /v2/lib/app/manifests/v1 HTTP/1.1".to_owned(), b"", "500 Oh"),
        (format!("DELETE /v2/lib/app/blobs/{blob} HTTP/1.1"), b"", "202 Accepted"),
    ];
    let mkdir = "7 mkdir(\"/r/a\", 0777) = 0\n7 rmdir(\"/r/a\") = 0\n";
    let text: String =
        exchanges.iter().map(|(head, body, status)| asked(head, body) + mkdir + &answered(status)).collect();
    let recording = whole(&text);
    let (app, b) = ("lib/app".parse().unwrap(), "b".parse().unwrap());
    let put = |repo: &pullplug::oci::Name| Some(Event::PutBlob { repo: repo.clone(), digest: blob, upload: None });
    let expected = [
        None,
        put(&app),
        put(&b),
        None,
        Some(Event::PutManifest {
            repo: app.clone(),
            digest,
            blobs: vec![Digest::sha256(&config), blob],
            tag: Some("v1".parse().unwrap()),
        }),
        Some(Event::DeleteManifest(app.clone(), digest)),
        Some(Event::DeleteTag(app.clone(), "v1".parse().unwrap())),
        Some(Event::DeleteBlob(app, blob)),
    ];
    assert_eq!(recording.events, expected);
    let answered = |op: usize| recording.passed.contains(&Mark::End(op));
    let unanswered: Vec<usize> = (0..expected.len()).filter(|op| !answered(*op)).collect();
    assert_eq!(unanswered, [6], "a server that failed may have done it, or not");
    assert_eq!(recording.contents.get(&digest).unwrap().bytes, image);
    // Each operation stands around its calls.
    let log: Vec<&str> = recording.run.log.iter().map(|record| record.call.as_str()).collect();
    assert_eq!(log[..8], ["mark 0", "mkdir a", "rmdir a", "mark 1", "mark 2", "mkdir a", "rmdir a", "mark 3"]);
}

#[test]
fn connections_that_are_not_understood_are_told_and_sockets_of_clients_are_not() {
    let recording = whole(&(line("read", b"\x16\x03\x01\x02") + "7 mkdir(\"/r/a\", 0777) = 0\n"));
    assert_eq!(recording.notes.others().len(), 1);
    let recording =
        whole(&(line("sendto", b"PUT /v2/a/manifests/b HTTP/1.1\r\n\r\n") + &line("recvfrom", b"HTTP/1.1 201 \r\n")));
    assert_eq!((recording.notes.others().len(), recording.ops.len()), (0, 0));
}
