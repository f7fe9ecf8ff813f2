//! Where queue zones are. Whole numbers throughout: a point is in or out alike on every node.

use crate::geo::distance_m;
use proto::{Point, ZoneId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Zones of a cluster at most, and corners of one: all of them as JSON are some 45 KB, and a policy
/// may take 64.
pub const ZONES_MAX: usize = 32;
/// See [`ZONES_MAX`].
pub const CORNERS_MAX: usize = 32;
/// The longest name, in bytes.
pub const NAME_MAX: usize = 64;
/// No corner is farther from the zone's middle than this, in metres: the widest airports have 5 km.
pub const RADIUS_MAX_M: u32 = 6_000;
/// The longest grace, in milliseconds: an hour.
pub const GRACE_MAX_MS: u32 = 3_600_000;

/// A zone, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueZone {
    /// What it is called; its queue goes by it.
    pub name: String,
    /// Its corners, 3 to [`CORNERS_MAX`], one after the other; the last is joined to the first. Where
    /// the ring crosses itself, what it goes around twice is outside.
    pub ring: Vec<Point>,
    /// For how long a driver who has left, or of whom nothing is heard, keeps his place, in
    /// milliseconds.
    #[serde(default = "grace_ms")]
    pub grace_ms: u32,
    /// How many offers he may refuse, or let pass, before he is sent to the tail: with 1 the first
    /// sends him there.
    #[serde(default = "refusals")]
    pub refusals: u16,
}

/// The usual grace, in milliseconds: enough for a round around the block and a phone that lost its
/// way, less than a trip takes.
pub const fn grace_ms() -> u32 {
    180_000
}

/// The usual number of refusals.
pub const fn refusals() -> u16 {
    1
}

impl QueueZone {
    /// Under which its queue is kept.
    pub fn id(&self) -> ZoneId {
        ZoneId::of_name(&self.name)
    }

    /// What is wrong with it, if anything.
    fn problem(&self) -> Option<String> {
        let Self { name, ring, grace_ms, refusals } = self;
        let wrong = |what: &str| Some(format!("`{name}` {what}"));
        if !(1..=NAME_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return Some(format!(
                "a zone needs a name of 1 to {NAME_MAX} bytes without control characters"
            ));
        }
        if !(3..=CORNERS_MAX).contains(&ring.len()) {
            return wrong(&format!("must have 3 to {CORNERS_MAX} corners"));
        }
        let on_globe = |point: &Point| {
            let (lat_e7, lng_e7) = point.to_e7();
            Point::from_e7(lat_e7, lng_e7).is_ok()
        };
        if !ring.iter().all(on_globe) {
            return wrong("has a corner that is not on the globe");
        }
        let Frame { middle, radius_m, .. } = Frame::of(ring);
        if radius_m > RADIUS_MAX_M {
            return wrong(&format!(
                "reaches {radius_m} m from its middle {middle:?}; {RADIUS_MAX_M} m are allowed, \
                 and the 180th meridian may not run through it"
            ));
        }
        if *grace_ms > GRACE_MAX_MS || *refusals == 0 {
            return wrong(&format!(
                "must have a grace of at most {GRACE_MAX_MS} ms, and refusals of at least 1"
            ));
        }
        None
    }

    /// Whether a point lies in it; of two zones with a common side, a point on it lies in one. A ray
    /// from the point to the east crosses the outline an odd number of times.
    fn surrounds(&self, point: Point) -> bool {
        let (lat, lng) = wide(point);
        let corners = self.ring.iter().map(|corner| wide(*corner));
        let nexts = self.ring.iter().cycle().skip(1).map(|corner| wide(*corner));
        let crossed = corners.zip(nexts).filter(|&((lat_a, lng_a), (lat_b, lng_b))| {
            if (lat_a > lat) == (lat_b > lat) {
                return false;
            }
            // Where the side is at this latitude, compared without a division.
            let side = (lng_b - lng_a) * (lat - lat_a);
            let here = (lng - lng_a) * (lat_b - lat_a);
            if lat_b > lat_a { here < side } else { here > side }
        });
        crossed.count() % 2 == 1
    }
}

fn wide(point: Point) -> (i128, i128) {
    let (lat_e7, lng_e7) = point.to_e7();
    (lat_e7.into(), lng_e7.into())
}

/// The smallest rectangle around a ring, and a circle around both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    south_west: (i32, i32),
    north_east: (i32, i32),
    middle: Point,
    radius_m: u32,
}

impl Frame {
    fn of(ring: &[Point]) -> Self {
        let (mut low, mut high) = ((i32::MAX, i32::MAX), (i32::MIN, i32::MIN));
        for (lat, lng) in ring.iter().map(|corner| corner.to_e7()) {
            low = (low.0.min(lat), low.1.min(lng));
            high = (high.0.max(lat), high.1.max(lng));
        }
        // Between two numbers of 32 bits lies one of 32 bits.
        let between = |a: i32, b: i32| i32::midpoint(a, b);
        let middle = Point::from_e7(between(low.0, high.0), between(low.1, high.1));
        let middle = middle.unwrap_or_else(|_| nowhere());
        let radius_m = ring.iter().map(|corner| distance_m(middle, *corner)).max();
        Self { south_west: low, north_east: high, middle, radius_m: radius_m.unwrap_or(0) }
    }

    fn holds(&self, point: Point) -> bool {
        let (lat, lng) = point.to_e7();
        let Self { south_west: (south, west), north_east: (north, east), .. } = *self;
        (south..=north).contains(&lat) && (west..=east).contains(&lng)
    }
}

/// The middle of a ring without corners, which no checked policy has.
fn nowhere() -> Point {
    Point::from_e7(0, 0).expect("on the globe")
}

/// The zones in force. Cheap to clone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<QueueZone>", into = "Vec<QueueZone>")]
pub struct QueueZones {
    zones: Arc<Vec<(QueueZone, Frame)>>,
    /// Whether somebody has said them. A node that has just started knows of none until it hears of
    /// the policy; that nobody has said any is no reason to send those away who wait.
    said: bool,
}

/// The same zones are the same, whoever said them.
impl PartialEq for QueueZones {
    fn eq(&self, other: &Self) -> bool {
        self.zones == other.zones
    }
}

impl Eq for QueueZones {}

impl From<Vec<QueueZone>> for QueueZones {
    fn from(zones: Vec<QueueZone>) -> Self {
        let framed = zones.into_iter().map(|zone| {
            let frame = Frame::of(&zone.ring);
            (zone, frame)
        });
        Self { zones: Arc::new(framed.collect()), said: true }
    }
}

impl From<QueueZones> for Vec<QueueZone> {
    fn from(zones: QueueZones) -> Self {
        zones.iter().cloned().collect()
    }
}

impl QueueZones {
    /// Whether a zone is certainly none, or none any more.
    pub fn is_none(&self, id: ZoneId) -> bool {
        self.said && self.get(id).is_none()
    }

    /// All of them, as they were listed.
    pub fn iter(&self) -> impl Iterator<Item = &QueueZone> {
        self.zones.iter().map(|(zone, _)| zone)
    }

    /// The one of this id.
    pub fn get(&self, id: ZoneId) -> Option<&QueueZone> {
        self.iter().find(|zone| zone.id() == id)
    }

    /// The zone that a point lies in; where several lie over each other, the first that is listed.
    pub fn at(&self, point: Point) -> Option<&QueueZone> {
        let around = self.zones.iter().filter(|(_, frame)| frame.holds(point));
        around.map(|(zone, _)| zone).find(|zone| zone.surrounds(point))
    }

    /// The middle of a zone, and the distance of its farthest corner, in metres.
    pub fn circle(&self, id: ZoneId) -> Option<(Point, u32)> {
        let (_, frame) = self.zones.iter().find(|(zone, _)| zone.id() == id)?;
        Some((frame.middle, frame.radius_m))
    }

    /// The zones that a circle may touch, nearest middle first.
    pub fn near(&self, center: Point, radius_m: u32) -> Vec<&QueueZone> {
        let mut near: Vec<(u32, &QueueZone)> = Vec::new();
        for (zone, frame) in self.zones.iter() {
            let away_m = distance_m(center, frame.middle);
            if away_m <= radius_m.saturating_add(frame.radius_m) {
                near.push((away_m, zone));
            }
        }
        near.sort_by_key(|(away_m, _)| *away_m);
        near.into_iter().map(|(_, zone)| zone).collect()
    }

    /// What is wrong with them, if anything.
    pub fn problem(&self) -> Option<String> {
        if self.zones.len() > ZONES_MAX {
            return Some(format!("must be at most {ZONES_MAX} zones"));
        }
        let twice = |zone: &QueueZone| self.iter().filter(|it| it.id() == zone.id()).count() > 1;
        if let Some(zone) = self.iter().find(|zone| twice(zone)) {
            return Some(format!("name `{}` twice", zone.name));
        }
        self.iter().find_map(QueueZone::problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(lat_e7: i32, lng_e7: i32) -> Point {
        Point::from_e7(lat_e7, lng_e7).unwrap()
    }

    fn zone(name: &str, ring: &[(i32, i32)]) -> QueueZone {
        let ring = ring.iter().map(|(lat, lng)| at(*lat, *lng)).collect();
        QueueZone { name: name.into(), ring, grace_ms: grace_ms(), refusals: refusals() }
    }

    /// An L, some 110 m wide: the upper right quarter is outside.
    const ELL: [(i32, i32); 6] =
        [(0, 0), (0, 10_000), (5_000, 10_000), (5_000, 5_000), (10_000, 5_000), (10_000, 0)];

    #[test]
    fn a_point_is_in_one_of_two_zones_with_a_common_side_and_in_none_of_a_dent() {
        let (west, east) = (
            zone("west", &ELL),
            zone("east", &[(0, 10_000), (0, 20_000), (5_000, 20_000), (5_000, 10_000)]),
        );
        let zones = QueueZones::from(vec![west, east]);
        let name = |lat, lng| zones.at(at(lat, lng)).map(|zone| zone.name.as_str());
        assert_eq!(name(2_500, 2_500), Some("west"));
        assert_eq!(name(7_500, 2_500), Some("west"));
        assert_eq!(name(7_500, 7_500), None, "the dent");
        assert_eq!(name(2_500, 15_000), Some("east"));
        let side: Vec<_> = (1..5_000).map(|lat| name(lat, 10_000)).collect();
        assert!(side.iter().all(Option::is_some), "nobody stands between them");
        assert_eq!(name(-1, 2_500), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let ell = || zone("lot", &ELL);
        let wrong = |zones: Vec<QueueZone>| QueueZones::from(zones).problem().unwrap_or_default();
        assert_eq!(wrong(vec![ell()]), "");
        for (zones, says) in [
            (vec![ell(), ell()], "name `lot` twice"),
            (vec![zone("", &ELL)], "needs a name"),
            (vec![zone("lot", &ELL[..2])], "3 to 32 corners"),
            (vec![zone("lot", &[(0, 0), (0, 9_000_000), (9_000, 0)])], "reaches"),
            (vec![zone("lot", &[(0, 1_799_999_999), (0, -1_799_999_999), (9, 0)])], "180th"),
            (vec![QueueZone { refusals: 0, ..ell() }], "refusals"),
            (vec![QueueZone { grace_ms: GRACE_MAX_MS + 1, ..ell() }], "grace"),
        ] {
            assert!(wrong(zones).contains(says), "{says}");
        }
        let many = (0..33).map(|n| zone(&n.to_string(), &ELL)).collect();
        assert!(wrong(many).contains("at most 32"));
    }

    #[test]
    fn a_zone_is_gone_only_if_somebody_said_so() {
        let lot = zone("lot", &ELL);
        let unheard = QueueZones::default();
        assert!(unheard.get(lot.id()).is_none() && !unheard.is_none(lot.id()));
        let none = QueueZones::from(Vec::new());
        assert!(none.is_none(lot.id()) && none == unheard);
        assert!(!QueueZones::from(vec![lot.clone()]).is_none(lot.id()));
    }

    #[test]
    fn a_policy_is_read_whatever_its_zones_are_and_checked_afterwards() {
        let point = Point::from_e7(0, 0).unwrap();
        assert_eq!(QueueZones::from(vec![zone("none", &[])]).at(point), None);
    }

    proptest! {
        /// The rays of the code go east; these go north. Off the outline both say the same.
        #[test]
        fn inside_does_not_depend_on_where_one_looks(
            ring in prop::collection::vec((-50i32..50, -50i32..50), 3..8),
            lat in -100i32..100,
            lng in -100i32..100,
        ) {
            // Corners have even coordinates, the point odd ones.
            let even = ring.iter().map(|(a, b)| (a * 4, b * 4)).collect::<Vec<_>>();
            let point = (lat * 4 + 1, lng * 4 + 2);
            let zone = zone("any", &even);
            let on_outline = (0..even.len()).any(|n| {
                let ((a, b), (c, d)) = (even[n], even[(n + 1) % even.len()]);
                (c - a) * (point.1 - b) == (d - b) * (point.0 - a)
            });
            prop_assume!(!on_outline);
            let north = (0..even.len()).filter(|n| {
                let ((a, b), (c, d)) = (even[*n], even[(n + 1) % even.len()]);
                let spans = (b > point.1) != (d > point.1);
                let at = f64::from(a) + f64::from(c - a) * f64::from(point.1 - b) / f64::from(d - b);
                spans && at > f64::from(point.0)
            });
            prop_assert_eq!(zone.surrounds(at(point.0, point.1)), north.count() % 2 == 1);
        }
    }
}
