//! Driving times: the seam [`Eta`], and a table of all fastest ways, made once by one Dijkstra from
//! each junction.

use pathfinding::directed::dijkstra::dijkstra_all;
use proto::Point;

/// How long driving takes between junctions, and which way it goes.
pub trait Eta: Sync {
    /// From one junction to another, in milliseconds; [`NEVER`] if there is no way.
    fn ms(&self, from: u32, to: u32) -> u32;
    /// The first road of the fastest way; nothing at its end, or where there is no way.
    fn next(&self, at: u32, goal: u32) -> Option<Road>;
    /// Where the junctions are.
    fn junctions(&self) -> &[Point];
}

/// The time to where no way leads, in milliseconds.
pub const NEVER: u32 = u32::MAX;

/// Junctions of a table at most: 16,384 squared are 1 GiB of driving times.
pub const JUNCTIONS_MAX: usize = 16_384;

/// A directed road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Road {
    /// The junction it leaves.
    pub from: u32,
    /// The junction it reaches.
    pub to: u32,
    /// How long it is, in metres.
    pub metres: u32,
    /// How long it takes, in milliseconds.
    pub ms: u32,
}

/// What is wrong with a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Nothing to stand on, or more than a table holds.
    #[error(
        "{0} junctions: 1 to {JUNCTIONS_MAX} fit into a table of driving times; cut the network"
    )]
    Junctions(usize),
    /// A road leads to a junction that is not there.
    #[error("a road names junction {junction}, but there are {junctions}")]
    NoSuchJunction {
        /// What it names.
        junction: u32,
        /// How many there are.
        junctions: usize,
    },
}

/// All driving times of a city.
#[derive(Debug)]
pub struct Network {
    junctions: Vec<Point>,
    out: Vec<Vec<Road>>,
    /// By junction reached, then by junction left.
    ms: Vec<u32>,
}

impl Network {
    /// Works the table out, on all cores; `step` is called once a junction, from any thread.
    pub fn new(
        junctions: Vec<Point>,
        roads: &[Road],
        step: &(dyn Fn() + Sync),
    ) -> Result<Self, NetworkError> {
        let n = junctions.len();
        if n == 0 || n > JUNCTIONS_MAX {
            return Err(NetworkError::Junctions(n));
        }
        let (mut out, mut into) = (vec![Vec::new(); n], vec![Vec::new(); n]);
        for road in roads {
            let junction = road.from.max(road.to);
            if junction as usize >= n {
                return Err(NetworkError::NoSuchJunction { junction, junctions: n });
            }
            out[road.from as usize].push(*road);
            into[road.to as usize].push((road.from, road.ms));
        }
        let mut ms = vec![NEVER; n * n];
        let rows_each = n.div_ceil(threads());
        std::thread::scope(|scope| {
            for (part, rows) in ms.chunks_mut(rows_each * n).enumerate() {
                let into = &into;
                scope.spawn(move || {
                    for (goal, times) in (part * rows_each..).zip(rows.chunks_mut(n)) {
                        times[goal] = 0;
                        let goal = u32::try_from(goal).unwrap_or(NEVER);
                        let ways = |at: &u32| into[*at as usize].iter().copied();
                        for (from, (_, took_ms)) in dijkstra_all(&goal, ways) {
                            times[from as usize] = took_ms;
                        }
                        step();
                    }
                });
            }
        });
        Ok(Self { junctions, out, ms })
    }

    /// The junction at, or else nearest to, a place.
    pub fn snap(&self, place: Point) -> u32 {
        let off = |at: &Point| (actors::geo::distance_m(*at, place), *at);
        let nearest = (0..).zip(&self.junctions).min_by_key(|(_, at)| off(at));
        nearest.map_or(0, |(junction, _)| junction)
    }
}

impl Eta for Network {
    fn ms(&self, from: u32, to: u32) -> u32 {
        self.ms[to as usize * self.junctions.len() + from as usize]
    }

    fn next(&self, at: u32, goal: u32) -> Option<Road> {
        let left_ms = |road: &&Road| self.ms(road.to, goal).saturating_add(road.ms);
        let best = self.out[at as usize].iter().min_by_key(left_ms)?;
        (at != goal && left_ms(&best) < NEVER).then_some(*best)
    }

    fn junctions(&self) -> &[Point] {
        &self.junctions
    }
}

/// How many threads long work is spread over.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn all_times_are_what_relaxing_every_road_again_and_again_comes_to() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let n = 40_u32;
        let places = (0..n).map(|i| Point::from_e7(i32::try_from(i).unwrap(), 0).unwrap());
        let places: Vec<Point> = places.collect();
        let road = |rng: &mut ChaCha8Rng| {
            let (from, to) = (rng.random_range(0..n), rng.random_range(0..n));
            Road { from, to, metres: 1, ms: rng.random_range(1..1_000) }
        };
        let roads: Vec<Road> = (0..90).map(|_| road(&mut rng)).collect();
        let network = Network::new(places, &roads, &|| {}).unwrap();
        for from in 0..n {
            let mut naive = vec![NEVER; n as usize];
            naive[from as usize] = 0;
            for _ in 0..n {
                for road in &roads {
                    let there = naive[road.from as usize].saturating_add(road.ms);
                    let known = &mut naive[road.to as usize];
                    *known = (*known).min(there);
                }
            }
            for to in 0..n {
                assert_eq!(network.ms(from, to), naive[to as usize], "{from} to {to}");
                let (mut at, mut took_ms) = (from, 0_u32);
                while let Some(road) = network.next(at, to) {
                    (at, took_ms) = (road.to, took_ms + road.ms);
                }
                assert!(
                    network.ms(from, to) == NEVER || (at, took_ms) == (to, network.ms(from, to))
                );
            }
        }
    }

    #[test]
    fn a_road_to_nowhere_and_an_empty_city_are_refused() {
        let here = Point::from_e7(0, 0).unwrap();
        let road = Road { from: 0, to: 7, metres: 1, ms: 1 };
        let error = Network::new(vec![here], &[road], &|| {}).unwrap_err();
        assert_eq!(error, NetworkError::NoSuchJunction { junction: 7, junctions: 1 });
        assert_eq!(Network::new(vec![], &[], &|| {}).unwrap_err(), NetworkError::Junctions(0));
    }
}
