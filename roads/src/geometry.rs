//! Lengths and directions within one city, on a flat map. Floats live here and in the index; what
//! leaves the crate is whole milliseconds and metres.

use proto::Point;

/// The earth's mean radius in metres, as H3 has it.
const EARTH_RADIUS_M: f64 = 6_371_007.180_918_475;

/// Metres between two points in a straight line: equirectangular at their mean latitude, within
/// 0.1 % of the great circle over 100 km and below 70 degrees of latitude.
pub fn metres(a: Point, b: Point) -> f64 {
    let north = b.lat() - a.lat();
    let east = (b.lng() - a.lng()) * ((a.lat() + b.lat()) / 2.0).to_radians().cos();
    north.hypot(east).to_radians() * EARTH_RADIUS_M
}

/// Metres along a line of points.
pub(crate) fn length_m(line: &[Point]) -> f64 {
    line.windows(2).map(|pair| metres(pair[0], pair[1])).sum()
}

/// The direction from `a` to `b` in degrees, clockwise from north, within -180..=180.
pub(crate) fn bearing_deg(a: Point, b: Point) -> f64 {
    let north = b.lat() - a.lat();
    let east = (b.lng() - a.lng()) * ((a.lat() + b.lat()) / 2.0).to_radians().cos();
    east.atan2(north).to_degrees()
}

/// How far one turns from one direction to another: degrees within -180..180, right is above zero.
pub(crate) fn turn_deg(from_deg: f64, to_deg: f64) -> f64 {
    (to_deg - from_deg + 540.0).rem_euclid(360.0) - 180.0
}

/// A flat map of a city, in metres east and north of its middle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    origin: Point,
    lng_scale: f64,
}

impl Plane {
    /// The map around a point.
    pub(crate) fn around(origin: Point) -> Self {
        Self { origin, lng_scale: origin.lat().to_radians().cos() }
    }

    /// Where a point lies on it. A centimetre is lost 100 km away.
    pub(crate) fn place(&self, point: Point) -> [f32; 2] {
        let metres_per_degree = EARTH_RADIUS_M.to_radians();
        let east = (point.lng() - self.origin.lng()) * self.lng_scale * metres_per_degree;
        let north = (point.lat() - self.origin.lat()) * metres_per_degree;
        [narrow(east), narrow(north)]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "metres within a city need no f64")]
fn narrow(metres: f64) -> f32 {
    metres as f32
}

/// Where on the way from `a` to `b` one is nearest to `p`: from 0 at `a` to 1 at `b`.
pub(crate) fn share_along(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f64 {
    let [ax, ay] = a.map(f64::from);
    let (dx, dy) = (f64::from(b[0]) - ax, f64::from(b[1]) - ay);
    let square = dx * dx + dy * dy;
    if square == 0.0 {
        return 0.0;
    }
    (((f64::from(p[0]) - ax) * dx + (f64::from(p[1]) - ay) * dy) / square).clamp(0.0, 1.0)
}

/// The point at a share of the way from `a` to `b`.
pub(crate) fn between(a: Point, b: Point, share: f64) -> Point {
    let lat = a.lat() + (b.lat() - a.lat()) * share;
    let lng = a.lng() + (b.lng() - a.lng()) * share;
    Point::from_degrees(lat, lng).unwrap_or(a)
}

/// A quantity rounded to a whole number; below zero and not-a-number are 0, too much is the most.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and that is what the doc promises"
)]
pub(crate) fn whole(quantity: f64) -> u32 {
    quantity.round() as u32
}

/// An index or a count as the 32 bits it is stored in.
///
/// # Panics
/// If it does not fit. `build` refuses sources with more than 2^30 of anything, so it is a bug.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 of anything")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lng: f64) -> Point {
        Point::from_degrees(lat, lng).unwrap()
    }

    #[test]
    fn distances_and_directions_are_those_of_the_map() {
        let porto = at(41.15, -8.62);
        assert!((metres(porto, at(41.16, -8.62)) - 1_112.0).abs() < 0.5);
        assert!((metres(porto, at(41.15, -8.61)) - 837.3).abs() < 0.5);
        assert_eq!(whole(bearing_deg(porto, at(41.15, -8.61))), 90);
        assert_eq!(whole(bearing_deg(porto, at(41.16, -8.62))), 0);
        assert!((turn_deg(170.0, -170.0) - 20.0).abs() < 1e-9, "right over south");
        assert!((turn_deg(0.0, -90.0) + 90.0).abs() < 1e-9, "left");
    }

    #[test]
    fn a_place_on_the_flat_map_is_as_far_as_the_point() {
        let (origin, p) = (at(41.15, -8.62), at(41.19, -8.55));
        let [east, north] = Plane::around(origin).place(p);
        let flat_m = f64::from(east).hypot(f64::from(north));
        assert!((flat_m / metres(origin, p) - 1.0).abs() < 0.001, "{flat_m}");
    }

    #[test]
    fn the_nearest_share_stays_on_the_line() {
        let line = ([0.0, 0.0], [10.0, 0.0]);
        for (p, share) in [([5.0, 3.0], 0.5), ([-4.0, 1.0], 0.0), ([14.0, 1.0], 1.0)] {
            assert!((share_along(p, line.0, line.1) - share).abs() < 1e-9);
        }
        assert!(share_along([1.0, 1.0], line.0, line.0) == 0.0);
    }
}
