//! How fast the cluster decides, as clients see it, in wall milliseconds at any speed of the city:
//! what a booking waits for its offers, apart from what it waits for cars.

use crate::history::{Seen, Step, What};
use crate::stats::Spread;
use proto::{BookingId, DriverId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// See the module's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Decisions {
    /// From the rider's POST to the first offer in a driver's hand, of bookings that had one. Where
    /// cars are scarce that is mostly the time until one came free.
    pub first_offer: Spread,
    /// The same from when both were there: the rider had asked, and that driver's last trip had
    /// ended. This is the cluster's own time.
    pub both_there: Spread,
    /// From one offer of a booking in a driver's hand to the next in another's: what the first had
    /// to answer, and a decision.
    pub next_offer: Spread,
}

impl Decisions {
    pub(super) fn of(seen: &[Seen]) -> Self {
        let mut asked: BTreeMap<BookingId, u64> = BTreeMap::new();
        let mut offered: BTreeMap<BookingId, u64> = BTreeMap::new();
        let mut free: BTreeMap<DriverId, u64> = BTreeMap::new();
        let (mut first, mut both, mut next) = (Vec::new(), Vec::new(), Vec::new());
        // An offer can be in hand before the rider has his answer: who asked when comes first.
        for Seen { what, .. } in seen {
            if let What::BookingAcked { booking, asked_ms, .. } = what {
                asked.insert(*booking, *asked_ms);
            }
        }
        for Seen { at_ms, what } in seen {
            if let What::StepAcked { driver, step: Step::End, .. } = what {
                free.insert(*driver, *at_ms);
            }
            let What::OfferSeen { booking, driver, .. } = what else { continue };
            let Some(asked_ms) = asked.get(booking) else { continue };
            match offered.entry(*booking) {
                Entry::Vacant(entry) => {
                    entry.insert(*at_ms);
                    let there_ms = free.get(driver).map_or(*asked_ms, |at| *asked_ms.max(at));
                    first.push(at_ms.saturating_sub(*asked_ms) as f64);
                    both.push(at_ms.saturating_sub(there_ms) as f64);
                }
                Entry::Occupied(mut entry) => {
                    next.push(at_ms.saturating_sub(entry.insert(*at_ms)) as f64);
                }
            }
        }
        let [first_offer, both_there, next_offer] = [first, both, next].map(Spread::of);
        Self { first_offer, both_there, next_offer }
    }

    /// Its part of the table.
    pub(super) fn rows(&self, row: &mut impl FnMut(&str, String)) {
        for (name, spread) in [
            ("decision, first offer of those who had one", self.first_offer),
            ("decision, from rider asked and driver free", self.both_there),
            ("decision, from one offer to the next", self.next_offer),
        ] {
            let Spread { n, p50, p95, max, .. } = spread;
            row(name, format!("p50 {p50:.0} ms, p95 {p95:.0} ms, max {max:.0} ms; {n} offers"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{OfferId, RiderId, Slot, TripId, WallMs};

    #[test]
    fn waiting_for_a_car_is_not_the_clusters_time() {
        let driver = DriverId::from_raw(1);
        let booking = BookingId::mint(Slot(1), WallMs(1), 1);
        let offer = |n| OfferId::mint(Slot(1), WallMs(1), n);
        let trip = TripId::mint(Slot(1), WallMs(1), 1);
        let seen = |at_ms, what| Seen { at_ms, what };
        let history = [
            seen(120, What::BookingAcked { booking, rider: RiderId::from_raw(1), asked_ms: 100 }),
            seen(900, What::StepAcked { trip, driver, step: Step::End }),
            seen(950, What::OfferSeen { offer: offer(1), booking, driver }),
            seen(980, What::OfferSeen { offer: offer(2), booking, driver: DriverId::from_raw(2) }),
        ];
        let Decisions { first_offer, both_there, next_offer } = Decisions::of(&history);
        assert_eq!((first_offer.p50, both_there.p50, next_offer.p50), (850.0, 50.0, 30.0));
        assert_eq!((first_offer.n, both_there.n, next_offer.n), (1, 1, 1));
    }
}
