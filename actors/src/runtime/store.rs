//! The ledger as the shells see it: typed commands, typed entities, one kind of refusal.

use super::Runtime;
use crate::answers::RETENTION_MS;
use crate::booking::change;
use crate::machine::Machine;
use futures_util::future::join_all;
use ledger::Refused;
use proto::code::{Code, Refusal};
use proto::codec;
use proto::record::ask::{DriverTrips, RiderBookings};
use proto::record::command::{Answer, Command, Entity, Idempotency, Outcome, Proposal};
use proto::record::driver::Standing;
use proto::record::trail::TrailPiece;
use proto::record::trip::Driven;
use proto::record::{Booking, Driver, Key, Queue, Rider, Trip};
use proto::{BookingId, DriverId, RiderId, Slot, TripId, WallMs, ZoneId};
use serde::de::DeserializeOwned;

/// Entries in one page, whatever was asked for: with 64 offers each they still fit a frame.
const PAGE_MAX: usize = 50;

fn refusal(refused: Refused) -> Refusal {
    let detail = refused.to_string();
    match refused {
        Refused::NotLeader { hint } => {
            Refusal { owner: hint, ..Refusal::new(Code::NotOwner, detail) }
        }
        Refused::Overloaded => Refusal::new(Code::Overloaded, detail),
        Refused::TooLarge => Refusal::new(Code::TooLarge, detail),
        Refused::Unknown => Refusal::new(Code::Retry, detail),
    }
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Retry, format!("the ledger's answer does not decode: {error}"))
}

/// A piece of a trail, as it stands in the archive.
pub(super) fn piece((key, piece): ledger::Pair) -> Result<(WallMs, TrailPiece), Refusal> {
    let Ok(Key::TripTrail(_, at)) = Key::from_bytes(&key) else {
        return Err(malformed("no piece of a trail"));
    };
    Ok((at, codec::decode(&piece).map_err(malformed)?))
}

/// What a replica says of a driver.
pub(super) enum Stands {
    /// It leads.
    So(Standing),
    /// It does not.
    AsHeard(Standing),
    /// It leads, and nobody registered him.
    Unregistered,
}

impl Runtime {
    /// Proposes a command to the group of `slot`; returns the entity once it is durable, and the
    /// time that was stamped into the command.
    async fn propose(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<(Entity, WallMs), Refusal> {
        let partitions = &self.world().partitions;
        let group = partitions.group(slot);
        let proposal = Proposal { idempotency, command };
        let bytes = codec::encode(&proposal);
        let committed = partitions.ledger().propose(group, bytes).await.map_err(refusal)?;
        let outcome: Outcome = codec::decode(&committed.outcome).map_err(malformed)?;
        let outcome = match outcome {
            Ok(Entity::Kept(key)) => self.read(key, Code::Retry).await?,
            Err(Code::BookingNotFound | Code::TripNotFound) => {
                self.answer_from_history(committed.at, proposal).await?
            }
            outcome => outcome,
        };
        Ok((outcome?, committed.at))
    }

    /// What is said to a command about a booking that the partition's state no longer knows: what was
    /// said to its key before, or what is worked out on a copy.
    async fn answer_from_history(
        &self,
        at: WallMs,
        proposal: Proposal,
    ) -> Result<Outcome, Refusal> {
        let Proposal { idempotency, command } = proposal;
        let booking = match command.subject() {
            Key::Booking(id) => id,
            Key::Trip(id) => self.trip(id).await?.booking,
            Key::Rider(_)
            | Key::Driver(_)
            | Key::RiderAnswer(..)
            | Key::DriverAnswer(..)
            | Key::RiderBooking(..)
            | Key::DriverTrip(..)
            | Key::OldRiderAnswer(..)
            | Key::OldDriverAnswer(..)
            | Key::TripTrail(..)
            | Key::Queue(_) => return Err(malformed("no booking")),
        };
        let booking = self.booking(booking).await?;
        if let Some(asked) = idempotency
            && let Some(outcome) = self.answered_before(booking.rider, asked, at).await?
        {
            return Ok(outcome);
        }
        let mut trips = Vec::new();
        for trip in change::trips(&booking) {
            trips.push(self.trip(trip).await?);
        }
        Ok(Machine::answer_from_history(at, booking, trips, command))
    }

    /// The first answer to a rider's key, as the machine would give it if it still knew whose
    /// booking it is about.
    async fn answered_before(
        &self,
        rider: RiderId,
        asked: Idempotency,
        at: WallMs,
    ) -> Result<Option<Outcome>, Refusal> {
        let answer: Option<Answer> = self.find(Key::RiderAnswer(rider, asked.key)).await?;
        let Some(answer) = answer.filter(|answer| at.since(answer.at) <= RETENTION_MS) else {
            return Ok(None);
        };
        Ok(Some(match (answer.body == asked.body, answer.outcome) {
            (false, _) => Err(Code::KeyReused),
            (true, Some(outcome)) => outcome,
            (true, None) => self.read(Key::OldRiderAnswer(rider, asked.key), Code::Retry).await?,
        }))
    }

    /// A rider's bookings, newest first.
    pub(super) async fn bookings_of(&self, ask: RiderBookings) -> Result<Vec<Booking>, Refusal> {
        let RiderBookings { rider, before, max } = ask;
        self.rider(rider).await?;
        let before = before.map(|before| Key::RiderBooking(rider, before).to_bytes());
        let page = self.archived(rider.slot(), Key::of_rider(rider), before, max).await?;
        let bookings = page.into_iter().map(|(key, _)| async move {
            match Key::from_bytes(&key) {
                Ok(Key::RiderBooking(_, id)) => self.booking(id).await,
                Ok(_) | Err(_) => Err(malformed("no entry of a rider's list")),
            }
        });
        join_all(bookings).await.into_iter().collect()
    }

    /// Trips that a driver has ended, newest first.
    pub(super) async fn trips_of(&self, ask: DriverTrips) -> Result<Vec<Driven>, Refusal> {
        let DriverTrips { driver, before, max } = ask;
        self.driver(driver).await?;
        let before = before.map(|(at, trip)| Key::DriverTrip(driver, at, trip).to_bytes());
        let page = self.archived(driver.slot(), Key::of_driver(driver), before, max).await?;
        page.into_iter().map(|(_, driven)| codec::decode(&driven).map_err(malformed)).collect()
    }

    pub(super) async fn archived(
        &self,
        slot: Slot,
        prefix: Vec<u8>,
        before: Option<Vec<u8>>,
        max: u16,
    ) -> Result<Vec<ledger::Pair>, Refusal> {
        let partitions = &self.world().partitions;
        let max = usize::from(max).min(PAGE_MAX);
        let page = partitions.ledger().page(partitions.group(slot), prefix, before, max);
        page.await.map_err(refusal)
    }

    pub(super) async fn propose_driver(
        &self,
        driver: DriverId,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Driver, Refusal> {
        let Entity::Driver(driver) = self.propose(driver.slot(), idempotency, command).await?.0
        else {
            return Err(malformed("no driver"));
        };
        Ok(*driver)
    }

    pub(super) async fn propose_booking(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Booking, Refusal> {
        Ok(self.propose_booking_at(slot, idempotency, command).await?.0)
    }

    /// The same, with the time stamped into the command.
    pub(super) async fn propose_booking_at(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<(Booking, WallMs), Refusal> {
        let (Entity::Booking(booking), at) = self.propose(slot, idempotency, command).await? else {
            return Err(malformed("no booking"));
        };
        Ok((*booking, at))
    }

    pub(super) async fn propose_trip(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Trip, Refusal> {
        let Entity::Trip(trip) = self.propose(slot, idempotency, command).await?.0 else {
            return Err(malformed("no trip"));
        };
        Ok(*trip)
    }

    pub(super) async fn propose_rider(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Rider, Refusal> {
        let Entity::Rider(rider) = self.propose(slot, idempotency, command).await?.0 else {
            return Err(malformed("no rider"));
        };
        Ok(rider)
    }

    pub(super) async fn propose_queue(&self, command: Command) -> Result<Queue, Refusal> {
        let slot = command.subject().slot();
        let Entity::Queue(queue) = self.propose(slot, None, command).await?.0 else {
            return Err(malformed("no queue"));
        };
        Ok(*queue)
    }

    /// Proposes what is about no entity in particular.
    pub(super) async fn propose_for_all(
        &self,
        slot: Slot,
        command: Command,
    ) -> Result<(), Refusal> {
        self.propose(slot, None, command).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, key: Key, missing: Code) -> Result<T, Refusal> {
        self.find(key).await?.ok_or_else(|| missing.into())
    }

    async fn find<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, Refusal> {
        let partitions = &self.world().partitions;
        let group = partitions.group(key.slot());
        let bytes = partitions.ledger().read(group, key.to_bytes()).await.map_err(refusal)?;
        bytes.map(|bytes| codec::decode(&bytes).map_err(malformed)).transpose()
    }

    pub(super) async fn driver(&self, id: DriverId) -> Result<Driver, Refusal> {
        self.read(Key::Driver(id), Code::DriverNotFound).await
    }

    /// How a driver stands, as this node's replica has applied it; nothing where it has none. It may
    /// be older than what was acknowledged, also if this node has led and has not heard that it
    /// does no more: whoever is told it has a version to compare.
    pub(super) fn standing(&self, id: DriverId) -> Option<Stands> {
        let partitions = &self.world().partitions;
        let (key, group) = (Key::Driver(id), partitions.group(id.slot()));
        let leads = partitions.leader(id.slot()) == Some(self.world().node);
        let bytes = partitions.ledger().read_stale(group, &key.to_bytes()).ok()?;
        let Some(bytes) = bytes else { return leads.then_some(Stands::Unregistered) };
        let driver: Driver = codec::decode(&bytes).ok()?;
        if !leads {
            return Some(Stands::AsHeard(driver.standing()));
        }
        self.learn_aboard(&driver);
        Some(Stands::So(self.stands(&driver)))
    }

    pub(super) async fn rider(&self, id: RiderId) -> Result<Rider, Refusal> {
        self.read(Key::Rider(id), Code::RiderNotFound).await
    }

    pub(super) async fn booking(&self, id: BookingId) -> Result<Booking, Refusal> {
        self.read(Key::Booking(id), Code::BookingNotFound).await
    }

    pub(super) async fn trip(&self, id: TripId) -> Result<Trip, Refusal> {
        self.read(Key::Trip(id), Code::TripNotFound).await
    }

    /// The queue of a zone; nobody waits in one that is not there.
    pub(super) async fn queue(&self, zone: ZoneId) -> Result<Queue, Refusal> {
        Ok(self.find(Key::Queue(zone)).await?.unwrap_or(Queue::empty(zone)))
    }
}
