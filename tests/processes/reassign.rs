//! A booking changes to a better driver before the pickup, while the node that decides dies; and it
//! keeps the one that has arrived. Or to a later one, for the sake of a rider who has nobody else.

use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, north_of};
use crate::phone::Phone;
use crate::streams::Follower;
use serde_json::{Value, json};

/// Changes are allowed, and looked for soon.
const FLAGS: &[&str] = &[
    "--reassign-max",
    "2",
    "--reassign-rest-ms",
    "500",
    "--reassign-every-ms",
    "300",
    "--reassign-left-ms",
    "20000",
];
/// The node that leads the booking's partition.
const HOME: u64 = 2;
/// Where the first driver is: four minutes away.
const FAR_M: f64 = 1_200.0;

/// A booking with a driver who is far away, and one next door who has been asked since.
struct Asked {
    cluster: Cluster,
    rider: String,
    booking: String,
    far: String,
    trip: String,
    near: String,
    offer: Value,
}

async fn asked() -> Asked {
    let cluster = Cluster::start(3, FLAGS).await;
    let rider = cluster.rider_at(HOME, "ada").await;
    let far = cluster.free_driver_at(1, "dee", north_of(SQUARE, FAR_M)).await;
    let booking = cluster.book(&rider, SQUARE).await;
    let trip = cluster.accept(&far).await;
    cluster.becomes(&format!("/v1/drivers/{far}"), "current_trip_id", &*trip).await;
    let near = cluster.free_driver_at(3, "eve", SQUARE).await;
    let offer = cluster.offer_before(&near).await;
    assert_eq!(offer["booking_id"], booking, "{offer}");
    let kept = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.expect(200);
    assert_eq!((&kept.json["status"], &kept.json["driver_id"]), (&json!("ASSIGNED"), &json!(far)));
    Asked { cluster, rider, booking, far, trip, near, offer }
}

impl Asked {
    async fn accept(&self) -> crate::client::Answer {
        let body = json!({ "offer_id": self.offer["offer_id"] });
        self.cluster.post("/v1/trips/accept", By::Driver(&self.near), &body).await
    }

    /// The booking has the near driver and this trip, the far one is free, and the ride comes to its end.
    async fn has_changed_to(self, trip: &str) {
        let Self { cluster, rider, booking, far, trip: left, near, .. } = self;
        let path = format!("/v1/bookings/{booking}");
        let now = cluster.becomes(&path, "driver_id", &*near).await;
        assert_eq!((&now["status"], &now["trip_id"]), (&json!("ASSIGNED"), &json!(trip)));
        let active = cluster.ask(cluster.any(), "GET /v1/trips/active").rider(&rider);
        assert_eq!(active.send().await.expect(200).text("trip_id"), trip);

        let left = cluster.get(cluster.any(), &format!("/v1/trips/{left}")).await.expect(200).json;
        assert_eq!(left["status"], "CANCELLED", "{left}");
        let last = left["transitions"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["by"], &last["reason"]), (&json!("SYSTEM"), &json!("REASSIGNED")));
        assert_eq!(left["cancellation_fee_minor"], 0, "nobody pays for it");
        let freed = format!("/v1/drivers/{far}");
        let freed = cluster.becomes(&freed, "can_accept_bookings", true).await;
        assert_eq!(freed["current_trip_id"], Value::Null);

        cluster.step(&near, trip, &["arrive", "start", "end"]).await;
        cluster.becomes(&path, "status", "COMPLETED").await;
        cluster.becomes(&format!("/v1/drivers/{near}"), "can_accept_bookings", true).await;
    }
}

#[tokio::test]
async fn a_booking_changes_to_a_nearer_driver_and_both_phones_are_told() {
    let asked = asked().await;
    let mut phone = Phone::open(&asked.cluster, 1, &asked.far).await;
    let mut stream = Follower::open(&asked.cluster, 3, &asked.booking, None).await;
    stream.until("booking SNAPSHOT").await;
    let trip = asked.accept().await.expect(201).text("trip_id");
    let told = stream.until("booking REASSIGNED").await;
    assert_eq!(
        (&told.data["driver_id"], &told.data["trip_id"]),
        (&json!(asked.near), &json!(trip)),
        "{told:?}"
    );
    stream.until("trip DRIVER_ASSIGNED").await;
    let stories = stream.stories();
    let called_off = |(_, what): &(String, String)| what.ends_with("CANCELLED");
    assert!(!stories.iter().any(called_off), "his ride goes on: {stories:?}");
    let told = loop {
        let told = phone.wait_for("trip").await;
        if told["status"] == "CANCELLED" {
            break told;
        }
    };
    assert_eq!(
        (&told["trip_id"], &told["by"], &told["reason"]),
        (&json!(asked.trip), &json!("SYSTEM"), &json!("REASSIGNED"))
    );
    // Who asks about the first yes once more hears the same yes.
    asked.has_changed_to(&trip).await;
}

#[tokio::test]
async fn the_change_is_made_though_its_node_dies_before_it_has_decided() {
    let mut asked = asked().await;
    asked.cluster.kill(HOME);
    let trip = asked.accept().await.expect(201).text("trip_id");
    asked.has_changed_to(&trip).await;
}

#[tokio::test]
async fn the_change_is_finished_though_its_node_dies_when_it_has_decided() {
    let mut asked = asked().await;
    let trip = asked.accept().await.expect(201).text("trip_id");
    asked.cluster.kill(HOME);
    asked.has_changed_to(&trip).await;
}

#[tokio::test]
async fn a_driver_who_has_arrived_keeps_his_rider() {
    let asked = asked().await;
    asked.cluster.step(&asked.far, &asked.trip, &["arrive"]).await;
    // The offer is taken back at once, or he is told when he says yes.
    let refused = asked.accept().await;
    assert!([409, 410].contains(&refused.status), "{}", refused.text);
    let Asked { cluster, booking, far, trip, near, .. } = asked;
    let path = format!("/v1/bookings/{booking}");
    let kept = cluster.get(cluster.any(), &path).await.expect(200).json;
    assert_eq!((&kept["driver_id"], &kept["trip_id"]), (&json!(far), &json!(trip)));
    cluster.step(&far, &trip, &["start", "end"]).await;
    cluster.becomes(&path, "status", "COMPLETED").await;
    for driver in [far, near] {
        let path = format!("/v1/drivers/{driver}");
        eventually("he is free", async || {
            let found = cluster.get(cluster.any(), &path).await;
            (found.status == 200 && found.json["can_accept_bookings"] == true).then_some(())
        })
        .await;
    }
}

/// Where somebody waits whom only the driver of another could reach within the cap of 300 s, 1,385 m.
const STRANDED_M: f64 = 1_700.0;

#[tokio::test]
async fn a_driver_on_his_way_is_yielded_to_a_rider_whom_nobody_else_can_reach() {
    let flags = ["--yield-ms", "60000", "--reassign-rest-ms", "500"];
    let cluster = Cluster::start(3, &flags).await;
    let ada = cluster.rider_at(HOME, "ada").await;
    let dee = cluster.free_driver_at(1, "dee", north_of(SQUARE, 900.0)).await;
    let adas = cluster.book(&ada, SQUARE).await;
    let left = cluster.accept(&dee).await;
    cluster.becomes(&format!("/v1/drivers/{dee}"), "current_trip_id", &*left).await;
    // He would be at the square 22 s after dee, and cannot reach the other.
    let eve = cluster.free_driver_at(3, "eve", north_of(SQUARE, -1_000.0)).await;
    let cal = cluster.rider_at(1, "cal").await;
    let cals = cluster.book(&cal, north_of(SQUARE, STRANDED_M)).await;

    let offer = cluster.offer_before(&eve).await;
    assert_eq!(offer["booking_id"], adas, "{offer}");
    let trip = cluster.accept(&eve).await;
    let path = format!("/v1/bookings/{adas}");
    let changed = cluster.becomes(&path, "driver_id", &*eve).await;
    assert_eq!((&changed["status"], &changed["trip_id"]), (&json!("ASSIGNED"), &json!(trip)));
    let offer = cluster.offer_before(&dee).await;
    assert_eq!(offer["booking_id"], cals, "{offer}");
    let other = cluster.accept(&dee).await;
    cluster.step(&eve, &trip, &["arrive", "start", "end"]).await;
    cluster.step(&dee, &other, &["arrive", "start", "end"]).await;
    for booking in [adas, cals] {
        cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "COMPLETED").await;
    }
}
