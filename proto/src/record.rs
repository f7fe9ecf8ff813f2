//! What is stored and what crosses the wire. A record is plain data: the cores in `actors` are
//! the only ones that change it, and the committed fixtures under `proto/fixtures` fail when its
//! bytes change. A change is a new module with a conversion from the old, and a new codec version.

pub mod ask;
pub mod attempt;
pub mod booking;
pub mod cell;
pub mod command;
pub mod driver;
pub mod event;
pub mod explain;
pub mod fare;
pub mod key;
pub mod party;
pub mod queue;
pub mod rider;
pub mod trail;
pub mod trip;

pub use attempt::{Attempt, AttemptError, AttemptStatus};
pub use booking::{Booking, BookingState, Offer, OfferState};
pub use driver::{Commitment, Driver, DriverStatus, Duty, Standing, Vehicle, VehicleType};
pub use key::Key;
pub use party::{Ban, Phone, Profile};
pub use queue::Queue;
pub use rider::Rider;
pub use trip::{Trip, TripState};

use crate::units::Point;
use serde::{Deserialize, Serialize};

/// A city: policy, prices and aggregates are per city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CityId(pub u16);

/// A point with the words people know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where.
    pub point: Point,
    /// The address, as the client gave it; may be empty.
    pub address: String,
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The rider of the booking.
    Rider,
    /// The driver of the trip.
    Driver,
    /// Hansom itself.
    System,
}
