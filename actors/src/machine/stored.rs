//! The machine as the ledger sees it: bytes in, bytes out, and what is stored under which key.

use super::{Effects, Machine};
use crate::answers::Party;
use proto::codec::{self, CodecError};
use proto::machine::{Applied, Level, StateMachine};
use proto::record::Key;
use proto::record::command::{Answer, Proposal};
use proto::{Code, WallMs};

impl Machine {
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let riders = self.riders.keys().map(|id| Key::Rider(*id));
        let drivers = self.drivers.keys().map(|id| Key::Driver(*id));
        let bookings = self.bookings.keys().map(|id| Key::Booking(*id));
        let trips = self.trips.keys().map(|id| Key::Trip(*id));
        let queues = self.queues.keys().map(|id| Key::Queue(*id));
        let of_riders = self.bookings.values().map(|it| Key::RiderBooking(it.rider, it.id));
        let entities = riders.chain(drivers).chain(bookings).chain(trips);
        entities.chain(self.answers.keys()).chain(of_riders).chain(queues)
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, at: WallMs, _: Level, command: &[u8]) -> Applied {
        let mut effects = Effects::default();
        let outcome = match codec::decode::<Proposal>(command) {
            Ok(proposal) => self.propose(at, proposal, &mut effects),
            Err(_) => Err(Code::BadRequest),
        };
        Applied {
            outcome: codec::encode(&outcome),
            changed: effects.changed.into_iter().map(Key::to_bytes).collect(),
            events: effects.events.iter().map(codec::encode).collect(),
            archived: effects.archived.into_iter().map(|(k, v)| (k.to_bytes(), v)).collect(),
        }
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        match Key::from_bytes(key).ok()? {
            Key::Rider(id) => self.riders.get(&id).map(codec::encode),
            Key::Driver(id) => self.drivers.get(&id).map(codec::encode),
            Key::Booking(id) => self.bookings.get(&id).map(codec::encode),
            Key::Trip(id) => self.trips.get(&id).map(codec::encode),
            Key::Queue(id) => self.queues.get(&id).map(codec::encode),
            Key::RiderAnswer(id, key) => self.answers.get(Party::Rider(id), key).map(codec::encode),
            Key::DriverAnswer(id, key) => {
                self.answers.get(Party::Driver(id), key).map(codec::encode)
            }
            Key::RiderBooking(rider, id) => {
                let his = self.bookings.get(&id).is_some_and(|booking| booking.rider == rider);
                his.then(Vec::new)
            }
            Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..) => None,
        }
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        let key = Key::from_bytes(key)?;
        match key {
            Key::Rider(id) => self.riders.insert(id, codec::decode(value)?).map(drop),
            Key::Driver(id) => self.drivers.insert(id, codec::decode(value)?).map(drop),
            Key::Booking(id) => self.bookings.insert(id, codec::decode(value)?).map(drop),
            Key::Trip(id) => self.trips.insert(id, codec::decode(value)?).map(drop),
            Key::Queue(id) => self.queues.insert(id, codec::decode(value)?).map(drop),
            Key::RiderAnswer(id, key) => {
                let answer: Answer = codec::decode(value)?;
                self.answers.restore(Party::Rider(id), key, answer);
                None
            }
            Key::DriverAnswer(id, key) => {
                let answer: Answer = codec::decode(value)?;
                self.answers.restore(Party::Driver(id), key, answer);
                None
            }
            // Follow from the bookings; the others are never here.
            Key::RiderBooking(..)
            | Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..) => None,
        };
        self.note(key);
        Ok(())
    }

    fn scan(&self, after: Option<&[u8]>, max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let keys = self.keys().map(Key::to_bytes);
        keys.skip_while(|key| after.is_some_and(|after| key.as_slice() <= after))
            .take(max)
            .filter_map(|key| self.read(&key).map(|value| (key, value)))
            .collect()
    }

    fn open_work(&self) -> Vec<Vec<u8>> {
        self.open.iter().map(|key| key.to_bytes()).collect()
    }
}
