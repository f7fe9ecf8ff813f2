//! The client against nodes that are none: they count, and answer what the test says.

use super::*;
use crate::ids::{DriverId, RiderId};
use crate::units::{MonoMs, WallMs};
use axum::Router;
use axum::extract::{Request as Got, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use tokio::net::TcpListener;

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
struct Stopped(AtomicU64);

impl Clock for Stopped {
    fn mono(&self) -> MonoMs {
        MonoMs(self.0.load(Ordering::Relaxed))
    }
    fn wall(&self) -> WallMs {
        WallMs(self.mono().0)
    }
}

impl Stopped {
    fn move_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

/// What a node got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    node: usize,
    what: String,
    key: String,
    token: String,
}

type Answers = dyn Fn(usize, &str) -> Response + Send + Sync;

/// Some nodes, from 1, that answer as one function says.
struct Nodes {
    addresses: Vec<String>,
    heard: Mutex<Vec<Heard>>,
    answers: Box<Answers>,
}

type Shared = Arc<Nodes>;

impl Nodes {
    async fn start(
        nodes: usize,
        answers: impl Fn(usize, &str) -> Response + Send + Sync + 'static,
    ) -> Shared {
        let mut doors = Vec::new();
        for _ in 0..nodes {
            doors.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses = doors.iter().map(|door| door.local_addr().unwrap().to_string()).collect();
        let shared =
            Arc::new(Self { addresses, heard: Mutex::default(), answers: Box::new(answers) });
        for (door, node) in doors.into_iter().zip(1..) {
            let router = Router::new().fallback(take).with_state((Arc::clone(&shared), node));
            tokio::spawn(async move { axum::serve(door, router).await });
        }
        shared
    }

    /// What was asked, but for the members.
    fn heard(&self) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|heard| heard.what != "GET /v1/cluster").cloned().collect()
    }

    /// The members as a node names them.
    fn members(&self) -> Response {
        let member = |(address, node): (&String, usize)| {
            json!({
                "node": format!("n{node}"), "generation": 1, "peer": "127.0.0.1:1",
                "http": address, "zone": "a", "share_of_ring": 0.5, "groups": [],
            })
        };
        let members: Vec<Value> = self.addresses.iter().zip(1..).map(member).collect();
        ok(json!({ "cluster": "test", "node": "n1", "ready": true, "members": members }))
    }
}

async fn take(State((nodes, node)): State<(Shared, usize)>, got: Got) -> Response {
    let what = format!("{} {}", got.method(), got.uri().path());
    let header = |name: &str| -> String {
        got.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let (key, token) = (header("idempotency-key"), header("authorization"));
    nodes.heard.lock().unwrap().push(Heard { node, what: what.clone(), key, token });
    if what == "GET /v1/cluster" { nodes.members() } else { (nodes.answers)(node, &what) }
}

fn ok(body: Value) -> Response {
    (StatusCode::CREATED, axum::Json(body)).into_response()
}

fn rider(name: &str) -> Value {
    json!({ "rider_id": RiderId::of_name(name).to_string(), "name": name })
}

fn served_by(node: usize, mut response: Response) -> Response {
    response.headers_mut().insert("x-hansom-served-by", format!("n{node}").parse().unwrap());
    response
}

fn problem(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn client_of(seeds: Vec<String>, clock: &Arc<Stopped>) -> Client {
    let clock: Arc<dyn Clock> = Arc::<Stopped>::clone(clock);
    Client::new(Config::new(seeds, 7), clock).unwrap()
}

/// An address that refuses connections: it was given to somebody who has gone.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_dead_node_is_routed_around_and_left_alone() {
    let clock = Arc::new(Stopped::default());
    let nodes = Nodes::start(1, |_, _| ok(rider("ada"))).await;
    let dead = nobody().await;
    let client = client_of(vec![dead.clone(), nodes.addresses[0].clone()], &clock);
    // Chance begins with either; of twenty calls, some begin with the dead one.
    let mut refused = 0;
    for _ in 0..20 {
        let mut tries = Tries::default();
        client.register_rider("ada").watched(&mut tries).await.unwrap();
        refused += tries.0.iter().filter(|(node, _)| *node == dead).count();
    }
    assert_eq!(refused, 1, "asked again although it had refused a connection");
    clock.move_ms(2_000);
    for _ in 0..20 {
        client.register_rider("ada").ask().await.unwrap();
    }
    assert_eq!(nodes.heard().len(), 40);
}

/// Where each try went, and what came of it.
#[derive(Default)]
struct Tries(Vec<(String, String)>);

impl Watch for Tries {
    fn tried(&mut self, tried: &Tried<'_>) {
        let came = match tried.came {
            Came::Answer { status, code, .. } => format!("{status} {code}"),
            Came::Nothing(none) => none.to_string(),
        };
        self.0.push((tried.node.to_owned(), came));
    }
}

#[tokio::test]
async fn what_is_asked_again_is_asked_elsewhere_under_the_same_key_and_not_before_its_time() {
    let tries = AtomicU64::new(0);
    let nodes = Nodes::start(3, move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => problem(503, json!({ "code": "RETRY", "retry_after_ms": 300 })),
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "busy").into_response(),
        _ => ok(rider("ada")),
    })
    .await;
    let client = client_of(nodes.addresses.clone(), &Arc::default());
    let call = client.register_rider("ada");
    // Two answers ask for 1.3 seconds in all. Whoever does not wait as long as that may ask again.
    let hasty = tokio::time::timeout(Duration::from_millis(1_250), call.ask()).await;
    assert!(hasty.is_err(), "{hasty:?}");
    assert_eq!(call.ask().await.unwrap().rider_id, RiderId::of_name("ada"));
    let heard = nodes.heard();
    assert_ne!(heard[0].node, heard[1].node, "{heard:?}");
    let (key, keys) = (call.key().to_string(), heard.iter().map(|heard| &heard.key));
    assert!(heard.len() == 3 && keys.clone().all(|heard| *heard == key), "{heard:?}");
    // Another call has another key.
    client.register_rider("ada").ask().await.unwrap();
    assert_ne!(nodes.heard()[3].key, key);
}

#[tokio::test]
async fn a_call_is_given_up_after_eight_tries_or_five_seconds_and_says_its_key() {
    let clock = Arc::new(Stopped::default());
    let again =
        || problem(503, json!({ "code": "RETRY", "detail": "no leader", "retry_after_ms": 1 }));
    let nodes = Nodes::start(2, move |_, _| again()).await;
    let call_of = |client: &Client| {
        let client = client.clone();
        async move {
            let call = client.rider(RiderId::of_name("ada"));
            (call.key(), call.ask().await)
        }
    };
    let client = client_of(nodes.addresses.clone(), &clock);
    let (key, given_up) = call_of(&client).await;
    let last = "503 RETRY: no leader".to_owned();
    assert_eq!(given_up, Err(Unsettled { key, tries: 8, last }.into()));
    let heard = nodes.heard();
    assert_eq!(heard.len(), 8);
    assert!(heard.windows(2).all(|two| two[0].node != two[1].node), "{heard:?}");

    // Each answer takes 1.9 seconds of the client's time: after the third one 5.7 have passed.
    let slow = Arc::clone(&clock);
    let nodes = Nodes::start(2, move |_, what| {
        if what != "GET /v1/cluster" {
            slow.move_ms(1_900);
        }
        again()
    })
    .await;
    let client = client_of(nodes.addresses.clone(), &clock);
    let (_, given_up) = call_of(&client).await;
    let Err(Failure::Unsettled(unsettled)) = given_up else { panic!("{given_up:?}") };
    assert_eq!((unsettled.tries, nodes.heard().len()), (3, 3));
}

#[tokio::test]
async fn a_node_that_does_not_answer_costs_one_try() {
    let nodes = Nodes::start(2, |_, _| ok(rider("ada"))).await;
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seeds = vec![hangs.local_addr().unwrap().to_string(), nodes.addresses[0].clone()];
    let patience = Patience { try_ms: 200, ..Patience::default() };
    let clock: Arc<dyn Clock> = Arc::new(Stopped::default());
    let config = Config { patience, way: Way::AnySeed, ..Config::new(seeds.clone(), 7) };
    let client = Client::new(config, clock).unwrap();
    let until_it_happens = async {
        loop {
            let mut tries = Tries::default();
            client.register_rider("ada").watched(&mut tries).await.unwrap();
            if let [(first, came), (second, _)] = &tries.0[..] {
                assert_eq!((first, came.as_str(), second), (&seeds[0], "timeout", &seeds[1]));
                return;
            }
        }
    };
    // Well below what the call as a whole may take.
    tokio::time::timeout(Duration::from_secs(4), until_it_happens).await.unwrap();
}

/// Asks for this rider until the client knows the members and has gone straight; the nodes asked.
async fn asked_for(client: &Client, nodes: &Nodes, name: &str, times: usize) -> Vec<usize> {
    let before = nodes.heard().len();
    for _ in 0..times {
        client.rider(RiderId::of_name(name)).ask().await.unwrap();
    }
    nodes.heard()[before..].iter().map(|heard| heard.node).collect()
}

#[tokio::test]
async fn who_served_a_rider_is_asked_straight_until_he_fails_or_another_serves() {
    let clock = Arc::new(Stopped::default());
    let (leader, broken) = (Arc::new(AtomicUsize::new(3)), Arc::new(AtomicUsize::new(0)));
    let (leads, breaks) = (Arc::clone(&leader), Arc::clone(&broken));
    let nodes = Nodes::start(3, move |node, _| {
        if node == breaks.load(Ordering::Relaxed) {
            return problem(503, json!({ "code": "RETRY", "retry_after_ms": 1 }));
        }
        match leads.load(Ordering::Relaxed) {
            0 => ok(rider("ada")),
            leader => served_by(leader, ok(rider("ada"))),
        }
    })
    .await;
    // One seed: the others are learnt.
    let client = client_of(nodes.addresses[..1].to_vec(), &clock);
    let straight = |asked: &[usize], node| asked.iter().all(|asked| *asked == node);
    for _ in 0..500 {
        if straight(&asked_for(&client, &nodes, "ada", 3).await, 3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = asked_for(&client, &nodes, "ada", 20).await;
    assert!(straight(&asked, 3), "{asked:?}");
    // Another rider is of another slot: nobody knows who serves him.
    assert_ne!(RiderId::of_name("ada").slot(), RiderId::of_name("bob").slot());
    let asked = asked_for(&client, &nodes, "bob", 1).await;
    assert!(straight(&asked_for(&client, &nodes, "bob", 5).await, 3), "{asked:?}");

    // The leader moves: the next answer says so.
    leader.store(2, Ordering::Relaxed);
    assert_eq!(asked_for(&client, &nodes, "ada", 3).await, [3, 2, 2]);
    leader.store(3, Ordering::Relaxed);
    assert_eq!(asked_for(&client, &nodes, "ada", 2).await, [2, 3]);
    // The leader cannot: the call goes elsewhere, and so does the next one.
    broken.store(3, Ordering::Relaxed);
    leader.store(2, Ordering::Relaxed);
    let asked = asked_for(&client, &nodes, "ada", 2).await;
    assert!(asked[0] == 3 && asked[1] != 3 && asked[2] == 2, "{asked:?}");
    // It is forgotten even if those who answer do not say who leads.
    assert_eq!(asked_for(&client, &nodes, "ada", 1).await, [2]);
    broken.store(2, Ordering::Relaxed);
    leader.store(0, Ordering::Relaxed);
    assert_eq!(asked_for(&client, &nodes, "ada", 1).await[0], 2);
    let asked = asked_for(&client, &nodes, "ada", 10).await;
    assert!(asked.iter().filter(|node| **node == 2).count() < 10, "{asked:?}");
}

#[tokio::test]
async fn a_refusal_is_final_and_typed() {
    let nodes = Nodes::start(2, |_, what| {
        if what.ends_with("/accept") {
            return problem(409, json!({ "code": "DRIVER_BUSY", "detail": "on another trip" }));
        }
        problem(418, json!({ "code": "TOO_HOT" }))
    })
    .await;
    let client = client_of(nodes.addresses.clone(), &Arc::default());
    let driver = DriverId::from_raw(1);
    let offer = crate::ids::OfferId::mint(driver.slot(), WallMs(1), 1);
    let busy = client.accept(driver, offer).ask().await.unwrap_err();
    let (code, detail) = (Reason::Known(crate::Code::DriverBusy), "on another trip".to_owned());
    assert_eq!(busy, Refused { status: 409, code, detail }.into());
    assert!(busy.is(crate::Code::DriverBusy) && !busy.is(crate::Code::DriverOffline));
    let hot = client.go_online(driver).ask().await.unwrap_err();
    let (code, detail) = (Reason::Other("TOO_HOT".into()), String::new());
    assert_eq!(hot, Refused { status: 418, code, detail }.into());
    assert_eq!(nodes.heard().len(), 2, "a refusal was asked again");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_not_asked_again() {
    let nodes = Nodes::start(1, |_, what| {
        let long = "x".repeat(5 << 20);
        if what.starts_with("POST") { ok(json!({ "rider_id": 7 })) } else { ok(json!(long)) }
    })
    .await;
    let client = client_of(nodes.addresses.clone(), &Arc::default());
    let wrong = client.register_rider("ada").ask().await.unwrap_err();
    assert!(matches!(&wrong, Failure::Unreadable(u) if u.status == 201), "{wrong:?}");
    let long = client.rider(RiderId::of_name("ada")).ask().await.unwrap_err();
    let detail = "the body is too long".to_owned();
    assert_eq!(long, Unreadable { status: 201, detail }.into());
    assert_eq!(nodes.heard().len(), 2);
    let text = client.text_of(&nodes.addresses[0], "/metrics").await;
    assert_eq!(text, Err(NoAnswer::TooLong));
}

#[tokio::test]
async fn a_client_that_knows_nobody_says_so() {
    let client = client_of(Vec::new(), &Arc::default());
    let patience = client.0.patience;
    let nowhere = client.register_rider("ada").ask().await.unwrap_err();
    let Failure::Unsettled(unsettled) = nowhere else { panic!("{nowhere:?}") };
    assert_eq!((unsettled.tries, unsettled.last.as_str()), (patience.tries, "no node known"));
}

#[tokio::test]
async fn a_token_goes_with_every_try_and_is_shown_nowhere() {
    let tries = AtomicU64::new(0);
    let nodes = Nodes::start(2, move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => problem(503, json!({ "code": "RETRY", "retry_after_ms": 1 })),
        _ => problem(401, json!({ "code": "UNAUTHENTICATED", "detail": "it has run out" })),
    })
    .await;
    let token = Some(Token::new("very.secret").unwrap());
    let config = Config { token, ..Config::new(nodes.addresses.clone(), 7) };
    let mut shown = format!("{config:?}");
    let client = Client::new(config, Arc::new(Stopped::default())).unwrap();
    let call = client.register_rider("ada");
    let refused = call.ask().await.unwrap_err();
    shown += &format!("{client:?} {call:?} {refused:?} {refused} {:?}", client.0.carrier);
    assert!(!shown.contains("secret"), "{shown}");
    for _ in 0..500 {
        // Two tries, and the question for the members.
        let heard = nodes.heard.lock().unwrap().clone();
        assert!(heard.iter().all(|heard| heard.token == "Bearer very.secret"), "{heard:?}");
        if heard.len() >= 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the members were not asked for");
}

#[test]
fn what_can_be_no_token_is_refused_without_being_repeated() {
    for text in ["", "two words", "line\n", "grün"] {
        assert_eq!(Token::new(text).unwrap_err(), NoToken, "{text:?}");
    }
}
