//! A driver's days, told by whatever answers and pushes come, to phones that come and go.

use super::*;
use crate::follow::samples::{self, booking};
use proto::record::{Actor, TripState};
use proto::{Slot, WallMs};

/// What a phone was told, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Offer(u64),
    Ended(u64, Why),
    Next(u64),
    Step(u64, u32),
}

/// How a job goes on for him.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// He lets it pass, says no, is too late, or its rider calls off.
    Ended(OfferEnd, Why),
    /// He takes it and does not get it.
    Refused(Why),
    /// He takes it, and it has so many steps.
    Ridden(u32),
    /// He takes it, and its booking changes to a better driver.
    Left,
}

/// What happens, in order, in both logs.
#[derive(Debug, Clone)]
enum Moment {
    Log(What),
    /// Job `n` has so many steps.
    Steps(u64, u32),
    /// Job `n` is settled for its booking.
    Settled(u64, Why),
    /// The booking of job `n` has a better driver.
    Left(u64),
}

const fn driver() -> DriverId {
    DriverId::from_raw(9)
}

fn offer_id(n: u64) -> OfferId {
    OfferId::mint(Slot(7), WallMs(n), n)
}

fn booking_id(n: u64) -> BookingId {
    BookingId::mint(Slot(7), WallMs(n), n)
}

fn offer(n: u64) -> Offer {
    let Booking { pickup, destination, .. } = booking(BookingState::Open);
    Offer {
        id: offer_id(n),
        booking: booking_id(n),
        driver: driver(),
        attempt: 1,
        rank: 1,
        distance_m: 10,
        eta_s: 4,
        cost_ms: 5,
        pickup: pickup.point,
        destination: destination.point,
        created_at: WallMs(n),
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}

fn number(offer: OfferId) -> u64 {
    offer.minted_at().0
}

/// The moments of job `n`.
fn moments(n: u64, fate: Fate) -> Vec<Moment> {
    let put = What::OfferPut { offer: Box::new(offer(n)) };
    let (held, taken) = (What::Standing(DriverStatus::Held), What::Standing(DriverStatus::Taken));
    let ended = |how| Moment::Log(What::OfferEnded { offer: offer_id(n), how });
    let mut all = vec![Moment::Log(put), Moment::Log(held)];
    match fate {
        Fate::Ended(how, why) => all.extend([Moment::Settled(n, why), ended(how)]),
        Fate::Refused(why) => {
            all.extend([Moment::Log(taken), Moment::Settled(n, why), ended(OfferEnd::Taken)]);
        }
        Fate::Ridden(steps) => {
            all.push(Moment::Log(taken));
            all.extend((1..=steps).map(|step| Moment::Steps(n, step)));
            all.push(ended(OfferEnd::Done));
        }
        Fate::Left => {
            let left = [Moment::Log(taken), Moment::Steps(n, 1), Moment::Left(n)];
            all.extend(left.into_iter().chain([ended(OfferEnd::Done)]));
        }
    }
    all.push(Moment::Log(What::Standing(DriverStatus::Free)));
    all
}

/// What a phone is told of a job, beside the offer.
fn expected(n: u64, fate: Fate) -> Vec<Seen> {
    match fate {
        Fate::Ended(_, why) | Fate::Refused(why) => vec![Seen::Ended(n, why)],
        Fate::Ridden(steps) => (1..=steps).map(|step| Seen::Step(n, step)).collect(),
        Fate::Left => vec![Seen::Step(n, 1), Seen::Step(n, 2)],
    }
}

/// An offer that has ended when it could be told is not shown. The others are shown once, before what
/// came of them, and in their order; a push may be ahead of ends that are still read up.
fn check_offers(seen: &[Seen], what: &str) {
    for (at, offer) in seen.iter().enumerate() {
        let Seen::Offer(n) = offer else { continue };
        assert!(!seen[at + 1..].contains(offer), "twice, {what}");
        let job = |seen: &Seen| match seen {
            Seen::Offer(n) | Seen::Ended(n, _) | Seen::Next(n) | Seen::Step(n, _) => *n,
        };
        assert!(seen[..at].iter().all(|seen| job(seen) < *n), "late, {what}");
    }
}

/// The cluster, as far as he sees it.
struct World {
    happened: Vec<Moment>,
    steps: u32,
}

impl World {
    fn log(&self, after: u64) -> Vec<Happened> {
        let at = (1_u64..).zip(&self.happened).filter(|(index, _)| *index > after);
        let logged = at.filter_map(|(index, moment)| match moment {
            Moment::Log(what) => Some((index, what)),
            Moment::Steps(..) | Moment::Settled(..) | Moment::Left(_) => None,
        });
        let happened = |(index, what): (u64, &What)| Happened {
            mark: Mark { index, n: 0 },
            at: WallMs(1),
            what: what.clone(),
        };
        logged.map(happened).collect()
    }

    /// Job `n` as its booking's partition has it.
    fn ride(&self, n: u64) -> (Booking, Option<Trip>) {
        let mut ride = Booking { id: booking_id(n), ..booking(BookingState::Offering) };
        let (mut state, mut steps, mut better) = (OfferState::Pending, 0, false);
        for moment in &self.happened {
            match moment {
                Moment::Steps(of, so_far) if *of == n => {
                    (state, steps) = (OfferState::Accepted, *so_far);
                }
                Moment::Settled(of, why) if *of == n => {
                    state = match why {
                        Why::Filled | Why::Cancelled => OfferState::Cancelled,
                        Why::Expired => OfferState::Expired,
                        Why::Declined => OfferState::Declined,
                        Why::Withdrawn => OfferState::Lapsed { waited_ms: 1 },
                    };
                    if *why == Why::Filled {
                        ride.offers.push((offer(1_000_000), OfferState::Accepted));
                    }
                }
                Moment::Left(of) if *of == n => {
                    state = OfferState::Reassigned { trip: trip(n, 2, true).id };
                    ride.offers.push((offer(1_000_000), OfferState::Accepted));
                    steps = 0;
                    better = true;
                }
                Moment::Log(_) | Moment::Steps(..) | Moment::Settled(..) | Moment::Left(_) => {}
            }
        }
        ride.offers.push((offer(n), state));
        let trip = match better {
            true => Some(Trip { driver: DriverId::from_raw(10), ..trip(1_000_000, 1, false) }),
            false => (steps > 0).then(|| trip(n, steps, steps == self.steps)),
        };
        ride.trip = trip.as_ref().map(|trip| trip.id);
        (ride, trip)
    }

    /// His record.
    fn record(&self) -> Driver {
        let mut record = samples::driver(driver());
        for moment in &self.happened {
            match moment {
                Moment::Log(What::OfferPut { offer }) => {
                    record.current = Some(Commitment::Held { offer: (**offer).clone() });
                }
                Moment::Log(What::Standing(DriverStatus::Taken)) => {
                    let offer = record.current.take().unwrap().offer().clone();
                    record.current =
                        Some(Commitment::Taken { offer, accept_key: None, trip: None });
                }
                Moment::Log(What::OfferEnded { offer, how }) => {
                    record.current = None;
                    record.outcomes.push_back((*offer, *how));
                }
                Moment::Log(_) | Moment::Steps(..) | Moment::Settled(..) | Moment::Left(_) => {}
            }
        }
        record
    }

    fn answer(&self, question: &Following, at_most: usize) -> Followed {
        let upto = Mark { index: self.happened.len() as u64, n: u32::MAX };
        let afresh = question.after.is_none();
        let (events, more) = (Vec::new(), false);
        match question.of {
            Followee::Driver(_) => {
                let now = afresh.then(|| Now::Driver(Box::new(self.record())));
                let Some(after) = question.after else {
                    return Followed { upto, afresh, more, events, now };
                };
                let mut events = self.log(after.index);
                let more = !events.is_empty();
                events.truncate(at_most);
                let upto = events.last().map_or(after, |last| last.mark);
                Followed { upto, afresh, more, events, now }
            }
            Followee::Booking { booking, .. } => {
                let ride = self.ride(booking.minted_at().0);
                let now = Some(Now::Booking(Box::new(ride)));
                Followed { upto, afresh, more, events, now }
            }
            Followee::Former { booking, .. } => {
                let n = booking.minted_at().0;
                let ride = (self.ride(n).0, Some(trip(n, 2, true)));
                let now = Some(Now::Booking(Box::new(ride)));
                Followed { upto, afresh, more, events, now }
            }
        }
    }
}

fn trip(n: u64, steps: u32, over: bool) -> Trip {
    let mut trip = samples::trip(&offer(n));
    let step = |sequence| Transition {
        sequence,
        from: None,
        to: TripState::InProgress,
        by: Actor::Driver,
        reason: String::new(),
        at: WallMs(1),
    };
    trip.transitions = (1..=steps).map(step).collect();
    trip.state = if over { TripState::Completed } else { TripState::InProgress };
    trip
}

/// A small source of chance.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A phone and the stream that it has open now.
struct Phone {
    shift: Shift,
    cursor: Option<Place>,
    seen: Vec<Seen>,
    greeted: bool,
    /// What has been asked and not answered: answers come late, and twice.
    asked: Vec<(Following, Followed)>,
}

impl Phone {
    fn new(cursor: Option<Place>) -> Self {
        let (shift, seen) = (Shift::new(driver(), cursor), Vec::new());
        Self { shift, cursor, seen, greeted: false, asked: Vec::new() }
    }

    /// Comes back, to another node.
    fn dial(&mut self, driver: DriverId) {
        (self.shift, self.greeted) = (Shift::new(driver, self.cursor), false);
    }

    fn hear(&mut self, told: Vec<Told>) {
        for Told { news, place } in told {
            self.cursor = place.or(self.cursor);
            let greeting = matches!(news, News::Hello { .. });
            assert_eq!(greeting, !std::mem::replace(&mut self.greeted, true), "{news:?}");
            match news {
                News::Offer(offer) => self.seen.push(Seen::Offer(number(offer.id))),
                News::OfferEnded { offer, why, .. } => {
                    self.seen.push(Seen::Ended(number(offer), why));
                }
                News::Trip { trip, step, .. } => {
                    self.seen.push(Seen::Step(trip.minted_at().0, step.sequence));
                }
                News::Next { offer, .. } => self.seen.push(Seen::Next(number(offer.id))),
                News::Hello { .. } | News::Still => {}
            }
        }
    }

    fn ask(&mut self, world: &World, at_most: usize) {
        for question in self.shift.questions() {
            self.asked.push((question, world.answer(&question, at_most)));
        }
    }

    fn answer(&mut self, which: usize, again: bool) {
        let (question, answer) = self.asked[which].clone();
        if !again {
            self.asked.remove(which);
        }
        let (told, _) = self.shift.hear(&question, answer);
        self.hear(told);
    }

    /// Asks and answers until nothing is new.
    fn catch_up(&mut self, world: &World) {
        self.asked.clear();
        for _ in 0..400 {
            for question in self.shift.questions() {
                let (told, _) = self.shift.hear(&question, world.answer(&question, 64));
                self.hear(told);
            }
        }
    }
}

const STEPS: u32 = 5;

#[test]
fn a_phone_that_moves_from_node_to_node_is_told_everything_once_and_in_order() {
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let fates: Vec<Fate> = (0..6)
            .map(|_| match dice.below(7) {
                0 => Fate::Ended(OfferEnd::Expired, Why::Expired),
                1 => Fate::Ended(OfferEnd::Declined, Why::Declined),
                2 => Fate::Ended(OfferEnd::Taken, Why::Filled),
                3 => Fate::Ended(OfferEnd::Taken, Why::Cancelled),
                4 => Fate::Refused(Why::Filled),
                5 => Fate::Left,
                _ => Fate::Ridden(STEPS),
            })
            .collect();
        let mut to_come: VecDeque<Moment> =
            (1..).zip(&fates).flat_map(|(n, fate)| moments(n, *fate)).collect();
        let mut world = World { happened: Vec::new(), steps: STEPS };
        let mut phone = Phone::new(None);
        let mut pushes = Vec::new();
        phone.catch_up(&world);
        while !to_come.is_empty() {
            match dice.below(9) {
                0..=2 => world.happened.extend(to_come.pop_front()),
                3 | 4 => phone.ask(&world, 1 + dice.below(6)),
                5 | 6 if !phone.asked.is_empty() => {
                    let which = dice.below(phone.asked.len());
                    phone.answer(which, dice.below(4) == 0);
                }
                7 if dice.below(2) == 0 => {
                    // A push says what the record said when it left, which may be long ago.
                    let current = world.record().current;
                    pushes.extend(current.map(|current| current.offer().clone()));
                }
                7 if !pushes.is_empty() => {
                    let late = pushes.swap_remove(dice.below(pushes.len()));
                    let told = phone.shift.pushed(Push::Offer(late));
                    phone.hear(told);
                }
                8 if dice.below(3) == 0 => {
                    // What was on its way went to the old node.
                    phone.asked.clear();
                    pushes.clear();
                    phone.dial(driver());
                }
                _ => {}
            }
        }
        phone.catch_up(&world);
        let story = (1..).zip(&fates).flat_map(|(n, fate)| expected(n, *fate));
        let told = phone.seen.iter().copied().filter(|seen| !matches!(seen, Seen::Offer(_)));
        assert_eq!(told.collect::<Vec<_>>(), story.collect::<Vec<_>>(), "seed {seed}");
        check_offers(&phone.seen, &format!("seed {seed}: {:?}", phone.seen));
    }
}

/// A phone that has begun, with nothing before it.
fn begun(world: &World) -> Phone {
    let mut phone = Phone::new(None);
    phone.catch_up(world);
    phone
}

fn world(happened: Vec<Moment>) -> World {
    World { happened, steps: STEPS }
}

#[test]
fn a_pushed_offer_is_shown_at_once_and_never_again() {
    let mut world = world(Vec::new());
    let mut phone = begun(&world);
    world.happened = moments(1, Fate::Ridden(STEPS))[..2].to_vec();
    let told = phone.shift.pushed(Push::Offer(offer(1)));
    phone.hear(told);
    assert_eq!(phone.seen, [Seen::Offer(1)]);
    // Its node dies before the log was read: the next one knows from the cursor.
    phone.dial(driver());
    phone.catch_up(&world);
    let told = phone.shift.pushed(Push::Offer(offer(1)));
    phone.hear(told);
    assert_eq!(phone.seen, [Seen::Offer(1)]);
}

#[test]
fn an_offer_whose_end_was_pushed_is_not_shown_by_an_answer_from_before() {
    let mut world = world(Vec::new());
    let mut phone = begun(&world);
    world.happened = moments(1, Fate::Ended(OfferEnd::Taken, Why::Cancelled))[..2].to_vec();
    phone.ask(&world, 64);
    let told = phone.shift.pushed(Push::OfferEnded { offer: offer_id(1), how: OfferEnd::Taken });
    phone.hear(told);
    phone.answer(0, false);
    assert_eq!(phone.seen, [], "its rider was told that nobody comes");
    world.happened = moments(1, Fate::Ended(OfferEnd::Taken, Why::Cancelled));
    phone.catch_up(&world);
    assert_eq!(phone.seen, [Seen::Ended(1, Why::Cancelled)]);
}

#[test]
fn an_offer_of_a_next_ride_leaves_the_trip_as_it_is_and_is_shown_unless_it_has_ended() {
    let mut world = world(Vec::new());
    let mut phone = begun(&world);
    let put = |n| Moment::Log(What::NextPut { offer: Box::new(offer(n)) });
    let ended =
        |n, how| Moment::Log(What::NextEnded { offer: offer_id(n), booking: booking_id(n), how });
    world.happened = vec![put(1), ended(1, OfferEnd::Expired), put(2)];
    phone.catch_up(&world);
    assert_eq!(phone.seen, [Seen::Ended(1, Why::Expired), Seen::Next(2)]);
    assert_eq!(phone.cursor.and_then(|place| place.job), None);
    world.happened.push(ended(2, OfferEnd::Taken));
    phone.catch_up(&world);
    assert_eq!(phone.seen[2..], [Seen::Ended(2, Why::Withdrawn)]);
}

#[test]
fn who_begins_afresh_on_a_trip_is_told_where_it_stands_and_then_the_rest() {
    let ride = moments(1, Fate::Ridden(STEPS));
    let mut world = world(ride[..6].to_vec());
    let mut phone = begun(&world);
    assert_eq!(phone.seen, [Seen::Step(1, 3)]);
    world.happened = ride;
    phone.catch_up(&world);
    assert_eq!(phone.seen, [Seen::Step(1, 3), Seen::Step(1, 4), Seen::Step(1, 5)]);
    assert_eq!(phone.shift.job(), None, "he is free");
}

#[test]
fn a_cursor_that_names_anothers_booking_tells_nothing_of_it() {
    let mut world = world(moments(1, Fate::Ridden(STEPS)));
    world.happened.truncate(6);
    let eve = DriverId::from_raw(10);
    let (offer, booking) = (offer_id(1), booking_id(1));
    let place = Place {
        mark: Mark { index: 6, n: 0 },
        job: Some(Job { offer, booking, told: Some(0) }),
        ahead: None,
    };
    let mut phone = Phone::new(Some(place));
    phone.dial(eve);
    phone.catch_up(&world);
    assert_eq!(phone.seen, []);
}
