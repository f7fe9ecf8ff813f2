//! For every law a history that breaks it and only it; one clean history; and the slow answers
//! that must not be taken for crimes.

use super::*;
use crate::history::{Shown, What};
use crate::readback::DriverAtEnd;
use proto::{OfferId, Slot, WallMs};

fn booking(n: u64) -> BookingId {
    BookingId::mint(Slot(1), WallMs(1), n)
}
fn trip(n: u64) -> TripId {
    TripId::mint(Slot(1), WallMs(1), n)
}
fn driver(n: u64) -> DriverId {
    DriverId::from_raw(n)
}

/// A run that a test writes down.
#[derive(Default)]
struct Run {
    seen: Vec<Seen>,
    at_end: AtEnd,
}

impl Run {
    fn see(&mut self, at_ms: u64, what: What) {
        self.seen.push(Seen { at_ms, what });
    }

    fn accept(&mut self, at_ms: u64, b: u64, t: u64, d: u64) {
        let offer = OfferId::mint(Slot(1), WallMs(1), t);
        let (booking, trip, driver) = (booking(b), trip(t), driver(d));
        self.see(at_ms, What::AcceptAcked { offer, booking, trip, driver });
    }

    fn step(&mut self, asked_ms: u64, acked_ms: u64, t: u64, d: u64, step: Step) {
        let (trip, driver) = (trip(t), driver(d));
        self.see(asked_ms, What::StepAsked { trip, driver, step });
        self.see(acked_ms, What::StepAcked { trip, driver, step });
    }

    /// Booking `b` carried by driver `d` as trip `t`, from `from_ms` to `to_ms`.
    fn ride(&mut self, b: u64, t: u64, d: u64, from_ms: u64, to_ms: u64) {
        self.see(0, What::DriverAcked { driver: driver(d) });
        let rider = RiderId::from_raw(b);
        self.see(from_ms, What::BookingAcked { booking: booking(b), rider, asked_ms: from_ms });
        self.accept(from_ms + 10, b, t, d);
        self.step(from_ms + 20, from_ms + 21, t, d, Step::Arrive);
        self.step(from_ms + 30, from_ms + 31, t, d, Step::Start);
        self.step(to_ms - 10, to_ms, t, d, Step::End);
        self.keep_driver(d, None);
        self.keep_booking(b, BookingStatus::Completed, Some((d, t)));
        let path = vec![
            (TripStatus::DriverAssigned, from_ms + 5),
            (TripStatus::DriverArrived, from_ms + 20),
            (TripStatus::InProgress, from_ms + 30),
            (TripStatus::Completed, to_ms - 5),
        ];
        self.keep_trip(t, b, d, TripStatus::Completed, path);
    }

    fn keep_driver(&mut self, d: u64, on: Option<u64>) {
        let record = DriverAtEnd { trip: on.map(trip), booking: None, next: None };
        self.at_end.drivers.insert(driver(d), Read::Is(record));
    }

    fn keep_booking(&mut self, b: u64, status: BookingStatus, with: Option<(u64, u64)>) {
        let (has, on) = (with.map(|with| driver(with.0)), with.map(|with| trip(with.1)));
        let record = BookingAtEnd { status, driver: has, trip: on, changes: 0, lapses: 0 };
        self.at_end.bookings.insert(booking(b), Read::Is(record));
    }

    fn keep_trip(
        &mut self,
        t: u64,
        b: u64,
        d: u64,
        status: TripStatus,
        path: Vec<(TripStatus, u64)>,
    ) {
        let (booking, driver, reassigned) = (booking(b), driver(d), false);
        let record = TripAtEnd { booking, driver, status, path, reassigned };
        self.at_end.trips.insert(trip(t), Read::Is(record));
    }

    fn verdict(&self) -> Vec<String> {
        let violations = judge(&self.seen, &self.at_end);
        violations.iter().map(|violation| format!("{}: {violation}", violation.law())).collect()
    }

    /// The verdict is one violation that says all of this.
    fn is_guilty_of(&self, parts: &[&str]) {
        let verdict = self.verdict();
        assert_eq!(verdict.len(), 1, "{verdict:#?}");
        for part in parts {
            assert!(verdict[0].contains(part), "{} should name {part}", verdict[0]);
        }
    }
}

/// Driver 1 carries bookings 1 and 2, driver 2 carries booking 3.
fn clean() -> Run {
    let mut run = Run::default();
    run.ride(1, 11, 1, 0, 1000);
    run.ride(2, 12, 1, 1000, 2000);
    run.ride(3, 13, 2, 500, 1500);
    run
}

#[test]
fn a_clean_run_is_acquitted() {
    assert_eq!(clean().verdict(), Vec::<String>::new());
}

#[test]
fn nothing_at_all_is_no_crime() {
    assert_eq!(judge(&[], &AtEnd::default()), vec![]);
}

#[test]
fn a_booking_that_was_acked_and_is_gone_is_lost() {
    let mut run = Run::default();
    let rider = RiderId::from_raw(1);
    run.see(1, What::BookingAcked { booking: booking(1), rider, asked_ms: 0 });
    run.at_end.bookings.insert(booking(1), Read::Missing("404 BOOKING_NOT_FOUND".into()));
    run.is_guilty_of(&["lost", &booking(1).to_string(), &rider.to_string(), "404"]);
}

#[test]
fn a_driver_who_was_registered_and_is_gone_is_lost() {
    let mut run = Run::default();
    run.see(1, What::DriverAcked { driver: driver(4) });
    run.at_end.drivers.insert(driver(4), Read::Missing("404".into()));
    run.is_guilty_of(&["lost", &driver(4).to_string()]);
}

#[test]
fn an_assignment_that_is_gone_from_the_booking_is_lost() {
    let mut run = clean();
    run.keep_booking(3, BookingStatus::Completed, Some((1, 99)));
    run.is_guilty_of(&[
        "lost",
        &booking(3).to_string(),
        &driver(2).to_string(),
        &trip(13).to_string(),
    ]);
}

#[test]
fn an_assignment_whose_trip_belongs_to_another_is_lost() {
    let mut run = clean();
    let path = vec![
        (TripStatus::DriverAssigned, 505),
        (TripStatus::DriverArrived, 520),
        (TripStatus::InProgress, 530),
        (TripStatus::Completed, 1495),
    ];
    run.keep_trip(13, 3, 7, TripStatus::Completed, path);
    run.is_guilty_of(&["lost", &driver(2).to_string(), &driver(7).to_string()]);
}

#[test]
fn a_step_that_was_acked_and_is_missing_is_lost() {
    let whole = [
        (TripStatus::DriverAssigned, 505),
        (TripStatus::DriverArrived, 520),
        (TripStatus::InProgress, 530),
        (TripStatus::Completed, 1495),
    ];
    for (missing, name) in
        [(TripStatus::DriverArrived, "arrive"), (TripStatus::InProgress, "start")]
    {
        let mut run = clean();
        let path = whole.iter().copied().filter(|(to, _)| *to != missing).collect();
        run.keep_trip(13, 3, 2, TripStatus::Completed, path);
        run.is_guilty_of(&["lost", name, &trip(13).to_string()]);
    }
}

#[test]
fn an_end_that_was_acked_and_is_missing_is_lost_and_its_booking_has_not_ended() {
    let mut run = clean();
    let path = vec![
        (TripStatus::DriverAssigned, 505),
        (TripStatus::DriverArrived, 520),
        (TripStatus::InProgress, 530),
    ];
    run.keep_trip(13, 3, 2, TripStatus::InProgress, path);
    run.keep_booking(3, BookingStatus::Assigned, Some((2, 13)));
    let verdict = run.verdict();
    assert!(verdict.iter().any(|v| v.starts_with("lost: end of trip")), "{verdict:#?}");
    assert!(verdict.iter().any(|v| v.starts_with("not ended: booking")), "{verdict:#?}");
}

#[test]
fn a_cancellation_that_was_acked_and_undone_is_lost() {
    let mut run = clean();
    let rider = RiderId::from_raw(9);
    run.see(1, What::BookingAcked { booking: booking(9), rider, asked_ms: 0 });
    run.see(50, What::CancelAsked { booking: booking(9) });
    run.see(60, What::CancelAcked { booking: booking(9) });
    run.keep_booking(9, BookingStatus::RequestExpired, None);
    run.is_guilty_of(&["lost", &booking(9).to_string(), "cancelled", "RequestExpired"]);
}

#[test]
fn two_trips_of_one_driver_at_once_are_named_by_both_kinds_of_evidence() {
    let mut run = clean();
    // Booking 4 is given to driver 1 while trip 11 runs.
    run.ride(4, 14, 1, 400, 900);
    let verdict = run.verdict();
    assert_eq!(verdict.len(), 2, "{verdict:#?}");
    for v in &verdict {
        for id in [driver(1).to_string(), trip(11).to_string(), trip(14).to_string()] {
            assert!(v.contains(&id), "{v} should name {id}");
        }
    }
    for kind in ["told", "records"] {
        assert!(verdict.iter().any(|v| v.contains(kind)), "{verdict:#?}");
    }
}

#[test]
fn two_trips_that_show_in_the_records_alone_are_found() {
    let mut run = clean();
    let path = vec![(TripStatus::DriverAssigned, 600), (TripStatus::Cancelled, 800)];
    run.keep_trip(14, 4, 2, TripStatus::Cancelled, path);
    run.is_guilty_of(&["two trips", "records", &driver(2).to_string(), &trip(14).to_string()]);
}

#[test]
fn a_trip_that_never_ends_overlaps_every_later_one() {
    let mut run = Run::default();
    run.accept(10, 1, 11, 1);
    run.accept(900_000, 2, 12, 1);
    let spans = judge(&run.seen, &AtEnd::default());
    let two = spans.iter().filter(|v| matches!(v, Violation::TwoTrips { .. })).count();
    assert_eq!(two, 1, "{spans:#?}");
}

#[test]
fn an_end_whose_answer_was_slow_is_no_overlap() {
    let mut run = Run::default();
    run.ride(1, 11, 1, 0, 1000);
    // The end of trip 11 was asked at 990 and answered, after retries, at 6000; the cluster had
    // freed the driver at once and he said yes to the next offer in between.
    run.seen.retain(|seen| seen.at_ms != 1000);
    let (trip_11, driver_1) = (trip(11), driver(1));
    run.see(6000, What::StepAcked { trip: trip_11, driver: driver_1, step: Step::End });
    run.ride(2, 12, 1, 1000, 9000);
    assert_eq!(run.verdict(), Vec::<String>::new());
}

#[test]
fn stamps_of_two_partitions_may_cross_by_a_moment() {
    let mut run = clean();
    let path = vec![
        (TripStatus::DriverAssigned, 995 - STAMP_SLACK_MS),
        (TripStatus::DriverArrived, 1020),
        (TripStatus::InProgress, 1030),
        (TripStatus::Completed, 1995),
    ];
    run.keep_trip(12, 2, 1, TripStatus::Completed, path);
    assert_eq!(run.verdict(), Vec::<String>::new());
}

#[test]
fn a_booking_with_two_drivers_is_named() {
    let mut run = clean();
    run.accept(600, 3, 15, 5);
    let path = vec![(TripStatus::DriverAssigned, 600), (TripStatus::Completed, 700)];
    run.keep_trip(15, 3, 5, TripStatus::Completed, path);
    let verdict = run.verdict();
    let two: Vec<_> = verdict.iter().filter(|v| v.starts_with("two drivers")).collect();
    assert_eq!(two.len(), 2, "{verdict:#?}");
    for v in two {
        for id in [booking(3).to_string(), driver(2).to_string(), driver(5).to_string()] {
            assert!(v.contains(&id), "{v} should name {id}");
        }
    }
}

#[test]
fn a_booking_given_on_after_its_trip_was_called_off_has_one_driver() {
    let mut run = Run::default();
    run.ride(1, 11, 1, 1000, 2000);
    run.accept(500, 1, 10, 2);
    let path = vec![(TripStatus::DriverAssigned, 500), (TripStatus::Cancelled, 900)];
    run.keep_trip(10, 1, 2, TripStatus::Cancelled, path);
    assert_eq!(run.verdict(), Vec::<String>::new());
}

/// Driver 2 comes for booking 1 until it changes to driver 1, who is shown it at 900; he goes on to
/// booking 2 then. His own yes is answered at `told_ms`.
fn reassigned(told_ms: u64, until_ms: u64) -> Run {
    let mut run = Run::default();
    run.accept(told_ms, 1, 10, 2);
    let offer = OfferId::mint(Slot(1), WallMs(1), 11);
    run.see(900, What::OfferSeen { offer, booking: booking(1), driver: driver(1) });
    run.ride(1, 11, 1, 1000, 2000);
    run.ride(2, 12, 2, 1010, 3000);
    let path = vec![(TripStatus::DriverAssigned, 505), (TripStatus::Cancelled, until_ms)];
    let (booking, driver, status) = (booking(1), driver(2), TripStatus::Cancelled);
    let record = TripAtEnd { booking, driver, status, path, reassigned: true };
    run.at_end.trips.insert(trip(10), Read::Is(record));
    run
}

#[test]
fn a_booking_may_leave_its_driver_in_the_moment_in_which_it_has_a_better_one() {
    assert_eq!(reassigned(500, 1005).verdict(), Vec::<String>::new());
    reassigned(500, 1004).is_guilty_of(&["left alone", &trip(10).to_string()]);
    let mut arrived = reassigned(500, 1005);
    if let Some(Read::Is(record)) = arrived.at_end.trips.get_mut(&trip(10)) {
        record.path.insert(1, (TripStatus::DriverArrived, 600));
    }
    arrived.is_guilty_of(&["left alone", &booking(1).to_string()]);
}

#[test]
fn a_driver_whose_yes_is_answered_after_another_was_asked_may_be_on_his_next_trip() {
    let mut run = reassigned(1200, 1005);
    let offer = OfferId::mint(Slot(1), WallMs(1), 10);
    run.see(490, What::OfferSeen { offer, booking: booking(1), driver: driver(2) });
    assert_eq!(run.verdict(), Vec::<String>::new());
}

#[test]
fn a_driver_who_was_not_left_has_two_trips_all_the_same() {
    let mut run = reassigned(500, 1005);
    if let Some(Read::Is(record)) = run.at_end.trips.get_mut(&trip(10)) {
        record.reassigned = false;
    }
    run.is_guilty_of(&["two trips", &driver(2).to_string(), "told"]);
}

#[test]
fn a_booking_that_still_waits_has_not_ended() {
    for status in [BookingStatus::Pending, BookingStatus::Assigned] {
        let mut run = Run::default();
        run.keep_booking(1, status, None);
        run.is_guilty_of(&["not ended", &booking(1).to_string()]);
    }
}

#[test]
fn a_rider_who_got_no_answer_is_named() {
    let mut run = clean();
    run.see(7, What::BookingUnsettled { rider: RiderId::from_raw(77) });
    run.is_guilty_of(&["never answered", &RiderId::from_raw(77).to_string()]);
}

#[test]
fn a_driver_committed_to_a_trip_that_is_over_was_left_behind() {
    let mut run = clean();
    run.keep_driver(2, Some(13));
    run.is_guilty_of(&["left behind", &driver(2).to_string(), &trip(13).to_string()]);
}

#[test]
fn a_driver_bound_to_a_booking_that_is_over_was_left_behind() {
    let mut run = clean();
    let bound = |b| Read::Is(DriverAtEnd { trip: None, booking: None, next: Some(booking(b)) });
    run.at_end.drivers.insert(driver(2), bound(1));
    run.is_guilty_of(&["left bound", &driver(2).to_string(), &booking(1).to_string()]);
}

#[test]
fn a_booking_that_is_promised_a_driver_at_the_end_has_not_ended() {
    let mut run = clean();
    run.keep_booking(4, BookingStatus::Promised, None);
    run.is_guilty_of(&["not ended", &booking(4).to_string(), "Promised"]);
}

#[test]
fn a_booking_may_wait_for_a_driver_in_vain_once_and_what_is_shown_goes_on_from_there() {
    let shown = |status, lapses| {
        let booking_at_end = BookingAtEnd { status, driver: None, trip: None, changes: 0, lapses };
        Shown::booking(0, booking(1), &booking_at_end).step
    };
    let steps = [
        shown(BookingStatus::Pending, 0),
        shown(BookingStatus::Promised, 0),
        shown(BookingStatus::Pending, 1),
        shown(BookingStatus::Assigned, 1),
        shown(BookingStatus::Completed, 1),
    ];
    assert!(steps.is_sorted_by(|before, after| before < after), "{steps:?}");
    assert_eq!(shown(BookingStatus::Assigned, 0), shown(BookingStatus::Assigned, 1));
}

#[test]
fn a_record_that_nobody_shows_is_no_acquittal() {
    let mut run = clean();
    run.at_end.trips.insert(trip(13), Read::NoAnswer);
    run.is_guilty_of(&["unreadable", &trip(13).to_string()]);
    let mut run = clean();
    run.at_end.bookings.remove(&booking(3));
    run.is_guilty_of(&["unreadable", &booking(3).to_string()]);
}
