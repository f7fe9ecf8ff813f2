//! What has left a group's state: records that nothing changes any more, and events that are too
//! many to keep at hand. They gather in memory until they fill a segment: numbered, never changed,
//! and the same on every replica, because the order of the log alone decides what is in it. A
//! snapshot names its segments and is written after them; a replica that is sent the snapshot is
//! sent those it lacks.
//!
//! Records stay for ever; segments of events go when their last one is too old.

use super::image::{Piece, Place, Values, digest};
use crate::contract::{Cursor, LoggedEvent};
use proto::slot::frozen_hash;
use proto::{WallMs, codec};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What a segment is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Track {
    Records,
    Events,
}

/// Which of its track, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct SegmentId {
    pub(crate) track: Track,
    pub(crate) number: u64,
}

/// What a snapshot says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    pub(crate) digest: u64,
    /// The place of its last event; of a segment of records, where it was sealed.
    pub(crate) upto: Place,
    /// The time of that.
    pub(crate) at: WallMs,
}

impl Segment {
    /// Whether these are its bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && frozen_hash(bytes) == self.digest
    }
}

/// A segment's content.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// A list of [`Piece`]s, encoded.
    pub(crate) bytes: Vec<u8>,
    /// The same records, to be looked up while they are in no index.
    records: Values,
}

/// What a snapshot says of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The number of the last segment ever, of records and of events.
    last: (u64, u64),
    digest: u64,
    /// At 256 KiB a segment, a partition with 1 GiB of history names 4,096 of them in 160 KiB.
    pub(crate) segments: BTreeMap<SegmentId, Segment>,
}

/// The archive of a group as one replica has it: copied in constant time.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    /// Records that are in no segment yet.
    recent: Values,
    recent_bytes: usize,
    segments: RedBlackTreeMapSync<SegmentId, Segment>,
    /// Segments that may not be on disk yet.
    unsaved: RedBlackTreeMapSync<SegmentId, Arc<Sealed>>,
    last: (u64, u64),
    /// The sum of the digests of all records ever kept.
    digest: u64,
}

impl Archive {
    /// Takes a record in.
    pub(crate) fn keep(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.digest = self.digest.wrapping_add(digest(&key, &value));
        self.put(key, value);
    }

    /// Puts a record back that a snapshot held.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        // What is kept again under its key takes its place, here as after a snapshot.
        let before = self.recent.get(&key).map_or(0, |old| key.len() + old.len());
        self.recent_bytes += key.len() + value.len();
        self.recent_bytes -= before;
        self.recent.insert_mut(key, value);
    }

    /// Seals the records, if they fill a segment.
    pub(crate) fn seal_records(&mut self, full_bytes: usize, upto: Place, at: WallMs) {
        if self.recent_bytes < full_bytes {
            return;
        }
        let records = std::mem::take(&mut self.recent);
        self.recent_bytes = 0;
        let record = |(key, value): (&Vec<u8>, &Vec<u8>)| Piece::Record(key.clone(), value.clone());
        let pieces: Vec<Piece> = records.iter().map(record).collect();
        self.last.0 += 1;
        let id = SegmentId { track: Track::Records, number: self.last.0 };
        self.seal(id, &pieces, records, upto, at);
    }

    /// Seals events that are no longer kept at hand, oldest first.
    pub(crate) fn seal_events(&mut self, events: &[Piece]) {
        if let Some(Piece::Event(index, n, at, _)) = events.last() {
            self.last.1 += 1;
            let id = SegmentId { track: Track::Events, number: self.last.1 };
            self.seal(id, events, Values::default(), (*index, *n), *at);
        }
    }

    fn seal(&mut self, id: SegmentId, pieces: &[Piece], records: Values, upto: Place, at: WallMs) {
        let bytes = codec::encode(&pieces);
        let segment = Segment { bytes: bytes.len() as u64, digest: frozen_hash(&bytes), upto, at };
        self.segments.insert_mut(id, segment);
        self.unsaved.insert_mut(id, Arc::new(Sealed { bytes, records }));
    }

    /// Lets go of segments whose last event is older than `oldest`.
    pub(crate) fn expire_events(&mut self, oldest: WallMs) {
        while let Some((id, segment)) = self.events_after(Cursor::default())
            && segment.at < oldest
        {
            self.segments.remove_mut(&id);
            self.unsaved.remove_mut(&id);
        }
    }

    /// A record that is in no index yet.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        // The newest first: a key that is kept again takes the place of what it had.
        let unsaved = || self.unsaved.iter().rev().find_map(|(_, sealed)| sealed.records.get(key));
        self.recent.get(key).or_else(unsaved)
    }

    /// The maps of records that are in no index yet.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Values> {
        self.unsaved.values().map(|sealed| &sealed.records).chain([&self.recent])
    }

    /// The records that are in no segment yet.
    pub(crate) const fn recent(&self) -> &Values {
        &self.recent
    }

    /// The first segment that holds events after a cursor.
    pub(crate) fn events_after(&self, after: Cursor) -> Option<(SegmentId, Segment)> {
        let first = SegmentId { track: Track::Events, number: 0 };
        let mut events = self.segments.range((Bound::Included(first), Bound::Unbounded));
        let found = events.find(|(_, segment)| segment.upto > (after.index, after.n));
        found.map(|(id, segment)| (*id, *segment))
    }

    /// Segments that may not be on disk yet.
    pub(crate) fn unsaved(&self) -> impl Iterator<Item = (SegmentId, Segment, Arc<Sealed>)> {
        self.unsaved.iter().filter_map(|(id, sealed)| {
            self.segments.get(id).map(|segment| (*id, *segment, Arc::clone(sealed)))
        })
    }

    /// A segment that may not be on disk yet.
    pub(crate) fn unsaved_segment(&self, id: SegmentId) -> Option<Arc<Sealed>> {
        self.unsaved.get(&id).cloned()
    }

    /// A segment is on disk.
    pub(crate) fn saved(&mut self, id: SegmentId) {
        self.unsaved.remove_mut(&id);
    }

    /// How many segments there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.size()
    }

    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let segments = self.segments.iter().map(|(id, segment)| (*id, *segment)).collect();
        Manifest { last: self.last, digest: self.digest, segments }
    }
}

impl From<&Manifest> for Archive {
    /// The archive of which a snapshot said this, without its recent records.
    fn from(manifest: &Manifest) -> Self {
        let Manifest { last, digest, segments } = manifest;
        let segments = segments.iter().map(|(id, segment)| (*id, *segment)).collect();
        Self { last: *last, digest: *digest, segments, ..Self::default() }
    }
}

/// The pieces in a segment's bytes.
pub(crate) fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, codec::CodecError> {
    codec::decode(bytes)
}

/// The events after a cursor in a segment's bytes.
pub(crate) fn events(bytes: &[u8], after: Cursor) -> Result<Vec<LoggedEvent>, codec::CodecError> {
    let later = |piece| match piece {
        Piece::Event(index, n, at, event) => {
            let cursor = Cursor { index, n };
            (cursor > after).then_some(LoggedEvent { cursor, at, event })
        }
        Piece::Value(..) | Piece::Record(..) => None,
    };
    Ok(pieces(bytes)?.into_iter().filter_map(later).collect())
}
