//! The rider register: one active booking at a time.

use proto::record::event::What;
use proto::record::party::is_banned;
use proto::record::{Profile, Rider};
use proto::{BookingId, Code, RiderId, WallMs};

/// Registers a rider, or recognises him. Other details under a known name are refused, and a name
/// whose id belongs to another name.
pub fn register(
    known: Option<&Rider>,
    id: RiderId,
    name: &str,
    profile: &Profile,
    what: &mut Vec<What>,
) -> Result<Rider, Code> {
    match known {
        Some(rider) if rider.name == name && rider.profile == *profile => Ok(rider.clone()),
        Some(_) => Err(Code::NameTaken),
        None => {
            what.push(What::Registered);
            Ok(Rider { id, name: name.into(), active: None, profile: profile.clone(), ban: None })
        }
    }
}

/// Whether a rider may book now, and why not.
pub fn can_book(rider: &Rider, now: WallMs) -> Result<(), Code> {
    match rider.active {
        _ if is_banned(rider.ban.as_ref(), now) => Err(Code::RiderBanned),
        Some(_) => Err(Code::RiderBusy),
        None => Ok(()),
    }
}

/// Binds a new booking to its rider.
pub fn begin(rider: &mut Rider, booking: BookingId, now: WallMs) -> Result<(), Code> {
    can_book(rider, now)?;
    rider.active = Some(booking);
    Ok(())
}

/// Binds the booking that goes on for one that has just ended; a ban does not reach into a ride.
pub fn go_on(rider: &mut Rider, booking: BookingId) {
    rider.active = Some(booking);
}

/// Unbinds a booking that has ended; another one stays.
pub fn finish(rider: &mut Rider, booking: BookingId) {
    if rider.active == Some(booking) {
        rider.active = None;
    }
}
