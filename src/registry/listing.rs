//! Tags and repositories, page by page.

use super::{Registry, Result};
use crate::fs::Fs;
use crate::oci::{Name, Tag};

/// Which part of a list is asked for. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most so many.
    pub n: Option<usize>,
    /// Only what sorts after this, which itself need not be in the list.
    pub last: Option<String>,
}

/// One page of a sorted list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Whether to go on after the last item. Never on a page that was asked to be empty: there is no item after
    /// which the next one could begin.
    pub more: bool,
}

impl Page {
    /// Cuts this page out of a list that is sorted by `key`.
    ///
    /// ```
    /// use pullplug::registry::Page;
    /// let page = Page { n: Some(1), last: Some("a".into()) };
    /// let listing = page.cut(vec!["a", "b", "c"], |item| item);
    /// assert_eq!((listing.items, listing.more), (vec!["b"], true));
    /// ```
    pub fn cut<T>(&self, mut all: Vec<T>, key: impl Fn(&T) -> &str) -> Listing<T> {
        if let Some(last) = &self.last {
            let skip = all.partition_point(|item| key(item) <= last.as_str());
            all.drain(..skip);
        }
        let n = self.n.unwrap_or(all.len());
        let more = n > 0 && n < all.len();
        all.truncate(n);
        Listing { items: all, more }
    }
}

impl<F: Fs> Registry<F> {
    /// The tags of a repository, sorted. [`NameUnknown`](super::Error::NameUnknown) where there is none.
    pub async fn tags(&self, repo: &Name, page: &Page) -> Result<Listing<Tag>> {
        Ok(page.cut(self.strategy.tags(repo).await?, Tag::as_str))
    }

    /// The repositories, sorted.
    pub async fn catalog(&self, page: &Page) -> Result<Listing<Name>> {
        Ok(page.cut(self.strategy.repositories().await?, Name::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole() {
        let all: Vec<String> = (0..7).map(|i| format!("t{i}")).collect();
        for n in 1..9 {
            let (mut joined, mut page) = (Vec::new(), Page { n: Some(n), last: None });
            loop {
                let listing = page.cut(all.clone(), |t| t);
                assert!(listing.items.len() <= n);
                page.last = listing.items.last().cloned();
                joined.extend(listing.items);
                if !listing.more {
                    break;
                }
            }
            assert_eq!(joined, all, "by {n}");
        }
        let cut = |n, last: &str| Page { n, last: Some(last.into()) }.cut(all.clone(), |t| t);
        assert_eq!(cut(Some(0), ""), Listing { items: vec![], more: false });
        assert_eq!(cut(None, "t4x").items, ["t5", "t6"], "a removed item is still a place in the list");
        assert_eq!(cut(None, "z"), Listing { items: vec![], more: false });
        assert_eq!(Page::default().cut(all.clone(), |t| t), Listing { items: all, more: false });
    }
}
