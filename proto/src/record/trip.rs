//! A trip, from assignment to its end.

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
    /// What the driver's odometer said the trip was, in metres.
    pub odometer_m: Option<u32>,
    /// The trip is over but the driver has not been told: someone must release him.
    pub release_due: bool,
}
