//! Units. Replicated state holds integers only: coordinates in 1e-7 degrees, times in
//! milliseconds, distances in metres. A unit is in the type or last in the name.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01 UTC by some node's clock. For display, audit and retention;
/// safety never depends on it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WallMs(pub u64);

impl WallMs {
    /// This time and `ms` milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    /// Milliseconds from `earlier` to this, zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds on one process's monotonic clock. Never leaves the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoMs(pub u64);

impl MonoMs {
    /// This time and `ms` milliseconds.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    /// Milliseconds from `earlier` to this, zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks of a process. Implemented in one file of `node`; everything else is handed it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Monotonic time of this process.
    fn mono(&self) -> MonoMs;
    /// Wall-clock time.
    fn wall(&self) -> WallMs;
    /// The monotonic time in microseconds, as fine as this clock tells it; for measuring.
    fn precise_us(&self) -> u64 {
        self.mono().0.saturating_mul(1_000)
    }
}

/// Why a coordinate was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("latitude must be within -90..90 and longitude within -180..180 degrees")]
pub struct OutOfRange;

/// A place on earth, WGS84, in 1e-7 degrees (about 1 cm).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    lat_e7: i32,
    lng_e7: i32,
}

const SCALE: f64 = 1e7;

impl Point {
    /// A point from degrees, rounded to the nearest 1e-7; refuses what is not on the globe
    /// (and anything that is not a number).
    pub fn from_degrees(lat: f64, lng: f64) -> Result<Self, OutOfRange> {
        if !(lat.abs() <= 90.0 && lng.abs() <= 180.0) {
            return Err(OutOfRange);
        }
        #[expect(clippy::cast_possible_truncation, reason = "180e7 fits in an i32")]
        let scaled = |degrees: f64| (degrees * SCALE).round() as i32;
        Ok(Self { lat_e7: scaled(lat), lng_e7: scaled(lng) })
    }
    /// A point from 1e-7 degrees; refuses what is not on the globe.
    pub const fn from_e7(lat_e7: i32, lng_e7: i32) -> Result<Self, OutOfRange> {
        if lat_e7.unsigned_abs() <= 900_000_000 && lng_e7.unsigned_abs() <= 1_800_000_000 {
            Ok(Self { lat_e7, lng_e7 })
        } else {
            Err(OutOfRange)
        }
    }
    /// Latitude and longitude in 1e-7 degrees.
    pub const fn to_e7(self) -> (i32, i32) {
        (self.lat_e7, self.lng_e7)
    }
    /// Latitude in degrees.
    pub fn lat(self) -> f64 {
        f64::from(self.lat_e7) / SCALE
    }
    /// Longitude in degrees.
    pub fn lng(self) -> f64 {
        f64::from(self.lng_e7) / SCALE
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.7},{:.7}", self.lat(), self.lng())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_on_the_globe_or_refused() {
        assert!(Point::from_degrees(90.0, -180.0).is_ok());
        for (lat, lng) in [(90.1, 0.0), (0.0, 180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Point::from_degrees(lat, lng), Err(OutOfRange), "{lat},{lng}");
        }
        assert_eq!(Point::from_e7(900_000_001, 0), Err(OutOfRange));
    }

    #[test]
    fn a_point_keeps_seven_digits() {
        let point = Point::from_degrees(40.767_393_6, -73.981_512_3).expect("on the globe");
        assert_eq!(format!("{point:?}"), "40.7673936,-73.9815123");
    }
}
