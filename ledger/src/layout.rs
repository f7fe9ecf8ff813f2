//! The keys of a store. Numbers in keys are big-endian, so that byte order is their order; values
//! go through the one codec.
//!
//! | key | value |
//! |---|---|
//! | `a` group u16 | how far the group is: [`Progress`] |
//! | `e` group u16, log index u64, number u32 | an event: time, bytes |
//! | `i…` | what the sled store keeps about its directory |
//! | `m` name | facts of the whole store: `mformat`, `mstarts` |
//! | `s` group u16, entity key | a value as the state machine gave it |

use crate::contract::{Cursor, LoggedEvent};
use crate::store::StoreError;
use proto::slot::frozen_hash;
use proto::{GroupId, WallMs, codec};

/// The layout this build reads and writes.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const FORMAT_KEY: &[u8] = b"mformat";
/// How often the store was opened by a ledger: the term of its leadership.
pub(crate) const STARTS_KEY: &[u8] = b"mstarts";
pub(crate) const PROGRESS: &[u8] = b"a";
pub(crate) const STATE: &[u8] = b"s";
const EVENT: &[u8] = b"e";

/// How far a group is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The index of its last command.
    pub(crate) index: u64,
    /// The time of its last command.
    pub(crate) at: WallMs,
    /// How many events it holds.
    pub(crate) events: u64,
    /// The sum of the [`digest`]s of its values, so that one that went missing or came back in an
    /// old version is noticed when all are loaded.
    pub(crate) digest: u64,
}

/// What a stored value adds to its group's digest.
pub(crate) fn digest(stored_key: &[u8], value: &[u8]) -> u64 {
    frozen_hash(&[stored_key, value].concat())
}

fn corrupt(what: &'static str, key: &[u8]) -> StoreError {
    StoreError::Corrupt { what, key: key.to_vec() }
}

/// A number stored under one of the `m` keys.
pub(crate) fn number(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    codec::decode(value).map_err(|_| corrupt("a number", key))
}

pub(crate) fn state_key(group: GroupId, key: &[u8]) -> Vec<u8> {
    [STATE, &group.0.to_be_bytes(), key].concat()
}

/// The group and entity key in a state key.
pub(crate) fn parse_state(stored: &[u8]) -> Result<(GroupId, &[u8]), StoreError> {
    let key = stored.strip_prefix(STATE).and_then(|rest| rest.split_first_chunk());
    let (group, key) = key.ok_or_else(|| corrupt("a state key", stored))?;
    Ok((GroupId(u16::from_be_bytes(*group)), key))
}

pub(crate) fn progress_pair(group: GroupId, progress: Progress) -> (Vec<u8>, Vec<u8>) {
    let Progress { index, at, events, digest } = progress;
    ([PROGRESS, &group.0.to_be_bytes()].concat(), codec::encode(&(index, at, events, digest)))
}

pub(crate) fn parse_progress(key: &[u8], value: &[u8]) -> Result<(GroupId, Progress), StoreError> {
    let bad = || corrupt("a group's progress", key);
    let group = key.strip_prefix(PROGRESS).and_then(|rest| rest.try_into().ok()).ok_or_else(bad)?;
    let (index, at, events, digest) = codec::decode(value).map_err(|_| bad())?;
    Ok((GroupId(u16::from_be_bytes(group)), Progress { index, at, events, digest }))
}

pub(crate) fn events_prefix(group: GroupId) -> Vec<u8> {
    [EVENT, &group.0.to_be_bytes()].concat()
}

pub(crate) fn event_key(group: GroupId, cursor: Cursor) -> Vec<u8> {
    [EVENT, &group.0.to_be_bytes(), &cursor.index.to_be_bytes(), &cursor.n.to_be_bytes()].concat()
}

pub(crate) fn event_value(at: WallMs, event: &[u8]) -> Vec<u8> {
    codec::encode(&(at, event))
}

pub(crate) fn parse_event(key: &[u8], value: &[u8]) -> Result<LoggedEvent, StoreError> {
    let bad = || corrupt("an event", key);
    let (index, n) = key
        .get(EVENT.len() + 2..)
        .and_then(|rest| rest.split_first_chunk())
        .and_then(|(index, n)| {
            Some((u64::from_be_bytes(*index), u32::from_be_bytes(n.try_into().ok()?)))
        })
        .ok_or_else(bad)?;
    let (at, event) = codec::decode(value).map_err(|_| bad())?;
    Ok(LoggedEvent { cursor: Cursor { index, n }, at, event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_and_values_come_back(group: u16, index: u64, n: u32, at: u64, bytes: Vec<u8>) {
            let (group, cursor, at) = (GroupId(group), Cursor { index, n }, WallMs(at));
            let key = event_key(group, cursor);
            prop_assert!(key.starts_with(&events_prefix(group)));
            prop_assert_eq!(
                parse_event(&key, &event_value(at, &bytes)).unwrap(),
                LoggedEvent { cursor, at, event: bytes.clone() }
            );
            let key = state_key(group, &bytes);
            prop_assert_eq!(parse_state(&key).unwrap(), (group, &bytes[..]));
            let progress = Progress { index, at, events: u64::from(n), digest: index };
            let (key, value) = progress_pair(group, progress);
            prop_assert_eq!(parse_progress(&key, &value).unwrap(), (group, progress));
        }

        #[test]
        fn byte_order_of_event_keys_is_cursor_order(a: (u64, u32), b: (u64, u32)) {
            let cursor = |(index, n)| Cursor { index, n };
            let key = |at| event_key(GroupId(1), cursor(at));
            prop_assert_eq!(key(a).cmp(&key(b)), cursor(a).cmp(&cursor(b)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(key: Vec<u8>, value: Vec<u8>) {
            let _ = (parse_event(&key, &value), parse_state(&key), parse_progress(&key, &value));
        }
    }
}
