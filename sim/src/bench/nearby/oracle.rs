//! What a look at every car gives, to compare answers with.

use super::super::traffic::Car;
use h3o::LatLng;
use proto::Point;
use proto::edge::Spotted;
use std::collections::BTreeMap;

/// Two ways to compute a distance on the globe, and two roundings, differ by no more, in metres.
const SLACK_M: f64 = 2.0;
/// A degree of latitude, in metres, a little less than it is: what is farther north or south than
/// this says is too far.
const DEGREE_M_MIN: f64 = 110_000.0;

/// A search and its answer.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) center: Point,
    pub(super) drivers: Vec<Spotted>,
}

fn distance_m(a: Point, b: Point) -> f64 {
    let at = |point: Point| LatLng::new(point.lat(), point.lng()).ok();
    at(a).zip(at(b)).map_or(f64::INFINITY, |(a, b)| a.distance_m(b))
}

/// How many answers are not the nearest cars.
pub(super) fn wrong(answers: &[Answered], cars: &[Car], radius_m: u32, nearest: usize) -> usize {
    let places: BTreeMap<_, Point> = cars.iter().map(|car| (car.driver, car.point())).collect();
    let right = |answered: &&Answered| {
        let true_places = answered.drivers.iter().all(|one| {
            let stated = f64::from(one.distance_m);
            places.get(&one.driver) == Some(&one.point)
                && (distance_m(answered.center, one.point) - stated).abs() <= SLACK_M
        });
        true_places && is_nearest(answered, cars, f64::from(radius_m), nearest)
    };
    answers.iter().filter(|answered| !right(answered)).count()
}

fn is_nearest(answered: &Answered, cars: &[Car], radius_m: f64, nearest: usize) -> bool {
    let Answered { center, drivers } = answered;
    let reach_deg = (radius_m + SLACK_M) / DEGREE_M_MIN;
    let close = cars.iter().filter(|car| (car.point().lat() - center.lat()).abs() <= reach_deg);
    let mut all: Vec<f64> = close.map(|car| distance_m(*center, car.point())).collect();
    all.retain(|distance| *distance <= radius_m + SLACK_M);
    all.sort_unstable_by(f64::total_cmp);
    // Who stands on the very border may be in or out.
    let surely = all.iter().filter(|distance| **distance <= radius_m - SLACK_M).count();
    let count = drivers.len();
    if count > nearest || count < surely.min(nearest) || count > all.len() {
        return false;
    }
    let stated = drivers.iter().map(|one| f64::from(one.distance_m));
    stated.zip(&all).all(|(stated, truth)| (stated - truth).abs() <= SLACK_M)
}

#[cfg(test)]
mod tests {
    use super::super::super::traffic::Flock;
    use super::*;
    use crate::whole::whole32;
    use proto::record::driver::DriverStatus;
    use proto::{DriverId, WallMs};

    #[test]
    fn the_nearest_are_right_and_whatever_else_is_wrong() {
        let drivers: Vec<DriverId> = (0..2_000).map(DriverId::from_raw).collect();
        let cars = Flock::spread(&drivers, 1, 0, 1).remove(0).cars().to_vec();
        let center = cars[7].point();
        let mut all: Vec<Spotted> = cars
            .iter()
            .map(|car| Spotted {
                driver: car.driver,
                point: car.point(),
                distance_m: whole32(distance_m(center, car.point())),
                at: WallMs(1),
                status: DriverStatus::Free,
                kind: None,
            })
            .collect();
        all.sort_by_key(|one| one.distance_m);
        let answered = |drivers: &[Spotted]| [Answered { center, drivers: drivers.to_vec() }];
        let check = |drivers: &[Spotted]| wrong(&answered(drivers), &cars, 5_000, 20);
        assert_eq!(all[0].distance_m, 0);
        assert_eq!(check(&all[..20]), 0);
        assert_eq!(check(&all[..19]), 1, "one is missing");
        assert_eq!(check(&all[1..21]), 1, "the nearest is missing");
        assert_eq!(check(&all[..21]), 1, "one too many");
        let mut elsewhere = all[..20].to_vec();
        elsewhere[3].point = all[500].point;
        assert_eq!(check(&elsewhere), 1, "one is said to be where he is not");
    }
}
