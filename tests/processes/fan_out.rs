//! Many offers of one booking at once: one driver gets it, the others are free at once; and when it is
//! called off, no phone is shown an offer of it afterwards.

use crate::nodes::{Cluster, eventually, within};
use crate::people::{At, By, SQUARE, north_of, now_ms};
use crate::phone::Phone;
use futures_util::future::join_all;
use proto::{DriverId, RiderId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Drivers who are offered one booking at once.
const CROWD: usize = 50;
const FAN_OUT: &[&str] = &["--max-offers-per-attempt", "50"];
/// How soon all of them must have the offer. It takes a third of a second where nothing else runs.
const OFFERED_WITHIN: Duration = Duration::from_secs(3);
/// How soon the losers must be free again.
const FREE_WITHIN: Duration = Duration::from_secs(1);

/// A driver who works.
async fn on_duty(cluster: &Cluster, name: &str) -> String {
    let vehicle = json!({ "type": "SEDAN" });
    let body = json!({ "name": name, "vehicle": vehicle, "kyc_verified": true });
    let registered = cluster.ask(cluster.any(), "POST /v1/drivers").json(&body).send().await;
    let driver = registered.expect(201).text("driver_id");
    let online = format!("POST /v1/drivers/{driver}/online");
    cluster.ask(cluster.any(), &online).send().await.expect(200);
    driver
}

/// Drivers on duty around a place, all of them seen there.
async fn crowd(cluster: &Cluster, count: usize, (lat, lng): At) -> Vec<String> {
    let one = async |n: usize| on_duty(cluster, &format!("driver {n} of {count}")).await;
    let drivers = join_all((0..count).map(one)).await;
    let nearby = format!("/v1/nearby?lat={lat}&lng={lng}&radius_m=1000&limit=200&free_only=true");
    eventually("all drivers are seen", async || {
        let fix = |(n, driver): (usize, &String)| {
            let (lat, lng) = north_of((lat, lng), 5.0 * f64::from(u8::try_from(n).unwrap()));
            json!({ "driver_id": driver, "lat": lat, "lng": lng, "ts": now_ms() })
        };
        let fixes: Value = drivers.iter().enumerate().map(fix).collect();
        cluster
            .ask(cluster.any(), "PUT /v1/drivers/location")
            .json(&fixes)
            .send()
            .await
            .expect(202);
        let found = cluster.get(cluster.any(), &nearby).await.expect(200);
        (found.json["drivers"].as_array()?.len() >= count).then_some(())
    })
    .await;
    drivers
}

async fn is_free(cluster: &Cluster, driver: &str) -> bool {
    let read = cluster.get(cluster.any(), &format!("/v1/drivers/{driver}")).await;
    read.json["can_accept_bookings"] == true
}

#[tokio::test]
async fn of_fifty_drivers_who_accept_one_booking_at_once_one_has_it_and_the_others_are_free() {
    let cluster = Cluster::start_alone(3, FAN_OUT).await;
    let drivers = crowd(&cluster, CROWD, SQUARE).await;
    let mut phones = Vec::new();
    for driver in &drivers[..6] {
        phones.push(Phone::open(&cluster, cluster.any(), driver).await);
    }
    let rider = cluster.rider_at(2, "ada").await;
    let booked_at = now_ms();
    let booking = cluster.book(&rider, SQUARE).await;
    let path = format!("/v1/bookings/{booking}");
    within(OFFERED_WITHIN, "all of them are offered it", async || {
        let read = cluster.get(cluster.any(), &path).await.expect(200);
        (read.json["dispatch_attempts"][0]["offers_pending"] == CROWD).then_some(())
    })
    .await;
    println!("{CROWD} offers are recorded {} ms after the booking", now_ms() - booked_at);
    let offered = async |driver: &String| cluster.offer_before(driver).await;
    let offers = join_all(drivers.iter().map(offered)).await;
    println!("{CROWD} drivers have an offer {} ms after the booking", now_ms() - booked_at);

    let accept = |(driver, offer): (&String, &Value)| {
        let ask = cluster.ask(cluster.any(), "POST /v1/trips/accept").driver(driver).key("yes");
        ask.json(&json!({ "offer_id": offer["offer_id"] })).send()
    };
    let answers = join_all(drivers.iter().zip(&offers).map(accept)).await;
    let answered_at = now_ms();
    let won: Vec<usize> = (0..CROWD).filter(|n| answers[*n].status == 201).collect();
    assert_eq!(won.len(), 1, "one of them has it");
    let others = answers.iter().filter(|answer| answer.status != 201);
    for answer in others {
        let refused = (answer.status, answer.json["code"].as_str());
        assert!([(410, Some("OFFER_TAKEN")), (409, Some("OFFER_EXPIRED"))].contains(&refused));
    }
    let winner = &drivers[won[0]];
    let losers: Vec<&String> = drivers.iter().filter(|driver| *driver != winner).collect();
    within(FREE_WITHIN, "the losers are free", async || {
        let free = join_all(losers.iter().map(|driver| is_free(&cluster, driver))).await;
        free.into_iter().all(|free| free).then_some(())
    })
    .await;
    println!("the losers are free {} ms after the last answer", now_ms() - answered_at);
    assert!(!is_free(&cluster, winner).await);
    for (phone, driver) in phones.iter_mut().zip(&drivers) {
        if driver != winner {
            let offer = phone.wait_for("offer").await;
            let ended = phone.wait_for("offer_ended").await;
            assert_eq!(ended["offer_id"], offer["offer_id"]);
        }
    }

    let read = cluster.get(cluster.any(), &path).await.expect(200).json;
    assert_eq!((&read["status"], &read["driver_id"]), (&json!("ASSIGNED"), &json!(winner)));
    let counted = |status: &str| {
        let offers = read["offers"].as_array().unwrap();
        offers.iter().filter(|offer| offer["status"] == status).count()
    };
    assert_eq!((counted("ACCEPTED"), counted("CANCELLED")), (1, CROWD - 1));
    let attempts = read["dispatch_attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0]["status"], "ASSIGNED");
    assert_eq!(
        (&attempts[0]["offers_created"], &attempts[0]["offers_pending"]),
        (&json!(CROWD), &json!(0))
    );

    let trip = read["trip_id"].as_str().unwrap();
    cluster.step(winner, trip, &["arrive", "start", "end"]).await;
}

/// Drivers whose phones are watched, and how often a booking for them is called off.
const WATCHED: usize = 24;
const ROUNDS: u64 = 60;
/// What was written before the acknowledgement has been read by then, also on a busy machine.
const READ_WITHIN: Duration = Duration::from_millis(10);

/// Bookings whose cancel was acknowledged, and offers of them that a phone was shown after that.
#[derive(Default)]
struct Watch {
    called_off: BTreeSet<String>,
    late: Vec<String>,
    shown: usize,
}

/// Reads all that a phone is shown.
fn watch(mut phone: Phone, seen: Arc<Mutex<Watch>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Some(message) = phone.hear_within(Duration::from_secs(120)).await else { return };
            if message["type"] == "offer" {
                let booking = message["booking_id"].as_str().unwrap().to_owned();
                let mut seen = seen.lock().unwrap();
                seen.shown += 1;
                if seen.called_off.contains(&booking) {
                    seen.late.push(booking);
                }
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cancel_is_acknowledged_no_phone_is_shown_an_offer_of_the_booking() {
    let cluster = Cluster::start(3, FAN_OUT).await;
    let drivers = crowd(&cluster, WATCHED, SQUARE).await;
    let seen = Arc::new(Mutex::new(Watch::default()));
    let mut watchers = Vec::new();
    for driver in &drivers {
        let phone = Phone::open(&cluster, cluster.any(), driver).await;
        watchers.push(watch(phone, Arc::clone(&seen)));
    }
    let rider = cluster.rider_at(1, "ada").await;
    let (mut out, mut chance) = (0, 7_u64);
    for round in 0..ROUNDS {
        if round % 10 == 0 {
            for driver in &drivers {
                cluster.ping(driver, SQUARE).await;
            }
        }
        let booking = cluster.book(&rider, SQUARE).await;
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_millis((chance >> 33) % 30)).await;
        let path = format!("/v1/bookings/{booking}/cancel");
        let cancelled = cluster.post(&path, By::Rider(&rider), &json!({})).await.expect(200);
        let offers = cancelled.json["offers"].as_array().unwrap();
        out += usize::from(!offers.is_empty());
        sleep(READ_WITHIN).await;
        seen.lock().unwrap().called_off.insert(booking.clone());
        let before = async |driver: &String| {
            let path = format!("/v1/drivers/{driver}/offers");
            cluster.get(cluster.any(), &path).await.expect(200).json["offers"].clone()
        };
        for offers in join_all(drivers.iter().map(before)).await {
            assert_eq!(offers, json!([]), "in round {round}, after {booking} was called off");
        }
    }
    sleep(Duration::from_millis(500)).await;
    watchers.iter().for_each(JoinHandle::abort);
    let seen = seen.lock().unwrap();
    println!("{out} of {ROUNDS} were called off with offers out, {} offers shown", seen.shown);
    assert!(out > 10 && seen.shown > 10, "{out} rounds with offers, {} shown", seen.shown);
    assert_eq!(seen.late, [""; 0], "offers shown after the cancel was acknowledged");
}

#[tokio::test]
async fn a_cancel_is_acknowledged_when_the_driver_is_free_though_his_node_stands_still() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (still, elsewhere) = (3, 2);
    let driver = cluster.free_driver_at(still, "dee", SQUARE).await;
    let mut phone = Phone::open(&cluster, elsewhere, &driver).await;
    let rider = cluster.rider_at(1, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let offer = phone.wait_for("offer").await;
    cluster.pause(still);
    let cancel = format!("POST /v1/bookings/{booking}/cancel");
    let ask = || cluster.ask(elsewhere, &cancel).rider(&rider).key("no").json(&json!({}));
    let cancelled = ask().send().await.expect(200);
    let path = format!("/v1/drivers/{driver}");
    let read = cluster.get(elsewhere, &path).await.expect(200);
    assert_eq!(read.json["current_offer_id"], Value::Null, "{}", read.text);
    assert_eq!(ask().send().await.expect(200).json, cancelled.json);
    cluster.resume(still);
    assert_eq!(phone.wait_for("offer_ended").await["offer_id"], offer["offer_id"]);
    cluster.settled().await;
    cluster.becomes(&path, "can_accept_bookings", true).await;
}

/// The nodes that should have a replica of what an id names.
async fn replicas(cluster: &Cluster, id: &str) -> Vec<u64> {
    let found = cluster.get(1, &format!("/v1/cluster/lookup?key={id}")).await.expect(200).json;
    let all = cluster.partitions(1).await.unwrap();
    let of = all.iter().find(|partition| found["group"] == partition.group).unwrap();
    of.wanted.clone()
}

#[tokio::test]
async fn a_cancel_whose_driver_nobody_can_reach_says_so_and_is_acknowledged_once_he_is_free() {
    let mut cluster = Cluster::start(5, &[]).await;
    cluster.spread().await;
    // They take the majority of the driver's partition along, and nothing of the rider's.
    let away = [4, 5];
    let (mut driver, mut rider) = (None, None);
    for n in 0..500 {
        let name = format!("dee {n}");
        let of = replicas(&cluster, &DriverId::of_name(&name).to_string()).await;
        if driver.is_none() && away.iter().all(|node| of.contains(node)) {
            driver = Some(name);
        }
        let name = format!("ada {n}");
        let of = replicas(&cluster, &RiderId::of_name(&name).to_string()).await;
        if rider.is_none() && away.iter().all(|node| !of.contains(node)) {
            rider = Some(name);
        }
        if driver.is_some() && rider.is_some() {
            break;
        }
    }
    let driver = on_duty(&cluster, &driver.unwrap()).await;
    let ask = cluster.ask(1, "POST /v1/riders").json(&json!({ "name": rider.unwrap() }));
    let rider = ask.send().await.expect(201).text("rider_id");
    cluster.ping(&driver, SQUARE).await;
    let booking = cluster.book(&rider, SQUARE).await;
    cluster.offer_before(&driver).await;

    away.iter().for_each(|node| cluster.pause(*node));
    let path = format!("/v1/bookings/{booking}");
    let cancel = |cluster: &Cluster| {
        let ask = cluster.ask(1, &format!("POST {path}/cancel")).rider(&rider);
        ask.key("no").json(&json!({}))
    };
    eventually("the cancel is recorded", async || {
        cancel(&cluster).send_once().await.problem(503, "RETRY");
        let read = cluster.get(1, &path).await;
        (read.json["status"] == "CANCELLED").then_some(())
    })
    .await;
    cancel(&cluster).send_once().await.problem(503, "RETRY");
    away.iter().for_each(|node| cluster.resume(*node));
    let cancelled = cancel(&cluster).send().await.expect(200);
    assert_eq!(cancelled.json["status"], "CANCELLED");
    let before = cluster.get(1, &format!("/v1/drivers/{driver}/offers")).await.expect(200);
    assert_eq!(before.json["offers"], json!([]));
    cluster.settled().await;
}
