//! An index that can be built again from what is synced elsewhere: losing it costs time, never data.
//! So it is not synced on anybody's path, and one that turns out to be damaged is thrown away.

use super::{Batch, Pair, StoreError};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// sled's page cache, in bytes; its default is 1 GiB. Rides of the last hours fit.
const CACHE_BYTES: u64 = 32 << 20;
/// How often what was written reaches the disk, in milliseconds. What a killed process had not
/// written is indexed again when it starts.
const FLUSH_MS: u64 = 1_000;

/// An ordered map of bytes that many may read and write at once.
pub trait Pages: Send + Sync + fmt::Debug + 'static {
    /// The value at a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `max` pairs, greatest key first, of the keys that begin with `prefix` and are less
    /// than `before`; without `before`, the last ones.
    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// Applies a batch, all or nothing. Of a process that is killed some later ones may be lost.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Closes the files, so that they can be opened again. Whoever asks later gets an error.
    fn close(&self);
}

/// Where a backward scan ends: before `before`, or behind everything that begins with `prefix`.
pub(crate) fn scan_back_to(prefix: &[u8], before: Option<&[u8]>) -> Bound<Vec<u8>> {
    if let Some(before) = before {
        return Bound::Excluded(before.to_vec());
    }
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Pages in a directory, in sled.
pub struct SledPages(RwLock<Option<sled::Db>>);

impl fmt::Debug for SledPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SledPages")
    }
}

impl SledPages {
    /// Opens a directory, or makes it; empties it first if it can't be opened.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, CACHE_BYTES)
    }

    /// The same with a cache of another size, in bytes.
    pub fn open_with(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let open = || -> Result<sled::Db, StoreError> {
            let config = sled::Config::new().path(directory).cache_capacity(cache_bytes);
            Ok(config.flush_every_ms(Some(FLUSH_MS)).open()?)
        };
        // It panics over some damage that it could report.
        let db = match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(db)) => db,
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    directory = %directory.display(),
                    "this index cannot be opened and begins anew"
                );
                std::fs::remove_dir_all(directory)
                    .map_err(|source| StoreError::Io { doing: "remove a damaged index", source })?;
                open()?
            }
        };
        Ok(Self(RwLock::new(Some(db))))
    }

    fn with<T>(
        &self,
        ask: impl FnOnce(&sled::Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let db = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ask(db.as_ref().ok_or(StoreError::Closed)?)
    }
}

impl Pages for SledPages {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let to = scan_back_to(prefix, before);
        self.with(|db| {
            let range = db.range((Bound::Included(prefix.to_vec()), to)).rev().take(max);
            let pairs = range.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())));
            Ok(pairs.collect::<Result<_, _>>()?)
        })
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.with(|db| Ok(db.apply_batch(changes)?))
    }

    fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Pages in memory, for simulations: lost with every restart, and built again.
#[derive(Debug, Default)]
pub struct MemoryPages(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryPages {
    fn map(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages for MemoryPages {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map().get(key).cloned())
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let to = scan_back_to(prefix, before);
        let map = self.map();
        let range = map.range((Bound::Included(prefix.to_vec()), to)).rev().take(max);
        Ok(range.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut map = self.map();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pages: &impl Pages) {
        let mut batch = Batch::default();
        for key in [&b"a\xff"[..], b"b1", b"b2", b"b3", b"b\xff\xff", b"c"] {
            batch.put(key.into(), key.into());
        }
        batch.delete(b"b2".into());
        pages.write(batch).unwrap();
    }

    fn keys(pages: &impl Pages, prefix: &[u8], before: Option<&[u8]>, max: usize) -> Vec<Vec<u8>> {
        pages.scan_back(prefix, before, max).unwrap().into_iter().map(|pair| pair.0).collect()
    }

    fn check(pages: &impl Pages) {
        assert_eq!(keys(pages, b"b", None, 9), [&b"b\xff\xff"[..], b"b3", b"b1"]);
        assert_eq!(keys(pages, b"b", Some(b"b3"), 9), [b"b1"]);
        assert_eq!(keys(pages, b"b", None, 1), [b"b\xff\xff"]);
        assert_eq!(keys(pages, b"b\xff", None, 9), [b"b\xff\xff"], "no greater byte follows");
        assert_eq!(pages.get(b"b2").unwrap(), None);
        assert_eq!(pages.get(b"b3").unwrap(), Some(b"b3".to_vec()));
    }

    #[test]
    fn both_kinds_scan_backwards_within_a_prefix() {
        let memory = MemoryPages::default();
        filled(&memory);
        check(&memory);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        let pages = SledPages::open(&path).unwrap();
        filled(&pages);
        check(&pages);
        pages.close();
        assert!(matches!(pages.get(b"b1"), Err(StoreError::Closed)));
        check(&SledPages::open(&path).unwrap());
    }

    #[test]
    fn damaged_pages_are_thrown_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pages");
        let pages = SledPages::open(&path).unwrap();
        filled(&pages);
        pages.close();
        std::fs::write(path.join("conf"), b"what is this").unwrap();
        let pages = SledPages::open(&path).unwrap();
        assert_eq!(pages.get(b"b1").unwrap(), None);
    }
}
