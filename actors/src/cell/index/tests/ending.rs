//! Drivers with riders aboard, who are named where their rides end.

use super::*;

#[test]
fn who_has_a_rider_aboard_is_named_where_his_ride_ends_soon() {
    let mut supply = free_at(&[around(0, 900)]);
    let aboard = |id, ends, version| Standing {
        ends: Some(ends),
        ..standing(id, DriverStatus::Taken, version)
    };
    // 2 and 3 end 50 m from here, 3 has far to go; 4 ends out of reach; 5 does not say where.
    for (id, at) in [(2, around(0, 200)), (3, around(0, 600)), (4, around(0, 1_900))] {
        supply.ping(&ping(id, at, 1), MonoMs(0));
    }
    supply.ping(&ping(5, around(0, 10), 1), MonoMs(0));
    for (id, ends) in [(2, around(0, 50)), (3, around(0, 50)), (4, around(0, 2_000))] {
        supply.restand(&aboard(id, ends, 1), MonoMs(0));
    }
    supply.restand(&standing(5, DriverStatus::Taken, 1), MonoMs(0));
    let near = Query { radius_m: 1_000, ending_m: 300, ..query() };
    let named = |supply: &mut Supply, query: &Query| -> Vec<u64> {
        let hits = supply.search_and_tell(query, MonoMs(0));
        supply.check_invariants();
        assert_eq!(ids(&hits.candidates), [1]);
        hits.ending.iter().map(|it| it.car.driver.to_raw()).collect()
    };
    let hits = supply.search_and_tell(&near, MonoMs(0));
    let (car, ends) = (hits.ending[0].car, hits.ending[0].ends);
    assert_eq!((car.point, ends), (around(0, 200), around(0, 50)), "where he is, where he will be");
    assert_eq!(car.distance_m, distance_m(near.center, ends));
    assert_eq!(named(&mut supply, &near), [2]);
    assert_eq!(named(&mut supply, &Query { ending_m: 600, ..near }), [2, 3]);
    assert_eq!(named(&mut supply, &Query { ending_m: 0, ..near }), [0_u64; 0]);
    // Within a version he may stop being one who ends: the ride was paused.
    supply.restand(&standing(2, DriverStatus::Taken, 1), MonoMs(0));
    assert_eq!(named(&mut supply, &near), [0_u64; 0]);
    supply.restand(&aboard(2, around(0, 50), 1), MonoMs(0));
    assert_eq!(named(&mut supply, &near), [2]);
    supply.restand(&Standing { ends: None, ..aboard(2, around(0, 50), 2) }, MonoMs(0));
    supply.forget(driver(3), None);
    assert_eq!(named(&mut supply, &Query { ending_m: 600, ..near }), [0_u64; 0]);
}
