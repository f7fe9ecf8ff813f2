//! The saga between two partitions under the worst network: every message ever sent may arrive
//! late, again, out of order or never, and every step may be taken by a shell that knows nothing
//! but the records. Checked after each step, from the records alone:
//!
//! * S1 a driver has at most one trip that is not over;
//! * S2 a booking has at most one driver, and what it decided never changes, but that it may leave him
//!   for a better one before the pickup;
//! * S3 the driver of a trip that is not over is taken by that trip's very offer;
//! * S4 an offer that was taken back is never before its driver again, however late his hold comes;
//! * S5 the driver whom a booking waits for as his next ride has promised it.
//!
//! Several offers of one booking are out at once, to different drivers.
#![expect(clippy::unwrap_used, reason = "a record that can't be read must fail the test")]

use actors::booking::change::former;
use actors::fault::Faults;
use actors::machine::{Machine, system};
use actors::policy::Policy;
use proto::codec;
use proto::machine::{Level, StateMachine};
use proto::record::attempt::ATTEMPTS_MAX;
use proto::record::booking::{Need, OfferState};
use proto::record::command::{CodeRule, Command, Entity, OfferFate, Outcome, TripStep};
use proto::record::driver::{Capabilities, Vehicle, VehicleType};
use proto::record::trip::{DriverCard, Ended, Ending};
use proto::record::{
    Actor, Attempt, AttemptStatus, Booking, BookingState, CityId, Commitment, Driver, Key, Offer,
    Place, Profile, Trip, TripState,
};
use proto::{BookingId, Code, DriverId, NodeId, OfferId, Point, RiderId, Slot, TripId, WallMs};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const BOOKINGS: u64 = 3;
const DRIVERS: u64 = 3;

/// Which partition a command is for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Rider,
    Driver,
}

struct World {
    riders: Machine,
    drivers: Machine,
    /// Everything ever sent; nothing is removed.
    sent: Vec<(To, Command)>,
    /// What each booking decided.
    decided: BTreeMap<BookingId, OfferId>,
    rng: ChaCha8Rng,
    now: u64,
    /// The most offers of one booking that were out at once.
    at_once: usize,
    /// How often bookings changed to a better driver.
    changes: usize,
    /// Offers whose bookings waited for the end of another ride.
    waited: BTreeSet<OfferId>,
}

fn rider(n: u64) -> RiderId {
    RiderId::of_name(&format!("rider {n}"))
}
fn driver(n: u64) -> DriverId {
    DriverId::of_name(&format!("driver {n}"))
}
fn booking(n: u64) -> BookingId {
    BookingId::mint(Slot(1), WallMs(1), n)
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            riders: Machine::with_faults(faults),
            drivers: Machine::with_faults(faults),
            sent: Vec::new(),
            decided: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            at_once: 0,
            changes: 0,
            waited: BTreeSet::new(),
        };
        for n in 0..BOOKINGS {
            let name = format!("rider {n}");
            world.deliver(
                To::Rider,
                Command::RegisterRider { rider: rider(n), name, profile: Profile::default() },
            );
            world.deliver(To::Rider, create(n));
        }
        for n in 0..DRIVERS {
            let register = Command::RegisterDriver {
                driver: driver(n),
                name: format!("driver {n}"),
                city: CityId(1),
                vehicle: vehicle(VehicleType::Sedan),
                kyc_verified: true,
                profile: Profile::default(),
            };
            world.deliver(To::Driver, register);
            world.deliver(To::Driver, Command::SetDuty { driver: driver(n), online: true });
        }
        world
    }

    fn deliver(&mut self, to: To, command: Command) {
        self.now += 1;
        let machine = if to == To::Rider { &mut self.riders } else { &mut self.drivers };
        let applied = machine.apply(WallMs(self.now), Level::KNOWN, &system(command.clone()));
        machine.check_invariants();
        let outcome: Outcome = codec::decode(&applied.outcome).unwrap();
        if let (Command::Release { offer, .. }, Ok(Entity::Driver(record))) = (&command, &outcome) {
            let known = actors::driver::outcome(record, *offer).is_some();
            let done = matches!(command, Command::Release { ended: Some(_), .. });
            assert!(known || done, "S4: {offer} was taken back and left no mark");
        }
        // The only messages that are caused by an outcome rather than by a record.
        match (&command, &outcome) {
            (Command::Promise { offer, driver, .. }, Ok(Entity::Booking(booking))) => {
                let lapsed = |(known, state): &(Offer, OfferState)| {
                    known.id == *offer && matches!(state, OfferState::Lapsed { .. })
                };
                if booking.offers.iter().any(lapsed) {
                    let (driver, offer) = (*driver, *offer);
                    self.sent.push((To::Driver, Command::Release { driver, offer, ended: None }));
                }
            }
            (
                Command::Promise { offer, driver, .. },
                Err(Code::OfferTaken | Code::OfferExpired),
            ) => {
                let (driver, offer) = (*driver, *offer);
                self.sent.push((To::Driver, Command::Release { driver, offer, ended: None }));
            }
            (Command::EndPromise { offer, .. }, Ok(Entity::Booking(booking))) => {
                let made = booking.offers.iter().find(|(known, _)| known.id == *offer);
                let (driver, offer) = (made.unwrap().0.driver, *offer);
                self.sent.push((To::Driver, Command::CallOff { driver, offer }));
            }
            _ => {}
        }
        if let Command::Assign { offer, driver, .. } = command {
            match outcome {
                Ok(Entity::Trip(trip)) => {
                    self.sent.push((To::Driver, Command::Confirm { driver, offer, trip: trip.id }));
                }
                Err(Code::OfferTaken | Code::OfferExpired) => {
                    self.sent.push((To::Driver, Command::Release { driver, offer, ended: None }));
                }
                _ => {}
            }
        }
    }

    /// What some shell could do now, knowing only the records.
    fn possible(&mut self) -> Vec<(To, Command)> {
        let mut all = Vec::new();
        for booking in self.bookings() {
            let id = booking.id;
            if booking.state.is_searching() {
                let n = self.rng.random_range(0..DRIVERS);
                let attempt = booking.attempt.max(1) + u16::from(self.rng.random_bool(0.2));
                let offer = offer(id, driver(n), attempt);
                all.push((To::Rider, Command::OfferStart { attempts: attempts(&offer), offer }));
                // Ends are rare, or nothing would ever get as far as a trip.
                if self.rng.random_bool(0.03) {
                    all.push((
                        To::Rider,
                        Command::ExpireBooking { booking: id, attempts: Vec::new() },
                    ));
                    let (by, reason) = (Actor::Rider, String::new());
                    let cancel =
                        Command::CancelBooking { booking: id, by, reason, attempts: Vec::new() };
                    all.push((To::Rider, cancel));
                }
            }
            if matches!(booking.state, BookingState::Assigned { .. }) {
                // All of them: most were asked before, or have a ride.
                for n in 0..DRIVERS {
                    let offer = offer(id, driver(n), booking.attempt + 1);
                    all.push((To::Rider, Command::Reassign { offer, max: 2, rest_ms: 2 }));
                }
            }
            if let BookingState::Promised { offer, .. } = booking.state
                && self.rng.random_bool(0.2)
            {
                all.push((To::Rider, Command::EndPromise { booking: id, offer }));
                let (by, reason) = (Actor::Rider, String::new());
                let cancel =
                    Command::CancelBooking { booking: id, by, reason, attempts: Vec::new() };
                all.push((To::Rider, cancel));
            }
            for (offer, state) in booking.offers {
                match state {
                    OfferState::Pending => {
                        let (id, fate) = (offer.id, OfferFate::Expired);
                        let end = Command::OfferEnd { booking: offer.booking, offer: id, fate };
                        if self.rng.random_bool(0.1) {
                            all.push((To::Rider, end));
                        }
                        all.push((To::Driver, Command::HoldNext { offer: offer.clone() }));
                        all.push((To::Driver, Command::Hold { offer }));
                    }
                    OfferState::Cancelled | OfferState::Lapsed { .. } => {
                        let Offer { id, driver, .. } = offer;
                        all.push((To::Driver, Command::Release { driver, offer: id, ended: None }));
                    }
                    OfferState::Accepted
                    | OfferState::Declined
                    | OfferState::Expired
                    | OfferState::Promised
                    | OfferState::Reassigned { .. } => {}
                }
            }
        }
        for record in self.driver_records() {
            let driver = record.id;
            match record.next {
                Some(Commitment::Held { offer }) => {
                    let offer = offer.id;
                    all.push((To::Driver, Command::Accept { driver, offer, key: None }));
                    if self.rng.random_bool(0.1) {
                        all.push((To::Driver, Command::ExpireHold { driver, offer }));
                        all.push((To::Driver, Command::Decline { driver, offer }));
                    }
                }
                Some(Commitment::Taken { offer, .. }) => {
                    let (booking, offer) = (offer.booking, offer.id);
                    all.push((To::Rider, Command::Promise { booking, offer, driver }));
                    all.push((To::Driver, Command::ExpireHold { driver, offer }));
                    if self.rng.random_bool(0.05) {
                        all.push((To::Rider, Command::EndPromise { booking, offer }));
                    }
                }
                None => {}
            }
            match record.current {
                Some(Commitment::Held { offer }) => {
                    let offer = offer.id;
                    all.push((To::Driver, Command::Accept { driver, offer, key: None }));
                    if self.rng.random_bool(0.1) {
                        all.push((To::Driver, Command::ExpireHold { driver, offer }));
                        all.push((To::Driver, Command::Decline { driver, offer }));
                    }
                }
                Some(Commitment::Taken { offer, .. }) => {
                    let trip = TripId::mint(Slot(1), WallMs(1), self.rng.random());
                    let (booking, offer) = (offer.booking, offer.id);
                    all.push((To::Rider, assign(booking, offer, driver, trip)));
                    all.push((To::Driver, Command::ExpireHold { driver, offer }));
                }
                None => {}
            }
        }
        for trip in self.trips() {
            let step = match self.rng.random_range(0..3) {
                0 => TripStep::Start { pin: None },
                1 => TripStep::End(Ending::default()),
                _ => TripStep::Cancel { reason: String::new() },
            };
            let (id, by, driver) = (trip.id, Actor::Driver, Some(trip.driver));
            // A driver who calls off leaves a booking that goes on.
            let rebook = Some(booking(1_000 + self.rng.random_range(0..1_000_000)));
            let rider = None;
            all.push((To::Rider, Command::StepTrip { trip: id, step, by, driver, rider, rebook }));
            if trip.release_due {
                let (driver, offer) = (trip.driver, trip.offer);
                let ended = Some(Ended { trip: trip.id, state: trip.state, earned: None });
                all.push((To::Driver, Command::Release { driver, offer, ended }));
            }
        }
        for n in 0..BOOKINGS {
            all.push((To::Rider, create(n + BOOKINGS * self.rng.random_range(0..40))));
        }
        all
    }

    fn step(&mut self) {
        let (to, command) = if !self.sent.is_empty() && self.rng.random_bool(0.4) {
            let place = self.rng.random_range(0..self.sent.len());
            self.sent[place].clone()
        } else {
            let all = self.possible();
            let chosen = all[self.rng.random_range(0..all.len())].clone();
            self.sent.push(chosen.clone());
            chosen
        };
        self.deliver(to, command);
    }

    fn check(&mut self) -> Result<(), String> {
        let trips = self.trips();
        let mut driving: BTreeMap<DriverId, TripId> = BTreeMap::new();
        for trip in trips.iter().filter(|trip| !trip.state.is_over()) {
            if let Some(other) = driving.insert(trip.driver, trip.id) {
                return Err(format!("S1: {} drives {other} and {}", trip.driver, trip.id));
            }
            let bytes = self.drivers.read(&Key::Driver(trip.driver).to_bytes()).unwrap();
            let record: Driver = codec::decode(&bytes).unwrap();
            let taken = match &record.current {
                Some(Commitment::Taken { offer, .. }) => Some(offer.id),
                _ => None,
            };
            if taken != Some(trip.offer) {
                return Err(format!(
                    "S3: {} drives {} but is {:?}",
                    trip.driver, trip.id, record.current
                ));
            }
        }
        for record in self.driver_records() {
            for offer in record.commitments().map(Commitment::offer) {
                if actors::driver::outcome(&record, offer.id).is_some() {
                    return Err(format!("S4: {} holds {}, which has ended", record.id, offer.id));
                }
            }
        }
        for booking in self.bookings() {
            if let BookingState::Assigned { offer, .. } = booking.state {
                let before = self.decided.insert(booking.id, offer).unwrap_or(offer);
                let left = former(&booking).any(|(left, _)| left == before);
                if before != offer && !left {
                    return Err(format!("S2: {} changed from {before} to {offer}", booking.id));
                }
                self.changes += usize::from(before != offer);
            }
            if let BookingState::Promised { offer, driver, .. } = booking.state {
                let bytes = self.drivers.read(&Key::Driver(driver).to_bytes()).unwrap();
                let record: Driver = codec::decode(&bytes).unwrap();
                self.waited.insert(offer);
                if !matches!(record.commitment(offer), Some(Commitment::Taken { .. })) {
                    return Err(format!("S5: {} waits for {driver}, in vain", booking.id));
                }
            }
            let open = |it: &&Attempt| it.ended_at.is_none();
            let rows = booking.attempts.iter().filter(open).count();
            if booking.attempts.len() > ATTEMPTS_MAX || (rows > 0 && !booking.state.is_searching())
            {
                return Err(format!("{} is over and has attempts under way", booking.id));
            }
            self.at_once = self.at_once.max(actors::booking::pending(&booking).count());
            let of_it = |trip: &&Trip| trip.booking == booking.id;
            let left: Vec<TripId> = former(&booking).map(|(_, trip)| trip).collect();
            for trip in trips.iter().filter(of_it) {
                let over = trip.state == TripState::Cancelled;
                if booking.trip != Some(trip.id) && !(over && left.contains(&trip.id)) {
                    return Err(format!("S2: {} has {} as well", booking.id, trip.id));
                }
            }
            if left.len() > 2 {
                return Err(format!("{} changed {} times", booking.id, left.len()));
            }
        }
        Ok(())
    }

    fn all<T: serde::de::DeserializeOwned>(machine: &Machine, kind: u8) -> Vec<T> {
        let pages = machine.scan(None, usize::MAX);
        let own = pages.into_iter().filter(|(key, _)| key[0] == kind);
        own.map(|(_, value)| codec::decode(&value).unwrap()).collect()
    }
    fn bookings(&self) -> Vec<Booking> {
        Self::all(&self.riders, 3)
    }
    fn trips(&self) -> Vec<Trip> {
        Self::all(&self.riders, 4)
    }
    fn driver_records(&self) -> Vec<Driver> {
        Self::all(&self.drivers, 2)
    }
}

fn create(n: u64) -> Command {
    let point = Point::from_e7(0, 0).unwrap();
    let place = Place { point, address: String::new() };
    Command::CreateBooking {
        booking: booking(n),
        rider: rider(n % BOOKINGS),
        city: CityId(1),
        pickup: place.clone(),
        destination: place,
        need: Need { kind: VehicleType::Sedan, capabilities: Capabilities(0), seats: 1 },
        payment_method: String::new(),
        shown_estimate_minor: None,
        quote: Policy::default().quote(VehicleType::Sedan, point, point),
    }
}

fn vehicle(kind: VehicleType) -> Vehicle {
    Vehicle {
        kind,
        seats: 4,
        capabilities: Capabilities(0),
        plate: String::new(),
        make: String::new(),
        model: String::new(),
        color: String::new(),
    }
}

fn assign(booking: BookingId, offer: OfferId, driver: DriverId, trip: TripId) -> Command {
    let (name, phone, kind) = (String::new(), None, VehicleType::Sedan);
    let card = DriverCard { name, phone, vehicle: vehicle(kind) };
    Command::Assign { booking, offer, driver, trip, card, code: CodeRule::None }
}

/// The one offer of this booking to this driver in this attempt.
fn offer(booking: BookingId, driver: DriverId, attempt: u16) -> Offer {
    let name = format!("{booking} {driver} {attempt}");
    let number = proto::slot::frozen_hash(name.as_bytes());
    let point = Point::from_e7(0, 0).unwrap();
    Offer {
        id: OfferId::mint(Slot(1), WallMs(1), number),
        booking,
        driver,
        attempt,
        rank: 1,
        distance_m: 1,
        eta_s: 1,
        cost_ms: 1,
        pickup: point,
        destination: point,
        created_at: WallMs(0),
        ttl_ms: 1,
        shown_ms: 1,
    }
}

/// What one of three leaders says of an offer's attempt.
fn attempts(offer: &Offer) -> Vec<Attempt> {
    let leader = offer.id.to_raw().count_ones() % 3;
    vec![Attempt {
        number: offer.attempt,
        radius_m: 1_000,
        candidates_found: 1,
        started_at: WallMs(1),
        ended_at: None,
        node: NodeId(leader.into()),
        term: leader.into(),
        status: AttemptStatus::Searching,
        error: None,
    }]
}

/// What happened in one run.
#[derive(Default)]
struct Tally {
    trips: usize,
    /// The most offers of one booking that were out at once.
    at_once: usize,
    /// How often bookings changed their drivers.
    changes: usize,
    /// How many trips were the next rides of their drivers.
    nexts: usize,
}

/// Runs one seed; tells the first violation, or what happened.
fn run(seed: u64, steps: u32, faults: Faults) -> Result<Tally, String> {
    let mut world = World::new(seed, faults);
    for n in 0..steps {
        world.step();
        world.check().map_err(|violation| format!("seed {seed} step {n}: {violation}"))?;
    }
    let trips = world.trips();
    let nexts = trips.iter().filter(|trip| world.waited.contains(&trip.offer)).count();
    let World { at_once, changes, .. } = world;
    Ok(Tally { trips: trips.len(), at_once, changes, nexts })
}

#[test]
fn no_order_of_messages_puts_a_driver_on_two_trips() {
    let mut all = Tally::default();
    for seed in 0..200 {
        let Tally { trips, at_once, changes, nexts } = run(seed, 600, Faults::default()).unwrap();
        all.at_once = all.at_once.max(at_once);
        all.trips += trips;
        all.changes += changes;
        all.nexts += nexts;
    }
    assert_eq!(all.at_once, 3, "offers of one booking out at once");
    // A saga in which nothing happens is safe too: make sure that things happened.
    assert!(all.trips > 100, "only {} trips in all", all.trips);
    assert!(all.changes > 20, "only {} changes in all", all.changes);
    assert!(all.nexts > 20, "only {} next rides in all", all.nexts);
}

#[cfg(feature = "plant")]
#[test]
fn a_timer_that_frees_a_taken_driver_is_found() {
    let faults = Faults::named("ttl-frees-taken").unwrap();
    let found = (0..10).find_map(|seed| run(seed, 600, faults).err());
    assert!(found.is_some_and(|violation| violation.contains("S1") || violation.contains("S3")));
}
