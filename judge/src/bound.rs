//! What no policy can beat where everybody is served and lateness costs: a lower bound on driving and
//! lateness together, so that a gain that is not there is not looked for.
//!
//! Every rider is fetched by a car that comes from its stand or from where an earlier rider got out, and
//! each of these places sends a car on once. Whoever comes from a rider's destination can't be there
//! before that rider asked, got in, rode and got out. So the cheapest way to give each rider a place to be
//! fetched from, each place used once, costs no more than any way in which cars could really go: it is
//! the bound. It knows all requests from the beginning, and lets cars go in circles.

use crate::city::Request;
use crate::street::DWELL_MS;
use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix as Grid;
use roads::Matrix;

/// Riders and cars at most: their table takes 8 bytes for each pair of a rider and a place, 160 MB.
pub const RIDERS_MAX: usize = 3_000;
/// See [`RIDERS_MAX`].
pub const CARS_MAX: usize = 3_700;
/// How often each minute of a late pickup counts: the rider gets out late, too.
pub const LATE_TWICE: u64 = 2;

/// Driving, and twice the lateness of pickups, that can't be avoided, in minutes; nothing if there are
/// more riders or cars than a table holds, or fewer places than riders.
pub fn least_min(
    roads: &Matrix,
    requests: &[Request],
    stands: &[u32],
    soft_ms: u64,
) -> Option<f64> {
    if requests.is_empty() || requests.len() > RIDERS_MAX || stands.len() > CARS_MAX {
        return None;
    }
    let ride_ms = |request: &Request| u64::from(roads.ms(request.from, request.to));
    let over = |request: &Request| request.at_ms + 2 * DWELL_MS + ride_ms(request);
    let places: Vec<(u64, u32)> = stands
        .iter()
        .map(|stand| (0, *stand))
        .chain(requests.iter().map(|request| (over(request), request.to)))
        .collect();
    let cost_ms = |rider: &Request, (ready_ms, place): (u64, u32)| {
        let drive_ms = u64::from(roads.ms(place, rider.from));
        let late_ms = (ready_ms + drive_ms).saturating_sub(rider.at_ms + soft_ms);
        i64::try_from(drive_ms + LATE_TWICE * late_ms).unwrap_or(i64::MAX)
    };
    let costs = requests.iter().flat_map(|rider| places.iter().map(|place| cost_ms(rider, *place)));
    let weights = Grid::from_vec(requests.len(), places.len(), costs.collect()).ok()?;
    let (least_ms, _) = kuhn_munkres_min(&weights);
    let ridden_ms: u64 = requests.iter().map(ride_ms).sum();
    Some((least_ms as f64 + ridden_ms as f64) / 60_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::city::{Plan, town};
    use crate::draws::{Draws, Realism};
    use crate::reference::{self, Reference, Rule};
    use crate::score::Score;
    use crate::street::Street;
    use proto::units::Clock;
    use proto::{MonoMs, WallMs};

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn mono(&self) -> MonoMs {
            MonoMs(0)
        }
        fn wall(&self) -> WallMs {
            WallMs(0)
        }
    }

    const EVER_MS: u64 = 36_000_000;

    #[test]
    fn nobody_who_serves_all_is_below_the_bound_and_a_lone_ride_meets_it() {
        let town = town(Plan { side: 8, requests: 60, ..Plan::TOWN }, &|| {}).unwrap();
        let soft_ms = 60_000;
        for (riders, cars) in [(1, 1), (60, 5), (60, 20), (60, 60)] {
            let (stands, requests) = (town.fleet(cars, 3), &town.requests[..riders]);
            let least_min = least_min(&town.network, requests, &stands, soft_ms).unwrap();
            for rule in [Rule::Fifo, Rule::Batch(10_000), Rule::Batch(60_000)] {
                let mut street = Street::new(&town.network, requests, &stands);
                let policy = Reference { rule, cap_ms: EVER_MS };
                let draws = Draws { seed: 1, realism: Realism::NONE };
                reference::run(&mut street, policy, EVER_MS, draws, &Still);
                let score = Score::of(&street, EVER_MS, Some(soft_ms), Vec::new());
                assert!((score.share - 1.0).abs() < 1e-9, "all are served");
                let over_min = score.cost_min - least_min;
                assert!(over_min >= -1e-6, "{rule:?}: {over_min} minutes below the bound");
                assert!(riders > 1 || over_min < 1e-6, "{rule:?}: one ride costs what it must");
            }
        }
    }
}
