//! Locks between the tasks of one registry.
//!
//! [`LockTable`] holds one lock a key, made when it is first asked for and gone when nobody holds or awaits it. A lock
//! that is free is taken without waiting, so a future that meets no other task never pends (see
//! [`run_now`](super::run_now)), and those that wait are served in the order in which they came: which task runs next
//! stays the scheduler's decision alone. These are the only waits that a strategy has beside its file system.
//!
//! Nothing here works between processes.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::touched;

/// Locks a mutex that is held only between two awaits, never over one. A panic elsewhere does not poison it: what it
/// guards is valid after every statement.
pub fn hold<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    touched::whole(mutex);
    unseen(mutex)
}

/// As [`hold`], to change one part of what is guarded.
pub fn hold_part<'a, T>(mutex: &'a Mutex<T>, part: &(impl Hash + ?Sized)) -> MutexGuard<'a, T> {
    hold_parts(mutex, [part])
}

/// As [`hold`], to change some parts of what is guarded.
pub fn hold_parts<'a, 'p, T, P: Hash + ?Sized + 'p>(
    mutex: &'a Mutex<T>,
    parts: impl IntoIterator<Item = &'p P>,
) -> MutexGuard<'a, T> {
    parts.into_iter().for_each(|part| touched::part(mutex, part, true));
    unseen(mutex)
}

/// As [`hold`], to look at one part of what is guarded.
pub fn see_part<'a, T>(mutex: &'a Mutex<T>, part: &(impl Hash + ?Sized)) -> MutexGuard<'a, T> {
    touched::part(mutex, part, false);
    unseen(mutex)
}

fn unseen<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock for each key.
///
/// ```
/// use pullplug::env::{run_now, sync::LockTable};
/// let table = LockTable::default();
/// run_now(async {
///     let a = table.lock("a").await;
///     let b = table.lock("b").await;
///     assert_eq!(table.len(), 2);
///     drop((a, b));
///     assert!(table.is_empty());
/// });
/// ```
#[derive(Debug, Default)]
pub struct LockTable {
    slots: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "a lock is held only as long as its guard lives"]
pub struct KeyGuard<'a> {
    table: Table<'a>,
    key: String,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// The table that a guard belongs to.
#[derive(Debug)]
enum Table<'a> {
    Borrowed(&'a LockTable),
    Shared(Arc<LockTable>),
}

impl Deref for Table<'_> {
    type Target = LockTable;
    fn deref(&self) -> &LockTable {
        match self {
            Self::Borrowed(table) => table,
            Self::Shared(table) => table,
        }
    }
}

impl LockTable {
    /// Takes the lock `key`; waits only while another task holds it. Not reentrant. A task that needs several must
    /// take them in an order that all tasks share.
    pub async fn lock(&self, key: &str) -> KeyGuard<'_> {
        Self::take(Table::Borrowed(self), key).await
    }

    /// As [`lock`](Self::lock); the guard may go where the table's borrow could not.
    pub async fn lock_shared(self: &Arc<Self>, key: &str) -> KeyGuard<'static> {
        Self::take(Table::Shared(Arc::clone(self)), key).await
    }

    async fn take<'a>(table: Table<'a>, key: &str) -> KeyGuard<'a> {
        touched::part(&*table, key, true);
        let slot = Arc::clone(unseen(&table.slots).entry(key.to_owned()).or_default());
        // The guard comes first: it tidies the table up even if this future is dropped while it waits.
        let mut guard = KeyGuard { table, key: key.to_owned(), held: None };
        guard.held = Some(match Arc::clone(&slot).try_lock_owned() {
            Ok(held) => held,
            Err(_) => slot.lock_owned().await,
        });
        guard
    }

    /// How many keys are locked or waited for.
    pub fn len(&self) -> usize {
        hold(&self.slots).len()
    }

    /// Whether nobody holds or awaits any lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        touched::part(&*self.table, &*self.key, true);
        let mut slots = unseen(&self.table.slots);
        self.held = None;
        // Whoever waits has a reference too; a new one can only be had under the table's own lock.
        if slots.get(&self.key).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::env::run_now;

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn waiters_are_served_in_order_and_the_table_empties() {
        let table = LockTable::default();
        let first = run_now(table.lock("k"));
        {
            let (mut second, mut third) = (pin!(table.lock("k")), pin!(table.lock("k")));
            assert!(poll(second.as_mut()).is_pending());
            assert!(poll(third.as_mut()).is_pending());
            drop(run_now(table.lock("other")));
            drop(first);
            assert!(poll(third.as_mut()).is_pending(), "the second came first");
            let Poll::Ready(held) = poll(second.as_mut()) else { panic!("the lock is free") };
            assert!(poll(third.as_mut()).is_pending());
            drop(held);
            assert!(poll(third.as_mut()).is_ready());
        }
        assert!(table.is_empty());
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing() {
        let table = LockTable::default();
        let first = run_now(table.lock("k"));
        {
            let mut second = pin!(table.lock("k"));
            assert!(poll(second.as_mut()).is_pending());
            drop(first);
            assert_eq!(table.len(), 1);
        }
        assert!(table.is_empty());
        drop(run_now(table.lock("k")));
    }
}
