//! Pages on disk, in sled.
//!
//! sled's own `flush` ends in `sync_file_range`, which orders nothing and leaves the disk's cache
//! and the file's length alone: it survives a killed process, not a power cut. So
//! [`sync`](Store::sync) follows it with `fdatasync` of sled's file, and of the files beside it in
//! which sled puts oversized pages.
//!
//! When sled finds a damaged place in its file it may drop everything newer, without a word. So
//! writes are numbered, in the pages and, once synced, in a small file beside them; pages that
//! are behind that file have lost something that was acknowledged, and are refused. The file
//! itself is not synced: it is written after the pages are, so whatever of it survives is true.

use super::directory::{Directory, DirectoryError, Found, io, or_damaged, sync_names};
use super::identity::Identity;
use super::witness::Witness;
use super::{Batch, Pair, Store, StoreError, scan_from};
use crate::layout::number;
use proto::codec;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// sled's page cache, in bytes. Its default of 1 GiB is more than the whole node should use; the
/// state is in the machines anyway, so this serves events and restarts only.
const CACHE_BYTES: u64 = 64 << 20;
/// sled's directory inside ours.
const PAGES: &str = "pages";
/// The identity once more, inside the pages.
const MARK: &[u8] = b"i";
/// The number of the last write, inside the pages.
const WRITES: &[u8] = b"iw";

/// A directory of pages that belongs to one node of one cluster.
///
/// It survives a killed process. It syncs for power cuts too, further than sled does by itself,
/// but cannot make sled wait before it reuses space. Pages that have lost what was synced are
/// refused.
#[derive(Debug)]
pub struct SledStore {
    pages: sled::Db,
    /// sled's file, to sync it.
    file: File,
    /// Where sled puts pages that are too large for its file.
    oversized: PathBuf,
    synced_oversized: BTreeSet<PathBuf>,
    /// The number of the last write.
    writes: u64,
    witness: Witness,
    /// Last, so that it is unlocked when the pages are closed.
    directory: Directory,
}

impl SledStore {
    /// Opens a node's directory, or makes it.
    pub fn open(directory: &Path, wanted: &Identity) -> Result<Self, DirectoryError> {
        let directory = Directory::enter(directory, wanted)?;
        let path = directory.path().join(PAGES);
        if directory.is_named() && !path.join("db").exists() {
            return Err(DirectoryError::NoPages);
        }

        let config = sled::Config::new().path(&path).cache_capacity(CACHE_BYTES);
        let config = config.flush_every_ms(None); // the ledger says when
        let pages = or_damaged(|| Ok(config.open().map_err(StoreError::from)?))?;
        let file = File::open(path.join("db")).map_err(io("open the page file"))?;
        let mark = pages.get(MARK).map_err(StoreError::from)?.map(|mark| mark.to_vec());
        let writes = pages.get(WRITES).map_err(StoreError::from)?;
        let writes = writes.map_or(Ok(0), |value| number(WRITES, &value))?;
        let witness = directory.admit(Found { mark, writes, blank: pages.is_empty() })?;
        let (oversized, synced_oversized) = (path.join("blobs"), BTreeSet::new());
        let mut store =
            Self { pages, file, oversized, synced_oversized, writes, witness, directory };

        // The identity file goes in last, so that a crash on the way leaves pages that hold at
        // most the first write, and the next attempt starts again.
        if !store.directory.is_named() {
            store.writes = 0;
            let mut first = Batch::default();
            first.put(MARK.into(), store.directory.mark());
            store.write(first)?;
            store.sync()?;
            sync_names(&path)?;
            store.directory.name(wanted)?;
        }
        Ok(store)
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pages.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::new();
        for pair in self.pages.range::<&[u8], _>((scan_from(prefix, after), Bound::Unbounded)) {
            let (key, value) = pair?;
            if pairs.len() == max || !key.starts_with(prefix) {
                break;
            }
            pairs.push((key.to_vec(), value.to_vec()));
        }
        Ok(pairs)
    }

    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let mut changes = sled::Batch::default();
        for (key, value) in batch.into_changes() {
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.writes += 1;
        changes.insert(WRITES, codec::encode(&self.writes));
        Ok(self.pages.apply_batch(changes)?)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.pages.flush()?;
        self.file.sync_data().map_err(io("sync the page file"))?;
        self.sync_oversized().map_err(io("sync an oversized page"))?;
        self.witness.testify(self.writes)
    }
}

impl SledStore {
    /// Each such file is written once, so it is synced once. Records are a thousand times smaller
    /// than the half MiB it takes, so there are normally none.
    fn sync_oversized(&mut self) -> std::io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&self.oversized)? {
            there.insert(entry?.path());
        }
        let mut fresh = false;
        for path in there.difference(&self.synced_oversized) {
            File::open(path)?.sync_all()?;
            fresh = true;
        }
        if fresh {
            File::open(&self.oversized)?.sync_all()?;
        }
        self.synced_oversized = there;
        Ok(())
    }
}
