//! What leaves a partition's state: when, what is left of it, and that nobody can tell from an
//! answer whether a booking has left.
#![expect(clippy::unwrap_used, reason = "a record that can't be read must fail the test")]

use actors::history::{ENDED_MAX, STAY_MS};
use actors::machine::{Machine, system};
use actors::policy::Policy;
use proto::codec;
use proto::machine::{Applied, Level, StateMachine};
use proto::record::booking::Need;
use proto::record::command::{
    Answer, CodeRule, Command, Entity, Idempotency, OfferFate, Outcome, Proposal, TripStep,
};
use proto::record::driver::{Capabilities, Vehicle, VehicleType};
use proto::record::trip::{Driven, DriverCard, Ended, Ending};
use proto::record::{Actor, Booking, CityId, Key, Offer, Place, Profile, Trip, TripState};
use proto::{BookingId, Code, DriverId, OfferId, Point, RiderId, Slot, TripId, WallMs};
use std::collections::BTreeMap;

const SLOT: Slot = Slot(1);

fn rider() -> RiderId {
    RiderId::of_name("ada")
}
fn driver() -> DriverId {
    DriverId::of_name("dee")
}
fn booking(n: u64) -> BookingId {
    BookingId::mint(SLOT, WallMs(n), n)
}
fn trip(n: u64) -> TripId {
    TripId::mint(SLOT, WallMs(n), n)
}
fn offer(n: u64) -> Offer {
    let point = Point::from_e7(407_580_000, -739_855_000).unwrap();
    Offer {
        id: OfferId::mint(SLOT, WallMs(n), n),
        booking: booking(n),
        driver: driver(),
        attempt: 1,
        rank: 1,
        distance_m: 100,
        eta_s: 20,
        cost_ms: 20_000,
        pickup: point,
        destination: point,
        created_at: WallMs(n),
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}

/// A rider's new booking.
fn new(n: u64) -> Command {
    let point = offer(n).pickup;
    let place = || Place { point, address: String::new() };
    let capabilities = Capabilities(0);
    Command::CreateBooking {
        booking: booking(n),
        rider: rider(),
        city: CityId(1),
        pickup: place(),
        destination: place(),
        need: Need { kind: VehicleType::Sedan, capabilities, seats: 1 },
        payment_method: String::new(),
        shown_estimate_minor: None,
        quote: Policy::default().quote(VehicleType::Sedan, point, point),
    }
}

fn vehicle() -> Vehicle {
    Vehicle {
        kind: VehicleType::Sedan,
        seats: 4,
        capabilities: Capabilities(0),
        plate: String::new(),
        make: String::new(),
        model: String::new(),
        color: String::new(),
    }
}

/// The booking takes the driver.
fn assign(booking: BookingId, offer: OfferId, driver: DriverId, trip: TripId) -> Command {
    let card = DriverCard { name: "dee".into(), phone: None, vehicle: vehicle() };
    Command::Assign { booking, offer, driver, trip, card, code: CodeRule::None }
}

/// A partition with its rider and driver, and the archive beside it as the ledger would keep it.
struct Partition {
    machine: Machine,
    archive: BTreeMap<Vec<u8>, Vec<u8>>,
    now: u64,
}

impl Partition {
    fn new() -> Self {
        let mut partition = Self { machine: Machine::default(), archive: BTreeMap::new(), now: 0 };
        let (name, city, kyc_verified) = ("dee".into(), CityId(1), true);
        let profile = Profile::default;
        partition.does(Command::RegisterRider {
            rider: rider(),
            name: "ada".into(),
            profile: profile(),
        });
        let (driver_id, profile) = (driver(), profile());
        let register = Command::RegisterDriver {
            driver: driver_id,
            name,
            city,
            vehicle: vehicle(),
            kyc_verified,
            profile,
        };
        partition.does(register);
        partition.does(Command::SetDuty { driver: driver(), online: true });
        partition
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.propose(&system(command))
    }

    fn propose(&mut self, proposal: &[u8]) -> Outcome {
        self.now += 1;
        let at = WallMs(self.now);
        let Applied { outcome, archived, changed, .. } =
            self.machine.apply(at, Level::KNOWN, proposal);
        for (key, value) in archived {
            let again = self.archive.insert(key.clone(), value);
            assert!(again.is_none(), "it left twice: {:?}", Key::from_bytes(&key));
            let kept_elsewhere = matches!(
                Key::from_bytes(&key),
                Ok(Key::DriverTrip(..)
                    | Key::OldRiderAnswer(..)
                    | Key::OldDriverAnswer(..)
                    | Key::TripTrail(..))
            );
            if kept_elsewhere {
                continue;
            }
            assert!(changed.contains(&key) && self.machine.read(&key).is_none(), "it stays");
        }
        self.machine.check_invariants();
        codec::decode(&outcome).unwrap()
    }

    fn does(&mut self, command: Command) {
        self.apply(command.clone()).unwrap_or_else(|code| panic!("{command:?}: {code:?}"));
    }

    fn create(&mut self, n: u64) {
        self.does(new(n));
    }

    fn cancel(&mut self, n: u64) {
        let (by, reason) = (Actor::Rider, "changed my mind".into());
        self.does(Command::CancelBooking { booking: booking(n), by, reason, attempts: Vec::new() });
    }

    /// A ride from booking to release; the words on it.
    fn ride(&mut self, n: u64) {
        self.create(n);
        let (id, offer) = (offer(n).id, offer(n));
        let (booking, driver, trip) = (booking(n), driver(), trip(n));
        self.does(Command::OfferStart { offer: offer.clone(), attempts: Vec::new() });
        self.does(Command::Hold { offer });
        self.does(Command::Accept { driver, offer: id, key: None });
        self.does(assign(booking, id, driver, trip));
        self.does(Command::Confirm { driver, offer: id, trip });
        for step in [TripStep::Start { pin: None }, TripStep::End(Ending::default())] {
            let (by, driver) = (Actor::Driver, Some(driver));
            self.does(Command::StepTrip { trip, step, by, driver, rider: None, rebook: None });
        }
        let ended = Some(Ended { trip, state: TripState::Completed, earned: None });
        self.does(Command::Release { driver, offer: id, ended });
        self.does(Command::Release { driver, offer: id, ended });
        self.does(Command::Released { trip });
    }

    fn holds(&self, n: u64) -> bool {
        self.machine.read(&Key::Booking(booking(n)).to_bytes()).is_some()
    }
}

#[test]
fn the_last_few_bookings_stay_and_the_older_ones_leave_whole() {
    let mut partition = Partition::new();
    let rides = ENDED_MAX as u64 + 40;
    for n in 1..=rides {
        partition.ride(n);
    }
    let held = (1..=rides).filter(|n| partition.holds(*n)).count();
    assert_eq!(held, ENDED_MAX);
    for n in 1..=40 {
        assert!(!partition.holds(n));
        let record = |key: Key| partition.archive[&key.to_bytes()].clone();
        let left: Booking = codec::decode(&record(Key::Booking(booking(n)))).unwrap();
        let driven: Trip = codec::decode(&record(Key::Trip(trip(n)))).unwrap();
        assert_eq!((left.trip, driven.state), (Some(trip(n)), TripState::Completed));
        assert!(partition.archive.contains_key(&Key::RiderBooking(rider(), booking(n)).to_bytes()));
    }
    // The driver's side has each trip once, in order, from the moment he was released.
    let of_driver = Key::of_driver(driver());
    let his = partition.archive.iter().filter(|(key, _)| key.starts_with(&of_driver));
    let his: Vec<Driven> = his.map(|(_, value)| codec::decode(value).unwrap()).collect();
    assert_eq!(
        his.iter().map(|it| it.trip).collect::<Vec<_>>(),
        (1..=rides).map(trip).collect::<Vec<_>>()
    );
}

#[test]
fn a_few_ended_bookings_leave_after_a_while_and_a_running_one_never() {
    let mut partition = Partition::new();
    partition.create(1);
    partition.cancel(1);
    partition.create(2);
    partition.now += STAY_MS - 10;
    partition.does(Command::SetDuty { driver: driver(), online: true });
    assert!(partition.holds(1));
    partition.now += 20;
    partition.does(Command::SetDuty { driver: driver(), online: true });
    assert!(!partition.holds(1) && partition.holds(2));
    assert_eq!(partition.archive.len(), 2, "the booking, and that it is his");
}

#[test]
fn a_restored_partition_lets_the_same_bookings_leave() {
    let mut first = Partition::new();
    for n in 1..=300 {
        if n % 3 == 0 {
            first.ride(n)
        } else {
            first.create(n)
        }
        if n % 3 != 0 {
            // Once more changes nothing but its time.
            first.cancel(n);
            first.cancel(n);
        }
    }
    let mut second =
        Partition { machine: Machine::default(), archive: BTreeMap::new(), now: first.now };
    for (key, value) in first.machine.scan(None, usize::MAX) {
        second.machine.restore(&key, &value).unwrap();
    }
    first.archive.clear();
    for n in 301..=340 {
        first.ride(n);
        second.ride(n);
    }
    assert_eq!(first.archive, second.archive);
    assert!(!first.archive.is_empty());
}

#[test]
fn a_key_is_answered_as_before_long_after_what_it_was_about_has_left() {
    let mut partition = Partition::new();
    partition.create(1);
    let idempotency = Some(Idempotency { key: 7, body: 1 });
    let (booking, by, reason) = (booking(1), Actor::Rider, String::new());
    let command = Command::CancelBooking { booking, by, reason, attempts: Vec::new() };
    let proposal = codec::encode(&Proposal { idempotency, command });
    let first = partition.propose(&proposal);
    assert_eq!(partition.propose(&proposal), first);
    partition.now += STAY_MS + 10;
    let create = Proposal { idempotency: Some(Idempotency { key: 8, body: 1 }), command: new(2) };
    partition.propose(&codec::encode(&create)).unwrap();
    assert!(!partition.holds(1));
    // The machine no longer knows whose booking it was; the shell does, and asks for the answer.
    assert_eq!(partition.propose(&proposal), Err(Code::BookingNotFound));
    let kept = Key::RiderAnswer(rider(), 7);
    let answer = partition.machine.read(&kept.to_bytes()).unwrap();
    assert_eq!(codec::decode::<Answer>(&answer).unwrap().outcome, None);
    let old = &partition.archive[&Key::OldRiderAnswer(rider(), 7).to_bytes()];
    assert_eq!(codec::decode::<Outcome>(old).unwrap(), first);
    // Of one whose rider it knows, it says where the answer is.
    partition.now += STAY_MS + 10;
    partition.does(Command::SetDuty { driver: driver(), online: true });
    let again = partition.propose(&codec::encode(&create));
    assert_eq!(again, Ok(Entity::Kept(Key::OldRiderAnswer(rider(), 8))));
}

#[test]
fn nobody_can_tell_from_an_answer_whether_a_booking_has_left() {
    let mut partition = Partition::new();
    partition.ride(1);
    partition.create(2);
    partition.cancel(2);
    let words = |n: u64| {
        let (booking, trip, driver, id) = (booking(n), trip(n), driver(), offer(n).id);
        let step = |step, driver| {
            let (by, rider, new) = (Actor::Driver, None, BookingId::mint(SLOT, WallMs(9), 9));
            Command::StepTrip { trip, step, by, driver, rider, rebook: Some(new) }
        };
        vec![
            Command::CancelBooking {
                booking,
                by: Actor::Rider,
                reason: "again".into(),
                attempts: Vec::new(),
            },
            Command::ExpireBooking { booking, attempts: Vec::new() },
            Command::OfferStart { offer: offer(n), attempts: Vec::new() },
            Command::OfferEnd { booking, offer: id, fate: OfferFate::Expired },
            assign(booking, id, driver, TripId::mint(SLOT, WallMs(9), 9)),
            assign(booking, offer(77).id, driver, trip),
            step(TripStep::Arrive, Some(driver)),
            step(TripStep::End(Ending { odometer_m: Some(7), ..Ending::default() }), Some(driver)),
            step(TripStep::Cancel { reason: String::new() }, Some(driver)),
            step(TripStep::End(Ending::default()), Some(DriverId::of_name("another"))),
            Command::Released { trip },
        ]
    };
    for n in [1, 2] {
        let read = |key: Key| partition.machine.read(&key.to_bytes());
        let left: Booking = codec::decode(&read(Key::Booking(booking(n))).unwrap()).unwrap();
        let trip: Option<Trip> = read(Key::Trip(trip(n))).map(|it| codec::decode(&it).unwrap());
        for command in words(n) {
            if trip.is_none() && matches!(command.subject(), Key::Trip(_)) {
                continue;
            }
            let after = Machine::answer_from_history(
                WallMs(1_000),
                left.clone(),
                trip.clone().into_iter().collect(),
                command.clone(),
            );
            let before = partition.apply(command.clone());
            assert_eq!(timeless(before), timeless(after), "{n}: {command:?}");
        }
    }
}

/// An outcome without the time of its last change, which a word that changes nothing also sets.
fn timeless(outcome: Outcome) -> Outcome {
    outcome.map(|entity| match entity {
        Entity::Booking(mut booking) => {
            booking.updated_at = WallMs(0);
            Entity::Booking(booking)
        }
        other @ (Entity::Rider(_)
        | Entity::Driver(_)
        | Entity::Trip(_)
        | Entity::Kept(_)
        | Entity::Queue(_)
        | Entity::Nothing) => other,
    })
}
