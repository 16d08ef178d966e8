//! Users from a file: who gets in, and what an edit of the file changes.

use std::path::Path;

use data_encoding::BASE64;
use pullplug::http::auth::{Auth, Htpasswd, HtpasswdOptions};

use super::{ask, block_on, guarded, text};
use crate::script::assert_snapshot;

/// bcrypt's cheapest, so that the tests are fast.
const COST: u32 = 4;

#[expect(clippy::disallowed_methods, reason = "the file is the operator's, not the registry's")]
fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
}

fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, COST).unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

fn htpasswd(path: &Path) -> Htpasswd {
    Htpasswd::new(HtpasswdOptions { realm: "a \"realm\"".into(), path: path.to_owned(), salt: [7; 32] }).unwrap()
}

#[test]
fn who_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    let md5 = "old:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nplain:plain\nempty:\n";
    write(&path, &format!("# people\n\n{}  {}{md5}", line("me", "sésame"), line("you", "x:y")));
    let router = guarded(Auth::Htpasswd(htpasswd(&path)));
    block_on(async {
        // Twice: the second time from memory.
        for round in 0..2 {
            for (user, password, expected) in [
                ("me", "sésame", 200),
                ("you", "x:y", 200),
                ("me", "x:y", 401),
                ("me", "", 401),
                ("ME", "sésame", 401),
                ("", "", 401),
                ("nobody", "sésame", 401),
                ("old", "myPassword", 401),
                ("plain", "plain", 401),
                ("empty", "", 401),
                ("# people", "", 401),
            ] {
                let response = ask(&router, "DELETE", "/v2/a/manifests/v1", &basic(user, password)).await;
                assert_eq!(response.status(), expected, "{user} in round {round}");
            }
        }
        let told = text(ask(&router, "GET", "/v2/", &basic("me", "sésame")).await).await;
        assert!(told.ends_with("\nme GET /v2/"), "{told}");
        let bearer = basic("me", "sésame").replace("Basic", "Bearer");
        assert_eq!(ask(&router, "GET", "/v2/", &bearer).await.status(), 401);
    });
}

#[test]
fn what_is_told_without_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    write(&path, &line("me", "sésame"));
    let router = guarded(Auth::Htpasswd(htpasswd(&path)));
    block_on(async {
        assert_snapshot("htpasswd_challenge", &text(ask(&router, "GET", "/v2/", "").await).await);
        let wrong = text(ask(&router, "GET", "/v2/", &basic("me", "wrong")).await).await;
        assert_eq!(wrong, text(ask(&router, "GET", "/v2/", &basic("nobody", "wrong")).await).await);
        for uri in ["/", "/v2", "/v2/none", "/v2/A/tags/list", "/v2/a/tags/list?n=x", "/metrics", "/v2/%ff"] {
            assert_eq!(ask(&router, "GET", uri, "").await.status(), 401, "{uri}");
        }
    });
}

#[test]
fn an_edit_holds_from_the_next_request_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    write(&path, &line("me", "first"));
    let router = guarded(Auth::Htpasswd(htpasswd(&path)));
    let status = |password: &str| block_on(ask(&router, "GET", "/v2/", &basic("me", password))).status().as_u16();
    assert_eq!((status("first"), status("second")), (200, 401));
    // As long as the first, and perhaps within one tick of the file system's clock.
    write(&path, &line("me", "second"));
    assert_eq!((status("first"), status("second")), (401, 200));
    write(&path, &line("you", "second"));
    assert_eq!(status("second"), 401);
    write(&path, "");
    assert_eq!(status("second"), 401);
    // While it says nothing of use, nobody gets in: neither as it was, nor as anybody.
    for bad in ["me\n", "me:x\nno colon\n", "\u{0}"] {
        write(&path, bad);
        assert_eq!(status("second"), 503, "{bad:?}");
    }
    tempfile::NamedTempFile::new_in(&dir).unwrap().persist(&path).unwrap();
    assert_eq!(status("second"), 401);
    write(&path, &line("me", "second"));
    assert_eq!(status("second"), 200);
    dir.close().unwrap();
    let gone = block_on(async { text(ask(&router, "GET", "/v2/", &basic("me", "second")).await).await });
    assert!(gone.starts_with("503") && !gone.contains("htpasswd"), "{gone}");
}

#[test]
fn a_file_that_is_of_no_use_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("htpasswd");
    let open = || {
        let options = HtpasswdOptions { realm: String::new(), path: path.clone(), salt: [0; 32] };
        Htpasswd::new(options).err().map(|e| e.detail)
    };
    assert!(open().unwrap().contains("No such file"));
    write(&path, "\nme\n");
    assert_eq!(open().unwrap(), "line 2 is not user:hash");
    write(&path, "x:y\n".repeat(1 << 18).as_str());
    assert_eq!(open(), None);
    write(&path, "x:yz\n".repeat(1 << 18).as_str());
    assert_eq!(open().unwrap(), "it has more than 1048576 bytes");
}
