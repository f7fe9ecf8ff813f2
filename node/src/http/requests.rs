//! The JSON that comes in, and its checks.

use super::problem::Problem;
use proto::record::booking::Need;
use proto::record::cell::Ping;
use proto::record::driver::Capabilities;
use proto::record::{Place, Vehicle, VehicleType};
use proto::{DriverId, Point, WallMs};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// The longest name of a party, in bytes.
const NAME_MAX: usize = 128;
/// The longest of the other texts a client may give: addresses, reasons, plates.
const TEXT_MAX: usize = 256;
/// The most seats a vehicle has or a booking needs.
const SEATS_MAX: u8 = 64;
/// How far ahead of this node's clock a phone's may be, in milliseconds; a ping from further ahead
/// counts as measured then, or no later ping of that driver would be newer.
const AHEAD_MAX_MS: u64 = 60_000;

/// A text that is not too long and has no control characters.
pub(super) fn text(field: &str, text: String, min: usize, max: usize) -> Result<String, Problem> {
    if !(min..=max).contains(&text.len()) {
        return Err(Problem::bad(field, format!("must have {min} to {max} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::bad(field, "must not contain control characters"));
    }
    Ok(text)
}

/// A reason, an address, a plate: may be empty.
pub(super) fn free_text(field: &str, given: Option<String>) -> Result<String, Problem> {
    text(field, given.unwrap_or_default(), 0, TEXT_MAX)
}

fn id<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: std::fmt::Display,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewRider {
    /// Unique in the cluster; without control characters.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
}

impl NewRider {
    pub(super) fn name(self) -> Result<String, Problem> {
        text("name", self.name, 1, NAME_MAX)
    }
}

/// A vehicle type as clients name it.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Kind {
    Sedan,
    Suv,
    Auto,
    Bike,
}

impl From<Kind> for VehicleType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sedan => Self::Sedan,
            Kind::Suv => Self::Suv,
            Kind::Auto => Self::Auto,
            Kind::Bike => Self::Bike,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct VehicleIn {
    #[serde(rename = "type")]
    kind: Kind,
    /// Seats for riders.
    #[serde(default = "four")]
    #[schema(minimum = 1, maximum = 64)]
    seats: u8,
    /// Of `child_seat`, `wheelchair`, `pet_friendly`, `air_conditioning`, `female_driver`, `box`,
    /// `hot_food`.
    #[serde(default)]
    capabilities: Vec<String>,
    #[schema(max_length = 256)]
    plate: Option<String>,
}

fn four() -> u8 {
    4
}

fn one() -> u8 {
    1
}

fn city_one() -> u16 {
    1
}

fn seats(field: &str, seats: u8) -> Result<u8, Problem> {
    if (1..=SEATS_MAX).contains(&seats) {
        Ok(seats)
    } else {
        Err(Problem::bad(field, format!("must be 1 to {SEATS_MAX}")))
    }
}

fn capabilities(field: &str, names: &[String]) -> Result<Capabilities, Problem> {
    let mut bits = 0;
    for name in names {
        let known = Capabilities::NAMES.iter().find(|(known, _)| known == name);
        let Some((_, bit)) = known else {
            let names: Vec<&str> = Capabilities::NAMES.iter().map(|(name, _)| *name).collect();
            let what = format!("`{name}` is none of {}", names.join(", "));
            return Err(Problem::bad(field, what));
        };
        bits |= bit;
    }
    Ok(Capabilities(bits))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewDriver {
    /// Unique in the cluster; without control characters.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    #[serde(default = "city_one")]
    pub(super) city_id: u16,
    vehicle: VehicleIn,
    #[serde(default)]
    pub(super) kyc_verified: bool,
}

impl NewDriver {
    pub(super) fn check(self) -> Result<(String, Vehicle), Problem> {
        let VehicleIn { kind, seats: n, capabilities: names, plate } = self.vehicle;
        let vehicle = Vehicle {
            kind: kind.into(),
            seats: seats("vehicle.seats", n)?,
            capabilities: capabilities("vehicle.capabilities", &names)?,
            plate: free_text("vehicle.plate", plate)?,
        };
        Ok((text("name", self.name, 1, NAME_MAX)?, vehicle))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PlaceIn {
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
    #[schema(max_length = 256)]
    address: Option<String>,
}

impl PlaceIn {
    fn check(self, field: &str) -> Result<Place, Problem> {
        let point = point(field, self.lat, self.lng)?;
        Ok(Place { point, address: free_text(&format!("{field}.address"), self.address)? })
    }
}

/// A point, if it is on the globe.
pub(super) fn point(field: &str, lat: f64, lng: f64) -> Result<Point, Problem> {
    Point::from_degrees(lat, lng).map_err(|_| Problem::off_the_globe(field))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewBooking {
    pickup: PlaceIn,
    destination: PlaceIn,
    /// `SEDAN` if nobody says.
    vehicle_type: Option<Kind>,
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 64)]
    seats: u8,
    /// What the vehicle must be able to do; see the registration of drivers.
    #[serde(default)]
    capabilities: Vec<String>,
    #[schema(max_length = 256)]
    payment_method: Option<String>,
    #[serde(default = "city_one")]
    pub(super) city_id: u16,
    /// The estimate that the rider was shown, in minor units of the city's currency.
    pub(super) shown_estimate_minor: Option<u64>,
}

/// A booking's checked parts.
pub(super) struct Wish {
    pub(super) pickup: Place,
    pub(super) destination: Place,
    pub(super) need: Need,
    pub(super) payment_method: String,
}

impl NewBooking {
    pub(super) fn check(self) -> Result<Wish, Problem> {
        Ok(Wish {
            pickup: self.pickup.check("pickup")?,
            destination: self.destination.check("destination")?,
            need: Need {
                kind: self.vehicle_type.unwrap_or(Kind::Sedan).into(),
                capabilities: capabilities("capabilities", &self.capabilities)?,
                seats: seats("seats", self.seats)?,
            },
            payment_method: free_text("payment_method", self.payment_method)?,
        })
    }
}

/// A body that may give a reason.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Reason {
    #[schema(max_length = 256)]
    reason: Option<String>,
}

impl Reason {
    pub(super) fn text(self) -> Result<String, Problem> {
        free_text("reason", self.reason)
    }
}

/// A body that says nothing.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct AcceptIn {
    #[serde(deserialize_with = "id")]
    #[schema(value_type = String)]
    pub(super) offer_id: proto::OfferId,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EndIn {
    /// How long the trip was by the driver's odometer.
    #[schema(minimum = 0, maximum = 4_000_000)]
    odometer_km: Option<f64>,
}

impl EndIn {
    /// The odometer in metres.
    pub(super) fn odometer_m(self) -> Result<Option<u32>, Problem> {
        let Some(km) = self.odometer_km else { return Ok(None) };
        if !(0.0..=4_000_000.0).contains(&km) {
            return Err(Problem::bad("odometer_km", "must be 0 to 4000000"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 4e9 was checked above"
        )]
        let metres = (km * 1_000.0).round() as u32;
        Ok(Some(metres))
    }
}

/// A position as a phone reports it; who reports it comes from elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Fix {
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
    #[schema(minimum = 0)]
    speed_kmh: Option<f64>,
    #[schema(minimum = 0)]
    heading_deg: Option<f64>,
    #[schema(minimum = 0)]
    accuracy_m: Option<f64>,
    /// When it was measured, in milliseconds since 1970.
    ts: u64,
}

/// A position of a named driver.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DriverFix {
    #[serde(deserialize_with = "id")]
    #[schema(value_type = String)]
    pub(super) driver_id: DriverId,
    #[serde(flatten)]
    pub(super) fix: Fix,
}

/// A measured quantity as a small integer: what a phone's sensors overstate is cut, what makes no
/// sense is refused.
fn measured(field: &str, value: Option<f64>, scale: f64) -> Result<u16, Problem> {
    let value = value.unwrap_or(0.0) * scale;
    if !(value >= 0.0 && value.is_finite()) {
        return Err(Problem::bad(field, "must be 0 or more"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cut to the range of a u16"
    )]
    let cut = value.round().min(f64::from(u16::MAX)) as u16;
    Ok(cut)
}

impl Fix {
    /// The ping of `driver`; `now` bounds how far ahead the phone's clock may be.
    pub(super) fn check(&self, driver: DriverId, now: WallMs) -> Result<Ping, Problem> {
        Ok(Ping {
            driver,
            point: point("lat, lng", self.lat, self.lng)?,
            heading_deg: measured("heading_deg", self.heading_deg, 1.0)? % 360,
            // km/h to cm/s
            speed_cms: measured("speed_kmh", self.speed_kmh, 100.0 / 3.6)?,
            accuracy_m: measured("accuracy_m", self.accuracy_m, 1.0)?,
            at: WallMs(self.ts).min(now.plus_ms(AHEAD_MAX_MS)),
        })
    }
}

/// The parameters of a look around.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Around {
    #[param(minimum = -90, maximum = 90)]
    pub(super) lat: f64,
    #[param(minimum = -180, maximum = 180)]
    pub(super) lng: f64,
    /// 2,000 if nobody says.
    #[param(minimum = 1, maximum = 10_000)]
    pub(super) radius_m: Option<u32>,
    /// 20 if nobody says.
    #[param(minimum = 1, maximum = 200)]
    pub(super) limit: Option<u16>,
    pub(super) vehicle_type: Option<Kind>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_that_overstates_is_cut_and_one_that_makes_no_sense_is_refused() {
        assert_eq!(measured("x", Some(1e9), 1.0).ok(), Some(u16::MAX));
        assert_eq!(measured("x", Some(36.0), 100.0 / 3.6).ok(), Some(1_000));
        assert!(measured("x", Some(-1.0), 1.0).is_err());
    }

    #[test]
    fn a_phone_whose_clock_is_ahead_cannot_outdate_its_own_later_pings() {
        let fix: Fix = serde_json::from_str(r#"{"lat":1,"lng":2,"ts":99999999999999}"#).unwrap();
        let driver = DriverId::from_raw(1);
        let at = |now| fix.check(driver, WallMs(now)).map(|ping| ping.at).unwrap();
        assert!(at(1_000) < at(2_000));
    }
}
