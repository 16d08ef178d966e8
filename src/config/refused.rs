//! Keys of distribution that are not supported: each is refused by name, with what to do instead. A key that is
//! silently ignored may be the one that keeps strangers out.

use super::Error;
use super::node::{Node, Value};

/// Pairs of a key (`[]` is any item of a list) and a hint. A key covers all that is below it.
const REFUSED: [(&str, &str); 22] = [
    ("log.hooks", "remove it; let the log collector send the mail"),
    ("log.reportcaller", "remove it; log lines name their module"),
    ("storage.s3", CLOUD),
    ("storage.s3aws", CLOUD),
    ("storage.azure", CLOUD),
    ("storage.gcs", CLOUD),
    ("storage.swift", CLOUD),
    ("storage.oss", CLOUD),
    ("storage.rados", CLOUD),
    ("storage.middleware", MIDDLEWARE),
    ("storage.inmemory", "use storage.filesystem with a rootdirectory on a tmpfs"),
    ("storage.cache.layerinfo", "it was renamed: use storage.cache.blobdescriptor"),
    ("storage.tag", "remove it; tags are looked up without a limit of their own"),
    ("middleware", MIDDLEWARE),
    ("reporting", "remove it; errors are in the log"),
    ("redis", "remove it, and set storage.cache.blobdescriptor to inmemory"),
    ("http.prefix", "serve at the root of a host name of its own, or let a reverse proxy strip the prefix"),
    ("http.tls.letsencrypt", "get the certificate with an ACME client, and name it in http.tls.certificate and key"),
    ("proxy.exec", "name a username and password"),
    ("compatibility", "remove it; Docker's schema 1 is not served"),
    ("policy", "remove it; there are no classes of repositories"),
    ("validation.manifests.indexes", "remove it; an index needs all manifests that it names"),
];

const CLOUD: &str = "use storage.filesystem; object stores are not supported";
const MIDDLEWARE: &str = "remove it; there is no middleware";

/// Refuses the first key that is not supported.
pub(super) fn check(root: &Node) -> Result<(), Error> {
    visit(root, "", "")
}

/// `pattern` is `path` without the numbers.
fn visit(node: &Node, path: &str, pattern: &str) -> Result<(), Error> {
    if let Some((_, help)) = REFUSED.iter().find(|(key, _)| *key == pattern) {
        let mut error = Error::of(path, "is not supported").help(*help);
        error.variable.clone_from(&node.variable);
        return Err(error);
    }
    let below = |at: &str, key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match &node.value {
        Value::Map(entries) => {
            entries.iter().try_for_each(|(key, node)| visit(node, &below(path, key), &below(pattern, key)))
        }
        Value::List(list) => list
            .iter()
            .enumerate()
            .try_for_each(|(i, node)| visit(node, &format!("{path}[{i}]"), &format!("{pattern}[]"))),
        _ => Ok(()),
    }
}
