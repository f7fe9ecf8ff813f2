//! A log's pages on disk, in fjall: a journal that each sync appends to, and sorted tables that
//! are written behind its back.
//!
//! [`write`](Store::write) appends to the journal and to a table in memory,
//! [`sync`](Store::sync) is one `fdatasync` of the journal. When the table in memory is full, a
//! worker writes it to disk and syncs it before its journal is removed.
//!
//! # Damage
//!
//! Tables are checked by checksum when they are read. A journal is not always: what follows a
//! place that does not parse is dropped without a word, and a sequence number has no checksum. So
//! writes are numbered three times over, and a store that does not have them all is refused.
//! * The last number stands in a small file beside the pages, so that a lost end is noticed.
//! * Each number stands in a row of its own, written with its batch, for the last [`MARKS`]
//!   batches, so that a lost middle is noticed. What stands in journals alone is what two tables
//!   in memory hold, and in those a batch with one entry takes over 200 bytes.
//! * The last number stands in a row that each batch overwrites, so that a batch which thinks
//!   itself newer than the later ones is noticed.

use super::directory::{Directory, DirectoryError, Found, io, or_damaged, sync_names};
use super::identity::Identity;
use super::witness::Witness;
use super::{Batch, Pair, Store, StoreError, scan_from};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Bound;
use std::path::Path;

/// Cached blocks, in bytes. A log is read at start only, from end to end.
const CACHE_BYTES: u64 = 2 << 20;
/// The table in memory, in bytes. Larger ones save writing and cost memory: with 16 MiB a flood of
/// 1,024 commands was a third faster, and the process half again as large.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// All journals, in bytes; the least that fjall takes is 64 MiB, and it begins a new one after
/// that much.
const JOURNALS_BYTES: u64 = 128 << 20;
/// One writes tables while the other merges them.
const WORKERS: usize = 2;
/// Open tables. A log of 100 MiB has a dozen.
const OPEN_FILES: usize = 64;
/// Values from here on are kept out of the tables, so that merging does not copy them: pieces of
/// snapshots are, log entries are not.
const SEPARATE_BYTES: u32 = 16 << 10;
/// A file of such values, in bytes: what is copied together to win back space.
const SEPARATE_FILE_BYTES: u64 = 16 << 20;

/// fjall's directory inside ours, and its name until it is complete.
const PAGES: &str = "pages";
const DRAFT: &str = "pages.draft";
/// The file in it that is written when fjall has made it.
const MADE: &str = "version";
/// The one keyspace.
const ROWS: &str = "rows";

/// First byte of the keys that are ours; all others are the caller's.
const OURS: u8 = 0;
const CALLERS: u8 = 1;
/// The identity once more, inside the pages.
const OWNER: &[u8] = &[OURS, b'i'];
/// The number of the last write.
const LAST: &[u8] = &[OURS, b'l'];
/// Before the slot of a write's number.
const MARK: &[u8] = &[OURS, b'm'];
/// How many writes keep their mark, by the last bits of their number.
const MARKS: u64 = 1 << 16;

/// A directory of log pages that belongs to one node of one cluster.
///
/// What was synced survives a killed process and a power cut, as far as the disk keeps its word.
/// Pages that have lost some of it are refused.
pub struct LogStore {
    rows: Keyspace,
    pages: Database,
    /// The number of the last write.
    writes: u64,
    witness: Witness,
    /// Last, so that it is unlocked when the pages are closed.
    directory: Directory,
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, writes, .. } = self;
        f.debug_struct("LogStore").field("directory", directory).field("writes", writes).finish()
    }
}

impl LogStore {
    /// Opens a node's directory, or makes it.
    pub fn open(directory: &Path, identity: &Identity) -> Result<Self, DirectoryError> {
        Self::open_sized(directory, identity, MEMTABLE_BYTES)
    }

    pub(crate) fn open_sized(
        directory: &Path,
        identity: &Identity,
        memtable_bytes: u64,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Directory::enter(directory, identity)?;
        let path = directory.path().join(PAGES);
        if !path.exists() && !directory.is_named() {
            make(&directory, memtable_bytes)?;
        }
        if !path.join(MADE).exists() {
            let named = directory.is_named();
            return Err(if named { DirectoryError::NoPages } else { DirectoryError::NoIdentity });
        }
        let (pages, rows, mark, writes) = or_damaged(|| {
            let (pages, rows) = open_pages(&path, memtable_bytes)?;
            let mark = rows.get(OWNER).map_err(StoreError::from)?.map(|mark| mark.to_vec());
            let writes = last_write(&rows)?;
            Ok((pages, rows, mark, writes))
        })?;
        let witness = directory.admit(Found { mark, writes })?;
        if !directory.is_named() {
            directory.name(identity)?;
        }
        Ok(Self { rows, pages, writes, witness, directory })
    }
}

/// Makes the pages with the first write in them, so that they appear whole or not at all. The
/// identity file comes later, so nothing is lost with a draft that a crash left behind.
fn make(directory: &Directory, memtable_bytes: u64) -> Result<(), DirectoryError> {
    let draft = directory.path().join(DRAFT);
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(io("remove an unfinished data directory"))?;
    }
    let (pages, rows) = open_pages(&draft, memtable_bytes)?;
    let mut first = BTreeMap::new();
    first.insert(OWNER.to_vec(), Some(directory.mark()));
    write(&pages, &rows, first, 1)?;
    pages.persist(PersistMode::SyncAll).map_err(StoreError::from)?;
    sync_names(&draft)?;
    drop((rows, pages)); // it remembers its path
    fs::rename(&draft, directory.path().join(PAGES)).map_err(io("name the pages"))?;
    Ok(sync_names(directory.path())?)
}

fn open_pages(path: &Path, memtable_bytes: u64) -> Result<(Database, Keyspace), StoreError> {
    let pages = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_cached_files(Some(OPEN_FILES))
        .max_journaling_size(JOURNALS_BYTES)
        .worker_threads(WORKERS)
        .manual_journal_persist(true) // the ledger says when
        .open()?;
    let separate = KvSeparationOptions::default()
        .separation_threshold(SEPARATE_BYTES)
        .file_target_size(SEPARATE_FILE_BYTES);
    let options = || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable_bytes)
            .filter_policy(fjall::config::FilterPolicy::disabled()) // nobody asks for what is not there
            .with_kv_separation(Some(separate))
    };
    let rows = pages.keyspace(ROWS, options)?;
    Ok((pages, rows))
}

/// One atomic write with its number. All changes of an fjall batch have one sequence number, so
/// there must be one for a key.
fn write(
    pages: &Database,
    rows: &Keyspace,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    number: u64,
) -> Result<(), StoreError> {
    let mut batch = pages.batch();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(rows, key, value),
            None => batch.remove(rows, key),
        }
    }
    batch.insert(rows, LAST, number.to_be_bytes());
    batch.insert(rows, mark_key(number), number.to_be_bytes());
    Ok(batch.commit()?)
}

fn mark_key(number: u64) -> Vec<u8> {
    let slot = number % MARKS;
    [MARK, &slot.to_be_bytes()].concat()
}

fn parse_number(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let bad = |_| StoreError::Corrupt { what: "a write's number", key: key.to_vec() };
    value.try_into().map(u64::from_be_bytes).map_err(bad)
}

/// The number of the last write, if all that are marked are there.
fn last_write(rows: &Keyspace) -> Result<u64, DirectoryError> {
    let mut numbers = Vec::new();
    for row in rows.prefix(MARK) {
        let (key, value) = row.into_inner().map_err(StoreError::from)?;
        let number = parse_number(&key, &value)?;
        if *key != *mark_key(number) {
            return Err(StoreError::Corrupt { what: "a write's mark", key: key.to_vec() }.into());
        }
        numbers.push(number);
    }
    let last = unbroken(numbers)?;
    let newest = rows.get(LAST).map_err(StoreError::from)?;
    let newest = newest.map_or(Ok(0), |value| parse_number(LAST, &value))?;
    if newest == last {
        Ok(last)
    } else {
        Err(DirectoryError::Damaged(format!("write {newest} hides later ones up to {last}")))
    }
}

/// The last of the numbers, if none of the [`MARKS`] that lead up to it is missing.
fn unbroken(mut numbers: Vec<u64>) -> Result<u64, DirectoryError> {
    numbers.sort_unstable();
    let last = numbers.last().copied().unwrap_or(0);
    for (next, number) in (last.saturating_sub(MARKS) + 1..).zip(numbers) {
        if number != next {
            // Too small a number stands where its successor in the slot should.
            let missing = if number > next { next } else { number + MARKS };
            return Err(DirectoryError::LostBetween { missing, last });
        }
    }
    Ok(last)
}

fn callers(key: &[u8]) -> Vec<u8> {
    [&[CALLERS], key].concat()
}

impl Store for LogStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(callers(key))?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let from = scan_from(prefix, after).map(callers);
        let mut pairs = Vec::new();
        if max == 0 {
            return Ok(pairs);
        }
        for row in self.rows.range::<Vec<u8>, _>((from, Bound::Unbounded)) {
            let (key, value) = row.into_inner()?;
            let Some(key) = key.strip_prefix(&[CALLERS]).filter(|key| key.starts_with(prefix))
            else {
                break;
            };
            pairs.push((key.to_vec(), value.to_vec()));
            if pairs.len() == max {
                break;
            }
        }
        Ok(pairs)
    }

    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let changes = batch.into_changes().map(|(key, value)| (callers(&key), value)).collect();
        self.writes += 1;
        write(&self.pages, &self.rows, changes, self.writes)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.pages.persist(PersistMode::SyncData)?;
        self.witness.testify(self.writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_number_is_noticed_wherever_it_is() {
        assert_eq!(unbroken(Vec::new()).unwrap(), 0);
        for last in [1, 2, 9, MARKS - 1, MARKS, MARKS + 1, 5 * MARKS / 2] {
            let first = last.saturating_sub(MARKS) + 1;
            let whole: Vec<u64> = (first..=last).rev().collect();
            assert_eq!(unbroken(whole.clone()).unwrap(), last);
            for gone in [first, (first + last) / 2, last - 1] {
                if gone < first || gone == last {
                    continue;
                }
                // Where a mark was not overwritten the one before stands.
                let older = gone.checked_sub(MARKS).filter(|older| *older > 0);
                let mut broken: Vec<u64> = whole.iter().copied().filter(|n| *n != gone).collect();
                broken.extend(older);
                let refused = unbroken(broken);
                let Err(DirectoryError::LostBetween { missing, .. }) = refused else {
                    panic!("{gone} of {last}: {refused:?}");
                };
                assert_eq!(missing, gone);
            }
        }
    }
}
