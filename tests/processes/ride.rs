//! One ride from the booking to its end, every request to another node and every change asked for
//! three times.

use crate::client::Answer;
use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, booking_body, now_ms};
use crate::phone::Phone;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

/// The ids in an answer.
fn ids(answer: &Answer) -> Map<String, Value> {
    let fields = answer.json.as_object().unwrap().iter();
    let ids = fields.filter(|(name, _)| name.ends_with("_id"));
    ids.map(|(name, id)| (name.clone(), id.clone())).collect()
}

/// Asks for the same through all nodes at once and then once more, under one key: the answers must
/// agree. Then for something else under that key, which must be refused.
pub(crate) async fn thrice(cluster: &Cluster, what: &str, by: By<'_>, body: &Value) -> Answer {
    let ask = |node, body: &Value| {
        let ask = cluster.ask(node, what).key(what).json(body);
        match by {
            By::Nobody => ask,
            By::Rider(rider) => ask.rider(rider),
            By::Driver(driver) => ask.driver(driver),
        }
    };
    let at_once = cluster.running().into_iter().map(|node| ask(node, body).send());
    let mut answers: Vec<Answer> = join_all(at_once).await;
    answers.push(ask(cluster.any(), body).send().await);
    for answer in &answers {
        assert!(answer.status < 300, "{}: {}", answer.what, answer.text);
        // Two only while a partition changes its leader.
        assert!(answer.hops() <= 2, "{}: {} hops", answer.what, answer.hops());
    }
    for again in &answers[1..] {
        let first = &answers[0];
        assert_eq!((again.status, ids(again)), (first.status, ids(first)), "{what}");
    }
    let mut other = body.clone();
    other["something"] = json!("else");
    ask(cluster.any(), &other).send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    answers.swap_remove(0)
}

#[tokio::test]
async fn a_ride_over_three_processes_with_every_change_asked_for_three_times() {
    let cluster = Cluster::start(3, &[]).await;

    let body = json!({ "name": "ada" });
    let rider = thrice(&cluster, "POST /v1/riders", By::Nobody, &body).await.text("rider_id");
    let body = json!({
        "name": "dee",
        "vehicle": { "type": "SUV", "seats": 6, "capabilities": ["child_seat"], "plate": "H 1" },
        "kyc_verified": true,
    });
    let driver = thrice(&cluster, "POST /v1/drivers", By::Nobody, &body).await.expect(201);
    assert_eq!(
        (&driver.json["status"], &driver.json["vehicle"]["seats"]),
        (&json!("offline"), &json!(6))
    );
    let driver = driver.text("driver_id");
    let mut phone = Phone::open(&cluster, cluster.any(), &driver).await;
    let online = format!("POST /v1/drivers/{driver}/online");
    let state = thrice(&cluster, &online, By::Nobody, &json!({})).await;
    assert_eq!(state.json["can_accept_bookings"], true, "{}", state.text);
    let nearby = format!("/v1/nearby?lat={}&lng={}", SQUARE.0, SQUARE.1);
    eventually("what his phone reports is seen by all", async || {
        let ping = json!({ "type": "ping", "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() });
        phone.say(ping.to_string()).await;
        let seen = cluster.get(cluster.any(), &nearby).await.expect(200);
        (seen.json["drivers"][0]["status"] == "online").then_some(())
    })
    .await;

    let mut body = booking_body(SQUARE);
    body["vehicle_type"] = json!("SUV");
    body["seats"] = json!(5);
    body["capabilities"] = json!(["child_seat"]);
    let booking = thrice(&cluster, "POST /v1/bookings", By::Rider(&rider), &body).await.expect(201);
    assert_eq!(booking.json["status"], "PENDING", "{}", booking.text);
    let booking = booking.text("booking_id");
    let again = cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider).json(&body);
    again.send().await.problem(409, "RIDER_HAS_ACTIVE_BOOKING");

    let offer = phone.wait_for("offer").await;
    assert_eq!((&offer["booking_id"], &offer["driver_id"]), (&json!(booking), &json!(driver)));
    assert!(offer["expires_in_ms"].as_u64().is_some_and(|ms| ms > 0), "{offer}");
    let body = json!({ "offer_id": offer["offer_id"] });
    let accept = "POST /v1/trips/accept";
    let trip = thrice(&cluster, accept, By::Driver(&driver), &body).await.expect(201);
    assert_eq!(trip.json["status"], "DRIVER_ASSIGNED", "{}", trip.text);
    let trip = trip.text("trip_id");
    let other_key = cluster.ask(cluster.any(), accept).driver(&driver).key("another").json(&body);
    other_key.send().await.problem(409, "OFFER_ALREADY_ACCEPTED");
    let pushed = phone.wait_for("trip").await;
    assert_eq!((&pushed["trip_id"], &pushed["status"]), (&json!(trip), &json!("DRIVER_ASSIGNED")));

    let mut steps = vec![("arrive", "DRIVER_ARRIVED"), ("start", "IN_PROGRESS")];
    steps.extend([("pause", "PAUSED"), ("resume", "IN_PROGRESS"), ("end", "COMPLETED")]);
    for (step, status) in &steps {
        for party in [
            cluster.ask(cluster.any(), "GET /v1/trips/active").driver(&driver),
            cluster.ask(cluster.any(), "GET /v1/trips/active").rider(&rider),
        ] {
            assert_eq!(party.send().await.expect(200).text("trip_id"), trip);
        }
        let body = if *step == "end" { json!({ "odometer_km": 12.5 }) } else { json!({}) };
        let what = format!("POST /v1/trips/{trip}/{step}");
        let moved = thrice(&cluster, &what, By::Driver(&driver), &body).await.expect(200);
        assert_eq!(moved.json["status"], *status, "{}", moved.text);
    }

    let ended = cluster.get(cluster.any(), &format!("/v1/trips/{trip}")).await.expect(200);
    assert_eq!(ended.json["odometer_km"], 12.5);
    let transitions = ended.json["transitions"].as_array().unwrap();
    let got: Vec<&str> = transitions.iter().filter_map(|t| t["to"].as_str()).collect();
    let want: Vec<&str> =
        ["DRIVER_ASSIGNED"].into_iter().chain(steps.iter().map(|(_, to)| *to)).collect();
    assert_eq!(got, want, "each change once");
    cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "COMPLETED").await;
    cluster.becomes(&format!("/v1/riders/{rider}"), "active_booking_id", Value::Null).await;
    let free = cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
    assert_eq!(free["current_trip_id"], Value::Null);
    for party in [
        cluster.ask(1, "GET /v1/trips/active").driver(&driver),
        cluster.ask(2, "GET /v1/trips/active").rider(&rider),
    ] {
        party.send().await.problem(404, "NO_ACTIVE_TRIP");
    }
    // Each repeat of the accept may have told him again.
    while phone.wait_for("trip").await["status"] != "COMPLETED" {}

    // A repeat that was long on its way still gets the first answer.
    let late =
        cluster.ask(cluster.any(), accept).driver(&driver).key(accept).json(&body_of(&offer));
    let late = late.send().await.expect(201);
    assert_eq!(late.text("trip_id"), trip);
    let late = cluster.ask(cluster.any(), &online).key(&online).json(&json!({}));
    late.send().await.expect(200);
    let last = format!("POST /v1/trips/{trip}/end");
    let late = cluster.ask(cluster.any(), &last).driver(&driver).json(&json!({}));
    late.send().await.problem(409, "TRIP_ALREADY_ENDED");
}

fn body_of(offer: &Value) -> Value {
    json!({ "offer_id": offer["offer_id"] })
}

#[tokio::test]
async fn one_driver_and_many_riders_never_meet_in_two_trips_at_once() {
    let cluster = Cluster::start(3, &[]).await;
    let driver = cluster.free_driver_at(2, "dee", SQUARE).await;
    let mut bookings = Vec::new();
    for home in [1, 2, 3] {
        let rider = cluster.rider_at(home, "ada").await;
        bookings.push(cluster.book(&rider, SQUARE).await);
    }
    let mut served = Vec::new();
    for _ in 0..bookings.len() {
        cluster.ping(&driver, SQUARE).await;
        let trip = cluster.accept(&driver).await;
        let mut assigned = Vec::new();
        for booking in &bookings {
            let found =
                cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.expect(200);
            if found.json["status"] == "ASSIGNED" {
                assert_eq!(found.json["driver_id"], driver);
                assigned.push(booking.clone());
            }
        }
        assert_eq!(assigned.len(), 1, "one driver carries {assigned:?}");
        served.extend(assigned);
        cluster.step(&driver, &trip, &["arrive", "start", "end"]).await;
        eventually("the driver is free or has the next offer", async || {
            let found =
                cluster.get(cluster.any(), &format!("/v1/drivers/{driver}")).await.expect(200);
            found.json["current_trip_id"].is_null().then_some(())
        })
        .await;
    }
    served.sort();
    bookings.sort();
    assert_eq!(served, bookings);
}
