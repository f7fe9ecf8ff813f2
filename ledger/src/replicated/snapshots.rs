//! Snapshots on disk: a manifest and its chunks, in a store of their own, so that megabytes of
//! state never stand before a log entry. A snapshot is there once its manifest is; the chunks are
//! durable before that. The newest two of each group are kept, so that one that turns out to be
//! damaged costs a longer replay and nothing else.
//!
//! | key | value |
//! |---|---|
//! | `m` group u16, number u64 | [`Manifest`] |
//! | `p` group u16, number u64, chunk u32 | pieces of the image |

use super::archive::{self, SegmentId};
use super::image::{Assembly, Header, Image, ImageError, Piece};
use super::journal::{Journal, JournalFailed};
use crate::store::{Batch, Store, StoreError};
use proto::{GroupId, codec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes in a chunk, about. Large enough that a sync each costs little, small enough that a
/// snapshot under way is a few hundred kilobytes and not a copy of the state.
const CHUNK_BYTES: usize = 256 << 10;
/// Snapshots kept of each group.
const KEPT: usize = 2;
const MANIFEST: &[u8] = b"m";
const PIECES: &[u8] = b"p";

/// What is known of a snapshot beside its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Up to where in the log, and under whose vote and members; the log's own words.
    pub(crate) meta: Vec<u8>,
    /// The log index it covers.
    pub(crate) index: u64,
    header: Header,
    chunks: u32,
}

/// A snapshot read back.
pub(crate) struct Kept {
    pub(crate) meta: Vec<u8>,
    pub(crate) image: Image,
}

/// The snapshots of each group, oldest first.
pub(crate) type Shelf = BTreeMap<GroupId, Vec<OnShelf>>;

/// Where a snapshot is, how far it goes, and what it names.
#[derive(Debug, Clone)]
pub(crate) struct OnShelf {
    number: u64,
    index: u64,
    chunks: u32,
    pub(crate) archive: archive::Manifest,
}

impl OnShelf {
    pub(crate) const fn index(&self) -> u64 {
        self.index
    }
}

/// The shelf of snapshots.
#[derive(Clone)]
pub(crate) struct Snapshots {
    journal: Journal,
    shelf: Arc<Mutex<Shelf>>,
}

/// Why no snapshot of a group could be read although there is one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("snapshot of {0}: {1}")]
    Image(GroupId, #[source] ImageError),
    #[error("snapshot of {0}: {1}")]
    Codec(GroupId, #[source] proto::codec::CodecError),
}

fn key(kind: &[u8], group: GroupId, number: u64) -> Vec<u8> {
    [kind, &group.0.to_be_bytes(), &number.to_be_bytes()].concat()
}

fn chunk_key(group: GroupId, number: u64, chunk: u32) -> Vec<u8> {
    [&key(PIECES, group, number)[..], &chunk.to_be_bytes()].concat()
}

/// Group and number in a manifest's key.
fn parse(key: &[u8]) -> Option<(GroupId, u64)> {
    let (group, number) = key.strip_prefix(MANIFEST)?.split_first_chunk()?;
    Some((GroupId(u16::from_be_bytes(*group)), u64::from_be_bytes(number.try_into().ok()?)))
}

/// Reads the newest whole snapshot of every group, and what else is on the shelf.
pub(crate) fn load<S: Store>(
    store: &S,
) -> Result<(BTreeMap<GroupId, Kept>, Shelf), UnreadableError> {
    let (mut kept, mut shelf) = (BTreeMap::new(), Shelf::new());
    let mut after = Vec::new();
    let mut manifests: BTreeMap<GroupId, Vec<(u64, Manifest)>> = BTreeMap::new();
    loop {
        let page = store.scan(MANIFEST, &after, 256)?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (key, value) in page {
            let corrupt = || StoreError::Corrupt { what: "a manifest", key: key.clone() };
            let (group, number) = parse(&key).ok_or_else(corrupt)?;
            let undecoded = |error| StoreError::undecoded("a manifest", &key, error);
            let manifest: Manifest = codec::decode(&value).map_err(undecoded)?;
            let Manifest { index, chunks, .. } = manifest;
            let archive = manifest.header.archive.clone();
            shelf.entry(group).or_default().push(OnShelf { number, index, chunks, archive });
            manifests.entry(group).or_default().push((number, manifest));
        }
    }
    for (group, manifests) in manifests {
        let mut failed = None;
        for (number, manifest) in manifests.into_iter().rev() {
            match read(store, group, number, &manifest) {
                Ok(image) => {
                    kept.insert(group, Kept { meta: manifest.meta, image });
                    break;
                }
                Err(error) => {
                    tracing::warn!(%group, number, %error, "a snapshot is damaged, trying an older one");
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed
            && !kept.contains_key(&group)
        {
            return Err(error);
        }
    }
    Ok((kept, shelf))
}

fn read<S: Store>(
    store: &S,
    group: GroupId,
    number: u64,
    manifest: &Manifest,
) -> Result<Image, UnreadableError> {
    let image = |error| UnreadableError::Image(group, error);
    let mut assembly = Assembly::new(manifest.header.clone()).map_err(image)?;
    for chunk in 0..manifest.chunks {
        let bytes = store.get(&chunk_key(group, number, chunk))?;
        let bytes = bytes.ok_or_else(|| image(ImageError::Torn("a chunk is missing")))?;
        let pieces: Vec<Piece> =
            codec::decode(&bytes).map_err(|error| UnreadableError::Codec(group, error))?;
        assembly.add(pieces);
    }
    assembly.finish().map_err(image)
}

impl Snapshots {
    pub(crate) fn new(journal: Journal, shelf: Shelf) -> Self {
        Self { journal, shelf: Arc::new(Mutex::new(shelf)) }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a snapshot, and takes down the oldest beyond those kept. When this returns it is
    /// durable.
    pub(crate) async fn save(
        &self,
        group: GroupId,
        index: u64,
        meta: Vec<u8>,
        image: &Image,
    ) -> Result<(), JournalFailed> {
        let number =
            self.shelf().get(&group).and_then(|all| all.last()).map_or(1, |last| last.number + 1);
        let mut chunks = 0;
        for pieces in image.chunks(CHUNK_BYTES) {
            let mut batch = Batch::default();
            batch.put(chunk_key(group, number, chunks), codec::encode(&pieces));
            self.journal.write_through(batch).await?;
            chunks += 1;
        }
        let header = image.header();
        let archive = header.archive.clone();
        let manifest = Manifest { meta, index, header, chunks };
        let mut batch = Batch::default();
        batch.put(key(MANIFEST, group, number), codec::encode(&manifest));
        self.journal.write_through(batch).await?;
        let old = {
            let mut shelf = self.shelf();
            let all = shelf.entry(group).or_default();
            all.push(OnShelf { number, index, chunks, archive });
            let surplus = all.len().saturating_sub(KEPT);
            all.drain(..surplus).collect::<Vec<_>>()
        };
        for one in old {
            let mut batch = Batch::default();
            take_down(group, &one, &mut batch);
            self.journal.write_lazily(batch).await?;
        }
        Ok(())
    }

    /// Puts a snapshot on the shelf that was not written. A mistake.
    pub(crate) fn pretend(&self, group: GroupId, index: u64) {
        let mut shelf = self.shelf();
        let all = shelf.entry(group).or_default();
        let archive = Image::default().header().archive;
        all.push(OnShelf { number: index, index, chunks: 0, archive });
        let surplus = all.len().saturating_sub(KEPT);
        all.drain(..surplus);
    }

    /// The log index that the older of the kept snapshots covers: the log is needed from there.
    pub(crate) fn needed_from(&self, group: GroupId) -> Option<u64> {
        let shelf = self.shelf();
        let all = shelf.get(&group)?;
        all.first().filter(|_| all.len() >= KEPT).map(|oldest| oldest.index)
    }

    /// The segments that the kept snapshots name.
    pub(crate) fn named(&self, group: GroupId) -> BTreeSet<SegmentId> {
        let shelf = self.shelf();
        let all = shelf.get(&group).into_iter().flatten();
        all.flat_map(|one| one.archive.segments.keys().copied()).collect()
    }

    /// The log index that the newest snapshot covers.
    pub(crate) fn newest(&self, group: GroupId) -> Option<u64> {
        self.shelf().get(&group)?.last().map(|newest| newest.index)
    }

    /// Takes down all snapshots of a group that lives here no more, durably: one that came back with the
    /// power would be a replica that lacks what it had acknowledged.
    pub(crate) async fn forget(&self, group: GroupId) -> Result<(), JournalFailed> {
        let all = self.shelf().remove(&group).unwrap_or_default();
        let mut batch = Batch::default();
        all.iter().for_each(|one| take_down(group, one, &mut batch));
        self.journal.write_through(batch).await
    }
}

/// The manifest goes first: chunks without one are nobody's.
fn take_down(group: GroupId, one: &OnShelf, batch: &mut Batch) {
    batch.delete(key(MANIFEST, group, one.number));
    for chunk in 0..one.chunks {
        batch.delete(chunk_key(group, one.number, chunk));
    }
}
