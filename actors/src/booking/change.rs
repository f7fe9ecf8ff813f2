//! The change to a better driver before the pickup. The booking offers itself to him while the one it
//! has is on his way; if he accepts, one entry gives it his trip and ends the other's. So nobody is let
//! go before somebody else is taken, and there is never nobody.
//!
//! ```text
//!                Reassign                        Assign
//!   assigned ---------------> assigned, asking ----------> assigned to the other
//!      ^                          |
//!      +-- OfferEnd, or the first driver arrives, or the trip ends
//! ```

use proto::record::booking::{Booking, BookingState, OFFERS_MAX, Offer, OfferState};
use proto::record::event::What;
use proto::record::{Trip, TripState};
use proto::{Code, OfferId, TripId, WallMs};

/// How often and how soon a booking may change its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How often.
    pub max: u16,
    /// How long it must have had the one that it has, in milliseconds.
    pub rest_ms: u32,
}

/// Records the intent to change. Refused once the driver that it has is there, while another is
/// asked, for a driver who was asked before, and beyond the limits.
pub fn reassign(
    booking: &mut Booking,
    trip: Option<&Trip>,
    offer: &Offer,
    limits: Limits,
    at: WallMs,
    what: &mut Vec<What>,
) -> Result<(), Code> {
    let BookingState::Assigned { trip: has, .. } = booking.state else {
        return Err(Code::BookingEnded);
    };
    if booking.offers.iter().any(|(known, state)| known.id == offer.id && is_pending(*state)) {
        return Ok(());
    }
    let on_his_way = trip.filter(|trip| trip.id == has && trip.state == TripState::Assigned);
    let since = on_his_way.and_then(|trip| trip.transitions.first()).map(|birth| birth.at);
    let rested = since.is_some_and(|since| at.since(since) >= limits.rest_ms.into());
    let asks = booking.offers.iter().any(|(_, state)| is_pending(*state));
    let asked = booking.offers.iter().any(|(known, _)| known.driver == offer.driver)
        || booking.passed_over.contains(&offer.driver);
    let full = changes(booking) >= limits.max.into() || booking.offers.len() >= OFFERS_MAX;
    if !rested || asks || asked || full || offer.attempt <= booking.attempt {
        return Err(Code::OfferExpired);
    }
    booking.attempt = offer.attempt;
    booking.offers.push((offer.clone(), OfferState::Pending));
    let Offer { id, driver, attempt, .. } = *offer;
    what.push(What::OfferMade { offer: id, driver, attempt });
    Ok(())
}

/// How often it has changed its driver.
pub fn changes(booking: &Booking) -> usize {
    former(booking).count()
}

/// The trips that it had before the one it has, oldest offer first.
pub fn former(booking: &Booking) -> impl Iterator<Item = (OfferId, TripId)> {
    booking.offers.iter().filter_map(|(offer, state)| match *state {
        OfferState::Reassigned { trip } => Some((offer.id, trip)),
        OfferState::Pending
        | OfferState::Accepted
        | OfferState::Declined
        | OfferState::Expired
        | OfferState::Cancelled
        | OfferState::Promised
        | OfferState::Lapsed { .. } => None,
    })
}

/// All its trips; the last is the one it has.
pub fn trips(booking: &Booking) -> impl Iterator<Item = TripId> {
    former(booking).map(|(_, trip)| trip).chain(booking.trip)
}

fn is_pending(state: OfferState) -> bool {
    state == OfferState::Pending
}
