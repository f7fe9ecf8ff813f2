//! What a dispatch is told and what it asks for.

use proto::record::Offer;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::cell::Candidate;
use proto::record::command::OfferFate;
use proto::record::explain::{Asked, Dropped};
use proto::{DriverId, MonoMs, OfferId, WallMs};
use std::collections::BTreeSet;

/// A candidate with what the matcher thinks of him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// Who.
    pub driver: DriverId,
    /// His place in the search, from 1.
    pub rank: u16,
    /// Straight-line metres to the pickup.
    pub distance_m: u32,
    /// Estimated seconds to the pickup.
    pub eta_s: u32,
    /// What the matcher orders by, in milliseconds.
    pub cost_ms: i64,
    /// He is on a trip that ends soon: he can be counted on, or bound.
    pub soon: bool,
    /// He is offered it as his next ride, not only counted on.
    pub binds: bool,
}

/// A driver as a search or a board names him, with what the shell knows of him beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prospect {
    /// Who and where; one whose trip ends soon is where it ends.
    pub candidate: Candidate,
    /// Estimated driving from there to the pickup, in milliseconds.
    pub eta_ms: u64,
    /// Until his trip ends, in milliseconds; 0 if he is free.
    pub free_in_ms: u64,
    /// For how long he has waited for a ride, in milliseconds, if he is free.
    pub idle_ms: u64,
}

impl Prospect {
    /// A free driver, with his estimated driving to the pickup.
    pub fn free(candidate: Candidate, eta_ms: u64, now: WallMs) -> Self {
        let idle_ms = now.since(candidate.idle_since);
        Self { candidate, eta_ms, free_in_ms: 0, idle_ms }
    }
}

/// What a search brought; nothing of it if nobody answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Who was found.
    pub candidates: Vec<Prospect>,
    /// Other bookings waiting there.
    pub waiting: u32,
    /// Some owner did not answer in time.
    pub partial: bool,
    /// Who was asked.
    pub asked: Vec<Asked>,
    /// Whom the owners left out, of those they looked at.
    pub dropped: Vec<Dropped>,
    /// The queue of the pickup's zone has named them: they are asked in this order, however far they
    /// are, and nobody else.
    pub queued: bool,
}

/// What the booking's record says when a dispatch begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// How old the booking is, in milliseconds.
    pub age_ms: u64,
    /// How long its ride will be, in milliseconds.
    pub ride_ms: u64,
    /// The attempt it was in; 0 before the first.
    pub attempt: u16,
    /// Offers made so far.
    pub offers_made: usize,
    /// Drivers who are not offered it: they were before, or called it off.
    pub passed_over: BTreeSet<DriverId>,
    /// Offers that were out when the last shell died.
    pub pending: Vec<Offer>,
    /// How long it waited in vain for drivers on other rides, in milliseconds; nothing if it never did.
    pub waited_ms: Option<u64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A search came back.
    Found(Findings),
    /// A claim on a driver came back; with nothing if nobody answered.
    Claimed(DriverId, Option<ClaimAnswer>),
    /// The offer to a driver is recorded, or was refused.
    Started(DriverId, Option<Offer>),
    /// The driver was asked to hold; nothing if nobody answered.
    Held(OfferId, Option<HoldAnswer>),
    /// The driver's side says an offer ended.
    News(OfferId, OfferNews),
    /// A car came free nearby.
    Woken(Prospect),
    /// This driver's booking was asked to yield him, or there was nobody to ask for.
    Appealed(Option<DriverId>),
    /// The booking no longer looks for a driver: won by an offer, or called off or expired.
    Settled(Option<OfferId>),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the cells within a radius, and stand on their boards. Answered by `Found`.
    Search {
        /// In metres.
        radius_m: u32,
    },
    /// Claim a driver. Answered by `Claimed`.
    Claim {
        /// Who and at what cost.
        candidate: Ranked,
        /// What speaks for this booking, in milliseconds of pickup time.
        favour_ms: i64,
        /// Whether others wait nearby.
        contended: bool,
    },
    /// Mint and record an offer. Answered by `Started`.
    Start {
        /// To whom.
        candidate: Ranked,
        /// In which attempt.
        attempt: u16,
    },
    /// Put a recorded offer before its driver. Answered by `Held`.
    Hold(Box<Offer>),
    /// Put it before a driver with a rider aboard, as his next ride. Answered by `Held`.
    HoldNext(Box<Offer>),
    /// Record that an offer ended.
    EndOffer(OfferId, OfferFate),
    /// Free the driver of an offer that can no longer become a trip.
    Release(DriverId, OfferId),
    /// It is stranded: ask for one who is on his way to another rider. Answered by `Appealed`; if he comes free
    /// the boards tell.
    Appeal {
        /// How long he may need, in milliseconds.
        within_ms: u64,
        /// Who was asked for before, in vain.
        but_not: BTreeSet<DriverId>,
    },
    /// Record that the booking gave up. Answered by `Settled`.
    Expire,
    /// Come off the boards, and stop.
    Finish,
    /// Send a `Tick` then.
    WakeAt(MonoMs),
}
