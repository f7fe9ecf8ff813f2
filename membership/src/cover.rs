//! The r8 cells that cover a circle, and the ring keys that own them.

use h3o::{CellIndex, LatLng, Resolution};
use proto::Point;
use std::collections::BTreeSet;

/// The largest circle that is covered, in metres; a larger radius counts as this one. It bounds
/// the disk to 45 rings, 6,211 cells.
pub const RADIUS_MAX_M: u32 = 25_000;

/// The shortest r8 edge to reckon with, in metres. The mean is 531; of 60,000 cells over the
/// globe, a third of them around pentagons, the shortest was 395.6.
const EDGE_MIN_M: f64 = 380.0;
/// The farthest an r8 cell reaches from its centre, in metres. Of the same cells 585.2.
const REACH_MAX_M: f64 = 600.0;
/// Distances of different formulas for a circle's rim differ by less than one part in this many.
const RIM_SLACK: f64 = 100.0;

/// The ring keys of all r8 cells that may hold a point within `radius_m` of `center`.
pub(crate) fn keys(
    center: Point,
    radius_m: u32,
    ring_key: impl Fn(CellIndex) -> u64,
) -> BTreeSet<u64> {
    let mut keys = BTreeSet::new();
    let Ok(center) = LatLng::new(center.lat(), center.lng()) else {
        return keys; // cannot be: a Point is on the globe
    };
    let radius_m = radius_m.min(RADIUS_MAX_M);
    let touches_m = f64::from(radius_m) * (1.0 + 1.0 / RIM_SLACK) + REACH_MAX_M;
    let middle = center.to_cell(Resolution::Eight);
    for cell in middle.grid_disk::<Vec<_>>(rings(radius_m)) {
        // The distance costs 200 ns, and a key is near by its first near cell.
        let key = ring_key(cell);
        if !keys.contains(&key) && LatLng::from(cell).distance_m(center) <= touches_m {
            keys.insert(key);
        }
    }
    keys
}

/// How many rings around the centre's cell cover the circle.
///
/// In a grid of regular hexagons with edge `e`, `k` rings hold every point within
/// `(1.5 k + 0.5) e` of the middle cell's centre (the notch between two outer cells), and the
/// circle's centre is at most `e` off it: `radius <= (1.5 k - 0.5) e`.
fn rings(radius_m: u32) -> u32 {
    let edges = f64::from(radius_m) / EDGE_MIN_M;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 45, because the radius is at most RADIUS_MAX_M"
    )]
    let rings = ((edges + 0.5) / 1.5).ceil() as u32;
    rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::SplitTable;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const EARTH_M: f64 = 6_371_007.2;

    /// The point `distance_m` from `from` in direction `bearing`, on a sphere.
    fn travel(from: LatLng, distance_m: f64, bearing: f64) -> LatLng {
        let (lat, lng) = (from.lat_radians(), from.lng_radians());
        let angle = distance_m / EARTH_M;
        let to_lat = (lat.sin() * angle.cos() + lat.cos() * angle.sin() * bearing.cos()).asin();
        let east = bearing.sin() * angle.sin() * lat.cos();
        let to_lng = lng + east.atan2(angle.cos() - lat.sin() * to_lat.sin());
        let wrapped = (to_lng.to_degrees() + 540.0).rem_euclid(360.0) - 180.0;
        LatLng::new(to_lat.to_degrees(), wrapped).unwrap()
    }

    fn point(place: LatLng) -> Point {
        Point::from_degrees(place.lat(), place.lng()).unwrap()
    }

    /// Anywhere on the globe; one in three near a pentagon, where cells are small and skewed.
    fn anywhere() -> impl Strategy<Value = LatLng> {
        let pentagons: Vec<CellIndex> = Resolution::Eight.pentagons().collect();
        let near_pentagon = (proptest::sample::select(pentagons), 0.0..60_000.0, 0.0..TAU)
            .prop_map(|(cell, distance_m, bearing)| travel(cell.into(), distance_m, bearing));
        let on_globe = (-1.0..1.0f64, -180.0..180.0)
            .prop_map(|(z, lng)| LatLng::new(z.asin().to_degrees(), lng).unwrap());
        prop_oneof![2 => on_globe, 1 => near_pentagon]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_cells_cover_the_whole_circle(
            center in anywhere(),
            radius_m in prop_oneof![0u32..1_000, 1_000u32..6_000, Just(RADIUS_MAX_M)],
            places in proptest::collection::vec((0.0..=1.0f64, 0.0..TAU), 16),
            split: bool,
        ) {
            let radius = f64::from(radius_m);
            // Half of the runs own by r7, where a hole would be easier to fall into.
            let coarse = center.to_cell(Resolution::Six);
            let splits: Vec<CellIndex> = if split { coarse.grid_disk(8) } else { Vec::new() };
            let table = SplitTable::new(splits).unwrap();
            let found = keys(point(center), radius_m, |cell| table.ring_key(cell));
            for (part, bearing) in places {
                // The square root spreads evenly; the rim is tried every time.
                for within in [part.sqrt(), 1.0] {
                    let place = travel(center, radius * within, bearing);
                    let key = table.ring_key(place.to_cell(Resolution::Eight));
                    prop_assert!(found.contains(&key), "{within} of {radius_m} m at {bearing}");
                }
            }
        }

        #[test]
        fn no_owner_is_asked_whose_cells_are_all_out_of_reach(
            center in anywhere(),
            radius_m in 0u32..6_000,
        ) {
            // Keys are the r8 cells themselves: each must come within sight of the circle.
            for key in keys(point(center), radius_m, u64::from) {
                let cell = LatLng::from(CellIndex::try_from(key).unwrap());
                let allowed_m = f64::from(radius_m) * 1.01 + REACH_MAX_M + 1.0;
                prop_assert!(cell.distance_m(center) <= allowed_m);
            }
        }
    }

    #[test]
    fn the_disk_is_bounded() {
        assert_eq!(rings(RADIUS_MAX_M), 45);
        assert_eq!(rings(5_000), 10);
        assert_eq!(rings(0), 1);
        let point = Point::from_degrees(40.75, -73.98).unwrap();
        assert_eq!(
            keys(point, u32::MAX, u64::from).len(),
            keys(point, RADIUS_MAX_M, u64::from).len()
        );
    }
}
