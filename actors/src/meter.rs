//! How far a trip has come, from positions that a phone recorded and sent when it could: late, twice,
//! in disorder, some of them wrong. What counts is when a position was recorded, not when it came.
//!
//! The newest [`WAITING_MAX`] points wait, in order of time; the oldest of them is settled when
//! another comes. So the distance does not depend on the order of arrival, as long as no point comes
//! after so many newer ones.
//!
//! Distances are on a sphere, flat over the step between two points, in integers: replicas on
//! different processors agree to the millimetre. Against the great circle a step of a kilometre is
//! wrong by less than 0.01 % up to 70 degrees of latitude.

use proto::record::trail::{Meter, TrailPoint, WAITING_MAX};
use proto::{Point, WallMs};

/// A point that may be farther off than this is not used, in metres.
const ACCURACY_MAX_M: u16 = 100;
/// Nobody drives faster, in metres a second: 252 km/h. A point that says so is wrong.
const SPEED_MAX_MPS: u64 = 70;
/// So many points in a row that agree with each other, and not with the way so far, are the way.
const ASTRAY_MAX: usize = 3;
/// The most points of one trip: a day at one in two seconds. What comes then counts as late.
const TAKEN_MAX: u32 = 43_200;
/// A parked car seems to wander: steps shorter than this are none, in millimetres.
const STEP_MIN_MM: u64 = 10_000;
/// The length of 1e-7 degrees of latitude, in micrometres, on H3's sphere.
const E7_UM: i128 = 11_119;
/// The same, its fraction, in billionths of a micrometre.
const E7_UM_FRACTION: i128 = 505_197_523;
/// What cosines are multiplied by.
const COS_ONE: i128 = 1 << 30;

/// Takes a point that was recorded while the trip was on its way; says whether it is new and may be
/// true.
pub fn add(meter: &mut Meter, point: TrailPoint) -> bool {
    if point.accuracy_m > ACCURACY_MAX_M {
        meter.doubted = meter.doubted.saturating_add(1);
        return false;
    }
    if point.recorded_at <= meter.settled_at || meter.taken >= TAKEN_MAX {
        meter.late = meter.late.saturating_add(1);
        return false;
    }
    match meter.waiting.binary_search_by_key(&point.recorded_at, |known| known.recorded_at) {
        Ok(_) => {
            meter.repeated = meter.repeated.saturating_add(1);
            return false;
        }
        Err(place) => {
            meter.waiting.insert(place, point);
            meter.taken += 1;
        }
    }
    if meter.waiting.len() > WAITING_MAX {
        let oldest = meter.waiting.remove(0);
        settle(meter, oldest);
    }
    true
}

/// Settles what waits and gives the whole distance, in millimetres.
pub fn finish(meter: &mut Meter) -> u64 {
    for point in std::mem::take(&mut meter.waiting) {
        settle(meter, point);
    }
    meter.settled_mm
}

/// The distance so far, in millimetres.
pub fn so_far(meter: &Meter) -> u64 {
    finish(&mut meter.clone())
}

fn settle(meter: &mut Meter, point: TrailPoint) {
    meter.settled_at = point.recorded_at;
    let Some(anchor) = meter.anchor else {
        meter.anchor = Some(point);
        return;
    };
    let step_mm = distance_mm(anchor.point, point.point);
    let within_ms = point.recorded_at.since(anchor.recorded_at);
    // Metres a second are millimetres a millisecond.
    if step_mm > within_ms.saturating_mul(SPEED_MAX_MPS) {
        doubt(meter, point);
        return;
    }
    meter.astray.clear();
    if step_mm >= STEP_MIN_MM {
        meter.settled_mm = meter.settled_mm.saturating_add(step_mm);
        meter.anchor = Some(point);
    } else {
        // He is still there: how far he can be next counts from now.
        meter.anchor = Some(TrailPoint { recorded_at: point.recorded_at, ..anchor });
    }
}

/// Passes over a point that is too far away. If some of them in a row agree with each other, it was
/// the anchor that was wrong, and the way goes on from here.
fn doubt(meter: &mut Meter, point: TrailPoint) {
    meter.doubted = meter.doubted.saturating_add(1);
    if let Some(last) = meter.astray.last() {
        let (step_mm, within_ms) =
            (distance_mm(last.point, point.point), point.recorded_at.since(last.recorded_at));
        if step_mm > within_ms.saturating_mul(SPEED_MAX_MPS) {
            meter.astray.clear();
        }
    }
    meter.astray.push(point);
    if meter.astray.len() == ASTRAY_MAX {
        meter.anchor = Some(point);
        meter.astray.clear();
    }
}

/// The distance of two near points, in millimetres.
fn distance_mm(a: Point, b: Point) -> u64 {
    let ((lat_a, lng_a), (lat_b, lng_b)) = (a.to_e7(), b.to_e7());
    let north = i128::from(lat_b) - i128::from(lat_a);
    // The short way round, also over the antimeridian.
    let whole_turn = 3_600_000_000_i128;
    let east = (i128::from(lng_b) - i128::from(lng_a)).rem_euclid(whole_turn);
    let east = east.min(whole_turn - east);
    let middle = i128::midpoint(lat_a.into(), lat_b.into());
    let um = |e7: i128| e7 * E7_UM + e7 * E7_UM_FRACTION / 1_000_000_000;
    let (north_um, east_um) = (um(north), um(east) * cos(middle) / COS_ONE);
    let squared = north_um * north_um + east_um * east_um;
    u64::try_from(squared.unsigned_abs().isqrt() / 1_000).unwrap_or(u64::MAX)
}

/// The cosine of a latitude in 1e-7 degrees, times [`COS_ONE`]: Bhaskara's formula would be off by
/// 0.16 %, so the Taylor series, to its 12th power: off by less than 1e-8 at the poles.
fn cos(lat_e7: i128) -> i128 {
    // pi / 180 / 1e7 times the square of COS_ONE.
    const RADIANS_E7: i128 = 2_012_227_627;
    let angle = lat_e7 * RADIANS_E7 / COS_ONE;
    let square = angle * angle / COS_ONE;
    let (mut term, mut sum) = (COS_ONE, COS_ONE);
    for n in 1..=6 {
        term = -term * square / COS_ONE / ((2 * n - 1) * (2 * n));
        sum += term;
    }
    sum.max(0)
}

/// Whether a point belongs to a trip that was started then: not before, and not from a clock that is
/// far ahead of `now`.
pub fn belongs(point: &TrailPoint, started_at: WallMs, now: WallMs) -> bool {
    point.recorded_at >= started_at && point.recorded_at.since(now) <= AHEAD_MAX_MS
}

/// How far a phone's clock may be ahead of the cluster's, in milliseconds.
pub const AHEAD_MAX_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
