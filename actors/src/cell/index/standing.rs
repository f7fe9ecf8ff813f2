//! What is known of the drivers beside their position: status, vehicle and free seats, with the
//! version of the record they were read from. It comes from the driver's partition, which tells
//! each change and is asked about those it has not spoken of.

use super::{Bucket, Entry, NOWHERE, Supply};
use proto::record::cell::Candidate;
use proto::record::driver::{Capabilities, DriverStatus, Standing, VehicleType};
use proto::{DriverId, MonoMs, WallMs};

/// A driver without an answer about his standing is asked about again after this long: longer than
/// an ask may take, short beside a rider's patience.
pub const ASK_AGAIN_MS: u64 = 1_000;

/// Entries that one call of [`Supply::unverified`] looks at: 256 KB of memory, a few microseconds.
pub const LOOKS_MAX: usize = 4_096;

/// What became of a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restood {
    /// The driver is not here, or a newer version is known.
    Ignored,
    /// Noted, or confirmed.
    Noted,
    /// Noted, and he can be matched now but could not before: wake the board. The distance is 0.
    Freed(Candidate),
}

/// A [`Standing`] without the id, which the entry has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) version: u64,
    pub(super) capabilities: Capabilities,
    pub(super) kind: VehicleType,
    pub(super) status: DriverStatus,
    pub(super) seats_free: u8,
    pub(super) accepts_pct: u8,
}

/// A time that is noted in seconds.
pub(super) fn at_second(seconds: u32) -> WallMs {
    WallMs(u64::from(seconds) * 1_000)
}

impl Supply {
    /// Takes a standing. The highest version wins; the same version again confirms it.
    pub fn restand(&mut self, standing: &Standing, now: MonoMs) -> Restood {
        self.note(standing, now.plus_ms(self.believed_ms(standing.driver)))
    }

    /// How long a confirmed standing is believed: half of `verify_ms` to all of it, for each driver
    /// another time. Those who all came at once would be asked about all at once for ever.
    fn believed_ms(&self, driver: DriverId) -> u64 {
        self.verify_ms - ((self.verify_ms / 2 * u64::from(driver.slot().0)) >> u16::BITS)
    }

    /// Takes a standing from a replica that does not lead, so that a driver can be found while
    /// nobody leads his partition. It may be old: a version that is known tells nothing, and he is
    /// asked about again soon.
    pub fn hearsay(&mut self, standing: &Standing, now: MonoMs) -> Restood {
        let known =
            self.slot_of.get(&standing.driver).and_then(|slot| self.entries[*slot as usize].known);
        if known.is_some_and(|known| known.version >= standing.version) {
            return Restood::Ignored;
        }
        self.note(standing, now.plus_ms(ASK_AGAIN_MS))
    }

    fn note(&mut self, standing: &Standing, ask_at: MonoMs) -> Restood {
        let Standing { driver, status, kind, capabilities, seats_free, version, .. } = *standing;
        let Standing { accepts_pct, idle_since, ends, .. } = *standing;
        let Some(slot) = self.slot_of.get(&driver).copied() else { return Restood::Ignored };
        let entry = &mut self.entries[slot as usize];
        let newer = entry.known.is_none_or(|known| version >= known.version);
        let Some(Bucket { area, .. }) = self.buckets.get(entry.bucket as usize) else {
            return Restood::Ignored; // a ghost
        };
        if !newer {
            return Restood::Ignored;
        }
        let known = Known { version, capabilities, kind, status, seats_free, accepts_pct };
        let area = &mut self.areas[*area as usize];
        let before = entry.known.replace(known);
        if let Some(before) = before {
            area.went(before, entry.seen);
        }
        area.came(known, entry.seen);
        entry.ask_at = ask_at;
        let idle_since_s = &mut self.idle_since_s[slot as usize];
        *idle_since_s = u32::try_from(idle_since.0 / 1_000).unwrap_or(u32::MAX);
        match ends.filter(|_| status == DriverStatus::Taken) {
            Some(ends) => self.ends.insert(slot, ends),
            None => self.ends.remove(&slot),
        };
        let was_free = before.is_some_and(|known| known.status == DriverStatus::Free);
        if was_free || status != DriverStatus::Free {
            return Restood::Noted;
        }
        let Entry { point, at, .. } = *entry;
        let (distance_m, spare) = (0, 0);
        let idle_since = at_second(*idle_since_s);
        let freed = Candidate { driver, point, at, distance_m, status, version, spare, idle_since };
        Restood::Freed(freed)
    }

    /// At most `max` drivers to ask their partitions about: those whose standing is missing or was
    /// last confirmed too long ago. Goes round, so that everybody's turn comes; a driver named is
    /// not named again for [`ASK_AGAIN_MS`]. With each comes the phone time of his last ping.
    pub fn unverified(&mut self, now: MonoMs, max: usize) -> Vec<(DriverId, WallMs)> {
        let mut drivers = Vec::new();
        for _ in 0..self.entries.len().min(LOOKS_MAX) {
            if drivers.len() == max {
                break;
            }
            self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
            let entry = &mut self.entries[self.hand];
            if entry.bucket != NOWHERE && entry.ask_at <= now {
                entry.ask_at = now.plus_ms(ASK_AGAIN_MS);
                drivers.push((entry.driver, entry.at));
            }
        }
        drivers
    }
}
