//! Paths: which of them lie in the directory that is looked at.

/// The directory, under every name that the program may know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots(Vec<Vec<u8>>);

impl Roots {
    /// The directory at these absolute paths.
    pub fn new<P: AsRef<[u8]>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(paths.into_iter().map(|path| normal(path.as_ref())).collect())
    }

    /// The path below the directory, empty for itself; nothing if `path`, which is absolute, is not in it.
    pub fn below(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = normal(path);
        self.0.iter().find_map(|root| match path.strip_prefix(&root[..])? {
            [] => Some(Vec::new()),
            [b'/', rest @ ..] => Some(rest.to_vec()),
            _ => None,
        })
    }
}

/// `name` seen from `dir`.
pub fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// Without `.`, `..`, empty components and a slash at the end; the root itself is empty.
pub fn normal(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.iter().flat_map(|part| [b"/", *part].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_directory() {
        let roots = Roots::new(["/a/b/", "/x"]);
        let below = |path: &str| roots.below(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(below("/a/b").as_deref(), Some(""));
        assert_eq!(below("/a//./b/c/../d/").as_deref(), Some("d"));
        assert_eq!(below("/x/y").as_deref(), Some("y"));
        assert_eq!((below("/a/bc"), below("/a"), below("/a/b/../c")), (None, None, None));
        assert_eq!(joined(b"/a", b"b"), b"/a/b");
        assert_eq!(joined(b"/a", b"/b"), b"/b");
    }
}
