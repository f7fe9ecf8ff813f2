//! The race cases that every dispatch system must settle, each against a real cluster: one way round,
//! the other way round, and at once. The simulation runs the same a thousand times each.

use crate::client::{Answer, Ask};
use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, north_of};
use serde_json::{Value, json};

/// How the two requests of a race are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    FirstWins,
    SecondWins,
    AtOnce,
}

/// Both ways round, and at once twice: who wins then is luck.
const ORDERS: [Order; 4] = [Order::FirstWins, Order::SecondWins, Order::AtOnce, Order::AtOnce];

/// What an answer said: `ok` or a code.
fn said(answer: &Answer) -> String {
    let code = answer.json["code"].as_str().map(str::to_owned);
    code.unwrap_or_else(|| if answer.status < 300 { "ok".into() } else { answer.text.clone() })
}

/// Sends two requests that exclude each other, and fails unless one of them was served and the other
/// refused as it should be: `(what the first says if it loses, what the second says)`.
async fn race(order: Order, first: Ask, second: Ask, lost: (&str, &str)) -> (Answer, Answer) {
    let (first, second) = match order {
        Order::FirstWins => {
            let first = first.send().await;
            (first, second.send().await)
        }
        Order::SecondWins => {
            let second = second.send().await;
            (first.send().await, second)
        }
        Order::AtOnce => tokio::join!(first.send(), second.send()),
    };
    let ended = (said(&first), said(&second));
    let (first_won, second_won) = (("ok", lost.1), (lost.0, "ok"));
    let legal: &[(&str, &str)] = match order {
        Order::FirstWins => &[first_won],
        Order::SecondWins => &[second_won],
        Order::AtOnce => &[first_won, second_won],
    };
    assert!(legal.contains(&(&ended.0, &ended.1)), "{order:?}: {ended:?}");
    (first, second)
}

/// Two people on a trip that has just been assigned.
struct Ride {
    driver: String,
    rider: String,
    trip: String,
}

impl Ride {
    /// A ride of people whom no other test knows.
    async fn of(cluster: &Cluster, n: usize) -> Self {
        let driver = cluster.free_driver_at(1, &format!("dee {n}"), SQUARE).await;
        let rider = cluster.rider_at(2, &format!("ada {n}")).await;
        cluster.book(&rider, SQUARE).await;
        let trip = cluster.accept(&driver).await;
        Self { driver, rider, trip }
    }

    fn by_driver(&self, cluster: &Cluster, step: &str, key: &str) -> Ask {
        let path = format!("POST /v1/trips/{}/{step}", self.trip);
        cluster.ask(cluster.any(), &path).driver(&self.driver).key(key).json(&json!({}))
    }

    fn by_rider(&self, cluster: &Cluster, step: &str, key: &str) -> Ask {
        let path = format!("POST /v1/trips/{}/{step}", self.trip);
        cluster.ask(cluster.any(), &path).rider(&self.rider).key(key).json(&json!({}))
    }

    async fn read(&self, cluster: &Cluster) -> Value {
        cluster.get(cluster.any(), &format!("/v1/trips/{}", self.trip)).await.expect(200).json
    }

    /// The driver goes home, and the rider wants nothing more.
    async fn rest(&self, cluster: &Cluster) {
        let rider = cluster.get(cluster.any(), &format!("/v1/riders/{}", self.rider)).await;
        if let Some(booking) = rider.json["active_booking_id"].as_str() {
            let path = format!("/v1/bookings/{booking}/cancel");
            cluster.post(&path, By::Rider(&self.rider), &json!({})).await.expect(200);
        }
        go_home(cluster, &self.driver).await;
    }
}

async fn go_home(cluster: &Cluster, driver: &str) {
    cluster.becomes(&format!("/v1/drivers/{driver}"), "current_trip_id", Value::Null).await;
    let path = format!("/v1/drivers/{driver}/offline");
    cluster.post(&path, By::Nobody, &json!({})).await.expect(200);
}

/// How often a trip came into a state.
fn times(trip: &Value, state: &str) -> usize {
    trip["transitions"].as_array().unwrap().iter().filter(|step| step["to"] == state).count()
}

#[tokio::test]
async fn race_a_driver_and_rider_cancel_at_once_and_one_cancel_counts() {
    let cluster = Cluster::start(3, &[]).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let ride = Ride::of(&cluster, n).await;
        let driver = ride.by_driver(&cluster, "cancel", "no, he");
        let rider = ride.by_rider(&cluster, "cancel", "no, she");
        let lost = ("TRIP_CANCELLED", "TRIP_CANCELLED");
        let (driver, _) = race(order, driver, rider, lost).await;
        let trip = ride.read(&cluster).await;
        assert_eq!(times(&trip, "CANCELLED"), 1, "{trip}");
        // A rider whose driver called off still wants to go: another booking goes on for him.
        let goes_on = driver.status == 200;
        assert_eq!(trip["replaced_by"].is_string(), goes_on, "{trip}");
        if let Some(next) = trip["replaced_by"].as_str() {
            let next = cluster.get(cluster.any(), &format!("/v1/bookings/{next}")).await.json;
            assert_eq!(next["replaces"], trip["booking_id"]);
        }
        ride.rest(&cluster).await;
    }
}

#[tokio::test]
async fn race_b_a_start_and_a_cancel_never_both_happen() {
    let cluster = Cluster::start(3, &[]).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let ride = Ride::of(&cluster, n).await;
        let start = ride.by_driver(&cluster, "start", "go");
        let cancel = ride.by_rider(&cluster, "cancel", "no");
        let lost = ("TRIP_CANCELLED", "CANNOT_CANCEL_IN_PROGRESS");
        let (start, _) = race(order, start, cancel, lost).await;
        let trip = ride.read(&cluster).await;
        assert_eq!(times(&trip, "IN_PROGRESS") + times(&trip, "CANCELLED"), 1, "{trip}");
        if start.status == 200 {
            ride.by_driver(&cluster, "end", "there").send().await.expect(200);
        }
        ride.rest(&cluster).await;
    }
}

#[tokio::test]
async fn race_c_a_trip_that_is_ended_twice_is_charged_once() {
    let cluster = Cluster::start(3, &[]).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let ride = Ride::of(&cluster, n).await;
        ride.by_driver(&cluster, "start", "go").send().await.expect(200);
        let (old, new) =
            (ride.by_driver(&cluster, "end", "a"), ride.by_driver(&cluster, "end", "b"));
        let lost = ("TRIP_ALREADY_ENDED", "TRIP_ALREADY_ENDED");
        let (old, new) = race(order, old, new, lost).await;
        let trip = ride.read(&cluster).await;
        assert_eq!(times(&trip, "COMPLETED"), 1, "{trip}");
        let shown = if old.status == 200 { old } else { new };
        assert_eq!(trip["fare"], shown.json["fare"], "the bill that was shown is the bill");
        let path = format!("/v1/trips/{}/receipt", ride.trip);
        let receipt = cluster.get(cluster.any(), &path).await.expect(200).json;
        assert_eq!(receipt["total_minor"], trip["fare"]["total_minor"], "{receipt}");
        ride.rest(&cluster).await;
    }
}

#[tokio::test]
async fn race_d_of_two_drivers_who_accept_one_has_the_ride() {
    let cluster = Cluster::start(3, &["--max-offers-per-attempt", "2"]).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let near = cluster.free_driver_at(1, &format!("dee {n}"), SQUARE).await;
        let far = cluster.free_driver_at(3, &format!("dan {n}"), north_of(SQUARE, 200.0)).await;
        let rider = cluster.rider_at(2, &format!("ada {n}")).await;
        let booking = cluster.book(&rider, SQUARE).await;
        let accept = async |driver: &str| {
            let offer = cluster.offer_before(driver).await;
            let body = json!({ "offer_id": offer["offer_id"] });
            cluster
                .ask(cluster.any(), "POST /v1/trips/accept")
                .driver(driver)
                .key("yes")
                .json(&body)
        };
        let (one, two) = (accept(&near).await, accept(&far).await);
        let (one, two) = race(order, one, two, ("OFFER_TAKEN", "OFFER_TAKEN")).await;
        let (winner, trip, loser) =
            if one.status == 201 { (&near, one, &far) } else { (&far, two, &near) };
        let path = format!("/v1/drivers/{loser}");
        cluster.becomes(&path, "can_accept_bookings", true).await;
        let found = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.json;
        assert_eq!((&found["status"], &found["driver_id"]), (&json!("ASSIGNED"), &json!(winner)));
        let trip = trip.text("trip_id");
        cluster.step(winner, &trip, &["start", "end"]).await;
        go_home(&cluster, &near).await;
        go_home(&cluster, &far).await;
    }
}

/// Offers end after a second and a half.
const SHORT: &[&str] = &["--offer-ttl-ms", "1500", "--offer-shown-ms", "1000"];

#[tokio::test]
async fn race_e_a_driver_who_accepts_two_offers_has_the_one_that_stands() {
    let cluster = Cluster::start(3, SHORT).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let driver = cluster.free_driver_at(1, &format!("dee {n}"), SQUARE).await;
        let other = cluster.rider_at(3, &format!("eve {n}")).await;
        let gone_booking = cluster.book(&other, SQUARE).await;
        let gone = cluster.offer_before(&driver).await;
        let path = format!("/v1/drivers/{driver}");
        cluster.becomes(&path, "current_offer_id", Value::Null).await;
        cluster.ping(&driver, SQUARE).await;
        let rider = cluster.rider_at(2, &format!("ada {n}")).await;
        cluster.book(&rider, SQUARE).await;
        let stands = cluster.offer_before(&driver).await;
        let accept = |offer: &Value, key: &str| {
            let body = json!({ "offer_id": offer["offer_id"] });
            cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver).key(key).json(&body)
        };
        let (stands, gone) = (accept(&stands, "this"), accept(&gone, "that"));
        let (stands, gone) = match order {
            Order::FirstWins => {
                let stands = stands.send().await;
                (stands, gone.send().await)
            }
            Order::SecondWins => {
                let gone = gone.send().await;
                (stands.send().await, gone)
            }
            Order::AtOnce => tokio::join!(stands.send(), gone.send()),
        };
        let refusals: &[&str] = match order {
            Order::FirstWins => &["DRIVER_BUSY"],
            Order::SecondWins => &["OFFER_EXPIRED"],
            Order::AtOnce => &["DRIVER_BUSY", "OFFER_EXPIRED"],
        };
        assert!(refusals.contains(&said(&gone).as_str()), "{order:?}: {}", gone.text);
        let trip = stands.expect(201).text("trip_id");
        cluster.step(&driver, &trip, &["start", "end"]).await;
        let path = format!("/v1/bookings/{gone_booking}/cancel");
        cluster.post(&path, By::Rider(&other), &json!({})).await.expect(200);
        go_home(&cluster, &driver).await;
    }
}

#[tokio::test]
async fn race_f_an_accept_is_in_time_or_the_offer_has_expired() {
    let cluster = Cluster::start(3, SHORT).await;
    for (n, order) in ORDERS.into_iter().enumerate() {
        let driver = cluster.free_driver_at(1, &format!("dee {n}"), SQUARE).await;
        let rider = cluster.rider_at(2, &format!("ada {n}")).await;
        let booking = cluster.book(&rider, SQUARE).await;
        let offer = cluster.offer_before(&driver).await;
        let path = format!("/v1/drivers/{driver}");
        if order == Order::SecondWins {
            cluster.becomes(&path, "current_offer_id", Value::Null).await;
        }
        if order == Order::AtOnce {
            // Until just before its end.
            eventually("the offer's time is nearly over", async || {
                let offers = cluster.get(cluster.any(), &format!("{path}/offers")).await;
                let left = offers.json["offers"].get(0).map(|it| it["expires_in_ms"].as_u64());
                left.flatten().is_none_or(|left| left < 60).then_some(())
            })
            .await;
        }
        let body = json!({ "offer_id": offer["offer_id"] });
        let accept = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(&driver);
        let accepted = accept.key("yes").json(&body).send().await;
        let told = said(&accepted);
        let legal: &[&str] = match order {
            Order::FirstWins => &["ok"],
            Order::SecondWins => &["OFFER_EXPIRED"],
            Order::AtOnce => &["ok", "OFFER_EXPIRED"],
        };
        assert!(legal.contains(&told.as_str()), "{order:?}: {told}");
        let found = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.json;
        let known = cluster.get(cluster.any(), &path).await.json;
        if told == "ok" {
            let trip = accepted.text("trip_id");
            assert_eq!((&found["status"], &found["trip_id"]), (&json!("ASSIGNED"), &json!(trip)));
            assert_eq!(known["current_trip_id"], trip);
            cluster.step(&driver, &trip, &["start", "end"]).await;
        } else {
            assert_eq!((&found["status"], &found["trip_id"]), (&json!("PENDING"), &Value::Null));
            assert_eq!(known["current_trip_id"], Value::Null);
            let path = format!("/v1/bookings/{booking}/cancel");
            cluster.post(&path, By::Rider(&rider), &json!({})).await.expect(200);
        }
        go_home(&cluster, &driver).await;
    }
}
