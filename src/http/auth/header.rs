//! The `Authorization` header read, the `WWW-Authenticate` header written.
//!
//! Reading takes any bytes and tells only whether they are credentials; what it returns is secret and has no `Debug`
//! that would show it.

use std::fmt;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use data_encoding::BASE64;

/// A user name and a password, as a client sent them.
#[derive(PartialEq, Eq)]
pub struct Basic {
    /// The user: all before the first colon.
    pub user: String,
    /// The password; any bytes.
    pub password: Vec<u8>,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({:?}, …)", self.user)
    }
}

/// The credentials of the scheme `scheme` (whatever its case), if the request has them. A request with several
/// `Authorization` headers has none: two readers might pick different ones.
pub fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (given, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    (given.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// The user and password of a Basic header.
pub fn basic(headers: &HeaderMap) -> Option<Basic> {
    let mut decoded = BASE64.decode(credentials(headers, "Basic")?.as_bytes()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some(Basic { user: String::from_utf8(decoded).ok()?, password })
}

/// The token of a Bearer header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "Bearer")
}

/// A challenge: the scheme and its parameters, each quoted, in this order.
///
/// ```
/// use pullplug::http::auth::header::challenge;
/// assert_eq!(challenge("Basic", &[("realm", "say \"hi\"")]), r#"Basic realm="say \"hi\"""#);
/// ```
pub fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> String {
    let quoted = parameters.iter().map(|(name, value)| {
        let value: String = value.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).collect();
        format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    });
    format!("{scheme} {}", quoted.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_is_a_credential() {
        let encoded = |text: &[u8]| format!("bAsIc  {}", BASE64.encode(text)).into_bytes();
        let found = basic(&headers(&[&encoded(b"me:a:b\xff")])).unwrap();
        assert_eq!((found.user.as_str(), &found.password[..]), ("me", &b"a:b\xff"[..]));
        assert_eq!(format!("{found:?}"), "Basic(\"me\", …)", "the password is not shown");
        assert_eq!(basic(&headers(&[&encoded(b":")])).unwrap().user, "");
        for bad in [&encoded(b"no colon")[..], &encoded(b"\xff:x"), b"Basic", b"Basic ", b"Basic !", b"Bearer bWU6eA=="]
        {
            assert_eq!(basic(&headers(&[bad])), None, "{bad:?}");
        }
        assert_eq!(bearer(&headers(&[b"BEARER a.b.c"])), Some("a.b.c"));
        assert_eq!(bearer(&headers(&[b"Bearer a", b"Bearer a"])), None, "which of them?");
        assert_eq!(bearer(&headers(&[])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..80), basic_led in any::<bool>()) {
            let mut value = if basic_led { b"Basic ".to_vec() } else { Vec::new() };
            value.extend(&bytes);
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, value);
                prop_assert!(basic(&headers).is_none() || bearer(&headers).is_none());
            }
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(user in "[^:]{0,20}", password in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = [user.as_bytes(), b":", &password].concat();
            let found = basic(&headers(&[format!("Basic {}", BASE64.encode(&text)).as_bytes()]));
            prop_assert_eq!(found, Some(Basic { user, password }));
        }

        #[test]
        fn a_challenge_is_one_header_whatever_is_in_it(realm in any::<String>()) {
            let text = challenge("Bearer", &[("realm", &realm), ("service", "s")]);
            prop_assert!(HeaderValue::from_str(&text).is_ok());
            prop_assert!(text.ends_with(",service=\"s\""));
        }
    }
}
