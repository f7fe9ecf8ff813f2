//! The register and the watch together, against a plain list that knows everything; and whose turn it
//! is, case by case.

use super::watch::{NAMED_MS, PATIENCE_MS, Pick, Rules, Sight, Wanted, Watch, Word};
use super::*;
use crate::machine::{Machine, system};
use proptest::prelude::*;
use proto::codec;
use proto::machine::{Level, StateMachine};
use proto::record::Key;
use proto::record::VehicleType;
use proto::record::booking::Need;
use proto::record::command::Command;
use proto::record::driver::{Capabilities, DriverStatus, Standing};
use proto::{BookingId, DriverId, MonoMs, Point, Slot, ZoneId};
use std::collections::BTreeSet;

const ZONE: ZoneId = ZoneId::from_raw(7);
const LOOK_MS: u64 = 500;
const RULES: Rules = Rules { grace_ms: 3_000, refusals: 2, fresh_ms: 1_000 };
const FLEET: usize = 6;

fn driver(n: usize) -> DriverId {
    // The order of ids is another than that of numbers.
    DriverId::from_raw(u64::MAX / (n as u64 + 1))
}

fn anywhere() -> Point {
    Point::from_e7(1, 2).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Inside,
    Outside,
    Unseen,
}

/// A driver as he really is.
#[derive(Debug, Clone, Copy)]
struct Car {
    place: Whereabouts,
    at: WallMs,
    status: DriverStatus,
    refused: u32,
    version: u64,
    /// His record changed since the last look.
    changed: bool,
}

impl Car {
    fn word(self, n: usize) -> Word {
        let rides = self.status == DriverStatus::Taken;
        Word { standing: standing(n, self.status, self.version), refused: self.refused, rides }
    }
}

fn standing(n: usize, status: DriverStatus, version: u64) -> Standing {
    let kind = if n.is_multiple_of(2) { VehicleType::Sedan } else { VehicleType::Suv };
    let seats_free = if status == DriverStatus::Taken { 0 } else { 4 };
    let (driver, capabilities, accepts_pct) = (driver(n), Capabilities(0), 100);
    let idle_since = WallMs(0);
    let ends = None;
    Standing {
        driver,
        status,
        kind,
        capabilities,
        seats_free,
        version,
        accepts_pct,
        idle_since,
        ends,
    }
}

/// What happens in the world, between two looks.
#[derive(Debug, Clone, Copy)]
enum Event {
    Moves(usize, Whereabouts),
    Stands(usize, DriverStatus),
    Refuses(usize),
    Waits(u64),
    /// The keeper dies; the next one knows the register.
    Kill,
}

fn event() -> impl Strategy<Value = Event> {
    use Whereabouts::{Inside, Outside, Unseen};
    let places = prop::sample::select(vec![Inside, Inside, Inside, Outside, Unseen]);
    let stands = prop::sample::select(vec![
        DriverStatus::Free,
        DriverStatus::Free,
        DriverStatus::Held,
        DriverStatus::Taken,
        DriverStatus::Offline,
    ]);
    prop_oneof![
        8 => (0..FLEET, places).prop_map(|(n, place)| Event::Moves(n, place)),
        3 => (0..FLEET, stands).prop_map(|(n, status)| Event::Stands(n, status)),
        4 => (0..FLEET).prop_map(Event::Refuses),
        3 => (1u64..9).prop_map(Event::Waits),
        1 => Just(Event::Kill),
    ]
}

/// A place in the plain list.
#[derive(Debug, Clone, Copy)]
struct Plain {
    n: usize,
    inside_at: u64,
    refused: u32,
}

struct World {
    cars: [Car; FLEET],
    now: u64,
    queue: Queue,
    watch: Watch,
    plain: Vec<Plain>,
}

impl World {
    fn new() -> Self {
        let car = Car {
            place: Whereabouts::Unseen,
            at: WallMs(0),
            status: DriverStatus::Free,
            refused: 5,
            version: 1,
            changed: false,
        };
        let (queue, watch) = (Queue::empty(ZONE), Watch::default());
        Self { cars: [car; FLEET], now: 0, queue, watch, plain: Vec::new() }
    }

    fn happens(&mut self, number: u64, event: Event) {
        match event {
            // Of somebody unseen the record is read only now and then, so what it says is seen first.
            Event::Moves(n, Whereabouts::Unseen) if self.cars[n].changed => {}
            Event::Moves(n, place) => {
                (self.cars[n].place, self.cars[n].at) = (place, WallMs(number));
            }
            Event::Stands(n, status) => self.stands(n, status),
            Event::Refuses(n) => {
                let works = matches!(self.cars[n].status, DriverStatus::Free | DriverStatus::Held);
                if works && self.cars[n].place != Whereabouts::Unseen {
                    self.cars[n].refused += 1;
                    self.stands(n, DriverStatus::Free);
                }
            }
            Event::Waits(looks) => (0..looks).for_each(|_| self.look()),
            Event::Kill => {
                self.watch = Watch::default();
                self.watch.follow(&self.queue, MonoMs(self.now));
                self.plain.iter_mut().for_each(|place| place.inside_at = self.now);
            }
        }
    }

    fn stands(&mut self, n: usize, status: DriverStatus) {
        let car = &mut self.cars[n];
        if car.place != Whereabouts::Unseen {
            (car.status, car.version, car.changed) = (status, car.version + 1, true);
        }
    }

    fn look(&mut self) {
        self.now += LOOK_MS;
        let now = MonoMs(self.now);
        let seen = |(n, car): (usize, &Car)| {
            let Car { place, at, status, version, .. } = *car;
            let inside = place == Whereabouts::Inside;
            let sight = Sight { driver: driver(n), point: anywhere(), at, inside, status, version };
            (place != Whereabouts::Unseen).then_some(sight)
        };
        let sights: Vec<Sight> = self.cars.iter().enumerate().filter_map(seen).collect();
        self.watch.looked(now, &sights, true);
        self.move_on();
        for asked in self.watch.to_read(now) {
            let n = (0..FLEET).find(|n| driver(*n) == asked).unwrap();
            self.watch.read(now, asked, Some(self.cars[n].word(n)));
        }
        self.move_on();
        self.look_plainly();
        self.cars.iter_mut().for_each(|car| car.changed = false);
    }

    /// The register hears of each step twice, as it may.
    fn move_on(&mut self) {
        let now = MonoMs(self.now);
        for each in self.watch.steps(&self.queue, &RULES) {
            assert!(changes(&self.queue, each), "{each:?} changes nothing");
            step(&mut self.queue, each, WallMs(self.now));
            assert!(!changes(&self.queue, each), "{each:?} changes something twice");
            step(&mut self.queue, each, WallMs(self.now + 1));
        }
        self.watch.follow(&self.queue, now);
        assert_eq!(self.watch.steps(&self.queue, &RULES), [], "nothing is left to do");
    }

    /// The same for the list, in so many words.
    fn look_plainly(&mut self) {
        let Self { cars, now, plain, .. } = self;
        for place in plain.iter_mut() {
            if cars[place.n].place == Whereabouts::Inside {
                place.inside_at = *now;
            }
        }
        let works = |n: usize| matches!(cars[n].status, DriverStatus::Free | DriverStatus::Held);
        plain.retain(|place| works(place.n) && *now - place.inside_at <= RULES.grace_ms);
        let mut coming: Vec<usize> = (0..FLEET)
            .filter(|n| cars[*n].place == Whereabouts::Inside)
            .filter(|n| cars[*n].status == DriverStatus::Free)
            .filter(|n| plain.iter().all(|place| place.n != *n))
            .collect();
        coming.sort_by_key(|n| (cars[*n].at, driver(*n)));
        let arrived =
            coming.into_iter().map(|n| Plain { n, inside_at: *now, refused: cars[n].refused });
        plain.extend(arrived);
        let limit = u32::from(RULES.refusals);
        for n in plain.iter().map(|place| place.n).collect::<Vec<_>>() {
            let at = plain.iter().position(|place| place.n == n).unwrap();
            if cars[n].refused - plain[at].refused >= limit {
                let mut place = plain.remove(at);
                place.refused = cars[n].refused;
                plain.push(place);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_order_is_that_of_arrival_whoever_leaves_refuses_or_dies(
        rounds in prop::collection::vec(prop::collection::vec(event(), 1..4), 1..60),
    ) {
        let mut world = World::new();
        let mut number = 0;
        for round in rounds {
            for event in round {
                number += 1;
                world.happens(number, event);
            }
            world.look();
            let order: Vec<DriverId> = world.queue.places.iter().map(|it| it.driver).collect();
            let plain: Vec<DriverId> = world.plain.iter().map(|it| driver(it.n)).collect();
            prop_assert_eq!(order, plain);
            if !world.queue.places.is_empty() {
                let sorted = world.queue.places.is_sorted_by_key(|place| place.since);
                prop_assert!(sorted, "{:?}", world.queue);
            }
        }
    }
}

#[test]
fn a_full_queue_takes_nobody_and_a_late_count_of_refusals_does_nothing() {
    let mut queue = Queue::empty(ZONE);
    for n in 0..=QUEUE_MAX {
        step(&mut queue, QueueStep::Arrive(driver(n)), WallMs(n as u64));
    }
    assert_eq!((queue.places.len(), queue.position(driver(QUEUE_MAX))), (QUEUE_MAX, None));
    check_invariants(&queue);
    let count = |refused| QueueStep::Refused { driver: driver(0), refused, limit: 1 };
    for (refused, at) in
        [(5, 0), (5, 0), (6, QUEUE_MAX - 1), (5, QUEUE_MAX - 1), (6, QUEUE_MAX - 1)]
    {
        step(&mut queue, count(refused), WallMs(5_000));
        assert_eq!(queue.position(driver(0)), Some(at), "after {refused}");
    }
    check_invariants(&queue);
}

#[test]
fn a_queue_is_stored_found_again_and_gone_when_nobody_waits() {
    let mut machine = Machine::default();
    let mut now = 0;
    let mut moves = |machine: &mut Machine, steps: Vec<QueueStep>| {
        now += 1;
        let command = system(Command::MoveQueue { zone: ZONE, steps });
        machine.apply(WallMs(now), Level::KNOWN, &command).changed
    };
    let key = Key::Queue(ZONE).to_bytes();
    let come = (0..3).map(|n| QueueStep::Arrive(driver(n))).collect();
    assert_eq!(moves(&mut machine, come), std::slice::from_ref(&key));
    let count = QueueStep::Refused { driver: driver(0), refused: 4, limit: 1 };
    let again = QueueStep::Refused { driver: driver(0), refused: 5, limit: 1 };
    moves(&mut machine, vec![QueueStep::Leave(driver(1)), count, again]);
    machine.check_invariants();

    let mut copy = Machine::default();
    for (key, value) in machine.scan(None, 99) {
        copy.restore(&key, &value).unwrap();
    }
    copy.check_invariants();
    assert_eq!(copy.open_work(), std::slice::from_ref(&key), "somebody must keep it");
    let queue: Queue = codec::decode(&copy.read(&key).unwrap()).unwrap();
    let places: Vec<_> = queue.places.iter().map(|it| (it.driver, it.since, it.refused)).collect();
    assert_eq!(places, [(driver(2), WallMs(1), None), (driver(0), WallMs(2), Some(5))]);

    let gone = vec![QueueStep::Leave(driver(2)), QueueStep::Leave(driver(0))];
    assert_eq!(moves(&mut copy, gone), std::slice::from_ref(&key));
    assert_eq!((copy.read(&key), copy.open_work()), (None, Vec::new()));
}

/// A queue of three, 0 and 2 in sedans, 1 in another car, as a keeper that has looked knows it.
struct Three {
    queue: Queue,
    watch: Watch,
    read: BTreeSet<DriverId>,
}

impl Three {
    fn new() -> Self {
        let mut queue = Queue::empty(ZONE);
        (0..3).for_each(|n| step(&mut queue, QueueStep::Arrive(driver(n)), WallMs(1)));
        let mut watch = Watch::default();
        watch.follow(&queue, MonoMs(0));
        watch.looked(MonoMs(0), &[], true);
        Self { queue, watch, read: BTreeSet::new() }
    }

    fn pick(&self, now: u64, booking: u64, not: &[usize]) -> Pick {
        let kind = VehicleType::Sedan;
        let need = Need { kind, capabilities: Capabilities(0), seats: 1 };
        let not = not.iter().map(|n| driver(*n)).collect();
        let booking = BookingId::mint(Slot(1), WallMs(booking), booking);
        let wanted = Wanted { booking, need: &need, not: &not, read: &self.read };
        self.watch.pick(MonoMs(now), &self.queue, &RULES, wanted)
    }

    fn reads(&mut self, now: u64, n: usize, status: Option<DriverStatus>) {
        let word = status.map(|status| word(n, status, 9));
        self.read.insert(driver(n));
        self.watch.read(MonoMs(now), driver(n), word);
    }

    /// Who comes and goes.
    fn steps(&self) -> Vec<QueueStep> {
        let steps = self.watch.steps(&self.queue, &RULES).into_iter();
        steps.filter(|step| !matches!(step, QueueStep::Refused { .. })).collect()
    }

    fn leaves(&mut self, now: u64, n: usize) {
        step(&mut self.queue, QueueStep::Leave(driver(n)), WallMs(now));
        self.watch.follow(&self.queue, MonoMs(now));
    }

    fn sees(&mut self, now: u64, n: usize, inside: bool) {
        let (status, version) = (DriverStatus::Free, 1);
        let (driver, point, at) = (driver(n), anywhere(), WallMs(now));
        let sight = Sight { driver, point, at, inside, status, version };
        self.watch.looked(MonoMs(now), &[sight], true);
    }
}

fn word(n: usize, status: DriverStatus, version: u64) -> Word {
    Word { standing: standing(n, status, version), refused: 0, rides: false }
}

#[test]
fn it_is_the_turn_of_the_first_who_can_serve_the_booking_once_his_record_says_so() {
    let mut three = Three::new();
    assert_eq!(three.pick(0, 1, &[]), Pick::Read(driver(0)));
    three.reads(0, 0, Some(DriverStatus::Free));
    assert_eq!(three.pick(0, 1, &[]), Pick::Take(driver(0)));
    assert_eq!(three.pick(0, 1, &[0]), Pick::Read(driver(1)), "of his car nothing is known");
    three.reads(0, 1, Some(DriverStatus::Free));
    assert_eq!(three.pick(0, 1, &[0]), Pick::Read(driver(2)), "it is another kind of car");
    three.reads(0, 2, Some(DriverStatus::Held));
    assert_eq!(three.pick(0, 1, &[0]), Pick::Nobody);
}

#[test]
fn who_was_named_to_a_booking_is_named_to_no_other_for_a_moment() {
    let mut three = Three::new();
    three.reads(0, 0, Some(DriverStatus::Free));
    let first = BookingId::mint(Slot(1), WallMs(1), 1);
    three.watch.name(MonoMs(0), driver(0), first);
    assert_eq!(three.pick(1, 1, &[]), Pick::Take(driver(0)), "the same asks again");
    assert_eq!(three.pick(1, 2, &[]), Pick::Read(driver(1)));
    three.sees(NAMED_MS, 0, true);
    assert_eq!(three.pick(NAMED_MS, 2, &[]), Pick::Take(driver(0)));
}

#[test]
fn who_is_outside_is_not_asked_and_who_is_merely_unseen_is_for_a_while() {
    let mut three = Three::new();
    three.reads(0, 0, Some(DriverStatus::Free));
    three.sees(500, 0, false);
    assert_eq!(three.pick(500, 1, &[]), Pick::Read(driver(1)), "he is outside");
    three.sees(900, 0, true);
    assert_eq!(three.pick(900, 1, &[]), Pick::Take(driver(0)), "and back");
    let gone = 900 + RULES.fresh_ms + 1;
    three.watch.looked(MonoMs(gone), &[], true);
    assert_eq!(three.pick(gone, 1, &[]), Pick::Nobody, "nobody was heard of");
    assert_eq!(three.queue.position(driver(0)), Some(0), "he keeps his place");
}

#[test]
fn a_record_that_does_not_come_is_waited_for_and_not_for_ever() {
    let mut three = Three::new();
    three.reads(0, 0, None);
    assert_eq!(three.pick(0, 1, &[]), Pick::Wait);
    three.read.clear();
    assert_eq!(three.pick(1, 1, &[]), Pick::Read(driver(0)));
    (0..3).for_each(|n| three.sees(PATIENCE_MS, n, true));
    assert_eq!(three.pick(PATIENCE_MS, 1, &[]), Pick::Read(driver(1)), "the next one's turn");
    three.reads(PATIENCE_MS, 0, Some(DriverStatus::Free));
    assert_eq!(three.pick(PATIENCE_MS, 1, &[]), Pick::Take(driver(0)));
}

#[test]
fn nobody_is_absent_because_the_keeper_or_a_cell_is_late() {
    let mut three = Three::new();
    (0..3).for_each(|n| three.sees(500, n, true));
    let late = 500 + 10 * RULES.grace_ms;
    three.reads(late, 0, Some(DriverStatus::Free));
    assert_eq!((three.steps(), three.pick(late, 1, &[])), (Vec::new(), Pick::Take(driver(0))));
    three.watch.looked(MonoMs(late), &[], false);
    assert_eq!(three.steps(), [], "of half a look nobody is missing");
    three.watch.looked(MonoMs(late), &[], true);
    assert_eq!(three.steps(), [0, 1, 2].map(|n| QueueStep::Leave(driver(n))));
}

#[test]
fn who_said_yes_keeps_his_place_until_he_has_the_trip() {
    let mut three = Three::new();
    three.reads(0, 0, Some(DriverStatus::Taken));
    assert_eq!(three.steps(), [], "the booking may say no yet");
    assert_eq!(three.pick(0, 1, &[0]), Pick::Read(driver(1)));
    let rides = Word { rides: true, ..word(0, DriverStatus::Taken, 9) };
    three.watch.read(MonoMs(0), driver(0), Some(rides));
    assert_eq!(three.steps(), [QueueStep::Leave(driver(0))]);
    // A cell that has not heard of it does not bring him back, one that has does.
    three.leaves(0, 0);
    three.sees(500, 0, true);
    assert_eq!(three.steps(), []);
    let (point, at, status, inside) = (anywhere(), WallMs(1_000), DriverStatus::Free, true);
    let home = Sight { driver: driver(0), point, at, inside, status, version: 10 };
    three.watch.looked(MonoMs(1_000), &[home], true);
    assert_eq!(three.steps(), [QueueStep::Arrive(driver(0))]);
}

#[test]
fn a_record_that_did_not_come_is_asked_for_again() {
    let mut three = Three::new();
    assert_eq!(three.watch.to_read(MonoMs(0)).len(), 3);
    (0..3).for_each(|n| three.reads(0, n, Some(DriverStatus::Free)));
    three.sees(500, 0, true);
    three.reads(500, 0, None);
    assert!(!three.watch.to_read(MonoMs(600)).contains(&driver(0)), "not at once");
    three.sees(2_000, 0, true);
    assert!(three.watch.to_read(MonoMs(2_000)).contains(&driver(0)));
}
