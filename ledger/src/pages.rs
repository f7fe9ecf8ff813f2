//! A store read and written through the [layout](crate::layout).

use crate::contract::{Cursor, LoggedEvent, Term};
use crate::layout::{self, Progress};
use crate::store::{Batch, Pair, Store, StoreError};
use proto::{GroupId, codec};

/// How many pairs one scan brings at start-up.
const SCAN_STEP: usize = 1024;

/// A store and the layout of its keys.
pub(crate) struct Pages<S> {
    store: S,
}

impl<S: Store> Pages<S> {
    /// Takes a store and counts the start. The count is durable on return.
    pub(crate) fn open(mut store: S) -> Result<(Self, Term), StoreError> {
        let number = |key: &[u8]| -> Result<Option<u64>, StoreError> {
            store.get(key)?.map(|value| layout::number(key, &value)).transpose()
        };
        let corrupt = |what, key: &[u8]| Err(StoreError::Corrupt { what, key: key.into() });
        match number(layout::FORMAT_KEY)? {
            Some(format) if format == u64::from(layout::FORMAT) => {}
            Some(_) => return corrupt("a format this build knows", layout::FORMAT_KEY),
            None if store.scan(layout::PROGRESS, layout::PROGRESS, 1)?.is_empty() => {}
            None => return corrupt("the format", layout::FORMAT_KEY),
        }
        let term = Term(number(layout::STARTS_KEY)?.unwrap_or(0) + 1);
        let mut batch = Batch::default();
        batch.put(layout::FORMAT_KEY.into(), codec::encode(&u64::from(layout::FORMAT)));
        batch.put(layout::STARTS_KEY.into(), codec::encode(&term.0));
        store.write(batch)?;
        store.sync()?;
        Ok((Self { store }, term))
    }

    fn each<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&Pair) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = prefix.to_vec();
        loop {
            let pairs = self.store.scan(prefix, &after, SCAN_STEP)?;
            pairs.iter().try_for_each(&mut visit)?;
            match pairs.into_iter().next_back() {
                Some((last, _)) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Visits every group that was ever written, with how far it is.
    pub(crate) fn each_progress<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(GroupId, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(layout::PROGRESS, |(key, value)| {
            let (group, progress) = layout::parse_progress(key, value)?;
            visit(group, progress)
        })
    }

    /// The value at a stored key.
    pub(crate) fn get(&self, stored_key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(stored_key)
    }

    /// Visits every stored value: group, key, value, and what it adds to the group's digest.
    pub(crate) fn each_value<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(GroupId, &[u8], &[u8], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(layout::STATE, |(stored, value)| {
            let (group, key) = layout::parse_state(stored)?;
            visit(group, key, value, layout::digest(stored, value))
        })
    }

    /// At most `max` events after a cursor.
    pub(crate) fn events(
        &self,
        group: GroupId,
        after: Cursor,
        max: usize,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        let pairs = self.store.scan(
            &layout::events_prefix(group),
            &layout::event_key(group, after),
            max,
        )?;
        pairs.iter().map(|(key, value)| layout::parse_event(key, value)).collect()
    }

    pub(crate) fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.store.write(batch)
    }

    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.store.sync()
    }
}
