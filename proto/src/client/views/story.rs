//! What a followed booking's stream says.

use super::booking::{Actor, Booking};
use super::trip::{Trip, TripStatus};
use crate::client::text;
use crate::ids::{BookingId, DriverId, OfferId, TripId};
use serde::Deserialize;

/// Something that happened to a booking or its trip; what a field is about is named by `what`, or is
/// the trip's move from `from` to `to`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Story {
    /// What: `SNAPSHOT` for how things are, `OFFER_MADE`, `ASSIGNED`, `MOVED`, ...
    pub what: Option<String>,
    /// When, by the cluster's clocks, in milliseconds since 1970.
    pub at_ms: Option<u64>,
    /// The booking that goes on for this one.
    #[serde(with = "text::maybe")]
    pub booking_id: Option<BookingId>,
    /// Which offer.
    #[serde(with = "text::maybe")]
    pub offer_id: Option<OfferId>,
    /// Which driver.
    #[serde(with = "text::maybe")]
    pub driver_id: Option<DriverId>,
    /// Which trip.
    #[serde(with = "text::maybe")]
    pub trip_id: Option<TripId>,
    /// How an offer ended.
    pub reason: Option<String>,
    /// From where the trip moved; the first comes from nowhere.
    pub from: Option<TripStatus>,
    /// To where.
    pub to: Option<TripStatus>,
    /// By whom.
    pub by: Option<Actor>,
    /// How things are, with the newest of several.
    pub booking: Option<Booking>,
    /// The same of the trip.
    pub trip: Option<Trip>,
}

/// Where the driver is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Position {
    /// Who.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lng: f64,
    /// When his phone measured it, in milliseconds since 1970.
    pub seen_at_ms: u64,
    /// Seconds to the pickup or, after the start, the destination.
    pub eta_sec: u32,
}
