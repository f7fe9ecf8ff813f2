//! Trips as they go out: the trip, its receipt, its trail.

use super::{PlaceView, PointView, VehicleView, actor};
use proto::RiderId;
use proto::record::ask::Fix;
use proto::record::fare::{Bill, Measure, ONE_BP};
use proto::record::trail::{TrailPiece, TrailPoint};
use proto::record::trip::{Driven, DriverCard, Transition};
use proto::record::{Phone, Trip, TripState};
use proto::units::WallMs;
use serde::Serialize;
use utoipa::ToSchema;

/// The name of a trip's state.
pub(in crate::http) const fn trip_status(state: TripState) -> &'static str {
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
    #[schema(minimum = 1)]
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

/// Where somebody was seen.
#[derive(Debug, Serialize, ToSchema)]
struct LocatedView {
    #[serde(flatten)]
    point: PointView,
    at_ms: u64,
}

impl From<Fix> for LocatedView {
    fn from(fix: Fix) -> Self {
        Self { point: fix.point.into(), at_ms: fix.at.0 }
    }
}

/// Who rides.
#[derive(Debug, Serialize, ToSchema)]
struct RiderCardView {
    rider_id: String,
    name: String,
    phone: Option<String>,
}

/// Who drives, and what.
#[derive(Debug, Serialize, ToSchema)]
struct DriverCardView {
    driver_id: String,
    name: String,
    phone: Option<String>,
    vehicle: VehicleView,
}

/// A fare, line by line, in minor units of its currency.
#[derive(Debug, Serialize, ToSchema)]
struct FareView {
    base_minor: u64,
    distance_minor: u64,
    time_minor: u64,
    paused_minor: u64,
    surge_minor: u64,
    /// What was missing to the least a ride costs.
    minimum_minor: u64,
    /// The sum of the lines above.
    subtotal_minor: u64,
    tax_minor: u64,
    total_minor: u64,
    surge_multiplier: f64,
    currency: String,
}

/// How far and how long.
#[derive(Debug, Serialize, ToSchema)]
struct SummaryView {
    distance_km: f64,
    /// `trail` where it was measured, `quote` where there was no trail worth the name.
    distance_by: &'static str,
    /// On the way, pauses left out.
    duration_sec: u64,
    paused_sec: u64,
    avg_speed_kmh: Option<f64>,
    /// The odometer says something else than the trail.
    odometer_doubted: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TripView {
    trip_id: String,
    booking_id: String,
    rider_id: String,
    driver_id: String,
    status: &'static str,
    pickup: PlaceView,
    destination: PlaceView,
    rider: RiderCardView,
    driver: DriverCardView,
    /// Whether the driver must be told a code before he may start.
    otp_required: bool,
    /// That code; only its rider sees it, until the trip is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    otp: Option<String>,
    estimated_fare_minor: u64,
    estimated_distance_m: u32,
    estimated_duration_sec: u32,
    currency: String,
    /// Where its driver was seen last, while it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_location: Option<LocatedView>,
    /// How long he takes from there, to his rider or to the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_sec: Option<u32>,
    /// How far it has come, by its trail.
    distance_m: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    odometer_km: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropoff: Option<PointView>,
    /// How it was, once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    trip_summary: Option<SummaryView>,
    /// What it costs, once it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    fare: Option<FareView>,
    /// What calling it off costs the rider, once it was called off.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation_fee_minor: Option<u64>,
    /// `PENDING` once there is something to pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_status: Option<&'static str>,
    /// The booking that looks for another driver, because this one called off.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    transitions: Vec<TransitionView>,
}

impl TripView {
    /// The trip as a rider may see it; others see the same without its code.
    pub(in crate::http) fn seen_by(rider: Option<RiderId>, trip: Trip) -> Self {
        let otp = trip.code.filter(|_| {
            let waits = matches!(trip.state, TripState::Assigned | TripState::Arrived);
            waits && rider == Some(trip.rider)
        });
        Self { otp: otp.map(|code| code.pin.to_string()), ..Self::from(trip) }
    }

    /// The same, with where its driver is and how long he takes.
    pub(in crate::http) fn at(self, at: Option<(Fix, u32)>) -> Self {
        let eta_sec = at.map(|(_, eta_s)| eta_s);
        Self { current_location: at.map(|(fix, _)| fix.into()), eta_sec, ..self }
    }
}

impl From<Trip> for TripView {
    fn from(trip: Trip) -> Self {
        let DriverCard { name, phone, vehicle } = trip.driver_card.clone();
        let summary = trip.bill.as_ref().and_then(summary);
        let fare = fare(&trip);
        let called_off = trip.state == TripState::Cancelled;
        Self {
            trip_id: trip.id.to_string(),
            booking_id: trip.booking.to_string(),
            rider_id: trip.rider.to_string(),
            driver_id: trip.driver.to_string(),
            status: trip_status(trip.state),
            rider: RiderCardView {
                rider_id: trip.rider.to_string(),
                name: trip.rider_card.name,
                phone: trip.rider_card.phone.map(|Phone(number)| number),
            },
            driver: DriverCardView {
                driver_id: trip.driver.to_string(),
                name,
                phone: phone.map(|Phone(number)| number),
                vehicle: vehicle.into(),
            },
            otp_required: trip.code.is_some(),
            otp: None,
            estimated_fare_minor: trip.quote.total_minor,
            estimated_distance_m: trip.quote.distance_m,
            estimated_duration_sec: trip.quote.duration_s,
            currency: trip.quote.tariff.currency.to_string(),
            current_location: None,
            eta_sec: None,
            distance_m: actors::fare::metres(actors::meter::so_far(&trip.meter)),
            odometer_km: trip.ending.and_then(|it| it.odometer_m).map(km),
            dropoff: trip.ending.and_then(|it| it.dropoff).map(Into::into),
            trip_summary: summary,
            fare,
            cancellation_fee_minor: called_off
                .then(|| trip.bill.map_or(0, |bill| bill.total_minor())),
            payment_status: trip.bill.map(|_| "PENDING"),
            replaced_by: trip.replaced_by.map(|booking| booking.to_string()),
            pickup: trip.pickup.into(),
            destination: trip.destination.into(),
            transitions: trip.transitions.into_iter().map(Into::into).collect(),
        }
    }
}

fn km(metres: u32) -> f64 {
    f64::from(metres) / 1_000.0
}

fn fare(trip: &Trip) -> Option<FareView> {
    let Some(Bill::Ride { fare, .. }) = trip.bill else { return None };
    Some(FareView {
        base_minor: fare.base_minor,
        distance_minor: fare.distance_minor,
        time_minor: fare.time_minor,
        paused_minor: fare.paused_minor,
        surge_minor: fare.surge_minor,
        minimum_minor: fare.minimum_minor,
        subtotal_minor: fare.subtotal_minor,
        tax_minor: fare.tax_minor,
        total_minor: fare.total_minor,
        surge_multiplier: f64::from(trip.quote.surge_bp) / f64::from(ONE_BP),
        currency: trip.quote.tariff.currency.to_string(),
    })
}

fn summary(bill: &Bill) -> Option<SummaryView> {
    let Bill::Ride { distance_m, measure, moving_ms, paused_ms, odometer_doubted, .. } = *bill
    else {
        return None;
    };
    let seconds = u32::try_from(moving_ms / 1_000).ok().filter(|seconds| *seconds > 0);
    Some(SummaryView {
        distance_km: km(distance_m),
        distance_by: match measure {
            Measure::Trail => "trail",
            Measure::Quote => "quote",
        },
        duration_sec: moving_ms / 1_000,
        paused_sec: paused_ms / 1_000,
        avg_speed_kmh: seconds.map(|seconds| f64::from(distance_m) * 3.6 / f64::from(seconds)),
        odometer_doubted,
    })
}

/// What a trip that is over costs its rider and brings its driver.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReceiptView {
    trip_id: String,
    booking_id: String,
    rider: String,
    driver: String,
    plate: String,
    status: &'static str,
    pickup: PlaceView,
    destination: PlaceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at_ms: Option<u64>,
    ended_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trip_summary: Option<SummaryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fare: Option<FareView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation_fee_minor: Option<u64>,
    /// What the rider pays.
    total_minor: u64,
    /// What the platform keeps; not told to riders.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform_fee_minor: Option<u64>,
    /// What the driver is left with; not told to riders.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_minor: Option<u64>,
    currency: String,
    payment_status: &'static str,
}

impl ReceiptView {
    /// The receipt; nothing while the trip is under way.
    pub(in crate::http) fn of(trip: Trip, for_rider: bool) -> Option<Self> {
        if !trip.state.is_over() {
            return None;
        }
        let ended_at_ms = trip.transitions.last()?.at.0;
        let platform = trip.bill.map(|bill| match bill {
            Bill::Ride { fare, .. } => fare.platform_minor,
            Bill::Cancellation { .. } => 0,
        });
        let total_minor = trip.bill.map_or(0, |bill| bill.total_minor());
        Some(Self {
            trip_id: trip.id.to_string(),
            booking_id: trip.booking.to_string(),
            status: trip_status(trip.state),
            started_at_ms: actors::fare::started_at(&trip).map(|at| at.0),
            ended_at_ms,
            trip_summary: trip.bill.as_ref().and_then(summary),
            fare: fare(&trip),
            cancellation_fee_minor: (trip.state == TripState::Cancelled).then_some(total_minor),
            total_minor,
            platform_fee_minor: platform.filter(|_| !for_rider),
            driver_minor: trip.bill.map(|bill| bill.driver_minor()).filter(|_| !for_rider),
            currency: trip.quote.tariff.currency.to_string(),
            payment_status: if total_minor == 0 { "NOTHING_TO_PAY" } else { "PENDING" },
            rider: trip.rider_card.name,
            driver: trip.driver_card.name,
            plate: trip.driver_card.vehicle.plate,
            pickup: trip.pickup.into(),
            destination: trip.destination.into(),
        })
    }
}

/// An ended trip as its driver's history has it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DrivenView {
    booking_id: String,
    trip_id: String,
    status: &'static str,
    pickup: PointView,
    destination: PointView,
    ended_at_ms: u64,
    /// What the rider pays, tax included, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_minor: Option<u64>,
    /// What the driver is left with.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_minor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

impl From<Driven> for DrivenView {
    fn from(driven: Driven) -> Self {
        let Driven { trip, booking, ended, pickup, destination, at, earned } = driven;
        Self {
            booking_id: booking.to_string(),
            trip_id: trip.to_string(),
            status: trip_status(ended),
            pickup: pickup.into(),
            destination: destination.into(),
            ended_at_ms: at.0,
            total_minor: earned.map(|earned| earned.total_minor),
            driver_minor: earned.map(|earned| earned.driver_minor),
            currency: earned.map(|earned| earned.currency.to_string()),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct TrailPointView {
    #[serde(flatten)]
    point: PointView,
    accuracy_m: u16,
    recorded_at_ms: u64,
}

/// Part of a trip's trail.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TrailView {
    /// In order of time. What a phone sent twice is here twice.
    points: Vec<TrailPointView>,
    next_cursor: Option<String>,
}

impl TrailView {
    /// A page of pieces, newest first, of which `max` were asked for.
    pub(in crate::http) fn of(pieces: &[(WallMs, TrailPiece)], max: u16) -> Self {
        let mut points: Vec<TrailPoint> =
            pieces.iter().flat_map(|(_, piece)| piece.points()).collect();
        points.sort_by_key(|point| point.recorded_at);
        let last = pieces.last().filter(|_| pieces.len() == usize::from(max));
        let view = |at: TrailPoint| TrailPointView {
            point: at.point.into(),
            accuracy_m: at.accuracy_m,
            recorded_at_ms: at.recorded_at.0,
        };
        Self {
            points: points.into_iter().map(view).collect(),
            next_cursor: last.map(|(at, _)| at.0.to_string()),
        }
    }
}
