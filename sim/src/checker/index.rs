//! The history sorted by what the laws ask for.

use crate::history::{Seen, Step, What};
use proto::{BookingId, DriverId, RiderId, TripId};
use std::collections::{BTreeMap, BTreeSet};

/// A yes that was answered with a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) at_ms: u64,
    pub(super) booking: BookingId,
    pub(super) trip: TripId,
    pub(super) driver: DriverId,
}

/// What clients were told, and when what they were told may have ended.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) drivers: BTreeSet<DriverId>,
    pub(super) bookings: BTreeMap<BookingId, RiderId>,
    pub(super) cancelled: BTreeSet<BookingId>,
    pub(super) unanswered: BTreeSet<RiderId>,
    pub(super) accepts: Vec<Accept>,
    pub(super) steps: BTreeSet<(TripId, DriverId, Step)>,
    end_asked: BTreeMap<TripId, u64>,
    cancel_asked: BTreeMap<BookingId, u64>,
    /// Who was shown an offer of a booking, first, and when.
    offers_seen: BTreeMap<BookingId, Vec<(u64, DriverId)>>,
}

impl Index {
    pub(super) fn of(seen: &[Seen]) -> Self {
        let mut index = Self::default();
        for Seen { at_ms, what } in seen {
            index.add(*at_ms, what);
        }
        index
    }

    fn add(&mut self, at_ms: u64, what: &What) {
        match what {
            What::DriverAcked { driver } => {
                self.drivers.insert(*driver);
            }
            What::BookingAcked { booking, rider, asked_ms: _ } => {
                self.bookings.insert(*booking, *rider);
            }
            What::BookingUnsettled { rider } => {
                self.unanswered.insert(*rider);
            }
            What::CancelAsked { booking } => {
                self.cancel_asked.entry(*booking).or_insert(at_ms);
            }
            What::CancelAcked { booking } => {
                self.cancelled.insert(*booking);
            }
            What::AcceptAcked { offer: _, booking, trip, driver } => {
                let (booking, trip, driver) = (*booking, *trip, *driver);
                self.accepts.push(Accept { at_ms, booking, trip, driver });
            }
            What::StepAsked { trip, driver: _, step: Step::End } => {
                self.end_asked.entry(*trip).or_insert(at_ms);
            }
            What::StepAcked { trip, driver, step } => {
                self.steps.insert((*trip, *driver, *step));
            }
            What::OfferSeen { booking, driver, .. } => {
                self.offers_seen.entry(*booking).or_default().push((at_ms, *driver));
            }
            What::StepAsked { step: Step::Arrive | Step::Start, .. }
            | What::Shown(_)
            | What::Refused { .. }
            | What::Unsettled { .. } => {}
        }
    }

    /// From when on a trip may have been over: somebody had asked for its end.
    pub(super) fn over_from(&self, trip: TripId, booking: BookingId) -> u64 {
        let asked = [self.end_asked.get(&trip), self.cancel_asked.get(&booking)];
        asked.into_iter().flatten().copied().min().unwrap_or(u64::MAX)
    }

    /// From when on the booking of a trip may have had a better driver: another one was shown it, after
    /// this one had been. His yes may be answered later than that.
    pub(super) fn left_from(&self, accept: &Accept) -> u64 {
        let seen = || self.offers_seen.get(&accept.booking).into_iter().flatten();
        let his = seen().filter(|(_, who)| *who == accept.driver).map(|(at_ms, _)| *at_ms).min();
        let since_ms = his.unwrap_or(u64::MAX).min(accept.at_ms);
        let others = seen().filter(|(at_ms, who)| *at_ms >= since_ms && *who != accept.driver);
        others.map(|(at_ms, _)| *at_ms).min().unwrap_or(u64::MAX)
    }
}
