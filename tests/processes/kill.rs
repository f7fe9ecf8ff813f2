//! A node dies with SIGKILL: what it acknowledged is there, on the others at once and on itself when
//! it comes back.

use crate::nodes::Cluster;
use crate::people::{By, SQUARE, north_of};
use crate::phone::Phone;
use serde_json::{Value, json};

/// What is durable of an answer: where a car was seen is not.
fn record(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.retain(|name, _| !["current_location", "eta_sec"].contains(&name.as_str()));
    }
    answer
}

async fn read(cluster: &Cluster, paths: &[String]) -> Vec<Value> {
    let mut found = Vec::new();
    for path in paths {
        found.push(record(&cluster.get(cluster.any(), path).await.expect(200).json));
    }
    found
}

#[tokio::test]
async fn what_a_killed_node_acked_is_served_by_the_others_and_goes_on_there() {
    let mut cluster = Cluster::start(3, &[]).await;
    let dead = 2;
    let (north, south) = (north_of(SQUARE, 9_000.0), north_of(SQUARE, -9_000.0));

    // Led by the node that dies: a trip under way whose driver lives elsewhere, ...
    let rider = cluster.rider_at(dead, "ada").await;
    let driver = cluster.free_driver_at(1, "dee", SQUARE).await;
    let booking = cluster.book(&rider, SQUARE).await;
    let trip = cluster.accept(&driver).await;
    cluster.step(&driver, &trip, &["arrive", "start", "pause", "resume"]).await;
    // ... a booking that was called off, and the driver of a trip that lives elsewhere.
    let other = cluster.rider_at(dead, "bob").await;
    let cancelled = cluster.book(&other, south).await;
    let path = format!("/v1/bookings/{cancelled}/cancel");
    cluster.post(&path, By::Rider(&other), &json!({})).await.expect(200);
    let theirs = cluster.free_driver_at(dead, "eve", north).await;
    let elsewhere = cluster.rider_at(3, "fay").await;
    cluster.book(&elsewhere, north).await;
    let their_trip = cluster.accept(&theirs).await;
    cluster.step(&theirs, &their_trip, &["arrive", "start"]).await;
    cluster.becomes(&format!("/v1/drivers/{theirs}"), "current_trip_id", &*their_trip).await;
    cluster.becomes(&format!("/v1/drivers/{driver}"), "current_trip_id", &*trip).await;

    let mut paths: Vec<String> =
        [&theirs, &driver].iter().map(|id| format!("/v1/drivers/{id}")).collect();
    paths.extend([&rider, &other, &elsewhere].map(|id| format!("/v1/riders/{id}")));
    paths.extend([&booking, &cancelled].map(|id| format!("/v1/bookings/{id}")));
    paths.extend([&trip, &their_trip].map(|id| format!("/v1/trips/{id}")));
    let acked = read(&cluster, &paths).await;

    cluster.kill(dead);
    for node in cluster.running() {
        for (path, acked) in paths.iter().zip(&acked) {
            let now = cluster.get(node, path).await.expect(200).json;
            assert_eq!(record(&now), *acked, "at node {node}");
        }
    }
    // Both trips end without it, and their drivers are free.
    cluster.step(&theirs, &their_trip, &["end"]).await;
    let end = format!("POST /v1/trips/{trip}/end");
    let end = cluster.ask(1, &end).driver(&driver).key("end").json(&json!({})).send().await;
    assert_eq!(end.expect(200).json["status"], "COMPLETED");
    for path in &paths[..2] {
        cluster.becomes(path, "can_accept_bookings", true).await;
    }
    // Whole rides as well, also in cells that the dead node owned.
    for (place, metres) in [("one", 20_000.0), ("two", 40_000.0), ("three", 60_000.0)] {
        let at = north_of(SQUARE, metres);
        let driver = cluster.free_driver_at(1, &format!("dan {place}"), at).await;
        let rider = cluster.rider_at(3, &format!("gus {place}")).await;
        let booking = cluster.book(&rider, at).await;
        let trip = cluster.accept(&driver).await;
        cluster.step(&driver, &trip, &["arrive", "start", "end"]).await;
        cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "COMPLETED").await;
        cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
    }

    let before = read(&cluster, &paths).await;
    cluster.restart(dead).await;
    for node in cluster.running() {
        for (path, before) in paths.iter().zip(&before) {
            let now = cluster.get(node, path).await.expect(200).json;
            assert_eq!(record(&now), *before, "at node {node}");
        }
    }
    // It gets back what it should lead.
    cluster.spread().await;
    cluster.all_serve_all(&[rider, other, elsewhere]).await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_driver_whose_node_dies_gets_his_pending_offer_again_from_another() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (home, dead, other) = (1, 2, 3);
    let driver = cluster.driver_at(home, "dee").await;
    cluster.post(&format!("/v1/drivers/{driver}/online"), By::Nobody, &json!({})).await.expect(200);
    let mut phone = Phone::open(&cluster, dead, &driver).await;
    cluster.ping(&driver, SQUARE).await;
    let rider = cluster.rider_at(home, "ada").await;
    cluster.book(&rider, SQUARE).await;
    let offer = phone.wait_for("offer").await;

    cluster.kill(dead);
    phone.closed().await;
    let mut phone = Phone::open(&cluster, other, &driver).await;
    let again = phone.wait_for("offer").await;
    assert_eq!(again["offer_id"], offer["offer_id"]);
    let trip = cluster.accept(&driver).await;
    assert_eq!(phone.wait_for("trip").await["trip_id"], trip);
    cluster.step(&driver, &trip, &["arrive", "start", "end"]).await;
    for status in ["DRIVER_ARRIVED", "IN_PROGRESS", "COMPLETED"] {
        assert_eq!(phone.wait_for("trip").await["status"], status);
    }
    cluster.equal().await;
}

#[tokio::test]
async fn a_search_goes_on_after_the_node_that_ran_it_has_come_back() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (home, elsewhere) = (2, 1);
    let rider = cluster.rider_at(home, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    cluster.kill(home);
    cluster.restart(home).await;
    cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "PENDING").await;
    // The driver shows up only now: the booking is looking for him by itself.
    let driver = cluster.free_driver_at(elsewhere, "dee", SQUARE).await;
    let offer = cluster.offer_before(&driver).await;
    assert_eq!(offer["booking_id"], booking);

    // The same with an offer pending: its driver's node dies, and it is before him again.
    cluster.kill(elsewhere);
    cluster.restart(elsewhere).await;
    let again = cluster.offer_before(&driver).await;
    assert_eq!(again["offer_id"], offer["offer_id"]);
    let trip = cluster.accept(&driver).await;
    cluster.step(&driver, &trip, &["arrive", "start", "end"]).await;
    cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "COMPLETED").await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_cluster_that_lost_all_its_nodes_at_once_comes_back_whole() {
    let mut cluster = Cluster::start(3, &[]).await;
    let driver = cluster.free_driver_at(1, "dee", SQUARE).await;
    let rider = cluster.rider_at(2, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let trip = cluster.accept(&driver).await;
    cluster.step(&driver, &trip, &["arrive", "start"]).await;
    let paths = [
        format!("/v1/riders/{rider}"),
        format!("/v1/drivers/{driver}"),
        format!("/v1/bookings/{booking}"),
        format!("/v1/trips/{trip}"),
    ];
    let acked = read(&cluster, &paths).await;
    for round in 0..2 {
        for node in 1..=3 {
            cluster.kill(node);
        }
        for node in 1..=3 {
            cluster.spawn(node);
        }
        cluster.settled().await;
        cluster.serving().await;
        assert_eq!(read(&cluster, &paths).await, acked, "in round {round}");
    }
    cluster.step(&driver, &trip, &["end"]).await;
    cluster.becomes(&paths[1], "can_accept_bookings", true).await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_says_goodbye_and_comes_back() {
    let mut cluster = Cluster::start(3, &[]).await;
    let driver = cluster.driver_at(1, "dee").await;
    let mut phone = Phone::open(&cluster, 2, &driver).await;
    let rider = cluster.rider_at(2, "ada").await;
    cluster.stop(2).await;
    phone.closed().await;
    cluster.settled().await;
    cluster.all_serve_all(std::slice::from_ref(&rider)).await;
    cluster.restart(2).await;
    cluster.all_serve_all(&[rider]).await;
    cluster.equal().await;
}

#[tokio::test]
async fn an_offer_outlives_the_node_that_led_both_its_booking_and_its_driver() {
    let mut cluster = Cluster::start(3, &[]).await;
    for (n, dead) in [(0, 2), (1, 3), (2, 1)] {
        let at = north_of(SQUARE, 15_000.0 * f64::from(n));
        let driver = cluster.free_driver_at(dead, &format!("dee {n}"), at).await;
        let rider = cluster.rider_at(dead, &format!("ada {n}")).await;
        let booking = cluster.book(&rider, at).await;
        let offer = cluster.offer_before(&driver).await;
        cluster.kill(dead);
        cluster.serving().await;
        let now = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.json;
        assert_eq!(now["offers"][0]["status"], "PENDING", "{now}");
        let yes = json!({ "offer_id": offer["offer_id"] });
        cluster.post("/v1/trips/accept", By::Driver(&driver), &yes).await.expect(201);
        cluster.restart(dead).await;
        cluster.spread().await;
    }
}
