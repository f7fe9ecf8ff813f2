//! Why a booking got the driver it got: everybody who was considered, and what became of him. It
//! is not decided from, lives for a day at most, and is lost with the disk of the node that knew.

use crate::ids::{BookingId, DriverId, NodeId, OfferId};
use serde::{Deserialize, Serialize};

/// Searches told of one booking by one node; the oldest are forgotten first.
pub const SEARCHES_MAX: usize = 24;
/// Drivers told of one search who could be offered the booking: the largest fan-out.
pub const CONSIDERED_MAX: usize = 64;
/// Drivers told of one search who could not.
pub const DROPPED_MAX: usize = 32;

/// What dropped a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Filter {
    /// His partition has not told yet how he stands.
    Unknown,
    /// Off duty.
    Offline,
    /// An offer is before him, or he is on a trip.
    Busy,
    /// He was not heard of for too long.
    Stale,
    /// Another kind of vehicle.
    Vehicle,
    /// It can't do what is needed.
    Capability,
    /// Too few seats.
    Seats,
    /// Outside the circle.
    TooFar,
    /// He was offered this booking before, or called it off.
    OfferedBefore,
    /// His node did not answer a claim.
    Silent,
    /// He would take too long to the pickup.
    PickupCap,
    /// A queue decides: he waits in a zone that the pickup is not in, or it is another's turn.
    Queue,
}

impl Filter {
    /// The name that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Offline => "OFFLINE",
            Self::Busy => "BUSY",
            Self::Stale => "STALE",
            Self::Vehicle => "VEHICLE",
            Self::Capability => "CAPABILITY",
            Self::Seats => "SEATS",
            Self::TooFar => "TOO_FAR",
            Self::OfferedBefore => "OFFERED_BEFORE",
            Self::Silent => "SILENT",
            Self::PickupCap => "PICKUP_CAP",
            Self::Queue => "QUEUE",
        }
    }
}

/// A driver who was seen and could not be offered the booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Who.
    pub driver: DriverId,
    /// By what; the first that applies.
    pub filter: Filter,
    /// Straight-line metres to the pickup.
    pub distance_m: u32,
}

/// An owner of cells that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub node: NodeId,
    /// Which of its cells, as ring keys.
    pub ring_keys: Vec<u64>,
    /// Forwards to it: 0 where the searching node asked itself.
    pub hops: u8,
    /// How many candidates it named; nothing if it did not answer in time.
    pub found: Option<u16>,
}

/// What became of a driver who could be offered the booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// He was not needed.
    NotAsked,
    /// His shell was asked, and had not answered.
    Asked,
    /// He was reserved for the booking.
    Granted,
    /// A better claim won, of this booking if that is known.
    Lost(Option<BookingId>),
    /// He was not free, because of this booking if that is known.
    Busy(Option<BookingId>),
    /// His shell did not answer.
    Silent,
}

/// A driver who could be offered the booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    /// Who.
    pub driver: DriverId,
    /// His place in the search, from 1.
    pub rank: u16,
    /// Straight-line metres to the pickup.
    pub distance_m: u32,
    /// Estimated seconds to the pickup.
    pub eta_s: u32,
    /// What the matcher ordered by, in milliseconds; less is better.
    pub cost_ms: i64,
    /// He came free after the search, and a board said so.
    pub woken: bool,
    /// What became of him.
    pub fate: Fate,
    /// The offer that was put before him.
    pub offer: Option<OfferId>,
}

/// One search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// In which attempt.
    pub attempt: u16,
    /// How far, in metres.
    pub radius_m: u32,
    /// How old the booking was when it came back, in milliseconds.
    pub age_ms: u32,
    /// Other bookings that waited there.
    pub waiting: u32,
    /// Some owner did not answer in time.
    pub partial: bool,
    /// Who was asked.
    pub asked: Vec<Asked>,
    /// Who could be offered it, best first, at most [`CONSIDERED_MAX`].
    pub considered: Vec<Considered>,
    /// Who could not, nearest first, at most [`DROPPED_MAX`].
    pub dropped: Vec<Dropped>,
    /// Whether more were dropped than are told.
    pub more_dropped: bool,
}

/// What one node knows of how it looked for a booking's driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whose.
    pub node: NodeId,
    /// The term in which it led the booking's partition.
    pub term: u64,
    /// Its searches, oldest first, at most [`SEARCHES_MAX`].
    pub searches: Vec<Searched>,
    /// How many older ones it has forgotten.
    pub forgotten: u32,
    /// It still looks.
    pub under_way: bool,
}
