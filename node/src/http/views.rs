//! The JSON that goes out.

mod dispatch;
mod trip;

pub(super) use dispatch::{AttemptView, StoryView};
pub(super) use trip::{DrivenView, ReceiptView, TrailView, TripView, trip_status};

use crate::auth::Identity;
use actors::dispatch::Prospect;
use actors::runtime::Nearby;
use axum::http::StatusCode;
use dispatch::MadeView;
use proto::record::ask::{Accepted, Fix};
use proto::record::booking::Offer;
use proto::record::cell::Candidate;
use proto::record::driver::{Capabilities, Commitment, DriverStatus};
use proto::record::fare::ONE_BP;
use proto::record::{
    Actor, Booking, BookingState, Driver, Duty, OfferState, Phone, Place, Rider, Vehicle,
    VehicleType,
};
use proto::units::Point;
use proto::{Code, WallMs};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RiderView {
    rider_id: String,
    name: String,
    phone: Option<String>,
    /// If it is in the past, it holds no more.
    banned_until_ms: Option<u64>,
    active_booking_id: Option<String>,
}

impl From<Rider> for RiderView {
    fn from(rider: Rider) -> Self {
        let Rider { id, name, active, profile, ban } = rider;
        Self {
            rider_id: id.to_string(),
            name,
            phone: profile.phone.map(|Phone(number)| number),
            banned_until_ms: ban.map(|ban| ban.until.0),
            active_booking_id: active.map(|booking| booking.to_string()),
        }
    }
}

pub(super) const fn kind(kind: VehicleType) -> &'static str {
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
    make: String,
    model: String,
    color: String,
}

impl From<Vehicle> for VehicleView {
    fn from(vehicle: Vehicle) -> Self {
        let Vehicle { kind: of, seats, capabilities, plate, make, model, color } = vehicle;
        Self { kind: kind(of), seats, capabilities: names(capabilities), plate, make, model, color }
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
    /// The offer before him of a ride that is to follow his trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offer_id: Option<String>,
    /// The booking that he serves when his trip has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_booking_id: Option<String>,
    phone: Option<String>,
    /// If it is in the past, it holds no more.
    banned_until_ms: Option<u64>,
    /// How many of the last offers that he answered, or let pass, he accepted: 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    acceptance_rate: Option<f64>,
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
        let (mut next_offer, mut next_booking) = (None, None);
        match &driver.next {
            Some(Commitment::Held { offer }) => next_offer = Some(offer.id.to_string()),
            Some(Commitment::Taken { offer, .. }) => {
                next_booking = Some(offer.booking.to_string());
            }
            None => {}
        }
        let online = driver.duty == Duty::Online;
        let status = match (&driver.current, online) {
            (Some(Commitment::Taken { .. }), _) => "on_trip",
            (Some(Commitment::Held { .. }), _) | (None, true) => "online",
            (None, false) => "offline",
        };
        let rate = driver.acceptance_bp();
        Self {
            acceptance_rate: rate.map(|bp| f64::from(bp) / f64::from(ONE_BP)),
            phone: driver.profile.phone.map(|Phone(number)| number),
            banned_until_ms: driver.ban.map(|ban| ban.until.0),
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
            next_offer_id: next_offer,
            next_booking_id: next_booking,
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

/// A ride that a driver has when the one that he is on has ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NextView {
    offer_id: String,
    booking_id: String,
    /// `PROMISED`.
    status: &'static str,
}

/// What a driver's yes came to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AcceptedView {
    Trip(Box<TripView>),
    Next(NextView),
}

impl AcceptedView {
    /// With the status that says which it is.
    pub(super) fn of(accepted: Accepted) -> (StatusCode, Self) {
        match accepted {
            Accepted::Trip(trip) => {
                (StatusCode::CREATED, Self::Trip(Box::new(TripView::from(*trip))))
            }
            Accepted::Next { offer, booking } => {
                let (offer_id, booking_id) = (offer.to_string(), booking.to_string());
                let next = NextView { offer_id, booking_id, status: "PROMISED" };
                (StatusCode::ACCEPTED, Self::Next(next))
            }
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
        let held = driver.commitments().filter_map(|commitment| match commitment {
            Commitment::Held { offer } => Some(OfferView::at(now, offer)),
            Commitment::Taken { .. } => None,
        });
        Self { offers: held.collect() }
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
    payment_method: String,
    /// What the ride costs if the estimate is right, tax included, in minor units.
    estimated_fare_minor: u64,
    estimated_distance_m: u32,
    estimated_duration_sec: u32,
    currency: String,
    /// By what the fare is multiplied; fixed when the booking was made.
    surge_multiplier: f64,
    shown_estimate_minor: Option<u64>,
    /// The booking that this one goes on for, because its driver called off.
    replaces: Option<String>,
    /// The booking that goes on for this one.
    replaced_by: Option<String>,
    /// The radii that were searched, with what came of each.
    dispatch_attempts: Vec<AttemptView>,
    offers: Vec<MadeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<&'static str>,
    created_at_ms: u64,
    updated_at_ms: u64,
}

/// As its rider may see it.
impl From<Booking> for BookingView {
    fn from(booking: Booking) -> Self {
        let rider = Identity::Rider(booking.rider);
        Self::seen_by(rider, booking)
    }
}

impl BookingView {
    /// The booking without the drivers who do not concern `asker`.
    pub(super) fn seen_by(asker: Identity, booking: Booking) -> Self {
        let (status, cancelled_by) = match &booking.state {
            BookingState::Open | BookingState::Offering => ("PENDING", None),
            BookingState::Assigned { .. } => ("ASSIGNED", None),
            BookingState::Cancelled { by, .. } => ("CANCELLED", Some(actor(*by))),
            BookingState::Expired => ("REQUEST_EXPIRED", None),
            BookingState::Completed => ("COMPLETED", None),
            BookingState::Paid => ("PAID", None),
            BookingState::Promised { .. } => ("PROMISED", None),
        };
        let has = |state: &OfferState| matches!(state, OfferState::Accepted | OfferState::Promised);
        let won = booking.offers.iter().find(|(_, state)| has(state));
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
            dispatch_attempts: AttemptView::all(&booking),
            offers: MadeView::all(&booking, asker),
            cancelled_by,
            payment_method: booking.payment_method,
            estimated_fare_minor: booking.quote.total_minor,
            estimated_distance_m: booking.quote.distance_m,
            estimated_duration_sec: booking.quote.duration_s,
            currency: booking.quote.tariff.currency.to_string(),
            surge_multiplier: f64::from(booking.quote.surge_bp) / f64::from(ONE_BP),
            shown_estimate_minor: booking.shown_estimate_minor,
            replaces: booking.replaces.map(|id| id.to_string()),
            replaced_by: booking.replaced_by.map(|id| id.to_string()),
            created_at_ms: booking.created_at.0,
            updated_at_ms: booking.updated_at.0,
            pickup: booking.pickup.into(),
            destination: booking.destination.into(),
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
    /// Drivers whose rides end there soon, at most 8, the least way to the middle first; empty without
    /// `within_s`.
    expected: Vec<ExpectedView>,
    partial: bool,
}

/// A driver with a rider aboard, as he will stand when that ride is over.
#[derive(Debug, Serialize, ToSchema)]
struct ExpectedView {
    driver_id: String,
    #[serde(flatten)]
    point: PointView,
    distance_m: u32,
    /// How long he still drives, as estimated from where he was seen last.
    free_in_s: u64,
}

impl ExpectedView {
    fn of(prospect: &Prospect) -> Self {
        let Candidate { driver, point, distance_m, .. } = prospect.candidate;
        let free_in_s = prospect.free_in_ms.div_ceil(1_000);
        Self { driver_id: driver.to_string(), point: point.into(), distance_m, free_in_s }
    }
}

impl NearbyView {
    pub(super) fn of(nearby: Nearby) -> Self {
        let Nearby { candidates, expected, partial, .. } = nearby;
        let expected = expected.iter().map(ExpectedView::of).collect();
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
        Self { drivers: candidates.into_iter().map(seen).collect(), expected, partial }
    }
}

/// What is known of a driver at work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MetaView {
    driver_id: String,
    city_id: u16,
    status: &'static str,
    vehicle_type: &'static str,
    #[serde(flatten)]
    point: PointView,
    /// How many of the last offers that he answered, or let pass, he accepted: 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    acceptance_rate: Option<f64>,
    /// Trips that he completed today (UTC).
    trip_count_today: u32,
    /// When he was measured to be there.
    last_updated_ms: u64,
    current_booking_id: Option<String>,
}

impl MetaView {
    pub(super) fn of(driver: Driver, fix: Fix, now: WallMs) -> Self {
        let trip_count_today = actors::driver::trips_today(&driver, now);
        let vehicle_type = kind(driver.vehicle.kind);
        let DriverView { driver_id, city_id, status, acceptance_rate, current_booking_id, .. } =
            driver.into();
        Self {
            driver_id,
            city_id,
            status,
            vehicle_type,
            point: fix.point.into(),
            acceptance_rate,
            trip_count_today,
            last_updated_ms: fix.at.0,
            current_booking_id,
        }
    }
}

/// Whether a party may take part in something new, and if not, why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MayView {
    allowed: bool,
    /// The code that it would be refused with.
    code: Option<&'static str>,
    detail: Option<&'static str>,
}

impl From<Result<(), Code>> for MayView {
    fn from(may: Result<(), Code>) -> Self {
        let code = may.err();
        Self {
            allowed: code.is_none(),
            code: code.map(Code::as_str),
            detail: code.map(|code| code.meaning().trim()),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountsView {
    pub(super) applied: u32,
    pub(super) stale: u32,
    pub(super) refused: u32,
}
