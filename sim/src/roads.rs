//! How cars get about: along a road network by the fastest path, or, where there is none, in a
//! straight line at one speed and a detour factor. The path is searched with the `pathfinding`
//! crate's Dijkstra from both ends, over node numbers and whole milliseconds.

use crate::dice::Dice;
use crate::whole::{whole, whole32};
use pathfinding::directed::dijkstra::dijkstra_bidirectional;
use proto::units::Point;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Metres between two points: equirectangular, good to 0.1 % within a city.
pub(crate) fn metres(a: Point, b: Point) -> f64 {
    const METRES_PER_DEGREE: f64 = 111_195.0;
    let north = b.lat() - a.lat();
    let east = (b.lng() - a.lng()) * ((a.lat() + b.lat()) / 2.0).to_radians().cos();
    METRES_PER_DEGREE * north.hypot(east)
}

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

/// What the nodes are told to assume about driving, since they know no roads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Assumption {
    /// Speed along the road, in centimetres a second of city time.
    pub speed_cms: u32,
    /// How much longer a road is than a straight line, in percent.
    pub detour_pct: u32,
}

/// The ways of a city.
#[derive(Debug)]
pub enum Roads {
    /// As the crow flies, but longer.
    Straight {
        /// Along the road.
        speed_mps: f64,
        /// Road metres for each straight metre, at least 1.
        detour: f64,
    },
    /// Along a network.
    Network(Network),
}

impl Roads {
    /// Straight lines at one speed.
    pub fn straight(speed_mps: f64, detour: f64) -> Self {
        Self::Straight { speed_mps, detour }
    }

    /// The drive between two places.
    pub fn leg(&self, from: Point, to: Point) -> Arc<Leg> {
        match self {
            Self::Straight { speed_mps, detour } => {
                let ms = whole(metres(from, to) * detour / speed_mps * 1000.0);
                Arc::new(Leg { stops: vec![(0, from), (ms, to)] })
            }
            Self::Network(network) => network.leg(from, to),
        }
    }

    /// What a straight-line estimate should assume to be right on the average over drives as long
    /// as those to a pickup.
    pub fn assumption(&self) -> Assumption {
        let (speed_mps, detour) = match self {
            Self::Straight { speed_mps, detour } => (*speed_mps, *detour),
            Self::Network(network) => network.mean_drive(),
        };
        Assumption { speed_cms: whole32(speed_mps * 100.0), detour_pct: whole32(detour * 100.0) }
    }
}

/// One way out of, or into, a junction.
#[derive(Debug, Clone, Copy)]
struct Edge {
    other: u32,
    ms: u32,
    metres: f32,
}

/// A directed road as read from a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Road {
    /// Index of the junction it leaves.
    pub from: u32,
    /// Index of the junction it reaches.
    pub to: u32,
    /// How long it is, in metres.
    pub metres: f64,
    /// How long it takes, in milliseconds.
    pub ms: u32,
}

/// Junctions and directed roads.
#[derive(Debug)]
pub struct Network {
    junctions: Vec<Point>,
    out: Vec<Vec<Edge>>,
    into: Vec<Vec<Edge>>,
    exact: BTreeMap<Point, u32>,
    /// Mean speed, for the way from a door to the nearest junction, in metres a second.
    speed_mps: f64,
    recent: Mutex<Recent>,
}

/// Legs driven lately, oldest out first. Riders of one corner often go the same way, and a retried
/// offer asks for the same leg.
#[derive(Debug, Default)]
struct Recent {
    legs: BTreeMap<(u32, u32), Arc<Leg>>,
    order: VecDeque<(u32, u32)>,
}

/// How many legs are remembered: about 60 stops of 16 bytes each, 8 MB.
const RECENT_MAX: usize = 8_192;

/// Pairs of junctions tried for the mean drive; the standard error is then below 1 %.
const MEAN_DRIVE_SAMPLES: usize = 600;

/// The straight length of the drives that the mean is taken over: those to a pickup, in metres.
const MEAN_DRIVE_M: std::ops::Range<f64> = 200.0..2_000.0;

/// What is wrong with a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Nothing to stand on.
    #[error("the network has no junctions or no roads")]
    Empty,
    /// A road leads to a junction that is not there.
    #[error("road {road} names junction {junction}, but there are {junctions}")]
    NoSuchJunction {
        /// Which road, from 0.
        road: usize,
        /// What it names.
        junction: u32,
        /// How many there are.
        junctions: usize,
    },
}

impl Network {
    /// A network of these junctions and roads.
    pub fn new(junctions: Vec<Point>, roads: &[Road]) -> Result<Self, NetworkError> {
        if junctions.is_empty() || roads.is_empty() {
            return Err(NetworkError::Empty);
        }
        let mut out = vec![Vec::new(); junctions.len()];
        let mut into = vec![Vec::new(); junctions.len()];
        let (mut total_m, mut total_ms) = (0.0, 0.0);
        for (number, road) in roads.iter().enumerate() {
            for junction in [road.from, road.to] {
                if junction as usize >= junctions.len() {
                    let junctions = junctions.len();
                    return Err(NetworkError::NoSuchJunction { road: number, junction, junctions });
                }
            }
            let Road { from, to, metres, ms } = *road;
            #[expect(clippy::cast_possible_truncation, reason = "a road is not 1e38 m long")]
            let metres = metres as f32;
            out[from as usize].push(Edge { other: to, ms, metres });
            into[to as usize].push(Edge { other: from, ms, metres });
            total_m += f64::from(metres);
            total_ms += f64::from(ms);
        }
        let exact = (0..).zip(&junctions).map(|(i, point)| (*point, i)).collect();
        let speed_mps = total_m / (total_ms / 1000.0).max(0.001);
        Ok(Self { junctions, out, into, exact, speed_mps, recent: Mutex::default() })
    }

    /// How many junctions there are.
    pub fn junctions(&self) -> usize {
        self.junctions.len()
    }

    /// The junction at, or else nearest to, a place.
    fn snap(&self, place: Point) -> u32 {
        if let Some(junction) = self.exact.get(&place) {
            return *junction;
        }
        let distances = self.junctions.iter().map(|junction| metres(*junction, place));
        let nearest = (0..).zip(distances).min_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map_or(0, |(junction, _)| junction)
    }

    fn leg(&self, from: Point, to: Point) -> Arc<Leg> {
        let (start, goal) = (self.snap(from), self.snap(to));
        let path = self.path_leg(start, goal);
        let (first, last) = (self.junctions[start as usize], self.junctions[goal as usize]);
        if (first, last) == (from, to) {
            return path;
        }
        // From the door to the junction, along the path, from the junction to the door.
        let walk_ms = |a, b| whole(metres(a, b) / self.speed_mps * 1000.0);
        let before_ms = walk_ms(from, first);
        let mut stops = vec![(0, from)];
        stops.extend(path.stops.iter().map(|(ms, point)| (before_ms + ms, *point)));
        stops.push((before_ms + path.duration_ms() + walk_ms(last, to), to));
        Arc::new(Leg { stops })
    }

    fn path_leg(&self, start: u32, goal: u32) -> Arc<Leg> {
        let known = self.recent().legs.get(&(start, goal)).cloned();
        if let Some(leg) = known {
            return leg;
        }
        let leg = Arc::new(self.search(start, goal));
        let mut recent = self.recent();
        if recent.legs.insert((start, goal), Arc::clone(&leg)).is_none() {
            recent.order.push_back((start, goal));
        }
        if recent.order.len() > RECENT_MAX
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.legs.remove(&oldest);
        }
        leg
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fastest path; a straight line at the mean speed where there is none.
    fn search(&self, start: u32, goal: u32) -> Leg {
        let Some(path) = self.path(start, goal) else {
            let (from, to) = (self.junctions[start as usize], self.junctions[goal as usize]);
            let ms = whole(metres(from, to) / self.speed_mps * 1000.0);
            return Leg { stops: vec![(0, from), (ms, to)] };
        };
        let mut stops = vec![(0, self.junctions[start as usize])];
        let mut at_ms = 0;
        for pair in path.windows(2) {
            at_ms += self.edge(pair[0], pair[1]).map_or(0, |edge| u64::from(edge.ms));
            stops.push((at_ms, self.junctions[pair[1] as usize]));
        }
        Leg { stops }
    }

    fn path(&self, start: u32, goal: u32) -> Option<Vec<u32>> {
        fn ways(edges: &[Edge]) -> impl Iterator<Item = (u32, u32)> {
            edges.iter().map(|edge| (edge.other, edge.ms))
        }
        let out = |junction: &u32| ways(&self.out[*junction as usize]);
        let into = |junction: &u32| ways(&self.into[*junction as usize]);
        dijkstra_bidirectional(&start, &goal, out, into).map(|(path, _)| path)
    }

    /// The faster one of the roads between two neighbours.
    fn edge(&self, from: u32, to: u32) -> Option<Edge> {
        let roads = self.out[from as usize].iter().filter(|edge| edge.other == to);
        roads.copied().min_by_key(|edge| edge.ms)
    }

    /// Mean speed along the road, and road metres for each straight metre, over a sample.
    fn mean_drive(&self) -> (f64, f64) {
        // Fixed, so that the same network always gives the same figures.
        let mut dice = Dice::of(1, "mean drive");
        let (mut straight_m, mut road_m, mut road_s) = (0.0, 0.0, 0.0);
        for _ in 0..MEAN_DRIVE_SAMPLES * 20 {
            let (a, b) = (dice.below(self.junctions.len()), dice.below(self.junctions.len()));
            let apart_m = metres(self.junctions[a], self.junctions[b]);
            if !MEAN_DRIVE_M.contains(&apart_m) {
                continue;
            }
            let (Ok(a), Ok(b)) = (u32::try_from(a), u32::try_from(b)) else { continue };
            let Some(path) = self.path(a, b) else { continue };
            straight_m += apart_m;
            for pair in path.windows(2) {
                if let Some(edge) = self.edge(pair[0], pair[1]) {
                    road_m += f64::from(edge.metres);
                    road_s += f64::from(edge.ms) / 1000.0;
                }
            }
        }
        if straight_m == 0.0 || road_s == 0.0 {
            return (self.speed_mps, 1.0);
        }
        (road_m / road_s, (road_m / straight_m).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(lat: f64, lng: f64) -> Point {
        Point::from_degrees(lat, lng).unwrap()
    }

    /// A grid of `side` x `side` junctions 0.001 degrees apart, each road with its own time.
    fn grid(side: u32) -> Network {
        let mut dice = Dice::of(7, "grid");
        let places = (0..side * side)
            .map(|i| point(f64::from(i / side) / 1000.0, f64::from(i % side) / 1000.0))
            .collect();
        let mut roads = Vec::new();
        for i in 0..side * side {
            let (row, column) = (i / side, i % side);
            for (r, c) in [(row + 1, column), (row, column + 1)] {
                if r < side && c < side {
                    for (from, to) in [(i, r * side + c), (r * side + c, i)] {
                        let ms = u32::try_from(10_000 + dice.below(20_000)).unwrap();
                        roads.push(Road { from, to, metres: 111.0, ms });
                    }
                }
            }
        }
        Network::new(places, &roads).unwrap()
    }

    /// The naive oracle: relax every road until nothing gets faster.
    fn relaxed(network: &Network, start: u32) -> Vec<u64> {
        let mut best = vec![u64::MAX; network.junctions.len()];
        best[start as usize] = 0;
        loop {
            let mut changed = false;
            for (from, edges) in network.out.iter().enumerate() {
                for edge in edges {
                    let time = best[from].saturating_add(u64::from(edge.ms));
                    if time < best[edge.other as usize] {
                        best[edge.other as usize] = time;
                        changed = true;
                    }
                }
            }
            if !changed {
                return best;
            }
        }
    }

    #[test]
    fn the_fastest_path_is_as_fast_as_the_naive_oracle_says() {
        let network = grid(12);
        for start in [0, 17, 143] {
            let best = relaxed(&network, start);
            for goal in 0..144 {
                let leg = network.search(start, goal);
                assert_eq!(leg.duration_ms(), best[goal as usize], "{start} to {goal}");
            }
        }
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
    fn a_leg_begins_and_ends_where_it_was_asked_to() {
        let roads = Roads::Network(grid(5));
        let (from, to) = (point(0.0004, 0.0), point(0.0031, 0.0042));
        let leg = roads.leg(from, to);
        assert_eq!(leg.position(0), from);
        assert_eq!(leg.position(leg.duration_ms()), to);
        assert!(leg.stops.is_sorted_by_key(|stop| stop.0));
    }

    #[test]
    fn a_straight_drive_takes_distance_times_detour_over_speed() {
        let roads = Roads::straight(10.0, 1.5);
        let (from, to) = (point(40.0, -73.0), point(40.01, -73.0));
        assert_eq!(roads.leg(from, to).duration_ms(), 166_792);
        assert_eq!(roads.assumption(), Assumption { speed_cms: 1000, detour_pct: 150 });
    }

    #[test]
    fn the_assumed_speed_is_the_one_driven() {
        let roads = Roads::Network(grid(20));
        let Assumption { speed_cms, detour_pct } = roads.assumption();
        // 111 m in 10 to 30 s, the faster ones preferred; a grid's mean detour is 4 / pi.
        assert!((555..=1110).contains(&speed_cms), "{speed_cms}");
        assert!((115..=150).contains(&detour_pct), "{detour_pct}");
    }

    #[test]
    fn a_road_to_nowhere_is_refused() {
        let road = Road { from: 0, to: 5, metres: 1.0, ms: 1 };
        let refused = Network::new(vec![point(0.0, 0.0)], &[road]).unwrap_err();
        assert_eq!(refused, NetworkError::NoSuchJunction { road: 0, junction: 5, junctions: 1 });
    }
}
