//! The judge. It believes two things: what the clients saw ([`crate::history`]) and what was read
//! back at the end ([`crate::readback`]); it knows nothing of how the cluster works, and it is a
//! pure function of the two. Its laws:
//!
//! 1. **Nothing acked is missing.** A driver, booking, assignment, arrival, start, end or
//!    cancellation that a client was told of is in the final state.
//! 2. **No driver has two trips at once.** By the clients: from the moment he held the 201 until
//!    he *first asked* to end the trip (or its rider to call it off) it was certainly his. By the
//!    final state: from the first to the last transition of each of his trips.
//! 3. **No booking has two drivers**, by accepts or by trips that were not called off. It may leave one
//!    who is still on his way for a better one, in the moment in which it has that one.
//! 4. **Every booking ends**, and every rider who asked was answered.
//! 5. **What is shown never goes back**: whoever asks after an answer sees nothing older
//!    (`linear.rs`).
//! 6. **Nobody is left behind**: no driver is still committed to a trip that is over, nor to a booking
//!    that he was to serve next.
//!
//! The intervals of law 2 are the shortest that the evidence allows, so a correct cluster can't be
//! accused because an answer was slow; a real overlap lasts for a ride and is seen all the same.

mod index;
mod linear;
#[cfg(test)]
mod tests;

use crate::history::{Seen, Step};
use crate::readback::{AtEnd, BookingAtEnd, Read, TripAtEnd, is_bound_to_an_end, is_stuck};
use index::Index;
use proto::client::text::serialize as as_text;
use proto::client::{BookingStatus, TripStatus};
use proto::{BookingId, DriverId, RiderId, TripId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Where an overlap was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// In what clients were told.
    Acks,
    /// In the records at the end.
    Records,
}

/// A broken law. Every one names whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "law", rename_all = "snake_case")]
pub enum Violation {
    /// Law 1.
    Lost {
        /// What a client was told.
        acked: String,
        /// What is there.
        found: String,
    },
    /// Law 2.
    TwoTrips {
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
        /// The trip that he had.
        #[serde(serialize_with = "as_text")]
        first: TripId,
        /// The trip that he was given on top.
        #[serde(serialize_with = "as_text")]
        second: TripId,
        /// From when both were his, in milliseconds of the evidence's clock.
        from_ms: u64,
        /// Where it shows.
        evidence: Evidence,
    },
    /// Law 3.
    TwoDrivers {
        /// Which.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// Who has it, with which trip.
        first: String,
        /// Who has it too.
        second: String,
        /// Where it shows.
        evidence: Evidence,
    },
    /// Law 4.
    NotTerminal {
        /// Which.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// Where it stands.
        status: BookingStatus,
    },
    /// Law 4, for one who never got a booking.
    NeverAnswered {
        /// Who.
        #[serde(serialize_with = "as_text")]
        rider: RiderId,
    },
    /// Law 5.
    WentBack {
        /// Which record.
        record: String,
        /// What somebody was shown.
        first: String,
        /// When he had the answer, in milliseconds of the run.
        first_ms: u64,
        /// What somebody was shown who asked later.
        then: String,
        /// When he asked.
        asked_ms: u64,
    },
    /// Law 6.
    LeftBehind {
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
        /// The trip that he is still committed to.
        #[serde(serialize_with = "as_text")]
        trip: TripId,
    },
    /// Law 6, of a ride that was to follow another.
    LeftBound {
        /// Who.
        #[serde(serialize_with = "as_text")]
        driver: DriverId,
        /// The booking that he is still to serve next.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
    },
    /// Law 3: a driver was let go for a better one, too late or without there being one.
    LeftAlone {
        /// Which booking.
        #[serde(serialize_with = "as_text")]
        booking: BookingId,
        /// The trip that ended so.
        #[serde(serialize_with = "as_text")]
        trip: TripId,
    },
    /// A record that the cluster could not show for a minute.
    Unreadable {
        /// Which.
        record: String,
    },
}

impl Violation {
    /// The broken law's name.
    pub const fn law(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::TwoTrips { .. } => "two trips at once",
            Self::TwoDrivers { .. } => "two drivers",
            Self::NotTerminal { .. } => "not ended",
            Self::NeverAnswered { .. } => "never answered",
            Self::WentBack { .. } => "went back",
            Self::LeftBehind { .. } => "left behind",
            Self::LeftBound { .. } => "left bound",
            Self::LeftAlone { .. } => "left alone",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { acked, found } => write!(f, "{acked}, but {found}"),
            Self::TwoTrips { driver, first, second, from_ms, evidence } => {
                let by = match evidence {
                    Evidence::Acks => "what the clients were told",
                    Evidence::Records => "the records at the end",
                };
                write!(
                    f,
                    "driver {driver} has trips {first} and {second} from {from_ms} ms, by {by}"
                )
            }
            Self::TwoDrivers { booking, first, second, evidence } => {
                let by = match evidence {
                    Evidence::Acks => "what the clients were told",
                    Evidence::Records => "the records at the end",
                };
                write!(f, "booking {booking} has {first} and {second}, by {by}")
            }
            Self::NotTerminal { booking, status } => {
                write!(f, "booking {booking} stands at {status:?}")
            }
            Self::NeverAnswered { rider } => {
                write!(f, "rider {rider} asked for a ride and got no booking")
            }
            Self::WentBack { record, first, first_ms, then, asked_ms } => write!(
                f,
                "{record} was {first} in an answer at {first_ms} ms, and {then} for one who asked at {asked_ms} ms"
            ),
            Self::LeftBehind { driver, trip } => {
                write!(f, "driver {driver} is still committed to trip {trip}, which is over")
            }
            Self::LeftBound { driver, booking } => {
                write!(f, "driver {driver} is still to serve booking {booking}, which is over")
            }
            Self::LeftAlone { booking, trip } => {
                write!(
                    f,
                    "booking {booking} left trip {trip} for a better driver, and there is none"
                )
            }
            Self::Unreadable { record } => {
                write!(f, "{record} was not shown for a minute")
            }
        }
    }
}

/// Two partitions stamp their records by clocks that a node may push ahead when many commands meet
/// in one millisecond; records of two partitions are compared with so much slack. A double
/// assignment lasts for a ride, hundreds of milliseconds even in the fastest city.
const STAMP_SLACK_MS: u64 = 100;

/// Judges a run. The violations come sorted, without repetition.
pub fn judge(seen: &[Seen], at_end: &AtEnd) -> Vec<Violation> {
    let index = Index::of(seen);
    let mut found = Vec::new();
    nothing_acked_is_missing(&index, at_end, &mut found);
    no_driver_has_two_trips(&index, at_end, &mut found);
    no_booking_has_two_drivers(&index, at_end, &mut found);
    nobody_is_left_for_nobody(at_end, &mut found);
    every_booking_ends(&index, at_end, &mut found);
    linear::what_is_shown_never_goes_back(seen, &mut found);
    nobody_is_left_behind(at_end, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

/// The record, or a violation that says why there is none.
fn there<'a, K: Ord + fmt::Display, T>(
    records: &'a BTreeMap<K, Read<T>>,
    key: &K,
    acked: impl FnOnce() -> String,
    found: &mut Vec<Violation>,
) -> Option<&'a T> {
    match records.get(key) {
        Some(Read::Is(record)) => return Some(record),
        Some(Read::Missing(why)) => {
            found.push(Violation::Lost { acked: acked(), found: format!("{key} is gone ({why})") });
        }
        Some(Read::NoAnswer) => found.push(Violation::Unreadable { record: key.to_string() }),
        None => found.push(Violation::Unreadable { record: format!("{key}, never read") }),
    }
    None
}

fn nothing_acked_is_missing(index: &Index, at_end: &AtEnd, found: &mut Vec<Violation>) {
    for driver in &index.drivers {
        there(&at_end.drivers, driver, || format!("driver {driver} was registered"), found);
    }
    for (booking, rider) in &index.bookings {
        let acked = || format!("booking {booking} of rider {rider} was created");
        there(&at_end.bookings, booking, acked, found);
    }
    for booking in &index.cancelled {
        let acked = || format!("booking {booking} was cancelled");
        if let Some(record) = there(&at_end.bookings, booking, acked, found)
            && record.status != BookingStatus::Cancelled
        {
            let found_as = format!("it stands at {:?}", record.status);
            found.push(Violation::Lost { acked: acked(), found: found_as });
        }
    }
    for accept in &index.accepts {
        let index::Accept { booking, trip, driver, .. } = accept;
        let acked =
            || format!("booking {booking} was assigned to driver {driver} with trip {trip}");
        let Some(record) = there(&at_end.trips, trip, acked, found) else { continue };
        if (record.booking, record.driver) != (*booking, *driver) {
            let found_as =
                format!("the trip is of booking {} and driver {}", record.booking, record.driver);
            found.push(Violation::Lost { acked: acked(), found: found_as });
        }
        let owner = at_end.bookings.get(booking).and_then(Read::is);
        if let Some(BookingAtEnd { status, driver: has, trip: with, .. }) = owner
            && record.status != TripStatus::Cancelled
            && (*has, *with) != (Some(*driver), Some(*trip))
        {
            let found_as = format!("the booking stands at {status:?} with {}", who(*has, *with));
            found.push(Violation::Lost { acked: acked(), found: found_as });
        }
    }
    for (trip, driver, step) in &index.steps {
        let acked = || format!("{} of trip {trip} by driver {driver} was acked", step.as_str());
        let Some(record) = there(&at_end.trips, trip, acked, found) else { continue };
        if !has_taken(record, *step) {
            let found_as =
                format!("the trip stands at {:?} after {:?}", record.status, record.path);
            found.push(Violation::Lost { acked: acked(), found: found_as });
        }
        let booking = at_end.bookings.get(&record.booking).and_then(Read::is);
        if *step == Step::End
            && let Some(booking) = booking
            && !booking.status.is_served()
        {
            let found_as = format!("booking {} stands at {:?}", record.booking, booking.status);
            found.push(Violation::Lost { acked: acked(), found: found_as });
        }
    }
}

/// Whether a trip's record shows a step.
fn has_taken(record: &TripAtEnd, step: Step) -> bool {
    let through = |status| record.path.iter().any(|(to, _)| *to == status);
    match step {
        Step::Arrive => through(TripStatus::DriverArrived),
        Step::Start => through(TripStatus::InProgress),
        Step::End => record.status == TripStatus::Completed,
    }
}

fn who(driver: Option<DriverId>, trip: Option<TripId>) -> String {
    let driver = driver.map_or("no driver".into(), |driver| format!("driver {driver}"));
    let trip = trip.map_or("no trip".into(), |trip| format!("trip {trip}"));
    format!("{driver} and {trip}")
}

/// A time in which a trip was certainly its driver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    from_ms: u64,
    to_ms: u64,
    trip: TripId,
}

fn no_driver_has_two_trips(index: &Index, at_end: &AtEnd, found: &mut Vec<Violation>) {
    let mut by_acks: BTreeMap<DriverId, Vec<Span>> = BTreeMap::new();
    for accept in &index.accepts {
        let mut to_ms = index.over_from(accept.trip, accept.booking);
        let record = at_end.trips.get(&accept.trip).and_then(Read::is);
        if record.is_some_and(|record| record.reassigned) {
            to_ms = to_ms.min(index.left_from(accept));
        }
        // Who was told yes when it was over already need not have known a moment of it.
        if to_ms > accept.at_ms {
            let span = Span { from_ms: accept.at_ms, to_ms, trip: accept.trip };
            by_acks.entry(accept.driver).or_default().push(span);
        }
    }
    overlaps(by_acks, 0, Evidence::Acks, found);
    let mut by_records: BTreeMap<DriverId, Vec<Span>> = BTreeMap::new();
    for (trip, read) in &at_end.trips {
        let Some(TripAtEnd { driver, status, path, .. }) = read.is() else { continue };
        let (Some(first), Some(last)) = (path.first(), path.last()) else { continue };
        let to_ms = if status.is_over() { last.1 } else { u64::MAX };
        let span = Span { from_ms: first.1, to_ms, trip: *trip };
        by_records.entry(*driver).or_default().push(span);
    }
    overlaps(by_records, STAMP_SLACK_MS, Evidence::Records, found);
}

/// Reports each span that begins before the longest one so far has ended.
fn overlaps(
    spans: BTreeMap<DriverId, Vec<Span>>,
    slack_ms: u64,
    evidence: Evidence,
    found: &mut Vec<Violation>,
) {
    for (driver, mut spans) in spans {
        spans.sort_unstable();
        let mut longest: Option<Span> = None;
        for span in spans {
            if let Some(before) = longest
                && before.trip != span.trip
                && span.from_ms.saturating_add(slack_ms) < before.to_ms
            {
                let (first, second, from_ms) = (before.trip, span.trip, span.from_ms);
                found.push(Violation::TwoTrips { driver, first, second, from_ms, evidence });
            }
            if longest.is_none_or(|before| before.to_ms < span.to_ms) {
                longest = Some(span);
            }
        }
    }
}

fn no_booking_has_two_drivers(index: &Index, at_end: &AtEnd, found: &mut Vec<Violation>) {
    let called_off = |trip: TripId| {
        let record = at_end.trips.get(&trip).and_then(Read::is);
        record.is_some_and(|record| record.status == TripStatus::Cancelled)
    };
    let mut by_acks: BTreeMap<BookingId, Vec<(DriverId, TripId)>> = BTreeMap::new();
    for accept in index.accepts.iter().filter(|accept| !called_off(accept.trip)) {
        by_acks.entry(accept.booking).or_default().push((accept.driver, accept.trip));
    }
    let mut by_records: BTreeMap<BookingId, Vec<(DriverId, TripId)>> = BTreeMap::new();
    for (trip, read) in &at_end.trips {
        if let Some(record) = read.is()
            && record.status != TripStatus::Cancelled
        {
            by_records.entry(record.booking).or_default().push((record.driver, *trip));
        }
    }
    for (evidence, owners) in [(Evidence::Acks, by_acks), (Evidence::Records, by_records)] {
        for (booking, mut owners) in owners {
            owners.sort_unstable();
            owners.dedup();
            if let [first, second, ..] = owners[..] {
                let (first, second) =
                    (who(Some(first.0), Some(first.1)), who(Some(second.0), Some(second.1)));
                found.push(Violation::TwoDrivers { booking, first, second, evidence });
            }
        }
    }
}

/// A booking may leave a driver for a better one, on his way to it and not later: in the moment in which
/// the other's trip begins. Both records are of one partition, so their stamps agree.
fn nobody_is_left_for_nobody(at_end: &AtEnd, found: &mut Vec<Violation>) {
    let trips = || at_end.trips.iter().filter_map(|(id, read)| Some((id, read.is()?)));
    for (trip, left) in trips().filter(|(_, record)| record.reassigned) {
        let on_his_way = [TripStatus::DriverAssigned, TripStatus::Cancelled];
        let went = left.path.iter().map(|(to, _)| *to).eq(on_his_way);
        let ended = left.path.last().map(|(_, at)| *at);
        let next = trips().any(|(other, record)| {
            let began = record.path.first().map(|(_, at)| *at);
            other != trip && record.booking == left.booking && began == ended
        });
        // One whose accept was not answered is nobody's to read.
        let known = trips().filter(|(_, record)| record.booking == left.booking).count();
        let booking = at_end.bookings.get(&left.booking).and_then(Read::is);
        let unread = booking.is_some_and(|booking| booking.changes >= known as u64);
        if !went || !(next || unread) {
            let (trip, booking) = (*trip, left.booking);
            found.push(Violation::LeftAlone { booking, trip });
        }
    }
}

fn every_booking_ends(index: &Index, at_end: &AtEnd, found: &mut Vec<Violation>) {
    for (booking, read) in &at_end.bookings {
        match read {
            Read::Is(record) if !record.status.is_terminal() => {
                let (booking, status) = (*booking, record.status);
                found.push(Violation::NotTerminal { booking, status });
            }
            // Missing and unreadable ones are law 1's.
            Read::Is(_) | Read::Missing(_) | Read::NoAnswer => {}
        }
    }
    for rider in &index.unanswered {
        found.push(Violation::NeverAnswered { rider: *rider });
    }
}

fn nobody_is_left_behind(at_end: &AtEnd, found: &mut Vec<Violation>) {
    for (driver, read) in &at_end.drivers {
        if let Some(trip) = read.is().and_then(|record| record.trip)
            && is_stuck(read, &at_end.trips)
        {
            found.push(Violation::LeftBehind { driver: *driver, trip });
        }
        if let Some(booking) = read.is().and_then(|record| record.next)
            && is_bound_to_an_end(read, &at_end.bookings)
        {
            found.push(Violation::LeftBound { driver: *driver, booking });
        }
    }
}
