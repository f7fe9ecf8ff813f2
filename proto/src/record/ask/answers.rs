//! What comes back to a request, where it is no entity, and what requests are made of.

use crate::ids::{BookingId, DriverId, NodeId, OfferId, TripId};
use crate::record::cell::{Candidate, Ending};
use crate::record::driver::{OfferEnd, Standing, VehicleType};
use crate::record::event::What;
use crate::record::explain::Dropped;
use crate::record::trip::TripState;
use crate::record::{Booking, Driver, Offer, Trip};
use crate::slot::Slot;
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};

/// What the driver's shell says to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimAnswer {
    /// The driver is reserved for the booking for a moment: start the offer.
    Granted,
    /// A better claim won: of this booking, where that is known.
    Lost(Option<BookingId>),
    /// The driver is off duty, held, taken or reserved: by this booking, where that is known.
    Busy(Option<BookingId>),
}

impl ClaimAnswer {
    /// The same, with the booking he is busy with if that was not known.
    pub fn or_busy_with(self, booking: Option<BookingId>) -> Self {
        match self {
            Self::Busy(known) => Self::Busy(known.or(booking)),
            Self::Granted | Self::Lost(_) => self,
        }
    }
}

/// What a driver's yes came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// His trip.
    Trip(Box<Trip>),
    /// It is his when the ride that he is on has ended.
    Next {
        /// Which offer.
        offer: OfferId,
        /// Of which booking.
        booking: BookingId,
    },
}

/// What the driver's record says to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldAnswer {
    /// The offer is before him.
    Held,
    /// He is held or taken by another, or off duty.
    Busy,
    /// The offer ended for him before.
    Gone,
}

/// Whose turn it is in the queue of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// These, in their order. For a moment nobody else is told of them.
    Next(Vec<Candidate>),
    /// Nobody waits who could serve the booking: whoever is near may.
    Nobody,
    /// It can't be said yet: the queue's keeper has just taken over, or the first driver's has.
    Wait,
}

/// How drivers stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Of those who are registered.
    pub standings: Vec<Standing>,
    /// Those who are not.
    pub unregistered: Vec<DriverId>,
    /// Of those whose partition the node has a replica of and does not lead: perhaps old.
    pub heard: Vec<Standing>,
}

/// How an offer went with its driver, as told to the booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfferNews {
    /// He said no.
    Declined,
    /// His time ran out.
    Expired,
}

/// What goes down a driver's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// An offer to answer.
    Offer(Offer),
    /// An offer that can no longer be answered.
    OfferEnded {
        /// Which.
        offer: OfferId,
        /// Why.
        how: OfferEnd,
    },
    /// A trip moved.
    Trip {
        /// Which.
        trip: TripId,
        /// Where it stands.
        state: TripState,
    },
}

/// The socket through which a party is reached. The newest epoch wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// When it was opened, by its node's wall clock, in milliseconds.
    pub epoch: u64,
    /// The node that holds it.
    pub node: NodeId,
    /// Which of that node's connections.
    pub connection: u64,
}

/// What a search found at one owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Nearest first.
    pub candidates: Vec<Candidate>,
    /// Those whose rides end soon, if they were asked for: the least way to the pickup first.
    pub ending: Vec<Ending>,
    /// Other bookings waiting on the boards of the searched cells.
    pub waiting: u32,
    /// Drivers who were looked at and left out, where a booking searches; at most
    /// [`DROPPED_MAX`](crate::record::explain::DROPPED_MAX).
    pub dropped: Vec<Dropped>,
}

/// A place in a partition's event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The log index of a command.
    pub index: u64,
    /// The number of the event within the command.
    pub n: u32,
}

/// Whose events are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Followee {
    /// A booking's and its trip's.
    Booking {
        /// Which.
        booking: BookingId,
        /// Its trip, if the asker knows of one.
        trip: Option<TripId>,
    },
    /// A driver's.
    Driver(DriverId),
    /// Those of a trip that its booking has left for a better driver; its records come always.
    Former {
        /// Which booking.
        booking: BookingId,
        /// Which trip.
        trip: TripId,
    },
}

impl Followee {
    /// Where its events are logged.
    pub fn slot(self) -> Slot {
        match self {
            Self::Booking { booking, .. } | Self::Former { booking, .. } => booking.slot(),
            Self::Driver(driver) => driver.slot(),
        }
    }
}

/// How far somebody who follows events has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// Whose.
    pub of: Followee,
    /// What is newer is wanted; nothing to begin with how things are now.
    pub after: Option<Mark>,
    /// The records are wanted even if nothing happened, and the answer must know of everything that
    /// was acknowledged before the question.
    pub confirm: bool,
}

/// Something that happened, and where it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Where.
    pub mark: Mark,
    /// When.
    pub at: WallMs,
    /// What.
    pub what: What,
}

/// The records of what is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Now {
    /// A booking and its trip.
    Booking(Box<(Booking, Option<Trip>)>),
    /// A driver.
    Driver(Box<Driver>),
}

/// What whoever follows events has not been told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The place that the answer reaches to, to be named the next time.
    pub upto: Mark,
    /// The answer begins with how things are now, because the question named no place in this log.
    pub afresh: bool,
    /// There may be more to tell already.
    pub more: bool,
    /// What happened, oldest first.
    pub events: Vec<Happened>,
    /// The records: as they are at `upto` if the answer is afresh; else at least as new as the newest
    /// event, of a booking if something happened or they were asked for.
    pub now: Option<Now>,
}

/// Where a driver was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// Who.
    pub driver: DriverId,
    /// Where.
    pub point: Point,
    /// When his phone measured it.
    pub at: WallMs,
}

/// What is counted in an area, of one vehicle type, as sums that add up over owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaCount {
    /// The r7 cell.
    pub area: u64,
    /// The vehicle type.
    pub kind: VehicleType,
    /// Drivers on duty, heard of within the last minute.
    pub drivers: u32,
    /// Those of them with an offer before them or a trip.
    pub busy: u32,
    /// The sum of their shares of offers taken, in percent each.
    pub accepts_pct: u64,
    /// The sum of how long ago they were last heard of, in milliseconds.
    pub silent_ms: u64,
    /// Bookings that began there within the last five minutes.
    pub bookings_5m: u32,
    /// Bookings whose riders wait there for a driver.
    pub waiting: u32,
}

impl Default for AreaCount {
    fn default() -> Self {
        let (area, kind, drivers, busy) = (0, VehicleType::Sedan, 0, 0);
        Self { area, kind, drivers, busy, accepts_pct: 0, silent_ms: 0, bookings_5m: 0, waiting: 0 }
    }
}

impl AreaCount {
    /// Adds another's sums.
    pub const fn add(&mut self, other: &Self) {
        let Self { drivers, busy, accepts_pct, silent_ms, bookings_5m, waiting, .. } = *other;
        self.drivers += drivers;
        self.busy += busy;
        self.accepts_pct += accepts_pct;
        self.silent_ms += silent_ms;
        self.bookings_5m += bookings_5m;
        self.waiting += waiting;
    }
}
