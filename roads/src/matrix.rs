//! All driving times between the junctions of a [`Map`], worked out once: for who asks millions of
//! times and always between junctions.

use crate::geometry::metres;
use crate::hierarchy::{Direction, Hierarchy};
use crate::map::{Map, Road};
use cch::INF_WEIGHT;
use proto::Point;

/// The time to where no way leads, in milliseconds.
pub const NEVER: u32 = u32::MAX;

/// Junctions of a matrix at most: 16,384 squared are 1 GiB of driving times.
pub const JUNCTIONS_MAX: usize = 16_384;

/// A map without junctions, or with too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} junctions: 1 to {JUNCTIONS_MAX} fit into a table of driving times; cut the network")]
pub struct MatrixError(pub usize);

/// All driving times of a city.
#[derive(Debug)]
pub struct Matrix {
    junctions: Vec<Point>,
    /// Sorted by place.
    exact: Vec<(Point, u32)>,
    /// The roads that leave each junction.
    out: Vec<Vec<Road>>,
    /// By junction reached, then by junction left.
    ms: Vec<u32>,
}

impl Matrix {
    /// Works the times out, on all cores; `step` is called once a junction, from any thread.
    pub fn new(map: &Map, step: &(dyn Fn() + Sync)) -> Result<Self, MatrixError> {
        let junctions = map.junctions().to_vec();
        let n = junctions.len();
        if n == 0 || n > JUNCTIONS_MAX {
            return Err(MatrixError(n));
        }
        let mut out = vec![Vec::new(); n];
        for road in map.roads() {
            out[road.from as usize].push(*road);
        }
        let (hierarchy, weights) = Hierarchy::of_junctions(&junctions, &out);
        let times = hierarchy.customize(&weights);
        let all: Vec<u32> = (0..n).map(crate::geometry::number).collect();
        let mut ms = vec![NEVER; n * n];
        let rows_each = n.div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
        std::thread::scope(|scope| {
            for (goals, rows) in all.chunks(rows_each).zip(ms.chunks_mut(rows_each * n)) {
                let (hierarchy, times, all) = (&hierarchy, &times, &all);
                scope.spawn(move || {
                    for (goal, row) in goals.iter().zip(rows.chunks_mut(n)) {
                        let found = hierarchy.times(times, Direction::Into, &[(*goal, 0)], all);
                        for (ms, found) in row.iter_mut().zip(found) {
                            *ms = if found < INF_WEIGHT { found } else { NEVER };
                        }
                        step();
                    }
                });
            }
        });
        let mut exact: Vec<(Point, u32)> = junctions.iter().copied().zip(0..).collect();
        exact.sort_unstable();
        Ok(Self { junctions, exact, out, ms })
    }

    /// From one junction to another, in milliseconds; [`NEVER`] if there is no way.
    pub fn ms(&self, from: u32, to: u32) -> u32 {
        self.to(to)[from as usize]
    }

    /// From every junction to one, in their order.
    pub fn to(&self, goal: u32) -> &[u32] {
        let (row, n) = (goal as usize, self.junctions.len());
        &self.ms[row * n..(row + 1) * n]
    }

    /// The first road of the fastest way; nothing at its end, or where there is no way.
    pub fn next(&self, at: u32, goal: u32) -> Option<Road> {
        let to_goal = self.to(goal);
        let left_ms = |road: &&Road| to_goal[road.to as usize].saturating_add(road.ms);
        let best = self.out[at as usize].iter().min_by_key(left_ms)?;
        (at != goal && left_ms(&best) < NEVER).then_some(*best)
    }

    /// Where the junctions are.
    pub fn junctions(&self) -> &[Point] {
        &self.junctions
    }

    /// The junction at, or else nearest to, a place.
    pub fn snap(&self, place: Point) -> u32 {
        let from = self.exact.partition_point(|(at, _)| *at < place);
        if let Some((at, junction)) = self.exact.get(from)
            && *at == place
        {
            return *junction;
        }
        let off = (0..).zip(&self.junctions).map(|(junction, at)| (junction, metres(*at, place)));
        off.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(junction, _)| junction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roads::{Roads, Settings};
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    /// Times to everywhere by relaxing every road again and again.
    fn relaxed(map: &Map, from: u32) -> Vec<u32> {
        let n = map.junctions().len();
        let mut naive = vec![NEVER; n];
        naive[from as usize] = 0;
        for _ in 0..n {
            for road in map.roads() {
                let there = naive[road.from as usize].saturating_add(road.ms);
                let known = &mut naive[road.to as usize];
                *known = (*known).min(there);
            }
        }
        naive
    }

    #[test]
    fn all_times_are_what_relaxing_every_road_again_and_again_comes_to() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let n = 40_u32;
        let places = (0..n).map(|i| Point::from_e7(i32::try_from(i).unwrap(), 0).unwrap());
        let road = |rng: &mut ChaCha8Rng| {
            let (from, to) = (rng.random_range(0..n), rng.random_range(0..n));
            Road { from, to, metres: 1, ms: rng.random_range(1..1_000) }
        };
        let roads: Vec<Road> = (0..90).map(|_| road(&mut rng)).collect();
        let map = Map::new(places.collect(), roads).unwrap();
        let matrix = Matrix::new(&map, &|| {}).unwrap();
        for from in 0..n {
            let naive = relaxed(&map, from);
            for to in 0..n {
                assert_eq!(matrix.ms(from, to), naive[to as usize], "{from} to {to}");
                let (mut at, mut took_ms) = (from, 0_u32);
                while let Some(road) = matrix.next(at, to) {
                    (at, took_ms) = (road.to, took_ms + road.ms);
                }
                assert!(matrix.ms(from, to) == NEVER || (at, took_ms) == (to, matrix.ms(from, to)));
            }
        }
    }

    #[test]
    fn streets_between_junctions_take_what_the_matrix_says() {
        let map = Map::invented(9, &mut ChaCha8Rng::seed_from_u64(3));
        let matrix = Matrix::new(&map, &|| {}).unwrap();
        let roads = Roads::of_map(&map, &Settings::default()).unwrap();
        let places = map.junctions();
        let snaps: Vec<_> = places.iter().map(|place| roads.snap(*place).unwrap()).collect();
        // A junction that one can't leave and reach again is on no street.
        let lost = |at: u32| snaps[at as usize].off_m > 0;
        let mut compared = 0;
        for (from, here) in (0..).zip(&snaps) {
            let naive = relaxed(&map, from);
            for (to, ms) in (0..).zip(roads.one_to_many(here, &snaps)) {
                assert_eq!(matrix.ms(from, to), naive[to as usize], "{from} to {to}");
                assert_eq!(matrix.snap(places[to as usize]), to);
                if !lost(from) && !lost(to) {
                    assert_eq!(ms, u64::from(matrix.ms(from, to)), "{from} to {to}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 75 * 75, "{compared}");
    }

    #[test]
    fn an_empty_city_is_refused() {
        let empty = Map::new(vec![], vec![]).unwrap();
        assert_eq!(Matrix::new(&empty, &|| {}).unwrap_err(), MatrixError(0));
    }
}
