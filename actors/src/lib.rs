//! What a booking, a driver, a trip, a rider and a cell is.
//!
//! The crate has two halves. The **cores** are plain values without clock, socket, randomness or
//! logging:
//!
//! * [`machine`]: the replicated state. Its parts are the registers [`rider`], [`booking`],
//!   [`driver`] and [`trip`]; every business guard is in one of them.
//!   [`answers`] is the one idempotency table, [`history`] what leaves for the archive.
//! * [`dispatch`]: how one booking looks for its driver. [`claim`]: who gets a contended driver.
//!   [`improve`]: whether a booking should have a better one before its pickup.
//! * [`queue`]: at airports, whose turn it is.
//! * [`cell`]: where cars are and which bookings wait there. [`geo`]: distances and estimates.
//! * [`meter`]: how far a trip has come; [`fare`]: what it costs.
//! * [`policy`]: the numbers all of it is tuned by.
//!
//! The **shells** (`runtime`, feature of the same name) are ractor actors that receive, call a
//! core, persist through the ledger and only then act.

pub mod answers;
pub mod booking;
pub mod cell;
pub mod claim;
pub mod dispatch;
pub mod driver;
pub mod fare;
pub mod fault;
pub mod geo;
pub mod hedge;
pub mod history;
pub mod improve;
pub mod machine;
pub mod meter;
pub mod policy;
pub mod queue;
pub mod rider;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod trip;
