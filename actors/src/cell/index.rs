//! The supply of one ring key: drivers by r8 cell.
//!
//! A ping costs one lookup by driver and, nearly always, one multiplication that says "still in
//! the same cell": then nothing moves and only the time of receipt is refreshed. H3 is asked when
//! the point leaves the certain circle of the cell ([`CellShape`]). The newest phone time of a
//! driver wins, whatever the order of arrival.
//!
//! A driver is in exactly one bucket. One who drives out of this ring key, or is forgotten, stays
//! as a *ghost* until the sweep: a ghost is found by nobody, but remembers the phone time, so that
//! a late ping from before the move does not bring a twin to life.
//!
//! Freshness is judged by the time of receipt on this node's monotonic clock; a phone's clock only
//! orders that phone's own pings. A phone whose clock once ran ahead is deaf until the sweep has
//! taken its entry, at most one freshness window later.
//!
//! A driver is nominated only with a standing, the word of his partition about him: `standing.rs`.
//! How the near ones are found: `search.rs`.
//!
//! # Memory
//! 64 bytes an entry, 16 in the sweep's heap, 4 in the bucket and about 20 in the map by driver:
//! some 104 bytes a driver, up to 190 just after the vectors have doubled. A test does the sum.
//!
//! # Not done
//! * Speed and heading are dropped, so the future place of a car is not known.
//! * No counts per capability: a search for a rare one looks at each driver of the cells in reach.

use crate::geo::{CellShape, cell_of};
use h3o::CellIndex;
use proto::record::cell::Ping;
use proto::{DriverId, MonoMs, Point, WallMs};
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

mod check;
mod search;
mod standing;

pub use search::Query;
pub use standing::{ASK_AGAIN_MS, LOOKS_MAX, Restood};

use standing::Known;

/// Drivers and ghosts one ring key holds at most: 3,600 to each of the 36 square kilometres of an
/// r6 cell, more than its streets hold. At 190 bytes they are 25 MB, and invented ids take no more.
pub const DRIVERS_MAX: usize = 131_072;

/// The bucket of a ghost.
const NOWHERE: u32 = u32::MAX;

/// What became of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingOutcome {
    /// It is the driver's newest position.
    Applied {
        /// He came here or changed cells, so the index was written.
        moved: bool,
        /// His standing is not known; he can't be found until it is. See [`Supply::unverified`].
        unknown: bool,
    },
    /// Not newer than what is known of him. Changed nothing.
    Stale,
    /// He is in a cell of another ring key. He is no longer here; hand the ping to the key of
    /// `cell`, with [`Supply::ping_in`].
    Left {
        /// The r8 cell he is in.
        cell: CellIndex,
    },
    /// There is no room for another driver. Changed nothing.
    Full,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pings that were a driver's newest position here.
    pub applied: u64,
    /// Pings that were not newer than what was known.
    pub stale: u64,
    /// Pings of drivers in another ring key.
    pub left: u64,
    /// Pings refused for want of room.
    pub full: u64,
    /// Pings that asked H3 for the cell.
    pub located: u64,
    /// Writes to a bucket: a driver came, went or changed cells.
    pub bucket_writes: u64,
    /// Drivers swept out.
    pub expired: u64,
    /// Searches.
    pub searches: u64,
    /// Cells whose drivers a search looked at.
    pub cells_touched: u64,
}

/// The last known position of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fix {
    /// Where.
    pub point: Point,
    /// When the phone measured it.
    pub at: WallMs,
    /// When this node received it.
    pub seen: MonoMs,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    driver: DriverId,
    point: Point,
    at: WallMs,
    seen: MonoMs,
    /// Not to be asked about before this time.
    ask_at: MonoMs,
    known: Option<Known>,
    /// Which bucket, or [`NOWHERE`].
    bucket: u32,
    /// Where in the bucket.
    place: u32,
}

#[derive(Debug)]
struct Bucket {
    cell: CellIndex,
    shape: CellShape,
    slots: Vec<u32>,
}

/// The drivers of one ring key. See the module's text.
#[derive(Debug)]
pub struct Supply {
    /// How long a standing is believed before it is asked for again.
    verify_ms: u64,
    slot_of: BTreeMap<DriverId, u32>,
    entries: Vec<Entry>,
    /// Slots of `entries` that hold nobody.
    vacant: Vec<u32>,
    /// Which bucket has which cell. Buckets stay when empty: a ring key has at most 49 cells.
    bucket_of: BTreeMap<CellIndex, u32>,
    buckets: Vec<Bucket>,
    /// One item for each slot in use: a time of receipt, perhaps outdated, and the slot.
    by_seen: BinaryHeap<Reverse<(MonoMs, u32)>>,
    /// The slot that [`Supply::unverified`] looks at next.
    hand: usize,
    /// Drivers here, ghosts not counted.
    len: usize,
    counts: Counts,
}

impl Supply {
    /// An empty supply, in which a standing is believed for `verify_ms`.
    pub fn new(verify_ms: u64) -> Self {
        Self {
            verify_ms,
            slot_of: BTreeMap::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            bucket_of: BTreeMap::new(),
            buckets: Vec::new(),
            by_seen: BinaryHeap::new(),
            hand: 0,
            len: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a ping, received at `now`. `owns` says whether an r8 cell belongs to this ring key;
    /// it is asked only when the driver may have left the cell he was in.
    pub fn ping(
        &mut self,
        ping: &Ping,
        now: MonoMs,
        owns: impl Fn(CellIndex) -> bool,
    ) -> PingOutcome {
        let slot = self.slot_of.get(&ping.driver).copied();
        if let Some(outcome) = self.try_stay(slot, ping, now) {
            return outcome;
        }
        self.counts.located += 1;
        let cell = cell_of(ping.point);
        if owns(cell) {
            return self.settle(slot, ping, cell, now);
        }
        if let Some(slot) = slot {
            self.vanish(slot);
            let ghost = &mut self.entries[slot as usize];
            (ghost.at, ghost.seen) = (ping.at, now);
        }
        self.counts.left += 1;
        PingOutcome::Left { cell }
    }

    /// Takes a ping whose r8 cell the caller knows and knows to belong to this ring key.
    pub fn ping_in(&mut self, ping: &Ping, cell: CellIndex, now: MonoMs) -> PingOutcome {
        let slot = self.slot_of.get(&ping.driver).copied();
        match self.try_stay(slot, ping, now) {
            Some(outcome) => outcome,
            None => self.settle(slot, ping, cell, now),
        }
    }

    /// Drops a driver who is not registered or was seen elsewhere; false if he was not here. Only
    /// a ping newer than his last brings him back.
    pub fn forget(&mut self, driver: DriverId) -> bool {
        self.slot_of.get(&driver).copied().is_some_and(|slot| self.vanish(slot))
    }

    /// Sweeps out who was not heard of for more than `older_than_ms`, longest silent first, and
    /// names the drivers among them. Looks at `max` entries at most, and at none if none is due.
    pub fn expire(&mut self, now: MonoMs, older_than_ms: u64, max: usize) -> Vec<DriverId> {
        let mut gone = Vec::new();
        for _ in 0..max {
            let Some(mut oldest) = self.by_seen.peek_mut() else { break };
            let Reverse((seen_once, slot)) = *oldest;
            if now.since(seen_once) <= older_than_ms {
                break;
            }
            let Entry { driver, seen, .. } = self.entries[slot as usize];
            if seen > seen_once {
                *oldest = Reverse((seen, slot)); // he was heard of since; back into the heap
                continue;
            }
            PeekMut::pop(oldest);
            if self.vanish(slot) {
                self.counts.expired += 1;
                gone.push(driver);
            }
            self.slot_of.remove(&driver);
            self.vacant.push(slot);
        }
        gone
    }

    /// The last known position of a driver who is here.
    pub fn fix(&self, driver: DriverId) -> Option<Fix> {
        let entry = &self.entries[*self.slot_of.get(&driver)? as usize];
        let Entry { point, at, seen, .. } = *entry;
        (entry.bucket != NOWHERE).then_some(Fix { point, at, seen })
    }

    /// How many drivers are here.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Settles a ping that needs no cell: a stale one, or one from inside the certain circle.
    fn try_stay(&mut self, slot: Option<u32>, ping: &Ping, now: MonoMs) -> Option<PingOutcome> {
        let entry = &mut self.entries[slot? as usize];
        if ping.at <= entry.at {
            self.counts.stale += 1;
            return Some(PingOutcome::Stale);
        }
        let bucket = self.buckets.get(entry.bucket as usize)?; // a ghost has none
        if !bucket.shape.certainly_holds(ping.point) {
            return None;
        }
        (entry.point, entry.at, entry.seen) = (ping.point, ping.at, now);
        self.counts.applied += 1;
        Some(PingOutcome::Applied { moved: false, unknown: entry.known.is_none() })
    }

    /// Puts the driver of a ping that is not stale into the bucket of `cell`.
    fn settle(
        &mut self,
        slot: Option<u32>,
        ping: &Ping,
        cell: CellIndex,
        now: MonoMs,
    ) -> PingOutcome {
        let Some(slot) = slot.or_else(|| self.admit(ping, now)) else {
            self.counts.full += 1;
            return PingOutcome::Full;
        };
        let bucket = self.bucket(cell);
        let old_bucket = self.entries[slot as usize].bucket;
        let moved = old_bucket != bucket;
        if moved {
            self.leave_bucket(slot);
            self.enter_bucket(slot, bucket);
        }
        let entry = &mut self.entries[slot as usize];
        (entry.point, entry.at, entry.seen) = (ping.point, ping.at, now);
        if old_bucket == NOWHERE {
            entry.ask_at = now; // his partition should hear at once where he is
            self.len += 1;
        }
        self.counts.applied += 1;
        PingOutcome::Applied { moved, unknown: entry.known.is_none() }
    }

    /// A slot for a driver never seen, as a ghost. Nothing if there is no room.
    fn admit(&mut self, ping: &Ping, now: MonoMs) -> Option<u32> {
        let Ping { driver, point, at, .. } = *ping;
        let (bucket, place, known) = (NOWHERE, 0, None);
        let entry = Entry { driver, point, at, seen: now, ask_at: now, known, bucket, place };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else if self.entries.len() < DRIVERS_MAX {
            self.entries.push(entry);
            index(self.entries.len() - 1)
        } else {
            return None;
        };
        self.slot_of.insert(driver, slot);
        self.by_seen.push(Reverse((now, slot)));
        Some(slot)
    }

    /// Makes a ghost of whoever is in `slot`; false if he was one.
    fn vanish(&mut self, slot: u32) -> bool {
        if self.entries[slot as usize].bucket == NOWHERE {
            return false;
        }
        self.leave_bucket(slot);
        self.entries[slot as usize].known = None; // it would be out of date when he comes back
        self.len -= 1;
        true
    }

    fn bucket(&mut self, cell: CellIndex) -> u32 {
        *self.bucket_of.entry(cell).or_insert_with(|| {
            self.buckets.push(Bucket { cell, shape: CellShape::of(cell), slots: Vec::new() });
            index(self.buckets.len() - 1)
        })
    }

    fn enter_bucket(&mut self, slot: u32, bucket: u32) {
        let slots = &mut self.buckets[bucket as usize].slots;
        slots.push(slot);
        let entry = &mut self.entries[slot as usize];
        (entry.bucket, entry.place) = (bucket, index(slots.len() - 1));
        self.counts.bucket_writes += 1;
    }

    fn leave_bucket(&mut self, slot: u32) {
        let Entry { bucket, place, .. } = self.entries[slot as usize];
        let Some(bucket) = self.buckets.get_mut(bucket as usize) else { return }; // a ghost
        bucket.slots.swap_remove(place as usize);
        if let Some(filler) = bucket.slots.get(place as usize) {
            self.entries[*filler as usize].place = place;
        }
        self.entries[slot as usize].bucket = NOWHERE;
        self.counts.bucket_writes += 1;
    }
}

/// A position in one of the vectors above, all of them no longer than [`DRIVERS_MAX`].
fn index(position: usize) -> u32 {
    u32::try_from(position).expect("bounded by DRIVERS_MAX")
}

#[cfg(test)]
mod tests;
