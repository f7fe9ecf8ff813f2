//! What crosses the wire about cells: positions, searches and waiting demand. None of it is
//! durable.

use super::booking::Need;
use super::driver::DriverStatus;
use crate::ids::{BookingId, DriverId};
use crate::units::{Point, WallMs};
use bytes::Bytes;
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

/// How a ping fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PingFate {
    /// A search that begins now sees it.
    Applied = 0,
    /// Older than what is known, or repeated.
    Stale = 1,
    /// Not taken: there is no room, or it makes no sense.
    Refused = 2,
    /// The owner of its cell did not answer; it may have been applied.
    Lost = 3,
}

/// How pings fared, in the order they were sent: a byte each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PingFates(Bytes);

impl PingFates {
    /// These fates.
    pub fn of(fates: &[PingFate]) -> Self {
        Self(fates.iter().map(|fate| *fate as u8).collect())
    }
    /// Each in order. A number that this build does not know is a ping lost.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PingFate> + '_ {
        self.0.iter().map(|fate| match fate {
            0 => PingFate::Applied,
            1 => PingFate::Stale,
            2 => PingFate::Refused,
            _ => PingFate::Lost,
        })
    }
}

/// How a batch of pings fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PingCounts {
    /// Applied.
    pub applied: u32,
    /// Older than what is known, or repeated.
    pub stale: u32,
    /// Not taken: there is no room, or they make no sense.
    pub refused: u32,
    /// Their owner did not answer.
    pub lost: u32,
}

impl PingCounts {
    /// Counts one more.
    pub const fn count(&mut self, fate: PingFate) {
        match fate {
            PingFate::Applied => self.applied += 1,
            PingFate::Stale => self.stale += 1,
            PingFate::Refused => self.refused += 1,
            PingFate::Lost => self.lost += 1,
        }
    }
}

impl FromIterator<PingFate> for PingCounts {
    fn from_iter<I: IntoIterator<Item = PingFate>>(fates: I) -> Self {
        let mut counts = Self::default();
        fates.into_iter().for_each(|fate| counts.count(fate));
        counts
    }
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
    /// What speaks for it where several want one driver, in milliseconds of pickup time.
    pub favour_ms: i64,
}

/// Whom a search is for. The first two have the bytes of the flag that was here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seek {
    /// Everybody.
    All,
    /// Who can be matched now.
    Free,
    /// Who is on his way to a rider, as far as is known: bound, and nobody aboard.
    Fetching,
}

impl Seek {
    /// Only who can be matched now, or everybody.
    pub const fn free_only(only: bool) -> Self {
        if only { Self::Free } else { Self::All }
    }
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
    /// How many of the things he can do the searcher does not need; 0 where nothing was said of needs.
    pub spare: u8,
    /// Since when he has waited for a ride, if he has none.
    pub idle_since: WallMs,
}

/// A driver with a rider aboard who is not far from where that ride ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Who, and where he is now; the distance is that of where his ride ends.
    pub car: Candidate,
    /// Where his ride ends.
    pub ends: Point,
    /// How far he has still to go, in straight metres.
    pub left_m: u32,
}

impl Ending {
    /// From where he is by where his ride ends to the search's centre, in straight metres.
    pub fn way_m(&self) -> u32 {
        self.left_m.saturating_add(self.car.distance_m)
    }
}
