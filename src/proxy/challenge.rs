//! What a registry wants to see before it gives anything: the `WWW-Authenticate` header, and whom to trust with a
//! password.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Uri};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token, which is to be had at `realm` for `service`.
    Bearer {
        /// A URL.
        realm: String,
        /// May be empty.
        service: String,
    },
}

impl Challenge {
    /// The first challenge in `headers` that is understood.
    ///
    /// ```
    /// use pullplug::proxy::challenge::Challenge;
    /// let mut headers = http::HeaderMap::new();
    /// headers.append("www-authenticate", "Negotiate".parse().unwrap());
    /// headers.append("www-authenticate", r#"Bearer realm="https://a/token",service="a, b""#.parse().unwrap());
    /// let wanted = Challenge::Bearer { realm: "https://a/token".into(), service: "a, b".into() };
    /// assert_eq!(Challenge::read(&headers), Some(wanted));
    /// ```
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().find_map(|header| {
            let header = header.to_str().ok()?;
            let (scheme, parameters) = header.split_once(' ').unwrap_or((header, ""));
            if scheme.eq_ignore_ascii_case("basic") {
                return Some(Self::Basic);
            }
            let realm = parameter(parameters, "realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
            Some(Self::Bearer { realm, service: parameter(parameters, "service").unwrap_or_default() })
        })
    }
}

/// The value of one parameter, quoted or not. Quotes in quotes are in no URL and no service's name.
fn parameter(mut text: &str, name: &str) -> Option<String> {
    while let Some((key, rest)) = text.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if key.trim_matches([' ', ',']).eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        text = rest;
    }
    None
}

/// Whether `realm` may see the password for `upstream`: no worse a connection, and the same host or one beside or above
/// it (`auth.example.com` for `registry.example.com`). Else whoever answers for the registry could have it sent anywhere.
pub fn is_trusted(upstream: &Uri, realm: &Uri) -> bool {
    let (Some(host), Some(realm_host)) = (upstream.host(), realm.host()) else { return false };
    if upstream.scheme_str() == Some("https") && realm.scheme_str() != Some("https") {
        return false;
    }
    let is_numeric = host.starts_with('[') || host.rsplit('.').next().is_some_and(|l| l.parse::<u32>().is_ok());
    let domain = host.split_once('.').map(|(_, domain)| domain).filter(|domain| domain.contains('.') && !is_numeric);
    let is_near =
        |domain: &str| realm_host.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    realm_host == host || domain.is_some_and(is_near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
            Challenge::read(&headers)
        };
        let bearer = |realm: &str, service: &str| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned() })
        };
        assert_eq!(read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(read("bearer scope=\"a=b\", service=s, realm=\"http://r/?x=1\""), bearer("http://r/?x=1", "s"));
        assert_eq!(read("Bearer realm=http://r"), bearer("http://r", ""));
        for none in ["", "Bearer", "Bearer service=\"s\"", "Bearer realm=\"unclosed", "Digest realm=\"r\""] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn a_password_goes_nowhere_else() {
        for (upstream, realm, is_good) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("https://ghcr.io", "http://ghcr.io/token", false),
            ("https://ghcr.io", "https://evil.io/token", false),
            ("https://registry-1.docker.io", "https://evildocker.io/token", false),
            ("https://registry-1.docker.io", "https://docker.io.evil.com/token", false),
            ("http://127.0.0.1:5000", "http://9.0.0.1/token", false),
        ] {
            assert_eq!(is_trusted(&upstream.parse().unwrap(), &realm.parse().unwrap()), is_good, "{upstream} {realm}");
        }
    }
}
