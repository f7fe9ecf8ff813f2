//! A rider's stream: how far it has been told, and what an answer adds to it. A plain value.

use super::table::{Next, Tell};
use proto::record::ask::{Fix, Followed, Followee, Following, Happened, Mark, Now};
use proto::record::{Booking, BookingState, Trip};
use proto::units::Point;
use proto::{BookingId, DriverId, RiderId, TripId};

/// A booking and its trip.
pub(crate) type Records = (Booking, Option<Trip>);

/// What goes down a stream. What has a place in the log can be gone on from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Down {
    /// How things are; what happened before is not told.
    Afresh { mark: Mark, now: Box<Records> },
    /// Something happened. The newest of several comes with how things are.
    Happened { happened: Happened, now: Option<Box<Records>> },
    /// Where the driver is, and how far, in seconds.
    Position { mark: Mark, fix: Fix, eta_s: u32 },
    /// The booking has ended and all of it was told.
    End { mark: Mark, now: Box<Records> },
    /// The same, and another booking goes on for it.
    Replaced { mark: Mark, by: BookingId, now: Box<Records> },
}

/// How far a stream has been told.
#[derive(Debug)]
pub(super) struct Story {
    rider: RiderId,
    booking: BookingId,
    trip: Option<TripId>,
    after: Option<Mark>,
    /// Nothing until the first answer.
    now: Option<Records>,
}

impl Story {
    pub(super) fn new(booking: &Booking, after: Option<Mark>) -> Self {
        let (rider, trip) = (booking.rider, booking.trip);
        Self { rider, booking: booking.id, trip, after, now: None }
    }

    /// What to ask. A booking that has ended is only asked about to be sure that all was told.
    fn question(&self) -> Following {
        let Self { booking, trip, after, .. } = *self;
        let confirm = self.now.as_ref().is_none_or(has_ended);
        Following { of: Followee::Booking { booking, trip }, after, confirm }
    }

    /// What an answer to the last question adds.
    fn news(&mut self, answer: Followed) -> Vec<Down> {
        let Followed { upto: mark, afresh, more, events, now } = answer;
        let had_ended = self.now.as_ref().is_some_and(has_ended);
        self.after = Some(mark);
        if let Some(Now::Booking(now)) = now {
            self.trip = now.0.trip.or(self.trip);
            self.now = Some(*now);
        }
        let now = || self.now.clone().map(Box::new);
        let mut downs = Vec::new();
        if afresh {
            downs.extend(now().map(|now| Down::Afresh { mark, now }));
        }
        let all_told = had_ended && !more && !afresh && events.is_empty();
        let newest = events.len();
        for (number, happened) in (1..).zip(events) {
            let now = if number == newest { now() } else { None };
            downs.push(Down::Happened { happened, now });
        }
        if all_told {
            downs.extend(now().map(|now| match now.0.replaced_by {
                Some(by) => Down::Replaced { mark, by, now },
                None => Down::End { mark, now },
            }));
        }
        downs
    }

    /// Who drives the rider, or comes for him, and to where.
    pub(super) fn way(&self) -> Option<(DriverId, Point)> {
        let (_, trip) = self.now.as_ref()?;
        let trip = trip.as_ref()?;
        Some((trip.driver, trip.heading()?))
    }

    /// A position to show, once the story has begun.
    pub(super) fn position(&self, fix: Fix, eta_s: u32) -> Option<Down> {
        Some(Down::Position { mark: self.after?, fix, eta_s })
    }
}

impl Tell for Story {
    type Down = Down;

    fn whose(&self) -> u64 {
        self.rider.to_raw()
    }

    fn questions(&self) -> Vec<Following> {
        vec![self.question()]
    }

    fn hear(&mut self, question: &Following, answer: Followed) -> (Vec<Down>, Next) {
        if question.after != self.after {
            return (Vec::new(), Next::Wait); // Another answer to the same question was first.
        }
        let (begins, more) = (self.now.is_none(), answer.more);
        let downs = self.news(answer);
        let ends = |down: &Down| matches!(down, Down::End { .. } | Down::Replaced { .. });
        let next = match downs.iter().any(ends) {
            true => Next::End,
            // Who comes back after a while has others' events to be read past.
            false if begins && more => Next::Hurry,
            false => Next::Wait,
        };
        (downs, next)
    }
}

fn has_ended((booking, _): &Records) -> bool {
    match booking.state {
        BookingState::Open
        | BookingState::Offering
        | BookingState::Assigned { .. }
        | BookingState::Promised { .. } => false,
        BookingState::Cancelled { .. }
        | BookingState::Expired
        | BookingState::Completed
        | BookingState::Paid => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::samples::booking;
    use proto::WallMs;
    use proto::record::event::What;

    const fn at(index: u64) -> Mark {
        Mark { index, n: 0 }
    }

    fn news(indexes: &[u64], upto: u64, state: Option<BookingState>) -> Followed {
        let happened =
            |index: &u64| Happened { mark: at(*index), at: WallMs(1), what: What::BookingExpired };
        Followed {
            upto: at(upto),
            afresh: false,
            more: !indexes.is_empty(),
            events: indexes.iter().map(happened).collect(),
            now: state.map(|state| Now::Booking(Box::new((booking(state), None)))),
        }
    }

    impl Story {
        fn told(&mut self, answer: Followed) -> Vec<Down> {
            let question = self.question();
            self.hear(&question, answer).0
        }
    }

    /// The places of what is told, and whether it is the end.
    fn places(downs: &[Down]) -> Vec<(u64, bool)> {
        let place = |down: &Down| match down {
            Down::Afresh { mark, .. } | Down::Position { mark, .. } => (mark.index, false),
            Down::Happened { happened, .. } => (happened.mark.index, false),
            Down::End { mark, .. } | Down::Replaced { mark, .. } => (mark.index, true),
        };
        downs.iter().map(place).collect()
    }

    #[test]
    fn a_story_goes_on_from_its_place_and_ends_only_when_all_was_told() {
        let mut story = Story::new(&booking(BookingState::Open), Some(at(3)));
        let asked = story.question();
        assert_eq!((asked.after, asked.confirm), (Some(at(3)), true));
        // The records are newer than the events: the booking has ended, and that is not told yet.
        let downs = story.told(news(&[4, 6], 8, Some(BookingState::Expired)));
        assert_eq!(places(&downs), [(4, false), (6, false)]);
        let newest: Vec<bool> =
            downs.iter().map(|d| matches!(d, Down::Happened { now: Some(_), .. })).collect();
        assert_eq!(newest, [false, true], "how things are comes with the newest");
        assert_eq!((story.question().after, story.question().confirm), (Some(at(8)), true));
        let downs = story.told(news(&[9], 9, Some(BookingState::Expired)));
        assert_eq!(places(&downs), [(9, false)]);
        let downs = story.told(news(&[], 9, Some(BookingState::Expired)));
        assert_eq!(places(&downs), [(9, true)]);
    }

    #[test]
    fn a_quiet_booking_costs_no_records_and_does_not_end() {
        let mut story = Story::new(&booking(BookingState::Open), None);
        let first = Followed { afresh: true, ..news(&[], 5, Some(BookingState::Open)) };
        assert_eq!(places(&story.told(first)), [(5, false)]);
        assert!(!story.question().confirm);
        assert_eq!(story.told(news(&[], 7, None)), []);
        assert_eq!(story.question().after, Some(at(7)));
    }
}
