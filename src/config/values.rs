//! Values that YAML has no type for: durations as Go writes them, and secrets.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration as Go writes it: `24h`, `1h30m`, `1.5s`, `300ms`; a bare number counts nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

impl GoDuration {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map(Self).ok_or_else(|| {
            format!("{text:?} is no duration: it must be like 24h, 1h30m, 10s or 500ms, and not negative")
        })
    }
}

fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_nanos);
    }
    let mut nanos: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit_nanos: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // Digits past the eighteenth are below any nanosecond.
        let fraction = &fraction[..fraction.len().min(18)];
        let digits: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        nanos += u128::from(whole) * unit_nanos + digits * unit_nanos / 10u128.pow(fraction.len() as u32);
        rest = tail;
    }
    // As in Go, a duration fits 63 bits of nanoseconds (292 years).
    i64::try_from(nanos).ok().map(|nanos| Duration::from_nanos(nanos.unsigned_abs()))
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Parses inside of the deserializer, which knows the key that an error belongs to.
        struct Text;

        impl Visitor<'_> for Text {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Text that is never printed. Read it with [`reveal`](Secret::reveal), where it is used.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            (".5s", 500),
            ("1.s", 1000),
            ("500ms", 500),
            ("+5s", 5000),
            ("0", 0),
            ("1000000000", 1000),
            ("168h0m0s", 604_800_000),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(Duration::from_millis(millis))), "{text}");
        }
        assert_eq!("1µs".parse(), Ok(GoDuration(Duration::from_micros(1))));
        for text in ["", "5", "-5s", "5 s", "s", ".s", "1d", "1h5", "1e3s", "9999999999h", "1..5s", "٣s"] {
            let parsed = text.parse::<GoDuration>();
            // A bare number is nanoseconds, as in YAML that Go reads.
            assert!(parsed.is_err() || text == "5", "{text}: {parsed:?}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret("hunter2".to_owned());
        assert_eq!((format!("{secret:?}").as_str(), secret.reveal()), ("Secret(hidden)", "hunter2"));
    }
}
