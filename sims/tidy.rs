//! The tree itself: what every file owes its readers, and the layers.

use std::path::{Path, PathBuf};

/// Longest file that is still read in one sitting, in lines.
const MAX_FILE_LINES: usize = 400;

/// The layers, each importing only those before it.
const LAYERS: [&str; 19] = [
    "env",
    "config",
    "fs",
    "oci",
    "disk",
    "strategy",
    "registry",
    "http",
    "proxy",
    "check",
    "explore",
    "workload",
    "synthesis",
    "trace",
    "kernel",
    "sim",
    "report",
    "harness",
    "cli",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[expect(clippy::disallowed_methods, reason = "the checks read the source tree itself")]
fn rust_files() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut dirs = vec![root().join("src"), root().join("sims"), root().join("benches")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
                files.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 20, "the source tree was not found");
    files
}

#[test]
fn every_file_says_what_it_is_for_and_can_be_read_in_one_sitting() {
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        if !text.starts_with("//! ") {
            faults.push(format!("{}: no module documentation on the first line", path.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            faults.push(format!("{}: {lines} lines, more than {MAX_FILE_LINES}", path.display()));
        }
        for word in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore]")] {
            if text.contains(word) {
                faults.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn layers_import_only_those_below() {
    let mut faults = Vec::new();
    for (path, text) in rust_files() {
        let Ok(inner) = path.strip_prefix("src") else { continue };
        let top = inner.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some(level) = LAYERS.iter().position(|l| *l == top) else {
            if !["lib", "main"].contains(&&*top) {
                faults.push(format!("{}: {top} is no known layer", path.display()));
            }
            continue;
        };
        // Comments may name anything; code may not.
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for above in &LAYERS[level + 1..] {
            if code.contains(&format!("crate::{above}")) {
                faults.push(format!("{}: {top} imports {above}", path.display()));
            }
        }
        if top == "check" && code.contains("crate::disk") {
            faults.push(format!("{}: check is blind to the disk", path.display()));
        }
        if top == "explore" && ["strategy", "registry", "check"].iter().any(|l| code.contains(&format!("crate::{l}"))) {
            faults.push(format!("{}: explore knows no registry", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the checks read the source tree itself")]
fn nothing_else_at_the_top() {
    const ALLOWED: [&str; 9] = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "benches",
        "sims",
        "snapshots",
        "src",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || name == "target" || ALLOWED.contains(&name.as_str()), "{name}");
    }
}

/// A snapshot that no test writes any more is a lie about the program. Their names stand in the sources, but for what
/// a test puts in front of them.
#[test]
#[expect(clippy::disallowed_methods, reason = "the checks read the source tree itself")]
fn every_snapshot_has_its_test() {
    const PREFIXES: [&str; 2] = ["litmus_", "help-"];
    let sources = rust_files();
    for entry in std::fs::read_dir(root().join("snapshots")).unwrap() {
        let file = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!file.ends_with(".snap.new"), "{file}: a snapshot that waits for a review");
        let Some(name) = file.strip_suffix(".snap") else { continue };
        let short = PREFIXES.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        let quoted = [format!("\"{name}\""), format!("\"{short}\"")];
        let found = sources.iter().any(|(_, text)| quoted.iter().any(|q| text.contains(q.as_str())));
        assert!(found, "{file}: no test names it");
    }
}
