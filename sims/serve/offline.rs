//! `pullplug garbage-collect` beside, and after, a server.

use rustix::process::Signal;

use super::process::{Served, pullplug, refused, text, write};

const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn collect(args: &[&str]) -> String {
    let output = pullplug(&[&["garbage-collect"], args].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn garbage_is_named_then_removed_once_no_server_holds_it() {
    for strategy in ["durable", "distribution-2.8", "distribution-3.1"] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("images");
        let server = Served::on(&root, &["--strategy", strategy]);
        let pushed = server.ask(&format!("POST /v2/lib/app/blobs/uploads/?digest={HELLO}"), "hello");
        assert!(pushed.starts_with("HTTP/1.1 201 "), "{pushed}");
        let root = root.to_str().unwrap();
        let (code, said) = refused(&mut pullplug(&["garbage-collect", "--root", root]));
        assert_eq!(code, 69);
        assert!(said.contains("in use"), "{said}");
        server.signal(Signal::TERM);
        server.end();

        let config = dir.path().join("config.yml");
        write(&config, &format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n"));
        let config = config.to_str().unwrap();
        for _ in 0..2 {
            let said = collect(&["--dry-run", config, "--strategy", strategy]);
            assert!(said.contains(&format!("blob eligible for deletion: {HELLO}")), "{said}");
            assert!(said.contains("1 blobs, 0 manifests and ") && said.contains("dry run"), "{said}");
        }
        let said = collect(&["-m", config, "--strategy", strategy]);
        assert!(said.contains("1 blobs") && said.ends_with("deleted\n"), "{said}");
        let said = collect(&["--root", root, "--strategy", strategy]);
        assert!(said.contains("0 blobs, 0 manifests"), "{said}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("no");
    let (code, said) = refused(&mut pullplug(&["garbage-collect", "--root", root.to_str().unwrap()]));
    assert_eq!(code, 69);
    assert!(said.to_lowercase().contains("no such file"), "{said}");
    assert!(!root.exists());
}
