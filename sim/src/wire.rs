//! The cluster's JSON as a client reads it: what the city needs and no more, so that a new field
//! breaks nobody. Ids are typed; a text that is no id is an error of the cluster.

use proto::units::Point;
use proto::{BookingId, DriverId, OfferId, RiderId, TripId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};
use std::fmt::Display;
use std::str::FromStr;

/// Reads an id from its text form.
fn id<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Reads an id that may be null or missing.
fn maybe_id<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// Writes an id in its text form.
pub(crate) fn as_text<S: Serializer, T: Display>(id: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// A coordinate in degrees.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Place {
    pub(crate) lat: f64,
    pub(crate) lng: f64,
}

impl Place {
    /// The same in the house's units, if it is on the globe.
    pub(crate) fn point(self) -> Option<Point> {
        Point::from_degrees(self.lat, self.lng).ok()
    }
}

/// `POST /v1/drivers`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Driver {
    #[serde(deserialize_with = "id")]
    pub(crate) driver_id: DriverId,
    #[serde(default, deserialize_with = "maybe_id")]
    pub(crate) current_trip_id: Option<TripId>,
    #[serde(default, deserialize_with = "maybe_id")]
    pub(crate) current_booking_id: Option<BookingId>,
}

/// `POST /v1/riders`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rider {
    #[serde(deserialize_with = "id")]
    pub(crate) rider_id: RiderId,
}

/// Where a booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BookingStatus {
    /// It looks for a driver.
    Pending,
    /// A driver is on his way, or has the rider aboard.
    Assigned,
    /// Called off.
    Cancelled,
    /// Nobody came in time.
    RequestExpired,
    /// Carried.
    Completed,
    /// Carried and paid.
    Paid,
}

impl BookingStatus {
    /// Whether nothing more can happen to it that the rider waits for.
    pub(crate) const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Assigned => false,
            Self::Cancelled | Self::RequestExpired | Self::Completed | Self::Paid => true,
        }
    }

    /// Whether the rider was carried.
    pub(crate) const fn is_served(self) -> bool {
        match self {
            Self::Completed | Self::Paid => true,
            Self::Pending | Self::Assigned | Self::Cancelled | Self::RequestExpired => false,
        }
    }
}

/// A booking.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Booking {
    #[serde(deserialize_with = "id")]
    pub(crate) booking_id: BookingId,
    pub(crate) status: BookingStatus,
    #[serde(default, deserialize_with = "maybe_id")]
    pub(crate) driver_id: Option<DriverId>,
    #[serde(default, deserialize_with = "maybe_id")]
    pub(crate) trip_id: Option<TripId>,
}

/// Where a trip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TripStatus {
    /// The driver is on his way.
    DriverAssigned,
    /// He is at the pickup.
    DriverArrived,
    /// The rider is aboard.
    InProgress,
    /// Under way, standing.
    Paused,
    /// Over.
    Completed,
    /// Called off.
    Cancelled,
}

impl TripStatus {
    /// Whether the trip has ended.
    pub(crate) const fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled => true,
            Self::DriverAssigned | Self::DriverArrived | Self::InProgress | Self::Paused => false,
        }
    }
}

/// One change of a trip. The first may lead from nowhere.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Transition {
    pub(crate) to: TripStatus,
    pub(crate) at_ms: u64,
}

/// A trip.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Trip {
    #[serde(deserialize_with = "id")]
    pub(crate) trip_id: TripId,
    #[serde(deserialize_with = "id")]
    pub(crate) booking_id: BookingId,
    #[serde(deserialize_with = "id")]
    pub(crate) driver_id: DriverId,
    pub(crate) status: TripStatus,
    pub(crate) pickup: Place,
    pub(crate) destination: Place,
    #[serde(default)]
    pub(crate) transitions: Vec<Transition>,
}

/// What comes down a driver's socket. Kinds we do not know are somebody else's.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Down {
    /// The socket is registered.
    Hello {},
    /// An offer to answer.
    Offer(Offer),
    /// An offer that can no longer be answered.
    OfferEnded {},
    /// A trip moved.
    Trip {
        #[serde(deserialize_with = "id")]
        trip_id: TripId,
        status: TripStatus,
    },
    /// The last frame was not understood.
    Error {
        #[serde(default)]
        code: String,
    },
    /// Something newer than this client.
    #[serde(other)]
    Unknown,
}

/// An offer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Offer {
    #[serde(deserialize_with = "id")]
    pub(crate) offer_id: OfferId,
    #[serde(deserialize_with = "id")]
    pub(crate) booking_id: BookingId,
}

/// `application/problem+json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
}

/// `GET /v1/cluster`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) ready: bool,
    pub(crate) members: Vec<serde_json::Value>,
}

/// `GET /v1/cluster/lookup` of a rider's id.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Lookup {
    pub(crate) group: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_comes_down_flat() {
        let offer = OfferId::mint(proto::Slot(1), proto::WallMs(1), 1);
        let booking = BookingId::mint(proto::Slot(1), proto::WallMs(1), 2);
        let text =
            format!(r#"{{"type":"offer","offer_id":"{offer}","booking_id":"{booking}","rank":1}}"#);
        let down: Down = serde_json::from_str(&text).unwrap();
        assert!(matches!(down, Down::Offer(ref got) if got.offer_id == offer), "{down:?}");
        let news = r#"{"type":"weather","rain":true}"#;
        assert!(matches!(serde_json::from_str(news).unwrap(), Down::Unknown));
    }

    #[test]
    fn an_id_that_is_none_is_an_error() {
        let text = r#"{"rider_id":"rdr_nonsense"}"#;
        assert!(serde_json::from_str::<Rider>(text).is_err());
    }
}
