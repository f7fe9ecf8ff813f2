//! A node is gone for a while, for good, or stands still: how long its partitions are not served,
//! and that nothing acknowledged is missing. The bounds here are loose, for a loaded machine must
//! not fail them; the figures in the documents come from a quiet one:
//! `HANSOM_KILLS=10 cargo test --release --test processes -- --nocapture taken_over`

use crate::client::Ask;
use crate::load::Load;
use crate::nodes::{Cluster, eventually};
use crate::people::{SQUARE, booking_body, north_of, now_ms};
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Kills in a run that measures nothing.
const KILLS: usize = 1;
/// Partitions of the killed node that are watched, by a read and by a write each.
const WATCHED: usize = 8;
/// How often each is tried.
const POLL: Duration = Duration::from_millis(10);
/// Any partition is served again within this.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a stopped leader stands still: far longer than another needs to take its place.
const STANDS_STILL: Duration = Duration::from_secs(10);
/// What cannot be committed is answered within this; a node waits 1 s for another.
const REFUSED_WITHIN: Duration = Duration::from_millis(1_500);
/// For nodes that replace the dead at once.
const IMPATIENT: &[&str] = &["--replace-after-ms", "1000"];

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// How long after `since` this is first answered with that status.
async fn first_served(since: Instant, status: u16, ask: impl Fn() -> Ask) -> Duration {
    let trying = async {
        while ask().try_send().await.is_none_or(|answer| answer.status != status) {
            sleep(POLL).await;
        }
    };
    timeout(WITHIN, trying).await.unwrap_or_else(|_| panic!("not served within {WITHIN:?}"));
    now() - since
}

#[expect(clippy::print_stdout, reason = "what was measured")]
fn show(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("SIGKILL to the first {what}: median {median:.0?}, most {most:.0?} of {}", took.len());
}

#[tokio::test]
async fn partitions_of_a_killed_node_are_taken_over_and_given_back() {
    let kills = std::env::var("HANSOM_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut cluster = Cluster::start_alone(3, &[]).await;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for (round, victim) in (1..=3).cycle().take(kills).enumerate() {
        cluster.spread().await;
        let mut riders = Vec::new();
        for number in 0..WATCHED {
            riders.push(cluster.rider_at(victim, &format!("ada {round} {number}")).await);
        }
        let names = cluster.names_at(victim, &format!("bob {round}"), WATCHED).await;
        cluster.kill(victim);
        let killed = now();
        let read = |rider: &String| {
            let what = format!("GET /v1/riders/{rider}");
            let cluster = &cluster;
            first_served(killed, 200, move || cluster.ask(cluster.any(), &what))
        };
        let write = |name: &String| {
            let (cluster, body) = (&cluster, json!({ "name": name }));
            first_served(killed, 201, move || {
                cluster.ask(cluster.any(), "POST /v1/riders").key("bob").json(&body)
            })
        };
        let (read, written) =
            tokio::join!(join_all(riders.iter().map(read)), join_all(names.iter().map(write)));
        reads.extend(read);
        writes.extend(written);
        cluster.restart(victim).await;
    }
    show("read", reads);
    show("acknowledged write", writes);
    cluster.spread().await;
    // Who gave its partitions back counted for how long they had no leader.
    let mut gaps = 0;
    for node in cluster.running() {
        let metrics = cluster.get(node, "/metrics").await.expect(200).text;
        let count = metrics.lines().find_map(|line| {
            line.strip_prefix("hansom_leadership_return_seconds_count ")?.parse::<u32>().ok()
        });
        gaps += count.unwrap_or_else(|| panic!("not in {metrics}"));
    }
    assert!(gaps > 0, "nothing was given back");
    cluster.equal().await;
}

#[tokio::test]
async fn a_node_without_its_disk_is_refused_and_a_new_one_takes_its_place() {
    let mut cluster = Cluster::start_alone(3, IMPATIENT).await;
    let (wiped, next) = (2, 3);
    let mut riders = Vec::new();
    for home in 1..=3 {
        let rider = cluster.rider_at(home, "ada").await;
        cluster.book(&rider, SQUARE).await;
        riders.push(rider);
    }
    let paths = || riders.iter().map(|rider| format!("/v1/riders/{rider}"));
    let mut acked = Vec::new();
    for path in paths() {
        acked.push(cluster.get(1, &path).await.expect(200).json);
    }

    cluster.kill(wiped);
    cluster.wipe(wiped);
    cluster.spawn(wiped);
    let (status, said) = cluster.ends(wiped).await;
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(status, 1, "{last}");
    assert!(last.contains("another disk") && last.contains("--seeds"), "{last}");
    assert!(last.starts_with("hansom node: "), "{last}");

    // Three replicas again, and the death of one more of the first nodes costs nothing.
    let fourth = cluster.join().await;
    cluster.spread().await;
    let leads = cluster.leads().await;
    assert_eq!(leads.keys().copied().collect::<Vec<_>>(), [1, next, fourth], "{leads:?}");
    cluster.kill(next);
    for node in [1, fourth] {
        for (path, acked) in paths().zip(&acked) {
            assert_eq!(cluster.get(node, &path).await.expect(200).json, *acked, "at node {node}");
        }
        // Two of the three that it should see now; of the founders it sees one.
        let metrics = cluster.get(node, "/metrics").await.expect(200).text;
        assert!(metrics.contains("hansom_ready_bool 1\n"), "node {node} says {metrics}");
    }
    let late = cluster.rider_at(fourth, "bob").await;
    cluster.book(&late, SQUARE).await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_minority_acknowledges_nothing_and_forgets_nothing() {
    let mut cluster = Cluster::start_alone(3, &[]).await;
    let mut riders = Vec::new();
    for home in 1..=3 {
        riders.push(cluster.rider_at(home, "ada").await);
    }
    let booked = cluster.book(&riders[0], SQUARE).await;
    let mut cars = Vec::new();
    for home in 1..=2 {
        // Far from who looks for one.
        cars.push(cluster.free_driver_at(home, "dee", north_of(SQUARE, 30_000.0)).await);
    }
    cluster.pause(2);
    cluster.pause(3);
    let body = booking_body(SQUARE);
    let ask =
        |rider: &String| cluster.ask(1, "POST /v1/bookings").rider(rider).key("once").json(&body);
    // At once, when it still believes to lead its partitions, and later, when it knows better.
    for round in 0..3 {
        for rider in &riders[1..] {
            let asked = now();
            let answer = ask(rider).send_once().await;
            let took = now() - asked;
            assert!(answer.says_again(), "round {round}: {}", answer.text);
            assert!(took < REFUSED_WITHIN, "round {round}: refused after {took:?}");
        }
        let read = format!("GET /v1/bookings/{booked}");
        let asked = now();
        let answer = cluster.ask(1, &read).send_once().await;
        assert!(answer.says_again(), "a read that nobody confirmed: {}", answer.text);
        assert!(now() - asked < REFUSED_WITHIN, "round {round}: {}", answer.what);
    }
    eventually("a node alone knows that it is not ready", async || {
        (cluster.ask(1, "GET /readyz").send_once().await.status == 503).then_some(())
    })
    .await;
    // Where cars are it goes on saying, also of one whose partition was led on the other side, and
    // that it can't know all.
    let car = &cars[1];
    eventually("a node alone finds a car that pings", async || {
        let fix = json!({ "driver_id": car, "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() });
        let ask = cluster.ask(1, "PUT /v1/drivers/location").json(&fix);
        assert_eq!(ask.send_once().await.expect(202).json["applied"], 1);
        let around = format!("GET /v1/nearby?lat={}&lng={}&radius_m=500", SQUARE.0, SQUARE.1);
        let found = cluster.ask(1, &around).send_once().await.expect(200).json;
        assert_eq!(found["partial"], true);
        let mut drivers = found["drivers"].as_array()?.iter();
        drivers.any(|seen| seen["driver_id"] == *car).then_some(())
    })
    .await;

    cluster.resume(2);
    cluster.resume(3);
    cluster.settled().await;
    let found = cluster.get(2, &format!("/v1/bookings/{booked}")).await.expect(200);
    assert_eq!(found.json["rider_id"], riders[0]);
    for rider in &riders[1..] {
        let ask =
            || cluster.ask(cluster.any(), "POST /v1/bookings").rider(rider).key("once").json(&body);
        let booking = ask().send().await.expect(201).text("booking_id");
        assert_eq!(ask().send().await.expect(201).text("booking_id"), booking);
        let path = format!("/v1/riders/{rider}");
        let found = cluster.get(cluster.any(), &path).await.expect(200);
        assert_eq!(found.json["active_booking_id"], booking);
    }
    cluster.all_serve_all(&riders).await;
    cluster.equal().await;
}

#[tokio::test]
async fn a_leader_that_stood_still_for_ten_seconds_acknowledges_nothing_wrong() {
    let mut cluster = Cluster::start_alone(3, &[]).await;
    let load = Load::during(&mut cluster, async |cluster, load| {
        load.goes_on(60).await;
        let stood = now();
        cluster.pause(2);
        // The others go on without it, and its clients with them.
        while now() - stood < STANDS_STILL {
            load.goes_on(20).await;
        }
        cluster.resume(2);
        load.goes_on(60).await;
    });
    let load = load.await;
    cluster.settled().await;
    assert_eq!(load.is_kept(&cluster).await, 0);
    cluster.equal().await;
}
