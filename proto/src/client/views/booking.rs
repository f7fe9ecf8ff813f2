//! Bookings.

use super::party::VehicleType;
use super::position::Place;
use crate::client::text;
use crate::ids::{BookingId, DriverId, OfferId, RiderId, TripId};
use crate::units::Point;
use serde::{Deserialize, Serialize};

/// What a rider asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewBooking {
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// In what.
    pub vehicle_type: VehicleType,
    /// For how many.
    pub seats: u8,
    /// What the vehicle must be able to do, by name.
    pub capabilities: Vec<String>,
    /// How the rider pays; may be empty.
    pub payment_method: String,
    /// Where.
    pub city_id: u16,
    /// What the rider was shown, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_estimate_minor: Option<u64>,
}

impl NewBooking {
    /// A seat in a car from here to there.
    pub fn sedan(pickup: Point, destination: Point) -> Self {
        Self {
            pickup: pickup.into(),
            destination: destination.into(),
            vehicle_type: VehicleType::Sedan,
            seats: 1,
            capabilities: Vec::new(),
            payment_method: String::new(),
            city_id: 1,
            shown_estimate_minor: None,
        }
    }
}

/// Where a booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BookingStatus {
    /// It looks for a driver.
    Pending,
    /// A driver is on his way, or has the rider aboard.
    Assigned,
    /// Called off.
    Cancelled,
    /// Nobody came in time.
    RequestExpired,
    /// Carried.
    Completed,
    /// Carried and paid.
    Paid,
    /// A driver comes when the ride that he is on has ended.
    Promised,
}

impl BookingStatus {
    /// Whether nothing more can happen to it that the rider waits for.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Assigned | Self::Promised => false,
            Self::Cancelled | Self::RequestExpired | Self::Completed | Self::Paid => true,
        }
    }

    /// Whether the rider was carried.
    pub const fn is_served(self) -> bool {
        match self {
            Self::Completed | Self::Paid => true,
            Self::Pending
            | Self::Assigned
            | Self::Cancelled
            | Self::RequestExpired
            | Self::Promised => false,
        }
    }
}

/// How an offer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OfferStatus {
    /// Nobody has answered yet.
    Pending,
    /// He said yes, and the booking is his.
    Accepted,
    /// He said no.
    Declined,
    /// His time ran out.
    Expired,
    /// The booking was called off first.
    Cancelled,
    /// He came for the rider, until the booking changed to a better driver.
    Reassigned,
    /// He comes when the ride that he is on has ended.
    Promised,
    /// He was to come so, and nothing came of it.
    Lapsed,
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Actor {
    /// The rider.
    Rider,
    /// The driver.
    Driver,
    /// The cluster.
    System,
}

/// A booking.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Booking {
    /// Which.
    #[serde(with = "text")]
    pub booking_id: BookingId,
    /// Whose.
    #[serde(with = "text")]
    pub rider_id: RiderId,
    /// Where it stands.
    pub status: BookingStatus,
    /// How often a driver was looked for.
    pub attempt: u16,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// In what.
    pub vehicle_type: VehicleType,
    /// For how many.
    pub seats: u8,
    /// What the vehicle must be able to do, by name.
    pub capabilities: Vec<String>,
    /// Who has it.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub driver_id: Option<DriverId>,
    /// Its trip.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub trip_id: Option<TripId>,
    /// Who was asked.
    pub offers: Vec<Made>,
    /// Who called it off.
    #[serde(default)]
    pub cancelled_by: Option<Actor>,
    /// What it costs if the estimate is right, tax included, in minor units.
    #[serde(default)]
    pub estimated_fare_minor: u64,
    /// In which currency; empty if the cluster does not say.
    #[serde(default)]
    pub currency: String,
    /// The booking that goes on for this one, because its driver called off.
    #[serde(default, with = "text::maybe")]
    pub replaced_by: Option<BookingId>,
    /// When it was made, by the cluster's clocks, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// When it changed last, by the same.
    pub updated_at_ms: u64,
}

/// A page of a rider's bookings, newest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BookingsPage {
    /// At most as many as were asked for.
    pub bookings: Vec<Booking>,
    /// Where the next page begins; nothing if this is the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An offer as its booking sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Made {
    /// Which.
    #[serde(with = "text")]
    pub offer_id: OfferId,
    /// Who was asked; only the driver who comes is named to a rider.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub driver_id: Option<DriverId>,
    /// In which attempt.
    pub attempt: u16,
    /// As which candidate, from 1.
    pub rank: u16,
    /// How it went.
    pub status: OfferStatus,
    /// How far he was from the pickup.
    pub distance_m: u32,
    /// How long he was thought to need.
    pub eta_sec: u32,
}
