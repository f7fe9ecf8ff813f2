//! What concerns several entities at once: a booking and its rider, a trip and its booking. Each is one
//! entry of the log, so nobody ever sees half of it.

use super::{Effects, Machine};
use crate::fault::Fault;
use crate::{booking, rider, trip};
use proto::codec;
use proto::record::command::{Command, Entity, Outcome};
use proto::record::event::What;
use proto::record::trail::{TrailPiece, TrailPoint};
use proto::record::trip::RiderCard;
use proto::record::{Actor, Booking, BookingState, Key, TripState};
use proto::{Code, DriverId, TripId, WallMs};
use std::collections::BTreeMap;

impl Machine {
    pub(super) fn create_booking(
        &mut self,
        at: WallMs,
        command: Command,
        effects: &mut Effects,
    ) -> Outcome {
        let Command::CreateBooking {
            booking: id,
            rider: rider_id,
            city,
            pickup,
            destination,
            need,
            payment_method,
            shown_estimate_minor,
            quote,
        } = command
        else {
            return Err(Code::BadRequest);
        };
        if let Some(booking) = self.bookings.get(&id) {
            // The same command again, maybe long after: never a second life for an ended booking.
            return Ok(Entity::Booking(Box::new(booking.clone())));
        }
        let rider = self.riders.get_mut(&rider_id).ok_or(Code::RiderNotFound)?;
        rider::begin(rider, id, at)?;
        effects.changed(Key::Rider(rider_id), Vec::new());
        let booking = Booking {
            id,
            rider: rider_id,
            city,
            pickup,
            destination,
            need,
            payment_method,
            shown_estimate_minor,
            state: BookingState::Open,
            attempt: 0,
            offers: Vec::new(),
            trip: None,
            created_at: at,
            updated_at: at,
            quote,
            replaces: None,
            replaced_by: None,
            replacements: 0,
            passed_over: Vec::new(),
            attempts: Vec::new(),
        };
        self.open_booking(booking.clone(), effects);
        Ok(Entity::Booking(Box::new(booking)))
    }

    fn open_booking(&mut self, booking: Booking, effects: &mut Effects) {
        effects.changed(Key::Booking(booking.id), vec![What::BookingCreated]);
        effects.changed(Key::RiderBooking(booking.rider, booking.id), Vec::new());
        self.bookings.insert(booking.id, booking);
    }

    /// The booking takes its driver and the trip is born, in one entry; if it had another driver, his
    /// trip ends in the same.
    pub(super) fn assign(
        &mut self,
        at: WallMs,
        command: Command,
        effects: &mut Effects,
    ) -> Outcome {
        let Command::Assign { booking: id, offer, driver, trip: minted, card, code } = command
        else {
            return Err(Code::BadRequest);
        };
        let faults = self.faults;
        let booking = self.bookings.get_mut(&id).ok_or(Code::BookingNotFound)?;
        let mut what = Vec::new();
        match booking::assign(booking, offer, driver, minted, &mut what)? {
            booking::Decision::Again(_) if faults.make(Fault::AssignAgainRefused) => {
                Err(Code::OfferTaken)
            }
            booking::Decision::Again(trip) => {
                let trip = self.trips.get(&trip).ok_or(Code::TripNotFound)?;
                Ok(Entity::Trip(Box::new(trip.clone())))
            }
            booking::Decision::Born(trip_id, left) => {
                booking::touch(booking, at);
                if faults.make(Fault::HashOrder) {
                    in_hash_order(booking);
                }
                effects.changed(Key::Booking(id), what);
                if let Some(trip) = left.and_then(|id| self.trips.get_mut(&id)) {
                    let mut what = Vec::new();
                    trip::leave(trip, at, &mut what);
                    effects.changed(Key::Trip(trip.id), what);
                }
                let mut what = Vec::new();
                let rider = self.riders.get(&booking.rider);
                let profile = rider.map(|rider| rider.profile.clone()).unwrap_or_default();
                let name = rider.map(|rider| rider.name.clone()).unwrap_or_default();
                let parties = trip::Parties {
                    rider: RiderCard { name, phone: profile.phone },
                    pin: profile.pin,
                    driver: card,
                    code,
                };
                let trip = trip::born(booking, trip_id, parties, at, &mut what)
                    .ok_or(Code::OfferNotFound)?;
                self.trips.insert(trip_id, trip.clone());
                effects.changed(Key::Trip(trip_id), what);
                Ok(Entity::Trip(Box::new(trip)))
            }
        }
    }

    /// A trip moves, and its booking and rider follow, in one entry. If its driver called off, another
    /// booking goes on in the place of this one, in the same entry.
    pub(super) fn step_trip(
        &mut self,
        at: WallMs,
        command: Command,
        effects: &mut Effects,
    ) -> Outcome {
        let Command::StepTrip { trip: id, step, by, driver, rider, rebook } = command else {
            return Err(Code::BadRequest);
        };
        let trip = self.trips.get_mut(&id).ok_or(Code::TripNotFound)?;
        let mut what = Vec::new();
        let stepped = trip::step(trip, &step, trip::Mover { by, driver, rider }, at, &mut what);
        if stepped == Err(Code::InvalidOtp) {
            effects.changed(Key::Trip(id), Vec::new()); // one try less
        }
        stepped?;
        let ended = !what.is_empty() && trip.state.is_over();
        effects.changed(Key::Trip(id), what);
        let trip = trip.clone();
        let asks = |booking: &Booking| booking::pending(booking).next().is_some();
        if !ended && !self.bookings.get(&trip.booking).is_some_and(asks) {
            return Ok(Entity::Trip(Box::new(trip)));
        }
        let why = trip.transitions.last().map_or(String::new(), |last| last.reason.clone());
        let rebook = rebook.filter(|_| by == Actor::Driver && trip.state == TripState::Cancelled);
        let mut next = None;
        self.on_booking(at, trip.booking, effects, |booking, what| {
            booking::follow(booking, trip.state, by, &why, what);
            next = rebook.and_then(|id| booking::replace(booking, id, trip.driver, at, what));
            Ok(())
        })?;
        let Some(next) = next else { return Ok(Entity::Trip(Box::new(trip))) };
        if let Some(rider) = self.riders.get_mut(&next.rider) {
            rider::go_on(rider, next.id);
            effects.changed(Key::Rider(next.rider), Vec::new());
        }
        let replaced_by = Some(next.id);
        self.open_booking(next, effects);
        let trip = self.trips.get_mut(&id).ok_or(Code::TripNotFound)?;
        trip.replaced_by = replaced_by;
        Ok(Entity::Trip(Box::new(trip.clone())))
    }

    /// Trips come farther. A piece that belongs to no trip under way is passed over: whoever sent it
    /// reads the trip afterwards and sees why.
    pub(super) fn trail_batch(
        &mut self,
        at: WallMs,
        pieces: Vec<(TripId, DriverId, TrailPiece)>,
        effects: &mut Effects,
    ) -> Outcome {
        // Of one trip several in one batch, for a phone may send again before it has its answer.
        let mut by_trip: BTreeMap<TripId, Vec<TrailPoint>> = BTreeMap::new();
        for (id, driver, piece) in pieces {
            let Some(trip) = self.trips.get_mut(&id) else { continue };
            let before = trip.meter.clone();
            let new = trip::trail(trip, driver, &piece, at);
            if trip.meter != before {
                effects.changed(Key::Trip(id), Vec::new());
            }
            if !new.is_empty() {
                by_trip.entry(id).or_default().extend(new);
            }
        }
        for (id, points) in by_trip {
            let piece = TrailPiece::pack(&points);
            effects.archived.push((Key::TripTrail(id, at), codec::encode(&piece)));
        }
        Ok(Entity::Nothing)
    }
}

/// The mistake of [`Fault::HashOrder`].
#[expect(clippy::disallowed_types, reason = "the mistake itself")]
fn in_hash_order(booking: &mut Booking) {
    use std::hash::BuildHasher;
    let state = std::hash::RandomState::new();
    booking.offers.sort_by_key(|(offer, _)| state.hash_one(offer.id));
}
