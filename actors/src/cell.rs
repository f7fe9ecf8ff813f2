//! Cells: where cars are and which bookings wait there, for one ring key (the r6 or r7 parent of
//! some r8 cells). All of it is soft state: a new owner has it again one ping period later, and
//! nobody is bound by what it says, since only the driver's own record decides who has him.
//!
//! * [`index`]: the supply. Drivers by r8 cell, each with the version of his record behind his
//!   status, so that only drivers who can be had are named.
//! * [`board`]: the demand. Bookings that wait, and whom a freed car should be offered to.

use proto::record::booking::Need;
use proto::record::driver::Standing;

pub mod board;
pub mod index;

/// Whether a driver of this standing can serve `need`, busy or not. Vehicle kinds match exactly.
pub fn meets(standing: &Standing, need: &Need) -> bool {
    standing.kind == need.kind
        && standing.capabilities.cover(need.capabilities)
        && standing.seats_free >= need.seats
}
