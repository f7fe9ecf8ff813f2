//! How cars get about: over streets (crate `roads`, the same that nodes estimate by), or, where
//! there are none, in a straight line at one speed and a detour factor.

use crate::whole::{whole, whole32};
use proto::units::Point;
use roads::{Places, Roads, metres};
use std::sync::Arc;

/// A drive: where the car is after how many milliseconds of city time.
#[derive(Debug, PartialEq, Eq)]
pub struct Leg {
    /// At least one; times do not fall.
    stops: Vec<(u64, Point)>,
}

impl Leg {
    /// Standing still.
    pub fn at_rest(here: Point) -> Self {
        Self { stops: vec![(0, here)] }
    }

    /// How long it takes, in milliseconds of city time.
    pub fn duration_ms(&self) -> u64 {
        self.stops.last().map_or(0, |stop| stop.0)
    }

    /// Where the car is so long after it left.
    pub fn position(&self, after_ms: u64) -> Point {
        let next = self.stops.partition_point(|stop| stop.0 <= after_ms);
        let (left_ms, from) = self.stops[next.saturating_sub(1).min(self.stops.len() - 1)];
        let Some((reached_ms, to)) = self.stops.get(next).copied() else { return from };
        let span_ms = reached_ms.saturating_sub(left_ms).max(1);
        let share = after_ms.saturating_sub(left_ms) as f64 / span_ms as f64;
        let lat = from.lat() + (to.lat() - from.lat()) * share;
        let lng = from.lng() + (to.lng() - from.lng()) * share;
        Point::from_degrees(lat, lng).unwrap_or(from)
    }
}

/// Driving in a straight line: what nodes assume where they know no roads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Assumption {
    /// Speed along the road, in centimetres a second of city time.
    pub speed_cms: u32,
    /// How much longer a road is than a straight line, in percent.
    pub detour_pct: u32,
}

impl Assumption {
    /// Metres a second along the road, and road metres for each straight metre, at least 1.
    pub fn of(speed_mps: f64, detour: f64) -> Self {
        let (speed_cms, detour_pct) = (whole32(speed_mps * 100.0), whole32(detour * 100.0));
        Self { speed_cms: speed_cms.max(1), detour_pct: detour_pct.max(100) }
    }

    fn ms(self, from: Point, to: Point) -> u64 {
        let road_cm = metres(from, to) * f64::from(self.detour_pct);
        whole(road_cm / f64::from(self.speed_cms) * 1_000.0)
    }
}

/// The ways of a city.
#[derive(Debug, Clone)]
pub struct Ways {
    streets: Option<Arc<Roads>>,
    straight: Assumption,
}

/// Pairs of places tried for the mean drive; the standard error is then below 1 %.
const MEAN_DRIVE_SAMPLES: usize = 600;
/// The straight length of the drives that the mean is taken over: those to a pickup, in metres.
const MEAN_DRIVE_M: std::ops::Range<f64> = 200.0..2_000.0;
/// What is assumed of streets that are all too short to measure: 20 km/h, a detour of a third.
const UNMEASURED: (f64, f64) = (5.6, 1.3);

impl Ways {
    /// Straight lines at one speed, in metres a second along the road, with a detour.
    pub fn straight(speed_mps: f64, detour: f64) -> Self {
        Self { streets: None, straight: Assumption::of(speed_mps, detour) }
    }

    /// Streets.
    pub fn streets(roads: Roads) -> Self {
        let (speed_mps, detour) = mean_drive(&roads).unwrap_or(UNMEASURED);
        Self { streets: Some(Arc::new(roads)), straight: Assumption::of(speed_mps, detour) }
    }

    /// The streets, if there are any.
    pub fn roads(&self) -> Option<&Roads> {
        self.streets.as_deref()
    }

    /// The drive between two places.
    pub fn leg(&self, from: Point, to: Point) -> Arc<Leg> {
        let route = self.roads().and_then(|roads| roads.route(from, to).ok());
        let Some(route) = route else {
            return Arc::new(Leg { stops: vec![(0, from), (self.straight.ms(from, to), to)] });
        };
        // From the door to the road, along it, from the road to the door.
        let mut stops = vec![(0, from)];
        let first_ms = route.stops.first().map_or(0, |(_, road)| self.straight.ms(from, *road));
        stops.extend(route.stops.iter().map(|(ms, place)| (first_ms + ms, *place)));
        let (road_ms, road) = stops[stops.len() - 1];
        stops.push((road_ms + self.straight.ms(road, to), to));
        Arc::new(Leg { stops })
    }

    /// What a straight-line estimate should assume to be right on the average over drives as long
    /// as those to a pickup.
    pub fn assumption(&self) -> Assumption {
        self.straight
    }
}

/// Mean speed along the road, and road metres for each straight metre, over a sample that is the
/// same each time; nothing if no two places lie as far apart as a pickup does.
fn mean_drive(roads: &Roads) -> Option<(f64, f64)> {
    let mut places = Places::new(roads, 1);
    let (mut straight_m, mut road_m, mut road_s) = (0.0, 0.0, 0.0);
    for _ in 0..MEAN_DRIVE_SAMPLES {
        let from = places.draw();
        let Some(to) = places.near(from, MEAN_DRIVE_M.end) else { continue };
        if !MEAN_DRIVE_M.contains(&metres(from, to)) {
            continue;
        }
        let Ok(route) = roads.route(from, to) else { continue };
        straight_m += metres(from, to);
        road_m += route.length_m();
        road_s += route.duration_ms() as f64 / 1_000.0;
    }
    (straight_m > 0.0 && road_s > 0.0).then(|| (road_m / road_s, road_m / straight_m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use roads::{Map, Settings};

    fn point(lat: f64, lng: f64) -> Point {
        Point::from_degrees(lat, lng).unwrap()
    }

    /// Streets 200 m apart with speeds of 12 to 30 km/h.
    fn town() -> Ways {
        let map = Map::invented(12, &mut ChaCha8Rng::seed_from_u64(7));
        Ways::streets(Roads::of_map(&map, &Settings::default()).unwrap())
    }

    #[test]
    fn a_car_moves_along_its_leg_and_stays_at_its_end() {
        let leg = Leg {
            stops: vec![(0, point(0.0, 0.0)), (1000, point(0.0, 1.0)), (1500, point(1.0, 1.0))],
        };
        assert_eq!(leg.position(0), point(0.0, 0.0));
        assert_eq!(leg.position(250), point(0.0, 0.25));
        assert_eq!(leg.position(1250), point(0.5, 1.0));
        assert_eq!(leg.position(99_999), point(1.0, 1.0));
        assert_eq!(Leg::at_rest(point(3.0, 3.0)).position(5), point(3.0, 3.0));
    }

    #[test]
    fn a_leg_begins_and_ends_where_it_was_asked_to_and_takes_what_the_roads_say() {
        let ways = town();
        let (from, to) = (point(0.0004, 0.0), point(0.0141, 0.0162));
        let leg = ways.leg(from, to);
        assert_eq!(leg.position(0), from);
        assert_eq!(leg.position(leg.duration_ms()), to);
        assert!(leg.stops.is_sorted_by_key(|stop| stop.0));
        let road_ms = ways.roads().unwrap().eta_ms(from, to).unwrap();
        let doors_ms = leg.duration_ms() - road_ms;
        assert!(doors_ms < 60_000, "two doors 100 m off a street at most: {doors_ms}");
    }

    #[test]
    fn a_place_off_all_roads_is_driven_to_in_a_straight_line() {
        let ways = town();
        let (from, to) = (point(0.001, 0.001), point(0.5, 0.5));
        assert_eq!(ways.leg(from, to).duration_ms(), ways.assumption().ms(from, to));
    }

    #[test]
    fn a_straight_drive_takes_distance_times_detour_over_speed() {
        let ways = Ways::straight(10.0, 1.5);
        let (from, to) = (point(40.0, -73.0), point(40.01, -73.0));
        assert_eq!(ways.leg(from, to).duration_ms(), 166_793);
        assert_eq!(ways.assumption(), Assumption { speed_cms: 1000, detour_pct: 150 });
    }

    #[test]
    fn the_assumed_speed_is_the_one_driven() {
        let Assumption { speed_cms, detour_pct } = town().assumption();
        // 200 m in 24 to 60 s, the faster ones preferred; a grid's mean detour is 4 / pi.
        assert!((333..=833).contains(&speed_cms), "{speed_cms}");
        assert!((110..=170).contains(&detour_pct), "{detour_pct}");
    }
}
