//! A driver whose ride ends near the pickup takes the booking as his next, before one who is idle and
//! farther away; he comes when his ride is over, whichever node dies meanwhile, or the booking looks on.

use crate::client::Answer;
use crate::nodes::{Cluster, eventually};
use crate::people::{At, By, SQUARE, north_of};
use crate::phone::Phone;
use serde_json::{Value, json};

/// Drivers with a minute to go may be bound, and are waited for longer than these tests take.
const PATIENT: &[&str] = &["--next-within-ms", "60000", "--booking-ttl-ms", "600000"];
/// Only who is at the end of his ride may be, and has two seconds.
const IMPATIENT: &[&str] =
    &["--next-within-ms", "1000", "--next-patience-ms", "2000", "--booking-ttl-ms", "600000"];
/// The nodes that lead the driver's partition, and the booking's.
const HIS: u64 = 1;
const ITS: u64 = 2;

/// Where the first ride ends and the second begins: a booking ends 2 km north of where it began.
fn end() -> At {
    north_of(SQUARE, 2_000.0)
}

/// A booking that was offered to a driver with a rider aboard, and an idle one who is farther away.
struct Asked {
    cluster: Cluster,
    busy: String,
    idle: String,
    trip: String,
    bob: String,
    booking: String,
    offer: Value,
}

/// Waits for an offer of a booking, to a driver who goes on telling where he is.
async fn offered(cluster: &Cluster, driver: &str, at: At, booking: &str) -> Value {
    eventually("he is offered it", async || {
        cluster.ping(driver, at).await;
        let offers = cluster.get(cluster.any(), &format!("/v1/drivers/{driver}/offers")).await;
        let offer = offers.json["offers"].get(0).cloned()?;
        (offer["booking_id"] == booking).then_some(offer)
    })
    .await
}

async fn cancel(cluster: &Cluster, rider: &str, booking: &str) {
    let body = json!({ "reason": "changed my mind" });
    let path = format!("/v1/bookings/{booking}/cancel");
    cluster.post(&path, By::Rider(rider), &body).await.expect(200);
}

async fn asked(flags: &[&str]) -> Asked {
    let cluster = Cluster::start(3, flags).await;
    let (ada, cal) = (cluster.rider_at(3, "ada").await, cluster.rider_at(3, "cal").await);
    let bob = cluster.rider_at(ITS, "bob").await;
    let busy = cluster.free_driver_at(HIS, "dee", SQUARE).await;
    cluster.book(&ada, SQUARE).await;
    let trip = cluster.accept(&busy).await;
    cluster.step(&busy, &trip, &["arrive", "start"]).await;
    // While nobody else is there it is seen that the cells know where his ride ends.
    let probe = cluster.book(&cal, end()).await;
    offered(&cluster, &busy, end(), &probe).await;
    cancel(&cluster, &cal, &probe).await;
    let idle = cluster.free_driver_at(3, "eve", north_of(end(), 1_000.0)).await;
    cluster.ping(&busy, end()).await;
    let booking = cluster.book(&bob, end()).await;
    let offer = offered(&cluster, &busy, end(), &booking).await;
    let others = cluster.get(cluster.any(), &format!("/v1/drivers/{idle}/offers")).await;
    assert_eq!(others.json["offers"], json!([]), "{}", others.text);
    Asked { cluster, busy, idle, trip, bob, booking, offer }
}

impl Asked {
    /// Says yes, under a key of its own.
    async fn accept(&self) -> Answer {
        let body = json!({ "offer_id": self.offer["offer_id"] });
        let ask = self.cluster.ask(self.cluster.any(), "POST /v1/trips/accept");
        ask.driver(&self.busy).key("yes").json(&body).send().await
    }

    fn path(&self) -> String {
        format!("/v1/bookings/{}", self.booking)
    }

    /// Takes the ride as his next; nothing else is so far.
    async fn promised(&self) {
        let yes = self.accept().await.expect(202);
        let next = json!({
            "offer_id": self.offer["offer_id"],
            "booking_id": self.booking,
            "status": "PROMISED",
        });
        assert_eq!(yes.json, next);
        let now = self.cluster.becomes(&self.path(), "status", "PROMISED").await;
        let has = (&now["driver_id"], &now["trip_id"]);
        assert_eq!(has, (&json!(self.busy), &Value::Null), "{now}");
        let his = self.cluster.becomes(&self.driver(), "next_booking_id", &*self.booking).await;
        assert_eq!(his["current_trip_id"], *self.trip, "{his}");
    }

    fn driver(&self) -> String {
        format!("/v1/drivers/{}", self.busy)
    }

    /// His ride ends, and the next is his trip; he drives it.
    async fn goes_on(&self) {
        self.cluster.step(&self.busy, &self.trip, &["end"]).await;
        let now = self.cluster.becomes(&self.path(), "status", "ASSIGNED").await;
        assert_eq!(now["driver_id"], *self.busy, "{now}");
        let trip = now["trip_id"].as_str().unwrap();
        let his = self.cluster.becomes(&self.driver(), "current_trip_id", trip).await;
        assert_eq!(his["next_booking_id"], Value::Null, "{his}");
        // Who asks again hears what he was told.
        self.accept().await.expect(202);
        self.cluster.step(&self.busy, trip, &["arrive", "start", "end"]).await;
        self.cluster.becomes(&self.path(), "status", "COMPLETED").await;
        self.cluster.becomes(&self.driver(), "can_accept_bookings", true).await;
    }

    /// The booking looks on and goes to the idle driver, and the busy one is free after his ride.
    async fn looks_on(&self) {
        let (cluster, idle) = (&self.cluster, &self.idle);
        let offer = offered(cluster, idle, north_of(end(), 1_000.0), &self.booking).await;
        let body = json!({ "offer_id": offer["offer_id"] });
        let yes = cluster.post("/v1/trips/accept", By::Driver(idle), &body).await.expect(201);
        cluster.becomes(&self.driver(), "next_booking_id", Value::Null).await;
        cluster.step(&self.busy, &self.trip, &["end"]).await;
        cluster.becomes(&self.driver(), "can_accept_bookings", true).await;
        cluster.step(idle, &yes.text("trip_id"), &["arrive", "start", "end"]).await;
        cluster.becomes(&self.path(), "status", "COMPLETED").await;
    }
}

#[tokio::test]
async fn he_comes_though_the_node_of_the_booking_dies_between_his_yes_and_the_end_of_his_ride() {
    let mut asked = asked(PATIENT).await;
    asked.promised().await;
    asked.cluster.kill(ITS);
    asked.goes_on().await;
}

#[tokio::test]
async fn he_comes_though_his_own_node_dies_between_his_yes_and_the_end_of_his_ride() {
    let mut asked = asked(PATIENT).await;
    asked.promised().await;
    asked.cluster.kill(HIS);
    asked.goes_on().await;
}

#[tokio::test]
async fn a_rider_who_calls_off_frees_him_of_it_and_his_phone_says_so() {
    let asked = asked(PATIENT).await;
    let mut phone = Phone::open(&asked.cluster, 3, &asked.busy).await;
    let shown = phone.wait_for("next_offer").await;
    let offer = &asked.offer["offer_id"];
    assert_eq!((&shown["offer_id"], &shown["accepted"]), (offer, &json!(false)));
    asked.promised().await;
    cancel(&asked.cluster, &asked.bob, &asked.booking).await;
    let ended = phone.wait_for("offer_ended").await;
    assert_eq!((&ended["offer_id"], &ended["reason"]), (offer, &json!("WITHDRAWN")));
    asked.cluster.becomes(&asked.driver(), "next_booking_id", Value::Null).await;
    asked.accept().await.expect(202);
    asked.cluster.step(&asked.busy, &asked.trip, &["end"]).await;
    asked.cluster.becomes(&asked.driver(), "can_accept_bookings", true).await;
}

#[tokio::test]
async fn a_booking_whose_driver_does_not_come_in_time_looks_on() {
    let asked = asked(IMPATIENT).await;
    asked.accept().await.expect(202);
    asked.looks_on().await;
}

#[tokio::test]
async fn a_driver_may_call_off_what_he_took_as_his_next_and_the_booking_looks_on() {
    let asked = asked(PATIENT).await;
    asked.promised().await;
    let path = format!("/v1/offers/{}/decline", asked.offer["offer_id"].as_str().unwrap());
    asked.cluster.post(&path, By::Driver(&asked.busy), &json!({})).await.expect(200);
    asked.looks_on().await;
}
