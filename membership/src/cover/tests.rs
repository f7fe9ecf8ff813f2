use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::f64::consts::TAU;

/// The point `distance_m` from `from` in direction `bearing`, on a sphere.
fn travel(from: LatLng, distance_m: f64, bearing: f64) -> LatLng {
    let (lat, lng) = (from.lat_radians(), from.lng_radians());
    let angle = distance_m / EARTH_M;
    let to_lat = (lat.sin() * angle.cos() + lat.cos() * angle.sin() * bearing.cos()).asin();
    let east = bearing.sin() * angle.sin() * lat.cos();
    let to_lng = lng + east.atan2(angle.cos() - lat.sin() * to_lat.sin());
    let wrapped = (to_lng.to_degrees() + 540.0).rem_euclid(360.0) - 180.0;
    LatLng::new(to_lat.to_degrees(), wrapped).unwrap()
}

fn point(place: LatLng) -> Point {
    Point::from_degrees(place.lat(), place.lng()).unwrap()
}

/// Anywhere on the globe; one in three near a pentagon, where cells are small and skewed.
fn anywhere() -> impl Strategy<Value = LatLng> {
    let pentagons: Vec<CellIndex> = Resolution::Six.pentagons().collect();
    let near_pentagon = (proptest::sample::select(pentagons), 0.0..60_000.0, 0.0..TAU)
        .prop_map(|(cell, distance_m, bearing)| travel(cell.into(), distance_m, bearing));
    let on_globe = (-1.0..1.0f64, -180.0..180.0)
        .prop_map(|(z, lng)| LatLng::new(z.asin().to_degrees(), lng).unwrap());
    prop_oneof![2 => on_globe, 1 => near_pentagon]
}

/// A table around a place: nothing split, all r6 cells, or those and every second r7 cell.
fn table_around(center: LatLng, depth: u8) -> SplitTable {
    let coarse: Vec<CellIndex> = match depth {
        0 => Vec::new(),
        _ => center.to_cell(Resolution::Six).grid_disk(4),
    };
    let fine = coarse.iter().flat_map(|cell| cell.children(Resolution::Seven)).step_by(2);
    let fine: Vec<CellIndex> = if depth > 1 { fine.collect() } else { Vec::new() };
    SplitTable::new(coarse.into_iter().chain(fine)).unwrap()
}

fn keys(center: LatLng, radius_m: u32, table: &SplitTable) -> Vec<KeyNear> {
    Surroundings::default().keys(point(center), radius_m, table, |_| Some(NodeId(1)))
}

/// The keys of all r8 cells whose centre is within `radius_m`, one by one.
fn walked(center: LatLng, radius_m: f64, table: &SplitTable) -> BTreeSet<u64> {
    let covered_m = |rings: u32| (1.5 * f64::from(rings) - 0.5) * 380.0;
    let rings = (1..).find(|rings| covered_m(*rings) >= radius_m).unwrap();
    let disk: Vec<CellIndex> = center.to_cell(Resolution::Eight).grid_disk(rings);
    let near = disk.into_iter().filter(|cell| LatLng::from(*cell).distance_m(center) <= radius_m);
    near.map(|cell| table.ring_key(cell)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn the_keys_cover_the_whole_circle_and_none_claims_to_be_farther_than_it_is(
        center in anywhere(),
        radius_m in prop_oneof![0u32..1_000, 1_000u32..11_000, Just(RADIUS_MAX_M)],
        places in proptest::collection::vec((0.0..=1.0f64, 0.0..TAU), 16),
        depth in 0u8..3,
    ) {
        let table = table_around(center, depth);
        let found = keys(center, radius_m, &table);
        prop_assert!(found.is_sorted_by_key(|near| (near.nearest_m, near.ring_key)));
        let nearest: BTreeMap<u64, u32> =
            found.iter().map(|near| (near.ring_key, near.nearest_m)).collect();
        prop_assert_eq!(nearest.len(), found.len(), "each key once");
        for (part, bearing) in places {
            // The square root spreads evenly; the rim is tried every time.
            for within in [part.sqrt(), 1.0] {
                let distance_m = f64::from(radius_m) * within;
                let place = travel(center, distance_m, bearing);
                let key = table.ring_key(place.to_cell(Resolution::Eight));
                let bound = nearest.get(&key).copied();
                prop_assert!(bound.is_some(), "{distance_m} of {radius_m} m at {bearing}");
                prop_assert!(bound.is_some_and(|bound| f64::from(bound) <= distance_m + 0.1));
            }
        }
        for key in walked(center, f64::from(radius_m.min(6_000)), &table) {
            prop_assert!(nearest.contains_key(&key));
        }
    }

    #[test]
    fn no_key_is_named_whose_cells_are_all_out_of_reach(
        center in anywhere(),
        radius_m in 0u32..6_000,
        depth in 0u8..3,
    ) {
        let table = table_around(center, depth);
        // A key is known by its children, whose places reach 1,580 m from their centres.
        let in_reach = walked(center, f64::from(radius_m) * 1.01 + 1_580.0, &table);
        for near in keys(center, radius_m, &table) {
            prop_assert!(in_reach.contains(&near.ring_key));
        }
    }
}

#[test]
fn few_more_keys_are_named_than_a_walk_over_all_cells_finds() {
    let (mut named, mut met) = (0, 0);
    for step in 0..400 {
        // A spiral over the globe.
        let z = 1.0 - (f64::from(step) + 0.5) / 200.0;
        let lng = (f64::from(step) * 137.507_764).rem_euclid(360.0) - 180.0;
        let center = LatLng::new(z.asin().to_degrees(), lng).unwrap();
        let table = table_around(center, u8::try_from(step % 3).unwrap());
        named += keys(center, 5_000, &table).len();
        met += walked(center, 5_000.0, &table).len();
    }
    assert!(named * 10 <= met * 14, "{named} named, {met} met");
}

#[test]
fn what_is_kept_says_the_same_as_what_is_looked_up() {
    let kept = Surroundings::default();
    let center = LatLng::new(40.7580, -73.9855).unwrap();
    let table = table_around(center, 2);
    for bearing in 0..40 {
        let center = travel(center, f64::from(bearing) * 200.0, f64::from(bearing));
        let found = kept.keys(point(center), 5_000, &table, |_| Some(NodeId(1)));
        assert_eq!(found, keys(center, 5_000, &table));
    }
    let known = kept.0.read().unwrap();
    assert!((1..=8).contains(&known.around.len()), "{} cells", known.around.len());
    assert_eq!(known.keys, known.around.values().map(|spots| spots.len()).sum::<usize>());
}

#[test]
fn what_is_kept_is_bounded() {
    let kept = Surroundings::default();
    let table = SplitTable::default();
    for cell in CellIndex::base_cells().flat_map(|base| base.children(Resolution::Two)).take(2_500)
    {
        kept.keys(point(cell.into()), 1_000, &table, |_| Some(NodeId(1)));
        assert!(kept.0.read().unwrap().keys <= KEPT_MAX);
    }
}

/// The figures behind the constants, of fewer cells than they were taken from.
#[test]
fn no_place_is_farther_from_its_keys_cell_than_the_constants_say() {
    for (resolution, rings) in
        [(Resolution::Six, 5), (Resolution::Seven, 9), (Resolution::Eight, 20)]
    {
        let around_pentagons =
            resolution.pentagons().flat_map(|cell| cell.grid_disk::<Vec<_>>(rings));
        // The widest cells are in the middles of the icosahedron's faces.
        let spiral = (0..800).map(|step| {
            let z = 1.0 - (f64::from(step) + 0.5) / 400.0;
            let lng = (f64::from(step) * 137.507_764).rem_euclid(360.0) - 180.0;
            LatLng::new(z.asin().to_degrees(), lng).unwrap().to_cell(resolution)
        });
        let mut farthest_m = 0.0f64;
        for cell in around_pentagons.chain(spiral) {
            let center = LatLng::from(cell);
            let edge_m = |corner: LatLng| corner.distance_m(center);
            if resolution == Resolution::Six {
                // In a hexagon the corners are an edge away from the centre.
                assert!(cell.boundary().iter().all(|corner| edge_m(*corner) >= EDGE_MIN_M));
            }
            for fine in cell.children(Resolution::Eight) {
                for corner in fine.boundary().iter() {
                    farthest_m = farthest_m.max(edge_m(*corner));
                }
            }
        }
        let allowed_m = reach_m(resolution.pentagons().next().unwrap());
        assert!(farthest_m <= allowed_m, "{resolution}: {farthest_m}");
        assert!(farthest_m >= allowed_m * 0.9, "{resolution}: {farthest_m}: needlessly wide");
    }
}

#[test]
fn the_disk_is_bounded() {
    assert_eq!(rings(RADIUS_MAX_M), 7);
    assert_eq!(rings(10_000), KEPT_RINGS);
    assert_eq!(rings(5_000), 2);
    assert_eq!(rings(0), 1);
    let center = LatLng::new(40.75, -73.98).unwrap();
    let table = SplitTable::default();
    assert_eq!(keys(center, u32::MAX, &table), keys(center, RADIUS_MAX_M, &table));
}
