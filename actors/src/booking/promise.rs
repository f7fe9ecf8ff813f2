//! A driver who comes when the ride that he is on has ended. He accepts while he still drives, and the
//! booking waits for him; there is no trip before that ride is over and his record has moved this one
//! up. Then it is assigned as any offer that was accepted.
//!
//! ```text
//!                Promise                  Assign
//!   offering --------------> promised ---------------> assigned
//!      ^                         |  |
//!      +------- EndPromise ------+  +--- Cancel ---> cancelled
//! ```
//!
//! Whoever waits in vain looks on as if no time had passed, and for free drivers only.

use super::{attempts, pending};
use proto::record::booking::{Booking, BookingState, Offer, OfferState};
use proto::record::event::What;
use proto::{Code, DriverId, OfferId, WallMs};

/// Decides for the driver of an offer that he accepted as his next; asked again it says the same. A
/// booking waits in vain once at most.
pub fn promise(
    booking: &mut Booking,
    offer: OfferId,
    driver: DriverId,
    at: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let known = |(known, _): &&(Offer, OfferState)| known.id == offer && known.driver == driver;
    let attempt = match booking.offers.iter().find(known) {
        Some((
            _,
            OfferState::Promised
            | OfferState::Accepted
            | OfferState::Lapsed { .. }
            | OfferState::Reassigned { .. },
        )) => return Ok(()),
        Some((known, OfferState::Pending))
            if booking.state.is_searching() && waited_ms(booking).is_none() =>
        {
            known.attempt
        }
        Some(_) | None if booking.state.is_searching() => return Err(Code::OfferExpired),
        Some(_) | None => return Err(Code::OfferTaken),
    };
    for (known, state) in &mut booking.offers {
        if *state == OfferState::Pending {
            let his = known.id == offer;
            *state = if his { OfferState::Promised } else { OfferState::Cancelled };
        }
    }
    attempts::won(booking, attempt);
    booking.state = BookingState::Promised { offer, driver, since: at };
    what.push(What::BookingPromised { driver, offer });
    Ok(())
}

/// Lets its driver go, and looks on. An offer that he took and that the booking does not know of yet is
/// ended like one that he declined.
pub fn end_promise(
    booking: &mut Booking,
    offer: OfferId,
    at: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let entry = booking.offers.iter_mut().find(|(known, _)| known.id == offer);
    let (Offer { driver, attempt, .. }, state) = entry.ok_or(Code::OfferNotFound)?;
    let (driver, attempt) = (*driver, *attempt);
    match *state {
        OfferState::Accepted | OfferState::Reassigned { .. } => {
            return Err(Code::OfferAlreadyAccepted);
        }
        OfferState::Declined
        | OfferState::Expired
        | OfferState::Cancelled
        | OfferState::Lapsed { .. } => return Ok(()),
        OfferState::Pending => *state = OfferState::Declined,
        OfferState::Promised => {
            lapse(booking, at);
            booking.state = BookingState::Open;
            attempts::go_on(booking, attempt);
            what.push(What::PromiseEnded { driver, offer });
        }
    }
    if booking.state == BookingState::Offering && pending(booking).next().is_none() {
        booking.state = BookingState::Open;
    }
    Ok(())
}

/// Notes that nothing came of what it waited for, if it waits.
pub(super) fn lapse(booking: &mut Booking, at: WallMs) {
    let BookingState::Promised { since, .. } = booking.state else { return };
    let waited_ms = u32::try_from(at.since(since)).unwrap_or(u32::MAX);
    for (_, state) in &mut booking.offers {
        if *state == OfferState::Promised {
            *state = OfferState::Lapsed { waited_ms };
        }
    }
}

/// How long it waited in vain for drivers on other rides, in milliseconds; nothing if it never did.
pub fn waited_ms(booking: &Booking) -> Option<u64> {
    let waits = booking.offers.iter().filter_map(|(_, state)| match *state {
        OfferState::Lapsed { waited_ms } => Some(u64::from(waited_ms)),
        OfferState::Pending
        | OfferState::Accepted
        | OfferState::Declined
        | OfferState::Expired
        | OfferState::Cancelled
        | OfferState::Reassigned { .. }
        | OfferState::Promised => None,
    });
    waits.reduce(u64::saturating_add)
}
