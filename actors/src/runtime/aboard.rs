//! Who has a rider aboard, so that he can be counted on where the ride ends. The driver's record does not
//! know it: the trip's shell tells his partition when a ride begins, pauses and goes on, and a leader who
//! was not told asks the trip, once. All of it is soft: what is lost means that one is not counted on.
//!
//! How long he still needs nobody tells: whoever searches estimates it from his last ping.

use super::Runtime;
use super::store::Stands;
use proto::record::ask::{Aboard, GetTrip, Restand};
use proto::record::driver::Standing;
use proto::record::{Commitment, Driver, Trip, TripState};
use std::sync::Arc;

/// Trips asked at once, at most: after a takeover as many drivers as a partition has are asked about.
/// Whoever finds no place is asked about when his cell asks again how he stands.
pub(super) const ASKED_MAX: usize = 64;

impl Runtime {
    /// How a driver stands, with where his ride ends if a rider is aboard.
    pub(super) fn stands(&self, driver: &Driver) -> Standing {
        driver.standing_aboard(self.0.soft.aboard(driver.id))
    }

    /// Tells the driver's partition whether the rider of a trip is under way with him.
    pub(super) fn tell_aboard(&self, trip: &Trip) {
        let aboard = trip.state == TripState::InProgress;
        let counts = aboard || trip.state == TripState::Paused;
        if !counts || !self.counts_on_anybody() {
            return;
        }
        let (runtime, ask) =
            (self.clone(), Aboard { driver: trip.driver, offer: trip.offer, aboard });
        tokio::spawn(async move {
            let _lost = runtime.world().router.ask(ask, runtime.background()).await;
        });
    }

    /// Notes whether a rider is aboard, and tells the cell that the driver was seen in.
    pub(super) fn note_aboard(&self, ask: Aboard) {
        let Aboard { driver, offer, aboard } = ask;
        self.0.soft.set_aboard(driver, offer, aboard);
        let Some(ring_key) = self.0.soft.ring_key(driver) else { return };
        let Some(Stands::So(standing)) = self.standing(driver) else { return };
        let runtime = self.clone();
        tokio::spawn(async move {
            // Lost standings are asked for again by the cell.
            let ask = Restand { ring_key, standing };
            let _lost = runtime.world().router.ask(ask, runtime.background()).await;
        });
    }

    /// Asks the trip of a driver whether its rider is aboard, if nothing was said of it here before.
    pub(super) fn learn_aboard(&self, driver: &Driver) {
        let Some(Commitment::Taken { offer, trip: Some(trip), .. }) = &driver.current else {
            return;
        };
        if !self.counts_on_anybody() {
            return;
        }
        let Ok(place) = Arc::clone(&self.0.aboard_places).try_acquire_owned() else { return };
        if !self.0.soft.ask_aboard(driver.id, offer.id) {
            return;
        }
        let (runtime, trip, driver) = (self.clone(), *trip, driver.id);
        tokio::spawn(async move {
            let asked = runtime.world().router.ask(GetTrip { trip }, runtime.background()).await;
            if let Ok(trip) = asked
                && trip.state == TripState::InProgress
            {
                runtime.note_aboard(Aboard { driver, offer: trip.offer, aboard: true });
            }
            drop(place);
        });
    }

    /// Whether this driver has a rider aboard, as far as is known here.
    pub(super) fn has_aboard(&self, driver: &Driver) -> bool {
        self.stands(driver).ends.is_some()
    }

    /// Without that nobody has to know who has a rider aboard: they are neither counted on, nor told from
    /// those who may be yielded.
    fn counts_on_anybody(&self) -> bool {
        let policy = self.world().policy.load();
        policy.soon_ms.max(policy.next_within_ms).max(policy.yield_ms) > 0
    }
}
