//! Where things are.

use super::party::{DriverStatus, VehicleType};
use crate::client::text;
use crate::ids::DriverId;
use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A place in degrees, and what people call it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Latitude.
    pub lat: f64,
    /// Longitude.
    pub lng: f64,
    /// May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
}

impl Place {
    /// The same in the house's units, if it is on the globe.
    pub fn point(&self) -> Option<Point> {
        Point::from_degrees(self.lat, self.lng).ok()
    }
}

impl From<Point> for Place {
    fn from(point: Point) -> Self {
        Self { lat: point.lat(), lng: point.lng(), address: String::new() }
    }
}

/// A position as a phone reports it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fix {
    /// Latitude in degrees.
    pub lat: f64,
    /// Longitude in degrees.
    pub lng: f64,
    /// Speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_kmh: Option<f64>,
    /// Where it is heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f64>,
    /// How far off it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f64>,
    /// When it was measured, in milliseconds since 1970, by the phone's clock.
    pub ts: u64,
}

impl Fix {
    /// A position and its time, and nothing else.
    pub fn at(point: Point, at: WallMs) -> Self {
        let (lat, lng) = (point.lat(), point.lng());
        Self { lat, lng, speed_kmh: None, heading_deg: None, accuracy_m: None, ts: at.0 }
    }
}

/// How a batch of positions fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// News.
    pub applied: u32,
    /// Older than what was known.
    pub stale: u32,
    /// Not taken: nobody who owns their cells could be reached.
    pub refused: u32,
}

/// Where to look for cars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Around {
    /// The middle.
    pub center: Point,
    /// How far; two kilometres if nothing is said.
    pub radius_m: Option<u32>,
    /// How many at most; twenty if nothing is said.
    pub limit: Option<u16>,
    /// Only cars that can stand in for this type.
    pub vehicle_type: Option<VehicleType>,
    /// Those too whose rides end there within so many seconds, 600 at most.
    pub within_s: Option<u32>,
}

impl Around {
    /// Any cars around this point.
    pub const fn point(center: Point) -> Self {
        Self { center, radius_m: None, limit: None, vehicle_type: None, within_s: None }
    }

    pub(in crate::client) fn query(&self) -> String {
        let mut query = format!("lat={:.7}&lng={:.7}", self.center.lat(), self.center.lng());
        // Writing to a string cannot fail.
        if let Some(radius_m) = self.radius_m {
            let _infallible = write!(query, "&radius_m={radius_m}");
        }
        if let Some(limit) = self.limit {
            let _infallible = write!(query, "&limit={limit}");
        }
        if let Some(within_s) = self.within_s {
            let _infallible = write!(query, "&within_s={within_s}");
        }
        if let Some(kind) = self.vehicle_type {
            let name = match kind {
                VehicleType::Auto => "AUTO",
                VehicleType::Sedan => "SEDAN",
                VehicleType::Suv => "SUV",
                VehicleType::Bike => "BIKE",
            };
            let _infallible = write!(query, "&vehicle_type={name}");
        }
        query
    }
}

/// Cars around a point.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Nearby {
    /// Nearest first.
    pub drivers: Vec<Seen>,
    /// Those whose rides end there soon, if that was asked.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// Whether somebody who should know did not answer in time.
    pub partial: bool,
}

/// A car as it was seen last.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seen {
    /// Whose.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// As the crow flies.
    pub distance_m: u32,
    /// How he stands.
    pub status: DriverStatus,
    /// When, by his phone's clock.
    pub seen_at_ms: u64,
}

/// A car with a rider aboard, as it will stand when that ride is over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Expected {
    /// Whose.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// As the crow flies.
    pub distance_m: u32,
    /// How long he still drives, about.
    pub free_in_s: u64,
}
