//! Why a booking got its driver: what its record says of each attempt, and what the node that decided
//! tells of each search.

use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, booking_body, north_of};
use serde_json::{Value, json};

/// Who is considered and who is not, and where the story is told.
#[tokio::test]
async fn a_booking_is_explained_by_the_node_that_dispatched_it() {
    let mut cluster = Cluster::start(3, &[]).await;
    let near = cluster.free_driver_at(1, "near", north_of(SQUARE, 100.0)).await;
    let off = cluster.free_driver_at(2, "off", north_of(SQUARE, 200.0)).await;
    cluster.post(&format!("/v1/drivers/{off}/offline"), By::Nobody, &json!({})).await.expect(200);
    let van = cluster.free_driver_at(3, "van", north_of(SQUARE, 250.0)).await;
    let rider = cluster.rider_at(2, "ada").await;
    // Who is held by another booking's offer.
    let held = cluster.free_driver_at(1, "held", north_of(SQUARE, 3_000.0)).await;
    let other = cluster.rider_at(3, "bob").await;
    let first = cluster.book(&other, north_of(SQUARE, 3_000.0)).await;
    let offer = cluster.offer_before(&held).await;
    assert_eq!(offer["booking_id"], first);
    cluster.ping(&held, north_of(SQUARE, 150.0)).await;
    cluster.finds(&held, north_of(SQUARE, 150.0), "online").await;

    let mut body = booking_body(SQUARE);
    body["seats"] = json!(4);
    let ask = cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider).json(&body);
    let booking = ask.send().await.expect(201).text("booking_id");
    let path = format!("/v1/bookings/{booking}/explain");
    let offered = cluster.offer_before(&near).await;
    let living = cluster.get(cluster.any(), &path).await.expect(200).json;
    let story = &living["told"][0];
    assert_eq!((&story["node"], &story["under_way"]), (&json!("n2"), &json!(true)), "{living}");
    let search = &story["searches"][0];
    let first = &search["considered"][0];
    assert_eq!(
        (&first["driver_id"], &first["claim"]),
        (&json!(near), &json!("GRANTED")),
        "{search}"
    );
    assert_eq!((&first["offer_id"], &first["rank"]), (&offered["offer_id"], &json!(1)));
    assert_eq!(search["considered"][1]["driver_id"], van, "{search}");
    assert_eq!(search["considered"][1]["claim"], "NOT_ASKED");
    let dropped = search["dropped"].as_array().unwrap();
    let filter = |driver: &str| {
        let found = dropped.iter().find(|dropped| dropped["driver_id"] == driver);
        found.map_or(json!("nobody"), |dropped| dropped["filter"].clone())
    };
    assert_eq!((filter(&off), filter(&held)), (json!("OFFLINE"), json!("BUSY")), "{search}");
    assert_eq!(search["partial"], false);
    assert!(!search["asked"].as_array().unwrap().is_empty());

    // It is told by the same node when the booking has its driver, also after a restart.
    let trip = cluster.accept(&near).await;
    let settled = eventually("the story is kept", async || {
        let told = cluster.get(cluster.any(), &path).await.expect(200).json;
        (told["told"][0]["under_way"] == false).then_some(told)
    })
    .await;
    assert_eq!(settled["dispatch_attempts"][0]["status"], "ASSIGNED", "{settled}");
    assert_eq!(settled["gone"], json!([]));
    cluster.stop(2).await;
    let without = eventually("others tell what is gone", async || {
        let told = cluster.ask(cluster.running()[0], &format!("GET {path}")).try_send().await?;
        (told.status == 200).then_some(told.json)
    })
    .await;
    assert_eq!((&without["told"], &without["gone"][0]["node"]), (&json!([]), &json!("n2")));
    cluster.restart(2).await;
    let again = eventually("the story is told again", async || {
        let told = cluster.get(cluster.any(), &path).await.expect(200).json;
        (told["gone"] == json!([])).then_some(told)
    })
    .await;
    assert_eq!(again["told"], settled["told"]);
    cluster.step(&near, &trip, &["arrive", "start", "end"]).await;
}

#[tokio::test]
async fn a_leader_that_dies_leaves_its_attempt_in_the_record_and_takes_its_story_along() {
    let mut cluster = Cluster::start(3, &[]).await;
    let near = cluster.free_driver_at(1, "near", north_of(SQUARE, 100.0)).await;
    let far = cluster.free_driver_at(3, "far", north_of(SQUARE, 600.0)).await;
    let rider = cluster.rider_at(2, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let offer = cluster.offer_before(&near).await["offer_id"].as_str().unwrap().to_owned();
    cluster.kill(2);
    let decline = format!("/v1/offers/{offer}/decline");
    cluster.post(&decline, By::Driver(&near), &json!({})).await.expect(200);
    for driver in [&near, &far] {
        cluster.ping(driver, north_of(SQUARE, 600.0)).await;
    }
    cluster.offer_before(&far).await;
    let path = format!("/v1/bookings/{booking}");
    let read = cluster.get(cluster.any(), &path).await.expect(200).json;
    let attempts = read["dispatch_attempts"].as_array().unwrap();
    let said = |attempt: &Value| (attempt["node"].clone(), attempt["error_code"].clone());
    assert_eq!(said(&attempts[0]), (json!("n2"), json!("LEADER_CHANGED")), "{attempts:?}");
    assert_eq!(
        (&attempts[0]["status"], &attempts[0]["offers_created"]),
        (&json!("EXPIRED"), &json!(1))
    );
    let next = &attempts[1];
    assert!(next["node"] != "n2" && next["term"].as_u64() > attempts[0]["term"].as_u64(), "{next}");
    assert_eq!((&next["status"], &next["offers_pending"]), (&json!("OFFERS_SENT"), &json!(1)));

    let story = cluster.get(cluster.any(), &format!("{path}/explain")).await.expect(200).json;
    assert_eq!(story["told"][0]["node"], next["node"], "{story}");
    assert_eq!(story["gone"][0]["node"], "n2", "{story}");
    let cancel = format!("{path}/cancel");
    cluster.post(&cancel, By::Rider(&rider), &json!({})).await.expect(200);
    let read = cluster.get(cluster.any(), &path).await.expect(200).json;
    assert_eq!(read["dispatch_attempts"][1]["status"], "CANCELLED", "{read}");
}
