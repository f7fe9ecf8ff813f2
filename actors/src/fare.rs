//! What a ride costs. Integers only; every line is rounded half up, once, and the lines add up.
//!
//! ```text
//! base + distance + time + pauses   as the tariff has them
//!      + surge                      the same, times (surge - 1)
//!      + what is missing to the minimum
//!      = subtotal;  + tax on it = total
//! ```

use proto::WallMs;
use proto::record::fare::{Bill, Fare, Measure, ONE_BP, Quote, Tariff};
use proto::record::trip::{Ending, TRIES_MAX, Trip};
use proto::record::{Actor, TripState};

/// A kilometre in millimetres.
const KM_MM: u64 = 1_000_000;
/// A minute in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// An odometer may differ from the trail by a fifth of it and this, in metres.
const ODOMETER_SLACK_M: u64 = 500;
/// A trail of fewer points says nothing about the way.
const TRAIL_MIN: u32 = 2;
/// Nor does one that ends before so many percent of the trip's time.
const COVERED_PCT: u64 = 50;

/// The fare for a distance in millimetres and times in milliseconds.
pub fn fare(
    tariff: &Tariff,
    surge_bp: u32,
    distance_mm: u64,
    moving_ms: u64,
    paused_ms: u64,
) -> Fare {
    let base_minor = u64::from(tariff.base_minor);
    let distance_minor = share(distance_mm, tariff.per_km_minor, KM_MM);
    let time_minor = share(moving_ms, tariff.per_minute_minor, MINUTE_MS);
    let paused_minor = share(paused_ms, tariff.per_paused_minute_minor, MINUTE_MS);
    let plain = base_minor + distance_minor + time_minor + paused_minor;
    let surge_minor = share(plain, surge_bp.saturating_sub(ONE_BP), ONE_BP.into());
    let minimum_minor = u64::from(tariff.minimum_minor).saturating_sub(plain + surge_minor);
    let subtotal_minor = plain + surge_minor + minimum_minor;
    let tax_minor = share(subtotal_minor, tariff.tax_bp, ONE_BP.into());
    Fare {
        base_minor,
        distance_minor,
        time_minor,
        paused_minor,
        surge_minor,
        minimum_minor,
        subtotal_minor,
        tax_minor,
        total_minor: subtotal_minor + tax_minor,
        platform_minor: share(subtotal_minor, tariff.platform_bp.min(ONE_BP), ONE_BP.into()),
    }
}

/// What a ride of `distance_m` metres and `duration_s` seconds will cost.
pub fn quote(tariff: Tariff, surge_bp: u32, distance_m: u32, duration_s: u32) -> Quote {
    let (distance_mm, moving_ms) = (u64::from(distance_m) * 1_000, u64::from(duration_s) * 1_000);
    let total_minor = fare(&tariff, surge_bp, distance_mm, moving_ms, 0).total_minor;
    Quote { tariff, surge_bp, distance_m, duration_s, total_minor }
}

/// What is charged for a trip that has just ended; nothing where that is free. `trail_mm` is how far
/// it came by its trail.
pub fn bill(trip: &Trip, trail_mm: u64) -> Option<Bill> {
    let ended = trip.transitions.last()?;
    match trip.state {
        TripState::Completed => {
            let (moving_ms, paused_ms) = times(trip);
            let known = covers(trip, ended.at);
            let quoted_mm = u64::from(trip.quote.distance_m) * 1_000;
            let (distance_mm, measure) =
                if known { (trail_mm, Measure::Trail) } else { (quoted_mm, Measure::Quote) };
            let Quote { tariff, surge_bp, .. } = &trip.quote;
            let odometer_m = trip.ending.and_then(|Ending { odometer_m, .. }| odometer_m);
            Some(Bill::Ride {
                fare: fare(tariff, *surge_bp, distance_mm, moving_ms, paused_ms),
                distance_m: metres(distance_mm),
                measure,
                moving_ms,
                paused_ms,
                odometer_doubted: known
                    && odometer_m.is_some_and(|odometer_m| {
                        let trail_m = distance_mm / 1_000;
                        trail_m.abs_diff(odometer_m.into()) > trail_m / 5 + ODOMETER_SLACK_M
                    }),
            })
        }
        TripState::Cancelled => {
            let assigned_at = trip.transitions.first()?.at;
            let late = ended.at.since(assigned_at) > trip.quote.tariff.cancel_free_ms.into();
            let fee_minor = trip.quote.tariff.cancel_fee_minor.into();
            // Nobody is charged for a driver who did not know the code.
            let locked = trip.code.is_some_and(|code| code.wrong >= TRIES_MAX);
            (late && !locked && ended.by == Actor::Rider && fee_minor > 0)
                .then_some(Bill::Cancellation { fee_minor })
        }
        TripState::Assigned | TripState::Arrived | TripState::InProgress | TripState::Paused => {
            None
        }
    }
}

/// Whether a trip's trail says how far it was, and is no fragment.
fn covers(trip: &Trip, ended_at: WallMs) -> bool {
    let Some(started_at) = started_at(trip) else { return false };
    let (whole_ms, known_ms) =
        (ended_at.since(started_at), trip.meter.settled_at.since(started_at));
    trip.meter.taken >= TRAIL_MIN
        && u128::from(known_ms) * 100 >= u128::from(whole_ms) * u128::from(COVERED_PCT)
}

/// How long a trip was on its way and how long it paused, in milliseconds.
fn times(trip: &Trip) -> (u64, u64) {
    let (mut moving_ms, mut paused_ms) = (0, 0);
    for (from, to) in trip.transitions.iter().zip(trip.transitions.iter().skip(1)) {
        match from.to {
            TripState::InProgress => moving_ms += to.at.since(from.at),
            TripState::Paused => paused_ms += to.at.since(from.at),
            TripState::Assigned
            | TripState::Arrived
            | TripState::Completed
            | TripState::Cancelled => {}
        }
    }
    (moving_ms, paused_ms)
}

/// When a trip was started.
pub fn started_at(trip: &Trip) -> Option<WallMs> {
    trip.transitions.iter().find(|step| step.to == TripState::InProgress).map(|step| step.at)
}

/// Millimetres as whole metres, rounded.
pub fn metres(mm: u64) -> u32 {
    u32::try_from((mm + 500) / 1_000).unwrap_or(u32::MAX)
}

/// `amount` times `rate` over `whole`, rounded half up.
fn share(amount: u64, rate: u32, whole: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(rate);
    let rounded = (exact + u128::from(whole) / 2) / u128::from(whole);
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
