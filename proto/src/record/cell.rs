//! What crosses the wire about cells: positions, searches and waiting demand. None of it is
//! durable.

use super::booking::Need;
use super::driver::DriverStatus;
use crate::ids::{BookingId, DriverId};
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};

/// A driver's position at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Who.
    pub driver: DriverId,
    /// Where.
    pub point: Point,
    /// Direction in degrees clockwise from north, 0 to 359.
    pub heading_deg: u16,
    /// Speed in centimetres a second.
    pub speed_cms: u16,
    /// Radius of uncertainty in metres.
    pub accuracy_m: u16,
    /// When the phone measured it; the newest wins.
    pub at: WallMs,
}

/// How a batch of pings fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingCounts {
    /// Applied.
    pub applied: u32,
    /// Older than what is known, or repeated.
    pub stale: u32,
    /// Not taken: unknown driver or full queue.
    pub refused: u32,
}

/// A booking that waits for a car, as posted on a demand board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Which.
    pub booking: BookingId,
    /// Where the rider waits.
    pub pickup: Point,
    /// What it needs.
    pub need: Need,
    /// How long it has waited, in milliseconds.
    pub age_ms: u32,
    /// How far away a car may be to be told of it, in metres.
    pub radius_m: u32,
}

/// A driver found by a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub driver: DriverId,
    /// Where he was seen last.
    pub point: Point,
    /// When the phone measured it.
    pub at: WallMs,
    /// From the search's centre in a straight line, in metres.
    pub distance_m: u32,
    /// Whether he can be matched.
    pub status: DriverStatus,
    /// The version of his record behind `status`.
    pub version: u64,
}
