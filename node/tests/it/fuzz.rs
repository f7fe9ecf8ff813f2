//! Requests that are almost right, to every endpoint that takes a body and to the reading ones, of a
//! node in this process: bodies damaged as JSON and as bytes, headers and paths damaged as bytes. Each gets an answer
//! that a client can rely on, and nothing in the node panics.
//!
//! `PROPTEST_CASES=1000000 cargo test --release --workspace fuzz` makes a search of it.

use crate::support::{
    Disks, PATIENCE, ask, config, driver, insist, own_address, rider, start, text, until, wish,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use proto::almost::almost;
use proto::{Code, ZoneId};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Without `PROPTEST_CASES`.
const CASES: u32 = 2_000;
/// Changes to one JSON value.
const EDITS_MAX: usize = 4;

/// Panics of this process, in whatever task.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A request that a good client may send.
#[derive(Debug, Clone)]
struct Good {
    method: &'static str,
    path: String,
    party: (&'static str, String),
    body: Value,
}

/// What is sent.
#[derive(Debug, Clone)]
struct Sent {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

/// What is done to a JSON value at some place in it.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, Value),
    Remove(Index),
    Add(Index, String, Value),
}

/// Values at the edges of what is meant, and beyond.
fn odd() -> impl Strategy<Value = Value> {
    let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(64),
        json!(65),
        json!(256),
        json!(65_536),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(-1e-300),
        json!(0.5),
        json!(90.000_000_1),
        json!(-180),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("\u{1f4a5}"),
        json!("SEDAN"),
        json!("0000"),
        json!("rdr_0000000000000"),
        json!("n".repeat(129)),
        json!("n".repeat(70_000)),
        json!([]),
        json!({}),
        json!([{ "lat": 1, "lng": 2, "ts": 3 }]),
        json!(vec![7; 2_000]),
        deep,
    ])
}

fn edit() -> impl Strategy<Value = Edit> {
    let name =
        prop::sample::select(vec!["lat", "ts", "reason", "offer_id", "", "\u{0}", "__proto__"]);
    prop_oneof![
        6 => (any::<Index>(), odd()).prop_map(|(at, value)| Edit::Replace(at, value)),
        2 => any::<Index>().prop_map(Edit::Remove),
        1 => (any::<Index>(), name, odd()).prop_map(|(at, name, value)| Edit::Add(at, name.into(), value)),
    ]
}

/// Where there is something in a value, as JSON pointers, the whole of it first.
fn places(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            fields.iter().map(|(name, inner)| (escaped(name), inner)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(n, inner)| (n.to_string(), inner)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (step, inner) in inner {
        all.extend(places(inner).into_iter().map(|rest| format!("/{step}{rest}")));
    }
    all
}

fn apply(value: &mut Value, edit: &Edit) {
    let places = places(value);
    let (Edit::Replace(at, _) | Edit::Remove(at) | Edit::Add(at, ..)) = edit;
    let place = &places[at.index(places.len())];
    match edit {
        Edit::Replace(_, new) => {
            value.pointer_mut(place).into_iter().for_each(|old| old.clone_from(new));
        }
        Edit::Remove(_) => {
            let (parent, last) = place.rsplit_once('/').unwrap_or(("", ""));
            if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
                fields.remove(last);
            }
        }
        Edit::Add(_, name, new) => {
            if let Some(Value::Object(fields)) = value.pointer_mut(place) {
                fields.insert(name.clone(), new.clone());
            }
        }
    }
}

/// Bytes as a client would have to write them in a request line.
fn in_a_line(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !br#"#"<>\^`{|}"#.contains(&byte);
    let rest: String = bytes
        .iter()
        .map(
            |byte| {
                if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") }
            },
        )
        .collect();
    if rest.starts_with('/') { rest } else { format!("/{rest}") }
}

/// One of the good requests, with some part of it damaged.
fn almost_good(good: Vec<Good>) -> impl Strategy<Value = Sent> {
    let bodies: Vec<Vec<u8>> = good.iter().map(|good| good.body.to_string().into()).collect();
    let paths: Vec<Vec<u8>> = good.iter().map(|good| good.path.clone().into()).collect();
    let words =
        ["application/json", "k1", "0123456789abcdef0123456789abcdef", "Bearer a.b.c", "*/*"];
    let parties = good.iter().map(|good| good.party.1.clone().into());
    let words: Vec<Vec<u8>> = words.iter().map(|word| (*word).into()).chain(parties).collect();
    let names = prop::sample::select(vec![
        "x-driver-id",
        "x-user-id",
        "idempotency-key",
        "x-trace-id",
        "content-type",
        "authorization",
        "accept",
    ]);
    let text = |good: &Good| good.body.to_string().into_bytes();
    let edited = (any::<Index>(), vec(edit(), 1..=EDITS_MAX));
    let edited = edited.prop_map(|(seed, edits)| (seed, None, Vec::new(), Some(edits), None));
    let damaged = (any::<Index>(), almost(bodies));
    let damaged = damaged.prop_map(|(seed, body)| (seed, Some(body), Vec::new(), None, None));
    let headed = (any::<Index>(), vec((names, almost(words)), 1..4));
    let headed = headed.prop_map(|(seed, more)| (seed, None, more, None, None));
    let pathed = (any::<Index>(), almost(paths));
    let pathed = pathed.prop_map(|(seed, path)| (seed, None, Vec::new(), None, Some(path)));
    prop_oneof![5 => edited, 2 => damaged, 2 => headed, 2 => pathed].prop_map(
        move |(seed, body, more, edits, path)| {
            let good = &good[seed.index(good.len())];
            let mut value = good.body.clone();
            edits.iter().flatten().for_each(|edit| apply(&mut value, edit));
            let body = body.unwrap_or_else(|| text(&Good { body: value, ..good.clone() }));
            let path = path.map_or_else(|| good.path.clone(), |path| in_a_line(&path));
            let own = [(good.party.0, good.party.1.clone().into_bytes())];
            let kept =
                own.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
            let headers = kept.chain(more.clone()).collect();
            Sent { method: good.method, path, headers, body }
        },
    )
}

/// One request for each endpoint that takes a body, some for those that don't, about people who are
/// there.
async fn good_requests(at: SocketAddr) -> Vec<Good> {
    let (rider, driver) = (rider(at, "ada").await, driver(at, "bob", 40.75, -73.98).await);
    let (r, d) = (("x-user-id", rider.clone()), ("x-driver-id", driver.clone()));
    let me = [(r.0, rider.as_str())];
    let (status, booking) = insist(at, "POST", "/v1/bookings", &me, wish(40.7501, -73.98)).await;
    assert_eq!(status, 201, "{booking}");
    let booking = text(&booking["booking_id"]);
    let offers = format!("/v1/drivers/{driver}/offers");
    let seen = std::sync::Mutex::new(Value::Null);
    until("an offer comes", || async {
        let offer =
            insist(at, "GET", &offers, &[(d.0, d.1.as_str())], Value::Null).await.1["offers"][0]
                .clone();
        *seen.lock().unwrap() = offer.clone();
        offer.is_object()
    })
    .await;
    let offer = text(&seen.into_inner().unwrap()["offer_id"]);
    let accept = json!({ "offer_id": offer });
    let (status, trip) =
        insist(at, "POST", "/v1/trips/accept", &[(d.0, d.1.as_str())], accept.clone()).await;
    assert_eq!(status, 201, "{trip}");
    let trip = text(&trip["trip_id"]);

    let mut good = Vec::new();
    let mut add = |method, path: String, party: &(&'static str, String), body: Value| {
        good.push(Good { method, path, party: party.clone(), body });
    };
    let spot = json!({ "lat": 40.75, "lng": -73.98 });
    let fix = json!({ "lat": 40.75, "lng": -73.98, "speed_kmh": 30.5, "heading_deg": 359.9, "accuracy_m": 4, "ts": 1_700_000_000_000_u64 });
    let mut named = fix.clone();
    named["driver_id"] = driver.clone().into();
    let vehicle = json!({ "type": "SUV", "seats": 4, "capabilities": ["child_seat"], "plate": "B 7", "make": "m", "model": "o", "color": "red" });
    let mut booked = wish(40.75, -73.98);
    booked["vehicle_type"] = "SEDAN".into();
    booked["capabilities"] = json!(["wheelchair"]);
    booked["shown_estimate_minor"] = 1_200.into();
    let reason = json!({ "reason": "late" });
    let nothing = json!({});
    add("POST", "/v1/riders".into(), &r, json!({ "name": "eve", "phone": "+49 1", "pin": "1234" }));
    add(
        "POST",
        "/v1/drivers".into(),
        &d,
        json!({ "name": "dan", "city_id": 1, "vehicle": vehicle, "kyc_verified": true, "phone": "1" }),
    );
    for step in ["online", "offline"] {
        add("POST", format!("/v1/drivers/{driver}/{step}"), &d, nothing.clone());
    }
    add("PUT", "/v1/drivers/location".into(), &d, json!([named, named]));
    add("POST", format!("/v1/drivers/{driver}/location"), &d, fix.clone());
    add("POST", "/v1/bookings".into(), &r, booked);
    add("POST", format!("/v1/bookings/{booking}/cancel"), &r, reason.clone());
    add("POST", format!("/v1/offers/{offer}/decline"), &d, reason.clone());
    add("POST", "/v1/trips/accept".into(), &d, accept);
    for method in ["POST", "PATCH"] {
        add(method, format!("/v1/trips/{trip}/location"), &d, json!({ "locations": [fix, fix] }));
    }
    add("POST", format!("/v1/trips/{trip}/start"), &d, json!({ "otp": "1234", "location": spot }));
    add(
        "POST",
        format!("/v1/trips/{trip}/end"),
        &d,
        json!({ "odometer_km": 3.2, "dropoff": spot, "actual_duration_sec": 60 }),
    );
    for step in ["arrive", "pause", "resume"] {
        add("POST", format!("/v1/trips/{trip}/{step}"), &d, nothing.clone());
    }
    add("POST", format!("/v1/trips/{trip}/cancel"), &r, reason);
    for party in [format!("riders/{rider}"), format!("drivers/{driver}")] {
        for method in ["PUT", "DELETE"] {
            add(method, format!("/v1/{party}/ban"), &r, json!({ "for_s": 60, "reason": "rude" }));
        }
    }
    add(
        "PATCH",
        "/v1/policy".into(),
        &r,
        json!({ "version": 0, "set": { "claim_window_ms": 30, "radii_m": [1_000, 3_000] } }),
    );
    let corner = |lat: f64, lng: f64| json!({ "lat": lat, "lng": lng });
    let ring = [corner(40.70, -73.98), corner(40.70, -73.97), corner(40.71, -73.97)];
    let airport = json!({ "name": "airport", "ring": ring, "grace_s": 60, "refusals": 2 });
    add("PUT", "/v1/zones".into(), &r, json!({ "version": 0, "zones": [airport] }));
    for path in [
        "/v1/nearby?lat=40.75&lng=-73.98&radius_m=2000&limit=20&vehicle_type=SUV&capabilities=child_seat&seats=2&free_only=true".to_owned(),
        "/v1/supply?lat=40.75&lng=-73.98&radius_m=5000".to_owned(),
        "/v1/cluster/lookup?key=rdr_0000000000000".to_owned(),
        format!("/v1/riders/{rider}/bookings?limit=5&before={booking}"),
        format!("/v1/drivers/{driver}/bookings?limit=5"),
        format!("/v1/riders/{rider}/can_book"),
        format!("/v1/drivers/{driver}/meta"),
        format!("/v1/drivers/{driver}/queue"),
        format!("/v1/zones/{}/queue", ZoneId::of_name("airport")),
        format!("/v1/bookings/{booking}/explain"),
        format!("/v1/trips/{trip}/trail"),
        "/v1/trips/active".to_owned(),
    ] {
        add("GET", path, &d, json!(null));
    }
    good
}

/// Whether a path is one of a template's.
fn is_of(path: &str, template: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.split('/').count() == template.split('/').count()
        && path.split('/').zip(template.split('/')).all(|(a, b)| a == b || b.starts_with('{'))
}

/// The endpoints with a body, of the API document, that no request is for.
async fn forgotten(at: SocketAddr, good: &[Good]) -> BTreeSet<String> {
    let document: Value = ask(at, "GET", "/v1/openapi.json", &[], "").await.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    let with_body = paths.iter().flat_map(|(path, of)| {
        let of = of.as_object().unwrap().iter();
        of.filter(|(_, it)| it["requestBody"].is_object())
            .map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    let missing = with_body.filter(|(method, path)| {
        !good.iter().any(|good| good.method == *method && is_of(&good.path, path))
    });
    missing.map(|(method, path)| format!("{method} {path}")).collect()
}

/// What is wrong with the answer to a request; nothing, if it is one that a client can rely on.
async fn wrong(client: &reqwest::Client, at: SocketAddr, sent: &Sent) -> Option<String> {
    let method = sent.method.parse().unwrap();
    let mut request = client.request(method, format!("http://{at}{}", sent.path));
    if sent.method != "GET" {
        request = request.body(sent.body.clone());
    }
    for (name, value) in &sent.headers {
        // What can't be put into a header at all can't be sent by anybody.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(HeaderName::from_static(name), value);
        }
    }
    let response = match request.timeout(PATIENCE).send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => return None,
        Err(error) => return Some(format!("no answer: {error:?}")),
    };
    let status = response.status();
    if status.is_success() || status.is_redirection() || status.is_informational() {
        return None; // also a stream that would go on
    }
    let answer = match response.bytes().await {
        Ok(answer) => answer,
        Err(error) => return Some(format!("half an answer, {status}: {error:?}")),
    };
    let problem: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    let known = Code::ALL.iter().any(|known| known.as_str() == code);
    let bad = status.as_u16() >= 500 && status.as_u16() != 503;
    (bad || !known).then(|| format!("{status} {}", String::from_utf8_lossy(&answer)))
}

#[test]
fn fuzz_no_request_that_is_almost_right_ends_a_handler_or_gets_an_answer_that_means_nothing() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let flags =
        format!("--single --http 127.0.0.1:0 --peer {} --rate-per-subject 1000000", own_address());
    let (node, good) = runtime.block_on(async {
        let node = start(config(&flags).unwrap(), &Disks::default(), 1).await;
        let at = node.http();
        until("the node is ready", || async move {
            ask(at, "GET", "/readyz", &[], "").await.status() == 200
        })
        .await;
        let good = good_requests(at).await;
        assert_eq!(forgotten(at, &good).await, BTreeSet::new(), "endpoints that nobody fuzzes");
        (node, good)
    });
    let (at, client) = (node.http(), reqwest::Client::new());
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default(),
        Err(_) => ProptestConfig::with_cases(CASES),
    };
    let ran = TestRunner::new(cases).run(&almost_good(good), |sent| {
        let wrong = runtime.block_on(wrong(&client, at, &sent));
        prop_assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
        Ok(())
    });
    ran.unwrap();
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something in the node panicked");
    runtime.block_on(async {
        rider(at, "still here").await;
        node.stop().await;
    });
}
