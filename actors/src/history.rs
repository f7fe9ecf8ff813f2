//! What leaves a partition's state for its history: bookings that have ended, with their trips, and
//! what a driver has driven. The last few ended bookings stay, because phones ask for them and
//! shells still finish with them; after that nothing changes them any more, and they are read from
//! the archive.

use crate::booking::change;
use proto::codec;
use proto::record::trip::{Driven, Ended};
use proto::record::{Booking, BookingState, Key, Offer, Trip};
use proto::{DriverId, TripId, WallMs};

/// Ended bookings that a partition keeps at hand, at most: about a megabyte with their trips.
pub const ENDED_MAX: usize = 256;
/// How long an ended booking stays, in milliseconds: ten minutes.
pub const STAY_MS: u64 = 10 * 60 * 1000;
/// What leaves with one command, at most. As one command ends at most one booking, two keep up.
pub const LEAVE_AT_ONCE: usize = 2;

/// Whether nothing will change a booking and its trips any more: it is over, and each driver that it
/// had has been released.
pub fn has_ended<'a>(booking: &Booking, trip: impl Fn(TripId) -> Option<&'a Trip>) -> bool {
    let over = match booking.state {
        BookingState::Open
        | BookingState::Offering
        | BookingState::Assigned { .. }
        | BookingState::Promised { .. } => false,
        BookingState::Cancelled { .. }
        | BookingState::Expired
        | BookingState::Completed
        | BookingState::Paid => true,
    };
    let released = |trip: &Trip| trip.state.is_over() && !trip.release_due;
    over && change::trips(booking).all(|id| trip(id).is_some_and(released))
}

/// What a booking leaves behind.
pub fn records(booking: &Booking, trips: &[Trip]) -> Vec<(Key, Vec<u8>)> {
    let trips = trips.iter().map(|trip| (Key::Trip(trip.id), codec::encode(trip)));
    let mut records = vec![
        (Key::Booking(booking.id), codec::encode(booking)),
        (Key::RiderBooking(booking.rider, booking.id), Vec::new()),
    ];
    records.extend(trips);
    records
}

/// What a trip leaves behind in its driver's partition.
pub fn driven(driver: DriverId, offer: &Offer, ended: Ended, at: WallMs) -> (Key, Vec<u8>) {
    let Offer { booking, pickup, destination, .. } = *offer;
    let Ended { trip, state, earned } = ended;
    let driven = Driven { trip, booking, ended: state, pickup, destination, at, earned };
    (Key::DriverTrip(driver, at, trip), codec::encode(&driven))
}
