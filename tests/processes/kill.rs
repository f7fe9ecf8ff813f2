//! A node dies with SIGKILL and comes back: what it acknowledged is there.

use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, north_of};
use crate::phone::Phone;
use serde_json::{Value, json};

async fn read(cluster: &Cluster, paths: &[String]) -> Vec<Value> {
    let mut found = Vec::new();
    for path in paths {
        found.push(cluster.get(cluster.any(), path).await.expect(200).json);
    }
    found
}

/// Waits until no running node counts `dead` among the members.
async fn noticed(cluster: &Cluster, dead: u64) {
    for node in cluster.running() {
        eventually(&format!("node {node} has seen node {dead} die"), async || {
            (!cluster.members(node).await?.contains(&dead)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn partitions_of_a_killed_node_answer_retry_and_come_back_with_everything_that_was_acked() {
    let mut cluster = Cluster::start(3, &[]).await;
    let dead = 2;
    let (north, south) = (north_of(SQUARE, 9_000.0), north_of(SQUARE, -9_000.0));

    // On the node that dies: a trip under way whose driver lives elsewhere, ...
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

    let mut lost: Vec<String> = vec![format!("/v1/drivers/{theirs}")];
    lost.extend([&rider, &other].map(|id| format!("/v1/riders/{id}")));
    lost.extend([&booking, &cancelled].map(|id| format!("/v1/bookings/{id}")));
    lost.push(format!("/v1/trips/{trip}"));
    let kept = [
        format!("/v1/drivers/{driver}"),
        format!("/v1/riders/{elsewhere}"),
        format!("/v1/trips/{their_trip}"),
    ];
    let acked = read(&cluster, &lost).await;

    cluster.kill(dead);
    // At once, when nobody has noticed yet, and again when all have.
    for seen in [false, true] {
        if seen {
            noticed(&cluster, dead).await;
        }
        for node in cluster.running() {
            for path in &lost {
                cluster.get(node, path).await.problem(503, "RETRY");
            }
            let path = format!("POST /v1/trips/{trip}/end");
            let end = cluster.ask(node, &path).driver(&driver).key("end").json(&json!({}));
            end.send().await.problem(503, "RETRY");
        }
        read(&cluster, &kept).await;
    }

    // The others serve a whole ride meanwhile, also in cells that the dead node owned.
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
    // A trip ends although its driver's partition is down; he is freed when it is back.
    cluster.step(&theirs, &their_trip, &["end"]).await;

    cluster.restart(dead).await;
    assert_eq!(read(&cluster, &lost[1..]).await, acked[1..]);
    cluster.becomes(&lost[0], "can_accept_bookings", true).await;

    let end = format!("POST /v1/trips/{trip}/end");
    let end = cluster.ask(1, &end).driver(&driver).key("end").json(&json!({})).send().await;
    assert_eq!(end.expect(200).json["status"], "COMPLETED");
    cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "COMPLETED").await;
    cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
    cluster.all_serve_all(&[rider, other, elsewhere]).await;
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
    assert_eq!(phone.wait_for("trip").await["status"], "COMPLETED");
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
        for node in 1..=3 {
            cluster.reached(node).await;
        }
        assert_eq!(read(&cluster, &paths).await, acked, "in round {round}");
    }
    cluster.step(&driver, &trip, &["end"]).await;
    cluster.becomes(&paths[1], "can_accept_bookings", true).await;
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_says_goodbye_and_comes_back() {
    let mut cluster = Cluster::start(3, &[]).await;
    let driver = cluster.driver_at(1, "dee").await;
    let mut phone = Phone::open(&cluster, 2, &driver).await;
    let rider = cluster.rider_at(2, "ada").await;
    cluster.stop(2).await;
    phone.closed().await;
    noticed(&cluster, 2).await;
    cluster.get(3, &format!("/v1/riders/{rider}")).await.problem(503, "RETRY");
    cluster.restart(2).await;
    cluster.all_serve_all(&[rider]).await;
}
