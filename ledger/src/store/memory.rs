//! A disk in memory that forgets like a real one: what was not synced when the machine crashed
//! may be gone.

use super::{Batch, Pair, Store, StoreError, scan_from};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Platter {
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `synced` and every write since.
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<Batch>,
    /// Counts openings and crashes; a store of an earlier session writes no more.
    session: u64,
    syncs: u64,
}

fn apply(batch: Batch, to: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in batch.into_changes() {
        match value {
            Some(value) => to.insert(key, value),
            None => to.remove(&key),
        };
    }
}

/// The disk of one simulated machine. It outlives the machine's crashes; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Platter>>);

impl MemoryDisk {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the disk. As with a lock on a file there is one store at a time, but here the newest
    /// wins: a store opened earlier fails from now on.
    pub fn open(&self) -> MemoryStore {
        let mut platter = self.platter();
        platter.session += 1;
        MemoryStore { disk: self.clone(), session: platter.session }
    }

    /// The machine crashes: of the writes that were not synced the first `kept` survive, the rest
    /// are gone, and the open store fails from now on.
    pub fn crash(&self, kept: usize) {
        let platter = &mut *self.platter();
        platter.session += 1;
        for batch in platter.unsynced.drain(..).take(kept) {
            apply(batch, &mut platter.synced);
        }
        platter.seen = platter.synced.clone();
    }

    /// How often it was synced.
    pub fn syncs(&self) -> u64 {
        self.platter().syncs
    }
}

/// A [`MemoryDisk`] while open.
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    session: u64,
}

impl MemoryStore {
    fn platter(&self) -> Result<MutexGuard<'_, Platter>, StoreError> {
        let platter = self.disk.platter();
        if platter.session == self.session { Ok(platter) } else { Err(StoreError::Crashed) }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.platter()?.seen.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let platter = self.platter()?;
        let from = platter.seen.range::<[u8], _>((scan_from(prefix, after), Bound::Unbounded));
        Ok(from
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(max)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut platter = self.platter()?;
        apply(batch.clone(), &mut platter.seen);
        platter.unsynced.push(batch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let platter = &mut *self.platter()?;
        for batch in platter.unsynced.drain(..) {
            apply(batch, &mut platter.synced);
        }
        platter.syncs += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(store: &mut MemoryStore, key: &str) {
        let mut batch = Batch::default();
        batch.put(key.into(), key.into());
        store.write(batch).unwrap();
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let disk = MemoryDisk::default();
        let mut store = disk.open();
        write(&mut store, "a");
        store.sync().unwrap();
        for key in ["b", "c", "d"] {
            write(&mut store, key);
        }
        assert_eq!(store.scan(b"", b"", 9).unwrap().len(), 4, "reads see unsynced writes");

        disk.crash(1);
        assert!(matches!(store.sync(), Err(StoreError::Crashed)), "the dead write no more");
        let keys: Vec<_> =
            disk.open().scan(b"", b"", 9).unwrap().into_iter().map(|p| p.0).collect();
        assert_eq!(keys, [b"a", b"b"]);
    }
}
