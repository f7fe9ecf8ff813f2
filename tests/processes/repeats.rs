//! Phones on flaky networks send everything again. Each change is sent one to five times at once, to
//! random nodes, while nodes are killed: it happens once, and every copy gets the same answer.

use crate::client::{Answer, Ask};
use crate::nodes::{Cluster, PHONE, POLL, WITHIN, eventually};
use crate::people::{SQUARE, booking_body, north_of};
use futures_util::future::join_all;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Rides, one after another; in each a node is killed, at another step.
const RIDES: usize = 6;
/// Changes of one ride.
const CHANGES: usize = 16;
/// A node dies so long after the copies were sent, at most.
const DIES_WITHIN_MS: u64 = 30;

/// People who know all nodes, and don't know which of them live.
struct Crowd {
    client: Client,
    nodes: Vec<SocketAddr>,
    rng: ChaCha8Rng,
    /// Changes so far, of all rides.
    changes: usize,
}

impl Crowd {
    /// Sends a change as often as it is its turn, all copies at once, each to a random node and again
    /// elsewhere until it has an answer. All answers must be the same; gives it.
    async fn change(
        &mut self,
        what: &str,
        by: Option<(&str, &str)>,
        body: Value,
        killing: impl Future<Output = ()>,
    ) -> Answer {
        self.changes += 1;
        let (copies, key) = (1 + self.changes % 5, format!("change {}", self.changes));
        let seeds: Vec<u64> = (0..copies).map(|_| self.rng.random()).collect();
        let copies = seeds.into_iter().map(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (client, nodes, key, body) = (&self.client, &self.nodes, &key, &body);
            async move {
                let answered = timeout(WITHIN, async {
                    loop {
                        let node = nodes[rng.random_range(0..nodes.len())];
                        let mut ask = Ask::new(client, node, what).key(key).json(body);
                        if let Some((header, id)) = by {
                            ask = ask.header(header, id);
                        }
                        match ask.try_send().await {
                            Some(answer) if !answer.says_again() => return answer,
                            Some(_) | None => sleep(POLL).await,
                        }
                    }
                });
                answered.await.unwrap_or_else(|_| panic!("{what}: no answer"))
            }
        });
        let (answers, ()) = tokio::join!(join_all(copies), killing);
        let first = answers[0].clone();
        for answer in &answers {
            assert_eq!((answer.status, &answer.json), (first.status, &first.json), "{what}");
        }
        assert!(first.status < 300, "{what}: {}", first.text);
        first
    }
}

#[tokio::test]
async fn every_change_that_is_sent_again_and_again_happens_once() {
    let mut cluster = Cluster::start(3, &[]).await;
    let mut crowd = Crowd {
        client: Client::builder().no_proxy().timeout(Duration::from_secs(3)).build().unwrap(),
        nodes: cluster.running().into_iter().map(|node| cluster.http(node)).collect(),
        rng: ChaCha8Rng::seed_from_u64(7),
        changes: 0,
    };
    for n in 0..RIDES {
        let victim = cluster.running()[n % 3];
        let dies_at = crowd.changes + (n * 5 + 2) % CHANGES;
        let at = north_of(SQUARE, 12_000.0 * f64::from(u32::try_from(n).unwrap()));
        let (name, car) = (format!("ada {n}"), format!("dee {n}"));
        let vehicle = json!({ "type": "SEDAN" });
        let rider = json!({ "name": name, "phone": PHONE });
        let driver = json!({ "name": car, "vehicle": vehicle, "kyc_verified": true });
        macro_rules! change {
            ($what:expr, $by:expr, $body:expr) => {{
                let pause = Duration::from_millis(crowd.rng.random_range(0..DIES_WITHIN_MS));
                let dies = crowd.changes == dies_at;
                let killing = async {
                    if dies {
                        sleep(pause).await;
                        cluster.kill(victim);
                    }
                };
                crowd.change(&$what, $by, $body, killing).await
            }};
        }
        let rider = change!("POST /v1/riders", None, rider).text("rider_id");
        let driver = change!("POST /v1/drivers", None, driver).text("driver_id");
        let (as_rider, as_driver) = (Some(("x-user-id", &*rider)), Some(("x-driver-id", &*driver)));
        change!(format!("POST /v1/drivers/{driver}/online"), None, json!({}));
        cluster.ping(&driver, at).await;

        // One that is declined, called off, and forgotten.
        let booking = change!("POST /v1/bookings", as_rider, booking_body(at)).text("booking_id");
        let offer = cluster.offer_before(&driver).await;
        let offer = offer["offer_id"].as_str().unwrap().to_owned();
        change!(format!("POST /v1/offers/{offer}/decline"), as_driver, json!({}));
        change!(format!("POST /v1/bookings/{booking}/cancel"), as_rider, json!({}));
        let ban = json!({ "for_s": 60 });
        change!(format!("PUT /v1/riders/{rider}/ban"), None, ban);
        change!(format!("DELETE /v1/riders/{rider}/ban"), None, json!({}));

        // And one that becomes a ride.
        cluster.ping(&driver, at).await;
        let booked = change!("POST /v1/bookings", as_rider, booking_body(at)).text("booking_id");
        let offer = eventually("an offer comes", async || {
            cluster.ping(&driver, at).await;
            let path = format!("/v1/drivers/{driver}/offers");
            cluster.get(cluster.any(), &path).await.json["offers"].get(0).cloned()
        })
        .await;
        let yes = json!({ "offer_id": offer["offer_id"] });
        let trip = change!("POST /v1/trips/accept", as_driver, yes).text("trip_id");
        for step in ["arrive", "start", "pause", "resume", "end"] {
            change!(format!("POST /v1/trips/{trip}/{step}"), as_driver, json!({}));
        }
        cluster.becomes(&format!("/v1/drivers/{driver}"), "can_accept_bookings", true).await;
        change!(format!("POST /v1/drivers/{driver}/offline"), None, json!({}));
        if cluster.running().len() < 3 {
            cluster.restart(victim).await;
        }

        let trip = cluster.get(cluster.any(), &format!("/v1/trips/{trip}")).await.expect(200).json;
        let transitions = trip["transitions"].as_array().unwrap();
        let states: Vec<_> = transitions.iter().map(|step| step["to"].as_str().unwrap()).collect();
        let once = [
            "DRIVER_ASSIGNED",
            "DRIVER_ARRIVED",
            "IN_PROGRESS",
            "PAUSED",
            "IN_PROGRESS",
            "COMPLETED",
        ];
        assert_eq!(states, once);
        let bookings = cluster.get(cluster.any(), &format!("/v1/riders/{rider}/bookings")).await;
        let bookings = bookings.expect(200).json["bookings"].as_array().unwrap().clone();
        let bookings: Vec<_> =
            bookings.iter().map(|it| (it["booking_id"].clone(), it["status"].clone())).collect();
        let made = [(json!(booked), json!("COMPLETED")), (json!(booking), json!("CANCELLED"))];
        assert_eq!(bookings, made);
        let driven = cluster.get(cluster.any(), &format!("/v1/drivers/{driver}/bookings")).await;
        assert_eq!(driven.expect(200).json["bookings"].as_array().map(Vec::len), Some(1));
    }
}
