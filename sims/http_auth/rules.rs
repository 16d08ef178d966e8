//! What each request needs: no more, no less, whatever its path looks like.

use http::{Method, Uri};
use proptest::prelude::*;
use pullplug::http::auth::access::scopes;
use pullplug::http::auth::needed;

use crate::script::assert_snapshot;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn scope(method: &str, uri: &str) -> String {
    scopes(&needed(&method.parse::<Method>().unwrap(), &uri.replace("DIGEST", D).parse::<Uri>().unwrap()))
}

#[test]
fn every_endpoint() {
    let mut table = String::new();
    for (methods, uri) in [
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog?n=1"),
        ("GET", "/v2/a/b/tags/list"),
        ("GET", "/v2/a/b/referrers/DIGEST"),
        ("GET HEAD DELETE", "/v2/a/b/blobs/DIGEST"),
        ("POST", "/v2/a/b/blobs/uploads/"),
        ("POST", "/v2/a/b/blobs/uploads/?mount=DIGEST&from=c/d"),
        ("POST", "/v2/a/b/blobs/uploads/?mount=DIGEST&from=c%2fd&from=e"),
        ("POST", "/v2/a/b/blobs/uploads/?mount=DIGEST&from=a/b"),
        ("GET PATCH PUT DELETE", "/v2/a/b/blobs/uploads/id"),
        ("GET HEAD PUT DELETE", "/v2/a/b/manifests/v1"),
        ("GET", "/v2/%61/b/manifests/v1"),
        ("OPTIONS BREW", "/v2/a/b/manifests/v1"),
        ("GET", "/v2/a/b/unknown"),
        ("GET", "/v2/A/tags/list"),
        ("GET", "/"),
    ] {
        for method in methods.split(' ') {
            table += format!("{method:<7} {uri:<50} {}\n", scope(method, uri)).trim_end();
            table += "\n";
        }
    }
    assert_snapshot("auth_scopes", &table);
}

proptest! {
    #[test]
    fn a_write_to_a_repository_is_never_free(
        name in "[a-z]{1,4}(/[a-z]{1,4}){0,2}",
        rest in "blobs/uploads/?|blobs/uploads/[a-z]{1,4}|manifests/[a-z]{1,4}",
        method in "POST|PUT|PATCH|DELETE",
        query in "\\PC{0,20}",
    ) {
        let uri = format!("/v2/{name}/{rest}?{query}");
        if uri.parse::<Uri>().is_ok() {
            let action = if method == "DELETE" { "delete" } else { "pull,push" };
            prop_assert!(scope(&method, &uri).starts_with(&format!("repository:{name}:{action}")), "{}", uri);
        }
    }
}
