//! The booking register. It *decides*: a driver who accepted has the ride only once the booking
//! says so, and what it said never changes.
//!
//! ```text
//!          OfferStart                Assign
//!   open <------------> offering -------------> assigned ---> completed | cancelled
//!     |    OfferEnd        |
//!     +--------------------+--- Cancel ---> cancelled
//!                          +--- Expire ---> expired
//! ```
//!
//! While its driver is on his way, an assigned booking may change to a better one: see [`change`]. A
//! driver who is on another ride still may be promised to it before he is assigned: see [`promise`].

pub mod attempts;
pub mod change;
pub mod promise;

use proto::record::booking::{Booking, BookingState, OFFERS_MAX, Offer, OfferState};
use proto::record::command::OfferFate;
use proto::record::event::What;
use proto::record::{Actor, Attempt, TripState};
use proto::{BookingId, Code, DriverId, OfferId, TripId, WallMs};

/// How often a booking may be gone on with because its driver called off.
pub const REPLACEMENTS_MAX: u8 = 5;

/// What an accepted offer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The booking takes this driver: a trip is to be born under this id, and the one that it had, if
    /// it had one, has ended.
    Born(TripId, Option<TripId>),
    /// It took him before; this is the trip.
    Again(TripId),
}

/// Records the intent to offer. Refused once the booking has ended, for an attempt that is past,
/// for a driver who was offered it before, and beyond [`OFFERS_MAX`].
pub fn offer_start(
    booking: &mut Booking,
    offer: &Offer,
    attempts: &[Attempt],
    what: &mut Vec<What>,
) -> Result<(), Code> {
    searching(booking)?;
    if let Some((known, _)) = booking.offers.iter().find(|(known, _)| known.driver == offer.driver)
    {
        return if known.id == offer.id { Ok(()) } else { Err(Code::OfferExpired) };
    }
    if offer.attempt < booking.attempt || booking.offers.len() >= OFFERS_MAX {
        return Err(Code::OfferExpired);
    }
    booking.attempt = offer.attempt;
    booking.offers.push((offer.clone(), OfferState::Pending));
    booking.state = BookingState::Offering;
    attempts::note(booking, attempts);
    attempts::offered(booking, offer.attempt);
    let Offer { id, driver, attempt, .. } = *offer;
    what.push(What::OfferMade { offer: id, driver, attempt });
    Ok(())
}

/// Ends a pending offer; an offer that ended before stays as it ended.
pub fn offer_end(booking: &mut Booking, offer: OfferId, fate: OfferFate) -> Result<(), Code> {
    let state = match fate {
        OfferFate::Declined => OfferState::Declined,
        OfferFate::Expired => OfferState::Expired,
    };
    let entry = booking.offers.iter_mut().find(|(known, _)| known.id == offer);
    let (_, known) = entry.ok_or(Code::OfferNotFound)?;
    if *known == OfferState::Pending {
        *known = state;
    }
    if booking.state == BookingState::Offering && pending(booking).next().is_none() {
        booking.state = BookingState::Open;
    }
    Ok(())
}

/// Decides for the driver of an accepted offer, once; asked again it says the same.
pub fn assign(
    booking: &mut Booking,
    offer: OfferId,
    driver: DriverId,
    trip: TripId,
    what: &mut Vec<What>,
) -> Result<Decision, Code> {
    // A trip that is over keeps its answer: the accept may be asked about again.
    let won = accepted(booking).zip(booking.trip);
    let before = change::former(booking).chain(won).find(|(known, _)| *known == offer);
    if let Some((_, born)) = before {
        return Ok(Decision::Again(born));
    }
    let (searches, has) = (booking.state.is_searching(), won.map(|(_, trip)| trip));
    let live = |(known, state): &&(Offer, OfferState)| {
        known.id == offer
            && known.driver == driver
            && matches!(state, OfferState::Pending | OfferState::Promised)
    };
    let Some((Offer { attempt, .. }, _)) = booking.offers.iter().find(live) else {
        return Err(if searches { Code::OfferExpired } else { Code::OfferTaken });
    };
    let attempt = *attempt;
    for (known, state) in &mut booking.offers {
        *state = match (*state, has) {
            (OfferState::Pending | OfferState::Promised, _) if known.id == offer => {
                OfferState::Accepted
            }
            (OfferState::Pending, _) => OfferState::Cancelled,
            (OfferState::Accepted, Some(trip)) => OfferState::Reassigned { trip },
            (other, _) => other,
        };
    }
    what.push(match has {
        None => {
            attempts::won(booking, attempt);
            What::BookingAssigned { driver, trip }
        }
        Some(_) => What::BookingReassigned { driver, trip },
    });
    booking.state = BookingState::Assigned { offer, driver, trip };
    booking.trip = Some(trip);
    Ok(Decision::Born(trip, has))
}

/// Calls it off before it has a driver. Calling it off again changes nothing.
pub fn cancel(
    booking: &mut Booking,
    by: Actor,
    reason: &str,
    attempts: &[Attempt],
    at: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    match booking.state {
        // Its rider waits for the one that goes on for it, and must call off that.
        BookingState::Cancelled { .. } if booking.replaced_by.is_some() => {
            return Err(Code::BookingEnded);
        }
        BookingState::Cancelled { .. } => return Ok(()),
        BookingState::Promised { .. } => promise::lapse(booking, at),
        BookingState::Open
        | BookingState::Offering
        | BookingState::Assigned { .. }
        | BookingState::Expired
        | BookingState::Completed
        | BookingState::Paid => searching(booking)?,
    }
    end_offers(booking);
    attempts::note(booking, attempts);
    attempts::called_off(booking);
    booking.state = BookingState::Cancelled { by, reason: reason.into() };
    what.push(What::BookingCancelled { by });
    Ok(())
}

/// Gives up looking. A booking that found a driver, or ended, stays as it is.
pub fn expire(booking: &mut Booking, attempts: &[Attempt], what: &mut Vec<What>) {
    if booking.state.is_searching() {
        end_offers(booking);
        attempts::note(booking, attempts);
        attempts::gave_up(booking);
        booking.state = BookingState::Expired;
        what.push(What::BookingExpired);
    }
}

/// Follows its trip, from the pickup to the end: from there on it keeps its driver.
pub fn follow(booking: &mut Booking, trip: TripState, by: Actor, why: &str, what: &mut Vec<What>) {
    end_offers(booking);
    match trip {
        TripState::Completed => {
            booking.state = BookingState::Completed;
            what.push(What::BookingCompleted);
        }
        TripState::Cancelled => {
            booking.state = BookingState::Cancelled { by, reason: why.into() };
            what.push(What::BookingCancelled { by });
        }
        TripState::Assigned | TripState::Arrived | TripState::InProgress | TripState::Paused => {}
    }
}

/// The booking that goes on for one whose driver called off: the same wish, anew, for everybody but
/// him. Nothing once too many drivers did so.
pub fn replace(
    booking: &mut Booking,
    id: BookingId,
    driver: DriverId,
    at: WallMs,
    what: &mut Vec<What>,
) -> Option<Booking> {
    if booking.replacements >= REPLACEMENTS_MAX {
        return None;
    }
    booking.replaced_by = Some(id);
    what.push(What::BookingReplaced { by: id });
    let mut next = Booking {
        id,
        state: BookingState::Open,
        attempt: 0,
        offers: Vec::new(),
        attempts: Vec::new(),
        trip: None,
        created_at: at,
        updated_at: at,
        replaces: Some(booking.id),
        replaced_by: None,
        replacements: booking.replacements + 1,
        ..booking.clone()
    };
    next.passed_over.push(driver);
    Some(next)
}

/// The offers that are out.
pub fn pending(booking: &Booking) -> impl Iterator<Item = &Offer> {
    let is_pending = |(_, state): &&(Offer, OfferState)| *state == OfferState::Pending;
    booking.offers.iter().filter(is_pending).map(|(offer, _)| offer)
}

/// The offer that became the trip it has.
fn accepted(booking: &Booking) -> Option<OfferId> {
    let won = booking.offers.iter().find(|(_, state)| *state == OfferState::Accepted);
    won.map(|(offer, _)| offer.id)
}

/// Notes when it changed.
pub fn touch(booking: &mut Booking, at: WallMs) {
    attempts::touch(booking, at);
    booking.updated_at = at;
}

fn searching(booking: &Booking) -> Result<(), Code> {
    match booking.state {
        BookingState::Open | BookingState::Offering => Ok(()),
        BookingState::Assigned { .. } | BookingState::Promised { .. } => Err(Code::BookingAssigned),
        BookingState::Cancelled { .. }
        | BookingState::Expired
        | BookingState::Completed
        | BookingState::Paid => Err(Code::BookingEnded),
    }
}

fn end_offers(booking: &mut Booking) {
    for (_, state) in &mut booking.offers {
        if *state == OfferState::Pending {
            *state = OfferState::Cancelled;
        }
    }
}
