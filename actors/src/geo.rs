//! Distances, travel times and H3 cells. Floats are used inside and never kept: what leaves is
//! whole metres, whole seconds or a cell.
//!
//! Finding the cell of a point costs some 400 ns, most of a ping. A car that pings every few
//! seconds is nearly always still in the cell it was in, so [`CellShape`] answers that question
//! first: inside 0.98 of the cell's outline the cell is certain, beyond it H3 is asked.

use h3o::{CellIndex, LatLng, Resolution};
use proto::Point;

/// The widest search that is answered, in metres: twice the last radius of the default policy. It
/// is 15 rings of r8 cells, 721 cells in some 25 ring keys, so one search stays a few messages.
pub const SEARCH_RADIUS_MAX_M: u32 = 10_000;

/// Cells have this resolution where drivers are matched: an r8 edge is about 460 m.
pub const MATCH_RESOLUTION: Resolution = Resolution::Eight;

/// The mean radius of the earth in metres, as H3 has it.
const EARTH_RADIUS_M: f64 = 6_371_007.180_918_475;

/// How much of a cell, around its centre, counts as certainly inside. The rest covers what the flat
/// map gets wrong over half a cell: 0.1 % at 85 degrees of latitude, less everywhere else.
const CERTAIN: f64 = 0.98;

/// Corners of a cell at most: a pentagon that straddles faces of H3's icosahedron.
const CORNERS_MAX: usize = 10;

/// Beyond this latitude meridians run together too fast for a flat distance; H3 is always asked.
const FLAT_LAT_MAX_DEG: f64 = 85.0;

/// The distance between two points in a straight line over the globe, in metres, rounded.
pub fn distance_m(a: Point, b: Point) -> u32 {
    let (lat_a, lat_b) = (a.lat().to_radians(), b.lat().to_radians());
    let half_lat = ((lat_b - lat_a) / 2.0).sin();
    let half_lng = ((b.lng() - a.lng()).to_radians() / 2.0).sin();
    let chord_sq = half_lat * half_lat + lat_a.cos() * lat_b.cos() * half_lng * half_lng;
    whole_m(2.0 * EARTH_RADIUS_M * chord_sq.sqrt().min(1.0).asin())
}

/// The distance if it is at most `radius_m`. Latitudes alone rule most far points out, without
/// trigonometry.
pub fn distance_within(a: Point, b: Point, radius_m: u32) -> Option<u32> {
    let north_south_m = (a.lat() - b.lat()).abs().to_radians() * EARTH_RADIUS_M;
    if north_south_m > f64::from(radius_m) + 1.0 {
        return None; // the metre covers rounding
    }
    Some(distance_m(a, b)).filter(|distance_m| *distance_m <= radius_m)
}

/// The surroundings of a point as a flat map, good for saying quickly that something is too far.
/// Longitudes are scaled by the cosine of the point's own latitude.
#[derive(Debug, Clone, Copy)]
pub struct Flat {
    center: Point,
    lng_scale: f64,
    /// Whether the map can be trusted here.
    flat: bool,
}

/// How much nearer than on the flat map something may be, in parts of a hundred. At 70 degrees and
/// 25 km off, the map is wrong by 0.6 %.
const FLAT_WRONG_PCT: f64 = 1.0;
/// Beyond this latitude [`Flat`] says nothing.
const MAP_LAT_MAX_DEG: f64 = 70.0;

impl Flat {
    /// The map around a point.
    pub fn around(center: Point) -> Self {
        let flat = center.lat().abs() <= MAP_LAT_MAX_DEG;
        Self { center, lng_scale: center.lat().to_radians().cos(), flat }
    }

    /// A distance that the true one is not below, in metres, while `to` is within 25 km; 0 where
    /// the map says nothing.
    fn at_least_m(&self, to: Point) -> f64 {
        let (north, east) = (to.lat() - self.center.lat(), to.lng() - self.center.lng());
        let east = if east.abs() > 180.0 { 360.0 - east.abs() } else { east } * self.lng_scale;
        if !self.flat {
            return 0.0;
        }
        let degrees = (north * north + east * east).sqrt();
        degrees.to_radians() * EARTH_RADIUS_M * (1.0 - FLAT_WRONG_PCT / 100.0)
    }

    /// Whether `to` is certainly farther than `radius_m`, which is 25,000 at most. No means only
    /// that the distance must be worked out.
    pub fn surely_beyond(&self, to: Point, radius_m: u32) -> bool {
        self.at_least_m(to) > f64::from(radius_m) + 1.0 // the metre covers rounding
    }
}

/// How long a drive of `distance_m` in a straight line takes, in milliseconds, rounded up.
/// `detour_pct` is the road's length over the straight line's, in percent: 100 is straight. At
/// speed 0 one never arrives.
pub fn eta_ms(distance_m: u32, speed_cms: u32, detour_pct: u32) -> u64 {
    // Metres times percent are centimetres of road.
    let road_cm = u64::from(distance_m) * u64::from(detour_pct);
    match speed_cms {
        0 => u64::MAX,
        _ => road_cm.saturating_mul(1_000).div_ceil(u64::from(speed_cms)),
    }
}

/// A drive, as an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drive {
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// How long the road is, in metres.
    pub road_m: u32,
}

impl Drive {
    /// How long it takes, in seconds, rounded up.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// The drive in a straight line, with the road's detour in percent of it, at one speed.
pub fn straight_drive(from: Point, to: Point, speed_cms: u32, detour_pct: u32) -> Drive {
    let straight_m = distance_m(from, to);
    let road_m = u64::from(straight_m) * u64::from(detour_pct) / 100;
    let ms = eta_ms(straight_m, speed_cms, detour_pct);
    Drive { ms, road_m: u32::try_from(road_m).unwrap_or(u32::MAX) }
}

/// The cell that `point` lies in, at [`MATCH_RESOLUTION`].
pub fn cell_of(point: Point) -> CellIndex {
    LatLng::new(point.lat(), point.lng())
        .expect("the coordinates of a point are finite")
        .to_cell(MATCH_RESOLUTION)
}

/// What a cell looks like, kept so that most questions about it need no H3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellShape {
    center: Point,
    /// Metres east per metre-equivalent of longitude: the cosine of the centre's latitude.
    lng_scale: f64,
    /// Square of the certain circle's radius, in degrees of latitude.
    certain_deg_sq: f64,
    /// The lines that the edges lie on: those (north, east) from the centre, in degrees of
    /// latitude, whose product with one of these is 1. Those of missing edges are nought.
    edges: [(f64, f64); CORNERS_MAX],
    /// No point of the cell is farther than this from its centre, in degrees of latitude, squared.
    reach_deg_sq: f64,
    /// No point of the cell is farther than this from its centre, in metres.
    reach_m: u32,
}

impl CellShape {
    /// The shape of `cell`, from H3's own boundary.
    pub fn of(cell: CellIndex) -> Self {
        let center = LatLng::from(cell);
        let boundary = cell.boundary();
        let (mut inner_rad, mut outer_rad) = (f64::INFINITY, 0.0_f64);
        for (corner, next) in boundary.iter().zip(boundary.iter().cycle().skip(1)) {
            inner_rad = inner_rad.min(angle_to_arc(center, *corner, *next));
            outer_rad = outer_rad.max(center.distance_rads(*corner));
        }
        let flat = center.lat().abs() <= FLAT_LAT_MAX_DEG;
        let certain_deg = if flat { inner_rad.to_degrees() * CERTAIN } else { 0.0 };
        let reach_deg = if flat { outer_rad.to_degrees() * 1.01 } else { 0.0 };
        let lng_scale = center.lat_radians().cos();
        let mut edges = [(0.0, 0.0); CORNERS_MAX];
        let corner = |at: &LatLng| {
            let east = (at.lng() - center.lng() + 540.0).rem_euclid(360.0) - 180.0;
            (at.lat() - center.lat(), east * lng_scale)
        };
        let corners = boundary.iter().zip(boundary.iter().cycle().skip(1));
        for (edge, (from, to)) in edges.iter_mut().zip(corners) {
            *edge = line_through(corner(from), corner(to));
        }
        Self {
            center: Point::from_degrees(center.lat(), center.lng())
                .expect("the centre of a cell is on the globe"),
            lng_scale,
            certain_deg_sq: certain_deg * certain_deg,
            edges,
            reach_deg_sq: reach_deg * reach_deg,
            // A hundredth and a metre more, for rounding and for edges that H3 bends.
            reach_m: whole_m(outer_rad * EARTH_RADIUS_M * 1.01) + 1,
        }
    }

    /// Whether `point` is certainly in the cell. No means only that H3 must be asked; beside the
    /// antimeridian it is always no from the other side.
    pub fn certainly_holds(&self, point: Point) -> bool {
        let north = point.lat() - self.center.lat();
        let east = (point.lng() - self.center.lng()) * self.lng_scale;
        let off_deg_sq = north * north + east * east;
        if off_deg_sq < self.certain_deg_sq {
            return true;
        }
        // Where the outline is dented, edge lines cut off more than they must.
        off_deg_sq < self.reach_deg_sq
            && self
                .edges
                .iter()
                .all(|(to_north, to_east)| north * to_north + east * to_east < CERTAIN)
    }

    /// No point of the cell is nearer to the map's centre than this, in metres. Zero inside.
    pub fn nearest_on(&self, flat: &Flat) -> u32 {
        if !flat.flat {
            // One more, since both this distance and the point's are rounded.
            return distance_m(flat.center, self.center).saturating_sub(self.reach_m + 1);
        }
        whole_m(flat.at_least_m(self.center)).saturating_sub(self.reach_m + 1)
    }
}

/// The line through two points, as that by which points on it are multiplied to give 1.
fn line_through((a_north, a_east): (f64, f64), (b_north, b_east): (f64, f64)) -> (f64, f64) {
    let area = a_north * b_east - a_east * b_north;
    ((b_east - a_east) / area, (a_north - b_north) / area)
}

/// The angle between `from` and the great circle through `a` and `b`, in radians.
fn angle_to_arc(from: LatLng, a: LatLng, b: LatLng) -> f64 {
    let ([fx, fy, fz], [ax, ay, az], [bx, by, bz]) = (unit(from), unit(a), unit(b));
    let normal = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
    let [nx, ny, nz] = normal;
    let length = (nx * nx + ny * ny + nz * nz).sqrt();
    ((fx * nx + fy * ny + fz * nz) / length).abs().min(1.0).asin()
}

fn unit(at: LatLng) -> [f64; 3] {
    let (lat, lng) = (at.lat_radians(), at.lng_radians());
    [lat.cos() * lng.cos(), lat.cos() * lng.sin(), lat.sin()]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no distance is below zero or above half the earth's girth, 20,015,109 m"
)]
fn whole_m(metres: f64) -> u32 {
    metres.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
    use std::collections::BTreeSet;

    fn at(lat: f64, lng: f64) -> Point {
        Point::from_degrees(lat, lng).unwrap()
    }

    /// Both hemispheres, the equator, the antimeridian, the far north, a pole, a pentagon (in the
    /// Atlantic) and cells that straddle two faces of H3's icosahedron.
    const PLACES: &[(&str, f64, f64)] = &[
        ("manhattan", 40.7580, -73.9855),
        ("bengaluru", 12.9716, 77.5946),
        ("quito", -0.1807, -78.4678),
        ("sydney", -33.8688, 151.2093),
        ("ushuaia", -54.8019, -68.3030),
        ("tromso", 69.6492, 18.9553),
        ("longyearbyen", 78.2232, 15.6267),
        ("taveuni", -16.8000, 179.9999),
        ("north pole", 89.9990, 10.0),
        ("flat limit", 84.9990, 40.0),
    ];

    fn places() -> Vec<(String, f64, f64)> {
        let mut places: Vec<_> =
            PLACES.iter().map(|(name, lat, lng)| ((*name).to_owned(), *lat, *lng)).collect();
        let pentagon = CellIndex::base_cells().find(|cell| cell.is_pentagon()).unwrap();
        let pentagon = LatLng::from(pentagon.center_child(MATCH_RESOLUTION).unwrap());
        places.push(("pentagon".to_owned(), pentagon.lat(), pentagon.lng()));
        // Walk the meridian of London from the equator: it crosses from face to face.
        let straddling = (0..90_000).find_map(|step| {
            let ll = LatLng::new(f64::from(step) * 0.001, -0.1276).unwrap();
            let cell = ll.to_cell(MATCH_RESOLUTION);
            (cell.icosahedron_faces().len() > 1).then(|| LatLng::from(cell))
        });
        let face_edge = straddling.expect("a cell on the edge of a face");
        places.push(("face edge".to_owned(), face_edge.lat(), face_edge.lng()));
        places
    }

    /// A point within `spread_m` of a place, both ways. Wraps at the antimeridian.
    fn near(rng: &mut ChaCha8Rng, lat: f64, lng: f64, spread_m: f64) -> Point {
        let degrees = spread_m / 111_195.0;
        let lat_near = (lat + rng.random_range(-degrees..degrees)).clamp(-90.0, 90.0);
        let lng_near = lng + rng.random_range(-degrees..degrees) / lat.to_radians().cos();
        at(lat_near, (lng_near + 540.0).rem_euclid(360.0) - 180.0)
    }

    #[test]
    fn known_distances_are_met() {
        let (times_square, jfk) = (at(40.7580, -73.9855), at(40.6413, -73.7781));
        assert_eq!(distance_m(times_square, jfk), 21_773);
        assert_eq!(distance_m(at(0.0, 0.0), at(0.0, 1.0)), 111_195);
        assert_eq!(distance_m(at(0.0, 179.9999), at(0.0, -179.9999)), 22);
        assert_eq!(distance_m(at(90.0, 0.0), at(-90.0, 0.0)), 20_015_109);
        assert_eq!(distance_m(jfk, jfk), 0);
    }

    #[test]
    fn an_eta_rounds_up_and_never_overflows() {
        let seconds = |ms| Drive { ms, road_m: 0 }.seconds();
        assert_eq!([0, 1, 1_000, 1_001, u64::MAX].map(seconds), [0, 1, 1, 2, u32::MAX]);
        assert_eq!(eta_ms(0, 600, 130), 0);
        assert_eq!(eta_ms(6, 600, 100), 1_000);
        assert_eq!(eta_ms(1_000, 600, 130), 216_667);
        assert_eq!(eta_ms(1, 0, 100), u64::MAX);
    }

    #[test]
    fn the_certain_outline_never_names_the_wrong_cell() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let (mut asked, mut certain, mut faces) = (0_u32, 0_u32, BTreeSet::new());
        for (name, lat, lng) in places() {
            for _ in 0..2_500 {
                let home = near(&mut rng, lat, lng, 1_500.0);
                let cell = cell_of(home);
                let shape = CellShape::of(cell);
                faces.insert(cell.icosahedron_faces().len());
                // Anywhere about, and close to a corner or an edge of the cell.
                let boundary = cell.boundary();
                let corner = boundary[rng.random_range(0..boundary.len())];
                let other = boundary[rng.random_range(0..boundary.len())];
                let middle =
                    ((corner.lat() + other.lat()) / 2.0, (corner.lng() + other.lng()) / 2.0);
                let points = [
                    near(&mut rng, lat, lng, 1_500.0),
                    near(&mut rng, home.lat(), home.lng(), 60.0),
                    near(&mut rng, corner.lat(), corner.lng(), 25.0),
                    near(&mut rng, middle.0, middle.1, 25.0),
                ];
                for point in points {
                    asked += 1;
                    if shape.certainly_holds(point) {
                        certain += 1;
                        assert_eq!(cell_of(point), cell, "{name}: {point:?}");
                    }
                }
            }
        }
        assert!(asked >= 100_000 && certain > asked / 8, "{certain} of {asked} were certain");
        assert!(faces.len() > 1, "no cell straddled two faces");
    }

    #[test]
    fn the_certain_outline_spares_most_of_the_work() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for (name, lat, lng) in &PLACES[..8] {
            let inside = (0..1_000)
                .map(|_| near(&mut rng, *lat, *lng, 1_500.0))
                .filter(|point| CellShape::of(cell_of(*point)).certainly_holds(*point))
                .count();
            assert!(inside > 850, "{name}: {inside} of 1000");
        }
    }

    #[test]
    fn no_point_of_a_cell_is_nearer_than_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(10);
        for (name, lat, lng) in places() {
            for _ in 0..500 {
                let point = near(&mut rng, lat, lng, 3_000.0);
                let from = near(&mut rng, lat, lng, 3_000.0);
                let flat = Flat::around(from);
                let nearest_m = CellShape::of(cell_of(point)).nearest_on(&flat);
                let true_m = distance_m(from, point);
                assert!(nearest_m <= true_m, "{name}: {from:?} to {point:?}");
                assert!(!flat.surely_beyond(point, true_m), "{name}: {from:?} to {point:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn distances_are_those_of_h3_and_symmetric(
            a in (-90.0..90.0, -180.0..180.0), b in (-90.0..90.0, -180.0..180.0)
        ) {
            let theirs = LatLng::new(a.0, a.1).unwrap().distance_m(LatLng::new(b.0, b.1).unwrap());
            let (a, b) = (at(a.0, a.1), at(b.0, b.1));
            prop_assert!((f64::from(distance_m(a, b)) - theirs).abs() <= 2.0);
            prop_assert_eq!(distance_m(a, b), distance_m(b, a));
        }

        #[test]
        fn what_is_surely_beyond_is_beyond(
            lat in -89.9..89.9, lng in -180.0..180.0, north in -0.22..0.22, east in -0.22..0.22,
        ) {
            let lng_to: f64 = lng + east / f64::to_radians(lat).cos().max(0.01);
            let lng_to = (lng_to + 540.0).rem_euclid(360.0) - 180.0;
            let lat_to: f64 = lat + north;
            let (a, b) = (at(lat, lng), at(lat_to.clamp(-90.0, 90.0), lng_to));
            let true_m = distance_m(a, b);
            prop_assume!(true_m <= 25_000);
            prop_assert!(!Flat::around(a).surely_beyond(b, true_m));
            if lat.abs() < 60.0 {
                prop_assert!(Flat::around(a).surely_beyond(b, true_m * 97 / 100 - true_m.min(2)) || true_m < 200);
            }
        }

        #[test]
        fn a_bounded_distance_is_the_distance_or_nothing(
            lat in -89.0..89.0, lng in -180.0..179.9, north in -0.1..0.1, east in 0.0..0.1,
            radius_m in 0..20_000_u32
        ) {
            let (a, b) = (at(lat, lng), at(lat + north, lng + east));
            let expected = Some(distance_m(a, b)).filter(|distance_m| *distance_m <= radius_m);
            prop_assert_eq!(distance_within(a, b, radius_m), expected);
        }
    }
}
