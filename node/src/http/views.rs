//! The JSON that goes out.

use proto::WallMs;
use proto::record::booking::Offer;
use proto::record::cell::Candidate;
use proto::record::driver::{Capabilities, Commitment, DriverStatus};
use proto::record::trip::{Driven, Transition};
use proto::record::{
    Actor, Booking, BookingState, Driver, Duty, OfferState, Place, Rider, Trip, TripState, Vehicle,
    VehicleType,
};
use proto::units::Point;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RiderView {
    rider_id: String,
    name: String,
    active_booking_id: Option<String>,
}

impl From<Rider> for RiderView {
    fn from(rider: Rider) -> Self {
        let Rider { id, name, active } = rider;
        Self {
            rider_id: id.to_string(),
            name,
            active_booking_id: active.map(|booking| booking.to_string()),
        }
    }
}

const fn kind(kind: VehicleType) -> &'static str {
    match kind {
        VehicleType::Auto => "AUTO",
        VehicleType::Sedan => "SEDAN",
        VehicleType::Suv => "SUV",
        VehicleType::Bike => "BIKE",
    }
}

fn names(capabilities: Capabilities) -> Vec<&'static str> {
    let has = |bit: u32| capabilities.0 & bit != 0;
    Capabilities::NAMES.iter().filter(|(_, bit)| has(*bit)).map(|(name, _)| *name).collect()
}

#[derive(Debug, Serialize, ToSchema)]
struct VehicleView {
    #[serde(rename = "type")]
    kind: &'static str,
    seats: u8,
    capabilities: Vec<&'static str>,
    plate: String,
}

impl From<Vehicle> for VehicleView {
    fn from(vehicle: Vehicle) -> Self {
        let Vehicle { kind: of, seats, capabilities, plate } = vehicle;
        Self { kind: kind(of), seats, capabilities: names(capabilities), plate }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DriverView {
    driver_id: String,
    name: String,
    city_id: u16,
    status: &'static str,
    vehicle: VehicleView,
    kyc_verified: bool,
    can_accept_bookings: bool,
    current_offer_id: Option<String>,
    current_booking_id: Option<String>,
    current_trip_id: Option<String>,
}

impl From<Driver> for DriverView {
    fn from(driver: Driver) -> Self {
        let (mut offer, mut booking, mut trip) = (None, None, None);
        match &driver.current {
            Some(Commitment::Held { offer: held }) => offer = Some(held.id.to_string()),
            Some(Commitment::Taken { offer: taken, trip: of, .. }) => {
                booking = Some(taken.booking.to_string());
                trip = of.map(|trip| trip.to_string());
            }
            None => {}
        }
        let online = driver.duty == Duty::Online;
        let status = match (&driver.current, online) {
            (Some(Commitment::Taken { .. }), _) => "on_trip",
            (Some(Commitment::Held { .. }), _) | (None, true) => "online",
            (None, false) => "offline",
        };
        Self {
            driver_id: driver.id.to_string(),
            name: driver.name,
            city_id: driver.city.0,
            status,
            vehicle: driver.vehicle.into(),
            kyc_verified: driver.kyc_verified,
            can_accept_bookings: online && driver.kyc_verified && driver.current.is_none(),
            current_offer_id: offer,
            current_booking_id: booking,
            current_trip_id: trip,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct PointView {
    lat: f64,
    lng: f64,
}

impl From<Point> for PointView {
    fn from(point: Point) -> Self {
        Self { lat: point.lat(), lng: point.lng() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct PlaceView {
    #[serde(flatten)]
    point: PointView,
    address: String,
}

impl From<Place> for PlaceView {
    fn from(place: Place) -> Self {
        Self { point: place.point.into(), address: place.address }
    }
}

/// An offer as its driver sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OfferView {
    offer_id: String,
    booking_id: String,
    driver_id: String,
    attempt: u16,
    rank: u16,
    pickup: PointView,
    destination: PointView,
    distance_m: u32,
    eta_sec: u32,
    created_at_ms: u64,
    expires_in_ms: u64,
    shown_ms: u32,
}

impl OfferView {
    /// The offer at `now`. What is left of its time is counted from when it was made, by the clock
    /// of another node; the driver's record decides.
    pub(super) fn at(now: WallMs, offer: &Offer) -> Self {
        let ttl_ms = u64::from(offer.ttl_ms);
        Self {
            offer_id: offer.id.to_string(),
            booking_id: offer.booking.to_string(),
            driver_id: offer.driver.to_string(),
            attempt: offer.attempt,
            rank: offer.rank,
            pickup: offer.pickup.into(),
            destination: offer.destination.into(),
            distance_m: offer.distance_m,
            eta_sec: offer.eta_s,
            created_at_ms: offer.created_at.0,
            expires_in_ms: ttl_ms.saturating_sub(now.since(offer.created_at)),
            shown_ms: offer.shown_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OffersView {
    offers: Vec<OfferView>,
}

impl OffersView {
    /// What is before a driver at `now`.
    pub(super) fn of(now: WallMs, driver: &Driver) -> Self {
        let held = driver.current.iter().filter_map(|commitment| match commitment {
            Commitment::Held { offer } => Some(OfferView::at(now, offer)),
            Commitment::Taken { .. } => None,
        });
        Self { offers: held.collect() }
    }
}

/// An offer as its booking sees it.
#[derive(Debug, Serialize, ToSchema)]
struct MadeView {
    offer_id: String,
    driver_id: String,
    attempt: u16,
    rank: u16,
    status: &'static str,
    distance_m: u32,
    eta_sec: u32,
}

const fn offer_status(state: OfferState) -> &'static str {
    match state {
        OfferState::Pending => "PENDING",
        OfferState::Accepted => "ACCEPTED",
        OfferState::Declined => "DECLINED",
        OfferState::Expired => "EXPIRED",
        OfferState::Cancelled => "CANCELLED",
    }
}

/// The name of who did something.
pub(super) const fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Rider => "RIDER",
        Actor::Driver => "DRIVER",
        Actor::System => "SYSTEM",
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BookingView {
    booking_id: String,
    rider_id: String,
    status: &'static str,
    attempt: u16,
    pickup: PlaceView,
    destination: PlaceView,
    vehicle_type: &'static str,
    seats: u8,
    capabilities: Vec<&'static str>,
    driver_id: Option<String>,
    trip_id: Option<String>,
    offers: Vec<MadeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<&'static str>,
    created_at_ms: u64,
    updated_at_ms: u64,
}

impl From<Booking> for BookingView {
    fn from(booking: Booking) -> Self {
        let (status, cancelled_by) = match &booking.state {
            BookingState::Open | BookingState::Offering => ("PENDING", None),
            BookingState::Assigned { .. } => ("ASSIGNED", None),
            BookingState::Cancelled { by, .. } => ("CANCELLED", Some(actor(*by))),
            BookingState::Expired => ("REQUEST_EXPIRED", None),
            BookingState::Completed => ("COMPLETED", None),
            BookingState::Paid => ("PAID", None),
        };
        let won = booking.offers.iter().find(|(_, state)| *state == OfferState::Accepted);
        let made = |(offer, state): &(Offer, OfferState)| MadeView {
            offer_id: offer.id.to_string(),
            driver_id: offer.driver.to_string(),
            attempt: offer.attempt,
            rank: offer.rank,
            status: offer_status(*state),
            distance_m: offer.distance_m,
            eta_sec: offer.eta_s,
        };
        Self {
            booking_id: booking.id.to_string(),
            rider_id: booking.rider.to_string(),
            status,
            attempt: booking.attempt,
            vehicle_type: kind(booking.need.kind),
            seats: booking.need.seats,
            capabilities: names(booking.need.capabilities),
            driver_id: won.map(|(offer, _)| offer.driver.to_string()),
            trip_id: booking.trip.map(|trip| trip.to_string()),
            offers: booking.offers.iter().map(made).collect(),
            cancelled_by,
            created_at_ms: booking.created_at.0,
            updated_at_ms: booking.updated_at.0,
            pickup: booking.pickup.into(),
            destination: booking.destination.into(),
        }
    }
}

/// The name of a trip's state.
pub(super) const fn trip_status(state: TripState) -> &'static str {
    match state {
        TripState::Assigned => "DRIVER_ASSIGNED",
        TripState::Arrived => "DRIVER_ARRIVED",
        TripState::InProgress => "IN_PROGRESS",
        TripState::Paused => "PAUSED",
        TripState::Completed => "COMPLETED",
        TripState::Cancelled => "CANCELLED",
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct TransitionView {
    sequence: u32,
    from: Option<&'static str>,
    to: &'static str,
    by: &'static str,
    reason: String,
    at_ms: u64,
}

impl From<Transition> for TransitionView {
    fn from(transition: Transition) -> Self {
        let Transition { sequence, from, to, by, reason, at } = transition;
        Self {
            sequence,
            from: from.map(trip_status),
            to: trip_status(to),
            by: actor(by),
            reason,
            at_ms: at.0,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TripView {
    trip_id: String,
    booking_id: String,
    rider_id: String,
    driver_id: String,
    status: &'static str,
    pickup: PlaceView,
    destination: PlaceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    odometer_km: Option<f64>,
    transitions: Vec<TransitionView>,
}

impl From<Trip> for TripView {
    fn from(trip: Trip) -> Self {
        Self {
            trip_id: trip.id.to_string(),
            booking_id: trip.booking.to_string(),
            rider_id: trip.rider.to_string(),
            driver_id: trip.driver.to_string(),
            status: trip_status(trip.state),
            pickup: trip.pickup.into(),
            destination: trip.destination.into(),
            odometer_km: trip.odometer_m.map(|metres| f64::from(metres) / 1_000.0),
            transitions: trip.transitions.into_iter().map(Into::into).collect(),
        }
    }
}

/// An ended trip as its driver's history has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DrivenView {
    booking_id: String,
    trip_id: String,
    status: &'static str,
    pickup: PointView,
    destination: PointView,
    ended_at_ms: u64,
}

impl From<Driven> for DrivenView {
    fn from(driven: Driven) -> Self {
        let Driven { trip, booking, ended, pickup, destination, at } = driven;
        Self {
            booking_id: booking.to_string(),
            trip_id: trip.to_string(),
            status: trip_status(ended),
            pickup: pickup.into(),
            destination: destination.into(),
            ended_at_ms: at.0,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct SeenView {
    driver_id: String,
    #[serde(flatten)]
    point: PointView,
    distance_m: u32,
    status: &'static str,
    seen_at_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NearbyView {
    drivers: Vec<SeenView>,
    partial: bool,
}

impl NearbyView {
    pub(super) fn of(candidates: Vec<Candidate>, partial: bool) -> Self {
        let seen = |candidate: Candidate| SeenView {
            driver_id: candidate.driver.to_string(),
            point: candidate.point.into(),
            distance_m: candidate.distance_m,
            status: match candidate.status {
                DriverStatus::Offline => "offline",
                DriverStatus::Free | DriverStatus::Held => "online",
                DriverStatus::Taken => "on_trip",
            },
            seen_at_ms: candidate.at.0,
        };
        Self { drivers: candidates.into_iter().map(seen).collect(), partial }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountsView {
    pub(super) applied: u32,
    pub(super) stale: u32,
    pub(super) refused: u32,
}
