//! The replicated state of a partition: its riders, drivers, bookings and trips, and the one
//! place where a command becomes a change. Each register evaluates its own guards; this module
//! only finds the entities, keeps the ones that belong together in step, and tells the ledger
//! which keys changed.
//!
//! A refused command changes nothing, and only its outcome says so; but a wrong start code is one try
//! less.

mod invariants;
mod ride;
mod stored;

use crate::answers::{Answers, Party};
use crate::booking::{change, promise};
use crate::fault::{Fault, Faults};
use crate::{booking, driver, history, queue, rider};
use proto::codec;
use proto::record::command::{Command, Entity, Outcome, Proposal};
use proto::record::event::{Event, What};
use proto::record::{Booking, BookingState, Commitment, Driver, Key, Queue, Rider, Trip};
use proto::{BookingId, Code, DriverId, RiderId, TripId, WallMs, ZoneId};
use std::collections::{BTreeMap, BTreeSet};

/// The state behind one partition's log.
#[derive(Debug, Default)]
pub struct Machine {
    riders: BTreeMap<RiderId, Rider>,
    drivers: BTreeMap<DriverId, Driver>,
    bookings: BTreeMap<BookingId, Booking>,
    trips: BTreeMap<TripId, Trip>,
    /// The queues that somebody waits in.
    queues: BTreeMap<ZoneId, Queue>,
    answers: Answers,
    /// Entities that someone must act for; follows from the rest, kept so that a takeover need
    /// not look at everything.
    open: BTreeSet<Key>,
    /// Bookings that have ended and will leave, in that order; follows from the rest too.
    ended: BTreeSet<(WallMs, BookingId)>,
    faults: Faults,
}

/// What one command has done so far.
#[derive(Debug, Default)]
struct Effects {
    changed: BTreeSet<Key>,
    events: Vec<Event>,
    archived: Vec<(Key, Vec<u8>)>,
}

impl Effects {
    fn changed(&mut self, subject: Key, what: Vec<What>) {
        self.changed.insert(subject);
        self.events.extend(what.into_iter().map(|what| Event { subject, what }));
    }
}

impl Machine {
    /// An empty partition that makes the given mistakes; none outside of tests.
    pub fn with_faults(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Applies one command, or finds that its key was answered before.
    fn propose(&mut self, at: WallMs, proposal: Proposal, effects: &mut Effects) -> Outcome {
        let Proposal { idempotency, command } = proposal;
        let asked = idempotency.zip(self.party(&command));
        if let Some((asked, party)) = asked
            && let Some(outcome) = self.answers.known(party, asked, at)
        {
            let again = matches!(command, Command::Accept { .. });
            if again && self.faults.make(Fault::AcceptAgainRefused) {
                return Err(Code::OfferAlreadyAccepted);
            }
            return outcome;
        }
        let outcome = self.command(at, command, effects);
        // A party that does not exist has no table, and a stranger's refusal is not kept in another's,
        // so that nobody can fill it but the party.
        let stranger = matches!(outcome, Err(Code::Unauthorized | Code::UnauthorizedDriver));
        let keeps = |party: Party| self.exists(party) && !stranger;
        if let Some((asked, party)) = asked.filter(|(_, party)| keeps(*party)) {
            effects.changed.extend(self.answers.keep(party, asked, at, &outcome));
        }
        let changed: Vec<Key> = effects.changed.iter().copied().collect();
        changed.into_iter().for_each(|key| self.note(key));
        self.let_leave(at, effects);
        outcome
    }

    /// Whose answers a command's answer belongs to; nobody's if its entity does not exist.
    fn party(&self, command: &Command) -> Option<Party> {
        match command.subject() {
            Key::Rider(id) => Some(Party::Rider(id)),
            Key::Driver(id) => Some(Party::Driver(id)),
            Key::Booking(id) => self.bookings.get(&id).map(|booking| Party::Rider(booking.rider)),
            Key::Trip(id) => self.trips.get(&id).map(|trip| Party::Rider(trip.rider)),
            Key::RiderAnswer(..)
            | Key::DriverAnswer(..)
            | Key::RiderBooking(..)
            | Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..)
            | Key::Queue(_) => None,
        }
    }

    fn exists(&self, party: Party) -> bool {
        match party {
            Party::Rider(id) => self.riders.contains_key(&id),
            Party::Driver(id) => self.drivers.contains_key(&id),
        }
    }

    fn command(&mut self, at: WallMs, command: Command, effects: &mut Effects) -> Outcome {
        let faults = self.faults;
        match command {
            Command::RegisterRider { rider: id, name, profile } => {
                let mut what = Vec::new();
                let rider = rider::register(self.riders.get(&id), id, &name, &profile, &mut what)?;
                self.riders.insert(id, rider.clone());
                effects.changed(Key::Rider(id), what);
                Ok(Entity::Rider(rider))
            }
            Command::CreateBooking { .. } => self.create_booking(at, command, effects),
            Command::OfferStart { offer, attempts } => {
                self.on_booking(at, offer.booking, effects, |booking, what| {
                    booking::offer_start(booking, &offer, &attempts, what)
                })
            }
            Command::OfferEnd { booking, offer, fate } => {
                self.on_booking(at, booking, effects, |booking, _| {
                    booking::offer_end(booking, offer, fate)
                })
            }
            Command::ExpireBooking { booking, attempts } => {
                self.on_booking(at, booking, effects, |booking, what| {
                    booking::expire(booking, &attempts, what);
                    Ok(())
                })
            }
            Command::CancelBooking { booking, by, reason, attempts } => {
                self.on_booking(at, booking, effects, |booking, what| {
                    booking::cancel(booking, by, &reason, &attempts, at, what)
                })
            }
            Command::Promise { booking, offer, driver } => {
                self.on_booking(at, booking, effects, |booking, what| {
                    promise::promise(booking, offer, driver, at, what)
                })
            }
            Command::EndPromise { booking, offer } => {
                self.on_booking(at, booking, effects, |booking, what| {
                    promise::end_promise(booking, offer, at, what)
                })
            }
            Command::Reassign { offer, max, rest_ms } => {
                let id = offer.booking;
                let booking = self.bookings.get(&id).ok_or(Code::BookingNotFound)?;
                let trip = booking.trip.and_then(|id| self.trips.get(&id)).cloned();
                let limits = change::Limits { max, rest_ms };
                self.on_booking(at, id, effects, |booking, what| {
                    change::reassign(booking, trip.as_ref(), &offer, limits, at, what)
                })
            }
            Command::Assign { .. } => self.assign(at, command, effects),
            Command::StepTrip { .. } => self.step_trip(at, command, effects),
            Command::Released { trip: id } => {
                let trip = self.trips.get_mut(&id).ok_or(Code::TripNotFound)?;
                trip.release_due = false;
                effects.changed(Key::Trip(id), Vec::new());
                Ok(Entity::Trip(Box::new(trip.clone())))
            }
            Command::RegisterDriver { driver: id, name, city, vehicle, kyc_verified, profile } => {
                let new = driver::newcomer(id, name, city, vehicle, kyc_verified, profile);
                let mut what = Vec::new();
                let driver = driver::register(self.drivers.get(&id), new, &mut what)?;
                self.drivers.insert(id, driver.clone());
                effects.changed(Key::Driver(id), what);
                Ok(Entity::Driver(Box::new(driver)))
            }
            Command::SetDuty { driver, online } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::set_duty(driver, online, at, what)
                })
            }
            Command::Hold { offer } => self.on_driver(at, offer.driver, effects, |driver, what| {
                driver::hold(driver, &offer, what)
            }),
            Command::HoldNext { offer } => {
                self.on_driver(at, offer.driver, effects, |driver, what| {
                    driver::hold_next(driver, &offer, at, what)
                })
            }
            Command::CallOff { driver, offer } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::call_off(driver, offer, what);
                    Ok(())
                })
            }
            Command::ExpireHold { driver, offer } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::expire_hold(driver, offer, faults, what);
                    Ok(())
                })
            }
            Command::Decline { driver, offer } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::decline(driver, offer, what)
                })
            }
            Command::Accept { driver, offer, key } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::accept(driver, offer, key, what)
                })
            }
            Command::Confirm { driver, offer, trip } => {
                self.on_driver(at, driver, effects, |driver, _| {
                    driver::confirm(driver, offer, trip);
                    Ok(())
                })
            }
            Command::Release { driver: id, offer, ended } => {
                let driver = self.drivers.get_mut(&id).ok_or(Code::DriverNotFound)?;
                let mut what = Vec::new();
                let state = ended.map(|ended| ended.state);
                let current = driver.current.as_ref().map(|current| current.offer().id);
                let offer =
                    current.filter(|_| faults.make(Fault::ReleaseFreesAll)).unwrap_or(offer);
                if let Some(left) = driver::release(driver, offer, state, at, &mut what)
                    && let Some(ended) = ended
                {
                    effects.archived.push(history::driven(id, &left, ended, at));
                }
                let driver = driver.clone();
                effects.changed(Key::Driver(id), what);
                Ok(Entity::Driver(Box::new(driver)))
            }
            Command::TrailBatch { pieces } => self.trail_batch(at, pieces, effects),
            Command::BanRider { rider: id, ban } => {
                let rider = self.riders.get_mut(&id).ok_or(Code::RiderNotFound)?;
                rider.ban = ban;
                let rider = rider.clone();
                effects.changed(Key::Rider(id), Vec::new());
                Ok(Entity::Rider(rider))
            }
            Command::BanDriver { driver, ban } => {
                self.on_driver(at, driver, effects, |driver, what| {
                    driver::ban(driver, ban, at, what);
                    Ok(())
                })
            }
            Command::MoveQueue { zone, steps } => {
                let mut queue = self.queues.remove(&zone).unwrap_or(Queue::empty(zone));
                steps.into_iter().for_each(|step| queue::step(&mut queue, step, at));
                if !queue.places.is_empty() {
                    self.queues.insert(zone, queue.clone());
                }
                effects.changed(Key::Queue(zone), Vec::new());
                Ok(Entity::Queue(Box::new(queue)))
            }
        }
    }

    /// Changes a driver, all or nothing.
    fn on_driver(
        &mut self,
        at: WallMs,
        id: DriverId,
        effects: &mut Effects,
        change: impl FnOnce(&mut Driver, &mut Vec<What>) -> Result<(), Code>,
    ) -> Outcome {
        let driver = self.drivers.get_mut(&id).ok_or(Code::DriverNotFound)?;
        let mut what = Vec::new();
        driver::noting_idle(driver, at, |driver| change(driver, &mut what))?;
        effects.changed(Key::Driver(id), what);
        Ok(Entity::Driver(Box::new(driver.clone())))
    }

    /// Changes a booking, all or nothing, and lets its rider go when it has ended.
    fn on_booking(
        &mut self,
        at: WallMs,
        id: BookingId,
        effects: &mut Effects,
        change: impl FnOnce(&mut Booking, &mut Vec<What>) -> Result<(), Code>,
    ) -> Outcome {
        let booking = self.bookings.get_mut(&id).ok_or(Code::BookingNotFound)?;
        let mut what = Vec::new();
        change(booking, &mut what)?;
        let before = booking.updated_at;
        booking::touch(booking, at);
        let booking = booking.clone();
        // It may have ended long ago: its place among those that will leave is by its new time.
        self.ended.remove(&(before, id));
        effects.changed(Key::Booking(id), what);
        self.let_rider_go(&booking, effects);
        Ok(Entity::Booking(Box::new(booking)))
    }

    fn let_rider_go(&mut self, booking: &Booking, effects: &mut Effects) {
        let has =
            matches!(booking.state, BookingState::Assigned { .. } | BookingState::Promised { .. });
        let active = booking.state.is_searching() || has;
        if let Some(rider) = self.riders.get_mut(&booking.rider)
            && !active
            && rider.active == Some(booking.id)
        {
            rider::finish(rider, booking.id);
            effects.changed(Key::Rider(rider.id), Vec::new());
        }
    }

    /// Whether someone must act for an entity.
    fn is_open(&self, key: Key) -> bool {
        match key {
            Key::Booking(id) => self.bookings.get(&id).is_some_and(|booking| {
                // One that has a driver and asks another waits for his answer; one that is promised
                // a driver waits for him, but not for ever.
                let promised = matches!(booking.state, BookingState::Promised { .. });
                let asks = booking::pending(booking).next().is_some();
                booking.state.is_searching() || promised || asks
            }),
            Key::Trip(id) => self.trips.get(&id).is_some_and(|trip| trip.release_due),
            Key::Driver(id) => self.drivers.get(&id).is_some_and(|driver| {
                driver.commitments().any(|commitment| match commitment {
                    Commitment::Held { .. } => true,
                    Commitment::Taken { trip, .. } => trip.is_none(),
                })
            }),
            Key::Queue(id) => self.queues.contains_key(&id),
            Key::Rider(_)
            | Key::RiderAnswer(..)
            | Key::DriverAnswer(..)
            | Key::RiderBooking(..)
            | Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..) => false,
        }
    }

    /// Keeps what follows from an entity: whether someone must act for it, and whether its booking
    /// has ended.
    fn note(&mut self, key: Key) {
        match self.is_open(key) {
            true => self.open.insert(key),
            false => self.open.remove(&key),
        };
        let booking = match key {
            Key::Booking(id) => self.bookings.get(&id),
            Key::Trip(id) => self.trips.get(&id).and_then(|trip| self.bookings.get(&trip.booking)),
            Key::Rider(_)
            | Key::Driver(_)
            | Key::RiderAnswer(..)
            | Key::DriverAnswer(..)
            | Key::RiderBooking(..)
            | Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..)
            | Key::Queue(_) => None,
        };
        if let Some(booking) = booking
            && history::has_ended(booking, |id| self.trips.get(&id))
        {
            self.ended.insert((booking.updated_at, booking.id));
        }
    }

    /// Bookings that ended long ago, or that are too many, leave with their trips; and answers that
    /// are too old are forgotten. Two at a time at most, so that no command takes long.
    fn let_leave(&mut self, now: WallMs, effects: &mut Effects) {
        for _ in 0..history::LEAVE_AT_ONCE {
            let Some((at, id)) = self.ended.first().copied() else { break };
            if self.ended.len() <= history::ENDED_MAX && now.since(at) < history::STAY_MS {
                break;
            }
            self.ended.pop_first();
            let Some(booking) = self.bookings.remove(&id) else { continue };
            let trips = change::trips(&booking).filter_map(|id| self.trips.remove(&id));
            for (key, value) in history::records(&booking, &trips.collect::<Vec<_>>()) {
                effects.changed.insert(key);
                effects.archived.push((key, value));
            }
        }
        let left = self.answers.put_away(now, history::STAY_MS, history::LEAVE_AT_ONCE);
        for (key, old, outcome) in left {
            effects.changed.insert(key);
            effects.archived.push((old, outcome));
        }
        effects.changed.extend(self.answers.forget_old(now, history::LEAVE_AT_ONCE));
    }

    /// What this machine says to a command about a booking that has left. Nothing changes any more,
    /// so the answer is worked out on a copy.
    pub fn answer_from_history(
        at: WallMs,
        booking: Booking,
        trips: Vec<Trip>,
        command: Command,
    ) -> Outcome {
        let mut copy = Self::default();
        copy.trips.extend(trips.into_iter().map(|trip| (trip.id, trip)));
        copy.bookings.insert(booking.id, booking);
        copy.command(at, command, &mut Effects::default())
    }
}

/// The proposal of a step that Hansom takes by itself.
pub fn system(command: Command) -> Vec<u8> {
    codec::encode(&Proposal { idempotency: None, command })
}
