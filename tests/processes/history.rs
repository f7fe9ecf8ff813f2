//! What was: pages of a rider's bookings and a driver's trips, from any node, also when most of
//! them have left the state, and when the node that led them is dead.

use crate::nodes::Cluster;
use crate::people::{By, SQUARE, booking_body};
use proto::RiderId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// More than a partition keeps at hand.
const MANY: usize = 290;

/// All entries, page by page, each page from another node.
async fn all(cluster: &Cluster, path: &str, limit: usize) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}?limit={limit}{cursor}");
        let page = cluster.get(cluster.any(), &page).await.expect(200).json;
        let found = page["bookings"].as_array().unwrap();
        assert!(found.len() <= limit);
        entries.extend(found.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}

#[tokio::test]
async fn all_pages_are_there_after_most_bookings_have_left_and_a_node_has_died() {
    // One partition, so that one rider's bookings make another's leave.
    let mut cluster = Cluster::start(3, &["--partitions=1"]).await;
    let home = cluster.owner(&RiderId::of_name("ada").to_string()).await;
    let ada = cluster.rider_at(home, "ada").await;
    let driver = cluster.free_driver_at(home, "dee", SQUARE).await;
    let ride = cluster.book(&ada, SQUARE).await;
    let trip = cluster.accept(&driver).await;
    cluster.step(&driver, &trip, &["arrive", "start"]).await;
    let end = format!("POST /v1/trips/{trip}/end");
    let end = |cluster: &Cluster, key: &str| {
        let ask = cluster.ask(cluster.any(), &end).driver(&driver).key(key).json(&json!({}));
        ask.send()
    };
    let ended = end(&cluster, "the first").await.expect(200);
    cluster.becomes(&format!("/v1/drivers/{driver}"), "current_trip_id", Value::Null).await;
    cluster.post(&format!("/v1/drivers/{driver}/offline"), By::Driver(&driver), &json!({})).await;
    let ridden = cluster.get(cluster.any(), &format!("/v1/bookings/{ride}")).await.expect(200);
    assert_eq!(ridden.json["status"], "COMPLETED");

    let rider = cluster.rider_at(home, "bob").await;
    let mut made = Vec::new();
    for _ in 0..MANY {
        let ask = cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider);
        let booking = ask.json(&booking_body(SQUARE)).send().await.expect(201).text("booking_id");
        let path = format!("/v1/bookings/{booking}/cancel");
        cluster.post(&path, By::Rider(&rider), &json!({ "reason": "no" })).await.expect(200);
        made.push(booking);
    }
    made.reverse();

    let path = format!("/v1/riders/{rider}/bookings");
    let before = all(&cluster, &path, 37).await;
    let ids: Vec<&str> = before.iter().filter_map(|it| it["booking_id"].as_str()).collect();
    assert_eq!(ids, made, "newest first, each once");
    let hers = all(&cluster, &format!("/v1/riders/{ada}/bookings"), 10).await;
    assert_eq!(hers, std::slice::from_ref(&ridden.json));

    cluster.kill(home);
    assert_eq!(all(&cluster, &path, 50).await, before);
    // What has left is still read by its id, and answers as it did.
    let gone = cluster.get(cluster.any(), &format!("/v1/bookings/{ride}")).await.expect(200);
    assert_eq!(gone.json, ridden.json);
    assert_eq!(
        cluster.get(cluster.any(), &format!("/v1/trips/{trip}")).await.expect(200).json["status"],
        "COMPLETED"
    );
    end(&cluster, "another").await.problem(409, "TRIP_ALREADY_ENDED");
    let again = end(&cluster, "the first").await.expect(200);
    assert_eq!(again.json, ended.json, "the first answer to a key, although the trip has left");
    let driven = all(&cluster, &format!("/v1/drivers/{driver}/bookings"), 10).await;
    assert_eq!(driven.len(), 1);
    assert_eq!(driven[0]["trip_id"], trip);
    assert_eq!(driven[0]["status"], "COMPLETED");

    // A booking made while somebody leafs does not shift his pages.
    let first = cluster.get(cluster.any(), &format!("{path}?limit=5")).await.expect(200).json;
    let new = cluster.book(&rider, SQUARE).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = cluster.get(cluster.any(), &format!("{path}?limit=5&cursor={cursor}")).await;
    assert_eq!(second.json["bookings"][0], before[5]);
    let ids: BTreeSet<String> = all(&cluster, &path, 50)
        .await
        .iter()
        .map(|it| it["booking_id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.contains(&new) && ids.len() == MANY + 1);
}

#[tokio::test]
async fn a_page_that_makes_no_sense_is_refused() {
    let cluster = Cluster::start(3, &[]).await;
    let rider = cluster.rider_at(1, "ada").await;
    let driver = cluster.driver_at(2, "dee").await;
    for path in [
        format!("/v1/riders/{rider}/bookings?limit=0"),
        format!("/v1/riders/{rider}/bookings?limit=51"),
        format!("/v1/riders/{rider}/bookings?cursor=what"),
        format!("/v1/drivers/{driver}/bookings?cursor=12"),
        format!("/v1/drivers/{driver}/bookings?cursor=12.trp_zzz"),
    ] {
        cluster.get(cluster.any(), &path).await.problem(400, "BAD_REQUEST");
    }
    let page = cluster.get(3, &format!("/v1/riders/{rider}/bookings")).await.expect(200);
    assert_eq!(page.json, json!({ "bookings": [], "next_cursor": null }));
    let unknown = crate::people::unknown(7);
    let nobody = cluster.get(1, &format!("/v1/riders/{}/bookings", unknown.rider)).await;
    nobody.problem(404, "RIDER_NOT_FOUND");
    let nobody = cluster.get(1, &format!("/v1/drivers/{}/bookings", unknown.driver)).await;
    nobody.problem(404, "DRIVER_NOT_FOUND");
}
