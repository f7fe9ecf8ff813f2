//! Values that are kept for a while and up to a size, the oldest going first. They may be lost with
//! the process that wrote them, or with the index they are in: nobody decides from them.
//!
//! ```text
//! v <key>                      when it was put, and the value
//! a <u64::MAX - when> <key>    its size; so the last of these is the oldest
//! ```

use super::{Batch, Pages, StoreError};
use std::sync::{Mutex, PoisonError};

const VALUE: u8 = b'v';
const AGE: u8 = b'a';
/// Values that one put drops at most, so that none takes long; it adds one.
const DROPPED_AT_ONCE: usize = 16;
/// What a value takes beside itself and its key, in bytes.
const OVERHEAD_BYTES: u64 = 32;

/// See the module's text.
#[derive(Debug)]
pub struct Capped {
    pages: Box<dyn Pages>,
    bytes_max: u64,
    age_max_ms: u64,
    /// What is held, in bytes; writers take turns behind it.
    bytes: Mutex<u64>,
}

impl Capped {
    /// Holds values in an index of its own, up to so many bytes and milliseconds. Counts what is
    /// there already.
    pub fn open(
        pages: Box<dyn Pages>,
        bytes_max: u64,
        age_max_ms: u64,
    ) -> Result<Self, StoreError> {
        let sizes = pages.scan_back(&[AGE], None, usize::MAX)?;
        let bytes = sizes.iter().map(|(_, size)| size_of(size)).sum();
        Ok(Self { pages, bytes_max, age_max_ms, bytes: Mutex::new(bytes) })
    }

    /// Puts a value at `now_ms`, in the place of an older one, and drops what is too old or too much.
    pub fn put(&self, key: &[u8], now_ms: u64, value: &[u8]) -> Result<(), StoreError> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        let mut held = *bytes;
        if let Some(old) = self.pages.get(&value_key(key))? {
            held = held.saturating_sub(size(key, old.len().saturating_sub(8)));
            batch.delete(age_key(when(&old), key));
        }
        let added = size(key, value.len());
        held += added;
        batch.put(value_key(key), [&now_ms.to_be_bytes()[..], value].concat());
        batch.put(age_key(now_ms, key), added.to_be_bytes().into());
        for (age, size) in self.pages.scan_back(&[AGE], None, DROPPED_AT_ONCE)? {
            let Some((put_ms, old)) = split(&age) else { continue };
            let too_old = now_ms.saturating_sub(put_ms) > self.age_max_ms;
            if !too_old && held <= self.bytes_max {
                break;
            }
            if old != key {
                held = held.saturating_sub(size_of(&size));
                batch.delete(value_key(old));
                batch.delete(age.clone());
            }
        }
        self.pages.write(batch)?;
        *bytes = held;
        Ok(())
    }

    /// The values of all keys that begin with `prefix`, greatest key first, without those that are
    /// too old at `now_ms`.
    pub fn with_prefix(&self, prefix: &[u8], now_ms: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let pairs = self.pages.scan_back(&value_key(prefix), None, usize::MAX)?;
        let fresh = |value: &Vec<u8>| now_ms.saturating_sub(when(value)) <= self.age_max_ms;
        let values = pairs.into_iter().map(|(_, value)| value).filter(fresh);
        Ok(values.map(|value| value.get(8..).unwrap_or_default().to_vec()).collect())
    }

    /// How much is held, in bytes.
    pub fn bytes(&self) -> u64 {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the files.
    pub fn close(&self) {
        self.pages.close();
    }
}

fn size(key: &[u8], value: usize) -> u64 {
    key.len() as u64 + value as u64 + OVERHEAD_BYTES
}

fn value_key(key: &[u8]) -> Vec<u8> {
    [&[VALUE], key].concat()
}

fn age_key(at_ms: u64, key: &[u8]) -> Vec<u8> {
    [&[AGE], &(u64::MAX - at_ms).to_be_bytes()[..], key].concat()
}

/// When the value of an age key was put, and under which key.
fn split(age: &[u8]) -> Option<(u64, &[u8])> {
    let (inverse, key) = age.get(1..)?.split_first_chunk()?;
    Some((u64::MAX - u64::from_be_bytes(*inverse), key))
}

/// When a stored value was put.
fn when(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |at| u64::from_be_bytes(*at))
}

fn size_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |size| u64::from_be_bytes(*size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryPages, SledPages};

    fn capped(bytes_max: u64, age_max_ms: u64) -> Capped {
        Capped::open(Box::new(MemoryPages::default()), bytes_max, age_max_ms).unwrap()
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let capped = capped(10 * (3 + 100 + OVERHEAD_BYTES), 1_000_000);
        for n in 0..50_u8 {
            capped.put(&[7, 7, n], 1_000 + u64::from(n), &[n; 100]).unwrap();
        }
        let kept = capped.with_prefix(&[7, 7], 2_000).unwrap();
        let first: Vec<u8> = kept.iter().map(|value| value[0]).collect();
        assert_eq!(first, (40..50).rev().collect::<Vec<_>>());
        assert_eq!(capped.bytes(), 10 * (3 + 100 + OVERHEAD_BYTES));
    }

    #[test]
    fn what_is_too_old_is_neither_told_nor_kept() {
        let capped = capped(1 << 20, 1_000);
        capped.put(b"one", 5_000, b"x").unwrap();
        assert_eq!(capped.with_prefix(b"o", 6_000).unwrap(), [b"x"]);
        assert!(capped.with_prefix(b"o", 6_001).unwrap().is_empty());
        capped.put(b"two", 6_001, b"y").unwrap();
        assert_eq!(capped.bytes(), size(b"two", 1));
    }

    #[test]
    fn a_value_put_again_is_counted_once_and_found_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("capped");
        let open = || Capped::open(Box::new(SledPages::open(&path).unwrap()), 1 << 20, 1_000);
        let capped = open().unwrap();
        capped.put(b"key", 10, b"before").unwrap();
        capped.put(b"key", 20, b"after").unwrap();
        assert_eq!(capped.with_prefix(b"key", 30).unwrap(), [b"after"]);
        let bytes = capped.bytes();
        assert_eq!(bytes, size(b"key", 5));
        capped.close();
        let capped = open().unwrap();
        assert_eq!(capped.with_prefix(b"key", 30).unwrap(), [b"after"]);
        assert_eq!(capped.bytes(), bytes);
    }
}
