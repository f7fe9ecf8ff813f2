//! How people name riders, drivers, places and nodes.

use crate::tools::Bearer;
use proto::client::{Key, NewBooking, NewDriver, Party, Vehicle, VehicleType};
use proto::{BookingId, DriverId, OfferId, Point, RiderId, TripId};
use std::str::FromStr;

/// How the cluster is reached, and how answers are shown.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reaching {
    /// Some nodes of the cluster, separated by commas. Whichever answers names the others.
    #[arg(
        long,
        env = "HANSOM_NODE",
        default_value = "http://127.0.0.1:8001",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = node,
        global = true
    )]
    pub(super) node: Vec<String>,
    #[command(flatten)]
    pub(super) bearer: Bearer,
    /// The API's JSON instead of tables; of `drive` and `ride`, an object a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The key of a change.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Keyed {
    /// Go under this idempotency key instead of a new one: settles a command that was not settled.
    #[arg(long)]
    pub(super) key: Option<Key>,
}

/// Whether a read may be old.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Freshness {
    /// Take the copy of whichever node is asked, which may be old.
    #[arg(long)]
    pub(super) stale_ok: bool,
}

/// A rider, to be shown.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RiderArgs {
    /// By id or name.
    #[arg(value_parser = rider)]
    pub(super) rider: RiderId,
    #[command(flatten)]
    pub(super) freshness: Freshness,
}

/// A driver, of whom something changes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DriverArgs {
    /// By id or name.
    #[arg(value_parser = driver)]
    pub(super) driver: DriverId,
    #[command(flatten)]
    pub(super) keyed: Keyed,
}

/// A yes or a no.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AnswerArgs {
    /// By id or name.
    #[arg(value_parser = driver)]
    pub(super) driver: DriverId,
    /// off_...; the one before him if none is named.
    pub(super) offer: Option<OfferId>,
    #[command(flatten)]
    pub(super) keyed: Keyed,
}

/// A step of a trip.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StepArgs {
    /// trp_...; the one he is on if none is named.
    pub(super) trip: Option<TripId>,
    /// Who drives, by id or name.
    #[arg(long, value_parser = driver)]
    pub(super) driver: DriverId,
    #[command(flatten)]
    pub(super) keyed: Keyed,
}

/// The step with which a trip begins.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    pub(super) step: StepArgs,
    /// What the rider told the driver, where the cluster wants that.
    #[arg(long, value_name = "CODE")]
    pub(super) otp: Option<String>,
}

/// The last step of a trip.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EndArgs {
    #[command(flatten)]
    pub(super) step: StepArgs,
    /// What the odometer shows, in kilometres.
    #[arg(long, value_name = "KM")]
    pub(super) odometer: Option<f64>,
}

/// A rider or a driver.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct PartyArgs {
    /// A rider, by id or name.
    #[arg(long, value_parser = rider)]
    rider: Option<RiderId>,
    /// A driver, by id or name.
    #[arg(long, value_parser = driver)]
    driver: Option<DriverId>,
}

impl PartyArgs {
    /// Which; clap sees to it that it is one.
    pub(super) fn party(self) -> Option<Party> {
        self.rider.map(Party::Rider).or(self.driver.map(Party::Driver))
    }
}

/// Whose past is listed.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct HistoryArgs {
    /// rdr_... or drv_...
    #[arg(value_parser = party_id)]
    id: Option<Party>,
    /// A rider, by id or name.
    #[arg(long, value_parser = rider)]
    rider: Option<RiderId>,
    /// A driver, by id or name.
    #[arg(long, value_parser = driver)]
    driver: Option<DriverId>,
}

impl HistoryArgs {
    pub(super) fn party(self) -> Option<Party> {
        let Self { id, rider, driver } = self;
        id.or(PartyArgs { rider, driver }.party())
    }
}

/// What is called off, and by whom.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CancelArgs {
    /// trp_... or bkg_...; what the party has if none is named.
    #[arg(value_parser = cancelled)]
    pub(super) what: Option<Cancelled>,
    #[command(flatten)]
    pub(super) by: PartyArgs,
    /// Why.
    #[arg(long, default_value = "")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) keyed: Keyed,
}

/// What can be called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelled {
    Trip(TripId),
    Booking(BookingId),
}

/// A vehicle's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Auto,
    Sedan,
    Suv,
    Bike,
}

impl From<Kind> for VehicleType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auto => Self::Auto,
            Kind::Sedan => Self::Sedan,
            Kind::Suv => Self::Suv,
            Kind::Bike => Self::Bike,
        }
    }
}

/// What a rider asks for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WishArgs {
    /// The pickup: lat,lng in degrees.
    #[arg(long, value_name = "LAT,LNG", value_parser = place, allow_hyphen_values = true)]
    from: Point,
    /// The destination.
    #[arg(long, value_name = "LAT,LNG", value_parser = place, allow_hyphen_values = true)]
    to: Point,
    /// In what.
    #[arg(long, value_name = "TYPE", default_value = "sedan")]
    vehicle: Kind,
    /// For how many.
    #[arg(long, default_value_t = 1)]
    seats: u8,
    /// What the vehicle must be able to do: child_seat, wheelchair, ... May be given again.
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// The city's number.
    #[arg(long, default_value_t = 1)]
    city: u16,
}

impl WishArgs {
    pub(super) fn wish(&self) -> NewBooking {
        NewBooking {
            vehicle_type: self.vehicle.into(),
            seats: self.seats,
            capabilities: self.capability.clone(),
            city_id: self.city,
            ..NewBooking::sedan(self.from, self.to)
        }
    }
}

/// What a driver registers with.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct NewDriverArgs {
    /// His vehicle.
    #[arg(long, value_name = "TYPE", default_value = "sedan")]
    vehicle: Kind,
    /// Its seats for riders.
    #[arg(long, default_value_t = 4)]
    seats: u8,
    /// What it can do: child_seat, wheelchair, ... May be given again.
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// Its number plate.
    #[arg(long, default_value = "")]
    plate: String,
    /// The city's number.
    #[arg(long, default_value_t = 1)]
    city: u16,
    /// Leave out that his identity was verified; he can't go on duty then.
    #[arg(long)]
    unverified: bool,
}

impl NewDriverArgs {
    pub(super) fn named(&self, name: &str) -> NewDriver {
        let vehicle = Vehicle {
            kind: self.vehicle.into(),
            seats: self.seats,
            capabilities: self.capability.clone(),
            plate: self.plate.clone(),
        };
        let (name, kyc_verified) = (name.to_owned(), !self.unverified);
        NewDriver { name, city_id: self.city, vehicle, kyc_verified }
    }
}

/// A rider, by id or by the name that he registered under.
pub(super) fn rider(text: &str) -> Result<RiderId, String> {
    named(text, "rdr_", RiderId::of_name)
}

/// A driver, likewise.
pub(super) fn driver(text: &str) -> Result<DriverId, String> {
    named(text, "drv_", DriverId::of_name)
}

fn named<T: FromStr<Err = proto::ids::IdError>>(
    text: &str,
    prefix: &str,
    of_name: fn(&str) -> T,
) -> Result<T, String> {
    if text.starts_with(prefix) {
        return text.parse().map_err(|error: proto::ids::IdError| error.to_string());
    }
    // A name may look like this, but what was meant is an id of something else.
    let id = ["rdr_", "drv_", "bkg_", "trp_", "off_"].iter().any(|other| text.starts_with(other));
    if id { Err(format!("begins with {prefix}, or is a name")) } else { Ok(of_name(text)) }
}

/// The id of a rider or a driver.
fn party_id(text: &str) -> Result<Party, String> {
    if let Ok(rider) = text.parse() {
        return Ok(Party::Rider(rider));
    }
    let driver = text.parse().map(Party::Driver);
    driver.map_err(|_| "is no id (rdr_..., drv_...); of a name say --rider or --driver".to_owned())
}

fn cancelled(text: &str) -> Result<Cancelled, String> {
    if let Ok(trip) = text.parse() {
        return Ok(Cancelled::Trip(trip));
    }
    let booking = text.parse().map(Cancelled::Booking);
    booking.map_err(|_| "must be a trip's id (trp_...) or a booking's (bkg_...)".to_owned())
}

/// A place in degrees.
pub(super) fn place(text: &str) -> Result<Point, String> {
    let numbers = text.split_once(',').and_then(|(lat, lng)| {
        Some((lat.trim().parse::<f64>().ok()?, lng.trim().parse::<f64>().ok()?))
    });
    let (lat, lng) = numbers.ok_or("must be lat,lng in degrees, as 40.7580,-73.9855")?;
    Point::from_degrees(lat, lng).map_err(|error| error.to_string())
}

/// Where a node answers, as `host:port`.
fn node(text: &str) -> Result<String, String> {
    if text.starts_with("https:") {
        return Err("nodes speak plain HTTP: http://host:port".to_owned());
    }
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
    match address.is_empty() || address.contains(odd) {
        true => Err("must be http://host:port".to_owned()),
        false => Ok(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_named_by_id_or_name_and_never_by_the_id_of_something_else() {
        let dee = DriverId::of_name("dee");
        assert_eq!(driver("dee"), Ok(dee));
        assert_eq!(driver(&dee.to_string()), Ok(dee));
        assert_eq!(rider("dee"), Ok(RiderId::of_name("dee")));
        assert!(rider(&dee.to_string()).is_err());
        assert!(driver("drv_short").unwrap_err().contains("digits"));
        assert_eq!(party_id(&dee.to_string()), Ok(Party::Driver(dee)));
        assert!(party_id("dee").unwrap_err().contains("--driver"));
    }

    #[test]
    fn places_and_nodes_are_taken_as_people_write_them() {
        let down_under = Point::from_degrees(-33.868_8, 151.209_3);
        assert_eq!(place("-33.8688, 151.2093").ok(), down_under.ok());
        for nonsense in ["", "40", "40,", "40,a", "91,0", "40,-73,1"] {
            assert!(place(nonsense).is_err(), "{nonsense}");
        }
        for text in ["http://10.0.0.5:8001", "http://10.0.0.5:8001/", "10.0.0.5:8001"] {
            assert_eq!(node(text).as_deref(), Ok("10.0.0.5:8001"), "{text}");
        }
        for nonsense in ["", "http://", "https://a:1", "http://a:1/v1", "http://me@a:1"] {
            assert!(node(nonsense).is_err(), "{nonsense}");
        }
    }
}
