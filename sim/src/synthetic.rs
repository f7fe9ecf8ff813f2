//! An invented city, the same for the same seed: a town 6 km across with three busy places. Two
//! riders in three start at one of those, so that cars are scarce in some cells and idle in
//! others, as in a real one. Streets are straight lines with a detour factor, or those of a map.

use crate::city::{City, Request};
use crate::dice::Dice;
use crate::drives::Ways;
use crate::pace::CityMs;
use crate::whole::whole;
use proto::units::Point;
use roads::{Places, Roads};

/// How big the town is, and how busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Everything that is left to chance comes from here.
    pub seed: u64,
    /// Cars.
    pub fleet: usize,
    /// Requests.
    pub bookings: usize,
    /// The requests fall evenly at random into so much city time.
    pub window: CityMs,
}

/// Speed along the road: 24 km/h.
const SPEED_MPS: f64 = 6.7;
/// Road metres for each straight metre.
const DETOUR: f64 = 1.3;
/// From the middle of town to its edge.
const RADIUS_M: f64 = 3_000.0;
/// How far the busy places reach.
const BUSY_M: f64 = 700.0;
/// Straight length of a ride: 1 to 7 minutes of driving, so that the last one does not hold up the
/// end of the run.
const RIDE_M: (f64, f64) = (400.0, 2_200.0);
/// The middle of town; nobody lives there.
const MIDDLE: (f64, f64) = (12.97, 77.59);
/// The busy places, in metres north and east of the middle.
const BUSY: [(f64, f64); 3] = [(0.0, 0.0), (1_500.0, 1_100.0), (-1_700.0, 400.0)];

const METRES_PER_DEGREE: f64 = 111_195.0;

/// Builds the town of a plan.
pub fn town(plan: Plan) -> City {
    let mut dice = Dice::of(plan.seed, "town");
    let fleet = (0..plan.fleet).map(|_| somewhere(&mut dice, (0.0, 0.0), RADIUS_M)).map(place);
    let fleet = fleet.collect();
    let mut requests: Vec<Request> = (0..plan.bookings).map(|_| request(&mut dice, plan)).collect();
    requests.sort_by_key(|request| request.at);
    City {
        name: format!("synthetic town, seed {}", plan.seed),
        requests,
        fleet,
        roads: Ways::straight(SPEED_MPS, DETOUR),
        references: Vec::new(),
    }
}

/// The same on given streets: riders and cars stand on them, anywhere or in three busy places.
pub fn on_streets(plan: Plan, roads: Roads) -> City {
    let mut dice = Dice::of(plan.seed, "streets");
    let mut places = Places::new(&roads, plan.seed);
    let fleet = (0..plan.fleet).map(|_| places.draw()).collect();
    let busy: Vec<Point> = (0..BUSY.len()).map(|_| places.draw()).collect();
    let mut wish = |_| {
        let at = CityMs(whole(dice.between(0.0, plan.window.0 as f64)));
        let crowd = dice.chance(2.0 / 3.0).then(|| busy[dice.below(busy.len())]);
        let pickup = crowd.and_then(|busy| places.near(busy, BUSY_M));
        let pickup = pickup.unwrap_or_else(|| places.draw());
        let dropoff = places.near(pickup, RIDE_M.1).unwrap_or_else(|| places.draw());
        Request { at, pickup, dropoff }
    };
    let mut requests: Vec<Request> = (0..plan.bookings).map(&mut wish).collect();
    requests.sort_by_key(|request| request.at);
    let name = format!("invented riders on {}, seed {}", roads.source(), plan.seed);
    City { name, requests, fleet, roads: Ways::streets(roads), references: Vec::new() }
}

fn request(dice: &mut Dice, plan: Plan) -> Request {
    let at = CityMs(whole(dice.between(0.0, plan.window.0 as f64)));
    let from = if dice.chance(2.0 / 3.0) {
        let busy = BUSY[dice.below(BUSY.len())];
        somewhere(dice, busy, BUSY_M)
    } else {
        somewhere(dice, (0.0, 0.0), RADIUS_M)
    };
    let (length_m, angle) =
        (dice.between(RIDE_M.0, RIDE_M.1), dice.between(0.0, std::f64::consts::TAU));
    // Rides that would leave town turn back through its middle.
    let onward = (from.0 + length_m * angle.sin(), from.1 + length_m * angle.cos());
    let back = (from.0 - length_m * angle.sin(), from.1 - length_m * angle.cos());
    let to = if onward.0.hypot(onward.1) <= back.0.hypot(back.1) { onward } else { back };
    Request { at, pickup: place(from), dropoff: place(to) }
}

/// A point of a disk, all points alike, in metres north and east.
fn somewhere(dice: &mut Dice, middle: (f64, f64), radius_m: f64) -> (f64, f64) {
    let out_m = radius_m * dice.between(0.0, 1.0).sqrt();
    let angle = dice.between(0.0, std::f64::consts::TAU);
    (middle.0 + out_m * angle.sin(), middle.1 + out_m * angle.cos())
}

fn place((north_m, east_m): (f64, f64)) -> Point {
    let lat = MIDDLE.0 + north_m / METRES_PER_DEGREE;
    let lng = MIDDLE.1 + east_m / (METRES_PER_DEGREE * MIDDLE.0.to_radians().cos());
    // A few kilometres from the middle of town are on the globe.
    Point::from_degrees(lat, lng).expect("near the middle of town")
}

#[cfg(test)]
mod tests {
    use super::*;
    use roads::metres;

    const PLAN: Plan = Plan { seed: 1, fleet: 50, bookings: 200, window: CityMs(900_000) };

    #[test]
    fn the_same_seed_builds_the_same_town() {
        let (one, two) = (town(PLAN), town(PLAN));
        assert_eq!((&one.requests, &one.fleet), (&two.requests, &two.fleet));
        assert_ne!(town(Plan { seed: 2, ..PLAN }).requests, one.requests);
    }

    #[test]
    fn the_same_seed_puts_the_same_riders_on_the_streets() {
        use rand::SeedableRng;
        let map = roads::Map::invented(9, &mut rand::rngs::ChaCha8Rng::seed_from_u64(1));
        let city = || {
            let roads = Roads::of_map(&map, &roads::Settings::default()).unwrap();
            on_streets(PLAN, roads)
        };
        let (one, two) = (city(), city());
        assert_eq!((&one.requests, &one.fleet), (&two.requests, &two.fleet));
        assert_eq!((one.requests.len(), one.fleet.len()), (200, 50));
        let roads = one.roads.roads().unwrap();
        assert!(one.requests.iter().all(|it| roads.snap(it.pickup).unwrap().off_m == 0));
    }

    #[test]
    fn rides_are_short_enough_for_the_demo_and_start_in_time() {
        let town = town(PLAN);
        assert_eq!((town.requests.len(), town.fleet.len()), (200, 50));
        for request in &town.requests {
            assert!(request.at <= PLAN.window);
            let ride_m = metres(request.pickup, request.dropoff);
            assert!((390.0..2_250.0).contains(&ride_m), "{ride_m}");
        }
    }
}
