//! The ledger as the shells see it: typed commands, typed entities, one kind of refusal.

use super::Runtime;
use ledger::Refused;
use proto::code::{Code, Refusal};
use proto::codec;
use proto::record::command::{Command, Entity, Idempotency, Outcome, Proposal};
use proto::record::{Booking, Driver, Key, Rider, Trip};
use proto::{BookingId, DriverId, Slot, TripId, WallMs};
use serde::de::DeserializeOwned;

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
        let bytes = codec::encode(&Proposal { idempotency, command });
        let committed = partitions.ledger().propose(group, bytes).await.map_err(refusal)?;
        let outcome: Outcome = codec::decode(&committed.outcome).map_err(malformed)?;
        Ok((outcome?, committed.at))
    }

    pub(super) async fn propose_driver(
        &self,
        driver: DriverId,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Driver, Refusal> {
        match self.propose(driver.slot(), idempotency, command).await?.0 {
            Entity::Driver(driver) => Ok(*driver),
            Entity::Rider(_) | Entity::Booking(_) | Entity::Trip(_) => Err(malformed("no driver")),
        }
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
        match self.propose(slot, idempotency, command).await? {
            (Entity::Booking(booking), at) => Ok((*booking, at)),
            (Entity::Rider(_) | Entity::Driver(_) | Entity::Trip(_), _) => {
                Err(malformed("no booking"))
            }
        }
    }

    pub(super) async fn propose_trip(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Trip, Refusal> {
        match self.propose(slot, idempotency, command).await?.0 {
            Entity::Trip(trip) => Ok(*trip),
            Entity::Rider(_) | Entity::Driver(_) | Entity::Booking(_) => Err(malformed("no trip")),
        }
    }

    pub(super) async fn propose_rider(
        &self,
        slot: Slot,
        idempotency: Option<Idempotency>,
        command: Command,
    ) -> Result<Rider, Refusal> {
        match self.propose(slot, idempotency, command).await?.0 {
            Entity::Rider(rider) => Ok(rider),
            Entity::Driver(_) | Entity::Booking(_) | Entity::Trip(_) => Err(malformed("no rider")),
        }
    }

    async fn read<T: DeserializeOwned>(&self, key: Key, missing: Code) -> Result<T, Refusal> {
        let partitions = &self.world().partitions;
        let group = partitions.group(key.slot());
        let bytes = partitions.ledger().read(group, key.to_bytes()).await.map_err(refusal)?;
        codec::decode(&bytes.ok_or(missing)?).map_err(malformed)
    }

    pub(super) async fn driver(&self, id: DriverId) -> Result<Driver, Refusal> {
        self.read(Key::Driver(id), Code::DriverNotFound).await
    }

    pub(super) async fn rider(&self, id: proto::RiderId) -> Result<Rider, Refusal> {
        self.read(Key::Rider(id), Code::RiderNotFound).await
    }

    pub(super) async fn booking(&self, id: BookingId) -> Result<Booking, Refusal> {
        self.read(Key::Booking(id), Code::BookingNotFound).await
    }

    pub(super) async fn trip(&self, id: TripId) -> Result<Trip, Refusal> {
        self.read(Key::Trip(id), Code::TripNotFound).await
    }
}
