//! A city as plain values: its roads, who asks for a ride when and where, and where cars stand.

use crate::network::{Eta, NEVER, Network, NetworkError, Road};
use proto::Point;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

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
    pub network: Network,
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

/// The distance of neighbours in the grid, in metres.
const BLOCK_M: u32 = 200;
/// One metre north in 1e-7 degrees.
const E7_PER_M: f64 = 89.93;

/// Builds the town of a plan: a grid of streets with speeds of 12 to 30 km/h, one in three a one-way
/// street, and demand that comes half from one busy quarter, as an evening's does.
pub fn town(plan: Plan, step: &(dyn Fn() + Sync)) -> Result<City, NetworkError> {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let side = plan.side.max(2);
    #[expect(clippy::cast_possible_truncation, reason = "a town of some kilometres")]
    let e7 = |blocks: u32| (f64::from(blocks * BLOCK_M) * E7_PER_M) as i32;
    let place = |i: u32| Point::from_e7(e7(i / side), e7(i % side)).expect("near the equator");
    let mut roads = Vec::new();
    let mut street = |from: u32, to: u32, rng: &mut ChaCha8Rng| {
        let (metres, ms) = (BLOCK_M, rng.random_range(24_000..60_000));
        let one_way = rng.random_range(0..3) == 0
            && !(from / side).is_multiple_of(5)
            && !(from % side).is_multiple_of(5);
        // One-way streets alternate, so that every junction can be left and reached.
        let back = if from.is_multiple_of(2) { (to, from) } else { (from, to) };
        if one_way {
            roads.push(Road { from: back.0, to: back.1, metres, ms });
        } else {
            roads.push(Road { from, to, metres, ms });
            roads.push(Road { from: to, to: from, metres, ms });
        }
    };
    for i in 0..side * side {
        if i % side + 1 < side {
            street(i, i + 1, &mut rng);
        }
        if i / side + 1 < side {
            street(i, i + side, &mut rng);
        }
    }
    let network = Network::new((0..side * side).map(place).collect(), &roads, step)?;
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
