//! How long drives take on the roads of a file; where it has none nearby, in a straight line.

mod learn;

use crate::config::Config;
use actors::geo::Drive;
use actors::policy::Policy;
use actors::runtime::eta::{Eta, StraightLine};
use learn::{Beat, Learner};
use proto::Point;
use proto::record::trail::TrailPiece;
use roads::{FileError, Roads, Snap};
use std::sync::Arc;

/// Why nobody knows how long drives take.
#[derive(Debug, thiserror::Error)]
pub enum EtaError {
    /// The streets can't be read.
    #[error("--roads: {0}")]
    File(#[from] FileError),
    /// There is no thread to learn in.
    #[error("--roads-learn: no thread for it: {0}")]
    Thread(#[from] std::io::Error),
}

/// What the configuration says drives are estimated by.
pub(crate) fn of(config: &Config) -> Result<Arc<dyn Eta>, EtaError> {
    let Some((path, settings)) = &config.roads else { return Ok(Arc::new(StraightLine)) };
    let roads = Arc::new(Roads::open(path, settings)?);
    tracing::info!(source = roads.source(), "drives are estimated by road");
    let learner = config.roads_learn.then(|| Learner::start(Arc::clone(&roads), Beat::USUAL));
    Ok(Arc::new(OnRoads { roads, learner: learner.transpose()? }))
}

struct OnRoads {
    roads: Arc<Roads>,
    learner: Option<Learner>,
}

impl Eta for OnRoads {
    fn to_one(&self, policy: &Policy, from: &[Point], to: Point) -> Vec<u64> {
        let mut answers = StraightLine.to_one(policy, from, to);
        if from.is_empty() {
            return answers; // where cars are scarce most searches end so
        }
        let Ok(to) = self.roads.snap(to) else { return answers };
        let snapped = from.iter().map(|place| self.roads.snap(*place).ok());
        let (places, on): (Vec<usize>, Vec<Snap>) =
            snapped.enumerate().filter_map(|(place, snap)| Some((place, snap?))).unzip();
        for (place, ms) in places.into_iter().zip(self.roads.many_to_one(&on, &to)) {
            answers[place] = ms;
        }
        answers
    }

    fn drive(&self, policy: &Policy, from: Point, to: Point) -> Drive {
        match self.roads.route(from, to) {
            Ok(route) => Drive { ms: route.duration_ms(), road_m: route.whole_m() },
            Err(_) => StraightLine.drive(policy, from, to),
        }
    }

    fn driven(&self, trail: &TrailPiece) {
        if let Some(learner) = &self.learner {
            learner.take(&trail.points());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::WallMs;
    use proto::record::trail::TrailPoint;
    use roads::{Plan, Settings, build};
    use std::time::Duration;

    /// The roads of the invented town of the crate `roads`, whose map has a plan of it.
    fn town(beat: Option<Beat>) -> OnRoads {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../roads/tests/town.osm");
        let plan = Plan { sources: vec![source.into()], left_hand: false };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("town.roads");
        build(&plan, &file, &indicatif::ProgressBar::hidden()).unwrap();
        let roads = Arc::new(Roads::open(&file, &Settings::default()).unwrap());
        let learner = beat.map(|beat| Learner::start(Arc::clone(&roads), beat).unwrap());
        OnRoads { roads, learner }
    }

    fn xy(x: f64, y: f64) -> Point {
        Point::from_degrees(41.0 + y / 1e3, -8.0 + x / 1e3).unwrap()
    }

    #[test]
    fn drives_go_by_road_and_straight_where_there_is_none() {
        let (town, policy) = (town(None), Policy::default());
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

    #[test]
    fn what_phones_recorded_changes_how_long_drives_take_if_that_is_wanted() {
        let policy = Policy::default();
        let (a, b) = (xy(0.5, 3.0), xy(3.5, 3.0));
        let slow = |built_ms: u64| {
            let fix = |point, ms| TrailPoint { point, recorded_at: WallMs(ms), accuracy_m: 5 };
            TrailPiece::pack(&[fix(a, 1_000_000), fix(b, 1_000_000 + built_ms * 2)])
        };
        let deaf = town(None);
        let built_ms = deaf.drive(&policy, a, b).ms;
        deaf.driven(&slow(built_ms));
        assert_eq!(deaf.drive(&policy, a, b).ms, built_ms);
        let quick = Beat { hops: 50, quiet: Duration::from_millis(20) };
        let learning = town(Some(quick));
        let doubled = (0..500).any(|_| {
            learning.driven(&slow(built_ms));
            std::thread::sleep(Duration::from_millis(10));
            learning.drive(&policy, a, b).ms > built_ms * 18 / 10
        });
        assert!(doubled, "{built_ms} ms, and now {}", learning.drive(&policy, a, b).ms);
    }
}
