//! A driver: who he is, whether he works, and the one lock that keeps him from two trips.

use super::CityId;
use super::booking::Offer;
use super::party::{Ban, Profile};
use super::trip::DriverCard;
use crate::ids::{DriverId, OfferId, TripId};
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many finished offers a driver's record remembers. A message about an older one can at most
/// hold him for one offer time.
pub const OUTCOMES_MAX: usize = 32;

/// What a vehicle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VehicleType {
    /// A three-wheeler.
    Auto,
    /// A car.
    Sedan,
    /// A large car.
    Suv,
    /// A motorcycle.
    Bike,
}

impl VehicleType {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Sedan, Self::Suv, Self::Bike];
}

/// What a vehicle and its driver can do, as bits; a need is a mask of the same bits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Names and bits. Data, not code: a new kind of need is a new row.
    pub const NAMES: &[(&str, u32)] = &[
        ("child_seat", 1 << 0),
        ("wheelchair", 1 << 1),
        ("pet_friendly", 1 << 2),
        ("air_conditioning", 1 << 3),
        ("female_driver", 1 << 4),
        ("box", 1 << 5),
        ("hot_food", 1 << 6),
    ];
    /// Whether these cover `need`.
    pub const fn cover(self, need: Self) -> bool {
        self.0 & need.0 == need.0
    }
}

/// The vehicle a driver works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vehicle {
    /// What it is.
    pub kind: VehicleType,
    /// Seats for riders.
    pub seats: u8,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The number plate.
    pub plate: String,
    /// Who built it; may be empty.
    pub make: String,
    /// Which of theirs it is; may be empty.
    pub model: String,
    /// Its colour; may be empty.
    pub color: String,
}

/// Whether the driver works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Duty {
    /// Off duty.
    Offline,
    /// On duty.
    Online,
}

/// What a driver is committed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commitment {
    /// An offer is before him. A timer may free him.
    Held {
        /// The offer.
        offer: Offer,
    },
    /// He accepted. Only the booking's answer or the trip's end frees him; no timer does.
    Taken {
        /// The offer.
        offer: Offer,
        /// The idempotency key he accepted with, hashed.
        accept_key: Option<u64>,
        /// The trip, once the booking confirmed it.
        trip: Option<TripId>,
    },
}

impl Commitment {
    /// The offer that made it.
    pub const fn offer(&self) -> &Offer {
        match self {
            Self::Held { offer } | Self::Taken { offer, .. } => offer,
        }
    }
}

/// How an offer ended for the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferEnd {
    /// Its time ran out.
    Expired,
    /// The driver declined, or went off duty.
    Declined,
    /// The booking was filled by another driver or cancelled.
    Taken,
    /// The trip it became is over.
    Done,
}

/// A driver as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Who.
    pub id: DriverId,
    /// The name the client registered, unique in the cluster.
    pub name: String,
    /// Where he works.
    pub city: CityId,
    /// With what.
    pub vehicle: Vehicle,
    /// Whether his identity was verified.
    pub kyc_verified: bool,
    /// Whether he works.
    pub duty: Duty,
    /// The one offer or trip he is committed to.
    pub current: Option<Commitment>,
    /// A commitment to follow the current one, which is a trip then. It is none before the other has ended.
    pub next: Option<Commitment>,
    /// The last offers that ended, oldest first, at most [`OUTCOMES_MAX`].
    pub outcomes: VecDeque<(OfferId, OfferEnd)>,
    /// Grows with every change of his standing, so that a late message can't undo a newer one.
    pub version: u64,
    /// What else is known of him.
    pub profile: Profile,
    /// He may take nothing for a while.
    pub ban: Option<Ban>,
    /// The last day on which he completed trips, in days since 1970 (UTC), and how many.
    pub driven: (u32, u32),
    /// How many offers he declined or let pass, ever.
    pub refused: u32,
    /// Since when he waits for a ride, while he is on duty and has none: since he came on duty, his last
    /// ride ended, or he last refused one or let it pass.
    pub idle_since: WallMs,
}

/// Whether a driver can be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DriverStatus {
    /// Off duty.
    Offline,
    /// On duty and free.
    Free,
    /// An offer is before him.
    Held,
    /// Bound to a booking or on a trip.
    Taken,
}

/// What the cell index must know of a driver beside his position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Who.
    pub driver: DriverId,
    /// Whether he can be matched.
    pub status: DriverStatus,
    /// What his vehicle is.
    pub kind: VehicleType,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Seats not taken.
    pub seats_free: u8,
    /// The version of the driver's record this was read from; the highest wins.
    pub version: u64,
    /// [`Driver::acceptance_bp`] in whole percent; 100 if he was asked nothing yet.
    pub accepts_pct: u8,
    /// [`Driver::idle_since`].
    pub idle_since: WallMs,
    /// Where his rider gets out, while one is aboard and that is known; `seats_free` are then those
    /// that will be free there. His record does not say it, so it comes and goes within a version.
    pub ends: Option<Point>,
}

impl Driver {
    /// How he stands with the rider of this offer aboard, if it is the one he is bound to: he can be
    /// counted on where the ride ends.
    pub fn standing_aboard(&self, aboard: Option<OfferId>) -> Standing {
        let standing = self.standing();
        match &self.current {
            Some(Commitment::Taken { offer, trip: Some(_), .. })
                if aboard == Some(offer.id) && self.next.is_none() =>
            {
                Standing {
                    ends: Some(offer.destination),
                    seats_free: self.vehicle.seats,
                    ..standing
                }
            }
            Some(Commitment::Held { .. } | Commitment::Taken { .. }) | None => standing,
        }
    }
    /// Whether and for what he can be matched.
    pub fn standing(&self) -> Standing {
        let status = match (self.duty, &self.current) {
            (_, Some(Commitment::Taken { .. })) => DriverStatus::Taken,
            (_, Some(Commitment::Held { .. })) => DriverStatus::Held,
            (Duty::Online, None) => DriverStatus::Free,
            (Duty::Offline, None) => DriverStatus::Offline,
        };
        let seats_free = if status == DriverStatus::Taken { 0 } else { self.vehicle.seats };
        Standing {
            driver: self.id,
            status,
            kind: self.vehicle.kind,
            capabilities: self.vehicle.capabilities,
            seats_free,
            version: self.version,
            accepts_pct: self
                .acceptance_bp()
                .and_then(|bp| u8::try_from(bp / 100).ok())
                .unwrap_or(100),
            idle_since: self.idle_since,
            ends: None,
        }
    }
    /// How many of the offers that he answered lately, or let pass, he accepted: in basis points, of
    /// the last [`OUTCOMES_MAX`]. What was filled or called off before he answered does not count.
    pub fn acceptance_bp(&self) -> Option<u32> {
        let on_trip = matches!(self.current, Some(Commitment::Taken { .. }));
        let count =
            |wanted: OfferEnd| self.outcomes.iter().filter(|(_, end)| *end == wanted).count();
        let accepted = count(OfferEnd::Done) + usize::from(on_trip);
        let asked = accepted + count(OfferEnd::Declined) + count(OfferEnd::Expired);
        u32::try_from((accepted * 10_000).checked_div(asked)?).ok()
    }
    /// How he is shown to the rider he comes for.
    pub fn card(&self) -> DriverCard {
        let Self { name, profile, vehicle, .. } = self;
        let (name, phone) = (name.clone(), profile.phone.clone());
        DriverCard { name, phone, vehicle: vehicle.clone() }
    }
    /// What he is committed to, the one after the other.
    pub fn commitments(&self) -> impl Iterator<Item = &Commitment> {
        self.current.iter().chain(&self.next)
    }
    /// What he is committed to by this offer, now or next.
    pub fn commitment(&self, offer: OfferId) -> Option<&Commitment> {
        self.commitments().find(|commitment| commitment.offer().id == offer)
    }
    /// Whether this offer is to follow the ride that he is on.
    pub fn is_next(&self, offer: OfferId) -> bool {
        self.next.as_ref().is_some_and(|next| next.offer().id == offer)
    }
}
