//! What is told to those who follow a booking: events of its partition's log from a place on, and
//! where its driver is.
//!
//! A place in the log is the same on every replica, so whoever was told up to it by one leader goes
//! on with the next, from another node. Nobody is registered here: each question names its place.
//! A question costs a look at what is new in the log; records are read only if something happened.

use super::serve::BATCH_MAX;
use super::{Runtime, cell};
use futures_util::future::join_all;
use ledger::{Cursor, LoggedEvent};
use proto::code::{Code, Refusal};
use proto::codec;
use proto::record::ask::{Fix, Followed, Following, Happened, Mark};
use proto::record::event::{Event, What};
use proto::record::{Booking, Key, Trip};
use proto::{BookingId, DriverId, GroupId, TripId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tokio::sync::oneshot;

/// Bookings in one request.
const FOLLOWS_MAX: usize = 256;
/// Events looked at for one booking in one request, whosever they are. More is told the next time.
const EVENTS_MAX: usize = 1_024;
/// Answers with records in one reply. With 64 offers and all their events each has some 20 KB, and
/// a frame takes 1 MiB; the others are answered the next time.
const RECORDS_MAX: usize = 32;

/// Places of logs that are read in one request; those who are elsewhere wait for the next.
const PAGES_MAX: usize = 64;

/// The places of a group's log that were asked for, and the events after them.
type Pages = BTreeMap<(GroupId, Cursor), Vec<LoggedEvent>>;

const fn cursor(mark: Mark) -> Cursor {
    Cursor { index: mark.index, n: mark.n }
}

const fn mark(cursor: Cursor) -> Mark {
    Mark { index: cursor.index, n: cursor.n }
}

/// What happened to a booking and its trip, of all that happened in its partition.
fn told(booking: BookingId, mut trip: Option<TripId>, page: &[LoggedEvent]) -> Vec<Happened> {
    let mut told = Vec::new();
    for logged in page {
        // An event that a newer build wrote is not for this one to tell.
        let Ok(Event { subject, what }) = codec::decode(&logged.event) else { continue };
        if subject == Key::Booking(booking) {
            if let What::BookingAssigned { trip: born, .. } = what {
                trip = Some(born);
            }
        } else if trip.is_none_or(|trip| subject != Key::Trip(trip)) {
            continue;
        }
        told.push(Happened { mark: mark(logged.cursor), at: logged.at, what });
    }
    told
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
        let confirmed = join_all(follows.iter().map(|follow| async {
            !follow.confirm || self.records(follow.booking).await.is_some()
        }))
        .await;
        let mut pages = Pages::new();
        let mut answers = Vec::new();
        let mut with_records = 0;
        for (follow, confirmed) in follows.iter().zip(confirmed) {
            let answer = if confirmed { self.news(follow, &mut pages).await } else { None };
            let reads =
                |answer: &Followed| follow.confirm || answer.afresh || !answer.events.is_empty();
            let records = answer.as_ref().is_some_and(reads);
            with_records += usize::from(records);
            let fits = !records || with_records <= RECORDS_MAX;
            answers.push((follow.booking, records, answer.filter(|_| fits)));
        }
        let answers = answers.into_iter().map(|(booking, records, answer)| async move {
            let mut answer = answer?;
            if records {
                answer.now = Some(self.records(booking).await?);
            }
            Some(answer)
        });
        Ok(join_all(answers).await)
    }

    /// What is new to one of them, without records; nothing if this replica can't say.
    async fn news(&self, follow: &Following, pages: &mut Pages) -> Option<Followed> {
        let partitions = &self.world().partitions;
        let group = partitions.group(follow.booking.slot());
        let newest = partitions.ledger().newest(group).ok()?;
        let after = match follow.after.map(cursor) {
            Some(after) if after <= newest => after,
            // Sound or not, a confirmed place that is beyond the log is of no log of ours.
            Some(_) if !follow.confirm => return None,
            Some(_) | None => {
                let events = Vec::new();
                let upto = mark(newest);
                return Some(Followed { upto, afresh: true, more: false, events, now: None });
            }
        };
        let full = pages.len() >= PAGES_MAX;
        let page = match pages.entry((group, after)) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(place) => {
                place.insert(partitions.ledger().events(group, after, EVENTS_MAX).await.ok()?)
            }
        };
        let upto = mark(page.last().map_or(after, |last| last.cursor));
        let events = told(follow.booking, follow.trip, page);
        Some(Followed { upto, afresh: false, more: !page.is_empty(), events, now: None })
    }

    /// A booking and its trip.
    async fn records(&self, booking: BookingId) -> Option<(Booking, Option<Trip>)> {
        let booking = self.booking(booking).await.ok()?;
        let trip = match booking.trip {
            Some(trip) => Some(self.trip(trip).await.ok()?),
            None => None,
        };
        Some((booking, trip))
    }

    /// In which cells drivers were seen last.
    pub(super) fn whereabouts(&self, drivers: &[DriverId]) -> Result<Vec<Option<u64>>, Refusal> {
        if drivers.len() > BATCH_MAX {
            return Err(Code::TooLarge.into());
        }
        Ok(drivers.iter().map(|driver| self.0.soft.ring_key(*driver)).collect())
    }

    /// Where drivers are, of those who are in cells held here.
    pub(super) async fn fixes(&self, sought: Vec<(DriverId, u64)>) -> Result<Vec<Fix>, Refusal> {
        if sought.len() > BATCH_MAX {
            return Err(Code::TooLarge.into());
        }
        let mut by_key: BTreeMap<u64, Vec<DriverId>> = BTreeMap::new();
        for (driver, ring_key) in sought {
            by_key.entry(ring_key).or_default().push(driver);
        }
        let mut answers = Vec::new();
        for (ring_key, drivers) in by_key {
            let (reply, answer) = oneshot::channel();
            if self.0.cells.tell_living(ring_key, cell::Message::Fixes { drivers, reply }) {
                answers.push(answer);
            }
        }
        Ok(join_all(answers).await.into_iter().flatten().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::record::{Actor, TripState};
    use proto::{Slot, WallMs};

    #[test]
    fn a_follower_is_told_of_his_booking_and_its_trip_and_of_nobody_elses() {
        let (slot, at) = (Slot(7), WallMs(5));
        let (mine, other) = (BookingId::mint(slot, at, 1), BookingId::mint(slot, at, 2));
        let (ride, foreign) = (TripId::mint(slot, at, 1), TripId::mint(slot, at, 2));
        let assigned = |trip| What::BookingAssigned { driver: DriverId::from_raw(9), trip };
        let moved = || What::TripMoved { from: None, to: TripState::Assigned, by: Actor::System };
        let events = [
            (Key::Booking(mine), What::BookingCreated),
            (Key::Booking(other), What::BookingCreated),
            (Key::Booking(other), assigned(foreign)),
            (Key::Trip(foreign), moved()),
            (Key::Booking(mine), assigned(ride)),
            (Key::Trip(ride), moved()),
            (Key::Trip(foreign), moved()),
        ];
        let page: Vec<LoggedEvent> = (1..)
            .zip(events)
            .map(|(index, (subject, what))| LoggedEvent {
                cursor: Cursor { index, n: 0 },
                at,
                event: codec::encode(&Event { subject, what }),
            })
            .collect();
        let places = |told: Vec<Happened>| -> Vec<u64> {
            told.into_iter().map(|happened| happened.mark.index).collect()
        };
        assert_eq!(places(told(mine, None, &page)), [1, 5, 6]);
        assert_eq!(places(told(mine, Some(ride), &page[5..])), [6], "who knows the trip");
        assert_eq!(places(told(other, None, &page)), [2, 3, 4, 7]);
    }
}
