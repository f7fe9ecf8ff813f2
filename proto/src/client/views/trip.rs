//! Offers as their drivers see them, trips, and what comes down a driver's socket.

use super::booking::Actor;
use super::position::Place;
use crate::client::text;
use crate::ids::{BookingId, DriverId, NodeId, OfferId, RiderId, TripId};
use serde::{Deserialize, Serialize};

/// Where a trip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    pub const fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled => true,
            Self::DriverAssigned | Self::DriverArrived | Self::InProgress | Self::Paused => false,
        }
    }
}

/// One change of a trip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transition {
    /// Its number, from 1.
    pub sequence: u32,
    /// From where; the first comes from nowhere.
    pub from: Option<TripStatus>,
    /// To where.
    pub to: TripStatus,
    /// By whom.
    pub by: Actor,
    /// Why; may be empty.
    pub reason: String,
    /// When, by the cluster's clocks, in milliseconds since 1970.
    pub at_ms: u64,
}

/// A trip.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trip {
    /// Which.
    #[serde(with = "text")]
    pub trip_id: TripId,
    /// Of which booking.
    #[serde(with = "text")]
    pub booking_id: BookingId,
    /// Who is carried.
    #[serde(with = "text")]
    pub rider_id: RiderId,
    /// Who carries him.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// Where it stands.
    pub status: TripStatus,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// What the odometer showed at the end.
    #[serde(default)]
    pub odometer_km: Option<f64>,
    /// Whether the driver must be told a code before he may start.
    #[serde(default)]
    pub otp_required: bool,
    /// That code, where the rider asks and the trip has not been started.
    #[serde(default)]
    pub otp: Option<String>,
    /// How long the driver takes to his rider, or to the destination, in seconds.
    #[serde(default)]
    pub eta_sec: Option<u32>,
    /// How far it has come, by its trail.
    #[serde(default)]
    pub distance_m: u32,
    /// What it costs, once it is completed.
    #[serde(default)]
    pub fare: Option<Fare>,
    /// What calling it off costs the rider, once it was called off.
    #[serde(default)]
    pub cancellation_fee_minor: Option<u64>,
    /// The booking that looks for another driver, because this one called off.
    #[serde(default, with = "text::maybe")]
    pub replaced_by: Option<BookingId>,
    /// What it went through.
    pub transitions: Vec<Transition>,
}

/// What a trip costs, line by line, in minor units.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Fare {
    /// For getting in.
    pub base_minor: u64,
    /// For the way.
    pub distance_minor: u64,
    /// For the time on the way.
    pub time_minor: u64,
    /// For pauses.
    pub paused_minor: u64,
    /// What surge adds.
    pub surge_minor: u64,
    /// What was missing to the least a ride costs.
    pub minimum_minor: u64,
    /// The sum so far.
    pub subtotal_minor: u64,
    /// Tax on it.
    pub tax_minor: u64,
    /// What the rider pays.
    pub total_minor: u64,
    /// In which currency.
    pub currency: String,
}

/// A position that was recorded on a trip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Recorded {
    /// Latitude in degrees.
    pub lat: f64,
    /// Longitude in degrees.
    pub lng: f64,
    /// How far off it may be, in metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<u16>,
    /// When, by the phone's clock, in milliseconds since 1970.
    pub recorded_at_ms: u64,
}

/// How a batch of them fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Processed {
    /// How many are durable now; 0 if the trip was over before they came.
    pub processed: usize,
    /// Where the trip stands.
    pub trip_status: TripStatus,
}

/// What a trip that is over costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Receipt {
    /// Of which trip.
    #[serde(with = "text")]
    pub trip_id: TripId,
    /// How it ended.
    pub status: TripStatus,
    /// The lines, of a ride.
    #[serde(default)]
    pub fare: Option<Fare>,
    /// The fee, of a trip that was called off.
    #[serde(default)]
    pub cancellation_fee_minor: Option<u64>,
    /// What the rider pays.
    pub total_minor: u64,
    /// What the driver is left with; not told to riders.
    #[serde(default)]
    pub driver_minor: Option<u64>,
    /// In which currency.
    pub currency: String,
}

/// An ended trip as its driver's history has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Driven {
    /// Of which booking.
    #[serde(with = "text")]
    pub booking_id: BookingId,
    /// Which.
    #[serde(with = "text")]
    pub trip_id: TripId,
    /// How it ended.
    pub status: TripStatus,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// When, by the cluster's clocks, in milliseconds since 1970.
    pub ended_at_ms: u64,
}

/// A page of a driver's trips, newest first.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DrivenPage {
    /// At most as many as were asked for.
    pub bookings: Vec<Driven>,
    /// Where the next page begins; nothing if this is the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// An offer as its driver sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Offer {
    /// Which.
    #[serde(with = "text")]
    pub offer_id: OfferId,
    /// For which booking.
    #[serde(with = "text")]
    pub booking_id: BookingId,
    /// Who is asked.
    #[serde(with = "text")]
    pub driver_id: DriverId,
    /// In which attempt of the booking.
    pub attempt: u16,
    /// As which candidate, from 1.
    pub rank: u16,
    /// From.
    pub pickup: Place,
    /// To.
    pub destination: Place,
    /// How far the pickup is.
    pub distance_m: u32,
    /// How long it should take to get there.
    pub eta_sec: u32,
    /// When it was made, by the cluster's clocks, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// What is left of its time.
    pub expires_in_ms: u64,
    /// How long a phone should show it.
    pub shown_ms: u32,
}

/// What is before a driver.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Offers {
    /// At most one today.
    pub offers: Vec<Offer>,
}

/// Why an offer can no longer be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OfferEnd {
    /// Its time ran out.
    Expired,
    /// The driver said no.
    Declined,
    /// Another driver has the booking.
    FilledByAnotherDriver,
    /// The booking was called off.
    Cancelled,
    /// The booking that he was to serve next goes without him.
    Withdrawn,
    /// Something newer than this client.
    #[serde(other)]
    Unknown,
}

/// What comes down a driver's socket, `GET /v1/drivers/{id}/stream`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down {
    /// The socket is registered.
    Hello {
        /// For whom.
        #[serde(with = "text")]
        driver_id: DriverId,
        /// Where.
        #[serde(with = "text")]
        node: NodeId,
        /// What follows is how things are, not what was missed.
        #[serde(default)]
        afresh: bool,
        /// Where to go on after it, at any node: as `?cursor=`.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// An offer to answer.
    Offer {
        /// The offer.
        #[serde(flatten)]
        offer: Box<Offer>,
        /// Where to go on after it.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// An offer that can no longer be answered; it may never have been shown.
    OfferEnded {
        /// Which.
        #[serde(with = "text")]
        offer_id: OfferId,
        /// Why.
        reason: OfferEnd,
        /// Where to go on after it.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// A trip moved.
    Trip {
        /// Which.
        #[serde(with = "text")]
        trip_id: TripId,
        /// Where it stands.
        status: TripStatus,
        /// Where to go on after it.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// Nothing happened for a while.
    Cursor {
        /// Where to go on.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// The last frame was not understood.
    Error {
        /// Why.
        code: String,
        /// The same in a sentence.
        detail: String,
    },
    /// Something newer than this client.
    #[serde(other)]
    Unknown,
}

impl Down {
    /// Where to go on after it: the phone that comes back with the last one, to any node, is told
    /// what it missed.
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Hello { cursor, .. }
            | Self::Offer { cursor, .. }
            | Self::OfferEnded { cursor, .. }
            | Self::Trip { cursor, .. }
            | Self::Cursor { cursor } => cursor.as_deref(),
            Self::Error { .. } | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Slot;
    use crate::units::WallMs;

    #[test]
    fn an_offer_comes_down_flat() {
        let offer = OfferId::mint(Slot(1), WallMs(1), 1);
        let booking = BookingId::mint(Slot(1), WallMs(1), 2);
        let driver = DriverId::from_raw(3);
        let text = format!(
            r#"{{"type":"offer","offer_id":"{offer}","booking_id":"{booking}","driver_id":"{driver}",
            "attempt":1,"rank":1,"pickup":{{"lat":1.5,"lng":2}},"destination":{{"lat":1,"lng":2}},
            "distance_m":10,"eta_sec":4,"created_at_ms":1,"expires_in_ms":15000,"shown_ms":10000}}"#
        );
        let down: Down = serde_json::from_str(&text).unwrap();
        let Down::Offer { offer: got, cursor: None } = down else { panic!("{down:?}") };
        assert_eq!(got.offer_id, offer);
        let news = r#"{"type":"weather","rain":true}"#;
        assert_eq!(serde_json::from_str::<Down>(news).unwrap(), Down::Unknown);
        let ended = format!(
            r#"{{"type":"offer_ended","offer_id":"{offer}","reason":"TOO_HOT","cursor":"7"}}"#
        );
        let ended: Down = serde_json::from_str(&ended).unwrap();
        assert_eq!(ended.cursor(), Some("7"));
        let Down::OfferEnded { reason: OfferEnd::Unknown, .. } = ended else { panic!("{ended:?}") };
    }
}
