//! The way of a trip: positions that come late, twice and in disorder, to any node, also when one dies
//! on the way; what it costs; and what happens when its driver calls off.

use crate::nodes::{Cluster, eventually};
use crate::people::{At, By, SQUARE, north_of, now_ms};
use serde_json::{Value, json};

/// Positions of the whole way.
const POINTS: u32 = 120;
/// From one position to the next, in metres.
const STEP_M: f64 = 15.0;

/// Positions on the way north, a second apart, so that the last is recorded at `last_ms`.
fn way(from: At, last_ms: u64) -> Vec<Value> {
    let position = |n: u32| {
        let (lat, lng) = north_of(from, f64::from(n) * STEP_M);
        let recorded_at_ms = last_ms - 1_000 * u64::from(POINTS - 1 - n);
        json!({ "lat": lat, "lng": lng, "accuracy_m": 5, "recorded_at_ms": recorded_at_ms })
    };
    (0..POINTS).map(position).collect()
}

async fn sends(cluster: &Cluster, driver: &str, trip: &str, part: &[Value]) -> Value {
    let ask = cluster.ask(cluster.any(), &format!("POST /v1/trips/{trip}/location"));
    let ask = ask.driver(driver).key("a trail needs none").json(&json!({ "locations": part }));
    ask.send().await.expect(202).json
}

#[tokio::test]
async fn a_trip_is_as_long_as_its_way_however_the_positions_come() {
    let flags = ["--tariff=base=100,km=1000,minute=0,pause=0,minimum=0,tax-bp=0,platform-bp=2000"];
    let mut cluster = Cluster::start(3, &flags).await;
    let dead = 2;
    let driver = cluster.free_driver_at(1, "dee", SQUARE).await;
    let rider = cluster.rider_at(dead, "ada").await;
    cluster.book(&rider, SQUARE).await;
    let trip = cluster.accept(&driver).await;
    cluster.step(&driver, &trip, &["start"]).await;
    // A phone whose clock is right can't have recorded two minutes of way yet; this one's is ahead by
    // less than a minute, and what it recorded before the start does not count.
    let started = now_ms();
    let way = way(SQUARE, started + 50_000);
    let on_the_way: Vec<Value> = way
        .iter()
        .filter(|it| it["recorded_at_ms"].as_u64().unwrap() > started + 5_000)
        .cloned()
        .collect();
    let (first, rest) = on_the_way.split_at(15);
    let (second, third) = rest.split_at(15);
    let told = sends(&cluster, &driver, &trip, first).await;
    assert_eq!(told, json!({ "processed": 15, "trip_status": "IN_PROGRESS" }));
    cluster.kill(dead);
    // The newest first, then what was between, then all of it again.
    sends(&cluster, &driver, &trip, third).await;
    let mut backwards = second.to_vec();
    backwards.reverse();
    sends(&cluster, &driver, &trip, &backwards).await;
    sends(&cluster, &driver, &trip, &on_the_way).await;
    cluster.restart(dead).await;

    let end = json!({ "odometer_km": 9.0 });
    let path = format!("/v1/trips/{trip}/end");
    let ended = cluster.post(&path, By::Driver(&driver), &end).await.expect(200).json;
    let expected_m = STEP_M * f64::from(u32::try_from(on_the_way.len()).unwrap() - 1);
    let measured_m = ended["trip_summary"]["distance_km"].as_f64().unwrap() * 1_000.0;
    assert!((measured_m - expected_m).abs() < 20.0, "{measured_m} m, driven {expected_m} m");
    assert_eq!(ended["trip_summary"]["distance_by"], "trail");
    assert_eq!(ended["trip_summary"]["odometer_doubted"], true, "{ended}");
    let fare = &ended["fare"];
    let per_metre = measured_m.round();
    assert_eq!(fare["distance_minor"].as_f64().map(f64::round), Some(per_metre), "{fare}");
    assert_eq!(ended["payment_status"], "PENDING");

    // Late positions change nothing any more.
    let told = sends(&cluster, &driver, &trip, &way[..5]).await;
    assert_eq!(told, json!({ "processed": 0, "trip_status": "COMPLETED" }));
    let receipt = |ask: crate::client::Ask| async { ask.send().await.expect(200).json };
    let ask = || cluster.ask(cluster.any(), &format!("GET /v1/trips/{trip}/receipt"));
    let (hers, his) = (receipt(ask().rider(&rider)).await, receipt(ask().driver(&driver)).await);
    assert_eq!(hers["total_minor"], fare["total_minor"]);
    assert_eq!(hers["platform_fee_minor"], Value::Null, "that is not told to riders");
    let (total, kept, left) =
        (&his["total_minor"], &his["platform_fee_minor"], &his["driver_minor"]);
    let [total, kept, left] = [total, kept, left].map(|it| it.as_u64().unwrap());
    assert_eq!((kept + left, kept), (total, (total * 2 + 5) / 10));
    let driven = format!("/v1/drivers/{driver}/bookings");
    let driven = cluster.becomes_first(&driven, "bookings").await;
    assert_eq!((&driven["total_minor"], &driven["driver_minor"]), (&json!(total), &json!(left)));

    // All that counted is on record, once.
    let path = format!("/v1/trips/{trip}/trail?limit=50");
    let trail = cluster.get(cluster.any(), &path).await.expect(200).json;
    let recorded = trail["points"].as_array().unwrap();
    let times: Vec<u64> =
        recorded.iter().map(|it| it["recorded_at_ms"].as_u64().unwrap()).collect();
    let sent: Vec<u64> =
        on_the_way.iter().map(|it| it["recorded_at_ms"].as_u64().unwrap()).collect();
    assert_eq!(times, sent, "each once, in order of time");
    cluster.equal().await;
}

#[tokio::test]
async fn a_rider_whose_driver_calls_off_gets_another_at_once() {
    let cluster = Cluster::start(3, &[]).await;
    let first = cluster.free_driver_at(1, "dee", SQUARE).await;
    let rider = cluster.rider_at(2, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let trip = cluster.accept(&first).await;
    let second = cluster.free_driver_at(3, "dan", north_of(SQUARE, 500.0)).await;
    cluster.ping(&first, SQUARE).await;
    let body = json!({ "reason": "flat tyre", "cancelled_by": "DRIVER" });
    let path = format!("/v1/trips/{trip}/cancel");
    let called_off = cluster.post(&path, By::Driver(&first), &body).await.expect(200).json;
    assert_eq!(
        called_off["cancellation_fee_minor"], 0,
        "the driver's cancel costs the rider nothing"
    );
    let next = called_off["replaced_by"].as_str().unwrap();
    let active = cluster.get(cluster.any(), &format!("/v1/riders/{rider}")).await.json;
    assert_eq!(active["active_booking_id"], next);
    // The one who called off is nearer, free again, and not asked.
    cluster.becomes(&format!("/v1/drivers/{first}"), "can_accept_bookings", true).await;
    let offer = cluster.offer_before(&second).await;
    assert_eq!(offer["booking_id"], next);
    let trip = cluster.accept(&second).await;
    let path = format!("/v1/trips/{trip}");
    let on_the_way = eventually("the rider sees where he is", async || {
        let trip = cluster.get(cluster.any(), &path).await.expect(200).json;
        trip["eta_sec"].is_u64().then_some(trip)
    })
    .await;
    let at = on_the_way["current_location"]["lat"].as_f64().unwrap();
    assert!((at - north_of(SQUARE, 500.0).0).abs() < 1e-4, "{on_the_way}");
    assert_eq!(on_the_way["driver"]["vehicle"]["type"], "SEDAN");
    let meta = cluster.get(cluster.any(), &format!("/v1/drivers/{second}/meta")).await.json;
    let known = (&meta["status"], &meta["current_booking_id"], &meta["trip_count_today"]);
    assert_eq!(known, (&json!("on_trip"), &json!(next), &json!(0)), "{meta}");
    let old = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.json;
    let new = cluster.get(cluster.any(), &format!("/v1/bookings/{next}")).await.json;
    assert_eq!((&old["status"], &old["replaced_by"]), (&json!("CANCELLED"), &json!(next)));
    assert_eq!((&new["status"], &new["replaces"]), (&json!("ASSIGNED"), &json!(booking)));
    assert_eq!(new["driver_id"], second);
    assert_eq!((&new["pickup"], &new["destination"]), (&old["pickup"], &old["destination"]));
}

impl Cluster {
    /// Waits until a list has an entry; gives the first.
    async fn becomes_first(&self, path: &str, list: &str) -> Value {
        eventually(&format!("{list} of {path} has an entry"), async || {
            self.get(self.any(), path).await.json[list].get(0).cloned()
        })
        .await
    }
}
