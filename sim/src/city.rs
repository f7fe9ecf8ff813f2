//! A city as plain values: who asks for a ride when and where, where the cars stand at the start,
//! and how long it takes to drive. It comes from a seed ([`crate::synthetic`]) or from files
//! (`roads::demand`).

use crate::dice::Dice;
use crate::drives::Ways;
use crate::pace::CityMs;
use h3o::{CellIndex, LatLng, Resolution};
use proto::units::Point;
use roads::demand::{Published, Ride};
use std::collections::BTreeMap;

/// One rider's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When he asks.
    pub at: CityMs,
    /// From.
    pub pickup: Point,
    /// To.
    pub dropoff: Point,
}

impl From<Ride> for Request {
    fn from(Ride { at_ms, pickup, dropoff }: Ride) -> Self {
        Self { at: CityMs(at_ms), pickup, dropoff }
    }
}

/// All there is to know before the first car moves.
#[derive(Debug, Clone)]
pub struct City {
    /// For people.
    pub name: String,
    /// In order of time.
    pub requests: Vec<Request>,
    /// Where each car stands at the start.
    pub fleet: Vec<Point>,
    /// How cars get about.
    pub roads: Ways,
    /// What others reached with this demand; may be empty.
    pub references: Vec<Published>,
}

/// A cell with more than this share of all pickups is split, in percent: with three nodes, one
/// cell above a fifth makes its owner the slowest.
pub const SPLIT_ABOVE_PCT: usize = 20;

impl City {
    /// Keeps a seeded sample of `cars` cars and `requests` requests.
    pub fn sample(&mut self, cars: Option<usize>, requests: Option<usize>, seed: u64) {
        if let Some(n) = cars {
            let chosen = Dice::of(seed, "fleet").sample(self.fleet.len(), n);
            self.fleet = chosen.into_iter().map(|i| self.fleet[i]).collect();
        }
        if let Some(n) = requests {
            let chosen = Dice::of(seed, "demand").sample(self.requests.len(), n);
            self.requests = chosen.into_iter().map(|i| self.requests[i]).collect();
        }
    }

    /// Drops what is asked for after `end`.
    pub fn close_at(&mut self, end: CityMs) {
        self.requests.retain(|request| request.at < end);
    }

    /// When the last rider asks.
    pub fn last_request(&self) -> CityMs {
        self.requests.iter().map(|request| request.at).max().unwrap_or_default()
    }

    /// The r6 cells in which so many rides start that one owner should not carry them alone.
    pub fn busy_cells(&self) -> Vec<CellIndex> {
        let mut pickups: BTreeMap<CellIndex, usize> = BTreeMap::new();
        for request in &self.requests {
            if let Ok(place) = LatLng::new(request.pickup.lat(), request.pickup.lng()) {
                *pickups.entry(place.to_cell(Resolution::Six)).or_default() += 1;
            }
        }
        let floor = self.requests.len() * SPLIT_ABOVE_PCT / 100;
        pickups.into_iter().filter(|(_, n)| *n > floor).map(|(cell, _)| cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn city(pickups: &[(f64, f64)]) -> City {
        let requests = pickups
            .iter()
            .zip(0..)
            .map(|((lat, lng), i)| {
                let pickup = Point::from_degrees(*lat, *lng).unwrap();
                Request { at: CityMs(i * 1000), pickup, dropoff: pickup }
            })
            .collect();
        let fleet = pickups.iter().map(|(a, b)| Point::from_degrees(*a, *b).unwrap()).collect();
        City {
            name: "t".into(),
            requests,
            fleet,
            roads: Ways::straight(5.0, 1.3),
            references: vec![],
        }
    }

    #[test]
    fn only_a_cell_with_more_than_a_fifth_of_the_pickups_is_split() {
        let mut pickups = vec![(40.75, -73.98); 7];
        pickups.extend([(41.5, -73.0), (42.0, -72.0), (42.5, -71.0)]);
        let split = city(&pickups).busy_cells();
        assert_eq!(split.len(), 1);
        assert_eq!(split[0].resolution(), Resolution::Six);
    }

    #[test]
    fn a_sample_keeps_the_order_of_time_and_depends_on_the_seed_alone() {
        let pickups: Vec<_> = (0..50).map(|i| (40.0 + f64::from(i) / 100.0, -73.0)).collect();
        let sampled = |seed| {
            let mut city = city(&pickups);
            city.sample(Some(10), Some(20), seed);
            (city.fleet, city.requests)
        };
        let (fleet, requests) = sampled(1);
        assert_eq!((fleet.len(), requests.len()), (10, 20));
        assert!(requests.is_sorted_by_key(|request| request.at));
        assert_eq!(sampled(1), (fleet.clone(), requests));
        assert_ne!(sampled(2).0, fleet);
    }
}
