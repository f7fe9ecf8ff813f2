//! Drivers with riders aboard are counted on where their rides end: the trip's partition tells the
//! driver's, that tells the cell, and the booking waits for him instead of sending for one far away.

use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, north_of};
use serde_json::{Value, json};

/// Everybody of whom the newest search of a booking says something, with what came of a claim.
fn considered(story: &Value) -> Vec<(Value, Value)> {
    let searches = story["told"][0]["searches"].as_array();
    let newest = searches.and_then(|searches| searches.last()).cloned().unwrap_or_default();
    let all = newest["considered"].as_array().cloned().unwrap_or_default();
    all.iter().map(|it| (it["driver_id"].clone(), it["claim"].clone())).collect()
}

#[tokio::test]
async fn a_car_whose_ride_ends_next_door_is_waited_for_instead_of_one_from_far_away() {
    let flags = ["--soon-ms", "60000", "--booking-ttl-ms", "600000"];
    let cluster = Cluster::start(3, &flags).await;
    let near = cluster.free_driver_at(1, "near", SQUARE).await;
    let (ada, bob) = (cluster.rider_at(2, "ada").await, cluster.rider_at(3, "bob").await);
    cluster.book(&ada, SQUARE).await;
    let trip = cluster.accept(&near).await;
    cluster.step(&near, &trip, &["arrive", "start"]).await;
    // A booking ends 2 km north of where it began.
    let (end, before, beyond) =
        (north_of(SQUARE, 2_000.0), north_of(SQUARE, 1_950.0), north_of(SQUARE, 2_900.0));
    cluster.ping(&near, before).await;
    let booking = cluster.book(&bob, end).await;
    let path = format!("/v1/bookings/{booking}/explain");
    eventually("he is counted on", async || {
        cluster.ping(&near, before).await;
        let story = cluster.get(cluster.any(), &path).await.expect(200).json;
        considered(&story).contains(&(json!(near), json!("GRANTED"))).then_some(())
    })
    .await;
    // So say the maps of operators: who will stand there soon, and who waits.
    let (lat, lng) = end;
    let ahead = format!("/v1/nearby?lat={lat}&lng={lng}&radius_m=300&within_s=");
    eventually("he is expected there", async || {
        cluster.ping(&near, before).await;
        let seen = cluster.get(cluster.any(), &format!("{ahead}120")).await.expect(200).json;
        let soon = seen["expected"].get(0)?;
        let drives = soon["free_in_s"].as_u64().is_some_and(|s| (1..=60).contains(&s));
        (soon["driver_id"] == near && drives && soon["distance_m"].as_u64() < Some(20))
            .then_some(())
    })
    .await;
    let now = cluster.get(cluster.any(), &format!("{ahead}1")).await.expect(200).json;
    assert_eq!(now["expected"], json!([]), "he has fifty metres to go");
    assert_eq!(cluster.get(1, &format!("{ahead}601")).await.status, 400);
    let waiting = eventually("the booking is counted where its rider waits", async || {
        let path = format!("/v1/supply?lat={lat}&lng={lng}&rings=1");
        let areas = cluster.get(cluster.any(), &path).await.expect(200).json["areas"].clone();
        let counts = areas.as_array()?.iter().filter_map(|it| it["waiting_bookings"].as_u64());
        Some(counts.sum::<u64>()).filter(|sum| *sum > 0)
    })
    .await;
    assert_eq!(waiting, 1, "once, though it stands on the boards of all cells around");
    // One who is free, and three minutes away, is not asked.
    let far = cluster.free_driver_at(2, "far", beyond).await;
    let both = eventually("both are considered", async || {
        cluster.ping(&near, before).await;
        cluster.ping(&far, beyond).await;
        let story = cluster.get(cluster.any(), &path).await.expect(200).json;
        let considered = considered(&story);
        (considered.len() == 2 && considered[0].1 == "GRANTED").then_some(considered)
    })
    .await;
    assert_eq!(both, [(json!(near), json!("GRANTED")), (json!(far), json!("NOT_ASKED"))]);
    let offers = cluster.get(cluster.any(), &format!("/v1/drivers/{far}/offers")).await;
    assert_eq!(offers.json["offers"], json!([]), "{}", offers.text);
    let over = format!("/v1/trips/{trip}/end");
    cluster.post(&over, By::Driver(&near), &json!({})).await.expect(200);
    let offer = eventually("he is offered it when he is free", async || {
        cluster.ping(&near, end).await;
        let offers = cluster.get(cluster.any(), &format!("/v1/drivers/{near}/offers")).await;
        offers.json["offers"].get(0).cloned()
    })
    .await;
    assert_eq!(offer["booking_id"], booking);
}
