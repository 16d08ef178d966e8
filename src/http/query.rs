//! Query strings and percent-encoding.

/// The parameters of a query, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`. A parameter whose encoding makes no text is left out, as if it had not been sent.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| percent_decode(&text.replace('+', " "));
            Some((decode(key)?, decode(value)?)).filter(|(key, _)| !key.is_empty())
        });
        Self(pairs.collect())
    }

    /// The first parameter called `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All parameters called `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Replaces `%XX` by the byte it stands for; `None` where the result is not UTF-8 or an escape is not whole.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut decoded = [0];
        hex::decode_to_slice([rest.next()?, rest.next()?], &mut decoded).ok()?;
        bytes.push(decoded[0]);
    }
    String::from_utf8(bytes).ok()
}

/// Writes a value so that it can stand in a query: all but unreserved characters as `%XX`.
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_come_in_order_and_decoded() {
        let query = Query::parse(Some("tag=a&n=%31&tag=b+c&&=x&bad=%zz&flag"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!((query.get("n"), query.get("bad"), query.get("flag")), (Some("1"), None, Some("")));
        assert_eq!(Query::parse(None), Query::default());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(text in "\\PC*") {
            prop_assert_eq!(percent_decode(&percent_encode(&text)), Some(text.clone()));
            let query = Query::parse(Some(&format!("last={}", percent_encode(&text))));
            prop_assert_eq!(query.get("last"), Some(text.as_str()));
        }

        #[test]
        fn any_query_is_an_answer(text in "\\PC*") {
            Query::parse(Some(&text));
        }
    }
}
