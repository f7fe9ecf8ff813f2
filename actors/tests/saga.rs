//! The saga between two partitions under the worst network: every message ever sent may arrive
//! late, again, out of order or never, and every step may be taken by a shell that knows nothing
//! but the records. Checked after each step, from the records alone:
//!
//! * S1 a driver has at most one trip that is not over;
//! * S2 a booking has at most one driver, and what it decided never changes;
//! * S3 the driver of a trip that is not over is taken by that trip's very offer.
#![expect(clippy::unwrap_used, reason = "a record that can't be read must fail the test")]

use actors::fault::Faults;
use actors::machine::{Machine, system};
use proto::codec;
use proto::machine::{Level, StateMachine};
use proto::record::booking::{Need, OfferState};
use proto::record::command::{Command, OfferFate, Outcome, TripStep};
use proto::record::driver::{Capabilities, Vehicle, VehicleType};
use proto::record::{
    Actor, Booking, BookingState, CityId, Commitment, Driver, Key, Offer, Place, Trip,
};
use proto::{BookingId, Code, DriverId, OfferId, Point, RiderId, Slot, TripId, WallMs};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const BOOKINGS: u64 = 3;
const DRIVERS: u64 = 2;

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
        };
        for n in 0..BOOKINGS {
            let name = format!("rider {n}");
            world.deliver(To::Rider, Command::RegisterRider { rider: rider(n), name });
            world.deliver(To::Rider, create(n));
        }
        for n in 0..DRIVERS {
            let vehicle = Vehicle {
                kind: VehicleType::Sedan,
                seats: 4,
                capabilities: Capabilities(0),
                plate: String::new(),
            };
            let register = Command::RegisterDriver {
                driver: driver(n),
                name: format!("driver {n}"),
                city: CityId(1),
                vehicle,
                kyc_verified: true,
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
        // The only messages that are caused by an outcome rather than by a record.
        if let Command::Assign { offer, driver, .. } = command {
            match outcome {
                Ok(proto::record::command::Entity::Trip(trip)) => {
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
                all.push((To::Rider, Command::OfferStart { offer }));
                // Ends are rare, or nothing would ever get as far as a trip.
                if self.rng.random_bool(0.03) {
                    all.push((To::Rider, Command::ExpireBooking { booking: id }));
                    let (by, reason) = (Actor::Rider, String::new());
                    all.push((To::Rider, Command::CancelBooking { booking: id, by, reason }));
                }
            }
            for (offer, state) in booking.offers {
                match state {
                    OfferState::Pending => {
                        let (id, fate) = (offer.id, OfferFate::Expired);
                        let end = Command::OfferEnd { booking: offer.booking, offer: id, fate };
                        if self.rng.random_bool(0.1) {
                            all.push((To::Rider, end));
                        }
                        all.push((To::Driver, Command::Hold { offer }));
                    }
                    OfferState::Cancelled => {
                        let Offer { id, driver, .. } = offer;
                        all.push((To::Driver, Command::Release { driver, offer: id, ended: None }));
                    }
                    OfferState::Accepted | OfferState::Declined | OfferState::Expired => {}
                }
            }
        }
        for record in self.driver_records() {
            let driver = record.id;
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
                    all.push((To::Rider, Command::Assign { booking, offer, driver, trip }));
                    all.push((To::Driver, Command::ExpireHold { driver, offer }));
                }
                None => {}
            }
        }
        for trip in self.trips() {
            let step = match self.rng.random_range(0..3) {
                0 => TripStep::Start,
                1 => TripStep::End { odometer_m: None },
                _ => TripStep::Cancel { reason: String::new() },
            };
            let (id, by, driver) = (trip.id, Actor::Driver, Some(trip.driver));
            all.push((To::Rider, Command::StepTrip { trip: id, step, by, driver, rider: None }));
            if trip.release_due {
                let (driver, offer) = (trip.driver, trip.offer);
                all.push((
                    To::Driver,
                    Command::Release { driver, offer, ended: Some((trip.id, trip.state)) },
                ));
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
        for booking in self.bookings() {
            if let BookingState::Assigned { offer, .. } = booking.state {
                let first = *self.decided.entry(booking.id).or_insert(offer);
                if first != offer {
                    return Err(format!("S2: {} changed from {first} to {offer}", booking.id));
                }
            }
            let trips = trips.iter().filter(|trip| trip.booking == booking.id).count();
            if trips > 1 {
                return Err(format!("S2: {} has {trips} trips", booking.id));
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
    let place = Place { point: Point::from_e7(0, 0).unwrap(), address: String::new() };
    Command::CreateBooking {
        booking: booking(n),
        rider: rider(n % BOOKINGS),
        city: CityId(1),
        pickup: place.clone(),
        destination: place,
        need: Need { kind: VehicleType::Sedan, capabilities: Capabilities(0), seats: 1 },
        payment_method: String::new(),
        shown_estimate_minor: None,
    }
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

/// Runs one seed; tells the first violation and how many trips were completed.
fn run(seed: u64, steps: u32, faults: Faults) -> Result<usize, String> {
    let mut world = World::new(seed, faults);
    for n in 0..steps {
        world.step();
        world.check().map_err(|violation| format!("seed {seed} step {n}: {violation}"))?;
    }
    Ok(world.trips().len())
}

#[test]
fn no_order_of_messages_puts_a_driver_on_two_trips() {
    let mut trips = 0;
    for seed in 0..60 {
        trips += run(seed, 600, Faults::default()).unwrap();
    }
    // A saga in which nothing happens is safe too: make sure that things happened.
    assert!(trips > 100, "only {trips} trips in all");
}

#[cfg(feature = "plant")]
#[test]
fn a_timer_that_frees_a_taken_driver_is_found() {
    let faults = Faults::named("ttl-frees-taken").unwrap();
    let found = (0..10).find_map(|seed| run(seed, 600, faults).err());
    assert!(found.is_some_and(|violation| violation.contains("S1") || violation.contains("S3")));
}
