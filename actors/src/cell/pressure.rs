//! How many bookings an area has seen lately, by r7 cell and vehicle type: the demand beside the
//! supply, for pricing and for operators.

use h3o::CellIndex;
use proto::MonoMs;
use proto::record::driver::VehicleType;
use std::collections::BTreeMap;

/// How far back bookings are counted, in milliseconds: five minutes.
pub const WINDOW_MS: u64 = 300_000;
/// A bin of the window, in milliseconds: a count is old by so much at most.
const BIN_MS: u64 = 15_000;
/// Bins of the window.
const BINS: usize = 20;
/// Areas that are counted in at most, ring keys having seven.
const AREAS_MAX: usize = 64;

/// Bookings by area and vehicle type. See the module's text.
#[derive(Debug, Default)]
pub struct Pressure {
    windows: BTreeMap<(CellIndex, VehicleType), Window>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    bins: [u32; BINS],
    /// The number of the newest bin, since the clock began.
    newest: u64,
}

impl Pressure {
    /// Counts a booking in an r7 cell.
    pub fn count(&mut self, area: CellIndex, kind: VehicleType, now: MonoMs) {
        if self.windows.len() < AREAS_MAX || self.windows.contains_key(&(area, kind)) {
            self.windows.entry((area, kind)).or_default().count(now);
        }
    }

    /// How many were counted within the last [`WINDOW_MS`], by area and type; only where there were
    /// some.
    pub fn counts(&self, now: MonoMs) -> impl Iterator<Item = ((CellIndex, VehicleType), u32)> {
        let counts = self.windows.iter().map(move |(of, window)| (*of, window.sum(now)));
        counts.filter(|(_, count)| *count > 0)
    }
}

impl Window {
    fn count(&mut self, now: MonoMs) {
        let bin = now.0 / BIN_MS;
        // What fell out of the window since the last booking is emptied.
        let passed = bin.saturating_sub(self.newest).min(BINS as u64);
        for step in 1..=passed {
            self.bins[place(self.newest + step)] = 0;
        }
        if passed == BINS as u64 {
            self.bins = [0; BINS];
        }
        self.newest = self.newest.max(bin);
        let count = &mut self.bins[place(bin)];
        *count = count.saturating_add(1);
    }

    fn sum(&self, now: MonoMs) -> u32 {
        let oldest = (now.0 / BIN_MS + 1).saturating_sub(BINS as u64);
        let first = self.newest.saturating_sub(BINS as u64 - 1).max(oldest);
        (first..=self.newest).map(|bin| self.bins[place(bin)]).fold(0, u32::saturating_add)
    }
}

fn place(bin: u64) -> usize {
    usize::try_from(bin % BINS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::cell_of;
    use proptest::prelude::*;
    use proto::Point;

    fn area() -> CellIndex {
        let here = cell_of(Point::from_degrees(40.7, -74.0).unwrap());
        here.parent(h3o::Resolution::Seven).unwrap()
    }

    proptest! {
        #[test]
        fn a_count_is_that_of_a_list_to_the_bin(
            pauses in prop::collection::vec(prop_oneof![0..2_000_u64, 0..400_000_u64], 1..60)
        ) {
            let (mut pressure, mut list, mut now) = (Pressure::default(), Vec::new(), MonoMs(0));
            for pause in pauses {
                now = now.plus_ms(pause);
                let counted = |list: &[u64], from: u64| list.iter().filter(|at| **at >= from).count();
                let sum = pressure.counts(now).map(|(_, count)| count).sum::<u32>() as usize;
                // Whole bins: at least all of the window less one, at most the window.
                prop_assert!(sum >= counted(&list, (now.0 + BIN_MS).saturating_sub(WINDOW_MS)));
                prop_assert!(sum <= counted(&list, now.0.saturating_sub(WINDOW_MS)));
                pressure.count(area(), VehicleType::Suv, now);
                list.push(now.0);
            }
        }
    }

    #[test]
    fn kinds_are_counted_apart_and_areas_have_a_bound() {
        let mut pressure = Pressure::default();
        pressure.count(area(), VehicleType::Suv, MonoMs(1));
        pressure.count(area(), VehicleType::Bike, MonoMs(1));
        pressure.count(area(), VehicleType::Bike, MonoMs(2));
        let counts: Vec<u32> = pressure.counts(MonoMs(3)).map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2]);
        for other in area().grid_disk::<Vec<_>>(6) {
            pressure.count(other, VehicleType::Suv, MonoMs(4));
        }
        assert_eq!(pressure.counts(MonoMs(5)).count(), AREAS_MAX);
    }
}
