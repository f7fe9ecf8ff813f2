//! A booking and the offers made for it.

use super::driver::{Capabilities, VehicleType};
use super::fare::Quote;
use super::{Actor, Attempt, CityId, Place};
use crate::ids::{BookingId, DriverId, OfferId, RiderId, TripId};
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};

/// How many offers one booking may cause in its life. Beyond it the booking expires.
pub const OFFERS_MAX: usize = 64;

/// What a booking needs of a vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The kind asked for.
    pub kind: VehicleType,
    /// What it must be able to do.
    pub capabilities: Capabilities,
    /// Seats needed, 1 or more.
    pub seats: u8,
}

/// A proposal of a booking to one driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Which.
    pub id: OfferId,
    /// For what.
    pub booking: BookingId,
    /// To whom.
    pub driver: DriverId,
    /// The attempt (search radius step) it belongs to, from 1.
    pub attempt: u16,
    /// The place among the attempt's candidates, from 1; 1 is the best.
    pub rank: u16,
    /// From the driver to the pickup in a straight line, in metres.
    pub distance_m: u32,
    /// From the driver to the pickup by road, in seconds.
    pub eta_s: u32,
    /// What the matcher ordered by: milliseconds of cost, less is better.
    pub cost_ms: i64,
    /// Where the rider waits.
    pub pickup: Point,
    /// Where the rider goes.
    pub destination: Point,
    /// When it was made.
    pub created_at: WallMs,
    /// How long the driver has to answer, in milliseconds, from when it reaches his record.
    pub ttl_ms: u32,
    /// How long his phone shows it, in milliseconds; less than `ttl_ms`.
    pub shown_ms: u32,
}

/// Where an offer stands for its booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferState {
    /// Before the driver.
    Pending,
    /// It became the trip.
    Accepted,
    /// The driver declined, or could not be held.
    Declined,
    /// Its time ran out.
    Expired,
    /// The booking was filled or cancelled first.
    Cancelled,
    /// It became a trip, and before the pickup the booking changed to a better driver.
    Reassigned {
        /// The trip that it left.
        trip: TripId,
    },
    /// The driver comes when the ride that he is on has ended.
    Promised,
    /// He was to come after his ride, and did not: the booking went on without him, or was called off.
    Lapsed {
        /// How long it had waited for him, in milliseconds.
        waited_ms: u32,
    },
}

/// Where a booking stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BookingState {
    /// Looking for a driver; no offer is out.
    Open,
    /// At least one offer is out.
    Offering,
    /// A driver has it.
    Assigned {
        /// The offer that won.
        offer: OfferId,
        /// Whose it was.
        driver: DriverId,
        /// The trip it became.
        trip: TripId,
    },
    /// Ended before a trip was completed.
    Cancelled {
        /// By whom.
        by: Actor,
        /// Why, in the client's words.
        reason: String,
    },
    /// Nobody was found in time.
    Expired,
    /// The trip is completed.
    Completed,
    /// The trip is paid.
    Paid,
    /// A driver with a rider aboard comes next. There is no trip before that ride has ended.
    Promised {
        /// The offer that he took.
        offer: OfferId,
        /// Who.
        driver: DriverId,
        /// Since when.
        since: WallMs,
    },
}

impl BookingState {
    /// Whether dispatch still works on it.
    pub const fn is_searching(&self) -> bool {
        matches!(self, Self::Open | Self::Offering)
    }
}

/// A booking as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Which.
    pub id: BookingId,
    /// Whose.
    pub rider: RiderId,
    /// Where.
    pub city: CityId,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// What it needs.
    pub need: Need,
    /// How the rider pays, as the client named it.
    pub payment_method: String,
    /// The estimate the rider was shown, in minor units of the city's currency.
    pub shown_estimate_minor: Option<u64>,
    /// Where it stands.
    pub state: BookingState,
    /// The attempt under way, from 1; 0 before the first. Only grows.
    pub attempt: u16,
    /// All offers made, oldest first, at most [`OFFERS_MAX`]; a driver appears once.
    pub offers: Vec<(Offer, OfferState)>,
    /// The trip, once there was one.
    pub trip: Option<TripId>,
    /// When it was created.
    pub created_at: WallMs,
    /// When it last changed.
    pub updated_at: WallMs,
    /// What the ride may cost.
    pub quote: Quote,
    /// The booking that this one goes on for, because its driver called off.
    pub replaces: Option<BookingId>,
    /// The booking that goes on for this one.
    pub replaced_by: Option<BookingId>,
    /// How many went before this one.
    pub replacements: u8,
    /// Drivers who are not asked: they called off.
    pub passed_over: Vec<DriverId>,
    /// How dispatch went, oldest first, at most [`ATTEMPTS_MAX`](super::attempt::ATTEMPTS_MAX).
    pub attempts: Vec<Attempt>,
}
