//! The headers with a grammar of their own: ranges, entity tags, links, and what a Location begins with.

use std::ops::RangeInclusive;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, HOST, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName};

use super::errors::{Code, Failure};
use crate::oci::Digest;
use crate::oci::manifest::MEDIA_TYPES;

/// Which bytes of a blob a GET asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first to the last of these, the last cut to the blob's end.
    FromTo(u64, u64),
    /// So many at the end.
    Last(u64),
}

/// How the URLs in Location and Link headers begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Urls {
    /// With the path: whatever stands between client and server is none of our affair.
    Relative,
    /// With the scheme and host that the client used, as far as the request and the proxies before us tell
    /// (X-Forwarded-Proto, X-Forwarded-Host, Host).
    #[default]
    OfRequest,
    /// With this, such as `https://registry.example`.
    Fixed(String),
}

impl Urls {
    /// The URL of `path` for the client that sent `headers`; `https` if the connection itself is encrypted.
    pub fn url(&self, headers: &HeaderMap, https: bool, path: &str) -> String {
        let base = match self {
            Self::Relative => None,
            Self::Fixed(base) => Some(base.trim_end_matches('/').to_owned()),
            Self::OfRequest => base_of(headers, https),
        };
        base.unwrap_or_default() + path
    }
}

/// The scheme and host that the client used; `None` where what the request says of it could not be a host.
fn base_of(headers: &HeaderMap, https: bool) -> Option<String> {
    let first =
        |name: &str| text(headers, &HeaderName::from_bytes(name.as_bytes()).ok()?)?.split(',').next().map(str::trim);
    let scheme = match first("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        Some(proto) if proto.eq_ignore_ascii_case("http") => "http",
        _ if https => "https",
        _ => "http",
    };
    let host = first("x-forwarded-host").filter(|host| !host.is_empty()).or_else(|| text(headers, &HOST))?;
    let authority: Authority = host.parse().ok()?;
    (!authority.as_str().contains('@')).then(|| format!("{scheme}://{authority}"))
}

/// A header's value, where it is text.
pub fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The range that a GET asks for: `None` for the whole, also where it asks for several ranges or in another unit.
///
/// Errors: `RANGE_INVALID` for a range that no blob could have.
pub fn range(headers: &HeaderMap, digest: &Digest) -> Result<Option<ByteRange>, Failure> {
    let Some(range) = text(headers, &RANGE).and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Ok(None);
    };
    // What was begun under another name must not be gone on with.
    if range.contains(',') || text(headers, &IF_RANGE).is_some_and(|tag| tag != etag(digest)) {
        return Ok(None);
    }
    let invalid = || Failure::new(Code::RangeInvalid, format!("the range {:?} is not valid", cut(range)));
    match range.split_once('-').ok_or_else(invalid)? {
        ("", last) => number(last).map(ByteRange::Last),
        (from, "") => number(from).map(|from| ByteRange::FromTo(from, u64::MAX)),
        (from, to) => {
            number(from).zip(number(to)).filter(|(from, to)| from <= to).map(|(f, t)| ByteRange::FromTo(f, t))
        }
    }
    .map(Some)
    .ok_or_else(invalid)
}

/// Where the chunk in a request belongs: `None` for the end of the upload.
///
/// Errors: `BLOB_UPLOAD_INVALID` for what is no range, `RANGE_INVALID` for one that is reversed or beyond all bounds,
/// `SIZE_INVALID` for one that is not as long as the body.
pub fn content_range(headers: &HeaderMap) -> Result<Option<RangeInclusive<u64>>, Failure> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let name = |code, why| Failure::new(code, format!("the Content-Range {:?} {why}", cut(&value)));
    let range = value.trim();
    let range = range.strip_prefix("bytes").map_or(range, |r| r.trim_start_matches([' ', '=']));
    let range = range.split('/').next().unwrap_or_default();
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let (from, to) = range
        .split_once('-')
        .filter(|(from, to)| is_number(from) && is_number(to))
        .ok_or_else(|| name(Code::BlobUploadInvalid, "is not of the form FIRST-LAST"))?;
    let (Ok(from), Ok(to)) = (from.parse::<u64>(), to.parse::<u64>()) else {
        return Err(name(Code::RangeInvalid, "is beyond what a blob can have"));
    };
    if from > to || to == u64::MAX {
        return Err(name(Code::RangeInvalid, "ends before it begins, or beyond what a blob can have"));
    }
    match content_length(headers) {
        Some(len) if len != to - from + 1 => Err(name(Code::SizeInvalid, "is not as long as the body")),
        _ => Ok(Some(from..=to)),
    }
}

/// The length that a request says its body has.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH)?.parse().ok()
}

/// The entity tag of content.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has this content already.
pub fn none_match(headers: &HeaderMap, digest: &Digest) -> bool {
    let digest = digest.to_string();
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"') == digest
    })
}

/// Whether a client that sent this Accept can read `media_type`. It cannot where it lists manifest types, all of them
/// others; whoever lists none at all takes what comes.
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut lists_others = false;
    for value in headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()) {
        for item in value.split(',') {
            match item.split(';').next().unwrap_or_default().trim() {
                "*/*" | "application/*" => return true,
                item if item.eq_ignore_ascii_case(media_type) => return true,
                item => lists_others |= MEDIA_TYPES.contains(&item),
            }
        }
    }
    !lists_others
}

/// Digits as a number; more of them than fit are the largest.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// What a stranger wrote, short enough for a message.
pub fn cut(value: &str) -> String {
    value.chars().take(100).collect()
}
