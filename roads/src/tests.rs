//! The crate as a whole, on an invented town (`tests/town.osm`, with a map of it), and on Porto where
//! `HANSOM_DATA` says where the data are.

use crate::build::{BuildError, Plan, build, network};
use crate::file::{FileError, load, save};
use crate::hierarchy::Direction;
use crate::places::Places;
use crate::roads::{OFF_ROAD_MAX_M, Roads, Settings};
use crate::{Map, Report, Road, SnapError, Unusable, law::Closed, metres};
use indicatif::ProgressBar;
use proto::Point;
use std::path::PathBuf;

fn town() -> (Roads, Report) {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/town.osm");
    let plan = Plan { sources: vec![source], left_hand: false };
    let (network, report) = network(&plan, &ProgressBar::hidden()).unwrap();
    (Roads::new(network, &Settings::default()), report)
}

/// The place so many columns east and rows north of the town's first junction.
fn xy(x: f64, y: f64) -> Point {
    Point::from_degrees(41.0 + y / 1e3, -8.0 + x / 1e3).unwrap()
}

/// The corners of a drive, in columns and rows.
fn corners(roads: &Roads, from: (f64, f64), to: (f64, f64)) -> Vec<(f64, f64)> {
    let route = roads.route(xy(from.0, from.1), xy(to.0, to.1)).unwrap();
    let tenth = |degrees: f64| (degrees * 1e4).round() / 10.0;
    let mut corners: Vec<_> =
        route.stops.iter().map(|(_, at)| (tenth(at.lng() + 8.0), tenth(at.lat() - 41.0))).collect();
    corners.dedup();
    assert!(route.stops.is_sorted_by_key(|stop| stop.0));
    assert_eq!(route.duration_ms(), roads.eta_ms(xy(from.0, from.1), xy(to.0, to.1)).unwrap());
    corners
}

#[test]
fn what_is_read_and_dropped_is_counted() {
    let (_, report) = town();
    let read = &report.read;
    let closed: Vec<_> = read.closed.iter().map(|(why, count)| (*why, *count)).collect();
    assert_eq!(closed, [(Closed::NotForCars, 1), (Closed::Ferry, 1), (Closed::NoAccess, 1)]);
    assert_eq!((read.barriers, read.signals), (1, 1));
    let r = &read.restrictions;
    assert_eq!((r.read, r.effective, r.through_ways), (10, 3, 1));
    assert_eq!((r.already_impossible, r.not_streets, r.ambiguous), (2, 1, 0));
    assert_eq!((r.other_vehicles, r.at_times, r.malformed), (2, 1, 1));
    // Dropped: the island, the one-way end, and the way north from the corner in the south-west,
    // which is reached only by turning about where one can go on.
    assert_eq!((report.streets, report.edges, report.edges_dropped), (44, 81, 4));
    assert_eq!(report.states, 82, "one edge more, amid the restriction through a way");
}

#[test]
fn a_forbidden_left_turn_is_driven_round_and_not_turned_about_behind() {
    let (roads, _) = town();
    let round = [(1.5, 1.0), (1.0, 1.0), (1.0, 2.0), (2.0, 2.0), (2.0, 1.5)];
    assert_eq!(corners(&roads, (1.5, 1.0), (2.0, 1.5)), round);
    assert_eq!(corners(&roads, (2.0, 1.5), (1.5, 1.0)), [(2.0, 1.5), (2.0, 1.0), (1.5, 1.0)]);
}

#[test]
fn only_straight_on_means_that_and_only_for_whom_it_stands() {
    let (roads, _) = town();
    let round = [(2.5, 2.0), (2.0, 2.0), (2.0, 3.0), (3.0, 3.0), (3.0, 2.5)];
    assert_eq!(corners(&roads, (2.5, 2.0), (3.0, 2.5)), round);
    assert_eq!(corners(&roads, (3.0, 1.5), (3.0, 2.5)), [(3.0, 1.5), (3.0, 2.0), (3.0, 2.5)]);
}

#[test]
fn a_restriction_through_a_way_binds_those_who_came_that_way() {
    let (roads, _) = town();
    let round = [(4.0, 0.8), (4.0, 0.0), (5.0, 0.0), (5.0, 0.8)];
    assert_eq!(corners(&roads, (4.0, 0.8), (5.0, 0.8)), round);
    let others = [(3.5, 1.0), (4.0, 1.0), (5.0, 1.0), (5.0, 0.8)];
    assert_eq!(corners(&roads, (3.5, 1.0), (5.0, 0.8)), others);
}

#[test]
fn one_ways_roundabouts_and_bollards_are_respected() {
    let (roads, _) = town();
    let back = [(2.5, 0.0), (3.0, 0.0), (3.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 0.0), (1.5, 0.0)];
    assert_eq!(corners(&roads, (2.5, 0.0), (1.5, 0.0)), back);
    let east = [(-2.0, 1.0), (-1.6, 1.0), (-1.3, 1.3), (-1.0, 1.0), (-0.5, 1.0)];
    assert_eq!(corners(&roads, (-2.0, 1.0), (-0.5, 1.0)), east);
    let west = [(-0.5, 1.0), (-1.0, 1.0), (-1.3, 0.7), (-1.6, 1.0), (-2.0, 1.0)];
    assert_eq!(corners(&roads, (-0.5, 1.0), (-2.0, 1.0)), west);
    assert!(!corners(&roads, (0.0, 2.2), (0.0, 2.8)).contains(&(0.0, 2.5)));
}

#[test]
fn a_one_way_street_is_left_and_entered_again_to_get_back_on_it() {
    let (roads, _) = town();
    let (ahead, behind) = (xy(1.7, 0.0), xy(1.3, 0.0));
    let onward_ms = roads.eta_ms(behind, ahead).unwrap();
    let round_ms = roads.eta_ms(ahead, behind).unwrap();
    assert!(round_ms > 8 * onward_ms, "{onward_ms} ms on, {round_ms} ms round");
}

#[test]
fn a_place_off_the_roads_is_refused_and_says_how_far_it_is() {
    let (roads, _) = town();
    let error = roads.snap(xy(9.0, 9.0)).unwrap_err();
    let SnapError::TooFar { metres, limit_m, .. } = error;
    assert_eq!(limit_m, OFF_ROAD_MAX_M);
    assert!((700..720).contains(&metres), "{error}");
    assert!(error.to_string().contains("from the nearest road"), "{error}");
}

#[test]
fn every_way_to_ask_says_what_dijkstra_says() {
    let (roads, _) = town();
    let oracle = roads.oracle();
    let steps = |n: i32| (0..n).map(|step| f64::from(step) * 0.31);
    let places: Vec<Point> =
        steps(20).flat_map(|x| steps(10).map(move |y| xy(x - 0.4, y))).collect();
    let snaps: Vec<_> = places.iter().map(|place| roads.snap(*place).unwrap()).collect();
    for (from, here) in places.iter().zip(&snaps).step_by(7) {
        let out = roads.slow(&oracle, Direction::Out, here, &snaps);
        assert_eq!(roads.one_to_many(here, &snaps), out, "from {from:?}");
        let into = roads.slow(&oracle, Direction::Into, here, &snaps);
        assert_eq!(roads.many_to_one(&snaps, here), into, "to {from:?}");
        // To here is from there, which is asked in other states.
        let there = snaps.iter().map(|there| roads.one_to_many(there, std::slice::from_ref(here)));
        assert_eq!(there.map(|ms| ms[0]).collect::<Vec<_>>(), into, "to {from:?}");
        for (to, ms) in places.iter().zip(out) {
            assert_eq!(roads.route(*from, *to).unwrap().duration_ms(), ms, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_junction_is_not_on_the_bridge_above_it() {
    let xy = |x: i32, y: i32| Point::from_e7(y, x).unwrap();
    // A road from west to east over a bridge, half a metre beside the junction of another.
    let places = [xy(-9_000, 0), xy(9_000, 0), xy(0, 45), xy(0, 9_000), xy(9_000, 9_000)];
    let road = |from, to| Road { from, to, metres: 100, ms: 10_000 };
    let ways = [(0, 1), (2, 3), (3, 4), (4, 1)];
    let roads = ways.iter().flat_map(|(a, b)| [road(*a, *b), road(*b, *a)]).collect();
    let map = Map::new(places.to_vec(), roads).unwrap();
    let roads = Roads::of_map(&map, &Settings::default()).unwrap();
    let below = roads.snap(places[2]).unwrap();
    assert_eq!((below.on.len(), below.off_m), (2, 0), "its own street, both ways");
    assert_eq!(roads.eta_ms(places[2], places[0]), Ok(40_000));
    let beside = roads.snap(xy(0, 46)).unwrap();
    assert_eq!(beside.on.len(), 4, "who is not exactly there may be on either");
}

#[test]
fn places_are_drawn_on_streets_and_near_where_they_should_be() {
    let (roads, _) = town();
    let mut places = Places::new(&roads, 1);
    for _ in 0..50 {
        let here = places.draw();
        let near = places.near(here, 90.0).unwrap();
        assert!(roads.snap(here).unwrap().off_m == 0 && metres(here, near) <= 90.0);
    }
    assert_eq!(places.near(xy(900.0, 900.0), 90.0), None);
}

#[test]
fn observed_drives_change_the_times_and_stay_within_bounds() {
    let (roads, _) = town();
    let (a, b) = (xy(0.5, 3.0), xy(3.5, 3.0));
    let built_ms = roads.eta_ms(a, b).unwrap();
    for _ in 0..100 {
        roads.observe(a, b, built_ms * 2).unwrap();
    }
    assert_eq!(
        roads.eta_ms(a, b).unwrap(),
        built_ms,
        "nothing changes before it is put into effect"
    );
    roads.recustomize();
    let (slow_ms, oracle) = (roads.eta_ms(a, b).unwrap(), roads.oracle());
    assert!(
        (built_ms * 18 / 10..built_ms * 22 / 10).contains(&slow_ms),
        "{built_ms}, then {slow_ms}"
    );
    let (from, to) = (roads.snap(a).unwrap(), roads.snap(b).unwrap());
    let truth = roads.slow(&oracle, Direction::Out, &from, std::slice::from_ref(&to));
    assert_eq!(roads.one_to_many(&from, std::slice::from_ref(&to)), truth);
    for _ in 0..100 {
        roads.observe(a, b, 299_000).unwrap();
    }
    roads.recustomize();
    let bound_ms = roads.eta_ms(a, b).unwrap();
    assert!(bound_ms < built_ms * 45 / 10, "a car that stood still says nothing: {bound_ms}");
    assert!(matches!(roads.observe(a, a, 30_000), Err(Unusable::TooShort { .. })));
    assert!(matches!(roads.observe(a, b, 900_000), Err(Unusable::TooLong { .. })));
    assert!(matches!(roads.observe(a, xy(90.0, 3.0), 9_000), Err(Unusable::OffRoad(_))));
}

#[test]
fn a_city_that_is_slower_than_its_map_is_told_so() {
    let (roads, _) = town();
    let (a, b) = (xy(0.5, 3.0), xy(3.5, 2.0));
    let settings = Settings { time_pct: 280, ..Settings::default() };
    let slower = Roads::new(roads.network().clone(), &settings);
    let (map_ms, slow_ms) = (roads.eta_ms(a, b).unwrap(), slower.eta_ms(a, b).unwrap());
    assert!(slow_ms.abs_diff(map_ms * 280 / 100) < 20, "{map_ms} ms, {slow_ms} ms");
}

#[test]
fn a_file_is_read_as_it_was_written_and_damage_is_seen() {
    let (roads, _) = town();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("town.roads");
    save(roads.network(), &path).unwrap();
    assert_eq!(load(&path).unwrap(), *roads.network());
    let bytes = std::fs::read(&path).unwrap();
    for at in (20..bytes.len()).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&path, &damaged).unwrap();
        assert!(matches!(load(&path), Err(FileError::Damaged { .. })), "byte {at}");
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(load(&path), Err(FileError::Damaged { .. })));
    let mut newer = bytes.clone();
    newer[16] = 9;
    std::fs::write(&path, &newer).unwrap();
    assert!(matches!(load(&path), Err(FileError::Version { found: 9, .. })));
    std::fs::write(&path, "something else altogether").unwrap();
    assert!(matches!(load(&path), Err(FileError::Foreign { .. })));
}

#[test]
fn two_tables_make_a_network_with_the_times_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let nodes = file("n.csv", "node,lat,lon\n0,41.0,-8.0\n1,41.001,-8.0\n2,41.001,-7.999\n");
    let edges = file(
        "e.csv",
        "from,to,length_km,speed_kmh,travel_time_s\n0,1,0.1,9,40\n1,0,0.1,9,50\n1,2,0.1,9,7.5\n2,0,0.2,9,9\n",
    );
    let bar = ProgressBar::hidden();
    let plan = |sources: &[&PathBuf]| Plan {
        sources: sources.iter().copied().cloned().collect(),
        left_hand: false,
    };
    let at = [(41.0, -8.0), (41.001, -8.0), (41.001, -7.999)];
    let at = at.map(|(lat, lng)| Point::from_degrees(lat, lng).unwrap());
    for sources in [[&nodes, &edges], [&edges, &nodes]] {
        let (network, _) = network(&plan(&sources), &bar).unwrap();
        let roads = Roads::new(network, &Settings::default());
        let times = [(0, 1, 40_000), (0, 2, 47_500), (1, 0, 16_500), (2, 1, 49_000), (1, 1, 0)];
        for (from, to, ms) in times {
            assert_eq!(roads.eta_ms(at[from], at[to]), Ok(ms), "{from} to {to}");
        }
    }
    let wrong = file("w.csv", "from,to,length_km,travel_time_s\n0,7,1,1\n");
    let error = network(&plan(&[&nodes, &wrong]), &bar).unwrap_err().to_string();
    assert!(error.contains("line 2, column to: junction 7, but there are 3"), "{error}");
    for sources in [&[&nodes][..], &[&nodes, &nodes]] {
        let error = network(&plan(sources), &bar).unwrap_err();
        assert!(matches!(error, BuildError::Source(_)), "{error}");
        assert!(error.to_string().starts_with("give one OpenStreetMap file"), "{error}");
    }
}

#[test]
fn porto_is_built_and_equals_dijkstra_where_its_data_are() {
    let Some(data) = std::env::var_os("HANSOM_DATA").map(PathBuf::from) else {
        println!("HANSOM_DATA is not set: Porto was not tried");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("porto.roads");
    let plan = Plan { sources: vec![data.join("osm/porto_portugal.osm.pbf")], left_hand: false };
    let report = build(&plan, &path, &ProgressBar::hidden()).unwrap();
    assert_eq!(report.read.restrictions.read, 357);
    assert!(report.read.restrictions.effective > 300, "{:?}", report.read.restrictions);
    let roads = Roads::open(&path, &Settings::default()).unwrap();
    let oracle = roads.oracle();
    let mut drawn = Places::new(&roads, 1);
    let mut places = |n| -> Vec<_> { (0..n).map(|_| roads.snap(drawn.draw()).unwrap()).collect() };
    // 40 times 50 random drives, to the millisecond, either way.
    for here in places(40) {
        let there = places(50);
        let truth = roads.slow(&oracle, Direction::Out, &here, &there);
        assert_eq!(roads.one_to_many(&here, &there), truth);
        let truth = roads.slow(&oracle, Direction::Into, &here, &there);
        assert_eq!(roads.many_to_one(&there, &here), truth);
    }
}
