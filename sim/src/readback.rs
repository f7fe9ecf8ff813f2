//! Reads back, through the API and from any node, every booking, trip and driver that a client was
//! ever told of. Done after all clients have stopped, so that it stands still.

use crate::client::Client;
use crate::dice::Dice;
use crate::history::{Seen, What};
use futures_util::stream::{self, StreamExt};
use proto::client::{
    Actor, Booking, BookingStatus, Call, Driver, Failure, OfferStatus, Trip, TripStatus,
};
use proto::{BookingId, DriverId, TripId};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A record as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// It is there.
    Is(T),
    /// The cluster says that it has no such record, with this code.
    Missing(String),
    /// The cluster did not say anything for a minute.
    NoAnswer,
}

impl<T> Read<T> {
    /// The record, if it is there.
    pub fn is(&self) -> Option<&T> {
        match self {
            Self::Is(record) => Some(record),
            Self::Missing(_) | Self::NoAnswer => None,
        }
    }
}

/// A booking at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingAtEnd {
    /// Where it stands.
    pub status: BookingStatus,
    /// Who has it.
    pub driver: Option<DriverId>,
    /// Its trip.
    pub trip: Option<TripId>,
    /// How often it changed to a better driver before the pickup.
    pub changes: u64,
    /// How often it waited in vain for a driver who was on another ride.
    pub lapses: u64,
}

/// A trip at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TripAtEnd {
    /// Of which booking.
    pub booking: BookingId,
    /// Whose.
    pub driver: DriverId,
    /// Where it stands.
    pub status: TripStatus,
    /// What it went through, and when by the cluster's clocks, in milliseconds since 1970.
    pub path: Vec<(TripStatus, u64)>,
    /// It ended because its booking changed to a better driver, as it says.
    pub reassigned: bool,
}

/// Whether a trip that ended so was left for a better driver.
pub fn is_reassigned(by: Actor, reason: &str) -> bool {
    by == Actor::System && reason == "REASSIGNED"
}

/// A driver at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverAtEnd {
    /// The trip that he is committed to.
    pub trip: Option<TripId>,
    /// The booking that he is committed to.
    pub booking: Option<BookingId>,
    /// The booking that he is to serve next.
    pub next: Option<BookingId>,
}

/// Everything at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtEnd {
    /// Every booking that a client heard of.
    pub bookings: BTreeMap<BookingId, Read<BookingAtEnd>>,
    /// Every trip that a client or a booking named.
    pub trips: BTreeMap<TripId, Read<TripAtEnd>>,
    /// Every driver.
    pub drivers: BTreeMap<DriverId, Read<DriverAtEnd>>,
}

/// Reads under way at once.
const READERS: usize = 48;
/// The last trip's driver is freed by a message that follows the ack of the end; how often he is
/// looked at again before he is called stuck, and how long after.
const LOOKS_AGAIN: u32 = 20;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Reads everything that this history names.
pub(crate) async fn read_back(client: &Client, seen: &[Seen], seed: u64) -> AtEnd {
    let (booking_ids, mut trip_ids, driver_ids) = named(seen);
    let booking = |id| client.api.booking(id);
    let trip = |id| client.api.trip(id);
    let driver = |id| client.api.driver(id);
    let bookings: BTreeMap<_, Read<BookingAtEnd>> =
        read_all(client, seed, booking_ids, booking, |it| (&it).into()).await;
    trip_ids.extend(bookings.values().filter_map(|read| read.is()?.trip));
    let mut trips = read_all(client, seed, trip_ids, trip, |it| (&it).into()).await;
    let mut drivers = read_all(client, seed, driver_ids, driver, driver_at_end).await;
    // A driver may name a trip of which nobody was told: read it, for it may be the second one.
    let unknown = drivers.values().filter_map(|read| read.is()?.trip);
    let unknown: BTreeSet<TripId> = unknown.filter(|trip| !trips.contains_key(trip)).collect();
    trips.extend(read_all(client, seed, unknown, trip, |it| (&it).into()).await);
    for _ in 0..LOOKS_AGAIN {
        let is_stuck = |read: &Read<DriverAtEnd>| {
            is_stuck(read, &trips) || is_bound_to_an_end(read, &bookings)
        };
        let stuck: BTreeSet<DriverId> =
            drivers.iter().filter(|(_, read)| is_stuck(read)).map(|(id, _)| *id).collect();
        if stuck.is_empty() {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        drivers.extend(read_all(client, seed, stuck, driver, driver_at_end).await);
    }
    AtEnd { bookings, trips, drivers }
}

/// Whether a driver is committed to a trip that is over.
pub(crate) fn is_stuck(
    driver: &Read<DriverAtEnd>,
    trips: &BTreeMap<TripId, Read<TripAtEnd>>,
) -> bool {
    let trip = driver.is().and_then(|driver| driver.trip);
    let trip = trip.and_then(|trip| trips.get(&trip)).and_then(Read::is);
    trip.is_some_and(|trip| trip.status.is_over())
}

/// Whether a driver is to serve a booking next that is over.
pub(crate) fn is_bound_to_an_end(
    driver: &Read<DriverAtEnd>,
    bookings: &BTreeMap<BookingId, Read<BookingAtEnd>>,
) -> bool {
    let next = driver.is().and_then(|driver| driver.next);
    let booking = next.and_then(|next| bookings.get(&next)).and_then(Read::is);
    booking.is_some_and(|booking| booking.status.is_terminal())
}

impl From<&Booking> for BookingAtEnd {
    fn from(booking: &Booking) -> Self {
        let count = |status| {
            let such = booking.offers.iter().filter(|made| made.status == status);
            u64::try_from(such.count()).unwrap_or(u64::MAX)
        };
        Self {
            status: booking.status,
            driver: booking.driver_id,
            trip: booking.trip_id,
            changes: count(OfferStatus::Reassigned),
            lapses: count(OfferStatus::Lapsed),
        }
    }
}

impl From<&Trip> for TripAtEnd {
    fn from(trip: &Trip) -> Self {
        let path = trip.transitions.iter().map(|step| (step.to, step.at_ms)).collect();
        let (booking, driver, status) = (trip.booking_id, trip.driver_id, trip.status);
        let last = trip.transitions.last();
        let reassigned = last.is_some_and(|last| is_reassigned(last.by, &last.reason));
        Self { booking, driver, status, path, reassigned }
    }
}

fn driver_at_end(driver: Driver) -> DriverAtEnd {
    DriverAtEnd {
        trip: driver.current_trip_id,
        booking: driver.current_booking_id,
        next: driver.next_booking_id,
    }
}

/// Every id in the history.
fn named(seen: &[Seen]) -> (BTreeSet<BookingId>, BTreeSet<TripId>, BTreeSet<DriverId>) {
    let (mut bookings, mut trips, mut drivers) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for Seen { what, .. } in seen {
        match what {
            What::DriverAcked { driver } => {
                drivers.insert(*driver);
            }
            What::BookingAcked { booking, .. }
            | What::CancelAsked { booking }
            | What::CancelAcked { booking } => {
                bookings.insert(*booking);
            }
            What::OfferSeen { booking, driver, .. } => {
                bookings.insert(*booking);
                drivers.insert(*driver);
            }
            What::AcceptAcked { booking, trip, driver, .. } => {
                bookings.insert(*booking);
                trips.insert(*trip);
                drivers.insert(*driver);
            }
            What::StepAsked { trip, driver, .. } | What::StepAcked { trip, driver, .. } => {
                trips.insert(*trip);
                drivers.insert(*driver);
            }
            What::BookingUnsettled { .. }
            | What::Shown(_)
            | What::Refused { .. }
            | What::Unsettled { .. } => {}
        }
    }
    (bookings, trips, drivers)
}

/// Reads these; the dice of each come from what is read, so that no order matters.
async fn read_all<'a, K, V, T>(
    client: &'a Client,
    seed: u64,
    ids: BTreeSet<K>,
    call: impl Fn(K) -> Call<'a, V> + Copy,
    make: impl Fn(V) -> T + Copy,
) -> BTreeMap<K, Read<T>>
where
    K: Ord + Copy,
    V: DeserializeOwned + Send,
{
    let read = |id: K| async move {
        let call = call(id);
        let mut dice = Dice::of(seed, &call.name());
        let read = match client.ask(call, &mut dice).await {
            Ok(record) => Read::Is(make(record)),
            Err(Failure::Unsettled(_)) => Read::NoAnswer,
            Err(failure) => Read::Missing(failure.to_string()),
        };
        (id, read)
    };
    stream::iter(ids).map(read).buffer_unordered(READERS).collect().await
}
