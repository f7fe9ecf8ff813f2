//! Cars in a city, as cheap as they can be: a ping is two additions, two comparisons and 28 bytes,
//! so that what is measured is the nodes and not the cars.

use crate::dice::Dice;
use h3o::{CellIndex, LatLng, Resolution};
use proto::pings;
use proto::record::cell::Ping;
use proto::{DriverId, Point, WallMs};

/// Where the cars are.
pub(super) const CITY: &str = "New York, 40 x 40 km around Times Square";
/// Times Square, in degrees.
const CENTER: (f64, f64) = (40.758, -73.985_5);
/// Half the side of the city, in metres.
const CITY_HALF_M: f64 = 20_000.0;
/// Half the side of a square that lies within an H3 cell of resolution 7, in metres: the circle
/// inside such a cell has a radius of 1.2 km or a little less.
const HOT_HALF_M: f64 = 750.0;
/// How far a car moves from ping to ping, in metres.
pub(super) const STEP_M: f64 = 40.0;
/// A degree of latitude, in metres.
const DEGREE_M: f64 = 111_195.0;
/// Cars and steps that are looked at to see how many pings change the cell.
const LOOKED_AT: usize = 2_000;
const STEPS: usize = 10;

/// A rectangle of the map, in 1e-7 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    south: i32,
    north: i32,
    west: i32,
    east: i32,
}

#[expect(clippy::cast_possible_truncation, reason = "degrees on the globe fit")]
const fn e7(degrees: f64) -> i32 {
    (degrees * 1e7) as i32
}

impl Area {
    fn around(lat: f64, lng: f64, half_m: f64) -> Self {
        let (up, right) = (half_m / DEGREE_M, half_m / DEGREE_M / lat.to_radians().cos());
        Self {
            south: e7(lat - up),
            north: e7(lat + up),
            west: e7(lng - right),
            east: e7(lng + right),
        }
    }

    /// The city.
    pub(super) fn city() -> Self {
        Self::around(CENTER.0, CENTER.1, CITY_HALF_M)
    }

    /// A part of it that lies within one cell of resolution 7.
    pub(super) fn hot() -> Self {
        let middle = LatLng::new(CENTER.0, CENTER.1).map(|at| at.to_cell(Resolution::Seven));
        let middle = middle.map_or(CENTER, |cell| {
            let at = LatLng::from(cell);
            (at.lat(), at.lng())
        });
        Self::around(middle.0, middle.1, HOT_HALF_M)
    }

    /// A place in it, by chance.
    pub(super) fn anywhere(&self, dice: &mut Dice) -> (i32, i32) {
        let between = |low: i32, high: i32, dice: &mut Dice| {
            e7(dice.between(f64::from(low), f64::from(high)) / 1e7)
        };
        (between(self.south, self.north, dice), between(self.west, self.east, dice))
    }
}

/// A driver and his car.
#[derive(Debug, Clone, Copy)]
pub(super) struct Car {
    pub(super) driver: DriverId,
    lat: i32,
    lng: i32,
    step_lat: i32,
    step_lng: i32,
    hot: bool,
}

impl Car {
    /// Where it was when it was last heard of.
    pub(super) fn point(&self) -> Point {
        // Both areas are on the globe, so the other point is never taken.
        Point::from_e7(self.lat, self.lng).unwrap_or_else(|_| nowhere())
    }

    /// Moves straight on, and turns round at the border.
    fn drive(&mut self, area: &Area) {
        self.lat += self.step_lat;
        if !(area.south..=area.north).contains(&self.lat) {
            self.step_lat = -self.step_lat;
            self.lat += 2 * self.step_lat;
        }
        self.lng += self.step_lng;
        if !(area.west..=area.east).contains(&self.lng) {
            self.step_lng = -self.step_lng;
            self.lng += 2 * self.step_lng;
        }
    }

    fn cell(&self) -> Option<CellIndex> {
        let point = self.point();
        let at = LatLng::new(point.lat(), point.lng()).ok()?;
        Some(at.to_cell(Resolution::Eight))
    }
}

fn nowhere() -> Point {
    Point::from_e7(0, 0).expect("the origin is on the globe")
}

/// The cars whose pings go over one connection, each in turn.
#[derive(Debug, Clone)]
pub(super) struct Flock {
    cars: Vec<Car>,
    areas: [Area; 2],
    next: usize,
    /// What the phones' clocks say: later with every round, so that each ping is newer.
    at: WallMs,
    moves: bool,
}

impl Flock {
    /// Cars by chance, as many flocks as connections. `hot_pct` of them stay in one cell of
    /// resolution 7.
    pub(super) fn spread(drivers: &[DriverId], flocks: usize, hot_pct: u8, seed: u64) -> Vec<Self> {
        let mut dice = Dice::of(seed, "cars");
        let areas = [Area::city(), Area::hot()];
        let mut all =
            vec![Self { cars: Vec::new(), areas, next: 0, at: WallMs(0), moves: true }; flocks];
        for (driver, number) in drivers.iter().zip(0usize..) {
            let hot = dice.chance(f64::from(hot_pct) / 100.0);
            let (lat, lng) = areas[usize::from(hot)].anywhere(&mut dice);
            let way = dice.between(0.0, std::f64::consts::TAU);
            let step = STEP_M / DEGREE_M;
            let narrow = CENTER.0.to_radians().cos();
            let (step_lat, step_lng) = (e7(step * way.cos()), e7(step * way.sin() / narrow));
            let car = Car { driver: *driver, lat, lng, step_lat, step_lng, hot };
            all[number % flocks].cars.push(car);
        }
        all
    }

    /// The same cars, standing still.
    pub(super) fn parked(mut self) -> Self {
        self.moves = false;
        self
    }
    /// The same cars, on their way again.
    pub(super) fn moving(mut self) -> Self {
        self.moves = true;
        self
    }

    /// The cars.
    pub(super) fn cars(&self) -> &[Car] {
        &self.cars
    }

    /// Appends the pings of the next `count` cars.
    pub(super) fn put(&mut self, count: usize, now: WallMs, to: &mut Vec<u8>) {
        for _ in 0..count {
            if self.next == 0 {
                self.at = now.max(self.at.plus_ms(1));
            }
            let Some(car) = self.cars.get_mut(self.next) else { return };
            if self.moves {
                car.drive(&self.areas[usize::from(car.hot)]);
            }
            let ping = Ping {
                driver: car.driver,
                point: car.point(),
                heading_deg: 90,
                speed_cms: 1_000,
                accuracy_m: 5,
                at: self.at,
            };
            pings::put(&ping, to);
            self.next += 1;
            if self.next == self.cars.len() {
                self.next = 0;
            }
        }
    }

    /// One car's next ping for a protocol of another kind: where it was, the car where it is now,
    /// and when that is measured.
    pub(super) fn next_car(&mut self, now: WallMs) -> Option<(Point, Car, WallMs)> {
        let at = self.next;
        let before = self.cars.get(at)?.point();
        self.put(1, now, &mut Vec::new());
        Some((before, self.cars[at], self.at))
    }

    /// What the phones' clocks say now.
    pub(super) const fn at(&self) -> WallMs {
        self.at
    }
    /// The same cars with clocks that say at least this: after others have pinged for them.
    pub(super) fn not_before(mut self, at: WallMs) -> Self {
        self.at = self.at.max(at);
        self
    }

    /// How many of a hundred pings find their driver in another cell of resolution 8.
    pub(super) fn changes_pct(&self) -> f64 {
        let (mut changed, mut steps) = (0u64, 0u64);
        for car in self.cars.iter().take(LOOKED_AT) {
            let mut car = *car;
            let mut cell = car.cell();
            for _ in 0..STEPS {
                car.drive(&self.areas[usize::from(car.hot)]);
                let now = car.cell();
                changed += u64::from(now != cell);
                steps += 1;
                cell = now;
            }
        }
        100.0 * changed as f64 / steps.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::pings::PING_BYTES;

    fn drivers(count: u64) -> Vec<DriverId> {
        (0..count).map(DriverId::from_raw).collect()
    }

    #[test]
    fn every_ping_is_newer_and_forty_metres_on() {
        let mut flocks = Flock::spread(&drivers(20), 2, 0, 1);
        assert_eq!(flocks.iter().map(|flock| flock.cars.len()).collect::<Vec<_>>(), [10, 10]);
        let flock = &mut flocks[0];
        let (mut first, mut second) = (Vec::new(), Vec::new());
        flock.put(10, WallMs(1_000), &mut first);
        flock.put(10, WallMs(1_000), &mut second);
        assert_eq!(first.len(), 10 * PING_BYTES);
        for (before, after) in pings::each(&first).zip(pings::each(&second)) {
            let (before, after) = (before.unwrap(), after.unwrap());
            assert_eq!((before.driver, before.at.0, after.at.0), (after.driver, 1_000, 1_001));
            let at = |point: Point| LatLng::new(point.lat(), point.lng()).unwrap();
            let gone = at(before.point).distance_m(at(after.point));
            assert!((gone - STEP_M).abs() < 0.5, "{gone}");
        }
    }

    #[test]
    fn cars_stay_in_the_city_and_change_cells_as_often_as_they_should() {
        let mut flock = Flock::spread(&drivers(500), 1, 50, 1).remove(0);
        let mut bytes = Vec::new();
        for round in 0..400 {
            bytes.clear();
            flock.put(500, WallMs(round), &mut bytes);
        }
        let [city, hot] = flock.areas;
        let middle = LatLng::new(CENTER.0, CENTER.1).unwrap().to_cell(Resolution::Seven);
        for car in &flock.cars {
            let area = if car.hot { hot } else { city };
            assert!((area.south..=area.north).contains(&car.lat), "{car:?}");
            assert!((area.west..=area.east).contains(&car.lng), "{car:?}");
            if car.hot {
                assert_eq!(car.cell().unwrap().parent(Resolution::Seven), Some(middle));
            }
        }
        let hot = flock.cars.iter().filter(|car| car.hot).count();
        assert!((200..300).contains(&hot), "half of them: {hot}");
        let changes = flock.changes_pct();
        assert!((4.0..8.0).contains(&changes), "{changes}");
    }

    #[test]
    fn who_is_parked_is_heard_of_where_he_was() {
        let mut flock = Flock::spread(&drivers(3), 1, 0, 1).remove(0).parked();
        let before: Vec<Point> = flock.cars.iter().map(Car::point).collect();
        flock.put(6, WallMs(5), &mut Vec::new());
        assert_eq!(flock.cars.iter().map(Car::point).collect::<Vec<_>>(), before);
        let (from, car, at) = flock.not_before(WallMs(9)).moving().next_car(WallMs(5)).unwrap();
        assert!(from == before[0] && car.point() != from && at == WallMs(10));
    }
}
