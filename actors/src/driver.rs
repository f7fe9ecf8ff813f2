//! The driver register: the only lock in the system. A driver is free, held by one offer, or
//! taken by one; the register holds at most one, so he can't be on two trips. Beside a trip it may hold
//! a second, `next`, to follow it: that is none before the first has ended.
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
//! `next` goes the same way: `HoldNext`, `Accept`, and out by `ExpireHold`, `Decline`, `Release`, or by
//! `CallOff` once the booking has let him go. Whatever ends the trip moves it up, in the same entry.

mod idle;

pub use idle::noting_idle;

use crate::fault::Faults;
use proto::record::driver::{Commitment, Driver, Duty, OUTCOMES_MAX, OfferEnd, Vehicle};
use proto::record::event::What;
use proto::record::party::is_banned;
use proto::record::{Ban, CityId, Offer, Profile, TripState};
use proto::{Code, DriverId, OfferId, TripId, WallMs};
use std::collections::VecDeque;

/// A driver who has just come, off duty.
pub const fn newcomer(
    id: DriverId,
    name: String,
    city: CityId,
    vehicle: Vehicle,
    kyc_verified: bool,
    profile: Profile,
) -> Driver {
    Driver {
        id,
        name,
        city,
        vehicle,
        kyc_verified,
        duty: Duty::Offline,
        current: None,
        next: None,
        outcomes: VecDeque::new(),
        version: 1,
        profile,
        ban: None,
        driven: (0, 0),
        refused: 0,
        idle_since: WallMs(0),
    }
}

/// Registers a newcomer, or recognises him. Other details under a known name are refused.
pub fn register(
    known: Option<&Driver>,
    newcomer: Driver,
    what: &mut Vec<What>,
) -> Result<Driver, Code> {
    let Some(known) = known else {
        what.push(What::Registered);
        return Ok(newcomer);
    };
    let details = |it: &Driver| {
        (it.name.clone(), it.city, it.vehicle.clone(), it.kyc_verified, it.profile.clone())
    };
    if details(known) == details(&newcomer) { Ok(known.clone()) } else { Err(Code::NameTaken) }
}

/// Goes on or off duty. Going off declines an offer he holds; a driver on a trip ends it first.
pub fn set_duty(
    driver: &mut Driver,
    online: bool,
    now: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let wanted = if online { Duty::Online } else { Duty::Offline };
    if driver.duty == wanted {
        return Ok(());
    }
    match (&driver.current, wanted) {
        (_, Duty::Online) if is_banned(driver.ban.as_ref(), now) => {
            return Err(Code::DriverBanned);
        }
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

/// Bans him or lifts it. He goes off duty: at once if he is free or only held, which declines the
/// offer, and when his trip is over if he is on one. What he took to follow that is called off by his
/// booking, if it is no trip by then.
pub fn ban(driver: &mut Driver, ban: Option<Ban>, now: WallMs, what: &mut Vec<What>) {
    driver.ban = ban;
    if is_banned(driver.ban.as_ref(), now)
        && let Some(Commitment::Held { offer }) = &driver.next
    {
        let held = offer.id;
        end_next(driver, held, OfferEnd::Declined, what);
    }
    leave_if_banned(driver, now, what);
}

fn leave_if_banned(driver: &mut Driver, now: WallMs, what: &mut Vec<What>) {
    if is_banned(driver.ban.as_ref(), now) {
        // On a trip he is refused this, and is asked again at its end.
        let _on_a_trip = set_duty(driver, false, now, what);
    }
}

/// Whether he can be asked to take a booking now, and why not.
pub fn can_accept(driver: &Driver, now: WallMs) -> Result<(), Code> {
    match (&driver.current, driver.duty) {
        _ if is_banned(driver.ban.as_ref(), now) => Err(Code::DriverBanned),
        _ if !driver.kyc_verified => Err(Code::KycRequired),
        (Some(_), _) => Err(Code::DriverBusy),
        (None, Duty::Offline) => Err(Code::DriverOffline),
        (None, Duty::Online) => Ok(()),
    }
}

/// Trips that he completed on the day of `now` (UTC).
pub fn trips_today(driver: &Driver, now: WallMs) -> u32 {
    let (day, trips) = driver.driven;
    if day == day_of(now) { trips } else { 0 }
}

fn day_of(at: WallMs) -> u32 {
    u32::try_from(at.0 / (24 * 60 * 60 * 1_000)).unwrap_or(u32::MAX)
}

/// Puts an offer before him if he is on duty and free.
pub fn hold(driver: &mut Driver, offer: &Offer, what: &mut Vec<What>) -> Result<(), Code> {
    if driver.commitment(offer.id).is_some() {
        return Ok(());
    }
    if driver.current.is_some() {
        return Err(Code::DriverBusy);
    }
    if outcome(driver, offer.id).is_some() {
        return Err(Code::OfferExpired);
    }
    if driver.duty == Duty::Offline {
        return Err(Code::DriverOffline);
    }
    driver.current = Some(Commitment::Held { offer: offer.clone() });
    what.push(What::OfferPut { offer: Box::new(offer.clone()) });
    stand(driver, what);
    Ok(())
}

/// Puts an offer before him that is to follow the trip that he is on; before him at once if that is over.
pub fn hold_next(
    driver: &mut Driver,
    offer: &Offer,
    now: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let rides = match &driver.current {
        Some(Commitment::Taken { offer: current, trip: Some(_), .. }) => {
            current.booking != offer.booking
        }
        Some(Commitment::Held { .. } | Commitment::Taken { .. }) | None => false,
    };
    if !rides || driver.is_next(offer.id) {
        return hold(driver, offer, what);
    }
    if outcome(driver, offer.id).is_some() {
        return Err(Code::OfferExpired);
    }
    if driver.next.is_some() || is_banned(driver.ban.as_ref(), now) {
        return Err(Code::DriverBusy);
    }
    driver.next = Some(Commitment::Held { offer: offer.clone() });
    driver.version += 1;
    what.push(What::NextPut { offer: Box::new(offer.clone()) });
    Ok(())
}

/// The offer's time ran out: frees him if he holds it.
pub fn expire_hold(driver: &mut Driver, offer: OfferId, faults: Faults, what: &mut Vec<What>) {
    if holds_next(driver, offer) {
        return end_next(driver, offer, OfferEnd::Expired, what);
    }
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
    match driver.commitment(offer) {
        Some(Commitment::Held { .. }) => {
            end_either(driver, offer, OfferEnd::Declined, what);
            return Ok(());
        }
        Some(Commitment::Taken { .. }) => return Err(Code::OfferAlreadyAccepted),
        None => {}
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
    if let Some(next) = driver.next.as_mut().filter(|next| next.offer().id == offer) {
        return match next {
            Commitment::Held { offer } => {
                let offer = offer.clone();
                *next = Commitment::Taken { offer, accept_key: key, trip: None };
                driver.version += 1;
                Ok(())
            }
            Commitment::Taken { accept_key, .. } if *accept_key == key => Ok(()),
            Commitment::Taken { .. } => Err(Code::OfferAlreadyAccepted),
        };
    }
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

/// Frees the driver of this very offer, held or taken; gives it back if he was not free of it. An
/// offer that never came before him, and of which nothing came, is ended for him all the same: it
/// may still be on its way.
pub fn release(
    driver: &mut Driver,
    offer: OfferId,
    ended: Option<TripState>,
    now: WallMs,
    what: &mut Vec<What>,
) -> Option<Offer> {
    let Some(left) = driver.commitment(offer).map(|his| his.offer().clone()) else {
        if ended.is_none() && outcome(driver, offer).is_none() {
            remember(driver, offer, OfferEnd::Taken);
        }
        return None;
    };
    let how = if ended.is_some() { OfferEnd::Done } else { OfferEnd::Taken };
    end_either(driver, offer, how, what);
    if ended == Some(TripState::Completed) {
        driver.driven = (day_of(now), trips_today(driver, now) + 1);
    }
    if ended.is_some() && idle::waits(driver) {
        driver.idle_since = now;
    }
    leave_if_banned(driver, now, what);
    Some(left)
}

/// How an offer ended for him, as far back as he remembers.
pub fn outcome(driver: &Driver, offer: OfferId) -> Option<OfferEnd> {
    driver.outcomes.iter().rev().find(|(id, _)| *id == offer).map(|(_, end)| *end)
}

/// He does not drive what he took as his next, and the booking has let him go.
pub fn call_off(driver: &mut Driver, offer: OfferId, what: &mut Vec<What>) {
    if driver.is_next(offer) {
        end_next(driver, offer, OfferEnd::Declined, what);
    }
}

fn holds_next(driver: &Driver, offer: OfferId) -> bool {
    matches!(&driver.next, Some(Commitment::Held { offer: held }) if held.id == offer)
}

fn end_either(driver: &mut Driver, offer: OfferId, how: OfferEnd, what: &mut Vec<What>) {
    if driver.is_next(offer) {
        end_next(driver, offer, how, what);
    } else {
        end(driver, offer, how, what);
    }
}

/// Ends what was to follow the trip that he is on.
fn end_next(driver: &mut Driver, offer: OfferId, how: OfferEnd, what: &mut Vec<What>) {
    let Some(left) = driver.next.take() else { return };
    count(driver, how);
    remember(driver, offer, how);
    driver.version += 1;
    what.push(What::NextEnded { offer, booking: left.offer().booking, how });
}

/// Ends what he is committed to. What was to follow is that now: its trip, if he has taken it, may be
/// born from here on.
fn end(driver: &mut Driver, offer: OfferId, how: OfferEnd, what: &mut Vec<What>) {
    driver.current = driver.next.take();
    count(driver, how);
    remember(driver, offer, how);
    what.push(What::OfferEnded { offer, how });
    if let Some(next) = &driver.current {
        what.push(What::OfferPut { offer: Box::new(next.offer().clone()) });
    }
    stand(driver, what);
}

fn count(driver: &mut Driver, how: OfferEnd) {
    if matches!(how, OfferEnd::Declined | OfferEnd::Expired) {
        driver.refused = driver.refused.saturating_add(1);
    }
}

fn remember(driver: &mut Driver, offer: OfferId, how: OfferEnd) {
    if driver.outcomes.len() == OUTCOMES_MAX {
        driver.outcomes.pop_front();
    }
    driver.outcomes.push_back((offer, how));
}

/// Notes that his standing changed.
fn stand(driver: &mut Driver, what: &mut Vec<What>) {
    driver.version += 1;
    what.push(What::Standing(driver.standing().status));
}
