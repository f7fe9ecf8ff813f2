//! A rider follows his ride by server-sent events, also past the death of the node that sent them.

use crate::nodes::{Cluster, eventually};
use crate::people::{At, SQUARE, booking_body, north_of};
use node::clock::SystemClock;
use proto::client::{BookingStatus, Client, Config, Said, TripStatus};
use proto::units::Clock;
use reqwest::Response;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long something may take that must come down a stream.
const WITHIN: Duration = Duration::from_secs(20);
/// How long nothing may come while positions should.
const MOMENT: Duration = Duration::from_millis(300);

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    id: String,
    name: String,
    pub(crate) data: Value,
}

impl Told {
    /// Where it stands in the log, and what it says happened; nothing if it is a position.
    fn story(&self) -> Option<(String, String)> {
        let what = self.data["to"].as_str().or(self.data["what"].as_str())?;
        Some((self.id.clone(), format!("{} {what}", self.name)))
    }
}

/// A client that follows a booking.
pub(crate) struct Follower {
    response: Response,
    text: String,
    /// All that came, positions too.
    seen: Vec<Told>,
}

impl Follower {
    pub(crate) async fn open(
        cluster: &Cluster,
        node: u64,
        booking: &str,
        after: Option<&str>,
    ) -> Self {
        let url = format!("http://{}/v1/bookings/{booking}/stream", cluster.http(node));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = eventually("a stream opens", async || {
            let ask = client.get(&url);
            let ask = after.into_iter().fold(ask, |ask, id| ask.header("last-event-id", id));
            let response = ask.send().await.unwrap();
            (response.status() != 503).then_some(response)
        })
        .await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), seen: Vec::new() }
    }

    /// The next event; nothing when the stream has ended or broken.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let value = lines.find_map(|line| line.strip_prefix(name));
                    value.map(|value| value.trim_start().to_owned())
                };
                let told = field("event:").map(|name| Told {
                    id: field("id:").unwrap(),
                    name,
                    data: serde_json::from_str(&field("data:").unwrap()).unwrap(),
                });
                self.text = rest.to_owned();
                if let Some(told) = told {
                    self.seen.push(told.clone());
                    return Some(told);
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Waits until it is told of something, `trip PAUSED`.
    pub(crate) async fn until(&mut self, story: &str) -> Told {
        let telling = async {
            loop {
                let told = self.next().await.unwrap_or_else(|| panic!("ended before {story}"));
                if told.story().is_some_and(|(_, what)| what == story) {
                    return told;
                }
            }
        };
        let told = timeout(WITHIN, telling).await;
        told.unwrap_or_else(|_| panic!("not told within {WITHIN:?}: {story}"))
    }

    /// Waits for a position near a place, while the driver says that he is there.
    async fn until_near(&mut self, cluster: &Cluster, driver: &str, at: At) -> Told {
        eventually("the driver is shown where he is", async || {
            cluster.ping(driver, at).await;
            let told = timeout(MOMENT, self.next()).await.ok()?.expect("the stream goes on");
            let near = |field: &str, want: f64| {
                told.data[field].as_f64().is_some_and(|is| (is - want).abs() < 1e-6)
            };
            (told.name == "position" && near("lat", at.0) && near("lng", at.1)).then_some(told)
        })
        .await
    }

    /// Reads on to the end, which must come and be the last.
    pub(crate) async fn end(&mut self) -> Told {
        let end = self.until("end END").await;
        let last = timeout(WITHIN, self.next()).await.expect("the stream is closed");
        assert_eq!(last, None, "something came after the end");
        end
    }

    /// The place of the last event.
    pub(crate) fn last_id(&self) -> String {
        self.seen.last().unwrap().id.clone()
    }

    pub(crate) fn stories(&self) -> Vec<(String, String)> {
        self.seen.iter().filter_map(Told::story).collect()
    }
}

#[tokio::test]
async fn a_rider_follows_his_ride_past_the_death_of_the_node_that_told_him() {
    let mut cluster = Cluster::start(3, &[]).await;
    // The node that dies holds the stream and leads the booking's partition.
    let (victim, next) = (3, 1);
    let rider = cluster.rider_at(victim, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let mut stream = Follower::open(&cluster, victim, &booking, None).await;
    let snapshot = stream.until("booking SNAPSHOT").await;
    assert_eq!(snapshot.data["booking"]["status"], "PENDING");
    let near = north_of(SQUARE, 300.0);
    let driver = cluster.free_driver_at(2, "dee", near).await;
    let trip = cluster.accept(&driver).await;
    let assigned = stream.until("trip DRIVER_ASSIGNED").await;
    assert_eq!(assigned.data["trip"]["trip_id"], trip);
    assert_eq!(assigned.data["booking"]["status"], "ASSIGNED");
    let coming = stream.until_near(&cluster, &driver, near).await;
    // 300 m at 6 m/s with 30 % of detour.
    assert_eq!((&coming.data["driver_id"], &coming.data["eta_sec"]), (&driver.into(), &65.into()));
    let driver = coming.data["driver_id"].as_str().unwrap();
    cluster.step(driver, &trip, &["arrive"]).await;
    stream.until("trip DRIVER_ARRIVED").await;

    cluster.kill(victim);
    // What was on its way still comes, and then no more.
    while timeout(WITHIN, stream.next()).await.expect("the stream breaks").is_some() {}
    let last = stream.seen.last().unwrap().id.clone();
    cluster.step(driver, &trip, &["start", "pause"]).await;
    let mut resumed = Follower::open(&cluster, next, &booking, Some(&last)).await;
    resumed.until("trip PAUSED").await;
    cluster.step(driver, &trip, &["resume"]).await;
    resumed.until("trip IN_PROGRESS").await;
    let riding = north_of(SQUARE, 1_000.0);
    let riding = resumed.until_near(&cluster, driver, riding).await;
    let eta_sec = riding.data["eta_sec"].as_u64().unwrap();
    assert!((210..=225).contains(&eta_sec), "1 km to the destination: {}", riding.data);
    cluster.step(driver, &trip, &["end"]).await;
    let end = resumed.end().await;
    assert_eq!(end.data["booking"]["status"], "COMPLETED");

    let told = [stream.stories(), resumed.stories()].concat();
    let what: Vec<&str> = told.iter().map(|(_, what)| &**what).collect();
    let ride = [
        "booking SNAPSHOT",
        "booking OFFER_MADE",
        "booking ASSIGNED",
        "trip DRIVER_ASSIGNED",
        "trip DRIVER_ARRIVED",
        "trip IN_PROGRESS",
        "trip PAUSED",
        "trip IN_PROGRESS",
        "trip COMPLETED",
        "booking COMPLETED",
        "end END",
    ];
    assert_eq!(what, ride, "nothing missing, nothing twice");

    // Whoever comes from anywhere in the ride is told the rest of it, with the same ids, by any node.
    let rest = &told[..told.len() - 1];
    for node in cluster.running() {
        for from in [0, 1, 5, rest.len() - 1] {
            let mut again = Follower::open(&cluster, node, &booking, Some(&told[from].0)).await;
            again.end().await;
            let again = again.stories();
            assert_eq!(again[..again.len() - 1], rest[from + 1..], "from {:?}", told[from]);
        }
    }
}

#[tokio::test]
async fn a_stream_begins_with_how_things_are_unless_it_is_told_from_where() {
    let cluster = Cluster::start(3, &[]).await;
    let rider = cluster.rider_at(1, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let what = format!("GET /v1/bookings/{booking}/stream");
    for bad in ["x", "1.x", "-1"] {
        let ask = cluster.ask(2, &what).header("last-event-id", bad);
        ask.send().await.problem(400, "BAD_REQUEST");
        cluster.ask(2, &format!("{what}?cursor={bad}")).send().await.problem(400, "BAD_REQUEST");
    }
    // A place that no log has reached is of no log here.
    for beyond in [None, Some("18446744073709551615.7")] {
        let mut stream = Follower::open(&cluster, 2, &booking, beyond).await;
        let told = stream.until("booking SNAPSHOT").await;
        assert_eq!(told.data["booking"]["booking_id"], booking);
    }
    // Called off by its rider, it ends for those who follow it.
    let mut stream = Follower::open(&cluster, 3, &booking, None).await;
    stream.until("booking SNAPSHOT").await;
    let cancel = format!("POST /v1/bookings/{booking}/cancel");
    cluster.ask(1, &cancel).rider(&rider).json(&booking_body(SQUARE)).send().await.expect(200);
    let told = stream.until("booking CANCELLED").await;
    assert_eq!(told.data["by"], "RIDER");
    stream.end().await;
    let mut late = Follower::open(&cluster, 1, &booking, None).await;
    late.end().await;
    let what: Vec<String> = late.stories().into_iter().map(|(_, what)| what).collect();
    assert_eq!(what, ["booking SNAPSHOT", "end END"]);
}

#[tokio::test]
async fn a_program_follows_a_ride_to_its_end_though_the_node_it_knew_dies() {
    let mut cluster = Cluster::start(3, &[]).await;
    let clock = Arc::new(SystemClock::new());
    let seeds = vec![cluster.http(1).to_string()];
    let client = Client::new(Config::new(seeds, u128::from(clock.wall().0)), clock).unwrap();
    let rider = cluster.rider_at(2, "ada").await;
    let booking = cluster.book(&rider, SQUARE).await;
    let mut follow = client.follow(booking.parse().unwrap(), None);
    let snapshot = follow.next().await.unwrap().expect("it begins");
    assert!(matches!(snapshot.said, Said::Booking(_)), "{snapshot:?}");
    let driver = cluster.free_driver_at(3, "dee", north_of(SQUARE, 300.0)).await;
    let trip = cluster.accept(&driver).await;
    cluster.kill(1);
    cluster.step(&driver, &trip, &["arrive", "start", "end"]).await;
    let mut told = Vec::new();
    while let Some(news) = follow.next().await.unwrap() {
        match news.said {
            Said::Trip(story) => told.extend(story.to),
            Said::End(story) => {
                let booking = story.booking.expect("how things are");
                assert_eq!(booking.status, BookingStatus::Completed);
            }
            Said::Booking(_) | Said::Position(_) => {}
            Said::Replaced(_) | Said::Unknown => panic!("{news:?}"),
        }
    }
    let steps = [
        TripStatus::DriverAssigned,
        TripStatus::DriverArrived,
        TripStatus::InProgress,
        TripStatus::Completed,
    ];
    assert_eq!(told, steps);
}
