//! The JSON that comes in, and its checks.

mod trip;

pub(super) use trip::{AcceptIn, CancelIn, EndIn, LocationsIn, StartIn};

use super::problem::Problem;
use proto::record::booking::Need;
use proto::record::cell::Ping;
use proto::record::driver::Capabilities;
use proto::record::{Ban, Phone, Place, Profile, Vehicle, VehicleType};
use proto::{DriverId, Point, WallMs};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// The longest name of a party, in bytes.
const NAME_MAX: usize = 128;
/// The longest of the other texts a client may give: addresses, reasons, plates.
const TEXT_MAX: usize = 256;
/// The longest phone number, in bytes.
const PHONE_MAX: usize = 32;
/// The most seats a vehicle has or a booking needs.
const SEATS_MAX: u8 = 64;
/// How far ahead of this node's clock a phone's may be, in milliseconds; a ping from further ahead
/// counts as measured then, or no later ping of that driver would be newer.
const AHEAD_MAX_MS: u64 = 60_000;

/// The latest time that a phone is believed.
pub(crate) fn latest(now: WallMs) -> WallMs {
    now.plus_ms(AHEAD_MAX_MS)
}

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
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: String,
    /// Shown to the driver who comes for him.
    #[schema(pattern = "^[0-9+() .-]{1,32}$")]
    phone: Option<String>,
    /// Four digits of his own that he tells a driver when he gets in, where the policy wants that.
    #[schema(pattern = "^[0-9]{4}$")]
    pin: Option<String>,
}

impl NewRider {
    pub(super) fn check(self) -> Result<(String, Profile), Problem> {
        let pin = self.pin.map(|pin| pin.parse().map_err(|error| Problem::bad("pin", error)));
        let profile = Profile { phone: phone(self.phone)?, pin: pin.transpose()? };
        Ok((text("name", self.name, 1, NAME_MAX)?, profile))
    }
}

/// A phone number: digits, and what people write between them.
fn phone(given: Option<String>) -> Result<Option<Phone>, Problem> {
    let Some(number) = given else { return Ok(None) };
    let fits = |c: char| c.is_ascii_digit() || "+-() .".contains(c);
    if number.is_empty() || number.len() > PHONE_MAX || !number.chars().all(fits) {
        let what = format!("must be 1 to {PHONE_MAX} digits, spaces and +-().");
        return Err(Problem::bad("phone", what));
    }
    Ok(Some(Phone(number)))
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
    #[schema(max_length = 256)]
    make: Option<String>,
    #[schema(max_length = 256)]
    model: Option<String>,
    #[schema(max_length = 256)]
    color: Option<String>,
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
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    name: String,
    #[serde(default = "city_one")]
    pub(super) city_id: u16,
    vehicle: VehicleIn,
    #[serde(default)]
    pub(super) kyc_verified: bool,
    /// Shown to the riders he comes for.
    #[schema(pattern = "^[0-9+() .-]{1,32}$")]
    phone: Option<String>,
}

impl NewDriver {
    pub(super) fn check(self) -> Result<(String, Vehicle, Profile), Problem> {
        let VehicleIn { kind, seats: n, capabilities: names, plate, make, model, color } =
            self.vehicle;
        let vehicle = Vehicle {
            kind: kind.into(),
            seats: seats("vehicle.seats", n)?,
            capabilities: capabilities("vehicle.capabilities", &names)?,
            plate: free_text("vehicle.plate", plate)?,
            make: free_text("vehicle.make", make)?,
            model: free_text("vehicle.model", model)?,
            color: free_text("vehicle.color", color)?,
        };
        let profile = Profile { phone: phone(self.phone)?, pin: None };
        Ok((text("name", self.name, 1, NAME_MAX)?, vehicle, profile))
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

/// A ban that an operator speaks.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct BanIn {
    /// How long it holds, in seconds.
    #[schema(minimum = 1, maximum = 315_360_000)]
    for_s: u32,
    #[schema(max_length = 256)]
    reason: Option<String>,
}

/// The longest ban, in seconds: ten years.
const BAN_MAX_S: u32 = 315_360_000;

impl BanIn {
    pub(super) fn check(self, now: WallMs) -> Result<Ban, Problem> {
        if !(1..=BAN_MAX_S).contains(&self.for_s) {
            return Err(Problem::bad("for_s", format!("must be 1 to {BAN_MAX_S}")));
        }
        let until = now.plus_ms(u64::from(self.for_s) * 1_000);
        Ok(Ban { until, reason: free_text("reason", self.reason)? })
    }
}

/// A body that says nothing.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Nothing {}

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
            at: WallMs(self.ts).min(latest(now)),
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
    /// Any if nobody says; needed where `capabilities` or `seats` are given.
    pub(super) vehicle_type: Option<Kind>,
    /// What the vehicle must be able to do, separated by commas.
    capabilities: Option<String>,
    /// Seats that must be free.
    #[param(minimum = 1, maximum = 64)]
    seats: Option<u8>,
    /// Only drivers who could be offered a booking now.
    #[serde(default)]
    pub(super) free_only: bool,
    /// Name those too whose rides end there within so many seconds.
    #[param(minimum = 0, maximum = 600)]
    pub(super) within_s: Option<u32>,
}

impl Around {
    /// What the drivers must be able to do; nothing to see all.
    pub(super) fn need(&self) -> Result<Option<Need>, Problem> {
        let Some(kind) = self.vehicle_type else {
            return match (&self.capabilities, self.seats) {
                (None, None) => Ok(None),
                (..) => {
                    Err(Problem::bad("vehicle_type", "is missing beside capabilities or seats"))
                }
            };
        };
        let named = self.capabilities.iter().flat_map(|names| names.split(','));
        let named: Vec<String> = named.map(|name| name.trim().to_owned()).collect();
        // No seats are needed of whoever is only looked at, so that cars on a trip are seen too.
        let free = self.seats.map_or(Ok(0), |n| seats("seats", n))?;
        let capabilities = capabilities("capabilities", &named)?;
        Ok(Some(Need { kind: kind.into(), capabilities, seats: free }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_around_for_capabilities_or_seats_names_the_vehicle() {
        let around = |mut value: serde_json::Value| {
            (value["lat"], value["lng"]) = (1.into(), 2.into());
            serde_json::from_value::<Around>(value).unwrap().need()
        };
        let json = serde_json::json!({ "capabilities": "child_seat, wheelchair", "seats": 3 });
        assert!(around(json.clone()).is_err());
        let mut named = json;
        named["vehicle_type"] = "SUV".into();
        let need = around(named).unwrap().unwrap();
        assert_eq!((need.kind, need.capabilities.0, need.seats), (VehicleType::Suv, 3, 3));
        assert_eq!(around(serde_json::json!({})).unwrap(), None);
        assert!(around(serde_json::json!({ "vehicle_type": "SUV", "capabilities": "x" })).is_err());
    }

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
