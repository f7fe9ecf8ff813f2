//! Cells: where cars are and which bookings wait there, for one ring key (the r6 or r7 parent of
//! some r8 cells). All of it is soft state: a new owner has it again one ping period later, and
//! nobody is bound by what it says, since only the driver's own record decides who has him.
//!
//! * [`index`]: the supply. Drivers by r8 cell, each with the version of his record behind his
//!   status, so that only drivers who can be had are named.
//! * [`board`]: the demand. Bookings that wait, and whom a freed car should be offered to.
//! * [`pressure`]: how many bookings came lately, by area.

use proto::record::booking::Need;
use proto::record::driver::{Capabilities, Standing};
use proto::record::explain::Filter;

pub mod board;
pub mod index;
pub mod pressure;

/// Whether a driver of this standing can serve `need`, busy or not. Vehicle kinds match exactly.
pub fn meets(standing: &Standing, need: &Need) -> bool {
    unmet(standing, need).is_none()
}

/// What a driver of this standing lacks for `need`, if anything.
pub fn unmet(standing: &Standing, need: &Need) -> Option<Filter> {
    if standing.kind != need.kind {
        Some(Filter::Vehicle)
    } else if !standing.capabilities.cover(need.capabilities) {
        Some(Filter::Capability)
    } else if standing.seats_free < need.seats {
        Some(Filter::Seats)
    } else {
        None
    }
}

/// How many of the things that a driver can do a booking does not need.
pub fn spare_of(can: Capabilities, need: Capabilities) -> u8 {
    u8::try_from((can.0 & !need.0).count_ones()).unwrap_or(u8::MAX)
}
