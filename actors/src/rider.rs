//! The rider register: one active booking at a time.

use proto::record::Rider;
use proto::record::event::What;
use proto::{BookingId, Code, RiderId};

/// Registers a rider, or recognises him. A name whose id belongs to another name is refused.
pub fn register(
    known: Option<&Rider>,
    id: RiderId,
    name: &str,
    what: &mut Vec<What>,
) -> Result<Rider, Code> {
    match known {
        Some(rider) if rider.name == name => Ok(rider.clone()),
        Some(_) => Err(Code::NameTaken),
        None => {
            what.push(What::Registered);
            Ok(Rider { id, name: name.into(), active: None })
        }
    }
}

/// Binds a new booking to its rider.
pub fn begin(rider: &mut Rider, booking: BookingId) -> Result<(), Code> {
    if rider.active.is_some() {
        return Err(Code::RiderBusy);
    }
    rider.active = Some(booking);
    Ok(())
}

/// Unbinds a booking that has ended; another one stays.
pub fn finish(rider: &mut Rider, booking: BookingId) {
    if rider.active == Some(booking) {
        rider.active = None;
    }
}
