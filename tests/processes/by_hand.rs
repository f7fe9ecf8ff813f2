//! `hansom client`: rides played by hand, with the built binary, as an engineer does who tries the
//! system out; and commands whose reader has gone.

use crate::configuration::run;
use crate::nodes::{Cluster, eventually, free_address, hansom};
use crate::tokens::{self, Issuer};
use proto::{DriverId, RiderId};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use tempfile::NamedTempFile;

/// Where the driver waits and the rider goes.
const HERE: &str = "40.7580,-73.9855";
const PICKUP: &str = "40.7585,-73.9850";
const THERE: &str = "40.7128,-74.0060";

/// `hansom client`, told of one node of a cluster.
fn client(cluster: &Cluster, arguments: &str) -> Command {
    let mut command = hansom();
    command.args(["client", "--node", &format!("http://{}", cluster.http(cluster.any()))]);
    command.args(arguments.split_whitespace());
    command
}

/// Runs a command that must succeed; gives its output.
async fn done(cluster: &Cluster, arguments: &str) -> String {
    let (status, out, talk) = run(client(cluster, arguments)).await;
    assert_eq!(status, 0, "`{arguments}` says: {out}{talk}");
    assert_eq!(talk, "", "`{arguments}`");
    out
}

/// The same for a program.
async fn json(cluster: &Cluster, arguments: &str) -> Value {
    let out = done(cluster, &format!("--json {arguments}")).await;
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("`{arguments}`: {error}: {out}"))
}

/// Runs a command that must fail; gives what it says.
async fn fails(cluster: &Cluster, arguments: &str, status: i32) -> String {
    let (got, out, talk) = run(client(cluster, arguments)).await;
    assert_eq!((got, out.as_str()), (status, ""), "`{arguments}` says: {talk}");
    assert!(!talk.contains("panicked"), "`{arguments}` says: {talk}");
    talk
}

/// A command in the background, ended with the test. What it says goes to files, so that nobody has
/// to listen.
struct Background {
    child: Child,
    out: NamedTempFile,
    talk: NamedTempFile,
}

impl Background {
    fn start(command: Command) -> Self {
        let out = NamedTempFile::new().unwrap();
        let stdout = out.reopen().unwrap();
        Self::spawn(command, out, stdout)
    }

    /// One whose reader goes away, as `head` does, but before it has read a line.
    fn unread(command: Command) -> Self {
        let (reader, stdout) = std::io::pipe().unwrap();
        drop(reader);
        Self::spawn(command, NamedTempFile::new().unwrap(), stdout)
    }

    fn spawn(mut command: Command, out: NamedTempFile, stdout: impl Into<Stdio>) -> Self {
        let talk = NamedTempFile::new().unwrap();
        command.stdout(stdout).stderr(talk.reopen().unwrap());
        Self { child: command.spawn().unwrap(), out, talk }
    }

    /// Waits until it has said all of these, in this order.
    async fn says(&self, words: &[&str]) -> String {
        eventually(&format!("it says {words:?}"), async || {
            let said = std::fs::read_to_string(self.out.path()).unwrap();
            missing(&said, words).is_none().then_some(said)
        })
        .await
    }

    /// Presses Ctrl-C, and waits for the end: its status, output and talk.
    async fn interrupted(&mut self) -> (i32, String, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.ended().await
    }

    async fn ended(&mut self) -> (i32, String, String) {
        let status = eventually("it ends", async || self.child.try_wait().unwrap()).await;
        let text = |file: &NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
        (status.code().unwrap(), text(&self.out), text(&self.talk))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The first of some words that does not come after those before it.
fn missing<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let mut rest = text;
    words.iter().copied().find(|word| match rest.find(word) {
        Some(at) => {
            rest = &rest[at + word.len()..];
            false
        }
        None => true,
    })
}

/// Fails unless each word comes, in this order.
fn in_order(text: &str, words: &[&str]) {
    assert_eq!(missing(text, words), None, "is missing, or too early, in\n{text}");
}

#[tokio::test]
async fn a_ride_is_two_commands() {
    let cluster = Cluster::start(3, &[]).await;
    let drive = format!("drive --name dee --at {HERE} --accept --step 1");
    let mut drive = Background::start(client(&cluster, &drive));
    let ride = format!("ride --name ada --from {PICKUP} --to {THERE}");
    let ridden = done(&cluster, &ride).await;
    let steps = ["booked bkg_", "offer to drv_", "ASSIGNED", "trp_", "DRIVER_ASSIGNED by DRIVER"];
    in_order(&ridden, &steps);
    let steps = ["DRIVER_ARRIVED by DRIVER", "IN_PROGRESS by DRIVER", "COMPLETED by DRIVER"];
    in_order(&ridden, &steps);
    in_order(&ridden, &["COMPLETED by", "bkg_", "COMPLETED", "driver found after", "ride took"]);
    // Each step was said once, though it was looked at often.
    assert_eq!(ridden.matches("DRIVER_ARRIVED").count(), 1, "{ridden}");

    let steps = ["on duty at 40.75800,-73.98550", "off_", "ASSIGNED", "IN_PROGRESS", "COMPLETED"];
    drive.says(&steps).await;
    eventually("he is free again", async || {
        let driver = json(&cluster, "driver dee").await;
        (driver["can_accept_bookings"] == true).then_some(())
    })
    .await;
    let (status, out, talk) = drive.interrupted().await;
    assert_eq!((status, talk.as_str()), (0, ""), "{out}");
    in_order(&out, &["COMPLETED", "dee is off duty"]);
    assert_eq!(json(&cluster, "driver dee").await["status"], "offline");
    let past = json(&cluster, "history --rider ada").await;
    assert_eq!(past[0]["status"], "COMPLETED", "{past}");
    assert!(done(&cluster, "history --driver dee").await.contains("1 in all"));
}

#[tokio::test]
async fn a_ride_goes_on_when_the_only_node_that_both_were_told_of_dies() {
    let mut cluster = Cluster::start(3, &[]).await;
    let told = |arguments: &str| {
        let mut command = hansom();
        command.args(["client", "--node", &cluster.http(1).to_string()]);
        command.args(arguments.split_whitespace());
        Background::start(command)
    };
    let mut drive = told(&format!("drive --name dee --at {HERE} --accept --step 1"));
    let mut ride = told(&format!("ride --name ada --from {PICKUP} --to {THERE}"));
    ride.says(&["DRIVER_ASSIGNED"]).await;
    cluster.kill(1);
    let (status, out, talk) = ride.ended().await;
    assert_eq!(status, 0, "{out}{talk}");
    in_order(&out, &["DRIVER_ARRIVED", "IN_PROGRESS", "COMPLETED"]);
    let (status, out, talk) = drive.interrupted().await;
    assert_eq!(status, 0, "{out}{talk}");
}

#[tokio::test]
async fn a_rider_who_stops_waiting_calls_it_off_and_no_ride_is_no_success() {
    let cluster = Cluster::start(1, &["--booking-ttl-ms", "3000", "--attempt-ms", "1000"]).await;
    let ride = format!("--json ride --name ada --from {PICKUP} --to {THERE}");
    let (status, out, talk) = run(client(&cluster, &ride)).await;
    assert_eq!(status, 1, "{out}{talk}");
    assert!(talk.contains("no ride: REQUEST_EXPIRED"), "{talk}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.last().unwrap();
    assert!(last["event"] == "ended" && last["status"] == "REQUEST_EXPIRED", "{out}");

    let mut waiting = Background::start(client(&cluster, &ride));
    let booked = waiting.says(&["booked", "\n"]).await;
    let booked: Value = serde_json::from_str(booked.lines().next().unwrap()).unwrap();
    let booking = booked["booking_id"].as_str().unwrap();
    let (status, _, talk) = waiting.interrupted().await;
    assert!(status == 1 && talk.contains("is called off"), "{talk}");
    let booking = json(&cluster, &format!("booking {booking}")).await;
    assert_eq!(booking["status"], "CANCELLED", "{booking}");
}

#[tokio::test]
async fn every_step_of_a_ride_is_a_command() {
    let cluster = Cluster::start(1, &[]).await;
    assert!(done(&cluster, "register rider ada").await.contains("rdr_"));
    let van = "register driver dee --vehicle suv --seats 6 --capability child_seat --plate H7";
    let driver = json(&cluster, van).await["driver_id"].as_str().unwrap().to_owned();
    let shown = done(&cluster, &format!("driver {driver}")).await;
    in_order(&shown, &["offline", "SUV, 6 seats, child_seat, H7", "can be asked", "no"]);
    assert!(done(&cluster, "offers dee").await.contains("no offer is before him"));
    assert!(fails(&cluster, "accept dee", 1).await.contains("offers DRIVER --wait"));
    done(&cluster, "online dee").await;
    eventually("he is seen", async || {
        assert!(done(&cluster, &format!("ping dee {HERE}")).await.contains("applied"));
        let near = done(&cluster, &format!("nearby {PICKUP} --vehicle suv --limit 3")).await;
        near.contains(&driver).then_some(())
    })
    .await;

    let book = format!("book --rider ada --from {PICKUP} --to {THERE} --vehicle suv --seats 5");
    let mut wait = Background::start(client(&cluster, "offers dee --wait"));
    let booking = json(&cluster, &book).await["booking_id"].as_str().unwrap().to_owned();
    // A refusal says its code, and what to do.
    let busy = fails(&cluster, &book, 1).await;
    in_order(&busy, &["refused with 409 RIDER_HAS_ACTIVE_BOOKING: ", "cancel --rider"]);
    let (status, offers, talk) = wait.ended().await;
    assert!(status == 0 && offers.contains(&booking), "{offers}{talk}");
    let trip = json(&cluster, "accept dee").await["trip_id"].as_str().unwrap().to_owned();
    assert!(fails(&cluster, "offline dee", 1).await.contains("DRIVER_BUSY"));
    for (step, status) in [
        ("arrive", "DRIVER_ARRIVED"),
        ("start", "IN_PROGRESS"),
        ("pause", "PAUSED"),
        ("resume", "IN_PROGRESS"),
    ] {
        let shown = done(&cluster, &format!("{step} --driver dee")).await;
        in_order(&shown, &[&trip, status]);
    }
    assert!(fails(&cluster, "cancel --rider ada", 1).await.contains("CANNOT_CANCEL_IN_PROGRESS"));
    done(&cluster, &format!("end {trip} --driver {driver} --odometer 3.5")).await;
    let shown = done(&cluster, &format!("trip {trip}")).await;
    in_order(&shown, &["COMPLETED", "3.5 km", "PAUSED by DRIVER", "COMPLETED by DRIVER"]);
    assert!(done(&cluster, &format!("booking {booking} --stale-ok")).await.contains(&trip));

    // The second ride is called off, once as a booking and once, by the driver, as a trip.
    done(&cluster, &book).await;
    let called_off = done(&cluster, "cancel --rider ada --reason rain").await;
    assert!(called_off.contains("CANCELLED"), "{called_off}");
    assert!(!done(&cluster, "rider ada").await.contains("active booking"));
    let past = json(&cluster, "history --rider ada").await;
    assert_eq!(past.as_array().unwrap().len(), 2, "{past}");
    let past = json(&cluster, &format!("history {driver}")).await;
    assert_eq!(past[0]["trip_id"], trip.as_str(), "{past}");
}

#[tokio::test]
async fn nonsense_is_refused_with_status_2_and_never_repeats_a_token() {
    let cluster = Cluster::start(1, &[]).await;
    let table = [
        ("", "Usage"),
        ("ping dee 91,0", "latitude"),
        ("ping dee here", "lat,lng"),
        ("online rdr_0000000000000", "begins with drv_"),
        ("history ada", "--rider or --driver"),
        ("history", "--rider"),
        ("cancel --rider ada --driver dee", "--driver"),
        ("cancel off_1 --rider ada", "trp_"),
        ("register driver dee --vehicle tram", "sedan"),
        ("book --rider ada --from 1,2 --to 1,3 --key 12", "32"),
        ("--node https://127.0.0.1:1 rider ada", "plain HTTP"),
        ("--token gr\u{fc}n rider ada", "visible ASCII"),
    ];
    for (arguments, word) in table {
        let talk = fails(&cluster, arguments, 2).await;
        assert!(talk.contains(word), "`{arguments}` does not say {word}: {talk}");
        assert!(!talk.contains("gr\u{fc}n"), "{talk}");
    }
    let mut help = client(&cluster, "--help");
    help.env("HANSOM_TOKEN", "very.secret");
    let (status, out, _) = run(help).await;
    assert!(status == 0 && out.contains("HANSOM_TOKEN") && !out.contains("very.secret"), "{out}");
}

#[tokio::test]
async fn whoever_has_a_token_plays_himself() {
    let issuer = Issuer::new();
    let cluster = tokens::cluster(&issuer).await;
    let as_ = |token: &str, arguments: &str| {
        let mut command = client(&cluster, arguments);
        command.env("HANSOM_TOKEN", token);
        command
    };
    let (ada, dee) = (RiderId::of_name("ada").to_string(), DriverId::of_name("dee").to_string());
    let (ada, dee) = (issuer.token("rider", Some(&ada)), issuer.token("driver", Some(&dee)));
    let gateway = issuer.token("gateway", None);
    let (status, _, talk) = run(as_(&gateway, "register driver dee")).await;
    assert_eq!(status, 0, "{talk}");
    let drive = format!("drive --name dee --at {HERE} --accept --step 1");
    let mut drive = Background::start(as_(&dee, &drive));
    let (status, ridden, talk) =
        run(as_(&ada, &format!("ride --name ada --from {PICKUP} --to {THERE}"))).await;
    assert!(status == 0 && ridden.contains("ride took"), "{ridden}{talk}");
    drive.says(&["COMPLETED"]).await;
    let (status, out, talk) = drive.interrupted().await;
    assert!(status == 0 || talk.contains("is on a trip"), "{out}{talk}");

    let (status, _, none) = run(as_("", "rider ada")).await;
    assert_eq!(status, 1, "{none}");
    in_order(&none, &["401 UNAUTHENTICATED", "HANSOM_TOKEN"]);
    let (status, _, talk) = run(as_(&ada, "driver dee")).await;
    assert!(status == 1 && talk.contains("403 FORBIDDEN"), "{talk}");
    // The operators' commands as well.
    let node = format!("http://{}", cluster.http(1));
    for (token, want, word) in [(gateway.as_str(), 0, "ready"), ("", 1, "HANSOM_TOKEN")] {
        let mut ring = hansom();
        ring.args(["ring", "--node", &node]).env("HANSOM_TOKEN", token);
        let (status, out, talk) = run(ring).await;
        assert!(status == want && format!("{out}{talk}").contains(word), "{out}{talk}");
    }
}

#[tokio::test]
async fn a_change_that_nobody_answered_is_settled_by_the_same_command_with_its_key() {
    let cluster = Cluster::start(1, &[]).await;
    let mut nowhere = hansom();
    nowhere.args(["client", "--node", &format!("http://{}", free_address()), "register", "rider"]);
    let (status, _, talk) = run({
        nowhere.arg("ada");
        nowhere
    })
    .await;
    assert_eq!(status, 1, "{talk}");
    in_order(&talk, &["not settled", "is --node right", "nobody knows", "--key ", "settles it"]);
    let key = talk.split_once("--key ").unwrap().1.split('`').next().unwrap();
    assert!(done(&cluster, &format!("register rider ada --key {key}")).await.contains("ada"));
    // Once, however often it is asked; and nothing else under the same key.
    let book = format!("book --rider ada --from {PICKUP} --to {THERE} --key {}", "5".repeat(32));
    let booking = &json(&cluster, &book).await["booking_id"];
    assert_eq!(json(&cluster, &book).await["booking_id"], *booking);
    let other = fails(&cluster, &format!("{book} --seats 2"), 1).await;
    in_order(&other, &["422 IDEMPOTENCY_KEY_REUSED", "without --key"]);
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_failure() {
    let cluster = Cluster::start(1, &[]).await;
    done(&cluster, "register rider ada").await;
    let node = format!("http://{}", cluster.http(1));
    let commands = [
        format!("ring --node {node}"),
        format!("ring --partitions --node {node}"),
        format!("ring --json --node {node}"),
        format!("lookup --node {node} 40.75,-73.98"),
        "node --single --print-config".to_owned(),
        format!("client --node {node} rider ada"),
        format!("client --node {node} drive --name dee --at {HERE}"),
        format!("client --node {node} ride --name ada --from {PICKUP} --to {THERE}"),
    ];
    for arguments in commands {
        let mut command = hansom();
        command.args(arguments.split_whitespace());
        let mut background = Background::unread(command);
        let (status, _, talk) = background.ended().await;
        assert_eq!((status, talk.as_str()), (0, ""), "`{arguments}`");
    }
    // Whoever stopped playing left nothing behind.
    assert_eq!(json(&cluster, "driver dee").await["status"], "offline");
    assert_eq!(json(&cluster, "rider ada").await["active_booking_id"], Value::Null);
}
