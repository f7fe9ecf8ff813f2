//! Where a trip went: positions as the driver's phone recorded them.

use crate::units::{Point, WallMs};
use serde::{Deserialize, Serialize};

/// The most points that a phone may send at once.
pub const PIECE_MAX: usize = 1_000;
/// How many points a trip keeps back, newest last, to put right what comes in disorder: a minute at
/// two a second, ten minutes at one in five seconds.
pub const WAITING_MAX: usize = 128;

/// One recorded position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailPoint {
    /// Where.
    pub point: Point,
    /// When, by the phone's clock.
    pub recorded_at: WallMs,
    /// How far off it may be, in metres; 0 where the phone does not say.
    pub accuracy_m: u16,
}

/// Some points of a trail, each stored as its difference to the one before: some seven bytes each
/// where a car is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailPiece(Vec<(i64, i64, i64, u16)>);

impl TrailPiece {
    /// Packs points in the order given.
    pub fn pack(points: &[TrailPoint]) -> Self {
        let mut last = (0_i64, 0_i64, 0_i64);
        let step = |at: &TrailPoint| {
            let (lat, lng) = at.point.to_e7();
            let ms = i64::try_from(at.recorded_at.0).unwrap_or(i64::MAX);
            let now = (i64::from(lat), i64::from(lng), ms);
            let step = (now.0 - last.0, now.1 - last.1, now.2 - last.2, at.accuracy_m);
            last = now;
            step
        };
        Self(points.iter().map(step).collect())
    }

    /// The points, as they were packed. Those that are not on the globe are left out: a piece comes
    /// from another node and is believed only so far.
    pub fn points(&self) -> Vec<TrailPoint> {
        let mut last = (0_i64, 0_i64, 0_i64);
        let back = |(lat, lng, ms, accuracy_m): &(i64, i64, i64, u16)| {
            last = (
                last.0.saturating_add(*lat),
                last.1.saturating_add(*lng),
                last.2.saturating_add(*ms),
            );
            let (lat, lng) = (i32::try_from(last.0).ok()?, i32::try_from(last.1).ok()?);
            let point = Point::from_e7(lat, lng).ok()?;
            let recorded_at = WallMs(u64::try_from(last.2).ok()?);
            Some(TrailPoint { point, recorded_at, accuracy_m: *accuracy_m })
        };
        self.0.iter().filter_map(back).collect()
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far a trip has come, from its trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// What is settled, in millimetres.
    pub settled_mm: u64,
    /// The point from which the next distance counts.
    pub anchor: Option<TrailPoint>,
    /// The time up to which all is settled; what was recorded before comes too late.
    pub settled_at: WallMs,
    /// Points not settled yet, by time, at most [`WAITING_MAX`].
    pub waiting: Vec<TrailPoint>,
    /// The last points that were too far away, as long as they agree with each other.
    pub astray: Vec<TrailPoint>,
    /// Points taken.
    pub taken: u32,
    /// Points that were here already, by the time they were recorded at.
    pub repeated: u32,
    /// Points that came when their time was settled.
    pub late: u32,
    /// Points that can't be true: too vague, or too far for the time.
    pub doubted: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_point() -> impl Strategy<Value = TrailPoint> {
        let place = (-900_000_000..=900_000_000_i32, -1_800_000_000..=1_800_000_000_i32);
        (place, 0..=u64::MAX / 2, any::<u16>()).prop_map(|((lat, lng), ms, accuracy_m)| {
            let point = Point::from_e7(lat, lng).expect("on the globe");
            TrailPoint { point, recorded_at: WallMs(ms), accuracy_m }
        })
    }

    proptest! {
        #[test]
        fn points_come_back_as_they_were_packed(
            points in prop::collection::vec(any_point(), 0..50),
        ) {
            let piece = TrailPiece::pack(&points);
            prop_assert_eq!(piece.points(), points);
        }
    }

    #[test]
    fn a_moving_car_takes_some_seven_bytes_a_point() {
        let at = |n: i32| TrailPoint {
            point: Point::from_e7(407_500_000 + n * 900, -739_800_000 - n * 400).unwrap(),
            recorded_at: WallMs(1_800_000_000_000 + 900 * u64::from(n.unsigned_abs())),
            accuracy_m: 5,
        };
        let points: Vec<_> = (0..100).map(at).collect();
        let bytes = crate::codec::encode(&TrailPiece::pack(&points)).len();
        assert!(bytes < 1_100, "{bytes}");
    }

    #[test]
    fn a_piece_that_leaves_the_globe_is_cut_not_believed() {
        let piece = TrailPiece(vec![(i64::MAX, 0, 0, 0), (1, 1, 1, 1)]);
        assert_eq!(piece.points(), []);
    }
}
