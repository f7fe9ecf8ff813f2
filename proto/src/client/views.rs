//! The cluster's JSON as a client reads and writes it. Ids are typed: a text that is no id makes the
//! answer unreadable. What a later cluster adds is passed over.

mod booking;
mod cluster;
mod party;
mod position;
mod story;
mod trip;

pub use booking::{Actor, Booking, BookingStatus, BookingsPage, Made, NewBooking, OfferStatus};
pub use cluster::{Cluster, Lookup, Member};
pub use party::{Driver, DriverStatus, NewDriver, Rider, Vehicle, VehicleType};
pub use position::{Around, Counts, Expected, Fix, Nearby, Place, Seen};
pub use story::{Position, Story};
pub use trip::{
    Down, Driven, DrivenPage, Fare, Offer, OfferEnd, Offers, Processed, Receipt, Recorded,
    Transition, Trip, TripStatus,
};
