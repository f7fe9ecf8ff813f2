//! How long drives take on the roads of a file; where it has none nearby, in a straight line.

use crate::config::Config;
use actors::geo::Drive;
use actors::policy::Policy;
use actors::runtime::eta::{Eta, StraightLine};
use proto::Point;
use roads::{FileError, Roads, Snap};
use std::sync::Arc;

/// What the configuration says drives are estimated by.
pub(crate) fn of(config: &Config) -> Result<Arc<dyn Eta>, FileError> {
    let Some((path, settings)) = &config.roads else { return Ok(Arc::new(StraightLine)) };
    let roads = Roads::open(path, settings)?;
    tracing::info!(source = roads.source(), "drives are estimated by road");
    Ok(Arc::new(OnRoads(roads)))
}

struct OnRoads(Roads);

impl Eta for OnRoads {
    fn to_one(&self, policy: &Policy, from: &[Point], to: Point) -> Vec<u64> {
        let mut answers = StraightLine.to_one(policy, from, to);
        let Ok(to) = self.0.snap(to) else { return answers };
        let snapped = from.iter().map(|place| self.0.snap(*place).ok());
        let (places, on): (Vec<usize>, Vec<Snap>) =
            snapped.enumerate().filter_map(|(place, snap)| Some((place, snap?))).unzip();
        for (place, ms) in places.into_iter().zip(self.0.many_to_one(&on, &to)) {
            answers[place] = ms;
        }
        answers
    }

    fn drive(&self, policy: &Policy, from: Point, to: Point) -> Drive {
        match self.0.route(from, to) {
            Ok(route) => Drive { ms: route.duration_ms(), road_m: route.whole_m() },
            Err(_) => StraightLine.drive(policy, from, to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roads::{Plan, Settings, build};

    /// The roads of the invented town of the crate `roads`, whose map has a plan of it.
    fn town() -> OnRoads {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../roads/tests/town.osm");
        let plan = Plan { sources: vec![source.into()], left_hand: false };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("town.roads");
        build(&plan, &file, &indicatif::ProgressBar::hidden()).unwrap();
        OnRoads(Roads::open(&file, &Settings::default()).unwrap())
    }

    #[test]
    fn drives_go_by_road_and_straight_where_there_is_none() {
        let xy = |x: f64, y: f64| Point::from_degrees(41.0 + y / 1e3, -8.0 + x / 1e3).unwrap();
        let (town, policy) = (town(), Policy::default());
        // One-way to the east: the second car has to drive round.
        let (goal, near, passed, astray) =
            (xy(1.5, 0.0), xy(0.5, 0.0), xy(2.5, 0.0), xy(40.0, 0.0));
        let times = town.to_one(&policy, &[near, astray, passed], goal);
        let straight = StraightLine.to_one(&policy, &[near, astray, passed], goal);
        assert_eq!(times[1], straight[1]);
        assert!(times[0] < times[2] / 3, "{times:?}");
        assert_eq!(
            town.to_one(&policy, &[near], astray),
            StraightLine.to_one(&policy, &[near], astray)
        );
        let drive = town.drive(&policy, passed, goal);
        assert_eq!(drive.ms, times[2]);
        assert!((460..490).contains(&drive.road_m), "three sides of two blocks: {drive:?}");
        assert_eq!(town.drive(&policy, near, astray), StraightLine.drive(&policy, near, astray));
    }
}
