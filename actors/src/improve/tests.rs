use super::*;
use crate::dispatch::Ranked;
use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::cell::Candidate;
use proto::record::command::OfferFate;
use proto::record::driver::DriverStatus;
use proto::{BookingId, DriverId, MonoMs, OfferId, Point, Slot, WallMs};

fn prospect(driver: u64, eta_ms: u64, free_in_ms: u64) -> Prospect {
    let (at, status) = (WallMs(0), DriverStatus::Free);
    let (driver, point) = (DriverId::from_raw(driver), Point::from_e7(0, 0).unwrap());
    let (distance_m, version, spare, idle_since) = (0, 1, 0, at);
    let candidate = Candidate { driver, point, at, distance_m, status, version, spare, idle_since };
    Prospect { free_in_ms, ..Prospect::free(candidate, eta_ms, at) }
}

fn twice() -> Policy {
    Policy { reassign_max: 2, ..Policy::default() }
}

#[test]
fn a_change_must_gain_enough_and_only_the_free_count() {
    let near = [prospect(1, 75_001, 0), prospect(2, 10_000, 5_000), prospect(3, 75_000, 0)];
    let chosen = |policy: &Policy, left_ms, changes| {
        better(policy, (left_ms, changes), &near).map(|it| it.candidate.driver.to_raw())
    };
    assert_eq!(chosen(&twice(), 120_000, 0), Some(3));
    assert_eq!(chosen(&twice(), 119_999, 0), None);
    assert_eq!(chosen(&twice(), 120_000, 2), None, "two changes are enough");
    assert_eq!(chosen(&Policy::default(), 120_000, 0), None, "it is off");
}

#[test]
fn a_driver_who_is_nearly_there_keeps_his_rider() {
    let policy = Policy { reassign_gain_ms: 1, ..twice() };
    let next_door = [prospect(1, 0, 0)];
    assert_eq!(better(&policy, (20_000, 0), &next_door), None);
    assert_eq!(look_in_ms(&policy, 20_001, 1), Some(5_000));
    assert_eq!(look_in_ms(&policy, 20_000, 1), None);
}

fn offer(driver: u64) -> Offer {
    let (slot, at, point) = (Slot(1), WallMs(1), Point::from_e7(0, 0).unwrap());
    Offer {
        id: OfferId::mint(slot, at, driver),
        booking: BookingId::mint(slot, at, 1),
        driver: DriverId::from_raw(driver),
        attempt: 2,
        rank: 1,
        distance_m: 0,
        eta_s: 10,
        cost_ms: 10_000,
        pickup: point,
        destination: point,
        created_at: at,
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}

fn seen(left_ms: u64, near: Vec<Prospect>) -> Event {
    Event::Looked(Some(Seen { left_ms, within_ms: u64::MAX, near }))
}

/// A watch and its clock.
struct Run {
    watch: Watch,
    now: MonoMs,
}

impl Run {
    fn begin(start: Start) -> (Self, Vec<Effect>) {
        let (now, mut out) = (MonoMs(0), Vec::new());
        (Self { watch: Watch::begin(now, twice(), start, &mut out), now }, out)
    }

    fn after(&mut self, ms: u64, event: Event) -> Vec<Effect> {
        self.now = self.now.plus_ms(ms);
        let mut out = Vec::new();
        self.watch.step(self.now, event, &mut out);
        out
    }

    /// As far as the offer to a driver whom it looked at after a rest.
    fn asks(&mut self, driver: u64) -> Vec<Effect> {
        let id = DriverId::from_raw(driver);
        assert_eq!(self.after(30_000, Event::Tick), [Effect::Look { yields: false }]);
        let seen = seen(200_000, vec![prospect(driver, 10_000, 0)]);
        let claim = self.after(10, seen);
        assert!(matches!(claim[..], [Effect::Claim(Ranked { driver, .. })] if driver == id));
        let start = self.after(10, Event::Claimed(id, Some(ClaimAnswer::Granted)));
        assert!(matches!(start[..], [Effect::Start(_, 1)]), "{start:?}");
        self.after(10, Event::Started(id, Some(offer(driver))))
    }
}

#[test]
fn it_looks_claims_offers_and_waits_for_one_answer_at_a_time() {
    let (mut run, out) = Run::begin(Start::default());
    assert_eq!(out, [Effect::WakeAt(MonoMs(30_000))], "the one it has, it has for a while");
    assert_eq!(run.after(29_999, Event::Tick), []);
    run.now = MonoMs(0);
    let asked = run.asks(3);
    assert!(matches!(asked[..], [Effect::Hold(_), Effect::WakeAt(_)]), "{asked:?}");
    assert_eq!(run.after(5_000, Event::Tick), [], "nobody else is asked meanwhile");
    let id = offer(3).id;
    let ended = run.after(1, Event::News(id, OfferNews::Declined));
    let again = run.now.plus_ms(5_000);
    assert_eq!(ended, [Effect::EndOffer(id, OfferFate::Declined), Effect::WakeAt(again)]);
    assert_eq!(run.after(5_000, Event::Tick), [Effect::Look { yields: false }]);
    let seen = seen(200_000, vec![prospect(3, 10_000, 0)]);
    let out = run.after(1, seen);
    assert!(matches!(out[..], [Effect::WakeAt(_)]), "he was asked before: {out:?}");
}

#[test]
fn an_offer_that_nobody_answers_ends_and_frees_nobody() {
    for answer in [None, Some(HoldAnswer::Busy), Some(HoldAnswer::Held)] {
        let (mut run, _) = Run::begin(Start::default());
        run.asks(3);
        let mut out = run.after(5, Event::Held(offer(3).id, answer));
        if answer == Some(HoldAnswer::Held) {
            out = run.after(17_000, Event::Tick);
        }
        assert!(matches!(out[..], [Effect::EndOffer(..), Effect::WakeAt(_)]), "{out:?}");
    }
}

#[test]
fn only_a_booking_that_keeps_its_driver_frees_who_was_asked() {
    let (mut run, _) = Run::begin(Start::default());
    run.asks(3);
    let Offer { id, driver, .. } = offer(3);
    assert_eq!(run.after(1, Event::Kept), [Effect::Release(driver, id), Effect::Finish]);
    assert_eq!(run.after(1, Event::Tick), []);
}

#[test]
fn what_was_out_when_the_last_shell_died_is_put_before_its_driver_again() {
    let start = Start { changes: 2, pending: Some(offer(3)), ..Start::default() };
    let (_, out) = Run::begin(start);
    assert!(matches!(out[..], [Effect::Hold(_), Effect::WakeAt(_)]), "{out:?}");
    let (_, out) = Run::begin(Start { changes: 2, ..Start::default() });
    assert_eq!(out, [Effect::Finish], "it has changed often enough");
}

#[test]
fn a_driver_who_is_nearly_there_ends_the_watch_and_one_unseen_does_not() {
    let (mut run, _) = Run::begin(Start::default());
    run.after(30_000, Event::Tick);
    assert!(matches!(run.after(1, Event::Looked(None))[..], [Effect::WakeAt(_)]));
    run.after(5_000, Event::Tick);
    assert_eq!(run.after(1, seen(20_000, Vec::new())), [Effect::Finish]);
}

fn yielding() -> Policy {
    Policy { yield_ms: 60_000, ..Policy::default() }
}

#[test]
fn a_driver_is_yielded_if_another_comes_not_much_later_and_in_time() {
    let near = [prospect(1, 180_000, 0), prospect(2, 170_000, 0), prospect(3, 10_000, 5_000)];
    let chosen = |policy: &Policy, left_ms, within_ms, changes| {
        let other = instead(policy, (left_ms, within_ms, changes), &near);
        other.map(|it| it.candidate.driver.to_raw())
    };
    assert_eq!(chosen(&yielding(), 110_000, u64::MAX, 0), Some(2));
    assert_eq!(chosen(&yielding(), 109_999, u64::MAX, 0), None, "more than a minute later");
    assert_eq!(chosen(&yielding(), 150_000, 169_999, 0), None, "later than the rider waits");
    assert_eq!(chosen(&yielding(), 110_000, u64::MAX, 1), None, "once for others is enough");
    assert_eq!(chosen(&twice(), 200_000, u64::MAX, 0), Some(2), "no later than his own");
    assert_eq!(chosen(&Policy::default(), 200_000, u64::MAX, 0), None, "it is off");
    let next_door = [prospect(1, 1, 0)];
    let left = (20_000, u64::MAX, 0);
    assert_eq!(instead(&yielding(), left, &next_door), None, "he is nearly there");
}

#[test]
fn what_a_yield_costs_is_how_much_later_and_a_part_of_the_way() {
    let loss = |left_ms, instead_ms, way_ms| loss_ms(&yielding(), left_ms, instead_ms, way_ms);
    assert_eq!(loss(100_000, 160_000, 40_000), Some(70_000));
    assert_eq!(loss(100_000, 160_001, 0), None);
    assert_eq!(loss(100_000, 90_000, 200_000), Some(50_000));
    assert_eq!(loss(20_000, 20_000, 0), None, "he is nearly there");
}

#[test]
fn a_booking_that_is_asked_to_yield_looks_once() {
    let (now, mut out) = (MonoMs(0), Vec::new());
    let start = Start { yields: true, ..Start::default() };
    let mut watch = Watch::begin(now, yielding(), start, &mut out);
    assert_eq!(out, [Effect::Look { yields: true }]);
    out.clear();
    watch.step(now, seen(200_000, vec![prospect(7, 250_000, 0)]), &mut out);
    assert!(matches!(out[..], [Effect::Claim(Ranked { eta_s: 250, .. })]), "{out:?}");
    out.clear();
    watch.step(now, Event::Claimed(DriverId::from_raw(7), Some(ClaimAnswer::Lost(None))), &mut out);
    assert_eq!(out, [Effect::Finish], "whoever is stranded asks again");

    // One that looks for a better driver anyway looks at once, and goes on when nobody comes in time.
    let (mut run, _) = Run::begin(Start::default());
    assert_eq!(run.after(1, Event::Yield), [Effect::Look { yields: true }]);
    assert_eq!(run.after(1, Event::Yield), [], "it looks already");
    let out = run.after(1, seen(200_000, vec![prospect(7, 200_001, 0)]));
    assert!(matches!(out[..], [Effect::WakeAt(_)]), "{out:?}");
}
