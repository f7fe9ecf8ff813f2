//! The driver register: the only lock in the system. A driver is free, held by one offer, or
//! taken by one; the register holds at most one, so he can't be on two trips.
//!
//! A timer frees a driver who is *held*. Nothing but the booking's answer or the trip's end, both
//! naming the offer, frees one who is *taken*. Every command names the offer, so one that comes
//! late, twice or out of order finds its offer in `outcomes` and changes nothing.
//!
//! ```text
//!            Hold             Accept            Confirm
//!   free ----------> held --------------> taken --------> taken, with its trip
//!     ^               |                     |                   |
//!     +- ExpireHold --+                     |                   |
//!     +- Decline -----+                     |                   |
//!     +- Release -----+-------- Release ----+----- Release -----+
//! ```
//!
//! # Not done
//! * `next`, a commitment that follows the current one, is stored but always empty.

use crate::fault::Faults;
use proto::record::driver::{Commitment, Driver, Duty, OUTCOMES_MAX, OfferEnd, Vehicle};
use proto::record::event::What;
use proto::record::{CityId, Offer};
use proto::{Code, DriverId, OfferId, TripId};
use std::collections::VecDeque;

/// Registers a driver, or recognises him. Other details under a known name are refused.
pub fn register(
    known: Option<&Driver>,
    id: DriverId,
    name: &str,
    city: CityId,
    vehicle: &Vehicle,
    kyc_verified: bool,
    what: &mut Vec<What>,
) -> Result<Driver, Code> {
    if let Some(driver) = known {
        let same = driver.name == name
            && driver.city == city
            && driver.vehicle == *vehicle
            && driver.kyc_verified == kyc_verified;
        return if same { Ok(driver.clone()) } else { Err(Code::NameTaken) };
    }
    what.push(What::Registered);
    Ok(Driver {
        id,
        name: name.into(),
        city,
        vehicle: vehicle.clone(),
        kyc_verified,
        duty: Duty::Offline,
        current: None,
        next: None,
        outcomes: VecDeque::new(),
        version: 1,
    })
}

/// Goes on or off duty. Going off declines an offer he holds; a driver on a trip ends it first.
pub fn set_duty(driver: &mut Driver, online: bool, what: &mut Vec<What>) -> Result<(), Code> {
    let wanted = if online { Duty::Online } else { Duty::Offline };
    if driver.duty == wanted {
        return Ok(());
    }
    match (&driver.current, wanted) {
        (_, Duty::Online) if !driver.kyc_verified => return Err(Code::KycRequired),
        (Some(Commitment::Taken { .. }), Duty::Offline) => return Err(Code::DriverBusy),
        (Some(Commitment::Held { offer }), Duty::Offline) => {
            let held = offer.id;
            end(driver, held, OfferEnd::Declined, what);
        }
        (None, Duty::Offline) | (_, Duty::Online) => {}
    }
    driver.duty = wanted;
    stand(driver, what);
    Ok(())
}

/// Puts an offer before him if he is on duty and free.
pub fn hold(driver: &mut Driver, offer: &Offer, what: &mut Vec<What>) -> Result<(), Code> {
    if let Some(current) = &driver.current {
        return if current.offer().id == offer.id { Ok(()) } else { Err(Code::DriverBusy) };
    }
    if outcome(driver, offer.id).is_some() {
        return Err(Code::OfferExpired);
    }
    if driver.duty == Duty::Offline {
        return Err(Code::DriverOffline);
    }
    driver.current = Some(Commitment::Held { offer: offer.clone() });
    stand(driver, what);
    Ok(())
}

/// The offer's time ran out: frees him if he holds it.
pub fn expire_hold(driver: &mut Driver, offer: OfferId, faults: Faults, what: &mut Vec<What>) {
    match &driver.current {
        Some(Commitment::Held { offer: held }) if held.id == offer => {
            end(driver, offer, OfferEnd::Expired, what);
        }
        Some(Commitment::Taken { offer: taken, .. })
            if taken.id == offer && faults.ttl_frees_taken() =>
        {
            end(driver, offer, OfferEnd::Expired, what);
        }
        Some(Commitment::Held { .. } | Commitment::Taken { .. }) | None => {}
    }
}

/// He says no. Saying it twice is no error.
pub fn decline(driver: &mut Driver, offer: OfferId, what: &mut Vec<What>) -> Result<(), Code> {
    match &driver.current {
        Some(Commitment::Held { offer: held }) if held.id == offer => {
            end(driver, offer, OfferEnd::Declined, what);
            return Ok(());
        }
        Some(Commitment::Taken { offer: taken, .. }) if taken.id == offer => {
            return Err(Code::OfferAlreadyAccepted);
        }
        Some(Commitment::Held { .. } | Commitment::Taken { .. }) | None => {}
    }
    match outcome(driver, offer) {
        Some(OfferEnd::Declined) => Ok(()),
        Some(OfferEnd::Expired) => Err(Code::OfferExpired),
        Some(OfferEnd::Taken) => Err(Code::OfferTaken),
        Some(OfferEnd::Done) => Err(Code::OfferAlreadyAccepted),
        None => Err(Code::OfferNotFound),
    }
}

/// He says yes. The same offer with the same key is the same yes.
pub fn accept(
    driver: &mut Driver,
    offer: OfferId,
    key: Option<u64>,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    match &driver.current {
        Some(Commitment::Held { offer: held }) if held.id == offer => {
            let offer = held.clone();
            driver.current = Some(Commitment::Taken { offer, accept_key: key, trip: None });
            stand(driver, what);
            return Ok(());
        }
        Some(Commitment::Taken { offer: taken, accept_key, .. }) => {
            return match (taken.id == offer, *accept_key == key) {
                (true, true) => Ok(()),
                (true, false) => Err(Code::OfferAlreadyAccepted),
                (false, _) => Err(Code::DriverBusy),
            };
        }
        Some(Commitment::Held { .. }) | None => {}
    }
    match outcome(driver, offer) {
        Some(OfferEnd::Expired | OfferEnd::Declined) => Err(Code::OfferExpired),
        Some(OfferEnd::Taken) => Err(Code::OfferTaken),
        Some(OfferEnd::Done) => Err(Code::OfferAlreadyAccepted),
        None => Err(Code::OfferNotFound),
    }
}

/// The booking said yes: notes the trip.
pub fn confirm(driver: &mut Driver, offer: OfferId, trip: TripId) {
    if let Some(Commitment::Taken { offer: taken, trip: noted, .. }) = &mut driver.current
        && taken.id == offer
    {
        *noted = Some(trip);
    }
}

/// Frees the driver of this very offer, held or taken; gives it back if he was not free of it.
pub fn release(
    driver: &mut Driver,
    offer: OfferId,
    done: bool,
    what: &mut Vec<What>,
) -> Option<Offer> {
    let current = driver.current.as_ref().map(Commitment::offer);
    let left = current.filter(|current| current.id == offer).cloned()?;
    end(driver, offer, if done { OfferEnd::Done } else { OfferEnd::Taken }, what);
    Some(left)
}

/// How an offer ended for him, as far back as he remembers.
pub fn outcome(driver: &Driver, offer: OfferId) -> Option<OfferEnd> {
    driver.outcomes.iter().rev().find(|(id, _)| *id == offer).map(|(_, end)| *end)
}

fn end(driver: &mut Driver, offer: OfferId, how: OfferEnd, what: &mut Vec<What>) {
    driver.current = None;
    if driver.outcomes.len() == OUTCOMES_MAX {
        driver.outcomes.pop_front();
    }
    driver.outcomes.push_back((offer, how));
    what.push(What::OfferEnded { offer, how });
    stand(driver, what);
}

/// Notes that his standing changed.
fn stand(driver: &mut Driver, what: &mut Vec<What>) {
    driver.version += 1;
    what.push(What::Standing(driver.standing().status));
}
