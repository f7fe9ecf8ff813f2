//! The saga as a model, searched exhaustively: two bookings, two drivers, two attempts each, with the
//! design's `next` (a driver says yes to a ride that follows his current one) and `Reassign` (a
//! booking changes to a better driver before the pickup).
//!
//! What is sent may be lost, late, repeated and out of order, and any node may crash between any two
//! steps: a message is a *fact*, a bit that is set when a record first justifies it and never taken
//! back, and whoever reads a fact may act on it at any later time, or never. So no queue is in the
//! state, and every crash point is: shells are stateless, what they know is in the records.
//!
//! * S1 a driver has at most one trip on the road;
//! * S2 so has a booking;
//! * S3 the driver of a trip on the road is taken by that trip's very offer;
//! * S4 an offer that was taken back is never before its driver again;
//! * S5 the driver whom a booking waits for as his next ride has promised it.
//!
//! `tests/saga.rs` checks the shipped registers against the same laws, at random.

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use std::fmt::Debug;

const DRIVERS: u8 = 2;
const BOOKINGS: u8 = 2;
const ATTEMPTS: u8 = 2;
/// The bits of an offer's number that name its driver and its booking.
const SWAP_DRIVERS: u8 = 1;
const SWAP_BOOKINGS: u8 = 4;

/// An offer is a booking, an attempt and a driver; there is never another of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Offer(u8);

impl Offer {
    const fn of(booking: u8, attempt: u8, driver: u8) -> Self {
        Self((booking * ATTEMPTS + attempt) * DRIVERS + driver)
    }
    fn all() -> impl Iterator<Item = Self> {
        (0..BOOKINGS * ATTEMPTS * DRIVERS).map(Self)
    }
    const fn driver(self) -> usize {
        (self.0 % DRIVERS) as usize
    }
    const fn booking(self) -> usize {
        (self.0 / DRIVERS / ATTEMPTS) as usize
    }
}

/// A set of offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Offers(u8);

impl Offers {
    const fn has(self, offer: Offer) -> bool {
        self.0 >> offer.0 & 1 == 1
    }
    fn add(&mut self, offer: Offer) {
        self.0 |= 1 << offer.0;
    }
    fn drop(&mut self, offer: Offer) {
        self.0 &= !(1 << offer.0);
    }
    fn renamed(self, names: u8) -> Self {
        let Self(mut bits) = self;
        if names & SWAP_DRIVERS != 0 {
            bits = (bits & 0x55) << 1 | (bits & 0xaa) >> 1;
        }
        if names & SWAP_BOOKINGS != 0 {
            bits = bits.rotate_left(4);
        }
        Self(bits)
    }
    fn iter(self) -> impl Iterator<Item = Offer> {
        Offer::all().filter(move |offer| self.has(*offer))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Promise {
    Held(Offer),
    Taken(Offer),
}

impl Promise {
    const fn offer(self) -> Offer {
        let (Self::Held(offer) | Self::Taken(offer)) = self;
        offer
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Driver {
    current: Option<Promise>,
    next: Option<Promise>,
    /// Offers that ended for him.
    done: Offers,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    #[default]
    Open,
    /// Its driver comes after his current ride.
    Waits(Offer),
    Rides {
        offer: Offer,
        picked_up: bool,
    },
    Over,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Booking {
    attempt: u8,
    phase: Phase,
    pending: Offers,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State {
    drivers: [Driver; DRIVERS as usize],
    bookings: [Booking; BOOKINGS as usize],
    /// Trips on the road.
    trips: Offers,
    /// Facts: `OfferStart` was committed, so a `Hold` may come.
    started: Offers,
    /// `Accept` was, as a current ride, or as the next one; so an `Assign` may come, and say which.
    accepted: Offers,
    accepted_next: Offers,
    /// A next ride became the current one, so its `Assign` may come: the design's `Promote`.
    promoted: Offers,
    /// A booking is through with an offer, so a `Release` may come.
    settled: Offers,
    /// Offers of which nothing can be heard any more.
    dead: Offers,
    /// What S4 and the reachability of the interesting states are judged by.
    back_again: bool,
    reassigned: bool,
}

/// What the design allows, and what is done wrong.
#[derive(Debug, Clone, Copy, Default)]
struct Saga {
    next: bool,
    reassign: bool,
    mistake: Option<Mistake>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// The time of an offer frees a driver who has said yes.
    TtlFreesTaken,
    /// A `Release` frees whatever the driver has.
    ReleaseIgnoresOffer,
    /// An `Assign` that comes again is answered with a no.
    RepeatedAssignIsRefused,
    /// A booking takes an offer that it has ended.
    AssignIgnoresEnd,
    /// A ride promised as the next one is a trip at once.
    NextIsATripAtOnce,
    /// A promoted ride begins while the one before it is still on the road.
    PromoteWithoutEnd,
    /// The old driver is freed when a better one is asked, not when he has said yes.
    ReassignFreesFirst,
    /// A booking changes drivers and leaves the old trip on the road.
    ReassignLeavesTheTrip,
    /// A driver forgets which offers ended for him.
    OutcomesForgotten,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    OfferStart(u8, u8),
    /// A better driver is asked while one is on his way.
    Improve(u8, u8),
    NextAttempt(u8),
    OfferEnd(Offer),
    Cancel(u8),
    /// A booking waits no longer for a driver on another ride.
    EndPromise(Offer),
    PickUp(u8),
    End(u8),
    Hold(Offer),
    Expire(Offer),
    Accept(Offer),
    Assign(Offer, Slot),
    Promote(Offer),
    Release(Offer),
}

/// As which ride a driver has said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Current,
    Next,
}

impl State {
    /// The booking is through with an offer, for ever.
    fn settle(&mut self, offer: Offer) {
        self.bookings[offer.booking()].pending.drop(offer);
        self.settled.add(offer);
    }

    fn settle_all(&mut self, booking: usize) {
        for offer in self.bookings[booking].pending.iter() {
            self.settle(offer);
        }
    }

    fn ride(&mut self, offer: Offer) {
        self.bookings[offer.booking()].phase = Phase::Rides { offer, picked_up: false };
        self.trips.add(offer);
    }

    /// What a driver is through with makes room for what he has promised next.
    fn release(&mut self, offer: Offer, ignores: bool) {
        let driver = &mut self.drivers[offer.driver()];
        driver.done.add(offer);
        if driver.current.is_some_and(|it| it.offer() == offer || ignores) {
            driver.current = driver.next.take();
            if let Some(Promise::Taken(next)) = driver.current {
                self.promoted.add(next);
            }
        } else if driver.next.is_some_and(|it| it.offer() == offer) {
            driver.next = None;
        }
    }

    /// Drops facts that can change nothing any more, whoever acts on them, so that states which
    /// differ in nothing else are one. True of the saga as designed, not of its mistakes.
    fn forget_the_dead(&mut self) {
        // A booking that is through with an offer never takes it again.
        for facts in [&mut self.accepted, &mut self.accepted_next, &mut self.promoted] {
            facts.0 &= !self.settled.0;
        }
        for offer in Offer::all() {
            let Driver { current, next, done } = &self.drivers[offer.driver()];
            let has = [current, next].into_iter().flatten().any(|it| it.offer() == offer);
            if done.has(offer) && !has && self.settled.has(offer) {
                self.dead.add(offer);
            }
        }
        // Nobody can bring back an offer that has ended on both sides.
        self.settled.0 &= !self.dead.0;
        self.started.0 &= !self.dead.0;
        let Self { drivers, dead, .. } = self;
        drivers.iter_mut().for_each(|driver| driver.done.0 &= !dead.0);
    }

    /// Drivers are alike, and so are bookings: of the four states that differ in their names only,
    /// one stands for all.
    fn first_of_its_likes(self) -> Self {
        let renamed = [SWAP_DRIVERS, SWAP_BOOKINGS, SWAP_DRIVERS | SWAP_BOOKINGS];
        renamed.into_iter().map(|names| self.renamed(names)).fold(self.clone(), Ord::min)
    }

    fn renamed(&self, names: u8) -> Self {
        let offer = |offer: Offer| Offer(offer.0 ^ names);
        let promise = |promise: Promise| match promise {
            Promise::Held(it) => Promise::Held(offer(it)),
            Promise::Taken(it) => Promise::Taken(offer(it)),
        };
        let mut drivers = self.drivers.clone().map(|Driver { current, next, done }| Driver {
            current: current.map(promise),
            next: next.map(promise),
            done: done.renamed(names),
        });
        let mut bookings = self.bookings.clone().map(|it| Booking {
            pending: it.pending.renamed(names),
            phase: match it.phase {
                Phase::Waits(it) => Phase::Waits(offer(it)),
                Phase::Rides { offer: it, picked_up } => {
                    Phase::Rides { offer: offer(it), picked_up }
                }
                Phase::Open | Phase::Over => it.phase,
            },
            ..it
        });
        if names & SWAP_DRIVERS != 0 {
            drivers.reverse();
        }
        if names & SWAP_BOOKINGS != 0 {
            bookings.reverse();
        }
        Self {
            drivers,
            bookings,
            trips: self.trips.renamed(names),
            started: self.started.renamed(names),
            accepted: self.accepted.renamed(names),
            accepted_next: self.accepted_next.renamed(names),
            promoted: self.promoted.renamed(names),
            settled: self.settled.renamed(names),
            dead: self.dead.renamed(names),
            ..*self
        }
    }

    fn on_the_road(&self, of: impl Fn(Offer) -> bool) -> usize {
        self.trips.iter().filter(|trip| of(*trip)).count()
    }
}

impl Saga {
    fn makes(self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn hold(self, state: &mut State, offer: Offer) {
        let driver = &mut state.drivers[offer.driver()];
        if driver.done.has(offer) && !self.makes(Mistake::OutcomesForgotten) {
            return;
        }
        let room = match (driver.current, driver.next) {
            (None, None) => &mut driver.current,
            (Some(Promise::Taken(current)), None)
                if self.next && current.booking() != offer.booking() =>
            {
                &mut driver.next
            }
            _ => return,
        };
        *room = Some(Promise::Held(offer));
        state.back_again |= driver.done.has(offer);
    }

    fn assign(self, state: &mut State, offer: Offer, slot: Slot) {
        let booking = offer.booking();
        let Booking { phase, pending, .. } = state.bookings[booking];
        let stands = pending.has(offer) || self.makes(Mistake::AssignIgnoresEnd);
        match phase {
            Phase::Open if stands => {
                state.bookings[booking].pending.drop(offer);
                state.settle_all(booking);
                match slot {
                    Slot::Next if !self.makes(Mistake::NextIsATripAtOnce) => {
                        state.bookings[booking].phase = Phase::Waits(offer);
                    }
                    Slot::Current | Slot::Next => state.ride(offer),
                }
            }
            // What was promised is his current ride by now.
            Phase::Waits(own) if own == offer && slot == Slot::Current => state.ride(offer),
            Phase::Waits(own) | Phase::Rides { offer: own, .. }
                if own == offer && !self.makes(Mistake::RepeatedAssignIsRefused) => {}
            Phase::Rides { offer: old, picked_up: false }
                if stands && old != offer && slot == Slot::Current && self.reassign =>
            {
                state.bookings[booking].pending.drop(offer);
                state.settle_all(booking);
                if !self.makes(Mistake::ReassignLeavesTheTrip) {
                    state.trips.drop(old);
                }
                state.settle(old);
                state.ride(offer);
                state.reassigned = true;
            }
            // Refused for ever: whoever asked lets the driver go.
            Phase::Open | Phase::Waits(_) | Phase::Rides { .. } | Phase::Over => {
                state.settle(offer);
            }
        }
    }

    /// A booking that is over ends its offers and its trip.
    fn finish(state: &mut State, booking: usize) {
        state.settle_all(booking);
        if let Phase::Waits(offer) | Phase::Rides { offer, .. } = state.bookings[booking].phase {
            state.trips.drop(offer);
            state.settle(offer);
        }
        state.bookings[booking].phase = Phase::Over;
    }

    fn take(self, state: &mut State, step: &Step) {
        match *step {
            Step::OfferStart(booking, driver) => {
                let it = &mut state.bookings[booking as usize];
                let offer = Offer::of(booking, it.attempt, driver);
                it.pending.add(offer);
                state.started.add(offer);
            }
            Step::Improve(booking, driver) => {
                let it = &mut state.bookings[booking as usize];
                it.attempt += 1;
                let offer = Offer::of(booking, it.attempt, driver);
                it.pending.add(offer);
                if let Phase::Rides { offer: old, .. } = it.phase
                    && self.makes(Mistake::ReassignFreesFirst)
                {
                    state.settled.add(old);
                }
                state.started.add(offer);
            }
            Step::NextAttempt(booking) => state.bookings[booking as usize].attempt += 1,
            Step::OfferEnd(offer) => state.settle(offer),
            Step::Cancel(booking) | Step::End(booking) => Self::finish(state, booking as usize),
            Step::EndPromise(offer) => {
                state.settle(offer);
                state.bookings[offer.booking()].phase = Phase::Open;
            }
            Step::PickUp(booking) => {
                if let Phase::Rides { picked_up, .. } = &mut state.bookings[booking as usize].phase
                {
                    *picked_up = true;
                }
            }
            Step::Hold(offer) => self.hold(state, offer),
            Step::Expire(offer) => state.release(offer, false),
            Step::Accept(offer) => {
                let Driver { current, next, .. } = &mut state.drivers[offer.driver()];
                if *current == Some(Promise::Held(offer)) {
                    *current = Some(Promise::Taken(offer));
                    state.accepted.add(offer);
                } else {
                    *next = Some(Promise::Taken(offer));
                    state.accepted_next.add(offer);
                    if self.makes(Mistake::PromoteWithoutEnd) {
                        state.promoted.add(offer);
                    }
                }
            }
            Step::Assign(offer, slot) => self.assign(state, offer, slot),
            Step::Promote(offer) => self.assign(state, offer, Slot::Current),
            Step::Release(offer) => {
                state.release(offer, self.makes(Mistake::ReleaseIgnoresOffer));
            }
        }
    }

    /// What a booking's shell, its rider and its driver may do.
    fn booking_steps(self, state: &State, booking: u8, steps: &mut Vec<Step>) {
        let Booking { attempt, phase, pending } = state.bookings[booking as usize];
        let more = attempt + 1 < ATTEMPTS;
        match phase {
            Phase::Open => {
                for driver in 0..DRIVERS {
                    let offer = Offer::of(booking, attempt, driver);
                    if !state.started.has(offer) && !state.dead.has(offer) {
                        steps.push(Step::OfferStart(booking, driver));
                    }
                }
                if pending == Offers::default() && more {
                    steps.push(Step::NextAttempt(booking));
                }
                steps.push(Step::Cancel(booking));
            }
            Phase::Waits(offer) => {
                steps.extend([Step::Cancel(booking), Step::EndPromise(offer)]);
            }
            Phase::Rides { offer, picked_up: false } => {
                steps.extend([Step::PickUp(booking), Step::Cancel(booking)]);
                let others = (0..DRIVERS).filter(|driver| *driver as usize != offer.driver());
                if self.reassign && more {
                    steps.extend(others.map(|driver| Step::Improve(booking, driver)));
                }
            }
            Phase::Rides { picked_up: true, .. } => steps.push(Step::End(booking)),
            Phase::Over => {}
        }
        steps.extend(pending.iter().map(Step::OfferEnd));
    }
}

impl Model for Saga {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for booking in 0..BOOKINGS {
            self.booking_steps(state, booking, steps);
        }
        for driver in &state.drivers {
            for promise in [driver.current, driver.next].into_iter().flatten() {
                match promise {
                    Promise::Held(offer) => {
                        steps.extend([Step::Expire(offer), Step::Accept(offer)]);
                    }
                    Promise::Taken(offer) if self.makes(Mistake::TtlFreesTaken) => {
                        steps.push(Step::Expire(offer));
                    }
                    Promise::Taken(_) => {}
                }
            }
        }
        steps.extend(state.started.iter().map(Step::Hold));
        steps.extend(state.accepted.iter().map(|offer| Step::Assign(offer, Slot::Current)));
        steps.extend(state.accepted_next.iter().map(|offer| Step::Assign(offer, Slot::Next)));
        steps.extend(state.promoted.iter().map(Step::Promote));
        steps.extend(state.settled.iter().map(Step::Release));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.take(&mut next, &step);
        if self.mistake.is_none() {
            next.forget_the_dead();
        }
        let next = next.first_of_its_likes();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("S1 a driver has one trip on the road", |_, state: &State| {
                (0..DRIVERS as usize).all(|it| state.on_the_road(|trip| trip.driver() == it) <= 1)
            }),
            Property::always("S2 a booking has one trip on the road", |_, state: &State| {
                (0..BOOKINGS as usize).all(|it| state.on_the_road(|trip| trip.booking() == it) <= 1)
            }),
            Property::always("S3 who is on the road is taken by it", |_, state: &State| {
                let is_taken = |trip: Offer| {
                    state.drivers[trip.driver()].current == Some(Promise::Taken(trip))
                };
                state.trips.iter().all(is_taken)
            }),
            Property::always("S4 what was taken back stays away", |_, state: &State| {
                !state.back_again
            }),
            Property::always("S5 who is waited for has promised", |_, state: &State| {
                state.bookings.iter().all(|booking| match booking.phase {
                    Phase::Waits(offer) => {
                        let Driver { current, next, .. } = &state.drivers[offer.driver()];
                        [current, next].contains(&&Some(Promise::Taken(offer)))
                    }
                    Phase::Open | Phase::Rides { .. } | Phase::Over => true,
                })
            }),
            Property::sometimes("two rides at once", |_, state: &State| {
                state.on_the_road(|_| true) == 2
            }),
            Property::sometimes("everybody is home again", |_, state: &State| {
                let home = |driver: &Driver| driver.current.is_none();
                let over = |booking: &Booking| booking.phase == Phase::Over;
                state.dead.0 != 0
                    && state.drivers.iter().all(home)
                    && state.bookings.iter().all(over)
            }),
            Property::sometimes("a next ride began", |saga: &Saga, state: &State| {
                let began = |offer| state.trips.has(offer) && state.accepted_next.has(offer);
                !saga.next || Offer::all().any(began)
            }),
            Property::sometimes("a booking changed drivers", |saga: &Saga, state: &State| {
                !saga.reassign || state.reassigned
            }),
        ]
    }
}

/// The first law that breaks, and how many steps lead there.
fn first_broken(saga: Saga) -> Option<(&'static str, usize)> {
    let finish = HasDiscoveries::AnyFailures;
    let checker = saga.checker().threads(2).finish_when(finish).spawn_bfs().join();
    let always = saga.properties().into_iter().filter(|it| it.expectation == Expectation::Always);
    let mut broken = always.filter_map(|law| {
        let path = checker.discovery(law.name)?;
        Some((law.name, path.into_actions().len()))
    });
    broken.next()
}

#[test]
fn the_saga_keeps_its_laws_in_every_state_there_is() {
    for (next, reassign) in [(false, false), (true, true)] {
        let saga = Saga { next, reassign, mistake: None };
        let checker = saga.checker().threads(2).spawn_bfs().join();
        println!("next {next}, reassign {reassign}: {} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn every_planted_mistake_breaks_a_law() {
    use Mistake::*;
    for mistake in [
        TtlFreesTaken,
        ReleaseIgnoresOffer,
        RepeatedAssignIsRefused,
        AssignIgnoresEnd,
        NextIsATripAtOnce,
        PromoteWithoutEnd,
        ReassignFreesFirst,
        ReassignLeavesTheTrip,
        OutcomesForgotten,
    ] {
        let found = first_broken(Saga { next: true, reassign: true, mistake: Some(mistake) });
        let (law, steps) = found.unwrap_or_else(|| panic!("{mistake:?} breaks nothing"));
        println!("{mistake:?} breaks {law} in {steps} steps");
    }
}
