//! What the API says, as tables for people. Words are the API's.

use crate::tools::print::{list, record};
use proto::WallMs;
use proto::client::{
    Booking, Counts, Driven, Driver, Made, Nearby, Offer, Offers, Place, Rider, Trip, Vehicle,
};
use serde::Serialize;
use std::fmt::Display;

/// A status as the API writes it.
pub(super) fn word(status: &impl Serialize) -> String {
    let text = serde_json::to_value(status).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn at(place: &Place) -> String {
    let coordinates = format!("{:.5},{:.5}", place.lat, place.lng);
    match place.address.as_str() {
        "" => coordinates,
        address => format!("{coordinates} ({address})"),
    }
}

/// How long ago something was, as far as the cluster's clock and this one agree.
pub(super) fn ago(now: WallMs, then_ms: u64) -> String {
    let seconds = now.since(WallMs(then_ms)) / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3_600),
    }
}

fn maybe(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn yes_no(yes: bool) -> Option<String> {
    Some(if yes { "yes" } else { "no" }.to_owned())
}

fn vehicle(vehicle: &Vehicle) -> String {
    let mut text = format!("{}, {} seats", word(&vehicle.kind), vehicle.seats);
    for detail in vehicle.capabilities.iter().chain([&vehicle.plate]).filter(|d| !d.is_empty()) {
        text = format!("{text}, {detail}");
    }
    text
}

pub(super) fn rider(rider: &Rider, _: WallMs) -> String {
    record([
        ("rider", Some(rider.rider_id.to_string())),
        ("name", Some(rider.name.clone())),
        ("active booking", maybe(rider.active_booking_id)),
    ])
}

pub(super) fn driver(driver: &Driver, _: WallMs) -> String {
    record([
        ("driver", Some(driver.driver_id.to_string())),
        ("name", Some(driver.name.clone())),
        ("status", Some(word(&driver.status))),
        ("vehicle", Some(vehicle(&driver.vehicle))),
        ("identity verified", yes_no(driver.kyc_verified)),
        ("can be asked", yes_no(driver.can_accept_bookings)),
        ("offer", maybe(driver.current_offer_id)),
        ("booking", maybe(driver.current_booking_id)),
        ("trip", maybe(driver.current_trip_id)),
    ])
}

pub(super) fn counts(counts: &Counts, _: WallMs) -> String {
    record([
        ("applied", Some(counts.applied.to_string())),
        ("older than known", Some(counts.stale.to_string())),
        ("not taken", Some(counts.refused.to_string())),
    ])
}

pub(super) fn nearby(nearby: &Nearby, now: WallMs) -> String {
    let rows = nearby.drivers.iter().map(|seen| {
        let (id, away) = (seen.driver_id.to_string(), format!("{} m", seen.distance_m));
        [id, word(&seen.status), away, at(&seen.place), ago(now, seen.seen_at_ms)]
    });
    let expected = nearby.expected.iter().map(|soon| {
        let (id, away) = (soon.driver_id.to_string(), format!("{} m", soon.distance_m));
        [id, "on_trip".into(), away, at(&soon.place), format!("there in {} s", soon.free_in_s)]
    });
    let table = list(["driver", "status", "away", "at", "seen"], rows.chain(expected));
    let partial =
        if nearby.partial { "\nsomebody who should know did not answer in time" } else { "" };
    format!("{table}{partial}")
}

pub(super) fn booking(booking: &Booking, now: WallMs) -> String {
    let asked = |made: &Made| {
        let Made { offer_id, driver_id, attempt, distance_m, .. } = made;
        let status = word(&made.status);
        let driver = maybe(*driver_id).unwrap_or_else(|| "a driver".to_owned());
        format!("{status} {offer_id} to {driver}, {distance_m} m away, attempt {attempt}")
    };
    let offers: Vec<String> = booking.offers.iter().map(asked).collect();
    record([
        ("booking", Some(booking.booking_id.to_string())),
        ("rider", Some(booking.rider_id.to_string())),
        ("status", Some(word(&booking.status))),
        ("cancelled by", booking.cancelled_by.as_ref().map(word)),
        ("from", Some(at(&booking.pickup))),
        ("to", Some(at(&booking.destination))),
        ("wants", Some(format!("{}, {} seats", word(&booking.vehicle_type), booking.seats))),
        ("attempt", Some(booking.attempt.to_string())),
        ("offers", Some(offers.join("\n")).filter(|offers| !offers.is_empty())),
        ("driver", maybe(booking.driver_id)),
        ("trip", maybe(booking.trip_id)),
        ("made", Some(ago(now, booking.created_at_ms))),
    ])
}

pub(super) fn trip(trip: &Trip, now: WallMs) -> String {
    let steps: Vec<String> = trip
        .transitions
        .iter()
        .map(|step| format!("{} by {}, {}", word(&step.to), word(&step.by), ago(now, step.at_ms)))
        .collect();
    record([
        ("trip", Some(trip.trip_id.to_string())),
        ("booking", Some(trip.booking_id.to_string())),
        ("rider", Some(trip.rider_id.to_string())),
        ("driver", Some(trip.driver_id.to_string())),
        ("status", Some(word(&trip.status))),
        ("from", Some(at(&trip.pickup))),
        ("to", Some(at(&trip.destination))),
        ("odometer", trip.odometer_km.map(|km| format!("{km} km"))),
        ("steps", Some(steps.join("\n"))),
    ])
}

pub(super) fn offers(offers: &Offers, _: WallMs) -> String {
    let rows = offers.offers.iter().map(|offer: &Offer| {
        [
            offer.offer_id.to_string(),
            offer.booking_id.to_string(),
            at(&offer.pickup),
            at(&offer.destination),
            format!("{} m, {} s", offer.distance_m, offer.eta_sec),
            format!("{:.0} s", Milliseconds(offer.expires_in_ms).seconds()),
        ]
    });
    list(["offer", "booking", "from", "to", "to the pickup", "left"], rows)
}

pub(super) fn bookings(bookings: &[Booking], now: WallMs) -> String {
    let rows = bookings.iter().map(|booking| {
        let id = |id: Option<String>| id.unwrap_or_default();
        [
            booking.booking_id.to_string(),
            word(&booking.status),
            at(&booking.pickup),
            at(&booking.destination),
            id(maybe(booking.driver_id)),
            id(maybe(booking.trip_id)),
            ago(now, booking.created_at_ms),
        ]
    });
    let table = list(["booking", "status", "from", "to", "driver", "trip", "made"], rows);
    format!("{table}\n{} in all", bookings.len())
}

pub(super) fn driven(trips: &[Driven], now: WallMs) -> String {
    let rows = trips.iter().map(|trip| {
        [
            trip.trip_id.to_string(),
            trip.booking_id.to_string(),
            word(&trip.status),
            at(&trip.pickup),
            at(&trip.destination),
            ago(now, trip.ended_at_ms),
        ]
    });
    let table = list(["trip", "booking", "status", "from", "to", "ended"], rows);
    format!("{table}\n{} in all", trips.len())
}

/// A time to be shown in seconds.
pub(super) struct Milliseconds(pub(super) u64);

impl Milliseconds {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
    pub(super) fn seconds(&self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}
