//! Riders and drivers, made where a test needs them.

use crate::client::Answer;
use crate::nodes::{Cluster, eventually};
use proto::{BookingId, DriverId, OfferId, RiderId, Slot, TripId, WallMs};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A latitude and a longitude.
pub(crate) type At = (f64, f64);

/// The corner of a busy square.
pub(crate) const SQUARE: At = (40.758_0, -73.985_5);

/// A place some metres north of another; a degree of latitude has 111.2 km.
pub(crate) fn north_of((lat, lng): At, metres: f64) -> At {
    (lat + metres / 111_200.0, lng)
}

/// The phones' time: a wall clock that no step of the machine's takes back.
#[expect(clippy::disallowed_methods, reason = "a phone reads its own clock")]
pub(crate) fn now_ms() -> u64 {
    static BEGAN: LazyLock<(Instant, Duration)> =
        LazyLock::new(|| (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap()));
    let (instant, wall) = *BEGAN;
    u64::try_from((wall + instant.elapsed()).as_millis()).unwrap()
}

/// Who steps a trip or answers an offer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    Nobody,
    Rider(&'a str),
    Driver(&'a str),
}

impl Cluster {
    /// Three nodes with a rider on each, to see that every forward works.
    pub(crate) async fn with_riders() -> (Self, Vec<String>) {
        let cluster = Self::start(3, &[]).await;
        let mut riders = Vec::new();
        for home in 1..=3 {
            riders.push(cluster.rider_at(home, "ada").await);
        }
        (cluster, riders)
    }

    /// Registers a rider whose partition node `home` leads.
    pub(crate) async fn rider_at(&self, home: u64, stem: &str) -> String {
        let id = |name: &str| RiderId::of_name(name).to_string();
        let register = async |name: &str| {
            let ask = self.ask(self.any(), "POST /v1/riders").json(&json!({ "name": name }));
            ask.send().await.expect(201)
        };
        self.registered_at(home, stem, id, register).await.text("rider_id")
    }

    /// Registers a driver whose partition node `home` leads.
    pub(crate) async fn driver_at(&self, home: u64, stem: &str) -> String {
        let id = |name: &str| DriverId::of_name(name).to_string();
        let register = async |name: &str| {
            let vehicle = json!({ "type": "SEDAN" });
            let body = json!({ "name": name, "vehicle": vehicle, "kyc_verified": true });
            self.ask(self.any(), "POST /v1/drivers").json(&body).send().await.expect(201)
        };
        self.registered_at(home, stem, id, register).await.text("driver_id")
    }

    /// Tries names until one is served by `home`: partitions may be moving.
    async fn registered_at(
        &self,
        home: u64,
        stem: &str,
        id: impl Fn(&str) -> String,
        register: impl AsyncFn(&str) -> Answer,
    ) -> Answer {
        let mut numbers = 0..;
        eventually(&format!("node {home} registers {stem}"), async || {
            let name = format!("{stem} {}", numbers.next()?);
            if self.owner(&id(&name)).await != home {
                return None;
            }
            let answer = register(&name).await;
            (answer.header("x-hansom-served-by") == format!("n{home}")).then_some(answer)
        })
        .await
    }

    /// Names that nobody has, of riders whose partitions node `home` leads.
    pub(crate) async fn names_at(&self, home: u64, stem: &str, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for number in 0..1_000 {
            let name = format!("{stem} {number}");
            if self.owner(&RiderId::of_name(&name).to_string()).await == home {
                names.push(name);
            }
            if names.len() == count {
                return names;
            }
        }
        panic!("too few names live on node {home}: {names:?}");
    }

    /// A driver on duty at a place, seen there by whoever searches.
    pub(crate) async fn free_driver_at(&self, home: u64, stem: &str, at: At) -> String {
        let driver = self.driver_at(home, stem).await;
        let online = format!("POST /v1/drivers/{driver}/online");
        self.ask(self.any(), &online).send().await.expect(200);
        self.ping(&driver, at).await;
        self.finds(&driver, at, "online").await;
        driver
    }

    /// Waits until a driver is found at a place, so and by all nodes: in the first moments of a cluster
    /// they see different rings.
    pub(crate) async fn finds(&self, driver: &str, at: At, status: &str) {
        let nearby = format!("/v1/nearby?lat={}&lng={}&radius_m=100", at.0, at.1);
        eventually(&format!("{driver} is found {status}"), async || {
            for node in self.running() {
                let found = self.get(node, &nearby).await.expect(200);
                let mut drivers = found.json["drivers"].as_array()?.iter();
                drivers.find(|seen| seen["driver_id"] == driver && seen["status"] == status)?;
            }
            Some(())
        })
        .await;
    }

    /// Tells where a driver is, until the owner of the place has heard it.
    pub(crate) async fn ping(&self, driver: &str, (lat, lng): At) {
        eventually(&format!("a ping of {driver} is applied"), async || {
            let fix = json!({ "driver_id": driver, "lat": lat, "lng": lng, "ts": now_ms() });
            let ask = self.ask(self.any(), "PUT /v1/drivers/location").json(&fix);
            let counts = ask.send().await.expect(202);
            (counts.json["applied"] == 1).then_some(())
        })
        .await;
    }

    /// Books a ride from a place to one 2 km north.
    pub(crate) async fn book(&self, rider: &str, pickup: At) -> String {
        let body = booking_body(pickup);
        let ask = self.ask(self.any(), "POST /v1/bookings").rider(rider).json(&body);
        ask.send().await.expect(201).text("booking_id")
    }

    /// A POST that is expected to be served.
    pub(crate) async fn post(&self, path: &str, by: By<'_>, body: &Value) -> Answer {
        let ask = self.ask(self.any(), &format!("POST {path}")).json(body);
        match by {
            By::Nobody => ask,
            By::Rider(rider) => ask.rider(rider),
            By::Driver(driver) => ask.driver(driver),
        }
        .send()
        .await
    }

    /// Waits for the offer before a driver.
    pub(crate) async fn offer_before(&self, driver: &str) -> Value {
        eventually(&format!("an offer comes to {driver}"), async || {
            let path = format!("/v1/drivers/{driver}/offers");
            let offers = self.get(self.any(), &path).await;
            offers.json["offers"].get(0).cloned()
        })
        .await
    }

    /// Accepts the offer before a driver; gives the trip.
    pub(crate) async fn accept(&self, driver: &str) -> String {
        let offer = self.offer_before(driver).await;
        let body = json!({ "offer_id": offer["offer_id"] });
        let trip = self.post("/v1/trips/accept", By::Driver(driver), &body).await;
        trip.expect(201).text("trip_id")
    }

    /// Takes a trip through some of its steps.
    pub(crate) async fn step(&self, driver: &str, trip: &str, steps: &[&str]) {
        for step in steps {
            let path = format!("/v1/trips/{trip}/{step}");
            self.post(&path, By::Driver(driver), &json!({})).await.expect(200);
        }
    }

    /// Waits until a field of something has a value.
    pub(crate) async fn becomes(&self, path: &str, field: &str, want: impl Into<Value>) -> Value {
        let want: Value = want.into();
        eventually(&format!("{field} of {path} becomes {want}"), async || {
            let found = self.get(self.any(), path).await;
            (found.status == 200 && found.json[field] == want).then_some(found.json)
        })
        .await
    }

    /// Every node answers for records of every node, over at most one forward, or two while the
    /// record's partition moves.
    pub(crate) async fn all_serve_all(&self, riders: &[String]) {
        for node in self.running() {
            for rider in riders {
                let answer = self.get(node, &format!("/v1/riders/{rider}")).await.expect(200);
                assert!(answer.hops() <= 2, "{}: {} hops", answer.what, answer.hops());
            }
        }
    }
}

/// The body of a booking.
pub(crate) fn booking_body(pickup: At) -> Value {
    let (lat, lng) = north_of(pickup, 2_000.0);
    json!({
        "pickup": { "lat": pickup.0, "lng": pickup.1, "address": "the square" },
        "destination": { "lat": lat, "lng": lng },
    })
}

/// Well-formed ids of nothing, all on one slot.
pub(crate) struct Unknown {
    pub(crate) booking: String,
    pub(crate) trip: String,
    pub(crate) offer: String,
    pub(crate) driver: String,
    pub(crate) rider: String,
}

pub(crate) fn unknown(slot: u16) -> Unknown {
    let (slot, at, random) = (Slot(slot), WallMs(1_700_000_000_000), 42);
    Unknown {
        booking: BookingId::mint(slot, at, random).to_string(),
        trip: TripId::mint(slot, at, random).to_string(),
        offer: OfferId::mint(slot, at, random).to_string(),
        driver: DriverId::from_raw(u64::from(slot.0)).to_string(),
        rider: RiderId::from_raw(u64::from(slot.0)).to_string(),
    }
}
