//! Riders and drivers.

use crate::client::text;
use crate::ids::{BookingId, DriverId, OfferId, RiderId, TripId};
use serde::{Deserialize, Serialize};

/// A rider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rider {
    /// Who.
    #[serde(with = "text")]
    pub rider_id: RiderId,
    /// The name he registered under.
    pub name: String,
    /// The booking that has not ended.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub active_booking_id: Option<BookingId>,
}

/// What a vehicle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VehicleType {
    /// A three-wheeler.
    Auto,
    /// A car.
    Sedan,
    /// A large car.
    Suv,
    /// A motorcycle.
    Bike,
}

/// The vehicle a driver works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vehicle {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: VehicleType,
    /// Seats for riders.
    pub seats: u8,
    /// What it can do, by name.
    pub capabilities: Vec<String>,
    /// The number plate.
    pub plate: String,
}

/// What a driver registers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewDriver {
    /// Unique in the cluster.
    pub name: String,
    /// Where he works.
    pub city_id: u16,
    /// With what.
    pub vehicle: Vehicle,
    /// Whether his identity was verified; nobody else can go on duty.
    pub kyc_verified: bool,
}

/// How a driver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverStatus {
    /// Off duty.
    Offline,
    /// On duty.
    Online,
    /// He has said yes to somebody.
    OnTrip,
}

/// A driver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Driver {
    /// Who.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// The name he registered under.
    pub name: String,
    /// Where he works.
    pub city_id: u16,
    /// How he stands.
    pub status: DriverStatus,
    /// With what he works.
    pub vehicle: Vehicle,
    /// Whether his identity was verified.
    pub kyc_verified: bool,
    /// Whether he can be asked now.
    pub can_accept_bookings: bool,
    /// The offer before him.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub current_offer_id: Option<OfferId>,
    /// The booking that he is committed to.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub current_booking_id: Option<BookingId>,
    /// The trip that he is committed to.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub current_trip_id: Option<TripId>,
    /// The booking that he serves when his trip has ended.
    #[serde(default, deserialize_with = "text::maybe::deserialize")]
    pub next_booking_id: Option<BookingId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_none_is_an_error() {
        let text = r#"{"rider_id":"rdr_nonsense","name":"ada"}"#;
        assert!(serde_json::from_str::<Rider>(text).is_err());
    }
}
