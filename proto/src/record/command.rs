//! Commands: what is proposed to the ledger, and the outcomes that come back. Every business
//! guard is evaluated when a command is applied, so retries, duplicates and zombies are refused
//! by the order of the log. Ids and durations come inside the command.

use super::booking::{Need, Offer};
use super::driver::Vehicle;
use super::fare::Quote;
use super::party::Pin;
use super::queue::{Queue, QueueStep};
use super::trail::TrailPiece;
use super::trip::{DriverCard, Ended, Ending};
use super::{Actor, Attempt, Ban, Booking, CityId, Driver, Key, Place, Profile, Rider, Trip};
use crate::code::Code;
use crate::ids::{BookingId, DriverId, OfferId, RiderId, TripId, ZoneId};
use crate::units::WallMs;
use serde::{Deserialize, Serialize};

/// A client's idempotency key and the digest of what it was sent with, both frozen hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Hash of the key.
    pub key: u64,
    /// Hash of method, path and body.
    pub body: u64,
}

/// What is proposed: a command, and the client's key if a client asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Answers a repeat with the first outcome.
    pub idempotency: Option<Idempotency>,
    /// What to do.
    pub command: Command,
}

/// One step of a trip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TripStep {
    /// The driver is at the pickup.
    Arrive,
    /// The rider is on board.
    Start {
        /// What he told the driver.
        pin: Option<Pin>,
    },
    /// A stop on the way.
    Pause,
    /// On again.
    Resume,
    /// Over.
    End(Ending),
    /// Called off.
    Cancel {
        /// Why, in the client's words.
        reason: String,
    },
}

/// Why a booking ended an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferFate {
    /// The driver declined, or could not be held.
    Declined,
    /// Its time ran out.
    Expired,
}

/// What may be proposed. The first group belongs to the rider's partition, the second to the
/// driver's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Registers a rider. The same name again is no change.
    RegisterRider {
        /// The hash of `name`.
        rider: RiderId,
        /// Unique in the cluster.
        name: String,
        /// What else is known of him.
        profile: Profile,
    },
    /// Opens a booking for a rider who has none.
    CreateBooking {
        /// The new id.
        booking: BookingId,
        /// Whose.
        rider: RiderId,
        /// Where.
        city: CityId,
        /// From.
        pickup: Place,
        /// To.
        destination: Place,
        /// What it needs.
        need: Need,
        /// How the rider pays.
        payment_method: String,
        /// What the rider was shown.
        shown_estimate_minor: Option<u64>,
        /// What the ride may cost.
        quote: Quote,
    },
    /// Records the intent to offer before any driver is held. A stale attempt or a driver offered
    /// before is refused.
    OfferStart {
        /// The offer; names booking, driver and attempt.
        offer: Offer,
        /// How dispatch went so far.
        attempts: Vec<Attempt>,
    },
    /// Ends a pending offer.
    OfferEnd {
        /// Of which booking.
        booking: BookingId,
        /// Which.
        offer: OfferId,
        /// Why.
        fate: OfferFate,
    },
    /// Gives up looking.
    ExpireBooking {
        /// Which.
        booking: BookingId,
        /// How dispatch went.
        attempts: Vec<Attempt>,
    },
    /// Calls a booking off before it has a driver.
    CancelBooking {
        /// Which.
        booking: BookingId,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
        /// How dispatch went, if that is at hand.
        attempts: Vec<Attempt>,
    },
    /// Decides: the booking takes the driver who accepted, and the trip is born, in one entry.
    Assign {
        /// Which.
        booking: BookingId,
        /// The accepted offer.
        offer: OfferId,
        /// Who accepted.
        driver: DriverId,
        /// The id of the trip, if this is the first time.
        trip: TripId,
        /// Who comes.
        card: DriverCard,
        /// What starts the trip.
        code: CodeRule,
    },
    /// Moves a trip.
    StepTrip {
        /// Which.
        trip: TripId,
        /// How.
        step: TripStep,
        /// Who; the party must be the trip's own.
        by: Actor,
        /// The driver, where a driver moves it.
        driver: Option<DriverId>,
        /// The rider, where a rider moves it.
        rider: Option<RiderId>,
        /// The booking that looks for another driver if this one calls off.
        rebook: Option<BookingId>,
    },
    /// The driver of a finished trip has been released.
    Released {
        /// Which trip.
        trip: TripId,
    },

    /// Registers a driver. The same details again are no change.
    RegisterDriver {
        /// The hash of `name`.
        driver: DriverId,
        /// Unique in the cluster.
        name: String,
        /// Where.
        city: CityId,
        /// With what.
        vehicle: Vehicle,
        /// Whether his identity was verified.
        kyc_verified: bool,
        /// What else is known of him.
        profile: Profile,
    },
    /// Goes on or off duty. Off duty declines an offer he holds; on a trip it is refused.
    SetDuty {
        /// Who.
        driver: DriverId,
        /// On or off.
        online: bool,
    },
    /// Puts an offer before a free driver.
    Hold {
        /// The offer; names the driver.
        offer: Offer,
    },
    /// The offer's time ran out. Frees a driver who holds it, never one who took it.
    ExpireHold {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
    },
    /// The driver says no.
    Decline {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
    },
    /// The driver says yes. From here on only the booking's answer frees him.
    Accept {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The client's key, hashed.
        key: Option<u64>,
    },
    /// The booking said yes: notes the trip.
    Confirm {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The trip.
        trip: TripId,
    },
    /// Frees the driver of this very offer: the booking said no, or the trip is over.
    Release {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
        /// The trip that came of it and how it ended; nothing if none did.
        ended: Option<Ended>,
    },

    /// Adds to the trails of trips, whatever came in since the last batch.
    TrailBatch {
        /// Trips of one partition, their drivers, and what they recorded; never empty.
        pieces: Vec<(TripId, DriverId, TrailPiece)>,
    },
    /// Bans a rider, or lets him book again.
    BanRider {
        /// Who.
        rider: RiderId,
        /// Until when and why; nothing to lift it.
        ban: Option<Ban>,
    },
    /// Bans a driver, or lets him work again. An offer before him is declined; a trip goes on.
    BanDriver {
        /// Who.
        driver: DriverId,
        /// Until when and why; nothing to lift it.
        ban: Option<Ban>,
    },

    /// Moves drivers in the queue of a zone, one after the other; of the zone's partition.
    MoveQueue {
        /// Which.
        zone: ZoneId,
        /// Who, and how.
        steps: Vec<QueueStep>,
    },

    /// Records the intent to change to a better driver, before he is held; of the rider's partition.
    /// Refused unless the driver it has is still on his way. If the new one accepts, `Assign` takes
    /// him and lets the other go, in one entry.
    Reassign {
        /// The offer; names booking, driver and attempt.
        offer: Offer,
        /// How often the booking may change its driver.
        max: u16,
        /// How long it must have had the one that it has, in milliseconds.
        rest_ms: u32,
    },

    /// Puts an offer before a driver who is on a trip, to follow it; like `Hold` if he is free by now.
    HoldNext {
        /// The offer; names the driver.
        offer: Offer,
    },
    /// Decides for a driver who accepted an offer as his next: the booking waits for him. His `Assign`,
    /// when he is through with the ride that he is on, makes it a trip.
    Promise {
        /// Which.
        booking: BookingId,
        /// The accepted offer.
        offer: OfferId,
        /// Who accepted.
        driver: DriverId,
    },
    /// Ends what `Promise` decided, or the offer if that has not come: the booking looks on. Refused once
    /// there is a trip.
    EndPromise {
        /// Which.
        booking: BookingId,
        /// The offer.
        offer: OfferId,
    },
    /// A driver does not drive what he accepted as his next; of the driver's partition, once the booking
    /// has let him go.
    CallOff {
        /// Who.
        driver: DriverId,
        /// Which offer.
        offer: OfferId,
    },
}

/// What starts a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeRule {
    /// The driver's word.
    None,
    /// These digits.
    Trip(Pin),
    /// The rider's own, or these digits if he has none.
    RiderOr(Pin),
}

impl Command {
    /// The entity that it is about, and that must exist unless it makes it; of a booking to be made,
    /// its rider.
    pub fn subject(&self) -> Key {
        match self {
            Self::RegisterRider { rider, .. }
            | Self::CreateBooking { rider, .. }
            | Self::BanRider { rider, .. } => Key::Rider(*rider),
            Self::OfferStart { offer, .. } | Self::Reassign { offer, .. } => {
                Key::Booking(offer.booking)
            }
            Self::OfferEnd { booking, .. }
            | Self::ExpireBooking { booking, .. }
            | Self::CancelBooking { booking, .. }
            | Self::Assign { booking, .. }
            | Self::Promise { booking, .. }
            | Self::EndPromise { booking, .. } => Key::Booking(*booking),
            Self::StepTrip { trip, .. } | Self::Released { trip } => Key::Trip(*trip),
            // None are never proposed; they would be nobody's.
            Self::TrailBatch { pieces } => {
                Key::Trip(pieces.first().map_or(TripId::from_raw(0), |(trip, ..)| *trip))
            }
            Self::Hold { offer } | Self::HoldNext { offer } => Key::Driver(offer.driver),
            Self::RegisterDriver { driver, .. }
            | Self::SetDuty { driver, .. }
            | Self::ExpireHold { driver, .. }
            | Self::Decline { driver, .. }
            | Self::Accept { driver, .. }
            | Self::Confirm { driver, .. }
            | Self::Release { driver, .. }
            | Self::BanDriver { driver, .. }
            | Self::CallOff { driver, .. } => Key::Driver(*driver),
            Self::MoveQueue { zone, .. } => Key::Queue(*zone),
        }
    }
}

/// The state of the entity a command was about, after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entity {
    /// A rider.
    Rider(Rider),
    /// A driver.
    Driver(Box<Driver>),
    /// A booking.
    Booking(Box<Booking>),
    /// A trip.
    Trip(Box<Trip>),
    /// The key was answered before; the answer has left for the archive and stands under this key.
    Kept(Key),
    /// Of nobody in particular.
    Nothing,
    /// The queue of a zone.
    Queue(Box<Queue>),
}

/// What a command came to: the entity as it now is, or a final refusal that changed nothing.
pub type Outcome = Result<Entity, Code>;

/// The first answer to an idempotency key, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Digest of what the key was sent with.
    pub body: u64,
    /// When it was first answered.
    pub at: WallMs,
    /// What was answered; nothing once that has left for the archive.
    pub outcome: Option<Outcome>,
}
