//! Segments of archives on disk: their bytes beside the snapshots, synced before the snapshot that
//! names them; and their records in an index, from which they are looked up.
//!
//! | key beside the snapshots | value |
//! |---|---|
//! | `h` group u16, track u8, number u64 | a segment's bytes |
//!
//! | key in the index | value |
//! |---|---|
//! | `i` group u16, number u64 | nothing: the segment's records are in the index |
//! | `r` group u16, the record's key | a record |

use super::archive::{self, Manifest, Segment, SegmentId, Track};
use super::image::Piece;
use super::journal::{Journal, JournalFailed};
use crate::store::{Batch, Pages, Pair, Store, StoreError};
use proto::GroupId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SEGMENT: &[u8] = b"h";
const INDEXED: &[u8] = b"i";
const RECORD: &[u8] = b"r";
/// Rows of the index that are removed at once, of a group that has moved away.
const FORGET_ROWS: usize = 1_024;

fn of(kind: &[u8], group: GroupId) -> Vec<u8> {
    [kind, &group.0.to_be_bytes()].concat()
}

fn segment_key(group: GroupId, id: SegmentId) -> Vec<u8> {
    let track = match id.track {
        Track::Records => 0,
        Track::Events => 1,
    };
    [&of(SEGMENT, group)[..], &[track], &id.number.to_be_bytes()].concat()
}

fn indexed_key(group: GroupId, number: u64) -> Vec<u8> {
    [&of(INDEXED, group)[..], &number.to_be_bytes()].concat()
}

fn record_key(group: GroupId, key: &[u8]) -> Vec<u8> {
    [&of(RECORD, group)[..], key].concat()
}

/// Why a segment could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error(transparent)]
    Journal(#[from] JournalFailed),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0:?} of {1} is not on disk as it was written")]
    Damaged(SegmentId, GroupId),
}

/// Which segments are on disk, of each group.
type Shelf = BTreeMap<GroupId, BTreeMap<SegmentId, Segment>>;

/// The segments of all groups. Clones are the same.
#[derive(Clone)]
pub(crate) struct Segments {
    journal: Journal,
    pages: Arc<dyn Pages>,
    shelf: Arc<Mutex<Shelf>>,
}

/// A segment's bytes, if they are as they were written.
pub(crate) fn read<S: Store>(
    store: &S,
    group: GroupId,
    id: SegmentId,
    segment: &Segment,
) -> Result<Vec<u8>, SegmentError> {
    let bytes = store.get(&segment_key(group, id))?;
    bytes.filter(|bytes| segment.is(bytes)).ok_or(SegmentError::Damaged(id, group))
}

/// Puts into the index what its snapshots name and it has not: all of it, if it was lost. Says how
/// many segments that were.
pub(crate) fn catch_up<S: Store>(
    store: &S,
    group: GroupId,
    manifest: &Manifest,
    pages: &dyn Pages,
) -> Result<usize, SegmentError> {
    let mut added = 0;
    for (id, segment) in &manifest.segments {
        let known = || pages.get(&indexed_key(group, id.number));
        if id.track == Track::Records && known()?.is_none() {
            index(pages, group, *id, &read(store, group, *id, segment)?)?;
            added += 1;
        }
    }
    Ok(added)
}

fn index(
    pages: &dyn Pages,
    group: GroupId,
    id: SegmentId,
    bytes: &[u8],
) -> Result<(), SegmentError> {
    let damaged = |_| SegmentError::Damaged(id, group);
    let mut batch = Batch::default();
    for piece in archive::pieces(bytes).map_err(damaged)? {
        if let Piece::Record(key, value) = piece {
            batch.put(record_key(group, &key), value);
        }
    }
    batch.put(indexed_key(group, id.number), Vec::new());
    Ok(pages.write(batch)?)
}

impl Segments {
    pub(crate) fn new(journal: Journal, pages: Arc<dyn Pages>, shelf: Shelf) -> Self {
        Self { journal, pages, shelf: Arc::new(Mutex::new(shelf)) }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a segment durable and its records findable, unless they are.
    pub(crate) async fn save(
        &self,
        group: GroupId,
        id: SegmentId,
        segment: Segment,
        bytes: Vec<u8>,
    ) -> Result<(), SegmentError> {
        if !segment.is(&bytes) {
            return Err(SegmentError::Damaged(id, group));
        }
        if self.shelf().get(&group).and_then(|all| all.get(&id)) == Some(&segment) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(segment_key(group, id), bytes.clone());
        self.journal.write_through(batch).await?;
        if id.track == Track::Records {
            index(&*self.pages, group, id, &bytes)?;
        }
        self.shelf().entry(group).or_default().insert(id, segment);
        Ok(())
    }

    /// A segment's bytes.
    pub(crate) async fn load(
        &self,
        group: GroupId,
        id: SegmentId,
        segment: Segment,
    ) -> Result<Vec<u8>, SegmentError> {
        let bytes = self.journal.get(segment_key(group, id)).await?;
        bytes.filter(|bytes| segment.is(bytes)).ok_or(SegmentError::Damaged(id, group))
    }

    /// What of an archive is not here.
    pub(crate) fn missing(&self, group: GroupId, manifest: &Manifest) -> Vec<SegmentId> {
        let shelf = self.shelf();
        let here = shelf.get(&group);
        let is_here = |id: &SegmentId, segment: &Segment| {
            here.and_then(|all| all.get(id)).is_some_and(|known| known == segment)
        };
        let missing = manifest.segments.iter().filter(|(id, segment)| !is_here(id, segment));
        missing.map(|(id, _)| *id).collect()
    }

    /// A record, from the index.
    pub(crate) fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.pages.get(&record_key(group, key))
    }

    /// Records from the index; see [`Pages::scan_back`].
    pub(crate) fn scan_back(
        &self,
        group: GroupId,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let before = before.map(|before| record_key(group, before));
        let rows =
            self.pages.scan_back(&record_key(group, prefix), before.as_deref(), max)?.into_iter();
        let begins = RECORD.len() + 2;
        Ok(rows.map(|(key, value)| (key[begins..].to_vec(), value)).collect())
    }

    /// Removes segments of events that are older than all that the kept snapshots name. Younger ones
    /// that they do not name may just be arriving.
    pub(crate) async fn drop_old_events(
        &self,
        group: GroupId,
        named: &BTreeSet<SegmentId>,
    ) -> Result<(), JournalFailed> {
        let mut batch = Batch::default();
        {
            let mut shelf = self.shelf();
            let here = shelf.entry(group).or_default();
            let events = |id: &&SegmentId| id.track == Track::Events;
            let Some(first) = named.iter().find(events).copied() else { return Ok(()) };
            let old: Vec<SegmentId> = here.keys().filter(events).copied().collect();
            for id in old.into_iter().filter(|id| *id < first) {
                here.remove(&id);
                batch.delete(segment_key(group, id));
            }
        }
        if batch.is_empty() { Ok(()) } else { self.journal.write_lazily(batch).await }
    }

    /// Removes the segments of a group that lives here no more.
    pub(crate) async fn forget(&self, group: GroupId) -> Result<(), SegmentError> {
        let all = self.shelf().remove(&group).unwrap_or_default();
        let mut batch = Batch::default();
        all.into_keys().for_each(|id| batch.delete(segment_key(group, id)));
        self.journal.write_lazily(batch).await?;
        for rows in [of(INDEXED, group), of(RECORD, group)] {
            loop {
                let some = self.pages.scan_back(&rows, None, FORGET_ROWS)?;
                let mut batch = Batch::default();
                if some.is_empty() {
                    break;
                }
                some.into_iter().for_each(|(key, _)| batch.delete(key));
                self.pages.write(batch)?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    pub(crate) fn close(&self) {
        self.pages.close();
    }
}
