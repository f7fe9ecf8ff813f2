//! Somebody who writes to each partition again and again, so that it is known when it serves.

use crate::city::{City, settled};
use crate::outside;
use crate::phone::{Party, Phone};
use crate::schedule::PARTITIONS;
use proto::DriverId;
use proto::slot::SlotMap;
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

/// How long one write may take; asking again is the point.
const WITHIN: Duration = Duration::from_millis(400);
/// The pause after a write that was answered, and after one that wasn't.
const CALM: Duration = Duration::from_millis(400);
const EAGER: Duration = Duration::from_millis(30);

/// Starts one for each partition.
pub fn all(city: &Rc<City>) -> Vec<JoinHandle<()>> {
    let slots = SlotMap::even(PARTITIONS);
    let lives_in = |group| {
        let names = (0..).map(|n| format!("probe {n}"));
        let mut there =
            names.filter(move |name| slots.group(DriverId::of_name(name).slot()) == group);
        there.next().expect("names enough")
    };
    let groups = SlotMap::even(PARTITIONS).groups();
    groups
        .map(|group| spawn_local(probe(Rc::clone(city), group.0, lives_in.clone()(group))))
        .collect()
}

/// A driver who goes on and off duty, far from everybody: each time one small write.
async fn probe(city: Rc<City>, group: u16, name: String) {
    let mut phone: Phone = city.phone(&name);
    let vehicle = json!({ "type": "SEDAN" });
    let body = json!({ "name": name, "vehicle": vehicle, "kyc_verified": true });
    settled("registering", phone.post("/v1/drivers", body).await);
    let me = DriverId::of_name(&name);
    phone.sign_in(Party::Driver(me.to_string()));
    for n in 0usize.. {
        if city.is_closed() {
            return;
        }
        let duty = if n.is_multiple_of(2) { "online" } else { "offline" };
        let path = format!("/v1/drivers/{me}/{duty}");
        let (asked, key) = (outside::now(), format!("{name} {n}"));
        // One door after the other: by chance somebody once asked a dead node ten times in a row.
        let doors = city.lines.doors.borrow().clone();
        let node = doors[n % doors.len()];
        let answer = phone.try_at(node, WITHIN, ("POST", &path, &key, Some(&json!({})))).await;
        if answer.is_ok() {
            let now = outside::now();
            city.service.borrow_mut().acked(now, group);
            city.takeovers.borrow_mut().acked(asked, now, group);
            sleep(CALM).await;
        } else {
            sleep(EAGER).await;
        }
    }
}
