//! A node dies, and those who listened to it listen to another: a rider's stream and a driver's
//! socket, in the middle of a ride.

use crate::nodes::Cluster;
use crate::people::{At, By, SQUARE, booking_body, north_of, now_ms};
use crate::phone::Phone;
use crate::streams::Follower;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How soon both must be at another node, in milliseconds.
const MOVE_WITHIN_MS: u64 = 2_000;
/// How long a message may take that must come.
const WITHIN: Duration = Duration::from_secs(10);
/// How long nothing may come where nothing should.
const MOMENT: Duration = Duration::from_millis(700);

/// A driver's phone that dials another node when its own has died.
struct Roamer {
    driver: String,
    phone: Phone,
    /// Everything that it was told, but for the greetings.
    told: Vec<Value>,
    cursor: Option<String>,
}

impl Roamer {
    async fn open(cluster: &Cluster, node: u64, driver: &str, cursor: Option<&str>) -> Self {
        let phone = Phone::resume(cluster, node, driver, cursor).await;
        let (told, from) = (Vec::new(), cursor.map(ToOwned::to_owned));
        let mut roamer = Self { driver: driver.to_owned(), phone, told, cursor: from };
        let hello = roamer.hear().await.expect("a greeting");
        let begins = (&hello["type"], &hello["afresh"]);
        assert_eq!(begins, (&json!("hello"), &json!(cursor.is_none())), "{hello}");
        roamer.told.clear();
        roamer
    }

    /// The next message; nothing when the node has gone.
    async fn hear(&mut self) -> Option<Value> {
        let message = self.phone.hear().await?;
        if let Some(cursor) = message["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        self.told.push(message.clone());
        Some(message)
    }

    /// Reads on until it is told of something.
    async fn until(&mut self, what: &str) {
        while self.told.last().is_none_or(|last| said(last) != what) {
            let heard = timeout(WITHIN, self.hear()).await;
            let heard = heard.unwrap_or_else(|_| panic!("only {:?} before {what}", self.told));
            assert!(heard.is_some(), "its node died before {what}");
        }
    }

    /// Takes what was on its way, and goes on at another node.
    async fn move_to(&mut self, cluster: &Cluster, node: u64) {
        while self.hear().await.is_some() {}
        let next = Self::open(cluster, node, &self.driver, self.cursor.as_deref()).await;
        (self.phone, self.cursor) = (next.phone, next.cursor);
    }

    fn said(&self) -> Vec<String> {
        self.told.iter().map(said).collect()
    }
}

/// A message in short: `offer`, `offer_ended EXPIRED`, `trip 1 DRIVER_ASSIGNED`.
fn said(message: &Value) -> String {
    let fields = ["type", "sequence", "reason", "status"].map(|field| &message[field]);
    let word = |word: &Value| match word {
        Value::String(word) => word.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let words = fields.into_iter().map(word).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The command that an event's place is of.
fn index(id: &str) -> u64 {
    id.split('.').next().unwrap().parse().unwrap()
}

/// A rider's stream that goes on at another node.
struct Listener {
    booking: String,
    stream: Follower,
    told: Vec<(String, String)>,
}

impl Listener {
    async fn open(cluster: &Cluster, node: u64, booking: &str) -> Self {
        let mut stream = Follower::open(cluster, node, booking, None).await;
        stream.until("booking SNAPSHOT").await;
        Self { booking: booking.to_owned(), stream, told: Vec::new() }
    }

    async fn move_to(&mut self, cluster: &Cluster, node: u64) {
        while self.stream.next().await.is_some() {}
        self.told.extend(self.stream.stories());
        let last = self.stream.last_id();
        self.stream = Follower::open(cluster, node, &self.booking, Some(&last)).await;
    }

    /// Reads on to the end; gives all that was told.
    async fn end(mut self) -> Vec<(String, String)> {
        self.stream.end().await;
        self.told.extend(self.stream.stories());
        self.told
    }
}

/// Both, in one ride.
struct Ride<'a> {
    cluster: &'a mut Cluster,
    victim: u64,
    next: u64,
    rider: String,
    driver: String,
    booking: String,
    phone: Roamer,
    listener: Listener,
    slowest_ms: u64,
}

impl<'a> Ride<'a> {
    /// A ride with both at the victim, and the offer out. `homes` lead the rider's partition and the
    /// driver's: while an offer is out, not the same node, or it may be ended because its driver can't
    /// be asked.
    async fn begin(
        cluster: &'a mut Cluster,
        (victim, next): (u64, u64),
        homes: (u64, u64),
        at: At,
    ) -> Self {
        let rider = cluster.rider_at(homes.0, "ada").await;
        let driver = cluster.free_driver_at(homes.1, "dee", north_of(at, 200.0)).await;
        let mut phone = Roamer::open(cluster, victim, &driver, None).await;
        cluster.ping(&driver, north_of(at, 200.0)).await;
        let booking = cluster.book(&rider, at).await;
        let listener = Listener::open(cluster, victim, &booking).await;
        phone.until("offer").await;
        Self { cluster, victim, next, rider, driver, booking, phone, listener, slowest_ms: 0 }
    }

    /// SIGKILL; meanwhile the ride goes on.
    async fn kill<T>(&mut self, meanwhile: impl AsyncFnOnce(&Cluster, &str) -> T) -> T {
        self.cluster.kill(self.victim);
        let killed = now_ms();
        let Self { cluster, next, phone, listener, driver, .. } = self;
        let cluster: &Cluster = cluster;
        let moved = async {
            tokio::join!(phone.move_to(cluster, *next), listener.move_to(cluster, *next));
            now_ms() - killed
        };
        let (done, moved_ms) = tokio::join!(meanwhile(cluster, driver), moved);
        self.slowest_ms = self.slowest_ms.max(moved_ms);
        done
    }

    /// Compares what both were told with what is written.
    async fn compare(self, trip: Option<&str>) {
        let Self { cluster, next, booking, driver, phone, listener, slowest_ms, .. } = self;
        assert!(slowest_ms <= MOVE_WITHIN_MS, "they were at another node after {slowest_ms} ms");
        let told = listener.end().await;
        let begun = index(&told[0].0);
        let mut whole = Follower::open(cluster, next, &booking, Some("0.0")).await;
        whole.end().await;
        let since = |told: &[(String, String)]| -> Vec<(String, String)> {
            // The place of the end is wherever the log had come to.
            let written = told.iter().filter(|(id, what)| index(id) > begun && what != "end END");
            written.cloned().collect()
        };
        assert_eq!(since(&told), since(&whole.stories()), "the rider was told what is written");

        let steps = match trip {
            Some(trip) => {
                let trip = cluster.get(next, &format!("/v1/trips/{trip}")).await.expect(200);
                let step = |step: &Value| {
                    let (number, reason) = (&step["sequence"], step["reason"].as_str().unwrap());
                    let words = format!("trip {number} {reason} {}", step["to"].as_str().unwrap());
                    words.replace("  ", " ")
                };
                trip.json["transitions"].as_array().unwrap().iter().map(step).collect()
            }
            None => vec!["offer_ended CANCELLED".to_owned()],
        };
        let all = [vec!["offer".to_owned()], steps].concat();
        assert_eq!(phone.said(), all, "the driver was told what is written");

        // Whoever comes from anywhere in it is told the rest; an offer that has ended is not shown.
        for (from, message) in phone.told.iter().enumerate() {
            let cursor = message["cursor"].as_str();
            let mut again = Roamer::open(cluster, cluster.any(), &driver, cursor).await;
            for what in &all[from + 1..] {
                again.until(what).await;
            }
            assert_eq!(again.said(), all[from + 1..], "from {message}");
        }
    }
}

#[tokio::test]
async fn streams_move_within_two_seconds_of_a_sigkill_and_miss_nothing() {
    let mut cluster = Cluster::start_alone(3, &[]).await;
    let places = [0.0, 20_000.0, 40_000.0, 60_000.0].map(|metres| north_of(SQUARE, metres));

    // With the offer out: it is accepted while nobody listens.
    let mut ride = Ride::begin(&mut cluster, (1, 2), (3, 1), places[0]).await;
    let trip = ride.kill(async |cluster, driver| cluster.accept(driver).await).await;
    finish(ride, &trip, &["arrive", "start", "end"]).await;
    cluster.restart(1).await;

    // Just accepted.
    let mut ride = Ride::begin(&mut cluster, (2, 3), (2, 2), places[1]).await;
    let trip = ride.cluster.accept(&ride.driver).await;
    ride.kill(async |cluster, driver| cluster.step(driver, &trip, &["arrive"]).await).await;
    finish(ride, &trip, &["start", "end"]).await;
    cluster.restart(2).await;

    // On the way.
    let mut ride = Ride::begin(&mut cluster, (3, 1), (3, 3), places[2]).await;
    let trip = ride.cluster.accept(&ride.driver).await;
    ride.cluster.step(&ride.driver, &trip, &["arrive", "start"]).await;
    let stops = ["pause", "resume", "pause"];
    ride.kill(async |cluster, driver| cluster.step(driver, &trip, &stops).await).await;
    finish(ride, &trip, &["resume", "end"]).await;
    cluster.restart(3).await;

    // Called off by its rider while nobody listens.
    let mut ride = Ride::begin(&mut cluster, (1, 3), (1, 2), places[3]).await;
    let (rider, path) = (ride.rider.clone(), format!("/v1/bookings/{}/cancel", ride.booking));
    let body = json!({ "reason": "rain has stopped" });
    let cancel = async |cluster: &Cluster, _: &str| {
        cluster.post(&path, By::Rider(&rider), &body).await.expect(200);
    };
    ride.kill(cancel).await;
    ride.phone.until("offer_ended CANCELLED").await;
    ride.compare(None).await;
}

async fn finish(mut ride: Ride<'_>, trip: &str, steps: &[&str]) {
    ride.cluster.step(&ride.driver, trip, steps).await;
    while !ride.phone.told.last().is_some_and(|last| last["status"] == "COMPLETED") {
        ride.phone.hear().await.expect("the socket stays open");
    }
    ride.compare(Some(trip)).await;
}

#[tokio::test]
async fn who_was_away_is_told_how_his_offer_ended_and_a_strange_cursor_begins_afresh() {
    let flags =
        ["--max-offers-per-attempt", "2", "--offer-ttl-ms", "3000", "--offer-shown-ms", "2000"];
    let cluster = Cluster::start(3, &flags).await;
    let rider = cluster.rider_at(1, "ada").await;
    let near = cluster.free_driver_at(2, "near", north_of(SQUARE, 50.0)).await;
    let far = cluster.free_driver_at(3, "far", north_of(SQUARE, 300.0)).await;
    let mut away = Roamer::open(&cluster, 1, &far, None).await;
    let booking = cluster.book(&rider, SQUARE).await;
    away.until("offer").await;
    let cursor = away.cursor.clone();
    drop(away);
    let trip = cluster.accept(&near).await;
    let mut back = Roamer::open(&cluster, 2, &far, cursor.as_deref()).await;
    back.until("offer_ended FILLED_BY_ANOTHER_DRIVER").await;
    assert_eq!((back.told.len(), &back.told[0]["booking_id"]), (1, &json!(booking)));

    // The winner comes for the first time, or with what is no cursor: he is told how things are.
    for cursor in [None, Some("x"), Some("99999999.0.99999999999999.-.-.-.-")] {
        let mut phone = Phone::resume(&cluster, 3, &near, cursor).await;
        let hello = phone.wait_for("hello").await;
        assert_eq!((&hello["afresh"], &hello["cursor"]), (&json!(true), &Value::Null), "{hello}");
        let now = phone.wait_for("trip").await;
        assert_eq!((&now["trip_id"], said(&now)), (&json!(trip), "trip 1 DRIVER_ASSIGNED".into()));
        assert!(timeout(MOMENT, phone.hear()).await.is_err(), "nothing more");
    }

    // What the rider does is told as well.
    let mut phone = Roamer::open(&cluster, 1, &near, None).await;
    let cancel = format!("/v1/trips/{trip}/cancel");
    cluster.post(&cancel, By::Rider(&rider), &json!({ "reason": "rain" })).await.expect(200);
    phone.until("trip 2 rain CANCELLED").await;
    assert_eq!(phone.told.last().unwrap()["by"], "RIDER");

    // Both are free. One lets the next offer pass while he is away.
    let cursor = phone.cursor.clone();
    drop(phone);
    cluster.becomes(&format!("/v1/drivers/{near}"), "can_accept_bookings", true).await;
    cluster.ping(&near, SQUARE).await;
    let body = booking_body(SQUARE);
    let book = cluster.ask(2, "POST /v1/bookings").rider(&rider).json(&body).send().await;
    book.expect(201);
    cluster.offer_before(&near).await;
    cluster.becomes(&format!("/v1/drivers/{near}"), "current_offer_id", Value::Null).await;
    let mut back = Roamer::open(&cluster, 3, &near, cursor.as_deref()).await;
    back.until("offer_ended EXPIRED").await;
    assert_eq!(back.told.len(), 1, "an offer that has ended is not shown: {:?}", back.told);
}
