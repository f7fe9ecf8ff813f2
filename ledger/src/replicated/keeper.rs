//! A replica's state behind its lock: what the log applies to, what readers read, and how it comes
//! to disk. The consensus library's side of it is in `apply`.

use super::archive;
use super::faults::{Fault, Faults};
use super::image::Image;
use super::level::{self, TooOld};
use super::segments::{SegmentError, Segments};
use super::settings::Retention;
use super::snapshots::{Kept, Snapshots};
use super::state::{EventsAt, State};
use super::types::{LogId, Members, SnapshotMeta};
use crate::contract::{Cursor, LoggedEvent};
use crate::store::Pair;
use proto::machine::{Level, StateMachine};
use proto::{GroupId, codec};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes a group's empty machine.
pub(crate) type NewMachine = Arc<dyn Fn(GroupId) -> Box<dyn StateMachine> + Send + Sync>;

/// What a keeper needs to do its work.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) snapshots: Snapshots,
    pub(crate) segments: Segments,
    pub(crate) new_machine: NewMachine,
    pub(crate) retention: Retention,
    /// The highest level that this build knows.
    pub(crate) knows: Level,
    pub(crate) faults: Faults,
}

pub(super) struct Held {
    pub(super) state: State,
    pub(super) applied: Option<LogId>,
    pub(super) members: Members,
    /// The newest snapshot: its meta as stored, and the picture, which shares the state's memory.
    pub(super) snapshot: Option<(SnapshotMeta, Image)>,
    /// A level met that this build does not know.
    unknown: Option<Level>,
}

/// A group's state machine. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Keeper {
    group: GroupId,
    held: Arc<Mutex<Held>>,
    /// Held while a snapshot is written: one that was sent may arrive while one is taken. True once none may
    /// be any more.
    hanging: Arc<tokio::sync::Mutex<bool>>,
    means: Means,
}

impl Keeper {
    /// A state machine as its newest snapshot shows it; an empty one if there is none.
    pub(crate) fn new(group: GroupId, kept: Option<Kept>, means: Means) -> Result<Self, String> {
        let mut held = Held {
            applied: None,
            members: Members::default(),
            snapshot: None,
            unknown: None,
            state: State::new((means.new_machine)(group), means.retention),
        };
        if let Some(Kept { meta, image }) = kept {
            let meta: SnapshotMeta = codec::decode(&meta).map_err(|error| error.to_string())?;
            let machine = (means.new_machine)(group);
            held.state.install(machine, &image).map_err(|error| error.to_string())?;
            held.applied = meta.last_log_id;
            held.members = meta.last_membership.clone();
            held.snapshot = Some((meta, image));
        }
        Ok(Self { group, held: Arc::new(Mutex::new(held)), hanging: Arc::default(), means })
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn segments(&self) -> &Segments {
        &self.means.segments
    }

    /// A value, or a record of the archive.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SegmentError> {
        // What leaves the memory is in the index before.
        let at_hand = self.held().state.read(key);
        match at_hand {
            Some(value) => Ok(Some(value)),
            None => Ok(self.means.segments.get(self.group, key)?),
        }
    }

    /// At most `max` values and records, greatest key first, of the keys that begin with `prefix`
    /// and are less than `before`.
    pub(crate) fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Pair>, SegmentError> {
        let mut found = self.held().state.scan_back(prefix, before, max);
        for (key, value) in self.means.segments.scan_back(self.group, prefix, before, max)? {
            found.entry(key).or_insert(value);
        }
        Ok(found.into_iter().rev().take(max).collect())
    }

    pub(crate) fn open_work(&self) -> Vec<Vec<u8>> {
        self.held().state.open_work()
    }

    /// At most `max` events after a cursor; fewer before the end, but never none.
    pub(crate) async fn events(
        &self,
        after: Cursor,
        max: usize,
    ) -> Result<Vec<LoggedEvent>, SegmentError> {
        let at = self.held().state.events(after, max);
        let (id, segment, bytes) = match at {
            EventsAt::Here(events) => return Ok(events),
            EventsAt::Sealed(id, segment, bytes) => (id, segment, bytes),
        };
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => self.means.segments.load(self.group, id, segment).await?,
        };
        let damaged = |_| SegmentError::Damaged(id, self.group);
        let mut events = archive::events(&bytes, after).map_err(damaged)?;
        events.truncate(max);
        Ok(events)
    }

    /// The index of the last entry applied, and the state's fingerprint there: equal on replicas
    /// that are equal.
    pub(crate) fn fingerprint(&self) -> (u64, (u64, u64)) {
        let held = self.held();
        (held.applied.map_or(0, |id| id.index), held.state.image().fingerprint())
    }

    /// The index of the last entry applied, and how many values the state has.
    pub(crate) fn size(&self) -> (u64, usize) {
        let held = self.held();
        (held.applied.map_or(0, |id| id.index), held.state.image().len())
    }

    /// How many segments the archive has.
    pub(crate) fn archived(&self) -> usize {
        self.held().state.image().archive().len()
    }

    /// How many segments are in memory because no snapshot has named them yet.
    pub(crate) fn unsaved(&self) -> usize {
        self.held().state.image().archive().unsaved().count()
    }

    /// The level that the last command was carried out at.
    pub(crate) fn level(&self) -> Level {
        self.held().state.image().level()
    }

    /// A level met that this build does not know, if it met one. Nothing was applied since.
    pub(crate) fn unknown(&self) -> Option<Level> {
        self.held().unknown
    }

    /// Refuses what a newer build is needed for: applied here, it would be applied otherwise.
    pub(super) fn know(&self, level: Level) -> Result<(), TooOld> {
        level::known(level, self.means.knows).inspect_err(|_| self.held().unknown = Some(level))
    }

    /// Becomes what another replica's snapshot shows; its segments have arrived before.
    pub(super) async fn install(&self, meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        self.know(image.level()).map_err(io::Error::other)?;
        let missing = self.means.segments.missing(self.group, &image.archive().manifest());
        if !missing.is_empty() {
            return Err(io::Error::other(format!("segments are missing: {missing:?}")));
        }
        {
            let new_machine = &self.means.new_machine;
            let mut state = State::new(new_machine(self.group), self.means.retention);
            state.install(new_machine(self.group), &image).map_err(io::Error::other)?;
            let mut held = self.held();
            held.applied = meta.last_log_id;
            held.members = meta.last_membership.clone();
            held.state = state;
        }
        self.hang(meta.clone(), image).await
    }

    /// Has no snapshot written any more. The library ends while it has one taken, and that one would name
    /// segments that are removed with the replica.
    pub(super) async fn retire(&self) {
        *self.hanging.lock().await = true;
    }

    /// Makes a snapshot durable and the current one; before it the segments it names.
    pub(super) async fn hang(&self, meta: SnapshotMeta, mut image: Image) -> io::Result<()> {
        let Means { snapshots, segments, faults, .. } = &self.means;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let retired = self.hanging.lock().await;
        if *retired {
            return Err(io::Error::other("the replica is removed"));
        }
        if index > 0 && snapshots.newest(self.group) > Some(index) {
            return Ok(()); // a newer one arrived while this one was taken
        }
        if faults.make(Fault::PurgeAboveSnapshot) {
            snapshots.pretend(self.group, index);
            self.held().snapshot = Some((meta, image));
            return Ok(());
        }
        let unsaved: Vec<_> = image.archive().unsaved().collect();
        for (id, segment, sealed) in &unsaved {
            if !faults.make(Fault::SegmentNotWritten) {
                let saved = segments.save(self.group, *id, *segment, sealed.bytes.clone()).await;
                saved.map_err(io::Error::other)?;
            }
        }
        let saved = snapshots.save(self.group, index, codec::encode(&meta), &image).await;
        saved.map_err(io::Error::other)?;
        {
            let mut held = self.held();
            for (id, ..) in unsaved {
                held.state.saved(id);
                image.archive.saved(id);
            }
            held.snapshot = Some((meta, image));
        }
        let named = snapshots.named(self.group);
        segments.drop_old_events(self.group, &named).await.map_err(io::Error::other)
    }
}
