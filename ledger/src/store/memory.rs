//! A disk in memory that forgets like a real one: what was not synced when the machine crashed
//! may be gone. It can be slow, stand still, and fail.

use super::{Batch, Pair, Store, StoreError, scan_from};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a sync that waits for a disk that stands still looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Platter {
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `synced` and every write since.
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
    unsynced: Vec<Batch>,
    /// Whether a sync is under way.
    syncing: bool,
    /// Counts openings and crashes; a store of an earlier session writes no more.
    session: u64,
    syncs: u64,
    slow: Duration,
    stands_still: bool,
    fails: bool,
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
        platter.syncing = false;
        for batch in platter.unsynced.drain(..).take(kept) {
            apply(batch, &mut platter.synced);
        }
        platter.seen = platter.synced.clone();
    }

    /// How often it was synced.
    pub fn syncs(&self) -> u64 {
        self.platter().syncs
    }

    /// Writes that a crash could undo now.
    pub fn unsynced(&self) -> usize {
        self.platter().unsynced.len()
    }

    /// Whether a sync is under way that makes them safe; without one nobody was told that they are.
    pub fn is_syncing(&self) -> bool {
        self.platter().syncing
    }

    /// From now on each sync takes at least so long; zero makes the disk as fast as it was.
    pub fn slow_down(&self, sync_takes: Duration) {
        self.platter().slow = sync_takes;
    }

    /// Whether from now on no sync comes to its end, those under way among them, until it is told
    /// otherwise.
    pub fn stand_still(&self, stands_still: bool) {
        self.platter().stands_still = stands_still;
    }

    /// Whether every sync fails from now on. What a failed sync should have made safe is as unsafe
    /// as it was.
    pub fn fail(&self, fails: bool) {
        self.platter().fails = fails;
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
        platter.syncing = false;
        if platter.fails {
            let source = std::io::Error::other("simulated: input/output error");
            return Err(StoreError::Io { doing: "sync the disk", source });
        }
        for batch in platter.unsynced.drain(..) {
            apply(batch, &mut platter.synced);
        }
        platter.syncs += 1;
        Ok(())
    }

    fn makes_wait(&self, waited: Duration) -> Duration {
        let mut platter = self.disk.platter();
        // Whoever has crashed need not wait for his error.
        let alive = platter.session == self.session;
        platter.syncing |= alive;
        let longer = platter.slow.saturating_sub(waited);
        if alive && platter.stands_still { longer.max(LOOK_AGAIN) } else { longer }
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

    fn keys(disk: &MemoryDisk) -> Vec<Vec<u8>> {
        disk.open().scan(b"", b"", 9).unwrap().into_iter().map(|pair| pair.0).collect()
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
        assert_eq!((disk.unsynced(), disk.is_syncing()), (3, false));
        assert!(store.makes_wait(Duration::ZERO).is_zero() && disk.is_syncing());

        disk.crash(1);
        assert!(!disk.is_syncing());
        assert!(matches!(store.sync(), Err(StoreError::Crashed)), "the dead write no more");
        assert_eq!(keys(&disk), [b"a", b"b"]);
    }

    #[test]
    fn a_failed_sync_makes_nothing_safe() {
        let disk = MemoryDisk::default();
        let mut store = disk.open();
        write(&mut store, "a");
        disk.fail(true);
        assert!(matches!(store.sync(), Err(StoreError::Io { .. })));
        disk.fail(false);
        disk.crash(0);
        assert_eq!(keys(&disk), [b""; 0]);
    }

    #[test]
    fn a_slow_disk_says_how_long_and_one_that_stands_still_never_ends() {
        let (disk, ms) = (MemoryDisk::default(), Duration::from_millis);
        let store = disk.open();
        assert_eq!(store.makes_wait(ms(0)), ms(0));
        disk.slow_down(ms(30));
        assert_eq!((store.makes_wait(ms(10)), store.makes_wait(ms(30))), (ms(20), ms(0)));
        disk.stand_still(true);
        assert_eq!(store.makes_wait(ms(30)), LOOK_AGAIN);
        disk.crash(0);
        disk.slow_down(ms(0));
        assert_eq!(store.makes_wait(ms(0)), ms(0));
    }
}
