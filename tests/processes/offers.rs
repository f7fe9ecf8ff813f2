//! Offers that are not accepted: declined, let pass, called off, or made to nobody.

use crate::nodes::{Cluster, eventually};
use crate::people::{By, SQUARE, north_of};
use crate::phone::Phone;
use crate::ride::thrice;
use serde_json::json;

/// Times short enough for a test: an offer lives 2 s, a booking 10 s.
const SHORT: &[&str] =
    &["--offer-ttl-ms", "2000", "--offer-shown-ms", "1500", "--booking-ttl-ms", "10000"];

#[tokio::test]
async fn a_decline_and_a_silence_each_pass_the_offer_to_the_next_driver() {
    let cluster = Cluster::start(3, SHORT).await;
    // Nobody drives there: this booking is left to expire while the others go on.
    let lonely = cluster.rider_at(1, "lonely").await;
    let unserved = cluster.book(&lonely, north_of(SQUARE, 50_000.0)).await;

    let near = cluster.free_driver_at(1, "near", north_of(SQUARE, 50.0)).await;
    let middle = cluster.free_driver_at(2, "middle", north_of(SQUARE, 300.0)).await;
    let far = cluster.free_driver_at(3, "far", north_of(SQUARE, 600.0)).await;
    let mut phones = Vec::new();
    for driver in [&near, &middle, &far] {
        phones.push(Phone::open(&cluster, cluster.any(), driver).await);
    }
    let rider = cluster.rider_at(2, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;

    let first = phones[0].wait_for("offer").await;
    let decline = format!("POST /v1/offers/{}/decline", first["offer_id"].as_str().unwrap());
    let declined = thrice(&cluster, &decline, By::Driver(&near), &json!({})).await.expect(200);
    assert_eq!(declined.json["current_offer_id"], json!(null), "{}", declined.text);
    let body = json!({ "offer_id": first["offer_id"] });
    cluster.post("/v1/trips/accept", By::Driver(&near), &body).await.problem(409, "OFFER_EXPIRED");

    let second = phones[1].wait_for("offer").await;
    let ended = phones[1].wait_for("offer_ended").await;
    assert_eq!((&ended["offer_id"], &ended["reason"]), (&second["offer_id"], &json!("EXPIRED")));
    let body = json!({ "offer_id": second["offer_id"] });
    cluster
        .post("/v1/trips/accept", By::Driver(&middle), &body)
        .await
        .problem(409, "OFFER_EXPIRED");

    let third = phones[2].wait_for("offer").await;
    assert_eq!(third["booking_id"], booking);
    let trip = cluster.accept(&far).await;
    let won = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.expect(200);
    assert_eq!((&won.json["trip_id"], &won.json["driver_id"]), (&json!(trip), &json!(far)));
    let fates: Vec<_> =
        won.json["offers"].as_array().unwrap().iter().map(|o| &o["status"]).collect();
    assert_eq!(fates, ["DECLINED", "EXPIRED", "ACCEPTED"], "{}", won.text);
    for driver in [&near, &middle] {
        cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
    }

    let expired =
        cluster.becomes(&format!("/v1/bookings/{unserved}"), "status", "REQUEST_EXPIRED").await;
    assert_eq!(expired["offers"], json!([]));
    let path = format!("/v1/bookings/{unserved}/cancel");
    cluster.post(&path, By::Rider(&lonely), &json!({})).await.problem(409, "BOOKING_ENDED");
    let rider = cluster.get(cluster.any(), &format!("/v1/riders/{lonely}")).await.expect(200);
    assert_eq!(rider.json["active_booking_id"], json!(null));
}

#[tokio::test]
async fn a_cancelled_booking_takes_its_offer_back_and_makes_no_other() {
    let cluster = Cluster::start(3, SHORT).await;
    let near = cluster.free_driver_at(1, "near", north_of(SQUARE, 50.0)).await;
    let far = cluster.free_driver_at(2, "far", north_of(SQUARE, 300.0)).await;
    let mut phone = Phone::open(&cluster, 3, &near).await;
    let rider = cluster.rider_at(3, "ada").await;
    let stranger = cluster.rider_at(3, "eve").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let offer = phone.wait_for("offer").await;

    let cancel = format!("POST /v1/bookings/{booking}/cancel");
    let path = format!("/v1/bookings/{booking}/cancel");
    cluster.post(&path, By::Rider(&stranger), &json!({})).await.problem(403, "UNAUTHORIZED");
    let body = json!({ "reason": "rain has stopped" });
    let cancelled = thrice(&cluster, &cancel, By::Rider(&rider), &body).await.expect(200);
    assert_eq!(
        (&cancelled.json["status"], &cancelled.json["cancelled_by"]),
        (&json!("CANCELLED"), &json!("RIDER"))
    );
    let ended = phone.wait_for("offer_ended").await;
    assert_eq!(ended["offer_id"], offer["offer_id"]);
    let body = json!({ "offer_id": offer["offer_id"] });
    let late = cluster.post("/v1/trips/accept", By::Driver(&near), &body).await;
    late.problem(410, "OFFER_TAKEN");
    cluster.becomes(&format!("/v1/drivers/{near}"), "can_accept_bookings", true).await;

    // The next ride meets a free driver; the cancelled one has made no offer beside.
    let next = cluster.book(&rider, SQUARE).await;
    let offer = cluster.offer_before(&near).await;
    assert_eq!(offer["booking_id"], next);
    cluster.accept(&near).await;
    let offers = cluster.get(cluster.any(), &format!("/v1/drivers/{far}/offers")).await.expect(200);
    assert_eq!(offers.json["offers"], json!([]));
    let old = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await.expect(200);
    assert_eq!(old.json["offers"].as_array().map(Vec::len), Some(1), "{}", old.text);
}

#[tokio::test]
async fn a_trip_that_is_called_off_frees_its_driver() {
    let cluster = Cluster::start(3, SHORT).await;
    let driver = cluster.free_driver_at(1, "dee", SQUARE).await;
    for (home, by_rider) in [(2, true), (3, false)] {
        let rider = cluster.rider_at(home, "ada").await;
        cluster.ping(&driver, SQUARE).await;
        let booking = cluster.book(&rider, SQUARE).await;
        let trip = cluster.accept(&driver).await;
        let offline = format!("/v1/drivers/{driver}/offline");
        cluster.post(&offline, By::Nobody, &json!({})).await.problem(409, "DRIVER_BUSY");
        let by = if by_rider { By::Rider(&rider) } else { By::Driver(&driver) };
        let cancel = format!("POST /v1/trips/{trip}/cancel");
        let body = json!({ "reason": "changed plans" });
        let cancelled = thrice(&cluster, &cancel, by, &body).await.expect(200);
        assert_eq!(cancelled.json["status"], "CANCELLED", "{}", cancelled.text);
        let path = format!("/v1/trips/{trip}/start");
        cluster.post(&path, By::Driver(&driver), &json!({})).await.problem(422, "TRIP_CANCELLED");
        cluster.becomes(&format!("/v1/bookings/{booking}"), "status", "CANCELLED").await;
        cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
    }
    let offline = format!("/v1/drivers/{driver}/offline");
    cluster.post(&offline, By::Nobody, &json!({})).await.expect(200);
    let nearby = format!("/v1/nearby?lat={}&lng={}", SQUARE.0, SQUARE.1);
    eventually("a driver off duty is not seen", async || {
        let found = cluster.get(cluster.any(), &nearby).await.expect(200);
        let drivers = found.json["drivers"].as_array().unwrap();
        drivers.iter().all(|seen| seen["status"] == "offline").then_some(())
    })
    .await;
}
