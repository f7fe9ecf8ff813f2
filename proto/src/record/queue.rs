//! The queue of a zone: who waits there for his turn, the first first.

use crate::ids::{DriverId, ZoneId};
use crate::units::WallMs;
use serde::{Deserialize, Serialize};

/// Drivers in one queue at most: three times what the largest airports let wait. Whoever comes to
/// a full queue has no place in it. A record is some 20 KB then.
pub const QUEUE_MAX: usize = 1_024;

/// A driver's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePlace {
    /// Whose.
    pub driver: DriverId,
    /// When it was taken, by the partition's clock: when he came, or was sent to the tail.
    pub since: WallMs,
    /// The [`refused`](super::Driver::refused) of his record that his further refusals are counted
    /// from; nothing until it was read.
    pub refused: Option<u32>,
}

/// The queue of a zone as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Whose.
    pub zone: ZoneId,
    /// The first first, each driver once, at most [`QUEUE_MAX`].
    pub places: Vec<QueuePlace>,
}

impl Queue {
    /// A queue that nobody waits in.
    pub const fn empty(zone: ZoneId) -> Self {
        Self { zone, places: Vec::new() }
    }
    /// A driver's place, counted from 0.
    pub fn position(&self, driver: DriverId) -> Option<usize> {
        self.places.iter().position(|place| place.driver == driver)
    }
}

/// What happens to a driver in a queue. The same again changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueStep {
    /// He came: he has the last place, unless he has one.
    Arrive(DriverId),
    /// He has left, is off duty, or has a trip.
    Leave(DriverId),
    /// So many offers he has refused by now, ever. From `limit` refusals at his place on he is sent
    /// to the tail, where they are counted anew.
    Refused {
        /// Who.
        driver: DriverId,
        /// What his record says.
        refused: u32,
        /// How many of them send him to the tail.
        limit: u16,
    },
}
