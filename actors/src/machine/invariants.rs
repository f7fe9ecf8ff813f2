//! What must hold between the registers.

use super::Machine;
use crate::booking::{self, change};
use crate::history;
use proto::record::{BookingState, Commitment, OfferState, TripState};

impl Machine {
    /// Asserts what must hold between the registers after every command.
    ///
    /// # Panics
    /// If it does not: that is a bug, never a client's mistake.
    pub fn check_invariants(&self) {
        for rider in self.riders.values() {
            if let Some(active) = rider.active {
                let booking = &self.bookings[&active];
                assert_eq!(booking.rider, rider.id, "{active} is another rider's");
                let over = !booking.state.is_searching()
                    && !matches!(
                        booking.state,
                        BookingState::Assigned { .. } | BookingState::Promised { .. }
                    );
                assert!(!over, "{} holds {active}, which has ended", rider.id);
            }
        }
        for booking in self.bookings.values() {
            let pending = booking::pending(booking).count();
            let assigned = matches!(booking.state, BookingState::Assigned { .. });
            let offers = booking.state == BookingState::Offering;
            assert!(assigned || offers == (pending > 0), "{booking:?}");
            let promised = booking.offers.iter().filter(|(_, it)| *it == OfferState::Promised);
            let promised: Vec<_> = promised.map(|(offer, _)| (offer.id, offer.driver)).collect();
            if let BookingState::Promised { offer, driver, .. } = booking.state {
                assert_eq!(promised, [(offer, driver)], "{booking:?}");
                assert_eq!(booking.trip, None, "{booking:?} waits, and has a trip");
            } else {
                assert_eq!(promised, [], "{booking:?}");
            }
            for trip in change::former(booking).map(|(_, trip)| &self.trips[&trip]) {
                assert_eq!(trip.state, TripState::Cancelled, "{booking:?} has left {trip:?}");
                assert_eq!(trip.booking, booking.id, "{trip:?}");
            }
            if let BookingState::Assigned { trip, driver, .. } = booking.state {
                let born = &self.trips[&trip];
                assert_eq!((born.booking, born.driver), (booking.id, driver), "{booking:?}");
                assert!(!born.state.is_over(), "{trip} is over, its booking is not");
                let asks = pending > 0;
                assert!(pending <= 1, "{booking:?} asks several to come instead");
                assert!(!asks || born.state == TripState::Assigned, "{trip} is kept: {booking:?}");
            }
        }
        for driver in self.drivers.values() {
            let rides = matches!(driver.current, Some(Commitment::Taken { trip: Some(_), .. }));
            assert!(driver.next.is_none() || rides, "{driver:?} has a next ride, and none before");
        }
        for queue in self.queues.values() {
            crate::queue::check_invariants(queue);
        }
        for key in self.keys() {
            assert_eq!(self.open.contains(&key), self.is_open(key), "{key:?} and open work");
        }
        for (at, id) in &self.ended {
            let booking = &self.bookings[id];
            assert_eq!(*at, booking.updated_at, "{booking:?} has two places among those to leave");
            let ended = history::has_ended(booking, |id| self.trips.get(&id));
            assert!(ended, "{booking:?} is to leave");
        }
    }
}
