//! A trip, from assignment to its end.

use super::driver::Vehicle;
use super::fare::{Bill, Currency, Quote};
use super::party::{Phone, Pin};
use super::trail::Meter;
use super::{Actor, Place};
use crate::ids::{BookingId, DriverId, OfferId, RiderId, TripId};
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};

/// Where a trip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TripState {
    /// The driver is on his way to the pickup.
    Assigned,
    /// The driver waits at the pickup.
    Arrived,
    /// The rider is on board.
    InProgress,
    /// A stop on the way.
    Paused,
    /// Over.
    Completed,
    /// Called off before it was started.
    Cancelled,
}

impl TripState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Assigned,
        Self::Arrived,
        Self::InProgress,
        Self::Paused,
        Self::Completed,
        Self::Cancelled,
    ];
    /// Whether it is over, one way or the other.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }
}

/// One move of a trip from state to state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// From 1, without gaps.
    pub sequence: u32,
    /// Before; nothing at the trip's birth.
    pub from: Option<TripState>,
    /// After.
    pub to: TripState,
    /// Who moved it.
    pub by: Actor,
    /// Why, where a reason is given.
    pub reason: String,
    /// When.
    pub at: WallMs,
}

/// A trip in the history of its driver, in his own partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driven {
    /// Which.
    pub trip: TripId,
    /// The booking it served.
    pub booking: BookingId,
    /// How it ended.
    pub ended: TripState,
    /// From.
    pub pickup: Point,
    /// To.
    pub destination: Point,
    /// When the driver was released from it, by his partition's clock.
    pub at: WallMs,
    /// What the trip brings.
    pub earned: Option<Earned>,
}

/// What a trip cost its rider and brings its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earned {
    /// Of both.
    pub currency: Currency,
    /// What the rider pays, tax included.
    pub total_minor: u64,
    /// What the driver is left with.
    pub driver_minor: u64,
}

/// How a trip ended, as its driver's partition is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub trip: TripId,
    /// How.
    pub state: TripState,
    /// What it brings.
    pub earned: Option<Earned>,
}

/// Wrong codes that a driver may give before the code no longer opens the trip.
pub const TRIES_MAX: u8 = 5;

/// What the rider tells the driver when he gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartCode {
    /// The digits.
    pub pin: Pin,
    /// Wrong tries so far, at most [`TRIES_MAX`].
    pub wrong: u8,
}

/// The driver and his vehicle, as they were when he accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverCard {
    /// His name.
    pub name: String,
    /// His phone.
    pub phone: Option<Phone>,
    /// What he comes with.
    pub vehicle: Vehicle,
}

/// The rider, as he was when a driver was found for him.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiderCard {
    /// His name.
    pub name: String,
    /// His phone.
    pub phone: Option<Phone>,
}

/// A trip as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Which.
    pub id: TripId,
    /// The booking it serves.
    pub booking: BookingId,
    /// The offer it came from.
    pub offer: OfferId,
    /// Who rides.
    pub rider: RiderId,
    /// Who drives.
    pub driver: DriverId,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// Where it stands.
    pub state: TripState,
    /// Every move so far, oldest first. Bounded by the command guard on pauses.
    pub transitions: Vec<Transition>,
    /// The trip is over but the driver has not been told: someone must release him.
    pub release_due: bool,
    /// Who comes.
    pub driver_card: DriverCard,
    /// Who waits.
    pub rider_card: RiderCard,
    /// What the driver must be told before he may start, if the policy wants that.
    pub code: Option<StartCode>,
    /// What it may cost.
    pub quote: Quote,
    /// How far it has come.
    pub meter: Meter,
    /// What the driver said at the end.
    pub ending: Option<Ending>,
    /// What it costs, once it is over; nothing where it costs nothing.
    pub bill: Option<Bill>,
    /// The booking that looks for another driver, because this one called off.
    pub replaced_by: Option<BookingId>,
}

/// What the driver says of a trip that he ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Where the rider got out.
    pub dropoff: Option<Point>,
    /// How long the trip was by the odometer, in metres.
    pub odometer_m: Option<u32>,
    /// How long it took by the driver's clock, in seconds.
    pub duration_s: Option<u32>,
}

impl Trip {
    /// Where the driver goes: to his rider, then to the rider's destination; nothing once it is over.
    pub const fn heading(&self) -> Option<Point> {
        match self.state {
            TripState::Assigned | TripState::Arrived => Some(self.pickup.point),
            TripState::InProgress | TripState::Paused => Some(self.destination.point),
            TripState::Completed | TripState::Cancelled => None,
        }
    }
}
