//! A city as plain values: its roads, who asks for a ride when and where, and where cars stand.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use roads::{Map, Matrix, MatrixError, NEVER};

/// One rider's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When he asks, in milliseconds since the first one.
    pub at_ms: u64,
    /// The junction he starts from.
    pub from: u32,
    /// The junction he goes to.
    pub to: u32,
}

/// All that the policies are compared on.
#[derive(Debug)]
pub struct City {
    /// For people.
    pub name: String,
    /// In order of time.
    pub requests: Vec<Request>,
    /// Where cars may stand at the beginning; a run draws its fleet from these.
    pub stands: Vec<u32>,
    /// Its roads.
    pub network: Matrix,
}

impl City {
    /// `cars` of the stands, by a seed; all of them if there are no more.
    pub fn fleet(&self, cars: usize, seed: u64) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n = self.stands.len();
        let drawn = rand::seq::index::sample(&mut rng, n, cars.min(n)).into_iter();
        drawn.map(|i| self.stands[i]).collect()
    }

    /// Every `n`th request and stand, counted so that `offset` shifts which: how the published runs
    /// made three smaller cities of one.
    pub fn every(&self, n: usize, offset: usize) -> (Vec<Request>, Vec<u32>) {
        let keep = |i: &usize| (i + offset).is_multiple_of(n);
        let requests = (0..self.requests.len()).filter(keep).map(|i| self.requests[i]);
        let stands = (0..self.stands.len()).filter(keep).map(|i| self.stands[i]);
        (requests.collect(), stands.collect())
    }
}

/// What an invented town is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Everything left to chance comes from here.
    pub seed: u64,
    /// Junctions along each side of its grid.
    pub side: u32,
    /// Requests.
    pub requests: usize,
    /// They fall evenly at random into so much time, in milliseconds.
    pub window_ms: u64,
    /// Places where a car may stand at the beginning.
    pub stands: usize,
}

impl Plan {
    /// A town of some 5 km, in which 330 cars are busy nine tenths of the time.
    pub const TOWN: Self =
        Self { seed: 1, side: 24, requests: 1_500, window_ms: 3_600_000, stands: 600 };
}

/// Builds the town of a plan: the grid of [`Map::invented`], and demand that comes half from one busy
/// quarter, as an evening's does.
pub fn town(plan: Plan, step: &(dyn Fn() + Sync)) -> Result<City, MatrixError> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let side = plan.side.max(2);
    let network = Matrix::new(&Map::invented(side, &mut rng), step)?;
    let anywhere = |rng: &mut ChaCha8Rng| rng.random_range(0..side * side);
    let busy = |rng: &mut ChaCha8Rng| {
        let (row, column) = (rng.random_range(0..=side / 3), rng.random_range(0..=side / 3));
        row * side + column
    };
    let mut requests: Vec<Request> = (0..plan.requests)
        .map(|_| {
            let at_ms = rng.random_range(0..plan.window_ms.max(1));
            let from = if rng.random() { busy(&mut rng) } else { anywhere(&mut rng) };
            Request { at_ms, from, to: anywhere(&mut rng) }
        })
        .collect();
    requests.retain(|it| network.ms(it.from, it.to) < NEVER && it.from != it.to);
    requests.sort_by_key(|request| (request.at_ms, request.from, request.to));
    let stands = (0..plan.stands).map(|_| anywhere(&mut rng)).collect();
    let name = format!("invented town, seed {}", plan.seed);
    Ok(City { name, requests, stands, network })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_builds_the_same_town_and_draws_the_same_fleet() {
        let plan = Plan { side: 8, requests: 50, ..Plan::TOWN };
        let (one, two) = (town(plan, &|| {}).unwrap(), town(plan, &|| {}).unwrap());
        assert_eq!((&one.requests, &one.stands), (&two.requests, &two.stands));
        assert_eq!(one.fleet(20, 3), two.fleet(20, 3));
        assert_ne!(one.fleet(20, 3), two.fleet(20, 4));
        assert!(one.requests.is_sorted_by_key(|it| it.at_ms) && one.requests.len() > 40);
    }

    #[test]
    fn the_parts_of_a_city_are_disjoint_and_all_of_it() {
        let town = town(Plan { side: 6, requests: 20, ..Plan::TOWN }, &|| {}).unwrap();
        let parts: usize = (0..3).map(|offset| town.every(3, offset).0.len()).sum();
        assert_eq!(parts, town.requests.len());
        assert_eq!(town.every(5, 1).0[0], town.requests[4]);
    }
}
