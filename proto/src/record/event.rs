//! Events: what happened, in the order of each partition's log. Streams, audit and notifications
//! read nothing else.

use super::booking::Offer;
use super::trip::TripState;
use super::{Actor, Key};
use crate::ids::{BookingId, DriverId, OfferId, TripId};
use crate::record::driver::{DriverStatus, OfferEnd};
use serde::{Deserialize, Serialize};

/// Something that happened to an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// To which.
    pub subject: Key,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A party was registered.
    Registered,
    /// A driver's standing changed.
    Standing(DriverStatus),
    /// A booking was created.
    BookingCreated,
    /// An offer was made.
    OfferMade {
        /// Which.
        offer: OfferId,
        /// To whom.
        driver: DriverId,
        /// In which attempt.
        attempt: u16,
    },
    /// An offer ended without a trip.
    OfferEnded {
        /// Which.
        offer: OfferId,
        /// How.
        how: OfferEnd,
    },
    /// A booking got its driver.
    BookingAssigned {
        /// Whose offer won.
        driver: DriverId,
        /// The trip.
        trip: TripId,
    },
    /// A booking was called off.
    BookingCancelled {
        /// By whom.
        by: Actor,
    },
    /// Nobody was found.
    BookingExpired,
    /// The booking's trip is completed.
    BookingCompleted,
    /// A trip moved.
    TripMoved {
        /// Before; nothing at birth.
        from: Option<TripState>,
        /// After.
        to: TripState,
        /// By whom.
        by: Actor,
    },
    /// Another booking goes on for this one.
    BookingReplaced {
        /// Which.
        by: BookingId,
    },
    /// An offer was put before the driver.
    OfferPut {
        /// All of it: his phone may have to be shown it when it has ended.
        offer: Box<Offer>,
    },
    /// A booking changed to a better driver before the pickup.
    BookingReassigned {
        /// Who comes now.
        driver: DriverId,
        /// With which trip.
        trip: TripId,
    },
    /// An offer of a ride to follow the one that he is on was put before the driver.
    NextPut {
        /// All of it.
        offer: Box<Offer>,
    },
    /// Such an offer ended before that ride did.
    NextEnded {
        /// Which.
        offer: OfferId,
        /// Of which booking.
        booking: BookingId,
        /// How.
        how: OfferEnd,
    },
    /// A booking has a driver who comes when the ride that he is on has ended.
    BookingPromised {
        /// Who.
        driver: DriverId,
        /// By which offer.
        offer: OfferId,
    },
    /// He does not come, and the booking looks on.
    PromiseEnded {
        /// Who.
        driver: DriverId,
        /// By which offer.
        offer: OfferId,
    },
}
