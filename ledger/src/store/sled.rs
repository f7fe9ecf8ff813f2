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

use super::identity::{self, Identity};
use super::witness::Witness;
use super::{Batch, Pair, Store, StoreError};
use crate::layout::number;
use proto::codec;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// sled's page cache, in bytes. Its default of 1 GiB is more than the whole node should use; the
/// state is in the machines anyway, so this serves events and restarts only.
const CACHE_BYTES: u64 = 64 << 20;
/// sled's directory inside ours.
const PAGES: &str = "pages";
/// The identity once more, inside the pages, so that neither can be swapped alone.
const MARKER: &[u8] = b"i";
/// The number of the last write, inside the pages.
const WRITES: &[u8] = b"iw";

/// Why a directory was not opened. What it holds is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It belongs to someone else.
    #[error("the directory holds the {found}, not the {wanted}")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Who tried to open it.
        wanted: String,
    },
    /// There are pages but no identity file: nobody can say whose they are.
    #[error("the directory holds pages but no identity file")]
    NoIdentity,
    /// There is an identity file but its pages are gone, and what was acknowledged with them.
    #[error("the directory has an identity file but its pages are gone")]
    NoPages,
    /// The pages have lost writes that were synced.
    #[error("the pages end with write {found}, but write {synced} was synced")]
    LostWrites {
        /// The last write in the pages.
        found: u64,
        /// A write that was there.
        synced: u64,
    },
    /// The pages are damaged so badly that sled panics.
    #[error("the pages are damaged: {0}")]
    Damaged(String),
    /// It cannot be read or written, or another process has it open.
    #[error("the directory cannot be used")]
    Store(#[from] StoreError),
}

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
}

fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io { doing, source }
}

impl SledStore {
    /// Opens a node's directory, or makes it.
    pub fn open(directory: &Path, wanted: &Identity) -> Result<Self, DirectoryError> {
        let wanted_line = wanted.to_string();
        let refuse =
            |found: String| Err(DirectoryError::Foreign { found, wanted: wanted_line.clone() });
        fs::create_dir_all(directory).map_err(io("make the data directory"))?;
        let named = identity::read(directory)?;
        if let Some(found) = &named
            && *found != wanted_line
        {
            return refuse(found.clone());
        }
        let path = directory.join(PAGES);
        if named.is_some() && !path.join("db").exists() {
            return Err(DirectoryError::NoPages);
        }

        let pages = open_pages(&path)?;
        let is_new = pages.is_empty();
        let file = File::open(path.join("db")).map_err(io("open the page file"))?;
        let oversized = path.join("blobs");
        let marker = pages.get(MARKER).map_err(StoreError::from)?;
        let writes = pages.get(WRITES).map_err(StoreError::from)?;
        let writes = writes.map_or(Ok(0), |value| number(WRITES, &value))?;
        if let Some(found) = &marker
            && **found != *wanted_line.as_bytes()
        {
            return refuse(String::from_utf8_lossy(found).into_owned());
        }
        let synced_oversized = BTreeSet::new();
        if named.is_some() {
            if marker.is_none() {
                return Err(DirectoryError::NoPages);
            }
            let (witness, synced) = Witness::open(directory)?;
            if writes < synced {
                return Err(DirectoryError::LostWrites { found: writes, synced });
            }
            return Ok(Self { pages, file, oversized, synced_oversized, writes, witness });
        }

        // The identity file goes in last, so that a crash on the way leaves pages that hold at
        // most the first write, and the next attempt starts again.
        if !(is_new || marker.is_some() && writes == 1) {
            return Err(DirectoryError::NoIdentity);
        }
        let witness = Witness::create(directory)?;
        let mut store = Self { pages, file, oversized, synced_oversized, writes: 0, witness };
        let mut first = Batch::default();
        first.put(MARKER.into(), wanted_line.clone().into_bytes());
        store.write(first)?;
        store.sync()?;
        for directory in [&path, directory] {
            let names = File::open(directory).and_then(|names| names.sync_all());
            names.map_err(io("sync the data directory"))?;
        }
        identity::write(directory, wanted)?;
        Ok(store)
    }
}

/// sled panics over some damage that it could report.
fn open_pages(path: &Path) -> Result<sled::Db, DirectoryError> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None); // the ledger says when
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => Ok(opened.map_err(StoreError::from)?),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(DirectoryError::Damaged(text.unwrap_or_default()))
        }
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pages.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::new();
        for pair in self.pages.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded)) {
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
