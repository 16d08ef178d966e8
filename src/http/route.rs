//! Which endpoint a path names.
//!
//! Repository names contain slashes, so a path is read from its end: the last two or three segments say what it is,
//! all before them is the name. A pure function, shared by the endpoints and by whoever must know a request's
//! repository before them (authorisation), so that the two never disagree.

use std::str::FromStr;

use super::query::percent_decode;
use crate::oci::{Digest, InvalidWord, Name, Reference, UploadId};

/// An endpoint, and what its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(Name),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(Name, Digest),
    /// `/v2/NAME/blobs/DIGEST`
    Blob(Name, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(Name),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(Name, UploadId),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(Name, Reference),
}

/// Why a path names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It has the form of none.
    #[error("there is no such endpoint; those of the registry begin with /v2/")]
    NotFound,
    /// It has the form of one, but a word in it is not valid.
    #[error(transparent)]
    Word(#[from] InvalidWord),
}

impl Route {
    /// The endpoint that `path` names: the path of a request's URI, percent-encoded as it came, without its query.
    ///
    /// ```
    /// use pullplug::http::route::Route;
    /// let route = Route::parse("/v2/library/debian/manifests/12");
    /// assert!(matches!(route, Ok(Route::Manifest(name, _)) if name.as_str() == "library/debian"));
    /// assert!(Route::parse("/v2/library/../manifests/12").is_err());
    /// ```
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let path = percent_decode(path).ok_or(RouteError::NotFound)?;
        if path == "/v2" {
            return Ok(Self::Base);
        }
        let rest = path.strip_prefix("/v2/").ok_or(RouteError::NotFound)?;
        match rest {
            "" => return Ok(Self::Base),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        let (head, last) = rest.rsplit_once('/').ok_or(RouteError::NotFound)?;
        let (name, kind) = head.rsplit_once('/').ok_or(RouteError::NotFound)?;
        match kind {
            "manifests" => Ok(Self::Manifest(name.parse()?, last.parse()?)),
            "referrers" => Ok(Self::Referrers(name.parse()?, last.parse()?)),
            "tags" if last == "list" => Ok(Self::Tags(name.parse()?)),
            "blobs" if last == "uploads" => Ok(Self::Uploads(name.parse()?)),
            "blobs" => Ok(Self::Blob(name.parse()?, last.parse()?)),
            "uploads" => match name.rsplit_once('/') {
                Some((name, "blobs")) if last.is_empty() => Ok(Self::Uploads(name.parse()?)),
                Some((name, "blobs")) => Ok(Self::Upload(Name::from_str(name)?, last.parse()?)),
                _ => Err(RouteError::NotFound),
            },
            _ => Err(RouteError::NotFound),
        }
    }

    /// The repository, where the endpoint is one of a repository.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(name)
            | Self::Referrers(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Manifest(name, _) => Some(name),
        }
    }

    /// The name of the endpoint: for metrics and logs, never with what the client wrote.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags(_) => "tags",
            Self::Referrers(..) => "referrers",
            Self::Blob(..) => "blob",
            Self::Uploads(_) => "uploads",
            Self::Upload(..) => "upload",
            Self::Manifest(..) => "manifest",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The path of a route, as a client writes it.
    fn path(route: &Route) -> String {
        match route {
            Route::Base => "/v2/".into(),
            Route::Catalog => "/v2/_catalog".into(),
            Route::Tags(n) => format!("/v2/{n}/tags/list"),
            Route::Referrers(n, d) => format!("/v2/{n}/referrers/{d}"),
            Route::Blob(n, d) => format!("/v2/{n}/blobs/{d}"),
            Route::Uploads(n) => format!("/v2/{n}/blobs/uploads/"),
            Route::Upload(n, id) => format!("/v2/{n}/blobs/uploads/{id}"),
            Route::Manifest(n, r) => format!("/v2/{n}/manifests/{r}"),
        }
    }

    #[test]
    fn names_may_hold_the_words_of_the_endpoints() {
        for name in
            ["a", "blobs", "manifests/blobs/uploads", "a/blobs/uploads", "tags/list", "v2/a/referrers", "a/tags"]
        {
            let (n, d): (Name, Digest) = (name.parse().unwrap(), D.parse().unwrap());
            for route in [
                Route::Tags(n.clone()),
                Route::Referrers(n.clone(), d),
                Route::Blob(n.clone(), d),
                Route::Uploads(n.clone()),
                Route::Upload(n.clone(), "manifests".parse().unwrap()),
                Route::Manifest(n.clone(), d.into()),
                Route::Manifest(n.clone(), "uploads".parse().unwrap()),
            ] {
                assert_eq!(Route::parse(&path(&route)), Ok(route.clone()));
                assert_eq!(Route::parse(&path(&route).replace(':', "%3a")), Ok(route.clone()));
                assert_eq!(route.name(), Some(&n));
            }
        }
        assert_eq!(Route::parse("/v2"), Ok(Route::Base));
        assert_eq!(Route::parse("/v2/a/blobs/uploads"), Route::parse("/v2/a/blobs/uploads/"));
    }

    #[test]
    fn other_paths_are_refused_for_what_is_wrong() {
        for none in
            ["", "/", "/v1/", "/v2/a", "/v2//", "/v2/tags/list", "/v2/a/tags/all", "/v2/uploads/x", "/v2/%ff/tags/list"]
        {
            assert_eq!(Route::parse(none), Err(RouteError::NotFound), "{none}");
        }
        let long = format!("/v2/{}/tags/list", "a".repeat(256));
        for (path, what) in [
            ("/v2/a/../b/tags/list", "repository name"),
            ("/v2/a//b/tags/list", "repository name"),
            ("/v2/a%2f..%2fb/tags/list", "repository name"),
            ("/v2/A/tags/list", "repository name"),
            (&long, "repository name"),
            ("/v2/a/blobs/sha256:12", "digest"),
            ("/v2/a/blobs/", "digest"),
            ("/v2/a/referrers/md5:12", "digest"),
            ("/v2/a/manifests/.x", "tag"),
            ("/v2/a/manifests/sha256:xyz", "digest"),
            ("/v2/a/blobs/uploads/a%20b", "upload id"),
        ] {
            let error = Route::parse(path).unwrap_err();
            assert!(matches!(&error, RouteError::Word(w) if w.what == what), "{path}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_an_answer_and_a_route_is_its_path(segments in prop::collection::vec(
            prop_oneof!["[a-z0-9._-]{0,4}", "blobs|uploads|manifests|tags|list|referrers|_catalog|\\.\\.", Just(D.to_owned()), "\\PC{0,5}"],
            0..7,
        )) {
            let text = format!("/v2/{}", segments.join("/"));
            if let Ok(route) = Route::parse(&text) {
                prop_assert_eq!(Route::parse(&path(&route)), Ok(route));
            }
        }

        #[test]
        fn any_text_is_an_answer(text in "\\PC*") {
            let _ = Route::parse(&text);
        }
    }
}
