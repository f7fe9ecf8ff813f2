//! What is told to those who follow a booking or a driver: events of its partition's log from a
//! place on; and where drivers are.
//!
//! A place in the log is the same on every replica, so whoever was told up to it by one leader goes
//! on with the next, from another node. Nobody is registered here: each question names its place.
//! A question costs a look at what is new in the log; records are read only if something happened.

use super::Runtime;
use super::serve::BATCH_MAX;
use futures_util::future::join_all;
use ledger::{Cursor, LoggedEvent};
use proto::code::{Code, Refusal};
use proto::codec;
use proto::record::Key;
use proto::record::ask::{Fix, Followed, Followee, Following, Happened, Mark, Now};
use proto::record::event::{Event, What};
use proto::{DriverId, GroupId, WallMs};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Questions in one request.
const FOLLOWS_MAX: usize = 256;
/// Events looked at for one question, whosever they are. More is told the next time.
const EVENTS_MAX: usize = 1_024;
/// Events told in one answer. More is told the next time.
const TOLD_MAX: usize = 64;
/// What the answers of one reply may have, in bytes, by the estimates below: a frame takes 1 MiB.
/// Who finds no room is answered the next time.
const REPLY_MAX: usize = 700_000;
/// An event: the largest is an offer that was put before a driver.
const EVENT_SIZE: usize = 256;
/// A booking with 64 offers and a trip with a hundred pauses.
const BOOKING_SIZE: usize = 24_000;
/// A driver, the last offers that he had, and the one before him.
const DRIVER_SIZE: usize = 4_000;

/// Places of logs that are read in one request; those who are elsewhere wait for the next.
const PAGES_MAX: usize = 64;

/// Events after a place of a log.
struct Page {
    upto: Mark,
    /// There may be more in the log than this holds.
    full: bool,
    events: Vec<(Mark, WallMs, Event)>,
}

/// The places of a group's log that were asked for, and the events after them.
type Pages = BTreeMap<(GroupId, Cursor), Page>;

const fn cursor(mark: Mark) -> Cursor {
    Cursor { index: mark.index, n: mark.n }
}

const fn mark(cursor: Cursor) -> Mark {
    Mark { index: cursor.index, n: cursor.n }
}

impl Page {
    fn read(after: Cursor, logged: &[LoggedEvent]) -> Self {
        let upto = mark(logged.last().map_or(after, |last| last.cursor));
        let read = |logged: &LoggedEvent| {
            // An event that a newer build wrote is not for this one to tell.
            let event = codec::decode(&logged.event).ok()?;
            Some((mark(logged.cursor), logged.at, event))
        };
        let full = logged.len() >= EVENTS_MAX;
        Self { upto, full, events: logged.iter().filter_map(read).collect() }
    }

    /// What happened to somebody, of all that happened in his partition, and how far that reaches.
    fn told(&self, of: Followee) -> (Vec<Happened>, Mark) {
        let (booking, mut trip) = match of {
            Followee::Booking { booking, trip } => (Some(booking), trip),
            Followee::Former { trip, .. } => (None, Some(trip)),
            Followee::Driver(_) => (None, None),
        };
        let mut told = Vec::new();
        for (mark, at, Event { subject, what }) in &self.events {
            let his = match *subject {
                Key::Booking(id) => booking == Some(id),
                Key::Trip(id) => trip == Some(id),
                Key::Driver(id) => of == Followee::Driver(id),
                Key::Rider(_)
                | Key::RiderAnswer(..)
                | Key::DriverAnswer(..)
                | Key::RiderBooking(..)
                | Key::DriverTrip(..)
                | Key::OldRiderAnswer(..)
                | Key::OldDriverAnswer(..)
                | Key::TripTrail(..)
                | Key::Queue(_) => false,
            };
            if !his {
                continue;
            }
            if let What::BookingAssigned { trip: born, .. }
            | What::BookingReassigned { trip: born, .. } = what
            {
                trip = Some(*born);
            }
            told.push(Happened { mark: *mark, at: *at, what: what.clone() });
            if told.len() == TOLD_MAX {
                return (told, *mark);
            }
        }
        (told, self.upto)
    }
}

/// Whether an answer comes with the records. What happened to a driver says enough by itself.
const fn wants_records(question: &Following, answer: &Followed) -> bool {
    match question.of {
        Followee::Booking { .. } => question.confirm || answer.afresh || !answer.events.is_empty(),
        Followee::Former { .. } => true,
        Followee::Driver(_) => answer.afresh,
    }
}

/// What an answer takes of a reply, at most.
const fn size(question: &Following, answer: &Followed) -> usize {
    let records = match question.of {
        Followee::Booking { .. } | Followee::Former { .. } => BOOKING_SIZE,
        Followee::Driver(_) => DRIVER_SIZE,
    };
    let records = if wants_records(question, answer) { records } else { 0 };
    records + EVENT_SIZE * answer.events.len()
}

impl Runtime {
    /// Answers those who follow, each from his place on.
    pub(super) async fn follow(
        &self,
        follows: Vec<Following>,
    ) -> Result<Vec<Option<Followed>>, Refusal> {
        if follows.len() > FOLLOWS_MAX {
            return Err(Code::TooLarge.into());
        }
        // Where the answer must know of everything acknowledged, a record is read before the log:
        // this replica has applied all of it then.
        let confirmed = join_all(follows.iter().map(|question| async {
            !question.confirm || self.records(question.of).await.is_some()
        }))
        .await;
        let (mut pages, mut room) = (Pages::new(), REPLY_MAX);
        let mut answers = Vec::new();
        for (question, confirmed) in follows.iter().zip(confirmed) {
            let answer = if confirmed { self.news(question, &mut pages).await } else { None };
            let left = answer.as_ref().and_then(|it| room.checked_sub(size(question, it)));
            room = left.unwrap_or(room);
            answers.push((question, answer.filter(|_| left.is_some())));
        }
        let answers = answers.into_iter().map(|(question, answer)| async move {
            let mut answer = answer?;
            if wants_records(question, &answer) {
                let now = self.records(question.of).await?;
                // Things must be as they are at the answer's place, or what is told next has been
                // told already.
                if answer.afresh && self.goes_on(&now, answer.upto).await? {
                    return None;
                }
                answer.now = Some(now);
            }
            Some(answer)
        });
        Ok(join_all(answers).await)
    }

    /// Whether something happened after a place in the log to whom these are the records of.
    async fn goes_on(&self, now: &Now, upto: Mark) -> Option<bool> {
        let of = match now {
            Now::Booking(ride) => Followee::Booking { booking: ride.0.id, trip: ride.0.trip },
            Now::Driver(driver) => Followee::Driver(driver.id),
        };
        let (happened, _) = self.page(of, cursor(upto)).await?.told(of);
        Some(!happened.is_empty())
    }

    /// What happened to everybody in somebody's partition after a place in its log.
    async fn page(&self, of: Followee, after: Cursor) -> Option<Page> {
        let partitions = &self.world().partitions;
        let group = partitions.group(of.slot());
        let logged = partitions.ledger().events(group, after, EVENTS_MAX).await.ok()?;
        Some(Page::read(after, &logged))
    }

    /// What is new to one of them, without records; nothing if this replica can't say.
    async fn news(&self, question: &Following, pages: &mut Pages) -> Option<Followed> {
        let partitions = &self.world().partitions;
        let group = partitions.group(question.of.slot());
        let newest = partitions.ledger().newest(group).ok()?;
        let after = match question.after.map(cursor) {
            Some(after) if after <= newest => after,
            // Sound or not, a confirmed place that is beyond the log is of no log of ours.
            Some(_) if !question.confirm => return None,
            Some(_) | None => {
                let (upto, events) = (mark(newest), Vec::new());
                return Some(Followed { upto, afresh: true, more: false, events, now: None });
            }
        };
        let full = pages.len() >= PAGES_MAX;
        let page = match pages.entry((group, after)) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(place) => place.insert(self.page(question.of, after).await?),
        };
        let (events, upto) = page.told(question.of);
        let more = page.full || upto != page.upto;
        Some(Followed { upto, afresh: false, more, events, now: None })
    }

    /// The records of whom somebody follows.
    async fn records(&self, of: Followee) -> Option<Now> {
        match of {
            Followee::Booking { booking, .. } => {
                let booking = self.booking(booking).await.ok()?;
                let trip = match booking.trip {
                    Some(trip) => Some(self.trip(trip).await.ok()?),
                    None => None,
                };
                Some(Now::Booking(Box::new((booking, trip))))
            }
            Followee::Former { booking, trip } => {
                let booking = self.booking(booking).await.ok()?;
                let trip = self.trip(trip).await.ok().filter(|trip| trip.booking == booking.id)?;
                Some(Now::Booking(Box::new((booking, Some(trip)))))
            }
            Followee::Driver(driver) => {
                Some(Now::Driver(Box::new(self.driver(driver).await.ok()?)))
            }
        }
    }

    /// In which cells drivers were seen last.
    pub(super) fn whereabouts(&self, drivers: &[DriverId]) -> Result<Vec<Option<u64>>, Refusal> {
        if drivers.len() > BATCH_MAX {
            return Err(Code::TooLarge.into());
        }
        Ok(drivers.iter().map(|driver| self.0.soft.ring_key(*driver)).collect())
    }

    /// Where drivers are, of those who are in cells held here.
    pub(super) fn fixes(&self, sought: Vec<(DriverId, u64)>) -> Result<Vec<Fix>, Refusal> {
        if sought.len() > BATCH_MAX {
            return Err(Code::TooLarge.into());
        }
        let mut by_key: BTreeMap<u64, Vec<DriverId>> = BTreeMap::new();
        for (driver, ring_key) in sought {
            by_key.entry(ring_key).or_default().push(driver);
        }
        let cells = by_key.into_iter().filter_map(|(ring_key, drivers)| {
            let cell = self.0.cells.living(ring_key)?;
            Some(cell.fixes(&drivers))
        });
        Ok(cells.flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::{Actor, DriverStatus, TripState};
    use proto::{BookingId, Slot, TripId};

    fn page(events: Vec<(Key, What)>) -> Page {
        let logged: Vec<LoggedEvent> = (1..)
            .zip(events)
            .map(|(index, (subject, what))| LoggedEvent {
                cursor: Cursor { index, n: 0 },
                at: WallMs(5),
                event: codec::encode(&Event { subject, what }),
            })
            .collect();
        Page::read(Cursor::default(), &logged)
    }

    fn places((told, _): (Vec<Happened>, Mark)) -> Vec<u64> {
        told.into_iter().map(|happened| happened.mark.index).collect()
    }

    #[test]
    fn a_follower_is_told_of_his_own_and_of_nobody_elses() {
        let (slot, at) = (Slot(7), WallMs(5));
        let (mine, other) = (BookingId::mint(slot, at, 1), BookingId::mint(slot, at, 2));
        let (ride, foreign) = (TripId::mint(slot, at, 1), TripId::mint(slot, at, 2));
        let (dee, eve) = (DriverId::from_raw(9), DriverId::from_raw(10));
        let better = TripId::mint(slot, at, 3);
        let assigned = |trip| What::BookingAssigned { driver: dee, trip };
        let moved = || What::TripMoved { from: None, to: TripState::Assigned, by: Actor::System };
        let page = page(vec![
            (Key::Booking(mine), What::BookingCreated),
            (Key::Booking(other), What::BookingCreated),
            (Key::Booking(other), assigned(foreign)),
            (Key::Trip(foreign), moved()),
            (Key::Booking(mine), assigned(ride)),
            (Key::Trip(ride), moved()),
            (Key::Trip(foreign), moved()),
            (Key::Driver(dee), What::Standing(DriverStatus::Taken)),
            (Key::Driver(eve), What::Standing(DriverStatus::Free)),
            (Key::Booking(mine), What::BookingReassigned { driver: eve, trip: better }),
            (Key::Trip(ride), moved()),
            (Key::Trip(better), moved()),
        ]);
        let of = |booking, trip| Followee::Booking { booking, trip };
        assert_eq!(
            places(page.told(of(mine, None))),
            [1, 5, 6, 10, 12],
            "the old trip's end is not his"
        );
        assert_eq!(places(page.told(of(other, None))), [2, 3, 4, 7]);
        assert_eq!(places(page.told(Followee::Driver(dee))), [8]);
        let late = Page { upto: page.upto, full: false, events: page.events[5..].to_vec() };
        assert_eq!(places(late.told(of(mine, Some(ride)))), [6, 10, 12], "who knows the trip");
        let former = Followee::Former { booking: mine, trip: ride };
        assert_eq!(places(page.told(former)), [6, 11]);
    }

    #[test]
    fn what_is_too_much_for_one_answer_is_told_in_the_next() {
        let dee = Key::Driver(DriverId::from_raw(9));
        let events = vec![(dee, What::Standing(DriverStatus::Free)); TOLD_MAX + 3];
        let (told, upto) = page(events).told(Followee::Driver(DriverId::from_raw(9)));
        assert_eq!((told.len(), upto), (TOLD_MAX, told[TOLD_MAX - 1].mark));
    }
}
