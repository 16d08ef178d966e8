//! What clients asked for, and where the disk's log was when that began and was acknowledged.
//!
//! A beginning is noted before the request is sent, an acknowledgement when the answer was read: so an operation that is
//! noted as acknowledged before an entry of the log was so, and one that is not noted as begun was not.

use std::io;

use super::super::control::Control;
use crate::check::oracle::{Event, Mark};

/// So many operations that are under way are named.
const MOST_NAMED: usize = 3;

/// The history of one run.
#[derive(Debug)]
pub struct History {
    control: Option<Control>,
    /// Each operation in words.
    ops: Vec<String>,
    /// What each changes; nothing for those that were refused, and so changed nothing.
    pub events: Vec<Option<Event>>,
    /// The marks in the order in which they were passed, each with the length of the disk's log then.
    marks: Vec<(usize, Mark)>,
    /// Requests that were refused or not answered, and the first of them.
    pub failed: u64,
    /// What the first of these came to.
    pub first_failure: Option<String>,
    /// The disk's server is gone.
    lost: Option<io::Error>,
}

impl History {
    /// Nothing happened yet. `control` tells how long the disk's log is; without one, no place in it is noted.
    pub fn new(control: Option<Control>) -> Self {
        let (ops, events, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { control, ops, events, marks, failed: 0, first_failure: None, lost: None }
    }

    /// An operation begins; its number.
    pub fn begin(&mut self, what: String, event: Event) -> usize {
        let op = self.ops.len();
        self.ops.push(what);
        self.events.push(Some(event));
        self.mark(Mark::Begin(op));
        op
    }

    /// It was acknowledged.
    pub fn end(&mut self, op: usize) {
        self.mark(Mark::End(op));
    }

    /// It was refused: it changes nothing.
    pub fn refuse(&mut self, op: usize) {
        self.events[op] = None;
    }

    /// Something that was asked for did not come to a good end.
    pub fn fail(&mut self, why: &str) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.to_owned());
    }

    fn mark(&mut self, mark: Mark) {
        match self.control.as_mut().map_or(Ok(0), Control::position) {
            Ok(at) => self.marks.push((at, mark)),
            Err(e) => drop(self.lost.get_or_insert(e)),
        }
    }

    /// How many operations there were, and how many were acknowledged.
    pub fn counts(&self) -> (u64, u64) {
        (self.ops.len() as u64, ended(self.marks.iter()))
    }

    /// It is complete.
    ///
    /// Errors: the disk's server went away on the way.
    pub fn complete(&mut self) -> io::Result<()> {
        self.lost.take().map_or(Ok(()), Err)
    }

    /// The marks that had been passed when the log had `position` entries.
    pub fn passed(&self, position: usize) -> Vec<Mark> {
        self.before(position).map(|(_, mark)| *mark).collect()
    }

    fn before(&self, position: usize) -> impl Iterator<Item = &(usize, Mark)> + Clone {
        self.marks.iter().take_while(move |(at, _)| *at <= position)
    }

    /// How far the clients had come then, in words.
    pub fn told(&self, position: usize) -> String {
        let passed = self.before(position);
        let is_open = |op: &usize| !passed.clone().any(|(_, mark)| *mark == Mark::End(*op));
        let begun = passed.clone().filter_map(|(_, mark)| if let Mark::Begin(op) = mark { Some(*op) } else { None });
        let open: Vec<usize> = begun.filter(is_open).collect();
        let acknowledged = format!("{} of {} operations were acknowledged", ended(passed.clone()), self.ops.len());
        if open.is_empty() {
            return acknowledged;
        }
        let named: Vec<&str> = open.iter().take(MOST_NAMED).map(|op| self.ops[*op].as_str()).collect();
        let more = open.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{acknowledged}, under way: {}{more}", named.join("; "))
    }
}

fn ended<'a>(marks: impl Iterator<Item = &'a (usize, Mark)>) -> u64 {
    marks.filter(|(_, mark)| matches!(mark, Mark::End(_))).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn what_was_passed_when() {
        let mut history = History::new(None);
        let put = |what: &str| Event::PutBlob {
            repo: "lib/app".parse().unwrap(),
            digest: Digest::sha256(what.as_bytes()),
            upload: None,
        };
        for what in ["put a", "put b"] {
            history.begin(what.to_owned(), put(what));
        }
        history.end(0);
        // As a disk would have told it.
        history.marks.iter_mut().zip([10, 20, 30]).for_each(|((at, _), then)| *at = then);
        assert_eq!(history.passed(9), []);
        assert_eq!(history.passed(10), [Mark::Begin(0)], "it may be inside");
        assert_eq!(history.passed(30), [Mark::Begin(0), Mark::Begin(1), Mark::End(0)]);
        assert_eq!(history.told(9), "0 of 2 operations were acknowledged");
        assert_eq!(history.told(29), "0 of 2 operations were acknowledged, under way: put a; put b");
        assert_eq!(history.told(30), "1 of 2 operations were acknowledged, under way: put b");
        history.refuse(1);
        history.fail("b is refused");
        history.fail("so is c");
        assert_eq!((history.counts(), history.failed), ((2, 1), 2));
        assert_eq!(history.first_failure.as_deref(), Some("b is refused"));
        assert!(history.events[0].is_some() && history.events[1].is_none());
    }
}
