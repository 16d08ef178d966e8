//! What a reader made of names itself, and so where it still learns something by following a path.
//!
//! By paths, not by directories: what is below a path is found by that path alone, where no directory has two names.

use std::collections::BTreeSet;

use crate::fs::split;

/// What is known of a path without a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// What is there: the reader put it there or took it away.
    All,
    /// That a directory is there.
    IsDir,
    /// Nothing.
    Nothing,
}

/// A reader's own changes of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What it put there or took away, with all that is below.
    changed: BTreeSet<Box<str>>,
    /// Directories that it made, if they were not there before.
    dirs: BTreeSet<Box<str>>,
}

impl Names {
    /// What is known of `path`.
    pub fn known(&self, path: &str) -> Known {
        if self.changed.is_empty() && self.dirs.is_empty() {
            return Known::Nothing;
        }
        let mut at = path;
        while !self.changed.contains(at) {
            match split(at) {
                Some((parent, _)) => at = parent,
                None if self.dirs.contains(path) => return Known::IsDir,
                None => return Known::Nothing,
            }
        }
        Known::All
    }

    /// It put something at `path`, or took it away.
    pub fn changed(&mut self, path: &str) {
        let is_below = |dir: &str| dir.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.dirs.retain(|dir| !is_below(dir));
        self.changed.insert(path.into());
    }

    /// It made `path` and all above it, as far as they were not there.
    pub fn made_dirs(&mut self, path: &str) {
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let dir = &path[..end];
            match self.known(dir) {
                Known::All => drop(self.changed.insert(dir.into())),
                Known::IsDir => {}
                Known::Nothing => drop(self.dirs.insert(dir.into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_made_it_knows() {
        let mut names = Names::default();
        names.made_dirs("a/b");
        assert_eq!(["a", "a/b", "a/b/c", "b"].map(|path| names.known(path)), {
            [Known::IsDir, Known::IsDir, Known::Nothing, Known::Nothing]
        });
        names.changed("a/b/c");
        assert_eq!(names.known("a/b/c"), Known::All);
        assert_eq!(names.known("a/b/cc"), Known::Nothing);
        names.changed("a/b");
        assert_eq!(["a/b", "a/b/cc", "a", "a/bb"].map(|path| names.known(path)), {
            [Known::All, Known::All, Known::IsDir, Known::Nothing]
        });
        names.made_dirs("a/b/d");
        assert_eq!(names.known("a/b/d/e"), Known::All, "what was there is gone");
    }
}
