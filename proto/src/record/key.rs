//! Keys of durable entities. Byte order is by kind, then by id.

use crate::codec::CodecError;
use crate::ids::{BookingId, DriverId, RiderId, TripId, ZoneId};
use crate::slot::Slot;
use crate::units::WallMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which entity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A rider.
    Rider(RiderId),
    /// A driver.
    Driver(DriverId),
    /// A booking.
    Booking(BookingId),
    /// A trip.
    Trip(TripId),
    /// The first answer to a client's idempotency key, kept in a rider's partition.
    RiderAnswer(RiderId, u64),
    /// The same, kept in a driver's partition.
    DriverAnswer(DriverId, u64),
    /// That a booking is a rider's: his bookings, oldest first.
    RiderBooking(RiderId, BookingId),
    /// A trip that a driver has ended, and when he was released from it: his trips, oldest first.
    DriverTrip(DriverId, WallMs, TripId),
    /// What was answered in a rider's partition, once it has left for the archive.
    OldRiderAnswer(RiderId, u64),
    /// The same, of a driver's partition.
    OldDriverAnswer(DriverId, u64),
    /// A piece of a trip's trail, and when it came: its trail, in the order of arrival.
    TripTrail(TripId, WallMs),
    /// The queue of a zone.
    Queue(ZoneId),
}

impl Key {
    /// The slot that owns the entity.
    pub fn slot(self) -> Slot {
        match self {
            Self::Rider(id) => id.slot(),
            Self::Driver(id) => id.slot(),
            Self::Booking(id) => id.slot(),
            Self::Trip(id) => id.slot(),
            Self::RiderAnswer(id, _) => id.slot(),
            Self::DriverAnswer(id, _) => id.slot(),
            Self::RiderBooking(id, _) => id.slot(),
            Self::DriverTrip(id, ..) => id.slot(),
            Self::OldRiderAnswer(id, _) => id.slot(),
            Self::OldDriverAnswer(id, _) => id.slot(),
            Self::TripTrail(id, _) => id.slot(),
            Self::Queue(id) => id.slot(),
        }
    }
    /// The key as stored: a kind byte and the id, big-endian, so that byte order is id order.
    pub fn to_bytes(self) -> Vec<u8> {
        let (kind, id): (u8, Vec<u8>) = match self {
            Self::Rider(id) => (1, id.to_raw().to_be_bytes().into()),
            Self::Driver(id) => (2, id.to_raw().to_be_bytes().into()),
            Self::Booking(id) => (3, id.to_raw().to_be_bytes().into()),
            Self::Trip(id) => (4, id.to_raw().to_be_bytes().into()),
            Self::RiderAnswer(id, key) => (5, pair(id.to_raw(), key)),
            Self::DriverAnswer(id, key) => (6, pair(id.to_raw(), key)),
            Self::RiderBooking(id, booking) => (
                RIDER_BOOKING,
                [&id.to_raw().to_be_bytes()[..], &booking.to_raw().to_be_bytes()].concat(),
            ),
            Self::DriverTrip(id, at, trip) => {
                (DRIVER_TRIP, [&pair(id.to_raw(), at.0)[..], &trip.to_raw().to_be_bytes()].concat())
            }
            Self::OldRiderAnswer(id, key) => (9, pair(id.to_raw(), key)),
            Self::OldDriverAnswer(id, key) => (10, pair(id.to_raw(), key)),
            Self::TripTrail(id, at) => {
                (TRIP_TRAIL, [&id.to_raw().to_be_bytes()[..], &at.0.to_be_bytes()].concat())
            }
            Self::Queue(id) => (12, id.to_raw().to_be_bytes().into()),
        };
        [vec![kind], id].concat()
    }
    /// The key that [`Key::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let malformed = || CodecError::Malformed("no entity key".into());
        let (kind, id) = bytes.split_first().ok_or(CodecError::Empty)?;
        let narrow = || id.try_into().map(u64::from_be_bytes).map_err(|_| malformed());
        let wide = || id.try_into().map(u128::from_be_bytes).map_err(|_| malformed());
        match *kind {
            1 => narrow().map(RiderId::from_raw).map(Self::Rider),
            2 => narrow().map(DriverId::from_raw).map(Self::Driver),
            3 => wide().map(BookingId::from_raw).map(Self::Booking),
            4 => wide().map(TripId::from_raw).map(Self::Trip),
            5 => wide().map(unpair).map(|(id, key)| Self::RiderAnswer(RiderId::from_raw(id), key)),
            6 => {
                wide().map(unpair).map(|(id, key)| Self::DriverAnswer(DriverId::from_raw(id), key))
            }
            RIDER_BOOKING => {
                let (rider, booking) = id.split_first_chunk().ok_or_else(malformed)?;
                let booking = booking.try_into().map_err(|_| malformed())?;
                let rider = RiderId::from_raw(u64::from_be_bytes(*rider));
                Ok(Self::RiderBooking(rider, BookingId::from_raw(u128::from_be_bytes(booking))))
            }
            DRIVER_TRIP => {
                let (driver, trip) = id.split_first_chunk().ok_or_else(malformed)?;
                let (driver, at) = unpair(u128::from_be_bytes(*driver));
                let trip = trip.try_into().map_err(|_| malformed())?;
                let trip = TripId::from_raw(u128::from_be_bytes(trip));
                Ok(Self::DriverTrip(DriverId::from_raw(driver), WallMs(at), trip))
            }
            9 => {
                wide().map(unpair).map(|(id, key)| Self::OldRiderAnswer(RiderId::from_raw(id), key))
            }
            10 => wide()
                .map(unpair)
                .map(|(id, key)| Self::OldDriverAnswer(DriverId::from_raw(id), key)),
            TRIP_TRAIL => {
                let (trip, at) = id.split_first_chunk().ok_or_else(malformed)?;
                let at = at.try_into().map(u64::from_be_bytes).map_err(|_| malformed())?;
                Ok(Self::TripTrail(TripId::from_raw(u128::from_be_bytes(*trip)), WallMs(at)))
            }
            12 => narrow().map(ZoneId::from_raw).map(Self::Queue),
            _ => Err(malformed()),
        }
    }
    /// What the keys of all bookings of a rider begin with.
    pub fn of_rider(rider: RiderId) -> Vec<u8> {
        [&[RIDER_BOOKING], &rider.to_raw().to_be_bytes()[..]].concat()
    }
    /// What the keys of a trip's trail begin with.
    pub fn of_trail(trip: TripId) -> Vec<u8> {
        [&[TRIP_TRAIL], &trip.to_raw().to_be_bytes()[..]].concat()
    }
    /// What the keys of all ended trips of a driver begin with.
    pub fn of_driver(driver: DriverId) -> Vec<u8> {
        [&[DRIVER_TRIP], &driver.to_raw().to_be_bytes()[..]].concat()
    }
}

const RIDER_BOOKING: u8 = 7;
const DRIVER_TRIP: u8 = 8;
const TRIP_TRAIL: u8 = 11;

fn pair(id: u64, key: u64) -> Vec<u8> {
    (u128::from(id) << 64 | u128::from(key)).to_be_bytes().into()
}

#[expect(clippy::cast_possible_truncation, reason = "each half of 128 bits has 64")]
fn unpair(raw: u128) -> (u64, u64) {
    ((raw >> 64) as u64, raw as u64)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rider(id) => fmt::Display::fmt(id, f),
            Self::Driver(id) => fmt::Display::fmt(id, f),
            Self::Booking(id) => fmt::Display::fmt(id, f),
            Self::Trip(id) => fmt::Display::fmt(id, f),
            Self::RiderAnswer(id, key) => write!(f, "{id}/{key:016x}"),
            Self::DriverAnswer(id, key) => write!(f, "{id}/{key:016x}"),
            Self::RiderBooking(id, booking) => write!(f, "{id}/{booking}"),
            Self::OldRiderAnswer(id, key) => write!(f, "{id}/{key:016x} (left)"),
            Self::OldDriverAnswer(id, key) => write!(f, "{id}/{key:016x} (left)"),
            Self::TripTrail(id, at) => write!(f, "{id}/{}", at.0),
            Self::Queue(id) => fmt::Display::fmt(id, f),
            Self::DriverTrip(id, at, trip) => write!(f, "{id}/{}/{trip}", at.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_bytes(small: u64, wide: u128, key: u64) {
            for key in [
                Key::Rider(RiderId::from_raw(small)),
                Key::Driver(DriverId::from_raw(small)),
                Key::Booking(BookingId::from_raw(wide)),
                Key::Trip(TripId::from_raw(wide)),
                Key::RiderAnswer(RiderId::from_raw(small), key),
                Key::DriverAnswer(DriverId::from_raw(small), key),
                Key::RiderBooking(RiderId::from_raw(small), BookingId::from_raw(wide)),
                Key::DriverTrip(DriverId::from_raw(small), WallMs(key), TripId::from_raw(wide)),
                Key::OldRiderAnswer(RiderId::from_raw(small), key),
                Key::OldDriverAnswer(DriverId::from_raw(small), key),
                Key::TripTrail(TripId::from_raw(wide), WallMs(key)),
                Key::Queue(ZoneId::from_raw(small)),
            ] {
                prop_assert_eq!(Key::from_bytes(&key.to_bytes()), Ok(key));
            }
        }

        #[test]
        fn a_partys_keys_stand_together_in_order_of_time(
            small: u64,
            a: (u64, u128),
            b: (u64, u128),
        ) {
            let driver = DriverId::from_raw(small);
            let key = |(at, trip)| {
                Key::DriverTrip(driver, WallMs(at), TripId::from_raw(trip)).to_bytes()
            };
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
            prop_assert!(key(a).starts_with(&Key::of_driver(driver)));
            let rider = RiderId::from_raw(small);
            let booking = Key::RiderBooking(rider, BookingId::from_raw(a.1));
            prop_assert!(booking.to_bytes().starts_with(&Key::of_rider(rider)));
        }

        #[test]
        fn random_bytes_are_a_key_or_an_error(bytes: Vec<u8>) {
            let _either = Key::from_bytes(&bytes);
        }
    }
}
