//! How dispatch went, a row for each radius that a booking was searched at. The rows ride in the
//! commands that change the booking anyway, so they cost no entry of their own; what was found out
//! since the last such command dies with the process that knew it.

use crate::ids::NodeId;
use crate::units::WallMs;
use serde::{Deserialize, Serialize};

/// Rows of one booking: three radii, and a few changes of the leader.
pub const ATTEMPTS_MAX: usize = 8;

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptStatus {
    /// Drivers are looked for; none has an offer.
    Searching,
    /// At least one driver was asked.
    OffersSent,
    /// It ended without a driver.
    Expired,
    /// The booking was called off meanwhile.
    Cancelled,
    /// It found the driver.
    Assigned,
}

/// Why an attempt found no driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptError {
    /// Nobody who may be offered it was there.
    NobodyFound,
    /// Somebody was there, and nobody of them could be had or said yes.
    NobodyAccepted,
    /// Another node came to lead the booking's partition, and began a row of its own.
    LeaderChanged,
}

/// One attempt, by one leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which radius step, from 1. The same number again is the same step under another leader.
    pub number: u16,
    /// How far was searched, in metres.
    pub radius_m: u32,
    /// The most candidates that one search of it brought.
    pub candidates_found: u16,
    /// When it began, by the clock of the node that decided.
    pub started_at: WallMs,
    /// When it ended; nothing while it is under way.
    pub ended_at: Option<WallMs>,
    /// The node that decided. It has the whole story, for a day.
    pub node: NodeId,
    /// The term in which it led the booking's partition.
    pub term: u64,
    /// Where it stands.
    pub status: AttemptStatus,
    /// Why it found nobody, if it did not.
    pub error: Option<AttemptError>,
}

impl Attempt {
    /// Whether two rows are of the same attempt.
    pub fn is(&self, other: &Self) -> bool {
        (self.number, self.node, self.term) == (other.number, other.node, other.term)
    }
}
