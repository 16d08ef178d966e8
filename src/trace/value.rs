//! The arguments of a call: where each ends, and what strings and descriptors say.

use super::TraceError;

/// Where the parts of a call end.
#[derive(Debug, Default)]
pub struct Outline {
    /// The commas between the arguments.
    commas: Vec<usize>,
    /// The parenthesis that ends the call, if there is one.
    pub close: Option<usize>,
}

/// Looks for the commas and the end of what follows a call's opening parenthesis.
pub fn outline(text: &str) -> Outline {
    let bytes = text.as_bytes();
    let mut found = Outline::default();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += quoted_len(&bytes[at..]),
            b'<' if leads(bytes, at) => at += leading_len(&bytes[at..]),
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                found.close = Some(at);
                return found;
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => found.commas.push(at),
            _ => {}
        }
        at += 1;
    }
    found
}

/// The arguments, without the blanks around them.
pub fn arguments(text: &str) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let commas = outline(text).commas;
    let starts = std::iter::once(0).chain(commas.iter().map(|comma| comma + 1));
    let ends = commas.iter().copied().chain([text.len()]);
    starts.zip(ends).map(|(start, end)| text[start..end].trim()).collect()
}

/// From an opening quote to the closing one.
fn quoted_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// Whether the bracket at `at` says where a descriptor leads: it follows its number, or `AT_FDCWD`.
fn leads(bytes: &[u8], at: usize) -> bool {
    let number = at > 0 && (bytes[at - 1].is_ascii_digit() || bytes[..at].ends_with(b"AT_FDCWD"));
    number && bytes.get(at + 1) != Some(&b'<')
}

/// From an opening bracket to the closing one. Paths have theirs escaped; addresses (`TCP:[A->B]`) do not.
fn leading_len(bytes: &[u8]) -> usize {
    let is_address = bytes
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && !b"<-".contains(b))
        .is_some_and(|colon| bytes[colon..].starts_with(b":["));
    let end: &[u8] = if is_address { b"]>" } else { b">" };
    bytes.windows(end.len()).position(|w| w == end).map_or(bytes.len(), |at| at + end.len() - 1)
}

/// A descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number; none for `AT_FDCWD`.
    pub number: Option<i32>,
    /// Where it leads: a path, a socket, a pipe.
    pub to: Option<Vec<u8>>,
    /// Whether the file there has lost its name.
    pub deleted: bool,
}

impl Descriptor {
    /// Reads `N<PATH>`, `AT_FDCWD<PATH>`, `N<PATH>(deleted)`, or without the path.
    pub fn parse(word: &str) -> Option<Self> {
        let (number, rest) = match word.strip_prefix("AT_FDCWD") {
            Some(rest) => (None, rest),
            None => {
                let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
                (Some(word[..end].parse().ok()?), &word[end..])
            }
        };
        let Some(inner) = rest.strip_prefix('<') else {
            return Some(Self { number, to: None, deleted: false });
        };
        let end = leading_len(rest.as_bytes());
        let to = unescaped(inner.get(..end.checked_sub(1)?)?);
        let (to, was_deleted) = match to.strip_suffix(b" (deleted)") {
            Some(to) => (to.to_vec(), true),
            None => (to, false),
        };
        Some(Self { number, to: Some(to), deleted: was_deleted || rest[end..].starts_with(">(deleted)") })
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        const KINDS: [&[u8]; 5] = [b"socket:[", b"TCP:[", b"TCPv6:[", b"UNIX:[", b"UNIX-STREAM:["];
        self.to.as_ref().is_some_and(|to| KINDS.iter().any(|kind| to.starts_with(kind)))
    }
}

/// The bytes of a quoted string.
///
/// Errors: it is none, or not the whole of it was written down.
pub fn string(line: usize, word: &str) -> Result<Vec<u8>, TraceError> {
    let Some(inner) = word.strip_prefix('"') else {
        return Err(TraceError::new(line, format!("{:?} is no string", word.chars().take(40).collect::<String>())));
    };
    let end = quoted_len(word.as_bytes());
    let whole = inner.get(..end - 1).filter(|_| word.len() > end);
    let whole = whole.ok_or_else(|| TraceError::new(line, "a string does not end"))?;
    if word[end + 1..].starts_with("...") {
        return Err(TraceError::new(line, "a string was cut short").help("record again with: strace -s 1048576 -xx"));
    }
    Ok(unescaped(whole))
}

/// The bytes of the buffers of a vector, one after the other: `[{iov_base="…", iov_len=1}, …]`.
pub fn vector(line: usize, mut word: &str) -> Result<Vec<u8>, TraceError> {
    const BASE: &str = "iov_base=";
    let mut all = Vec::new();
    while let Some(at) = word.find(BASE) {
        word = &word[at + BASE.len()..];
        if word.starts_with('"') {
            let end = quoted_len(word.as_bytes()).min(word.len());
            let until = word[end..].find([',', '}']).map_or(word.len(), |comma| end + comma);
            all.extend(string(line, &word[..until])?);
            word = &word[until..];
        }
    }
    if word.contains("}, ...") {
        return Err(TraceError::new(line, "a list of buffers was cut short").help("record again with: strace -v"));
    }
    Ok(all)
}

/// Every string and every place that a descriptor leads to in `text`, as far as they can be read.
pub fn mentioned(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let len = match bytes[at] {
            b'"' => quoted_len(&bytes[at..]),
            b'<' if leads(bytes, at) => leading_len(&bytes[at..]),
            _ => 0,
        };
        if len > 0 {
            found.extend(text.get(at + 1..at + len).map(unescaped));
        }
        at += len + 1;
    }
    found
}

/// Takes the escapes away: `\x41`, `\101`, `\n` and their like.
fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 2);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let escape = bytes.get(at + 1).copied().unwrap_or(b'\\');
        let digits = |from: usize, most: usize, radix: u32| {
            let is_digit = |b: &&u8| char::from(**b).is_digit(radix);
            let len = bytes[from..].iter().take(most).take_while(is_digit).count();
            (u32::from_str_radix(&text[from..from + len], radix).unwrap_or(0) as u8, len)
        };
        let (byte, len) = match escape {
            b'x' => {
                let (byte, len) = digits(at + 2, 2, 16);
                (byte, len + 2)
            }
            b'0'..=b'7' => {
                let (byte, len) = digits(at + 1, 3, 8);
                (byte, len + 1)
            }
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            b'v' => (0x0b, 2),
            b'f' => (0x0c, 2),
            other => (other, 2),
        };
        out.push(byte);
        at += len;
    }
    out
}
