//! What the shells are handed: the outside, as traits. `node` implements them over sockets, the
//! simulation over an invented network.

use ledger::BoxFuture;
use proto::code::{Code, Refusal};
use proto::envelope::Subject;
use proto::record::ask::{Ask, Push, Request, Session};
use proto::record::explain::Explanation;
use proto::{BookingId, OfferId, Slot, TripId, WallMs, codec};

/// For whom and under which trace a request is made, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// One id for everything that one client request caused.
    pub trace: u128,
    /// For whom.
    pub subject: Subject,
    /// How long the caller waits, in milliseconds.
    pub deadline_ms: u32,
}

impl Context {
    /// The same request with another patience.
    pub const fn within_ms(self, deadline_ms: u32) -> Self {
        Self { deadline_ms, ..self }
    }
}

/// Finds the owner of a request and brings back his answer: served here, forwarded, or refused.
pub trait Router: Send + Sync + 'static {
    /// The encoded answer to a request.
    fn send(&self, request: Request, context: Context) -> BoxFuture<'_, Result<Vec<u8>, Refusal>>;
}

impl dyn Router {
    /// The typed answer to a request.
    pub async fn ask<A: Ask>(&self, ask: A, context: Context) -> Result<A::Answer, Refusal> {
        let bytes = self.send(ask.wrap(), context).await?;
        codec::decode(&bytes).map_err(|error| Refusal::new(Code::BadPeer, error.to_string()))
    }
}

/// The sockets this node holds.
pub trait Sockets: Send + Sync + 'static {
    /// Queues something for a socket; false if there is no such socket or its queue is full.
    fn push(&self, session: Session, push: Push) -> bool;
    /// Queues something for a socket, and waits until it has been written, or never will be; false
    /// if there was no such socket or its queue was full.
    fn show(&self, session: Session, push: Push) -> BoxFuture<'static, bool>;
}

/// Where explanations of how bookings were dispatched are kept for a day. Losing one loses no ride.
pub trait Stories: Send + Sync + 'static {
    /// Takes what this node knows of a booking. Never waits: where too much waits to be written, it
    /// is dropped and counted.
    fn keep(&self, booking: BookingId, story: Explanation);
    /// What this node was told to keep of a booking and still has, oldest term first.
    fn kept(&self, booking: BookingId) -> BoxFuture<'_, Vec<Explanation>>;
}

/// Makes ids. Chance comes from outside, so that a simulation can replay it.
pub trait Mint: Send + Sync + 'static {
    /// 64 random bits.
    fn random(&self) -> u64;
}

impl dyn Mint {
    /// A new booking id.
    pub fn booking(&self, slot: Slot, at: WallMs) -> BookingId {
        BookingId::mint(slot, at, self.random())
    }
    /// A new offer id.
    pub fn offer(&self, slot: Slot, at: WallMs) -> OfferId {
        OfferId::mint(slot, at, self.random())
    }
    /// A new trip id.
    pub fn trip(&self, slot: Slot, at: WallMs) -> TripId {
        TripId::mint(slot, at, self.random())
    }
}
