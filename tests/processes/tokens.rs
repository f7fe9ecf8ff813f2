//! Clients with tokens: each does what is his and nothing else, at any node.

use crate::client::{Answer, Ask};
use crate::nodes::{Cluster, eventually, hansom};
use crate::people::{SQUARE, booking_body, now_ms};
use crate::phone::Phone;
use reqwest::header::AUTHORIZATION;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Keys that the tool made, and tokens that it mints.
pub(crate) struct Issuer(TempDir);

impl Issuer {
    pub(crate) fn new() -> Self {
        let issuer = Self(tempfile::tempdir().unwrap());
        issuer.new_key("first");
        issuer
    }
    fn keys(&self) -> PathBuf {
        self.0.path().join("keys.json")
    }
    fn new_key(&self, kid: &str) {
        let mut tool = hansom();
        tool.args(["token", "new-key", "--kid", kid, "--keys"]).arg(self.keys());
        assert!(tool.status().unwrap().success());
    }
    pub(crate) fn token(&self, role: &str, subject: Option<&str>) -> String {
        self.mint("--hours=1", role, subject)
    }
    /// One that is taken for so many seconds more, though it has run out: a node takes it for half a
    /// minute longer than it says, because clocks differ.
    pub(crate) fn token_for(&self, left_s: u64, role: &str, subject: Option<&str>) -> String {
        let expires_at = now_ms() / 1_000 + left_s - 30;
        self.mint(&format!("--expires-at={expires_at}"), role, subject)
    }
    fn mint(&self, until: &str, role: &str, subject: Option<&str>) -> String {
        let mut tool = hansom();
        tool.args(["token", "mint", until]);
        tool.args(["--role", role, "--keys"]).arg(self.keys());
        tool.args(subject.map(|id| format!("--subject={id}")));
        said(&mut tool)
    }
}

fn said(tool: &mut Command) -> String {
    let output = tool.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn send(cluster: &Cluster, what: &str, token: &str, with: impl Fn(Ask) -> Ask) -> Answer {
    let bearer = format!("Bearer {token}");
    with(cluster.ask(cluster.any(), what).header("authorization", bearer)).send().await
}

/// A cluster that wants tokens; what is asked without one is asked by its operator.
pub(crate) async fn cluster(issuer: &Issuer) -> Cluster {
    let keys = format!("--auth-keys={}", issuer.keys().display());
    let bearer = format!("Bearer {}", issuer.token("operator", None));
    let headers = [(AUTHORIZATION, bearer.parse().unwrap())].into_iter().collect();
    Cluster::start_for(3, &[&keys, "--rate-per-subject=40"], headers).await
}

#[tokio::test]
async fn everybody_does_what_is_his_and_nothing_else() {
    let issuer = Issuer::new();
    let cluster = cluster(&issuer).await;
    let name = |id: &str| id.to_owned();
    let ada = name(&proto::RiderId::of_name("ada").to_string());
    let bob = name(&proto::RiderId::of_name("bob").to_string());
    let dee = name(&proto::DriverId::of_name("dee").to_string());
    let (of_ada, of_bob) = (issuer.token("rider", Some(&ada)), issuer.token("rider", Some(&bob)));
    let (of_dee, gateway, operator) = (
        issuer.token("driver", Some(&dee)),
        issuer.token("gateway", None),
        issuer.token("operator", None),
    );
    let as_is = |ask: Ask| ask;

    // Without a token, or with a bad one, nothing but the probes.
    for what in ["GET /v1/cluster", "POST /v1/riders", "GET /v1/nearby?lat=1&lng=1"] {
        let none = cluster.ask(cluster.any(), what).header("authorization", "").send().await;
        none.problem(401, "UNAUTHENTICATED");
        assert_eq!(none.header("www-authenticate"), "Bearer");
        let bad = send(&cluster, what, "x.y.z", as_is).await;
        bad.problem(401, "UNAUTHENTICATED");
        assert!(!bad.text.contains("x.y.z"), "it repeats the token: {}", bad.text);
    }
    for probe in ["/healthz", "/readyz", "/metrics", "/docs/", "/v1/openapi.json"] {
        cluster.get(cluster.any(), probe).await.expect(200);
    }

    // Each registers himself.
    let named = |name: &str| json!({ "name": name });
    let register = "POST /v1/riders";
    send(&cluster, register, &of_ada, |a| a.json(&named("ada"))).await.expect(201);
    send(&cluster, register, &of_ada, |a| a.json(&named("bob"))).await.problem(403, "FORBIDDEN");
    send(&cluster, register, &gateway, |a| a.json(&named("bob"))).await.expect(201);
    let car =
        |kyc: bool| json!({ "name": "dee", "vehicle": { "type": "SEDAN" }, "kyc_verified": kyc });
    let register = "POST /v1/drivers";
    let vouched = send(&cluster, register, &of_dee, |a| a.json(&car(true))).await;
    vouched.problem(403, "FORBIDDEN");
    send(&cluster, register, &gateway, |a| a.json(&car(true))).await.expect(201);

    // A ride: nobody needs a header beside his token, and nobody else's works.
    let online = format!("POST /v1/drivers/{dee}/online");
    send(&cluster, &online, &of_ada, as_is).await.problem(403, "FORBIDDEN");
    send(&cluster, &online, &of_dee, as_is).await.expect(200);
    eventually("the ping is applied", async || {
        let fix = json!({ "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() });
        let what = format!("POST /v1/drivers/{dee}/location");
        let counts = send(&cluster, &what, &of_dee, |a| a.json(&fix)).await.expect(202);
        (counts.json["applied"] == 1).then_some(())
    })
    .await;
    let other = json!([{ "driver_id": proto::DriverId::of_name("eve").to_string(),
        "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() }]);
    let pings = "PUT /v1/drivers/location";
    send(&cluster, pings, &of_dee, |a| a.json(&other)).await.problem(403, "FORBIDDEN");
    send(&cluster, pings, &gateway, |a| a.json(&other)).await.expect(202);
    let book = "POST /v1/bookings";
    let body = booking_body(SQUARE);
    let for_bob = |ask: Ask| ask.rider(&bob).json(&body);
    send(&cluster, book, &of_ada, for_bob).await.problem(403, "FORBIDDEN");
    let booking = send(&cluster, book, &of_ada, |a| a.json(&body)).await.expect(201);
    let booking = booking.text("booking_id");
    let read = format!("GET /v1/bookings/{booking}");
    send(&cluster, &read, &of_bob, as_is).await.problem(403, "FORBIDDEN");
    send(&cluster, &format!("{read}?stale_ok=true"), &of_bob, as_is)
        .await
        .problem(403, "FORBIDDEN");
    let explain = format!("{read}/explain");
    for other in [&of_ada, &of_dee] {
        send(&cluster, &explain, other, as_is).await.problem(403, "FORBIDDEN");
    }
    let follow = format!("{read}/stream");
    for other in [&of_bob, &of_dee] {
        send(&cluster, &follow, other, as_is).await.problem(403, "FORBIDDEN");
    }
    send(&cluster, &read, &of_ada, as_is).await.expect(200);
    let offer = eventually("an offer comes", async || {
        let what = format!("GET /v1/drivers/{dee}/offers");
        let offers = send(&cluster, &what, &of_dee, as_is).await.expect(200);
        offers.json["offers"][0]["offer_id"].as_str().map(ToOwned::to_owned)
    })
    .await;
    let accept = |ask: Ask| ask.json(&json!({ "offer_id": offer }));
    let trip = send(&cluster, "POST /v1/trips/accept", &of_dee, accept).await.expect(201);
    let trip = trip.text("trip_id");
    send(&cluster, &read, &of_dee, as_is).await.expect(200);
    let read = format!("GET /v1/trips/{trip}");
    send(&cluster, &read, &of_bob, as_is).await.problem(403, "FORBIDDEN");
    for step in ["start", "end"] {
        let step = format!("POST /v1/trips/{trip}/{step}");
        send(&cluster, &step, &of_dee, as_is).await.expect(200);
    }
    send(&cluster, &read, &of_ada, as_is).await.expect(200);
    let pages = format!("GET /v1/riders/{ada}/bookings");
    send(&cluster, &pages, &of_bob, as_is).await.problem(403, "FORBIDDEN");
    let pages = send(&cluster, &pages, &of_ada, as_is).await.expect(200);
    assert_eq!(pages.json["bookings"][0]["status"], "COMPLETED");

    // The cluster is the operator's.
    let drain = "POST /v1/cluster/nodes/77/drain";
    send(&cluster, drain, &gateway, as_is).await.problem(403, "FORBIDDEN");
    send(&cluster, drain, &operator, as_is).await.problem(404, "NODE_NOT_FOUND");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_nobody_else_suffers() {
    let issuer = Issuer::new();
    let cluster = cluster(&issuer).await;
    let ada = proto::RiderId::of_name("ada").to_string();
    let bob = proto::RiderId::of_name("bob").to_string();
    let (of_ada, of_bob) = (issuer.token("rider", Some(&ada)), issuer.token("rider", Some(&bob)));
    let read = format!("GET /v1/riders/{ada}");
    let ask = || {
        let bearer = format!("Bearer {of_ada}");
        cluster.ask(1, &read).header("authorization", bearer).send_once()
    };
    let mut refused = None;
    for _ in 0..2_000 {
        let answer = ask().await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    refused.expect("it is refused in the end").problem(429, "RATE_LIMITED");
    let other = format!("GET /v1/riders/{bob}");
    send(&cluster, &other, &of_bob, |ask| ask).await.problem(404, "RIDER_NOT_FOUND");
    eventually("she may come again", async || (ask().await.status == 404).then_some(())).await;
}

#[tokio::test]
async fn a_socket_is_closed_when_its_token_has_run_out() {
    let issuer = Issuer::new();
    let cluster = cluster(&issuer).await;
    let driver = cluster.driver_at(1, "dee").await;
    let short = issuer.token_for(8, "driver", Some(&driver));
    let long = issuer.token("driver", Some(&driver));
    let mut lasting = Phone::with_token(&cluster, 3, &driver, &long).await;
    let mut phone = Phone::with_token(&cluster, 2, &driver, &short).await;
    for phone in [&mut phone, &mut lasting] {
        phone.wait_for("hello").await;
    }
    let nothing = tokio::time::timeout(Duration::from_secs(3), phone.hear()).await;
    assert!(nothing.is_err(), "not yet: {nothing:?}");
    assert_eq!(phone.closed_with().await, Some((1008, "the token has run out".to_owned())));
    lasting.say("still there?").await;
    assert_eq!(lasting.wait_for("error").await["code"], "BAD_REQUEST");
}

#[tokio::test]
async fn keys_are_rotated_without_a_restart() {
    let issuer = Issuer::new();
    let cluster = cluster(&issuer).await;
    let ring = "GET /v1/cluster";
    let old = issuer.token("operator", None);
    send(&cluster, ring, &old, |ask| ask).await.expect(200);
    issuer.new_key("second");
    let new = issuer.token("operator", None);
    send(&cluster, ring, &new, |ask| ask).await.problem(401, "UNAUTHENTICATED");
    for node in cluster.running() {
        cluster.hang_up(node);
    }
    for node in cluster.running() {
        for token in [&old, &new] {
            eventually(&format!("node {node} takes both"), async || {
                let bearer = format!("Bearer {token}");
                let ask = cluster.ask(node, ring).header("authorization", bearer);
                (ask.send_once().await.status == 200).then_some(())
            })
            .await;
        }
    }
}

#[test]
fn a_node_for_strangers_without_keys_does_not_start() {
    let refused = hansom()
        .args(["node", "--single", "--http=0.0.0.0:0", "--http-advertised=10.1.2.3:80"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("hansom token new-key") && said.contains("--insecure-dev-auth"),
        "{said}"
    );
    let nowhere = ["node", "--single", "--http=127.0.0.1:0", "--peer=127.0.0.1:0"];
    let data = tempfile::tempdir().unwrap();
    let mut node = hansom();
    node.args(nowhere).arg("--auth-keys=/nowhere/keys.json").arg("--data-dir").arg(data.path());
    let refused = node.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("/nowhere/keys.json"), "{said}");
}
