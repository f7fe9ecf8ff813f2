//! What is counted: the drivers of each r7 cell and vehicle type, kept with every change, so that
//! nobody has to go through the drivers to know; and what each r8 cell had to do.

use super::{Known, Supply, index};
use h3o::{CellIndex, Resolution};
use proto::MonoMs;
use proto::record::driver::{DriverStatus, VehicleType};

/// What a search that looks at a cell's drivers costs, in pings.
pub const SEARCH_LOAD: u64 = 16;

/// The drivers of one vehicle type on duty in an area: heard of lately, their standing known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub drivers: u32,
    /// How many of them have an offer before them or are bound to a booking.
    pub busy: u32,
    /// The sum of their shares of offers taken, each 0 to 100.
    pub accepts_pct: u64,
    /// The sum of the times they were last heard of, in milliseconds of this node's clock.
    pub seen_ms: u64,
}

/// One r7 cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// Which.
    pub cell: CellIndex,
    /// By vehicle type, in the order of [`VehicleType`].
    pub by_kind: [Tally; VehicleType::ALL.len()],
}

impl Tally {
    /// How long ago they were heard of, in milliseconds, on average; 0 if there is nobody.
    pub fn silent_ms(&self, now: MonoMs) -> u64 {
        let heard = self.seen_ms.checked_div(self.drivers.into());
        heard.map_or(0, |heard| now.since(MonoMs(heard)))
    }
}

impl Area {
    /// Somebody came, or what is known of him did.
    pub(super) fn came(&mut self, known: Known, seen: MonoMs) {
        let Some(tally) = self.tally(known) else { return };
        tally.drivers += 1;
        tally.busy += u32::from(known.status != DriverStatus::Free);
        tally.accepts_pct += u64::from(known.accepts_pct);
        tally.seen_ms += seen.0;
    }

    /// He went, or what was known of him did. The same values as when he came, but for `seen`.
    pub(super) fn went(&mut self, known: Known, seen: MonoMs) {
        let Some(tally) = self.tally(known) else { return };
        tally.drivers -= 1;
        tally.busy -= u32::from(known.status != DriverStatus::Free);
        tally.accepts_pct -= u64::from(known.accepts_pct);
        tally.seen_ms -= seen.0;
    }

    /// He was heard of again.
    pub(super) fn heard(&mut self, known: Known, before: MonoMs, now: MonoMs) {
        if let Some(tally) = self.tally(known) {
            tally.seen_ms = tally.seen_ms + now.0 - before.0;
        }
    }

    /// Where a driver is counted; nowhere if he is off duty.
    fn tally(&mut self, known: Known) -> Option<&mut Tally> {
        let on_duty = known.status != DriverStatus::Offline;
        on_duty.then(|| &mut self.by_kind[known.kind as usize])
    }
}

/// The place of the area that an r8 cell lies in. A ring key has 7 of them at most.
pub(super) fn of(areas: &mut Vec<Area>, cell: CellIndex) -> u32 {
    let parent = cell.parent(Resolution::Seven).unwrap_or(cell);
    let known = areas.iter().position(|area| area.cell == parent);
    index(known.unwrap_or_else(|| {
        areas.push(Area { cell: parent, by_kind: Default::default() });
        areas.len() - 1
    }))
}

impl Supply {
    /// What is counted, by r7 cell.
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// What each r8 cell had to do since this was last asked: a ping counts one, a search that
    /// looked there [`SEARCH_LOAD`].
    pub fn take_load(&mut self) -> Vec<(CellIndex, u64)> {
        let busy = self.buckets.iter_mut().filter(|bucket| bucket.load > 0);
        busy.map(|bucket| (bucket.cell, std::mem::take(&mut bucket.load))).collect()
    }
}
