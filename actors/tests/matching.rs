//! Matching against naive oracles: the cores of several bookings and drivers in one small loop,
//! without network or actors, and what a linear scan says they should have come to.
#![expect(clippy::unwrap_used, reason = "a loop that lost a participant must fail the test")]

use actors::claim::{self, Claim, Claims};
use actors::dispatch::{self, Dispatch, Effect, Event, Findings, Prospect, Ranked, Start};
use actors::geo;
use actors::policy::Policy;
use proptest::prelude::*;
use proto::record::Offer;
use proto::record::ask::HoldAnswer;
use proto::record::cell::Candidate;
use proto::record::driver::DriverStatus;
use proto::{BookingId, DriverId, MonoMs, OfferId, Point, Slot, WallMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Everybody accepts, and every message takes this long.
const HOP_MS: u64 = 3;

enum Due {
    Booking(usize, Event),
    Claims(usize),
}

struct Town {
    policy: Policy,
    now: MonoMs,
    queue: BTreeMap<(MonoMs, u64), Due>,
    sent: u64,
    bookings: Vec<(Point, Option<Dispatch>)>,
    drivers: Vec<(Point, Claims, Option<usize>)>,
    tickets: BTreeMap<u64, usize>,
    /// Which driver each booking got, and what it tried on the way.
    got: Vec<Option<usize>>,
    claimed: Vec<Vec<DriverId>>,
}

fn driver_id(n: usize) -> DriverId {
    DriverId::from_raw(n as u64)
}

impl Town {
    fn new(bookings: &[Point], drivers: &[Point], fan_out: u16) -> Self {
        let policy = Policy { max_offers_per_attempt: fan_out, ..Policy::default() };
        let mut town = Self {
            now: MonoMs(0),
            queue: BTreeMap::new(),
            sent: 0,
            bookings: bookings.iter().map(|at| (*at, None)).collect(),
            drivers: drivers.iter().map(|at| (*at, Claims::default(), None)).collect(),
            tickets: BTreeMap::new(),
            got: vec![None; bookings.len()],
            claimed: vec![Vec::new(); bookings.len()],
            policy,
        };
        for n in 0..bookings.len() {
            let (policy, mut out) = (town.policy.clone(), Vec::new());
            let begun = Dispatch::begin(town.now, policy, Start::default(), &mut out);
            town.bookings[n].1 = Some(begun);
            town.act(n, out);
        }
        town
    }

    fn send(&mut self, at: MonoMs, due: Due) {
        self.sent += 1;
        self.queue.insert((at, self.sent), due);
    }

    fn run(&mut self) {
        while let Some(((at, _), due)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            match due {
                Due::Booking(n, event) => {
                    let mut out = Vec::new();
                    self.bookings[n].1.as_mut().unwrap().step(self.now, event, &mut out);
                    self.act(n, out);
                }
                Due::Claims(n) => {
                    let (free, mut out) = (self.drivers[n].2.is_none(), Vec::new());
                    self.drivers[n].1.tick(self.now, free, &self.policy, &mut out);
                    self.act_on_claims(n, out);
                }
            }
        }
    }

    fn act(&mut self, n: usize, effects: Vec<Effect>) {
        let soon = self.now.plus_ms(HOP_MS);
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Search { radius_m } => {
                    let event = self.search(n, radius_m);
                    self.send(soon, Due::Booking(n, event));
                }
                Effect::Claim { candidate, favour_ms, contended } => {
                    self.claim(n, candidate, favour_ms, contended);
                }
                Effect::Start { candidate, attempt } => {
                    let offer = offer(n, candidate, attempt);
                    let started = Event::Started(candidate.driver, Some(offer));
                    self.send(soon, Due::Booking(n, started));
                }
                Effect::Hold(offer) | Effect::HoldNext(offer) => {
                    let driver = usize::try_from(offer.driver.to_raw()).unwrap();
                    assert_eq!(self.drivers[driver].2, None, "a reserved driver was given away");
                    self.drivers[driver].2 = Some(n);
                    let out = self.drivers.iter().filter(|(.., held)| *held == Some(n)).count();
                    assert!(out <= self.policy.max_offers_per_attempt.into(), "{out} at once");
                    let held = Event::Held(offer.id, Some(HoldAnswer::Held));
                    self.send(soon, Due::Booking(n, held));
                    // He says yes at once; the first of the booking's drivers has it.
                    if self.got[n].is_none() {
                        self.got[n] = Some(driver);
                        let settled = Event::Settled(Some(offer.id));
                        self.send(soon.plus_ms(1), Due::Booking(n, settled));
                    }
                }
                Effect::WakeAt(at) => self.send(at, Due::Booking(n, Event::Tick)),
                Effect::Expire => self.send(soon, Due::Booking(n, Event::Settled(None))),
                Effect::Release(driver, _) => self.release(driver),
                Effect::EndOffer(..) | Effect::Appeal { .. } | Effect::Finish => {}
            }
        }
    }

    /// As a shell that knows no roads sees him.
    fn prospect(&self, car: Candidate) -> Prospect {
        let Policy { speed_cms, detour_pct, .. } = self.policy;
        Prospect::free(car, geo::eta_ms(car.distance_m, speed_cms, detour_pct), WallMs(0))
    }

    fn search(&self, n: usize, radius_m: u32) -> Event {
        let center = self.bookings[n].0;
        let mut candidates: Vec<Candidate> = (0..self.drivers.len())
            .filter(|driver| self.drivers[*driver].2.is_none())
            .filter_map(|driver| {
                let point = self.drivers[driver].0;
                let distance_m = geo::distance_within(center, point, radius_m)?;
                let (driver, status) = (driver_id(driver), DriverStatus::Free);
                let (at, idle_since, version, spare) = (WallMs(0), WallMs(0), 1, 0);
                Some(Candidate {
                    driver,
                    point,
                    at,
                    distance_m,
                    status,
                    version,
                    spare,
                    idle_since,
                })
            })
            .collect();
        candidates.sort_by_key(|candidate| (candidate.distance_m, candidate.driver));
        candidates.truncate(dispatch::candidates_max(&self.policy, radius_m).into());
        let others =
            self.got.iter().enumerate().filter(|(other, got)| *other != n && got.is_none());
        let waiting = u32::try_from(others.count()).unwrap();
        let candidates = candidates.into_iter().map(|car| self.prospect(car)).collect();
        Event::Found(Findings { candidates, waiting, ..Findings::default() })
    }

    /// A driver who is free again wakes whoever still looks, as a board does.
    fn release(&mut self, driver: DriverId) {
        let place = usize::try_from(driver.to_raw()).unwrap();
        let (point, _, holder) = &mut self.drivers[place];
        *holder = None;
        let (point, soon) = (*point, self.now.plus_ms(HOP_MS));
        for n in 0..self.bookings.len() {
            let looks = self.got[n].is_none();
            let radius_m = self.bookings[n].1.as_ref().map_or(0, Dispatch::radius_m);
            if let Some(distance_m) = geo::distance_within(self.bookings[n].0, point, radius_m)
                && looks
            {
                let (status, at, version, spare) = (DriverStatus::Free, WallMs(0), 1, 0);
                let idle_since = at;
                let car =
                    Candidate { driver, point, at, distance_m, status, version, spare, idle_since };
                self.send(soon, Due::Booking(n, Event::Woken(self.prospect(car))));
            }
        }
    }

    fn claim(&mut self, n: usize, candidate: Ranked, favour_ms: i64, contended: bool) {
        self.claimed[n].push(candidate.driver);
        let driver = usize::try_from(candidate.driver.to_raw()).unwrap();
        let ticket = self.sent + 1_000_000;
        self.sent += 1;
        self.tickets.insert(ticket, n);
        let booking = BookingId::mint(Slot(0), WallMs(0), n as u64);
        let score_ms = candidate.cost_ms - favour_ms;
        let claim = Claim { ticket, booking, score_ms, contended };
        let (free, mut out) = (self.drivers[driver].2.is_none(), Vec::new());
        self.drivers[driver].1.claim(self.now, claim, free, &self.policy, &mut out);
        self.act_on_claims(driver, out);
    }

    fn act_on_claims(&mut self, driver: usize, effects: Vec<claim::Effect>) {
        for effect in effects {
            match effect {
                claim::Effect::Answer(ticket, answer) => {
                    let n = self.tickets.remove(&ticket).unwrap();
                    let at = self.now.plus_ms(HOP_MS);
                    let claimed = Event::Claimed(driver_id(driver), Some(answer));
                    self.send(at, Due::Booking(n, claimed));
                }
                claim::Effect::WakeAt(at) => self.send(at, Due::Claims(driver)),
            }
        }
    }
}

fn offer(n: usize, candidate: Ranked, attempt: u16) -> Offer {
    let point = Point::from_e7(0, 0).unwrap();
    Offer {
        id: OfferId::mint(Slot(0), WallMs(n as u64), candidate.driver.to_raw()),
        booking: BookingId::mint(Slot(0), WallMs(0), n as u64),
        driver: candidate.driver,
        attempt,
        rank: candidate.rank,
        distance_m: candidate.distance_m,
        eta_s: candidate.eta_s,
        cost_ms: candidate.cost_ms,
        pickup: point,
        destination: point,
        created_at: WallMs(0),
        ttl_ms: 15_000,
        shown_ms: 10_000,
    }
}

/// Points within a few kilometres.
fn points(max: usize) -> impl Strategy<Value = Vec<Point>> {
    let point = (0i32..300_000, 0i32..300_000);
    let point = point.prop_map(|(lat, lng)| Point::from_e7(407_000_000 + lat, -740_000_000 + lng));
    proptest::collection::vec(point.prop_map(Result::unwrap), 1..max)
}

/// Whether a driver may be offered a booking, said naively.
fn reaches(policy: &Policy, driver: Point, pickup: Point) -> bool {
    let distance_m = geo::distance_m(driver, pickup);
    let eta_ms = geo::eta_ms(distance_m, policy.speed_cms, policy.detour_pct);
    distance_m <= policy.search_radii_m[2] && eta_ms <= u64::from(policy.pickup_cap_ms)
}

proptest! {
    /// One booking gets the driver that a linear scan calls the nearest, or nobody if nobody may
    /// be offered it.
    #[test]
    fn a_booking_alone_gets_the_nearest_driver(pickup in points(2), drivers in points(12)) {
        let mut town = Town::new(&pickup, &drivers, 1);
        town.run();
        let nearest = (0..drivers.len())
            .filter(|n| reaches(&town.policy, drivers[*n], pickup[0]))
            .min_by_key(|n| (geo::distance_m(drivers[*n], pickup[0]), *n));
        // The same whole metre is the same cost; then the lower id wins in both.
        prop_assert_eq!(town.got[0], nearest);
    }

    /// Bookings that compete: no driver is given twice, and a booking left without a driver left
    /// no driver behind whom it could have had.
    #[test]
    fn nobody_waits_beside_a_free_driver(
        pickups in points(6),
        drivers in points(8),
        fan_out in 1u16..6,
    ) {
        let mut town = Town::new(&pickups, &drivers, fan_out);
        town.run();
        let mut given = BTreeSet::new();
        for driver in town.got.iter().flatten() {
            prop_assert!(given.insert(*driver), "driver {driver} was given twice");
        }
        for (n, pickup) in pickups.iter().enumerate().filter(|(n, _)| town.got[*n].is_none()) {
            for (driver, at) in drivers.iter().enumerate() {
                let free = !given.contains(&driver);
                prop_assert!(!(free && reaches(&town.policy, *at, *pickup)), "{n} missed {driver}");
            }
        }
    }
}
