//! Somebody who looks from both sides of a cut whether positions are taken and shown.

use crate::city::{CORNER, City, Split, maybe_id, now_ms, place, settled};
use crate::cluster::{name, names};
use crate::laws::located::{self, Look};
use crate::outside;
use crate::phone::{Party, Phone};
use proto::DriverId;
use serde_json::{Value, json};
use sim::history::{Seen, What};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// How often he looks while there is a cut.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node that was switched on so long before a cut has joined.
const JOINS_WITHIN: Duration = Duration::from_secs(5);
/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(2);
/// How often the positions of all drivers are looked at after the heal, until they are fresh.
const LOOKS_MAX: u32 = 12;

/// A scout's day.
pub async fn scout(city: Rc<City>) {
    let mut phone = city.phone("scout");
    let vehicle = json!({ "type": "SEDAN" });
    let body = json!({ "name": "scout", "vehicle": vehicle, "kyc_verified": true });
    settled("registering", phone.post("/v1/drivers", body).await);
    let me = DriverId::of_name("scout");
    phone.sign_in(Party::Driver(me.to_string()));
    while !city.is_closed() {
        let split = city.split.borrow().clone();
        if let Some(split) = split {
            for side in &split.sides {
                look(&city, &mut phone, me, &split, side).await;
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn look(city: &City, phone: &mut Phone, me: DriverId, split: &Split, side: &[usize]) {
    let running = city.cluster.running();
    let there: Vec<usize> = side.iter().copied().filter(|node| running.contains(node)).collect();
    // Who was switched on in the cut, or just before, may hear too few to serve his cells; who was not let
    // in yet serves nobody.
    let joined_by = split.since.saturating_sub(JOINS_WITHIN);
    let cluster = &city.cluster;
    let serves = |node: &usize| cluster.is_on_since(*node, joined_by) && cluster.belongs(*node);
    if there.is_empty() || !there.iter().all(serves) {
        return;
    }
    let node = there[phone.dice().one_of(0..there.len())];
    let mut ping = place(phone.dice(), 2_000);
    let around = format!("/v1/nearby?lat={}&lng={}", ping["lat"], ping["lng"]);
    ping["ts"] = json!(now_ms());
    let path = format!("/v1/drivers/{me}/location");
    let began = outside::now();
    let taken = phone.try_at(node, WITHIN, ("POST", &path, "scout", Some(&ping))).await;
    let taken = taken.and_then(|counts| match counts["refused"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(format!("{path}: {counts}")),
    });
    let shown = phone.try_at(node, WITHIN, ("GET", &around, "", None)).await;
    // It may have ended while he looked.
    if city.split.borrow().as_ref() != Some(split) || outside::now() > began + WITHIN {
        return;
    }
    let refused = taken.err().or(shown.err()).map(|why| format!("{}: {why}", name(node)));
    let after = began.saturating_sub(split.since);
    let side = names(side.iter().copied());
    city.looks.borrow_mut().push(Look { at: began, after, side, refused });
}

/// Looks, from every node, where the drivers of the city are; they must all be seen where they were
/// lately.
pub async fn fresh(city: &City) {
    let mut phone = city.phone("surveyor");
    for node in city.cluster.running() {
        for tried in 1.. {
            let stale = located::fresh(&name(node), &ages(city, &mut phone, node).await);
            if stale.is_empty() {
                break;
            }
            if tried == LOOKS_MAX {
                city.accuse(stale);
                break;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn ages(city: &City, phone: &mut Phone, node: usize) -> Vec<(String, Option<Duration>)> {
    let (lat, lng) = CORNER;
    let around = format!("/v1/nearby?lat={lat}&lng={lng}&radius_m=5000&limit=200");
    let shown = phone.try_at(node, WITHIN, ("GET", &around, "", None)).await.unwrap_or_default();
    let seen = shown["drivers"].as_array().cloned().unwrap_or_default();
    let age = |value: &Value| {
        let at = value["seen_at_ms"].as_u64().unwrap_or(0);
        Duration::from_millis(now_ms().saturating_sub(at))
    };
    let seen: BTreeMap<DriverId, Duration> =
        seen.iter().filter_map(|value| Some((maybe_id(value, "driver_id")?, age(value)))).collect();
    let at_work = |Seen { what, .. }: &Seen| {
        if let What::DriverAcked { driver } = what { Some(*driver) } else { None }
    };
    let drivers: Vec<DriverId> = city.seen().iter().filter_map(at_work).collect();
    drivers.into_iter().map(|driver| (driver.to_string(), seen.get(&driver).copied())).collect()
}
