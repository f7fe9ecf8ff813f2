//! The supply of one ring key: drivers by r8 cell.
//!
//! A ping costs one lookup by driver and, nearly always, one multiplication that says "still in
//! the same cell": then nothing moves and only the time of receipt is refreshed. H3 is asked when
//! the point is not certainly within a cell known here ([`CellShape`]), one ping in thirty. The
//! newest phone time of a driver wins, whatever the order of arrival.
//!
//! A driver is in exactly one bucket. One who was seen in another ring key since, or is not
//! registered, stays as a *ghost* until the sweep: a ghost is found by nobody, but remembers the
//! phone time, so that a late ping from before the move does not bring a twin to life.
//!
//! Freshness is judged by the time of receipt on this node's monotonic clock; a phone's clock only
//! orders that phone's own pings. A phone whose clock once ran ahead is deaf until the sweep has
//! taken its entry, at most one freshness window later.
//!
//! A driver is nominated only with a standing, the word of his partition about him: `standing.rs`.
//! How the near ones are found: `search.rs`. What is counted of them, per r7 cell: `areas.rs`.
//!
//! # Memory
//! 64 bytes an entry and 4 beside it, 16 in the sweep's heap, 4 in the bucket and 19 to 37 in the map by
//! driver: some 115 bytes a driver, up to 210 just after the vectors have doubled. A test does the sum. With a
//! rider aboard 13 to 26 more.
//!
//! # Not done
//! * Speed and heading are dropped, so the future place of a car is not known.
//! * No counts per capability: a search for a rare one looks at each driver of the cells in reach.

use crate::geo::{CellShape, cell_of};
use h3o::CellIndex;
use proto::record::cell::Ping;
use proto::{DriverId, MonoMs, Point, WallMs};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

mod areas;
mod batch;
mod check;
mod search;
mod standing;

pub use areas::{Area, SEARCH_LOAD, Tally};
pub use search::{ENDING_MAX, Hits, Query};
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
        /// His standing is not known, he can't be found until it is, and it is time to ask his
        /// partition. Said once every [`ASK_AGAIN_MS`]; [`Supply::unverified`] asks again.
        ask: bool,
    },
    /// Not newer than what is known of him. Changed nothing.
    Stale,
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

/// Aligned to a line of the processor's cache, so that one wait brings all of it.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
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
    /// Which of `areas` has the r7 parent.
    area: u32,
    /// Pings applied, and searches that looked here, weighed, since the load was last taken.
    load: u64,
}

/// The drivers of one ring key. See the module's text.
#[derive(Debug)]
pub struct Supply {
    /// How long a standing is believed before it is asked for again.
    verify_ms: u64,
    /// The hash has no secret: ids are hashes themselves, and who makes them up fills one ring key
    /// at most. Nobody iterates over it.
    slot_of: FxHashMap<DriverId, u32>,
    entries: Vec<Entry>,
    /// Since when each of them has waited for a ride, in seconds since 1970; beside the entries, which
    /// fill their line, since few are asked for.
    idle_since_s: Vec<u32>,
    /// Slots of `entries` that hold nobody.
    vacant: Vec<u32>,
    /// Which bucket has which cell. Buckets stay when empty: a ring key has at most 49 cells.
    bucket_of: BTreeMap<CellIndex, u32>,
    buckets: Vec<Bucket>,
    areas: Vec<Area>,
    /// One item for each slot in use: a time of receipt, perhaps outdated, and the slot.
    by_seen: BinaryHeap<Reverse<(MonoMs, u32)>>,
    /// Where the rides of those end who have a rider aboard, by slot; beside the entries, which fill
    /// their line. Nobody iterates over it.
    ends: FxHashMap<u32, Point>,
    /// The slot that [`Supply::unverified`] looks at next.
    hand: usize,
    /// Drivers here, ghosts not counted.
    len: usize,
    counts: Counts,
}

impl Supply {
    /// An empty supply, in which a standing is believed for `verify_ms` at most.
    pub fn new(verify_ms: u64) -> Self {
        Self {
            verify_ms,
            slot_of: FxHashMap::default(),
            entries: Vec::new(),
            idle_since_s: Vec::new(),
            vacant: Vec::new(),
            bucket_of: BTreeMap::new(),
            buckets: Vec::new(),
            areas: Vec::new(),
            by_seen: BinaryHeap::new(),
            ends: FxHashMap::default(),
            hand: 0,
            len: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a ping from a cell of this ring key, received at `now`.
    pub fn ping(&mut self, ping: &Ping, now: MonoMs) -> PingOutcome {
        self.ping_at(self.slot_of.get(&ping.driver).copied(), ping, now)
    }

    /// Takes a ping of somebody whose slot is known, if he has one.
    fn ping_at(&mut self, slot: Option<u32>, ping: &Ping, now: MonoMs) -> PingOutcome {
        match self.try_stay(slot, ping, now) {
            Some(outcome) => outcome,
            None => {
                let cell = self.locate(ping.point);
                self.settle(slot, ping, cell, now)
            }
        }
    }

    /// The cell of a point: certainly one of those that have buckets, or as H3 says.
    fn locate(&mut self, point: Point) -> CellIndex {
        let known = self.buckets.iter().find(|bucket| bucket.shape.certainly_holds(point));
        if let Some(bucket) = known {
            return bucket.cell;
        }
        self.counts.located += 1;
        cell_of(point)
    }

    /// Drops a driver who is not registered, or who was seen elsewhere `at` a phone time later than
    /// his last here; false if he is not here, or was here after that. Only a ping that is not older
    /// brings him back.
    pub fn forget(&mut self, driver: DriverId, at: Option<WallMs>) -> bool {
        let Some(slot) = self.slot_of.get(&driver).copied() else { return false };
        let entry = &mut self.entries[slot as usize];
        if at.is_some_and(|at| at < entry.at) {
            return false;
        }
        entry.at = entry.at.max(at.unwrap_or_default());
        self.vanish(slot)
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

    /// The newest positions of those heard of within `fresh_ms`, as pings, for another owner.
    pub fn positions(&self, now: MonoMs, fresh_ms: u64) -> Vec<Ping> {
        let here = self.buckets.iter().flat_map(|bucket| &bucket.slots);
        let fresh = here
            .map(|slot| &self.entries[*slot as usize])
            .filter(|entry| now.since(entry.seen) <= fresh_ms);
        let ping = |entry: &Entry| {
            let Entry { driver, point, at, .. } = *entry;
            Ping { driver, point, heading_deg: 0, speed_cms: 0, accuracy_m: 0, at }
        };
        fresh.map(ping).collect()
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

    /// Settles a ping that needs no cell: a stale one, or one from inside his certain outline.
    fn try_stay(&mut self, slot: Option<u32>, ping: &Ping, now: MonoMs) -> Option<PingOutcome> {
        let slot = slot?;
        let entry = &self.entries[slot as usize];
        // A ghost's cell may be merged into this key again before he pings: then he is handed back with
        // the very ping that he left by.
        let stale = match entry.bucket {
            NOWHERE => ping.at < entry.at,
            _ => ping.at <= entry.at,
        };
        if stale {
            self.counts.stale += 1;
            return Some(PingOutcome::Stale);
        }
        let bucket = self.buckets.get(entry.bucket as usize)?; // a ghost has none
        bucket.shape.certainly_holds(ping.point).then(|| self.stay(slot, ping, now))
    }

    /// Takes a newer ping of somebody who stays in his bucket.
    fn stay(&mut self, slot: u32, ping: &Ping, now: MonoMs) -> PingOutcome {
        let entry = &mut self.entries[slot as usize];
        let now = now.max(entry.seen); // who reads the clock first may come second
        let bucket = &mut self.buckets[entry.bucket as usize];
        if let Some(known) = entry.known {
            self.areas[bucket.area as usize].heard(known, entry.seen, now);
        }
        (entry.point, entry.at, entry.seen) = (ping.point, ping.at, now);
        bucket.load += 1;
        self.counts.applied += 1;
        PingOutcome::Applied { moved: false, ask: entry.should_ask(now) }
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
        if old_bucket == bucket {
            return self.stay(slot, ping, now);
        }
        self.leave_bucket(slot);
        let entry = &mut self.entries[slot as usize];
        let now = now.max(entry.seen);
        (entry.point, entry.at, entry.seen) = (ping.point, ping.at, now);
        if old_bucket == NOWHERE {
            entry.ask_at = now; // his partition should hear at once where he is
            self.len += 1;
        }
        self.enter_bucket(slot, bucket);
        self.buckets[bucket as usize].load += 1;
        self.counts.applied += 1;
        let ask = self.entries[slot as usize].should_ask(now);
        PingOutcome::Applied { moved: true, ask }
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
            self.idle_since_s.push(0);
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
        self.ends.remove(&slot);
        self.entries[slot as usize].known = None; // it would be out of date when he comes back
        self.len -= 1;
        true
    }

    fn bucket(&mut self, cell: CellIndex) -> u32 {
        *self.bucket_of.entry(cell).or_insert_with(|| {
            let area = areas::of(&mut self.areas, cell);
            let (shape, slots) = (CellShape::of(cell), Vec::new());
            self.buckets.push(Bucket { cell, shape, slots, area, load: 0 });
            index(self.buckets.len() - 1)
        })
    }

    fn enter_bucket(&mut self, slot: u32, bucket: u32) {
        let Bucket { slots, area, .. } = &mut self.buckets[bucket as usize];
        slots.push(slot);
        let entry = &mut self.entries[slot as usize];
        (entry.bucket, entry.place) = (bucket, index(slots.len() - 1));
        if let Some(known) = entry.known {
            self.areas[*area as usize].came(known, entry.seen);
        }
        self.counts.bucket_writes += 1;
    }

    fn leave_bucket(&mut self, slot: u32) {
        let Entry { bucket, place, known, seen, .. } = self.entries[slot as usize];
        let Some(bucket) = self.buckets.get_mut(bucket as usize) else { return }; // a ghost
        if let Some(known) = known {
            self.areas[bucket.area as usize].went(known, seen);
        }
        bucket.slots.swap_remove(place as usize);
        if let Some(filler) = bucket.slots.get(place as usize) {
            self.entries[*filler as usize].place = place;
        }
        self.entries[slot as usize].bucket = NOWHERE;
        self.counts.bucket_writes += 1;
    }
}

impl Entry {
    /// Whether his partition should be asked how he stands; says so once a while.
    fn should_ask(&mut self, now: MonoMs) -> bool {
        let due = self.known.is_none() && self.ask_at <= now;
        if due {
            self.ask_at = now.plus_ms(ASK_AGAIN_MS);
        }
        due
    }
}

/// A position in one of the vectors above, all of them no longer than [`DRIVERS_MAX`].
fn index(position: usize) -> u32 {
    u32::try_from(position).expect("bounded by DRIVERS_MAX")
}

#[cfg(test)]
mod tests;
