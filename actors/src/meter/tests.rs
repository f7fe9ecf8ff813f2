use super::*;
use proptest::prelude::*;

fn at(lat: f64, lng: f64, ms: u64) -> TrailPoint {
    let point = Point::from_degrees(lat, lng).unwrap();
    TrailPoint { point, recorded_at: WallMs(ms), accuracy_m: 5 }
}

/// A car that goes north-east for `n` seconds, some 14 m each.
fn drive(n: u32) -> Vec<TrailPoint> {
    (0..n)
        .map(|s| {
            let way = f64::from(s) * 1e-4;
            at(40.75 + way, -73.98 + way, 1_000 + 1_000 * u64::from(s))
        })
        .collect()
}

fn measured(points: &[TrailPoint]) -> (u64, Meter) {
    let mut meter = Meter::default();
    for point in points {
        add(&mut meter, *point);
    }
    (finish(&mut meter), meter)
}

/// The same by the great circle, in floats, of points in order.
fn great_circle_m(points: &[TrailPoint]) -> f64 {
    points.windows(2).map(|two| f64::from(crate::geo::distance_m(two[0].point, two[1].point))).sum()
}

#[test]
fn a_straight_drive_is_as_long_as_on_the_globe() {
    let points = drive(600);
    let (mm, meter) = measured(&points);
    let oracle_m = great_circle_m(&[points[0], points[599]]);
    #[expect(clippy::cast_precision_loss, reason = "a test's distance is small")]
    let off = (mm as f64 / 1_000.0 / oracle_m - 1.0).abs();
    assert!(off < 0.001, "{mm} mm, {oracle_m} m");
    assert_eq!((meter.taken, meter.repeated, meter.late, meter.doubted), (600, 0, 0, 0));
}

#[test]
fn a_car_that_waits_does_not_move() {
    let wander = |s: u32| {
        let north = if s.is_multiple_of(2) { 0.000_05 } else { 0.0 }; // 5.6 m to and fro
        at(40.75 + north, -73.98, 1_000 * u64::from(s + 1))
    };
    let points: Vec<_> = (0..300).map(wander).collect();
    assert_eq!(measured(&points).0, 0);
}

#[test]
fn a_jump_is_doubted_and_the_way_goes_on() {
    let mut points = drive(100);
    points[50] = at(41.0, -73.98, points[50].recorded_at.0); // 28 km away for a second
    points[60].accuracy_m = 500;
    let (mm, meter) = measured(&points);
    let whole = measured(&drive(100)).0;
    assert!(mm.abs_diff(whole) < 1_000, "{mm} {whole}");
    assert_eq!(meter.doubted, 2);
}

#[test]
fn a_stale_first_fix_is_left_behind_and_costs_nothing() {
    let mut points = drive(100);
    points[0] = at(40.9, -73.98, points[0].recorded_at.0); // where he was an hour ago
    let (mm, meter) = measured(&points);
    let whole = measured(&drive(100)).0;
    assert!(mm <= whole && whole - mm < 100_000, "{mm} {whole}");
    assert_eq!(meter.doubted, 3);
}

#[test]
fn a_long_wait_does_not_make_a_jump_believable() {
    let mut points: Vec<_> = (0..600).map(|s| at(40.75, -73.98, 1_000 * (s + 1))).collect();
    points.push(at(40.88, -73.98, 601_000)); // 14 km away, a second later
    points.extend((602..620).map(|s| at(40.75, -73.98, 1_000 * s)));
    assert_eq!(measured(&points).0, 0);
}

#[test]
fn over_the_antimeridian_the_short_way_counts() {
    let step = distance_mm(
        Point::from_degrees(0.0, 179.9999).unwrap(),
        Point::from_degrees(0.0, -179.9999).unwrap(),
    );
    assert_eq!(step, 22_239);
}

#[test]
fn what_comes_after_its_time_was_settled_is_late() {
    let mut meter = Meter::default();
    for point in drive(u32::try_from(WAITING_MAX).unwrap() + 10) {
        add(&mut meter, point);
    }
    add(&mut meter, at(40.75, -73.98, 1_500));
    assert_eq!((meter.late, meter.waiting.len()), (1, WAITING_MAX));
}

proptest! {
    /// Whatever comes twice, and in whatever order within what is kept back: the same distance.
    #[test]
    fn order_and_repeats_do_not_matter(
        n in 2..200_u32,
        swaps in prop::collection::vec((0..200_usize, 1..40_usize), 0..200),
        twice in prop::collection::vec(0..200_usize, 0..20),
    ) {
        let sorted = drive(n);
        let mut sent = sorted.clone();
        // Each swap moves points by a bounded distance, and no point twice.
        let mut moved = vec![false; sent.len()];
        for (a, by) in swaps {
            let (a, b) = (a % sent.len(), (a + by) % sent.len());
            if a.abs_diff(b) < 30 && !moved[a] && !moved[b] {
                sent.swap(a, b);
                (moved[a], moved[b]) = (true, true);
            }
        }
        for index in twice {
            let index = index % sent.len();
            sent.insert(index, sent[index]);
        }
        prop_assert_eq!(measured(&sent).0, measured(&sorted).0);
    }

    /// A step in integers against the great circle.
    #[test]
    fn a_step_is_as_long_as_on_the_globe(
        lat in -70.0..70.0_f64, lng in -179.0..179.0_f64,
        north in -0.009..0.009_f64, east in -0.009..0.009_f64,
    ) {
        let (a, b) = (at(lat, lng, 0).point, at(lat + north, lng + east, 0).point);
        let oracle_m = f64::from(crate::geo::distance_m(a, b));
        #[expect(clippy::cast_precision_loss, reason = "a kilometre in millimetres")]
        let mine_m = distance_mm(a, b) as f64 / 1_000.0;
        prop_assert!((mine_m - oracle_m).abs() <= 0.6 + oracle_m * 1e-4, "{mine_m} {oracle_m}");
    }
}
