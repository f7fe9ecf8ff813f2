//! Requests that exclude each other, sent at once through all nodes: one of them wins, and what
//! every record then says agrees with it.

use crate::client::{Answer, Ask};
use crate::nodes::Cluster;
use crate::people::{SQUARE, booking_body};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// How often each race is run.
const ROUNDS: usize = 8;
/// By how much an accept precedes the cancel in every other round.
const HEAD_START: Duration = Duration::from_millis(3);

/// An answer's status and code.
fn outcome(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.json["code"].as_str().map(str::to_owned))
}

/// Sends all at once.
async fn at_once(asks: Vec<Ask>) -> Vec<(u16, Option<String>)> {
    join_all(asks.into_iter().map(Ask::send)).await.iter().map(outcome).collect()
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

async fn read(cluster: &Cluster, kind: &str, id: &str) -> Value {
    cluster.get(cluster.any(), &format!("/v1/{kind}/{id}")).await.expect(200).json
}

#[tokio::test]
async fn of_many_bookings_of_one_rider_one_is_made() {
    let cluster = Cluster::start(3, &[]).await;
    let body = booking_body(SQUARE);
    for home in 1..=3 {
        let rider = cluster.rider_at(home, "ada").await;
        let ask = || cluster.ask(cluster.any(), "POST /v1/bookings").rider(&rider).json(&body);
        let mut answers = at_once((0..9).map(|_| ask()).collect()).await;
        answers.sort();
        assert_eq!(answers.remove(0), (201, None));
        assert!(
            answers.iter().all(|answer| *answer == refused(409, "RIDER_HAS_ACTIVE_BOOKING")),
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn an_accept_and_a_cancel_at_once_leave_a_trip_or_a_free_driver() {
    let cluster = Cluster::start(3, &[]).await;
    let mut seen = (0, 0);
    for round in 0..ROUNDS {
        let driver = cluster.free_driver_at(1, &format!("dee {round}"), SQUARE).await;
        let rider = cluster.rider_at(2, &format!("ada {round}")).await;
        let booking = cluster.book(&rider, SQUARE).await;
        let offer = cluster.offer_before(&driver).await;
        let accept = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver);
        let accept = accept.key("yes").json(&json!({ "offer_id": offer["offer_id"] }));
        let cancel = cluster.ask(cluster.any(), &format!("POST /v1/bookings/{booking}/cancel"));
        let cancel = cancel.rider(&rider).key("no").json(&json!({}));
        // An accept takes two commits and a cancel one: without a head start it mostly loses.
        let (accept, cancel) = if round % 2 == 0 {
            tokio::join!(accept.send(), cancel.send())
        } else {
            tokio::join!(accept.send(), async {
                sleep(HEAD_START).await;
                cancel.send().await
            })
        };
        let answers = [outcome(&accept), outcome(&cancel)];
        let accepted = [(201, None), refused(409, "BOOKING_ALREADY_ASSIGNED")];
        let cancelled = [refused(410, "OFFER_TAKEN"), (200, None)];
        let found = read(&cluster, "bookings", &booking).await;
        if answers == accepted {
            seen.0 += 1;
            assert_eq!(
                (&found["status"], &found["driver_id"]),
                (&json!("ASSIGNED"), &json!(driver))
            );
            let trip = found["trip_id"].as_str().unwrap();
            assert_eq!(read(&cluster, "trips", trip).await["status"], "DRIVER_ASSIGNED");
            assert_eq!(read(&cluster, "drivers", &driver).await["current_trip_id"], trip);
            cluster.step(&driver, trip, &["arrive", "start", "end"]).await;
        } else {
            seen.1 += 1;
            assert_eq!(answers, cancelled);
            assert_eq!((&found["status"], &found["trip_id"]), (&json!("CANCELLED"), &json!(null)));
        }
        let path = format!("/v1/drivers/{driver}");
        cluster.becomes(&path, "can_accept_bookings", true).await;
        // He goes home, or the next round would meet him.
        cluster.ask(cluster.any(), &format!("POST {path}/offline")).send().await.expect(200);
    }
    println!("{} accepts and {} cancels came first", seen.0, seen.1);
}

#[tokio::test]
async fn of_many_accepts_under_different_keys_one_begins_the_trip() {
    let cluster = Cluster::start(3, &[]).await;
    let driver = cluster.free_driver_at(3, "dee", SQUARE).await;
    let rider = cluster.rider_at(1, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let offer = cluster.offer_before(&driver).await;
    let body = json!({ "offer_id": offer["offer_id"] });
    let accept = |key: usize| {
        let ask = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver);
        ask.key(&format!("key {key}")).json(&body)
    };
    let mut answers = at_once((0..9).map(accept).collect()).await;
    answers.sort();
    assert_eq!(answers.remove(0), (201, None));
    assert!(
        answers.iter().all(|answer| *answer == refused(409, "OFFER_ALREADY_ACCEPTED")),
        "{answers:?}"
    );
    let found = read(&cluster, "bookings", &booking).await;
    assert_eq!(found["status"], "ASSIGNED");
    assert_eq!(read(&cluster, "drivers", &driver).await["current_trip_id"], found["trip_id"]);

    // The steps of the trip, each sent by many: each happens once.
    let trip = found["trip_id"].as_str().unwrap();
    for step in ["arrive", "start", "pause", "resume", "end"] {
        let what = format!("POST /v1/trips/{trip}/{step}");
        let ask = |_| cluster.ask(cluster.any(), &what).driver(&driver).json(&json!({}));
        let answers = at_once((0..6).map(ask).collect()).await;
        assert!(answers.iter().any(|(status, _)| *status == 200), "{step}: {answers:?}");
        assert!(
            answers.iter().all(|(status, _)| [200, 409].contains(status)),
            "{step}: {answers:?}"
        );
    }
    let moved = read(&cluster, "trips", trip).await;
    let transitions = moved["transitions"].as_array().unwrap();
    let states: Vec<_> = transitions.iter().filter_map(|moved| moved["to"].as_str()).collect();
    let once =
        ["DRIVER_ASSIGNED", "DRIVER_ARRIVED", "IN_PROGRESS", "PAUSED", "IN_PROGRESS", "COMPLETED"];
    assert_eq!(states, once);
}
