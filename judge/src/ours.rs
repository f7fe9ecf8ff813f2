//! The policy that ships: the cores of `actors`, driven by a virtual clock. A [`Dispatch`] for each
//! rider, [`Claims`] for each car, the cells' index and demand board, and [`actors::improve`]; every message
//! between them takes its time, may be lost, and is answered as the shells answer it.
//!
//! What is not as in a cluster:
//! * Cars on their way to riders and those that think are out of the index instead of in it as busy, and
//!   one that stands still is heard of always: pings are not what is judged. A car with a rider is in it
//!   for the last of its ride, pings every `PING_MS`, and the shells estimate from the last ping.
//! * One demand board for the city instead of one for each ring key: posts and wakes are by circle,
//!   so the same bookings are woken.
//! * A command takes two messages' time; no log, no disk.
//! * A better driver before the pickup is swapped for at once, and another for one that is yielded; in a
//!   cluster he is asked first.

mod cells;
mod rides;
#[cfg(test)]
mod tests;

use crate::draws::Draws;
use crate::queue::Queue;
use crate::street::{Does, Street};
use actors::claim::{self, Claim, Claims};
use actors::dispatch::{Dispatch, Effect, Event, Ranked, Start};
use actors::policy::Policy;
use cells::Cells;
use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer};
use proto::units::Clock;
use proto::{BookingId, DriverId, MonoMs, OfferId, Point, Slot, WallMs};
use std::collections::BTreeMap;

/// How long a claim may take beyond its window, in milliseconds, as the booking's shell has it.
const CLAIM_GRACE_MS: u64 = 100;
/// How long the partitions of a killed node are without a leader, in milliseconds.
const TAKEOVER_MS: u64 = 1_200;
/// How long until a new owner has heard of all cars in a dead one's cells: a ping period.
const REFILL_MS: u64 = 5_000;
/// How often a phone says where it is, in milliseconds.
pub(super) const PING_MS: u64 = 5_000;
/// Nodes that share riders, cars and cells.
const NODES: usize = 3;

/// How the cores are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// What they are tuned by.
    pub policy: Policy,
    /// Whether a car that comes free wakes those who wait nearby.
    pub boards: bool,
    /// Whether estimates know the roads; else straight lines, by the policy's speed and detour.
    pub roads: bool,
}

/// What is due in a run.
enum Due {
    Ask(usize),
    /// A booking's shell comes back after its node died.
    TakeUp(usize),
    Step(usize, u32, Event),
    /// A timer of a booking.
    Tick(usize, u32, u64),
    Search(usize, u32, u32),
    Claim(usize, u32, ClaimAsk),
    CloseClaims(usize),
    Hold(usize, u32, Box<Offer>),
    Answer(usize, usize, OfferId),
    Arrive(usize, u32),
    /// A car with a rider is heard of.
    Ping(usize),
    RideOver(usize),
    Improve(usize, u32),
    Kill(usize),
}

#[derive(Clone, Copy)]
struct ClaimAsk {
    car: usize,
    score_ms: i64,
    contended: bool,
    soon: bool,
}

/// One rider's shell.
#[derive(Default)]
struct Shell {
    dispatch: Option<Dispatch>,
    /// Rises when the shell dies, so that what was on its way to it is known.
    life: u32,
    timer_ms: Option<u64>,
    messages: u64,
    offers: BTreeMap<OfferId, Offer>,
    assigned: bool,
}

/// One driver's shell.
#[derive(Default)]
struct Desk {
    claims: Claims,
    held: Option<OfferId>,
    waiting: BTreeMap<u64, (usize, u32)>,
}

struct Run<'s, 'a> {
    street: &'s mut Street<'a>,
    ours: &'s Ours,
    draws: Draws,
    clock: &'s dyn Clock,
    queue: Queue<Due>,
    shells: Vec<Shell>,
    desks: Vec<Desk>,
    cells: Cells,
    numbers: BTreeMap<BookingId, usize>,
    tickets: u64,
    to_come: usize,
    /// When each node's partitions have a leader again.
    back_ms: [u64; NODES],
    took_us: Vec<u64>,
}

/// Runs the shipped policy to its end; gives what each decision took, in microseconds: a search with
/// what the booking makes of it.
pub fn run(street: &mut Street<'_>, ours: &Ours, draws: Draws, clock: &dyn Clock) -> Vec<u64> {
    let mut queue = Queue::default();
    for (rider, request) in street.requests.iter().enumerate() {
        queue.push(request.at_ms, Due::Ask(rider));
    }
    let (riders, cars) = (street.requests.len(), street.cars.len());
    let numbers = (0..riders).map(|rider| (booking(rider), rider)).collect();
    let mut run = Run {
        queue,
        shells: (0..riders).map(|_| Shell::default()).collect(),
        desks: (0..cars).map(|_| Desk::default()).collect(),
        cells: Cells::new(street.roads.junctions()),
        numbers,
        tickets: 0,
        to_come: riders,
        back_ms: [0; NODES],
        took_us: Vec::new(),
        street,
        ours,
        draws,
        clock,
    };
    for car in 0..cars {
        run.appear(0, car);
    }
    let kill_every_ms = draws.realism.kill_every_ms;
    if kill_every_ms > 0 {
        run.queue.push(kill_every_ms, Due::Kill(0));
    }
    while let Some((now_ms, due)) = run.queue.pop() {
        run.due(now_ms, due);
    }
    run.took_us
}

/// The id of a rider's booking.
fn booking(rider: usize) -> BookingId {
    let slot = u16::try_from(rider % 65_536).unwrap_or_default();
    BookingId::mint(Slot(slot), WallMs(rider as u64), rider as u64)
}

fn driver(car: usize) -> DriverId {
    DriverId::from_raw(car as u64)
}

fn car_of(driver: DriverId) -> usize {
    usize::try_from(driver.to_raw()).unwrap_or(usize::MAX)
}

impl Run<'_, '_> {
    fn due(&mut self, now_ms: u64, due: Due) {
        match due {
            Due::Ask(rider) => {
                self.to_come -= 1;
                self.begin(now_ms, rider);
            }
            Due::TakeUp(rider) => self.begin(now_ms, rider),
            Due::Step(rider, life, event) => {
                if self.shells[rider].life == life {
                    self.step(now_ms, rider, event);
                }
            }
            Due::Tick(rider, life, at_ms) => {
                let shell = &mut self.shells[rider];
                if shell.life == life && shell.timer_ms == Some(at_ms) {
                    shell.timer_ms = None;
                    self.step(now_ms, rider, Event::Tick);
                }
            }
            Due::Search(rider, life, radius_m) => {
                if self.shells[rider].life == life {
                    let begun_us = self.clock.precise_us();
                    let found = self.search(now_ms, rider, radius_m);
                    let delay_ms = self.delay_ms(rider);
                    // What the booking makes of it is counted here, and happens when it hears.
                    self.took_us.push(self.clock.precise_us().saturating_sub(begun_us));
                    self.queue.push(now_ms + delay_ms, Due::Step(rider, life, Event::Found(found)));
                }
            }
            Due::Claim(rider, life, ask) => self.claim(now_ms, rider, life, ask),
            Due::CloseClaims(car) => {
                let (free, mut out) = (self.is_free(car), Vec::new());
                self.desks[car].claims.tick(MonoMs(now_ms), free, &self.ours.policy, &mut out);
                self.answer_claims(now_ms, car, out);
            }
            Due::Hold(rider, life, offer) => self.hold(now_ms, rider, life, *offer),
            Due::Answer(rider, car, offer) => self.answered(now_ms, rider, car, offer),
            Due::Arrive(rider, leg) => self.arrive(now_ms, rider, leg),
            Due::Ping(car) => self.ping(now_ms, car),
            Due::RideOver(car) => {
                self.street.set_free(car);
                self.appear(now_ms, car);
            }
            Due::Improve(rider, leg) => self.improve(now_ms, rider, leg),
            Due::Kill(node) => self.kill(now_ms, node),
        }
    }

    /// A booking's shell begins, from where its record says it is.
    fn begin(&mut self, now_ms: u64, rider: usize) {
        let age_ms = now_ms - self.street.requests[rider].at_ms;
        let shell = &mut self.shells[rider];
        let offered = shell.offers.values();
        let start = Start {
            age_ms,
            ride_ms: self.street.ride_ms(rider),
            attempt: offered.clone().map(|offer| offer.attempt).max().unwrap_or_default(),
            offers_made: shell.offers.len(),
            passed_over: offered.map(|offer| offer.driver).collect(),
            pending: Vec::new(),
            waited_ms: None,
        };
        let mut out = Vec::new();
        let policy = self.ours.policy.clone();
        shell.dispatch = Some(Dispatch::begin(MonoMs(now_ms), policy, start, &mut out));
        self.act(now_ms, rider, out);
    }

    fn step(&mut self, now_ms: u64, rider: usize, event: Event) {
        let Some(dispatch) = &mut self.shells[rider].dispatch else { return };
        let mut out = Vec::new();
        dispatch.step(MonoMs(now_ms), event, &mut out);
        self.act(now_ms, rider, out);
    }

    /// Does what a booking's core asks for.
    fn act(&mut self, now_ms: u64, rider: usize, effects: Vec<Effect>) {
        let life = self.shells[rider].life;
        for effect in effects {
            let at_ms = now_ms + self.delay_ms(rider);
            match effect {
                Effect::Search { radius_m } => {
                    self.queue.push(at_ms, Due::Search(rider, life, radius_m));
                }
                Effect::Claim { candidate, favour_ms, contended } => {
                    self.send_claim((now_ms, at_ms), rider, candidate, favour_ms, contended);
                }
                Effect::Start { candidate, attempt } => {
                    let offer = self.offer(rider, candidate, attempt);
                    self.shells[rider].offers.insert(offer.id, offer.clone());
                    let started = Event::Started(candidate.driver, Some(offer));
                    let heard_ms = at_ms + self.delay_ms(rider);
                    self.queue.push(heard_ms, Due::Step(rider, life, started));
                }
                // Nobody is bound here: who has a rider aboard is busy.
                Effect::Hold(offer) | Effect::HoldNext(offer) => {
                    self.queue.push(at_ms, Due::Hold(rider, life, offer))
                }
                Effect::Release(driver, offer) => {
                    let desk = &mut self.desks[car_of(driver)];
                    if desk.held == Some(offer) {
                        desk.held = None;
                        self.appear(now_ms, car_of(driver));
                    }
                }
                Effect::Expire => {
                    let settled = Due::Step(rider, life, Event::Settled(None));
                    self.queue.push(at_ms, settled);
                }
                Effect::Finish => {
                    self.cells.withdraw(booking(rider));
                    self.shells[rider].dispatch = None;
                }
                Effect::WakeAt(MonoMs(at_ms)) => {
                    let shell = &mut self.shells[rider];
                    if shell.timer_ms.is_none_or(|timer_ms| at_ms < timer_ms) {
                        shell.timer_ms = Some(at_ms);
                        self.queue.push(at_ms.max(now_ms), Due::Tick(rider, life, at_ms));
                    }
                }
                Effect::Appeal { within_ms, but_not } => {
                    let asked = self.appeal(now_ms, rider, within_ms, &but_not);
                    let appealed = Due::Step(rider, life, Event::Appealed(asked));
                    self.queue.push(at_ms, appealed);
                }
                Effect::EndOffer(..) => {}
            }
        }
    }

    fn send_claim(
        &mut self,
        (now_ms, at_ms): (u64, u64),
        rider: usize,
        candidate: Ranked,
        favour_ms: i64,
        contended: bool,
    ) {
        let Ranked { driver, cost_ms, soon, .. } = candidate;
        let (score_ms, car) = (cost_ms - favour_ms, car_of(driver));
        let shell = &mut self.shells[rider];
        shell.messages += 1;
        let (message, life) = (shell.messages, shell.life);
        if self.draws.lost(rider, message) || self.back_ms[car % NODES] > now_ms {
            let late_ms = now_ms + u64::from(self.ours.policy.claim_window_ms) + CLAIM_GRACE_MS;
            let silent = Event::Claimed(driver, None);
            self.queue.push(late_ms, Due::Step(rider, life, silent));
            return;
        }
        let ask = ClaimAsk { car, score_ms, contended, soon };
        self.queue.push(at_ms, Due::Claim(rider, life, ask));
    }

    /// A claim reaches the driver's shell.
    fn claim(&mut self, now_ms: u64, rider: usize, life: u32, ask: ClaimAsk) {
        let ClaimAsk { car, score_ms, contended, soon } = ask;
        self.tickets += 1;
        let ticket = self.tickets;
        self.desks[car].waiting.insert(ticket, (rider, life));
        let claim = Claim { ticket, booking: booking(rider), score_ms, contended };
        let (free, mut out) = (self.is_free(car), Vec::new());
        let claims = &mut self.desks[car].claims;
        if soon {
            // One who came free meanwhile has woken those who wait; this one looks again.
            let answer = if matches!(self.street.cars[car].does, Does::Carries(_)) {
                claims.count_on(MonoMs(now_ms), claim)
            } else {
                ClaimAnswer::Busy(None)
            };
            out.push(claim::Effect::Answer(ticket, answer));
        } else {
            claims.claim(MonoMs(now_ms), claim, free, &self.ours.policy, &mut out);
        }
        self.answer_claims(now_ms, car, out);
    }

    fn answer_claims(&mut self, now_ms: u64, car: usize, effects: Vec<claim::Effect>) {
        for effect in effects {
            match effect {
                claim::Effect::Answer(ticket, answer) => {
                    let Some((rider, life)) = self.desks[car].waiting.remove(&ticket) else {
                        continue;
                    };
                    let claimed = Event::Claimed(driver(car), Some(answer));
                    let at_ms = now_ms + self.delay_ms(rider);
                    self.queue.push(at_ms, Due::Step(rider, life, claimed));
                }
                claim::Effect::WakeAt(MonoMs(at_ms)) => {
                    self.queue.push(at_ms, Due::CloseClaims(car));
                }
            }
        }
    }

    /// An offer comes before its driver.
    fn hold(&mut self, now_ms: u64, rider: usize, life: u32, offer: Offer) {
        let car = car_of(offer.driver);
        self.desks[car].claims.settle(offer.booking);
        let free = self.is_free(car);
        let answer = if free { HoldAnswer::Held } else { HoldAnswer::Busy };
        if free {
            self.desks[car].held = Some(offer.id);
            self.cells.vanish(driver(car));
            let (_, after_ms) = self.draws.answer(rider, car);
            self.queue.push(now_ms + after_ms, Due::Answer(rider, car, offer.id));
        }
        let held = Event::Held(offer.id, Some(answer));
        let heard_ms = now_ms + self.delay_ms(rider);
        self.queue.push(heard_ms, Due::Step(rider, life, held));
    }

    /// Whether nothing and nobody has a driver.
    fn is_free(&self, car: usize) -> bool {
        self.street.is_free(car) && self.desks[car].held.is_none()
    }

    fn delay_ms(&mut self, rider: usize) -> u64 {
        let shell = &mut self.shells[rider];
        shell.messages += 1;
        self.draws.delay_ms(rider, shell.messages)
    }

    fn place(&self, junction: u32) -> Point {
        self.street.roads.junctions()[junction as usize]
    }
}
